//! The gradient of every op, given the gradient of its result. Formulas are in terms of the op's operands and result.

use super::{attention, order};
use crate::error::Caller;
use crate::graph::{BinaryOp, ConvSpec, Node, Op, ReduceOp, UnaryOp, Value};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::f64::consts::{LN_2, LN_10, PI};
use std::sync::Arc;

/// The gradient of each source that is `wanted`, from those of the outputs; at least one of them is there.
pub fn gradient(
    node: &Arc<Node>,
    srcs: &SmallVec<[Value; 2]>,
    grads: &[Option<Tensor>],
    wanted: &[bool],
) -> Vec<Option<Tensor>> {
    // The ops of which more than the first output has a gradient.
    let all = |n: usize| -> Vec<Tensor> { srcs[..n].iter().cloned().map(Tensor::from_value).collect() };
    match &node.op {
        Op::Attention(spec) => {
            let outs = [0, 1].map(|out| Tensor::from_value(Value { node: node.clone(), out }));
            let [q, k, v] = &all(3)[..] else { return vec![] };
            let both = [grads[0].as_ref(), grads[1].as_ref()];
            return attention::attention(*spec, [q, k, v], [&outs[0], &outs[1]], both, node.at);
        }
        Op::AttentionGrad(spec) => {
            let [q, k, v, dout, lse, delta] = &all(6)[..] else { return vec![] };
            return attention::attention_grad(*spec, [q, k, v, dout, lse, delta], grads, node.at);
        }
        _ => {}
    }
    // Results of a second output (an index) have no gradient.
    let Some(g) = &grads[0] else { return vec![None; srcs.len()] };
    let src = |i: usize| Tensor::from_value(srcs[i].clone());
    let shape = |i: usize| &srcs[i].meta().shape;
    let want = |i: usize, f: &dyn Fn() -> Tensor| wanted[i].then(f);
    let out = || Tensor::from_value(Value { node: node.clone(), out: 0 });
    match &node.op {
        Op::Leaf | Op::Scalar { .. } | Op::Iota { .. } | Op::Random { .. } | Op::Program { .. } | Op::Custom(_) => {
            vec![None; srcs.len()]
        }
        Op::Unary(op) => vec![unary(*op, g, src(0), out())],
        Op::Binary(op) => binary(*op, g, src(0), src(1), out(), wanted),
        Op::Select => {
            let c = src(0);
            vec![None, want(1, &|| g.where_(&c, 0.0)), want(2, &|| g.masked_fill(&c, 0.0))]
        }
        Op::Cast(_) => vec![Some(g.cast(srcs[0].meta().dtype))],
        Op::Reshape(_) => vec![Some(g.reshape(shape(0)))],
        Op::Permute(axes) => {
            let mut inverse: Dims<usize> = Dims::from_elem(0, axes.len());
            for (i, &a) in axes.iter().enumerate() {
                inverse[a] = i;
            }
            vec![Some(g.permute_to(inverse, node.at))]
        }
        Op::Expand(to) => {
            let spread: Dims<usize> = (0..to.rank()).filter(|&i| shape(0)[i] == 1 && to[i] != 1).collect();
            vec![Some(g.reduce_axes(ReduceOp::Sum, spread, true, node.at))]
        }
        Op::Slice { starts, steps, .. } => vec![Some(unslice(g, shape(0), starts, steps))],
        Op::Unfold { axis, size, step, dilation } => {
            vec![Some(fold(g, shape(0)[*axis], *axis, *size, *step, *dilation))]
        }
        Op::Pad { lo, .. } => {
            let inner = want(0, &|| crop(g, lo, shape(0)));
            let fill = want(1, &|| g.sum(..) - crop(g, lo, shape(0)).sum(..));
            vec![inner, fill]
        }
        Op::Concat { axis } => {
            let mut start = 0;
            let part = |(i, v): (usize, &Value)| {
                let len = v.meta().shape[*axis];
                let part = want(i, &|| g.narrow(*axis as isize, start, len));
                start += len;
                part
            };
            srcs.iter().enumerate().map(part).collect()
        }
        Op::Reduce { op, axes } => {
            let kept = shape(0).with_ones(axes);
            let g = g.reshape(&kept);
            let x = src(0);
            vec![Some(match op {
                ReduceOp::Sum => g.expand(shape(0)),
                ReduceOp::Prod => prod(&g, &x, &out().reshape(&kept), axes),
                // Elements that tie share evenly, as PyTorch's amax and amin do.
                ReduceOp::Max | ReduceOp::Min => {
                    let ties = x.eq(out().reshape(&kept)).cast(x.dtype());
                    let count = ties.reduce_axes(ReduceOp::Sum, axes.clone(), true, node.at);
                    ties * (g / count)
                }
            })]
        }
        Op::ArgReduce { axes, .. } => {
            let index = Tensor::from_value(Value { node: node.clone(), out: 1 });
            vec![Some(place(g, &index, shape(0), axes))]
        }
        Op::Matmul => {
            let (a, b) = (src(0), src(1));
            // Of an operand that is another matrix turned (a layer's weight), the gradient is made as that lies in memory, so
            // that an update can be what the product does with it.
            let da = || if is_turned(&srcs[0]) { b.matmul(&g.t()).t() } else { g.matmul(&b.t()) };
            let db = || if is_turned(&srcs[1]) { g.t().matmul(&a).t() } else { a.t().matmul(g) };
            vec![want(0, &da), want(1, &db)]
        }
        Op::Conv(spec) => {
            let (x, w) = (src(0), src(1));
            vec![want(0, &|| data_grad(spec, g, &w, shape(0))), want(1, &|| filter_grad(spec, &x, g, shape(1)))]
        }
        // Both are linear in each operand, so their gradients are the other two convolutions.
        Op::ConvDataGrad { spec, .. } => {
            let (dy, w) = (src(0), src(1));
            vec![want(0, &|| g.conv2d(&w, *spec)), want(1, &|| filter_grad(spec, g, &dy, shape(1)))]
        }
        Op::ConvFilterGrad { spec, .. } => {
            let (x, dy) = (src(0), src(1));
            vec![want(0, &|| data_grad(spec, &dy, g, shape(0))), want(1, &|| x.conv2d(g, *spec))]
        }
        Op::Attention(_) | Op::AttentionGrad(_) => vec![None; srcs.len()],
        Op::Gather { axis } => {
            let zeros = src(0).zeros_like();
            vec![Some(zeros.scatter_add(*axis as isize, &src(1), g)), None]
        }
        // Only sums have float operands.
        Op::Scatter { axis, .. } => {
            vec![Some(g.clone()), None, want(2, &|| g.gather(*axis as isize, &src(1)))]
        }
        Op::Scan { op, axis } => {
            let found = || Tensor::from_value(Value { node: node.clone(), out: 1 });
            order::scan(*op, *axis, g, &src, &out, &found, wanted)
        }
        Op::Sort { axis, .. } => {
            let index = Tensor::from_value(Value { node: node.clone(), out: 1 });
            vec![Some(order::unsort(g, &index, *axis))]
        }
    }
}

/// Whether a value is another with its last two axes exchanged.
fn is_turned(value: &Value) -> bool {
    let Op::Permute(axes) = &value.node.op else { return false };
    let [others @ .., a, b] = &axes[..] else { return false };
    others.iter().enumerate().all(|(i, axis)| i == *axis) && (*a, *b) == (axes.len() - 1, axes.len() - 2)
}

fn unary(op: UnaryOp, g: &Tensor, x: Tensor, y: Tensor) -> Option<Tensor> {
    use UnaryOp::*;
    Some(match op {
        Neg => -g,
        Abs => g * x.sign(),
        Sqrt => g * 0.5 / y,
        Rsqrt => g * -0.5 * y / x,
        Recip => -(g * y.square()),
        Exp => g * y,
        Exp2 => g * y * LN_2,
        Expm1 => g * (y + 1.0),
        Log => g / x,
        Log2 => g / (x * LN_2),
        Log10 => g / (x * LN_10),
        Log1p => g / (x + 1.0),
        Sin => g * x.cos(),
        Cos => -(g * x.sin()),
        Tan => g * (y.square() + 1.0),
        Asin => g * (1.0f64 - x.square()).rsqrt(),
        Acos => -(g * (1.0f64 - x.square()).rsqrt()),
        Atan => g / (x.square() + 1.0),
        Sinh => g * x.cosh(),
        Cosh => g * x.sinh(),
        Tanh => g * (1.0 - y.square()),
        Erf => g * ((-x.square()).exp() * (2.0 / PI.sqrt())),
        Sigmoid => g * (&y * (1.0 - &y)),
        Relu => g.where_(&y.gt(0.0), 0.0),
        // Flat wherever they have a slope at all.
        Sign | Floor | Ceil | Round | Trunc => g.zeros_like(),
        Not | BitNot | IsNan | IsInf | IsFinite => return None,
    })
}

fn binary(op: BinaryOp, g: &Tensor, a: Tensor, b: Tensor, y: Tensor, wanted: &[bool]) -> Vec<Option<Tensor>> {
    use BinaryOp::*;
    let both = |da: &dyn Fn() -> Tensor, db: &dyn Fn() -> Tensor| vec![wanted[0].then(da), wanted[1].then(db)];
    match op {
        Add => both(&|| g.clone(), &|| g.clone()),
        Sub => both(&|| g.clone(), &|| -g),
        Mul => both(&|| g * &b, &|| g * &a),
        Div => both(&|| g / &b, &|| -(g * &y / &b)),
        Pow => both(
            // b·a^(b-1), and 0 where b is 0, whatever a is.
            &|| (g * &b * a.pow(&b - 1.0)).masked_fill(&b.eq(0.0), 0.0),
            // y·ln a, and 0 where a is 0 and b is not negative, as in PyTorch.
            &|| (g * &y * a.log()).masked_fill(&a.eq(0.0).bitwise_and(b.ge(0.0)), 0.0),
        ),
        Rem => both(&|| g.clone(), &|| -(g * a.floor_divide(&b))),
        // Elements that tie share evenly, as in PyTorch.
        Max | Min => {
            let half = |wins: Tensor| {
                let ties = a.eq(&b).cast(g.dtype()) * 0.5;
                g * (wins.cast(g.dtype()) + ties)
            };
            both(&|| half(if op == Max { a.gt(&b) } else { a.lt(&b) }), &|| {
                half(if op == Max { b.gt(&a) } else { b.lt(&a) })
            })
        }
        Atan2 => {
            let norm = a.square() + b.square();
            both(&|| g * &b / &norm, &|| -(g * &a / &norm))
        }
        FloorDiv => both(&|| g.zeros_like(), &|| g.zeros_like()),
        Eq | Ne | Lt | Le | Gt | Ge | And | Or | Xor | Shl | Shr => vec![None, None],
    }
}

/// The gradient of a slice: zeros, with `g` at the places it was taken from.
fn unslice(g: &Tensor, shape: &Shape, starts: &[usize], steps: &[i64]) -> Tensor {
    let mut x = g.clone();
    for axis in 0..shape.rank() {
        let (mut start, step, count) = (starts[axis], steps[axis], x.shape()[axis]);
        if count == shape[axis] && step == 1 {
            continue;
        }
        if step < 0 {
            x = x.flip(axis);
            start -= (count.saturating_sub(1)) * step.unsigned_abs() as usize;
        }
        x = spread(&x, axis, start, step.unsigned_abs() as usize, shape[axis]);
    }
    x
}

/// Element `i` along `axis` moved to `start + i·step`, zeros elsewhere, `len` in all.
fn spread(x: &Tensor, axis: usize, start: usize, step: usize, len: usize) -> Tensor {
    let rank = x.rank();
    let count = x.shape()[axis];
    let mut x = x.clone();
    let mut used = count;
    if step > 1 && count > 0 {
        // [.., n, ..] → [.., n, 1, ..] → [.., n, step, ..] → [.., n·step, ..], without the zeros after the last.
        let mut padding = vec![(0, 0); rank + 1];
        padding[axis + 1] = (0, step - 1);
        let mut merged = x.shape().clone();
        merged.dims_mut()[axis] = count * step;
        used = (count - 1) * step + 1;
        x = x.unsqueeze(axis as isize + 1).pad(&padding, 0.0).reshape(merged).narrow(axis as isize, 0, used);
    }
    let mut padding = vec![(0, 0); rank];
    padding[axis] = (start, len - start - used);
    x.pad(&padding, 0.0)
}

/// The part of `g` that a padding put around.
fn crop(g: &Tensor, lo: &[usize], shape: &Shape) -> Tensor {
    (0..shape.rank()).fold(g.clone(), |x, axis| x.narrow(axis as isize, lo[axis], shape[axis]))
}

/// The gradient of sliding windows: every element gathers what its windows got. `g` is `[.., windows, .., size]`.
pub(crate) fn fold(g: &Tensor, len: usize, axis: usize, size: usize, step: usize, dilation: usize) -> Tensor {
    let last = g.rank() - 1;
    let windows = g.shape()[axis];
    if dilation == 1 && step >= size {
        // Windows that do not overlap are a reshape: move the window's own axis beside the windows' and merge.
        let mut order: Vec<isize> = (0..last as isize).collect();
        order.insert(axis + 1, last as isize);
        let mut padding = vec![(0, 0); last + 1];
        padding[axis + 1] = (0, step - size);
        let mut merged: Vec<usize> = (0..last).map(|i| g.shape()[i]).collect();
        merged[axis] = windows * step;
        let flat = g.permute(&order).pad(&padding, 0.0).reshape(&merged[..]);
        let used = merged[axis].min(len);
        return spread(&flat.narrow(axis as isize, 0, used), axis, 0, 1, len);
    }
    let part = |k: usize| {
        let column = g.narrow(last as isize, k, 1).squeeze(last);
        spread(&column, axis, k * dilation, step, len)
    };
    (1..size).fold(part(0), |sum, k| sum + part(k))
}

/// `g` at the positions `index` (row-major over `axes`) of zeros of `shape`.
fn place(g: &Tensor, index: &Tensor, shape: &Shape, axes: &[usize]) -> Tensor {
    let kept = shape.with_ones(axes);
    let mut position: Option<Tensor> = None;
    for &axis in axes {
        let iota = Tensor::arange(shape[axis], &g.device());
        let mut along: Vec<usize> = vec![1; shape.rank()];
        along[axis] = shape[axis];
        let iota = iota.reshape(&along[..]);
        position = Some(match position {
            Some(p) => p * shape[axis] as i32 + iota,
            None => iota,
        });
    }
    match position {
        None => g.reshape(&kept),
        Some(p) => g.reshape(&kept).where_(&p.eq(index.reshape(&kept)), 0.0),
    }
}

/// The gradient of a product: for each element the product of all others, also where some are 0.
fn prod(g: &Tensor, x: &Tensor, y: &Tensor, axes: &Dims<usize>) -> Tensor {
    let at = Caller::here();
    let over = |t: &Tensor, op| t.reduce_axes(op, axes.clone(), true, at);
    let zero = x.eq(0.0);
    let zeros = over(&zero.cast(x.dtype()), ReduceOp::Sum);
    let nonzero = x.masked_fill(&zero, 1.0);
    let others = over(&nonzero, ReduceOp::Prod);
    // Without zeros it is y/x; with one, only that element has a gradient; with more, none has.
    let usual = (y / &nonzero).where_(&zeros.eq(0.0), 0.0);
    let single = others.where_(&zero.bitwise_and(zeros.eq(1.0)), 0.0);
    g * (usual + single)
}

fn data_grad(spec: &ConvSpec, dy: &Tensor, w: &Tensor, shape: &Shape) -> Tensor {
    let op = Op::ConvDataGrad { spec: *spec, input: [shape[2], shape[3]] };
    Tensor::apply(op, &[dy, w], Caller::here())
}

fn filter_grad(spec: &ConvSpec, x: &Tensor, dy: &Tensor, shape: &Shape) -> Tensor {
    let op = Op::ConvFilterGrad { spec: *spec, kernel: [shape[2], shape[3]] };
    Tensor::apply(op, &[x, dy], Caller::here())
}
