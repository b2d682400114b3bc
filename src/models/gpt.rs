//! A network that guesses the next character of a text: GPT-2 (Radford et al., 2019), small, with nanoGPT's names.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::nn::{Dropout, Embedding, Gelu, Init, LayerNorm, Linear, Module, Parameter, Visitor};
use crate::tensor::Tensor;

/// The most numbers that the parameters, and the attention weights of one layer, may be.
const MAX_NUMBERS: usize = 1 << 31;

/// The sizes of a [`Gpt`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GptConfig {
    /// Characters that it knows.
    pub vocabulary: usize,
    /// Blocks of attention and MLP.
    pub layers: usize,
    /// Heads of each attention; they share the width evenly.
    pub heads: usize,
    /// Numbers that stand for a character.
    pub width: usize,
    /// The most characters that it sees at once.
    pub context: usize,
    /// The share of numbers dropped in training, after the embedding, each attention and each MLP.
    pub dropout: f64,
    /// Whether the head is the embedding's table (Press and Wolf, 2017).
    pub tied: bool,
}

impl GptConfig {
    /// The number of parameters.
    ///
    /// # Errors
    /// [`Error::Invalid`] says which size makes no sense.
    pub fn check(&self) -> Result<usize> {
        let GptConfig { vocabulary, layers, heads, width, context, dropout, tied } = *self;
        let bad = |detail: String| Err(Error::Invalid(detail));
        for (name, size) in
            [("vocabulary", vocabulary), ("layers", layers), ("heads", heads), ("width", width), ("context", context)]
        {
            if size == 0 {
                return bad(format!("{name} must be at least 1"));
            }
        }
        if !width.is_multiple_of(heads) {
            return bad(format!("a width of {width} cannot be shared evenly by {heads} heads"));
        }
        if !(0.0..1.0).contains(&dropout) {
            return bad(format!("dropout must lie in [0, 1), not {dropout}"));
        }
        let scores = context.checked_mul(context).and_then(|n| n.checked_mul(heads)).filter(|&n| n <= MAX_NUMBERS);
        if scores.is_none() {
            return bad(format!("a context of {context} is too long: {heads} heads weigh each pair of its characters"));
        }
        let tables = vocabulary.checked_mul(if tied { 1 } else { 2 }).and_then(|n| n.checked_add(context));
        let count = (width.checked_mul(12).and_then(|n| n.checked_add(13)))
            .and_then(|n| n.checked_mul(width)?.checked_mul(layers))
            .and_then(|n| n.checked_add(tables?.checked_add(2)?.checked_mul(width)?));
        match count.filter(|&n| n <= MAX_NUMBERS) {
            Some(n) => Ok(n),
            None => bad(format!("{layers} layers of width {width} have more than {MAX_NUMBERS} parameters")),
        }
    }
}

/// Takes tokens `[n, t]`, gives the logits of what follows each, `[n, t, vocabulary]`; `t` is at most the context.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::models::gpt::{Gpt, GptConfig};
/// use sunstone::nn::Init;
/// let device = Device::cpu();
/// let config = GptConfig { vocabulary: 65, layers: 2, heads: 2, width: 16, context: 8, dropout: 0.0, tied: true };
/// let model = Gpt::new(config, &Init::new(0, &device))?;
/// let tokens = Tensor::from_slice(&[1, 2, 3, 4, 5, 6], [2, 3], &device);
/// assert_eq!(model.forward(&tokens).dims::<3>()?, [2, 3, 65]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Gpt {
    config: GptConfig,
    device: Device,
    wte: Embedding,
    wpe: Embedding,
    drop: Dropout,
    blocks: Vec<Block>,
    ln_f: LayerNorm,
    head: Parameter,
}

/// Keys and values, `[n, heads, t, width/heads]` each.
pub(super) type KeysValues = [Tensor; 2];

impl Gpt {
    /// A network with GPT-2's first values: normal with deviation 0.02, biases 0, and what is added to the residual
    /// stream scaled by `1/√(2·layers)`.
    ///
    /// # Errors
    /// As [`GptConfig::check`].
    pub fn new(config: GptConfig, init: &Init) -> Result<Gpt> {
        config.check()?;
        let GptConfig { vocabulary, layers, width, context, dropout, tied, .. } = config;
        let table = |count| {
            let table = Embedding::new(count, width, init);
            table.weight().set(init.normal([count, width], 0.0, 0.02));
            table
        };
        let (wte, wpe) = (table(vocabulary), table(context));
        let head = match tied {
            true => wte.weight().clone(),
            false => Parameter::new(init.normal([vocabulary, width], 0.0, 0.02)),
        };
        let drop = Dropout::new(dropout, init);
        let blocks = (0..layers).map(|_| Block::new(&config, init)).collect();
        let ln_f = LayerNorm::new([width], init);
        Ok(Gpt { config, device: init.device().clone(), wte, wpe, drop, blocks, ln_f, head })
    }

    /// Its sizes.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// Where it lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The logits `[n, t, vocabulary]` of `tokens [n, t]` that stand at `positions` (rows `[t, width]` of their table)
    /// and each look at what `seen` shows them (`bool`, `[t, s]`). `remember(layer, [k, v])` gets the keys and values
    /// of these tokens and gives all that are to be looked at, `s` of them.
    pub(super) fn run(
        &self,
        tokens: &Tensor,
        positions: &Tensor,
        seen: &Tensor,
        remember: &mut dyn FnMut(usize, KeysValues) -> KeysValues,
    ) -> Tensor {
        let x = self.drop.forward(&(self.wte.forward(tokens) + positions));
        let x = (self.blocks.iter().enumerate())
            .fold(x, |x, (layer, block)| block.run(&x, seen, &mut |made| remember(layer, made)));
        self.ln_f.forward(&x).matmul(&self.head.get().t())
    }

    /// [`Gpt::run`] from position 0, each token looking at itself and those before it.
    pub(super) fn run_whole(
        &self,
        tokens: &Tensor,
        remember: &mut dyn FnMut(usize, KeysValues) -> KeysValues,
    ) -> Tensor {
        let [_, t] = match tokens.dims::<2>() {
            Ok(dims) => dims,
            Err(error) => return Tensor::failed(error),
        };
        let places = Tensor::arange(t, &self.device);
        let causal = places.reshape([1, t]).le(places.reshape([t, 1]));
        self.run(tokens, &self.wpe.weight().get().narrow(0, 0, t), &causal, remember)
    }

    /// [`Gpt::run`] of one token `[1, 1]` at `position`, a scalar, which is a parameter of the plan and not a part of
    /// it; `remember` gives keys and values for the whole context.
    pub(super) fn run_one(
        &self,
        token: &Tensor,
        position: &Tensor,
        remember: &mut dyn FnMut(usize, KeysValues) -> KeysValues,
    ) -> Tensor {
        let seen = Tensor::arange(self.config.context, &self.device).reshape([1, self.config.context]).le(position);
        self.run(token, &self.wpe.forward(&position.reshape([1])), &seen, remember)
    }
}

impl Module for Gpt {
    fn forward(&self, tokens: &Tensor) -> Tensor {
        self.run_whole(tokens, &mut |_, made| made)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.module("transformer.wte", &self.wte);
        visitor.module("transformer.wpe", &self.wpe);
        visitor.module("transformer.drop", &self.drop);
        for (i, block) in self.blocks.iter().enumerate() {
            for (name, part) in block.parts() {
                visitor.module(&format!("transformer.h.{i}.{name}"), part);
            }
        }
        visitor.module("transformer.ln_f", &self.ln_f);
        visitor.parameter("lm_head.weight", &self.head);
    }
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Debug)]
struct Block {
    heads: usize,
    ln_1: LayerNorm,
    c_attn: Linear,
    attn_dropout: Dropout,
    attn_proj: Linear,
    attn_drop: Dropout,
    ln_2: LayerNorm,
    c_fc: Linear,
    mlp_proj: Linear,
    mlp_drop: Dropout,
}

impl Block {
    fn new(config: &GptConfig, init: &Init) -> Block {
        let &GptConfig { layers, heads, width, dropout, .. } = config;
        let linear = |inputs: usize, outputs: usize, std: f64| {
            let layer = Linear::new(inputs, outputs, init);
            layer.weight().set(init.normal([outputs, inputs], 0.0, std));
            if let Some(bias) = layer.bias() {
                bias.set(init.zeros([outputs]));
            }
            layer
        };
        // Twice a layer something is added to the stream, whose variance must not grow with the depth.
        let residual = 0.02 / ((2 * layers) as f64).sqrt();
        let norm = || LayerNorm::new([width], init);
        let drop = || Dropout::new(dropout, init);
        Block {
            heads,
            ln_1: norm(),
            c_attn: linear(width, 3 * width, 0.02),
            attn_dropout: drop(),
            attn_proj: linear(width, width, residual),
            attn_drop: drop(),
            ln_2: norm(),
            c_fc: linear(width, 4 * width, 0.02),
            mlp_proj: linear(4 * width, width, residual),
            mlp_drop: drop(),
        }
    }

    fn run(&self, x: &Tensor, seen: &Tensor, remember: &mut dyn FnMut(KeysValues) -> KeysValues) -> Tensor {
        let [n, t, width] = match x.dims::<3>() {
            Ok(dims) => dims,
            Err(error) => return Tensor::failed(error),
        };
        let qkv = self.c_attn.forward(&self.ln_1.forward(x));
        let each = [n, t, self.heads, width / self.heads];
        let [q, k, v] = [0, 1, 2].map(|i| qkv.narrow(-1, i * width, width).reshape(each).transpose(1, 2));
        let [k, v] = remember([k, v]);
        let y = attend(&q, &k, &v, seen, &self.attn_dropout);
        let y = y.transpose(1, 2).reshape([n, t, width]);
        let x = x + self.attn_drop.forward(&self.attn_proj.forward(&y));
        let y = Gelu.forward(&self.c_fc.forward(&self.ln_2.forward(&x)));
        x + self.mlp_drop.forward(&self.mlp_proj.forward(&y))
    }

    fn parts(&self) -> [(&'static str, &dyn Module); 9] {
        [
            ("ln_1", &self.ln_1),
            ("attn.c_attn", &self.c_attn),
            ("attn.attn_dropout", &self.attn_dropout),
            ("attn.c_proj", &self.attn_proj),
            ("attn.resid_dropout", &self.attn_drop),
            ("ln_2", &self.ln_2),
            ("mlp.c_fc", &self.c_fc),
            ("mlp.c_proj", &self.mlp_proj),
            ("mlp.dropout", &self.mlp_drop),
        ]
    }
}

/// `softmax(q·kᵀ/√d)·v` over what `seen` shows (Vaswani et al., 2017); `[n, heads, t, d]` looks at `[n, heads, s, d]`.
fn attend(q: &Tensor, k: &Tensor, v: &Tensor, seen: &Tensor, dropout: &Dropout) -> Tensor {
    // Far below any score, and finite: shaders need not know infinities.
    const HIDDEN: f64 = -1e30;
    let d = q.shape().last().map_or(1.0, |&d| d as f64);
    let scores = (q.matmul(&k.t()) * d.sqrt().recip()).where_(seen, HIDDEN);
    dropout.forward(&scores.softmax(-1)).matmul(v)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io;

    fn config(tied: bool) -> GptConfig {
        GptConfig { vocabulary: 11, layers: 2, heads: 2, width: 8, context: 6, dropout: 0.0, tied }
    }

    fn model(config: GptConfig) -> Gpt {
        Gpt::new(config, &Init::new(1, &Device::cpu())).unwrap()
    }

    #[test]
    fn names_and_numbers_are_nanogpts() {
        for tied in [true, false] {
            let model = model(config(tied));
            assert_eq!(model.num_parameters(), config(tied).check().unwrap(), "tied: {tied}");
            let state = model.state_dict();
            let shape = |name: &str| state.iter().find(|(n, _)| n == name).map(|(_, t)| t.shape().to_vec());
            assert_eq!(shape("transformer.wte.weight"), Some(vec![11, 8]));
            assert_eq!(shape("transformer.wpe.weight"), Some(vec![6, 8]));
            assert_eq!(shape("transformer.h.1.attn.c_attn.weight"), Some(vec![24, 8]));
            assert_eq!(shape("transformer.h.0.mlp.c_proj.bias"), Some(vec![8]));
            assert_eq!(shape("lm_head.weight"), Some(vec![11, 8]));
            assert_eq!(state.len(), 3 + 2 * 12 + 2);
        }
    }

    #[test]
    fn first_values_are_gpt2s() {
        let model = model(GptConfig { layers: 8, width: 64, ..config(true) });
        let deviation = |name: &str| {
            let (_, p) = model.parameters().into_iter().find(|(n, _)| n == name).unwrap();
            p.get().square().mean(..).sqrt().item::<f32>().unwrap()
        };
        let (plain, residual) =
            (deviation("transformer.h.3.mlp.c_fc.weight"), deviation("transformer.h.3.mlp.c_proj.weight"));
        assert!((plain / 0.02 - 1.0).abs() < 0.05 && (residual / 0.005 - 1.0).abs() < 0.05, "{plain} and {residual}");
        assert_eq!(deviation("transformer.h.3.attn.c_attn.bias"), 0.0);
    }

    #[test]
    fn no_token_sees_what_comes_after_it() {
        let (model, device) = (model(config(false)), Device::cpu());
        let logits = |tokens: [i32; 6]| {
            let logits = model.forward(&Tensor::from_slice(&tokens, [1, 6], &device));
            logits.to_vec::<f32>().unwrap().chunks(11).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let (a, b) = (logits([1, 2, 3, 4, 5, 6]), logits([1, 2, 3, 9, 5, 6]));
        assert_eq!(a[..3], b[..3]);
        assert!((3..6).all(|t| a[t] != b[t]));
        let short = model.forward(&Tensor::from_slice(&[1, 2, 3], [1, 3], &device)).to_vec::<f32>().unwrap();
        assert!(short.iter().zip(a.concat()).all(|(s, a)| (s - a).abs() < 1e-5));
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        let good = config(true);
        for (bad, part) in [
            (GptConfig { layers: 0, ..good }, "layers"),
            (GptConfig { heads: 3, ..good }, "evenly"),
            (GptConfig { context: 0, ..good }, "context"),
            (GptConfig { context: usize::MAX, ..good }, "too long"),
            (GptConfig { vocabulary: usize::MAX, ..good }, "parameters"),
            (GptConfig { width: usize::MAX - 1, ..good }, "parameters"),
            (GptConfig { dropout: 1.0, ..good }, "dropout"),
            (GptConfig { dropout: f64::NAN, ..good }, "dropout"),
        ] {
            let message = Gpt::new(bad, &Init::new(0, &Device::cpu())).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(message.contains(part), "{bad:?}: {message}");
        }
        let model = model(good);
        for shape in [vec![6], vec![1, 7], vec![2, 3, 1]] {
            let tokens = Tensor::zeros(&shape[..], crate::dtype::DType::I32, &Device::cpu());
            assert!(model.forward(&tokens).realize().is_err(), "{shape:?}");
        }
    }

    #[test]
    fn a_saved_network_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("g.safetensors");
        for tied in [true, false] {
            let (a, b) = (model(config(tied)), Gpt::new(config(tied), &Init::new(2, &Device::cpu())).unwrap());
            io::save(&path, &a.state_dict(), &Default::default()).unwrap();
            b.load_state_dict(&io::load(&path, &Device::cpu()).unwrap().0).unwrap();
            let tokens = Tensor::from_slice(&[1, 2, 3], [1, 3], &Device::cpu());
            assert_eq!(a.forward(&tokens).to_vec::<f32>().unwrap(), b.forward(&tokens).to_vec::<f32>().unwrap());
        }
    }
}
