//! Attention with several heads (Vaswani et al., 2017).

use super::{Init, Linear, Mode, Module, Parameter, Visitor, refuse};
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::BinaryOp;
use crate::random::Generator;
use crate::tensor::{AttentionOptions, Tensor};

/// Attention with several heads, with PyTorch's parameters: `in_proj_weight` `[3·width, width]`, `in_proj_bias`,
/// `out_proj.weight` and `out_proj.bias`. [`Module::forward`] is self-attention.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{AttentionInputs, Init, MultiheadAttention};
/// let layer = MultiheadAttention::builder(8, 2).batch_first(true).build(&Init::new(0, &Device::cpu()));
/// let x = Tensor::ones([3, 5, 8], DType::F32, &Device::cpu());
/// assert_eq!(layer.forward(&x).dims::<3>()?, [3, 5, 8]);
/// let (_, weights) = layer.attend(&x, &x, &x, AttentionInputs { causal: true, ..AttentionInputs::default() });
/// assert_eq!(weights.dims::<4>()?, [3, 2, 5, 5]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct MultiheadAttention {
    in_proj_weight: Parameter,
    in_proj_bias: Option<Parameter>,
    out_proj: Linear,
    heads: usize,
    batch_first: bool,
    dropout: f64,
    generator: Generator,
    mode: Mode,
}

/// What a [`MultiheadAttention`] may be told besides queries, keys and values.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttentionInputs<'a> {
    /// What broadcasts to `[n, heads, l, s]`. As in PyTorch's module, `bool` is true where a key may **not** be seen;
    /// floats are added to the scores.
    pub attn_mask: Option<&'a Tensor>,
    /// `bool` `[n, s]`, true for keys that nobody may see.
    pub key_padding_mask: Option<&'a Tensor>,
    /// Whether query `i` sees keys `0..=i` only.
    pub causal: bool,
}

/// The options of a [`MultiheadAttention`].
#[derive(Debug, Clone)]
#[must_use]
pub struct MultiheadAttentionBuilder {
    width: usize,
    heads: usize,
    bias: bool,
    dropout: f64,
    batch_first: bool,
}

impl MultiheadAttentionBuilder {
    /// Whether the projections have biases; they do unless `false` is given.
    pub fn bias(self, bias: bool) -> MultiheadAttentionBuilder {
        MultiheadAttentionBuilder { bias, ..self }
    }

    /// The probability with which weights are dropped in training; 0 unless given.
    pub fn dropout(self, p: f64) -> MultiheadAttentionBuilder {
        MultiheadAttentionBuilder { dropout: p, ..self }
    }

    /// Whether inputs are `[n, l, width]` rather than `[l, n, width]`; they are not unless `true` is given.
    pub fn batch_first(self, batch_first: bool) -> MultiheadAttentionBuilder {
        MultiheadAttentionBuilder { batch_first, ..self }
    }

    /// The layer. With a width that the heads do not divide, its weight carries the error.
    #[track_caller]
    pub fn build(self, init: &Init) -> MultiheadAttention {
        let MultiheadAttentionBuilder { width, heads, bias, dropout, batch_first } = self;
        let fits = width.checked_rem(heads) == Some(0) && width > 0;
        let weight = match width.checked_mul(3).filter(|_| fits) {
            Some(rows) => init.xavier_uniform([rows, width], 1.0),
            None => refuse("MultiheadAttention", format!("a width of {width} has no {heads} heads")),
        };
        let out_proj = if bias { Linear::new(width, width, init) } else { Linear::without_bias(width, width, init) };
        if let Some(bias) = out_proj.bias() {
            bias.set(init.zeros([width]));
        }
        MultiheadAttention {
            in_proj_weight: Parameter::new(weight),
            in_proj_bias: bias.then(|| Parameter::new(init.zeros([width.saturating_mul(3)]))),
            out_proj,
            heads,
            batch_first,
            dropout,
            generator: Generator::new(init.seed()),
            mode: Mode::default(),
        }
    }
}

impl MultiheadAttention {
    /// Heads of size `width / heads`, with biases, without dropout, for inputs `[l, n, width]`.
    #[track_caller]
    pub fn new(width: usize, heads: usize, init: &Init) -> MultiheadAttention {
        MultiheadAttention::builder(width, heads).build(init)
    }

    /// The same with options.
    pub fn builder(width: usize, heads: usize) -> MultiheadAttentionBuilder {
        MultiheadAttentionBuilder { width, heads, bias: true, dropout: 0.0, batch_first: false }
    }

    /// `[3·width, width]`: the projections of queries, keys and values, one above the other.
    pub fn in_proj_weight(&self) -> &Parameter {
        &self.in_proj_weight
    }

    /// `[3·width]`, if there is one.
    pub fn in_proj_bias(&self) -> Option<&Parameter> {
        self.in_proj_bias.as_ref()
    }

    /// The projection of the heads' results.
    pub fn out_proj(&self) -> &Linear {
        &self.out_proj
    }

    /// What the queries gather, in their shape, and the weights `[n, heads, l, s]` of every head before dropout.
    #[track_caller]
    pub fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        inputs: AttentionInputs<'_>,
    ) -> (Tensor, Tensor) {
        let at = Caller::here();
        let weight = self.in_proj_weight.get();
        let operands: Vec<&Tensor> =
            [query, key, value, &weight].into_iter().chain(inputs.attn_mask).chain(inputs.key_padding_mask).collect();
        Tensor::attempt_both("MultiheadAttention", at, &operands, || {
            let width = weight.shape()[1];
            if let Some(t) = operands[..3].iter().find(|t| t.rank() != 3 || t.shape()[2] != width) {
                let order = if self.batch_first { "[n, l, width]" } else { "[l, n, width]" };
                return Err(format!("needs {order} with width {width}, not {}", t.shape()));
            }
            let heads = |part: usize, x: &Tensor| self.project(part, x, &weight, width, at);
            let (q, k, v) = (heads(0, query), heads(1, key), heads(2, value));
            let mask = self.mask(inputs, key)?;
            let mut options = AttentionOptions::new().causal(inputs.causal);
            if let Some(mask) = &mask {
                options = options.mask(mask);
            }
            if self.mode.is_training() {
                options = options.dropout(self.dropout, &self.generator);
            }
            let (y, weights) = q.attend(&k, &v, options, at);
            // [n, heads, l, e] → [n, l, heads·e] or [l, n, heads·e]
            let y = if self.batch_first { y.permute(&[0, 2, 1, 3]) } else { y.permute(&[2, 0, 1, 3]) };
            Ok((self.out_proj.forward(&y.merge_axis(2, at)), weights))
        })
    }

    /// Projection `part` of three, as `[n, heads, l, e]`.
    fn project(&self, part: usize, x: &Tensor, weight: &Tensor, width: usize, at: Caller) -> Tensor {
        let rows = weight.narrow_to(0, part * width, width, at);
        let y = x.matmul(&rows.t());
        let y = match &self.in_proj_bias {
            Some(bias) => y.binary(BinaryOp::Add, bias.get().narrow_to(0, part * width, width, at).into(), at),
            None => y,
        };
        let y = y.split_axis(2, width / self.heads, at);
        if self.batch_first { y.permute(&[0, 2, 1, 3]) } else { y.permute(&[1, 2, 0, 3]) }
    }

    /// Both masks as one for the scores: true where a key may be seen, or floats to add.
    fn mask(&self, inputs: AttentionInputs<'_>, key: &Tensor) -> Result<Option<Tensor>, String> {
        let seen = |m: &Tensor| if m.dtype() == DType::Bool { m.logical_not() } else { m.clone() };
        let padding = match inputs.key_padding_mask {
            Some(m) => {
                let [n, s] = if self.batch_first { [0, 1] } else { [1, 0] }.map(|a: usize| key.shape()[a]);
                if *m.shape() != [n, s] || m.dtype() != DType::Bool {
                    return Err(format!(
                        "the key padding mask must be bool [{n}, {s}], not {} {}",
                        m.dtype(),
                        m.shape()
                    ));
                }
                Some(m.logical_not().reshape([n, 1, 1, s]))
            }
            None => None,
        };
        Ok(match (inputs.attn_mask.map(seen), padding) {
            (Some(m), Some(p)) if m.dtype() == DType::Bool => Some(m.bitwise_and(&p)),
            (Some(m), Some(p)) => Some(m.where_(&p, f64::NEG_INFINITY)),
            (Some(m), None) => Some(m),
            (None, p) => p,
        })
    }
}

impl Module for MultiheadAttention {
    fn forward(&self, x: &Tensor) -> Tensor {
        self.attend(x, x, x, AttentionInputs::default()).0
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.parameter("in_proj_weight", &self.in_proj_weight);
        if let Some(bias) = &self.in_proj_bias {
            visitor.parameter("in_proj_bias", bias);
        }
        visitor.module("out_proj", &self.out_proj);
        visitor.mode(&self.mode);
        visitor.generator("generator", &self.generator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;

    fn layer(batch_first: bool) -> MultiheadAttention {
        MultiheadAttention::builder(6, 3).batch_first(batch_first).build(&Init::new(4, &Device::cpu()))
    }

    #[test]
    fn parameters_have_pytorchs_names_and_shapes() {
        let state = layer(true).state_dict();
        let seen: Vec<String> = state.iter().map(|(name, t)| format!("{name} {}", t.shape())).collect();
        assert_eq!(
            seen,
            ["in_proj_weight [18, 6]", "in_proj_bias [18]", "out_proj.weight [6, 6]", "out_proj.bias [6]"]
        );
    }

    #[test]
    fn the_order_of_axes_changes_nothing_else() {
        let x = Init::new(1, &Device::cpu()).normal([2, 5, 6], 0.0, 1.0);
        let (first, second) = (layer(true), layer(false));
        second.load_state_dict(&first.state_dict()).unwrap();
        let a = first.forward(&x).to_vec::<f32>().unwrap();
        let b = second.forward(&x.transpose(0, 1)).transpose(0, 1).to_vec::<f32>().unwrap();
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    }

    #[test]
    fn masks_are_true_where_nothing_may_be_seen() {
        let device = Device::cpu();
        let x = Init::new(1, &device).normal([1, 3, 6], 0.0, 1.0);
        let hidden = Tensor::from_slice(&[false, true, false], [1, 3], &device);
        let inputs = AttentionInputs { key_padding_mask: Some(&hidden), ..AttentionInputs::default() };
        let weights = layer(true).attend(&x, &x, &x, inputs).1;
        assert!(weights.select(-1, 1).to_vec::<f32>().unwrap().iter().all(|&w| w == 0.0));
        let above = Tensor::ones([3, 3], DType::Bool, &device).triu(1);
        let masked = AttentionInputs { attn_mask: Some(&above), ..AttentionInputs::default() };
        let causal = AttentionInputs { causal: true, ..AttentionInputs::default() };
        let read = |inputs| layer(true).attend(&x, &x, &x, inputs).0.to_vec::<f32>().unwrap();
        assert_eq!(read(masked), read(causal));
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_an_error() {
        let layer = MultiheadAttention::new(7, 3, &Init::new(0, &Device::cpu()));
        let message = layer.forward(&Tensor::ones([1, 1, 7], DType::F32, &Device::cpu())).realize().unwrap_err();
        assert!(message.to_string().contains("7 has no 3 heads"), "{message}");
    }
}
