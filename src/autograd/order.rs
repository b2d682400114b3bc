//! The gradients of scans and sorts.

use crate::error::Caller;
use crate::graph::{Op, ReduceOp, ScanOp};
use crate::shape::Dims;
use crate::tensor::Tensor;

/// The gradients of a scan's sources, from that of its first output.
pub fn scan(
    op: ScanOp,
    axis: usize,
    g: &Tensor,
    src: &dyn Fn(usize) -> Tensor,
    out: &dyn Fn() -> Tensor,
    found: &dyn Fn() -> Tensor,
    wanted: &[bool],
) -> Vec<Option<Tensor>> {
    match op {
        ScanOp::Sum => vec![Some(reversed(g, axis, |g| run(ScanOp::Sum, axis, &[g])))],
        // Of y_i = x_i·y_{i-1}: what reaches y_k, times the product of all before. Right also where some x are 0.
        ScanOp::Prod => vec![Some(before(&out(), axis, 1.0) * linear_back(&src(0), g, axis))],
        ScanOp::Max | ScanOp::Min => vec![Some(g.zeros_like().scatter_add(axis as isize, &found(), g))],
        ScanOp::LogSumExp => vec![Some(log_back(&src(0), &out(), g, axis))],
        ScanOp::Linear => {
            let reaching = linear_back(&src(0), g, axis);
            let a = wanted[0].then(|| &reaching * before(&out(), axis, 0.0));
            vec![a, wanted[1].then_some(reaching)]
        }
    }
}

/// `g` brought back to where each element was before it was sorted.
pub fn unsort(g: &Tensor, index: &Tensor, axis: usize) -> Tensor {
    let at = Caller::here();
    let place = Tensor::source(Op::Iota { shape: index.shape().clone(), axis }, &g.device(), at);
    // Each place is named once, so the largest of what names it is that.
    let inverse = Tensor::apply(Op::Scatter { op: ReduceOp::Max, axis }, &[&index.zeros_like(), index, &place], at);
    g.gather(axis as isize, &inverse)
}

fn run(op: ScanOp, axis: usize, srcs: &[&Tensor]) -> Tensor {
    Tensor::apply(Op::Scan { op, axis }, srcs, Caller::here())
}

/// `f` from the end of the axis to its beginning.
fn reversed(x: &Tensor, axis: usize, f: impl Fn(&Tensor) -> Tensor) -> Tensor {
    f(&x.flip(axis)).flip(axis)
}

/// `x` moved on by one along the axis, `first` in front.
fn before(x: &Tensor, axis: usize, first: f64) -> Tensor {
    let n = x.shape()[axis];
    let mut lo: Dims<usize> = Dims::from_elem(0, x.rank());
    lo[axis] = n.min(1);
    x.narrow(axis as isize, 0, n.saturating_sub(1)).pad_with(
        lo,
        Dims::from_elem(0, x.rank()),
        first.into(),
        Caller::here(),
    )
}

/// `G_k = g_k + a_{k+1}·G_{k+1}`, what a linear recurrence's gradient comes to at each step.
fn linear_back(a: &Tensor, g: &Tensor, axis: usize) -> Tensor {
    let a = before(&a.flip(axis), axis, 0.0);
    reversed(g, axis, |g| run(ScanOp::Linear, axis, &[&a, g]))
}

/// `Σ_{i≥j} g_i·exp(x_j - y_i)`: `exp(x_j - y_j)·H_j` with `H_j = g_j + exp(y_j - y_{j+1})·H_{j+1}`. Both exponents are
/// never positive, because `y` never falls.
fn log_back(x: &Tensor, y: &Tensor, g: &Tensor, axis: usize) -> Tensor {
    // Where nothing has been added yet the difference of two infinities must not be taken for a number.
    let ratio = |a: &Tensor, b: &Tensor| (a - b).masked_fill(&b.eq(f64::NEG_INFINITY), f64::NEG_INFINITY).exp();
    let turned = y.flip(axis);
    let decay = ratio(&turned, &before(&turned, axis, f64::INFINITY));
    let sums = reversed(g, axis, |g| run(ScanOp::Linear, axis, &[&decay, g]));
    ratio(x, y) * sums
}
