//! The steps that depend on the order of elements along an axis: running folds, and sorting.

use super::Operand;
use crate::dtype::DType;
use crate::graph::ScanOp;
use crate::shape::Dims;

/// Running folds along an axis. Results are contiguous from element 0 and share no slot with an operand.
#[derive(Debug, Clone)]
pub struct Scan {
    /// What is folded.
    pub op: ScanOp,
    /// Along which axis.
    pub axis: usize,
    /// Sizes of operands and results.
    pub shape: Dims<usize>,
    /// Element type of the operands and of `out`.
    pub dtype: DType,
    /// `[x]`, or `[a, b]` for [`ScanOp::Linear`].
    pub srcs: Vec<Operand>,
    /// The slot of the folds.
    pub out: usize,
    /// The slot of the positions (`i32`), for those that find them.
    pub found: Option<usize>,
}

/// The rows along an axis in order: stable, NaN greatest. Results are contiguous from element 0 and share no slot with
/// the operand or each other.
#[derive(Debug, Clone)]
pub struct Sort {
    /// Along which axis.
    pub axis: usize,
    /// Whether the greatest comes first.
    pub descending: bool,
    /// Sizes of operand and results.
    pub shape: Dims<usize>,
    /// Element type of operand and values.
    pub dtype: DType,
    /// What is sorted.
    pub src: Operand,
    /// The slot of the elements in order.
    pub values: usize,
    /// The slot of where they were (`i32`).
    pub indices: usize,
}

impl Sort {
    /// Elements of a row that one workgroup puts in order by itself.
    pub const BLOCK: usize = 1024;

    /// Kernels that it takes on a GPU: blocks are sorted first, then merged into runs of twice the length until a row is
    /// one run. Merging `2^k` blocks takes `k` passes over far neighbours and one within blocks.
    pub fn passes(&self) -> usize {
        let blocks = self.shape[self.axis].div_ceil(Sort::BLOCK).max(1);
        let rounds = blocks.next_power_of_two().ilog2() as usize;
        1 + (1..=rounds).map(|k| k + 1).sum::<usize>()
    }
}
