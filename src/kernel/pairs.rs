//! Two halves lie in a word: how one invocation comes to write both, so that nobody else writes the word meanwhile.

use super::write::Writer;
use crate::plan::{Loop, Store};
use crate::shape::Shape;
use std::fmt::Write as _;

/// True when elements 2i and 2i + 1 of the axes from `split` on, counted in row-major order, are the halves of a word,
/// at every point of the axes before.
pub fn is_paired(l: &Loop, s: &Store, split: usize) -> bool {
    let sizes: Shape = l.outer.iter().chain(&l.inner).skip(split).copied().collect();
    let (before, along) = s.at.strides.split_at(split);
    let rows: usize = l.outer.iter().take(split).product();
    s.at.offset % 2 == 0
        && *along == sizes.strides()[..]
        && before.iter().all(|stride| stride % 2 == 0)
        && (rows == 1 || sizes.numel().is_multiple_of(2))
}

/// True for stores of halves.
pub fn stores_half(l: &Loop, s: &Store) -> bool {
    l.instrs[s.value].dtype.is_half()
}

/// The lines that store pairs: before, within and after a loop in which `k` is 0 for the first of a pair and 1 for the
/// second.
pub struct Pairs {
    pub before: String,
    pub each: String,
    pub after: String,
}

impl Pairs {
    /// `first` is the number of a pair's first element along the axes from `split` on.
    pub fn new(w: &mut Writer, l: &Loop, stores: &[&Store], split: usize, first: &str, pad: &str) -> Pairs {
        let (mut before, mut each, mut after) = (String::new(), String::new(), String::new());
        for (n, s) in stores.iter().enumerate() {
            let dtype = l.instrs[s.value].dtype;
            let rows: Vec<i64> = s.at.strides[..split].iter().map(|stride| stride / 2).collect();
            let row = w.linear(s.at.offset / 2, &rows, "i");
            let plus = if row.is_empty() { "" } else { " + " };
            let _ = writeln!(before, "{pad}var h{n} = 0u;");
            let _ = writeln!(each, "{pad}    h{n} |= {dtype}_from_f32(r{}) << (k * 16u);", s.value);
            let _ = writeln!(after, "{pad}{}[{row}{plus}i32({first} >> 1u)] = h{n};", w.buffer(s.slot));
        }
        Pairs { before, each, after }
    }
}
