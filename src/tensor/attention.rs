//! What does each query gather from the values whose keys it likes?

use super::Tensor;
use crate::autograd::no_grad;
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};
use crate::random::Generator;
use crate::shape::{Dims, Shape};

/// The options of [`Tensor::scaled_dot_product_attention`].
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct AttentionOptions<'a> {
    mask: Option<&'a Tensor>,
    causal: bool,
    dropout: Option<(f64, &'a Generator)>,
    scale: Option<f64>,
    grouped: bool,
}

impl<'a> AttentionOptions<'a> {
    /// Everything may be seen, nothing is dropped, scores are divided by the root of the heads' width.
    pub fn new() -> AttentionOptions<'a> {
        AttentionOptions::default()
    }

    /// What broadcasts to `[.., queries, keys]`: `bool`, true where a key may be seen, or floats to add to the scores.
    pub fn mask(self, mask: &'a Tensor) -> AttentionOptions<'a> {
        AttentionOptions { mask: Some(mask), ..self }
    }

    /// Whether query `i` sees keys `0..=i` only.
    pub fn causal(self, causal: bool) -> AttentionOptions<'a> {
        AttentionOptions { causal, ..self }
    }

    /// Weights are dropped with probability `p`.
    pub fn dropout(self, p: f64, generator: &'a Generator) -> AttentionOptions<'a> {
        AttentionOptions { dropout: Some((p, generator)), ..self }
    }

    /// What scores are multiplied with instead of `1/√width`.
    pub fn scale(self, scale: f64) -> AttentionOptions<'a> {
        AttentionOptions { scale: Some(scale), ..self }
    }

    /// Whether several heads of queries (axis -3) may share one of keys and values (Ainslie et al., 2023).
    pub fn enable_gqa(self, grouped: bool) -> AttentionOptions<'a> {
        AttentionOptions { grouped, ..self }
    }
}

impl Tensor {
    /// `softmax(q·kᵀ·scale + mask)·v` (Vaswani et al., 2017): `self` is `q [.., l, e]`, with `key [.., s, e]` and
    /// `value [.., s, v]`, giving `[.., l, v]`; the axes in front broadcast. A query that sees no key gives zeros, as in PyTorch.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// use sunstone::tensor::AttentionOptions;
    /// let x = Tensor::from_slice(&[1.0f32, 2.0, 3.0], [1, 3, 1], &Device::cpu());
    /// let y = x.scaled_dot_product_attention(&x, &x, AttentionOptions::new().causal(true));
    /// assert_eq!(y.slice((0, 0)).to_vec::<f32>()?, [1.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn scaled_dot_product_attention(&self, key: &Tensor, value: &Tensor, options: AttentionOptions<'_>) -> Tensor {
        self.attend(key, value, options, Caller::here()).0
    }

    /// [`Tensor::scaled_dot_product_attention`], and the weights `[.., l, s]` before dropout.
    pub(crate) fn attend(&self, key: &Tensor, value: &Tensor, o: AttentionOptions<'_>, at: Caller) -> (Tensor, Tensor) {
        let operands: Vec<&Tensor> = [self, key, value].into_iter().chain(o.mask).collect();
        Tensor::attempt_both("scaled_dot_product_attention", at, &operands, || {
            let groups = self.attention_groups(key, value, o.grouped)?;
            let width = self.shape()[self.rank() - 1];
            let scale = o.scale.unwrap_or(1.0 / (width.max(1) as f64).sqrt());
            // Heads that share keys are further rows of one product.
            let (rows, rank) = (self.shape()[self.rank() - 2], self.rank());
            let share = |t: &Tensor| {
                if groups == 1 { t.clone() } else { t.split_axis(rank - 3, groups, at).merge_axis(rank - 2, at) }
            };
            let apart = |t: &Tensor| match t.shape().last() {
                Some(&last) if groups > 1 => {
                    t.reshape_to(self.shape()[..rank - 2].iter().copied().chain([rows, last]).collect(), at)
                }
                _ => t.clone(),
            };
            let scores = apart(&share(self).matmul(&key.t())).binary(BinaryOp::Mul, scale.into(), at);
            if scores.error().is_some() {
                return Ok((scores.clone(), scores));
            }
            let weights = scores.masked_scores(o.mask, o.causal, at)?.safe_softmax(at);
            let kept = match o.dropout {
                Some((p, generator)) if p != 0.0 => weights.dropout(p, generator),
                _ => weights.clone(),
            };
            Ok((apart(&share(&kept).matmul(value)), weights))
        })
    }

    /// How many heads of queries share one of keys.
    fn attention_groups(&self, key: &Tensor, value: &Tensor, grouped: bool) -> Result<usize, String> {
        let (q, k, v) = (self.shape(), key.shape(), value.shape());
        let bad = |why: &str| Err(format!("query {q}, key {k} and value {v}: {why}"));
        if [self, key, value].iter().any(|t| t.rank() < 2 || !t.dtype().is_float() || t.dtype() != self.dtype()) {
            return bad("all need floats of one type, [.., length, width]");
        }
        let tail = |s: &Shape, i: usize| s[s.rank() - i];
        if tail(q, 1) != tail(k, 1) || tail(k, 2) != tail(v, 2) {
            return bad("widths of query and key, and lengths of key and value, must be equal");
        }
        if !grouped {
            return Ok(1);
        }
        let rank = q.rank();
        if rank < 3
            || k.rank() != rank
            || v.rank() != rank
            || k[..rank - 2] != v[..rank - 2]
            || q[..rank - 3] != k[..rank - 3]
        {
            return bad("grouped heads need the same axes in front of the heads");
        }
        match q[rank - 3].checked_rem(k[rank - 3]) {
            Some(0) => Ok((q[rank - 3] / k[rank - 3]).max(1)),
            _ => bad("the heads of the keys do not divide those of the queries"),
        }
    }

    /// Scores `[.., l, s]` with those that may not be seen at -∞.
    fn masked_scores(&self, mask: Option<&Tensor>, causal: bool, at: Caller) -> Result<Tensor, String> {
        let (rank, mut scores) = (self.rank(), self.clone());
        if causal {
            let row = self.ramp(self.shape()[rank - 2], rank - 2, rank, at);
            let column = self.ramp(self.shape()[rank - 1], rank - 1, rank, at);
            scores = scores.keep_where(&column.binary(BinaryOp::Le, row.into(), at), f64::NEG_INFINITY, at);
        }
        let Some(mask) = mask else { return Ok(scores) };
        if mask.shape().broadcast(self.shape()).as_ref() != Some(self.shape()) {
            return Err(format!("mask {} does not broadcast to the scores {}", mask.shape(), self.shape()));
        }
        match mask.dtype() {
            DType::Bool => Ok(scores.keep_where(mask, f64::NEG_INFINITY, at)),
            dtype if dtype.is_float() => Ok(scores.binary(BinaryOp::Add, mask.cast_at(self.dtype(), at).into(), at)),
            dtype => Err(format!("the mask must be bool or floats, not {dtype}")),
        }
    }

    /// The softmax of the last axis; rows of nothing but -∞, and empty ones, give zeros.
    fn safe_softmax(&self, at: Caller) -> Tensor {
        let rank = self.rank();
        if self.error().is_some() || self.shape()[rank - 1] == 0 {
            return self.clone();
        }
        let last: Dims<usize> = Dims::from_elem(rank - 1, 1);
        // The shift cancels, so no gradient needs to know of it; -∞ must not be subtracted from itself.
        let max = no_grad(|| {
            let max = self.reduce_axes(ReduceOp::Max, last.clone(), true, at);
            max.keep_where(&max.binary(BinaryOp::Ne, f64::NEG_INFINITY.into(), at), 0, at)
        });
        let exp = self.binary(BinaryOp::Sub, max.into(), at).unary(UnaryOp::Exp, at);
        let sum = exp.reduce_axes(ReduceOp::Sum, last, true, at);
        let sum = sum.keep_where(&sum.binary(BinaryOp::Ne, 0.0.into(), at), 1, at);
        exp.binary(BinaryOp::Div, sum.into(), at)
    }
}
