//! The gradients of attention: one fused op, whose own gradient is made of products of whole matrices.

use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{AttentionSizes, AttentionSpec, BinaryOp, Op, ReduceOp};
use crate::shape::{Dims, Shape};
use crate::tensor::Tensor;

/// Axes -3 and -2 exchanged: from `[.., heads, positions, width]` to the order of results, or back.
fn turned(x: &Tensor) -> Tensor {
    x.transpose(-3, -2)
}

/// Halves are `f32` where the fused op computes in `f32`.
fn wide(x: &Tensor) -> Tensor {
    if x.dtype().is_half() { x.cast(DType::F32) } else { x.clone() }
}

/// The gradients of queries, keys and values from those of the result and of the logarithms of the sums (FlashAttention-2;
/// Dao, 2023).
pub fn attention(
    spec: AttentionSpec,
    [q, k, v]: [&Tensor; 3],
    [out, lse]: [&Tensor; 2],
    [g, g_lse]: [Option<&Tensor>; 2],
    at: Caller,
) -> Vec<Option<Tensor>> {
    let zeros = || out.zeros_like();
    let dout = g.cloned().unwrap_or_else(zeros);
    let products = wide(&dout).binary(BinaryOp::Mul, wide(out).into(), at);
    let last = Dims::from_elem(products.rank() - 1, 1);
    let mut delta = products.reduce_axes(ReduceOp::Sum, last, false, at).transpose(-2, -1);
    if let Some(g) = g_lse {
        delta = delta.binary(BinaryOp::Sub, g.into(), at);
    }
    let made = Tensor::apply_all(Op::AttentionGrad(spec), &[q, k, v, &dout, lse, &delta], at);
    made.iter().map(|x| Some(turned(x))).collect()
}

/// The gradients of the gradient's operands. With `P = exp(q·kᵀ·scale - lse)`, `D = P·(dout·vᵀ - delta)`, that op gives
/// `dq = scale·D·k`, `dk = scale·Dᵀ·q` and `dv = Pᵀ·dout`; this is the derivative of the sum of each times its own
/// gradient, factor by factor.
pub fn attention_grad(
    spec: AttentionSpec,
    [q, k, v, dout, lse, delta]: [&Tensor; 6],
    grads: &[Option<Tensor>],
    at: Caller,
) -> Vec<Option<Tensor>> {
    let Ok(z) = AttentionSizes::new(q.shape(), k.shape(), v.shape()) else { return vec![None; 6] };
    let dtype = q.dtype();
    let (q_heads, k_heads) = (Heads { z: &z, shared: false }, Heads { z: &z, shared: true });
    let grad = |i: usize, like: &Tensor| match &grads[i] {
        Some(g) => turned(g),
        None => like.zeros_like(),
    };
    let (a, b, c) = (q_heads.apart(&grad(0, q)), k_heads.apart(&grad(1, k)), k_heads.apart(&grad(2, v)));
    let (q, k, v, dout) = (q_heads.apart(q), k_heads.apart(k), k_heads.apart(v), q_heads.apart(&turned(dout)));
    let (lse, delta) = (q_heads.sums_apart(lse), q_heads.sums_apart(delta));
    let scale = spec.scale();
    let scores = q.matmul(&k.t()) * scale - &lse;
    // A query that saw nothing has weighed nothing.
    let mut seen = scores.where_(&lse.gt(f64::NEG_INFINITY), f64::NEG_INFINITY);
    if spec.causal {
        seen = seen.where_(&Tensor::tril_mask(z.t, z.s, 0, &q.device()), f64::NEG_INFINITY);
    }
    let p = seen.exp();
    let dp = dout.matmul(&v.t());
    let shifted = &dp - &delta;
    let ds = &p * &shifted;
    let g_ds = (a.matmul(&k.t()) + q.matmul(&b.t())) * scale;
    let g_p = &g_ds * &shifted + dout.matmul(&c.t());
    let (g_dp, g_s) = (&g_ds * &p, &g_p * &p);
    let row = |x: &Tensor| x.sum(-1);
    let g_q = (g_s.matmul(&k) + ds.matmul(&b)) * scale;
    let g_k = (g_s.t().matmul(&q) + ds.t().matmul(&a)) * scale;
    let g_v = g_dp.t().matmul(&dout);
    let g_dout = g_dp.matmul(&v) + p.matmul(&c);
    vec![
        Some(q_heads.together(&g_q, dtype, at)),
        Some(k_heads.together(&g_k, dtype, at)),
        Some(k_heads.together(&g_v, dtype, at)),
        Some(turned(&q_heads.together(&g_dout, dtype, at))),
        Some((-row(&g_s)).reshape(z.sums())),
        Some((-row(&g_dp)).reshape(z.sums())),
    ]
}

/// Heads of queries as `[.., groups, share, t, width]` beside heads of keys as `[.., groups, 1, s, width]`, so that
/// matrix products share keys between queries.
struct Heads<'a> {
    z: &'a AttentionSizes,
    shared: bool,
}

impl Heads<'_> {
    fn share(&self) -> usize {
        if self.shared { 1 } else { self.z.heads / self.z.groups }
    }

    fn split(&self, tail: &[usize]) -> Shape {
        self.z.batch.iter().chain(&[self.z.groups, self.share()]).chain(tail).copied().collect()
    }

    fn apart(&self, x: &Tensor) -> Tensor {
        let tail = &x.shape()[x.rank() - 2..];
        wide(x).reshape(self.split(tail))
    }

    fn sums_apart(&self, x: &Tensor) -> Tensor {
        x.reshape(self.split(&[self.z.t, 1]))
    }

    /// The gradient of what [`Heads::apart`] made, brought back.
    fn together(&self, x: &Tensor, dtype: DType, at: Caller) -> Tensor {
        let rank = x.rank();
        let x = match self.shared {
            true => x.reduce_axes(ReduceOp::Sum, Dims::from_elem(rank - 3, 1), false, at),
            false => {
                let tail = &x.shape()[rank - 2..];
                x.reshape(self.z.batch.iter().chain(&[self.z.heads]).chain(tail).copied().collect::<Shape>())
            }
        };
        x.cast(dtype)
    }
}
