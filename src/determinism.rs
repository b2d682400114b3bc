//! Which ops may differ in their last bits from run to run, on which devices, and how to have them not.
//!
//! Everything else gives the same bits each time that the same plan runs on the same device with the same driver. Between
//! devices, and between one plan and another that fuses differently, sums are rounded in another order.
//!
//! | op | cpu | wgpu | why |
//! |---|---|---|---|
//! | `scatter_add` | same | may differ | floats are added by atomic exchanges, in the order in which they arrive |
//! | `index_add` | same | may differ | a `scatter_add` |
//! | `index_put` that accumulates | same | may differ | a `scatter_add` |
//! | gradient of `gather` | same | may differ | a `scatter_add` |
//! | gradient of `take_along` | same | may differ | a `scatter_add` |
//! | gradient of `take` | same | may differ | a `scatter_add` |
//! | gradient of `index` | same | may differ | a `scatter_add` |
//! | gradient of `index_select` | same | may differ | a `scatter_add` |
//! | gradient of `embedding` | same | may differ | a `scatter_add` |
//! | gradient of `cummax` and `cummin` | same | may differ | a `scatter_add` |
//!
//! Only floats differ, and only where indices are repeated. [`Device::set_deterministic`] (or `SUNSTONE_DETERMINISTIC=1`)
//! makes all of them the same in every run: each place then walks all sources in order, which for `n` sources and `m`
//! places takes `n·m` steps instead of `n`.
//!
//! [`Device::set_deterministic`]: crate::device::Device::set_deterministic

/// An op of [`TABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The op, or whose gradient.
    pub op: &'static str,
    /// True where it gives the same bits each time on the CPU.
    pub cpu: bool,
    /// True where it does on a GPU, without the setting.
    pub wgpu: bool,
    /// Why it does not.
    pub why: &'static str,
}

const fn adds(op: &'static str) -> Entry {
    Entry { op, cpu: true, wgpu: false, why: "a `scatter_add`" }
}

/// The ops that may differ from run to run on some device, unless [`Device::set_deterministic`] is on.
///
/// [`Device::set_deterministic`]: crate::device::Device::set_deterministic
pub const TABLE: &[Entry] = &[
    Entry {
        op: "`scatter_add`",
        cpu: true,
        wgpu: false,
        why: "floats are added by atomic exchanges, in the order in which they arrive",
    },
    adds("`index_add`"),
    adds("`index_put` that accumulates"),
    adds("gradient of `gather`"),
    adds("gradient of `take_along`"),
    adds("gradient of `take`"),
    adds("gradient of `index`"),
    adds("gradient of `index_select`"),
    adds("gradient of `embedding`"),
    adds("gradient of `cummax` and `cummin`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_show_the_table() {
        let shown: Vec<&str> =
            include_str!("determinism.rs").lines().filter_map(|l| l.strip_prefix("//! | ")).skip(1).collect();
        let told = |same: bool| if same { "same" } else { "may differ" };
        let rows: Vec<String> =
            TABLE.iter().map(|e| format!("{} | {} | {} | {} |", e.op, told(e.cpu), told(e.wgpu), e.why)).collect();
        assert_eq!(shown, rows);
    }
}
