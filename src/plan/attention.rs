//! The steps of attention. Results are contiguous from element 0 and share no slot with an operand or each other.

use super::Operand;
use crate::dtype::DType;
use crate::graph::{AttentionSizes, AttentionSpec};

/// `out = softmax(q·kᵀ·scale)·v` ([`Op::Attention`](crate::graph::Op::Attention)). Sums are `f32` or wider.
#[derive(Debug, Clone)]
pub struct Attention {
    /// What is fixed about it.
    pub spec: AttentionSpec,
    /// Its sizes.
    pub sizes: AttentionSizes,
    /// Element type of the operands and of `out`.
    pub dtype: DType,
    /// `[batch.., heads, t, d]`
    pub q: Operand,
    /// `[batch.., groups, s, d]`
    pub k: Operand,
    /// `[batch.., groups, s, e]`
    pub v: Operand,
    /// The slot of the result, `[batch.., t, heads, e]`.
    pub out: usize,
    /// The slot of the logarithms of the sums of exponentials, `[batch.., heads, t]`.
    pub lse: usize,
}

/// Its gradient ([`Op::AttentionGrad`](crate::graph::Op::AttentionGrad)).
#[derive(Debug, Clone)]
pub struct AttentionGrad {
    /// What is fixed about it.
    pub spec: AttentionSpec,
    /// Its sizes.
    pub sizes: AttentionSizes,
    /// Element type of `q`, `k`, `v`, `dout` and the results.
    pub dtype: DType,
    /// As in [`Attention`].
    pub q: Operand,
    /// As in [`Attention`].
    pub k: Operand,
    /// As in [`Attention`].
    pub v: Operand,
    /// The result's gradient, `[batch.., t, heads, e]`.
    pub dout: Operand,
    /// `[batch.., heads, t]`
    pub lse: Operand,
    /// `[batch.., heads, t]`
    pub delta: Operand,
    /// The slot of `[batch.., t, heads, d]`.
    pub dq: usize,
    /// The slot of `[batch.., s, groups, d]`.
    pub dk: usize,
    /// The slot of `[batch.., s, groups, e]`.
    pub dv: usize,
}

impl Attention {
    /// The slots it reads.
    pub fn reads(&self) -> [usize; 3] {
        [&self.q, &self.k, &self.v].map(|o| o.slot)
    }

    /// The slots it writes.
    pub fn writes(&self) -> [usize; 2] {
        [self.out, self.lse]
    }
}

impl AttentionGrad {
    /// The slots it reads.
    pub fn reads(&self) -> [usize; 6] {
        [&self.q, &self.k, &self.v, &self.dout, &self.lse, &self.delta].map(|o| o.slot)
    }

    /// The slots it writes.
    pub fn writes(&self) -> [usize; 3] {
        [self.dq, self.dk, self.dv]
    }
}
