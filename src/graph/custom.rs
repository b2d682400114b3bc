//! The open door: an op of the user's own, written in WGSL, with a CPU closure if it is to run there too.

use super::Meta;
use std::fmt;

/// A kernel that the crate does not know. It runs on every backend that takes WGSL, and on the CPU if it says how.
///
/// Its gradient, if it has one, is given by wrapping it in an [`autograd::Function`](crate::autograd::Function).
/// Make one `Arc` and keep it: plans are reused between steps only for the same `Arc`.
pub trait CustomOp: fmt::Debug + Send + Sync {
    /// The name in plans and errors.
    fn name(&self) -> &'static str;

    /// The results' shapes and dtypes for these inputs, or what is wrong with the inputs.
    fn outputs(&self, inputs: &[Meta]) -> Result<Vec<Meta>, String>;

    /// The shader for these inputs, or `None` where only the CPU can run it.
    fn wgsl(&self, inputs: &[Meta], outputs: &[Meta]) -> Option<CustomShader>;

    /// Evaluates on the CPU: `outputs[i]` comes filled with zeros. `None` where only GPUs can run it.
    /// Elements are little-endian bytes, row-major ([`Element::from_bytes`](crate::dtype::Element::from_bytes) reads them).
    fn cpu(&self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Option<()>;
}

/// A WGSL module and how to launch it.
///
/// Bindings, all in group 0: the inputs in order from 0 as `var<storage, read>`, contiguous from their first element;
/// then the outputs as `var<storage, read_write>`. `bool` and `u8` elements are `u32` words;
/// `f16` and `bf16` elements lie two to a `u32` word, the first in the low bits, and where their number is odd the last
/// word's high bits mean nothing. The module is
/// validated before a driver sees it, and runs with bounds checks on.
#[derive(Debug, Clone)]
pub struct CustomShader {
    /// The whole module.
    pub source: String,
    /// The compute entry point.
    pub entry: String,
    /// How many workgroups to launch along x, y and z.
    pub workgroups: [u32; 3],
}
