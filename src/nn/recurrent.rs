//! Recurrent layers: what is known of a sequence so far, carried from step to step. Parameters and gates are PyTorch's.

use super::{Init, Mode, Module, Parameter, Visitor, refuse};
use crate::random::Generator;
use crate::tensor::Tensor;

/// Options of a recurrent layer.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Gru, Init, Recurrence};
/// let spec = Recurrence { layers: 2, bidirectional: true, ..Recurrence::default() };
/// let gru = Gru::new(3, 5, spec, &Init::new(0, &Device::cpu()));
/// let x = Tensor::ones([7, 2, 3], DType::F32, &Device::cpu());
/// let (y, h) = gru.run(&x, None);
/// assert_eq!((y.dims::<3>()?, h.dims::<3>()?), ([7, 2, 10], [4, 2, 5]));
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Recurrence {
    /// Layers, each of which reads the results of the one before.
    pub layers: usize,
    /// With a second pass from the end to the beginning; results lie side by side.
    pub bidirectional: bool,
    /// Sequences are `[n, t, features]` instead of `[t, n, features]`.
    pub batch_first: bool,
    /// With the biases.
    pub bias: bool,
    /// In training, dropout with this probability after every layer but the last.
    pub dropout: f64,
}

impl Default for Recurrence {
    fn default() -> Recurrence {
        Recurrence { layers: 1, bidirectional: false, batch_first: false, bias: true, dropout: 0.0 }
    }
}

/// How an [`Rnn`] bends its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nonlinearity {
    /// `tanh`
    #[default]
    Tanh,
    /// `max(x, 0)`
    Relu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    Rnn(Nonlinearity),
    Lstm,
    Gru,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Cell::Rnn(_) => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// The state after a step, from what the input (`x`) and the last state (`h`) contribute to each gate.
    fn step(self, x: &Tensor, h: &Tensor, state: &[Tensor]) -> Vec<Tensor> {
        let hidden = state[0].shape()[1];
        let gate = |t: &Tensor, k: usize| t.narrow(1, k * hidden, hidden);
        match self {
            Cell::Rnn(Nonlinearity::Tanh) => vec![(x + h).tanh()],
            Cell::Rnn(Nonlinearity::Relu) => vec![(x + h).relu()],
            // Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000.
            Cell::Lstm => {
                let sum = x + h;
                let [input, forget, output] = [0, 1, 3].map(|k| gate(&sum, k).sigmoid());
                let c = forget * &state[1] + input * gate(&sum, 2).tanh();
                vec![output * c.tanh(), c]
            }
            // Cho et al., 2014, in the variant that multiplies the reset gate with the product.
            Cell::Gru => {
                let [reset, update] = [0, 1].map(|k| (gate(x, k) + gate(h, k)).sigmoid());
                let new = (gate(x, 2) + reset * gate(h, 2)).tanh();
                vec![&new + update * (&state[0] - &new)]
            }
        }
    }
}

/// The parameters of one direction of one layer.
#[derive(Debug)]
struct Pass {
    suffix: String,
    weights: [Parameter; 2],
    biases: Option<[Parameter; 2]>,
}

impl Pass {
    fn new(cell: Cell, inputs: usize, hidden: usize, bias: bool, suffix: String, init: &Init) -> Pass {
        // PyTorch draws all of them uniformly in ±1/√hidden.
        let bound = 1.0 / (hidden.max(1) as f64).sqrt();
        let rows = cell.gates() * hidden;
        let matrix = |columns| Parameter::new(init.uniform([rows, columns], -bound, bound));
        let vector = |_| Parameter::new(init.uniform([rows], -bound, bound));
        let weights = [inputs, hidden].map(matrix);
        Pass { suffix, weights, biases: bias.then(|| [(); 2].map(vector)) }
    }

    /// `x` times weight `k`, plus its bias.
    fn affine(&self, k: usize, x: &Tensor) -> Tensor {
        let y = x.matmul(&self.weights[k].get().t());
        match &self.biases {
            Some(biases) => y + biases[k].get(),
            None => y,
        }
    }

    /// The results at every time of `x [t, n, inputs]`, `[t, n, hidden]`, and the last state.
    fn run(&self, cell: Cell, x: &Tensor, mut state: Vec<Tensor>, backward: bool) -> (Tensor, Vec<Tensor>) {
        let t = x.shape()[0];
        // One product for all times; only what the state contributes has to wait its turn.
        let from_input = self.affine(0, x);
        let mut results = Vec::with_capacity(t);
        for i in 0..t {
            let time = if backward { t - 1 - i } else { i };
            let now = from_input.narrow(0, time, 1).squeeze(0);
            state = cell.step(&now, &self.affine(1, &state[0]), &state);
            results.push(state[0].clone());
        }
        if backward {
            results.reverse();
        }
        (Tensor::stack(&results.iter().collect::<Vec<_>>(), 0), state)
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        let named = |what: &str| format!("{what}_{}", self.suffix);
        visitor.parameter(&named("weight_ih"), &self.weights[0]);
        visitor.parameter(&named("weight_hh"), &self.weights[1]);
        if let Some([ih, hh]) = &self.biases {
            visitor.parameter(&named("bias_ih"), ih);
            visitor.parameter(&named("bias_hh"), hh);
        }
    }
}

/// Layers of passes: what the three kinds have in common.
#[derive(Debug)]
struct Stack {
    name: &'static str,
    cell: Cell,
    spec: Recurrence,
    inputs: usize,
    hidden: usize,
    passes: Vec<Pass>,
    mode: Mode,
    generator: Generator,
}

impl Stack {
    fn new(name: &'static str, cell: Cell, inputs: usize, hidden: usize, spec: Recurrence, init: &Init) -> Stack {
        let directions = 1 + spec.bidirectional as usize;
        let pass = |i: usize| {
            let (layer, back) = (i / directions, i % directions);
            let inputs = if layer == 0 { inputs } else { hidden * directions };
            let suffix = format!("l{layer}{}", if back == 1 { "_reverse" } else { "" });
            Pass::new(cell, inputs, hidden, spec.bias, suffix, init)
        };
        let passes = (0..spec.layers * directions).map(pass).collect();
        let generator = Generator::new(init.seed());
        Stack { name, cell, spec, inputs, hidden, passes, mode: Mode::default(), generator }
    }

    /// What is wrong with the input or the state.
    #[track_caller]
    fn misfit(&self, x: &Tensor, state: &[&Tensor]) -> Option<Tensor> {
        if let Some(failed) = std::iter::once(&x).chain(state).find(|t| t.error().is_some()) {
            return Some((*failed).clone());
        }
        let time = self.spec.batch_first as usize;
        if x.rank() != 3 || x.shape()[2] != self.inputs || x.shape()[time] == 0 || self.passes.is_empty() {
            let order = if self.spec.batch_first { "n, t" } else { "t, n" };
            let detail = format!("needs [{order}, {}] with a time or more and a layer, not {}", self.inputs, x.shape());
            return Some(refuse(self.name, detail));
        }
        let expected = [self.passes.len(), x.shape()[1 - time], self.hidden];
        let wrong = state.iter().find(|s| *s.shape() != expected)?;
        Some(refuse(self.name, format!("the state is {}, not {expected:?}", wrong.shape())))
    }

    /// Results and last states (`[layers · directions, n, hidden]` each) from `x` and first ones.
    #[track_caller]
    fn run(&self, x: &Tensor, state: &[&Tensor]) -> (Tensor, Vec<Tensor>) {
        let kinds = if self.cell == Cell::Lstm { 2 } else { 1 };
        if let Some(bad) = self.misfit(x, state) {
            return (bad.clone(), vec![bad; kinds]);
        }
        let directions = 1 + self.spec.bidirectional as usize;
        let mut x = if self.spec.batch_first { x.transpose(0, 1) } else { x.clone() };
        let zeros = Tensor::zeros([x.shape()[1], self.hidden], x.dtype(), &x.device());
        let first = |kind: usize, i: usize| match state.get(kind) {
            Some(s) => s.narrow(0, i, 1).squeeze(0),
            None => zeros.clone(),
        };
        let mut last: Vec<Vec<Tensor>> = vec![Vec::new(); kinds];
        for (layer, passes) in self.passes.chunks(directions).enumerate() {
            if layer > 0 && self.spec.dropout != 0.0 && self.mode.is_training() {
                x = x.dropout(self.spec.dropout, &self.generator);
            }
            let mut results = Vec::with_capacity(directions);
            for (back, pass) in passes.iter().enumerate() {
                let start = (0..kinds).map(|kind| first(kind, layer * directions + back)).collect();
                let (y, end) = pass.run(self.cell, &x, start, back == 1);
                results.push(y);
                last.iter_mut().zip(end).for_each(|(all, s)| all.push(s));
            }
            x = Tensor::cat(&results.iter().collect::<Vec<_>>(), 2);
        }
        let y = if self.spec.batch_first { x.transpose(0, 1) } else { x };
        (y, last.iter().map(|states| Tensor::stack(&states.iter().collect::<Vec<_>>(), 0)).collect())
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.passes.iter().for_each(|pass| pass.visit(visitor));
        visitor.mode(&self.mode);
        if self.spec.dropout != 0.0 {
            visitor.generator("generator", &self.generator);
        }
    }
}

/// `h' = tanh(W_ih·x + b_ih + W_hh·h + b_hh)` (Elman, 1990), or with a ReLU.
///
/// Takes `[t, n, inputs]`, gives `[t, n, hidden]`; see [`Recurrence`] for variations.
#[derive(Debug)]
pub struct Rnn(Stack);

impl Rnn {
    /// Parameters as PyTorch draws and names them: `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`,
    /// `weight_ih_l0_reverse`, ….
    pub fn new(inputs: usize, hidden: usize, bend: Nonlinearity, spec: Recurrence, init: &Init) -> Rnn {
        Rnn(Stack::new("Rnn", Cell::Rnn(bend), inputs, hidden, spec, init))
    }

    /// The results at every time and the last state, from a first one (zeros if not given), `[layers · directions, n, hidden]`.
    #[track_caller]
    pub fn run(&self, x: &Tensor, state: Option<&Tensor>) -> (Tensor, Tensor) {
        let (y, mut last) = self.0.run(x, state.as_slice());
        (y, last.swap_remove(0))
    }
}

/// Gated recurrent unit (Cho et al., 2014): with `σ` the sigmoid, `r, z = σ(W·x + U·h)`,
/// `n = tanh(W_n·x + b_n + r·(U_n·h + c_n))`, `h' = (1 - z)·n + z·h`. Takes and gives what [`Rnn`] does.
#[derive(Debug)]
pub struct Gru(Stack);

impl Gru {
    /// Parameters as of [`Rnn::new`], the gates r, z, n one after another.
    pub fn new(inputs: usize, hidden: usize, spec: Recurrence, init: &Init) -> Gru {
        Gru(Stack::new("Gru", Cell::Gru, inputs, hidden, spec, init))
    }

    /// The results at every time and the last state; see [`Rnn::run`].
    #[track_caller]
    pub fn run(&self, x: &Tensor, state: Option<&Tensor>) -> (Tensor, Tensor) {
        let (y, mut last) = self.0.run(x, state.as_slice());
        (y, last.swap_remove(0))
    }
}

/// Long short-term memory (Hochreiter and Schmidhuber, 1997): with `σ` the sigmoid, `i, f, o = σ(W·x + U·h)`,
/// `g = tanh(W_g·x + U_g·h)`, `c' = f·c + i·g`, `h' = o·tanh(c')`. Takes and gives what [`Rnn`] does.
#[derive(Debug)]
pub struct Lstm(Stack);

impl Lstm {
    /// Parameters as of [`Rnn::new`], the gates i, f, g, o one after another.
    pub fn new(inputs: usize, hidden: usize, spec: Recurrence, init: &Init) -> Lstm {
        Lstm(Stack::new("Lstm", Cell::Lstm, inputs, hidden, spec, init))
    }

    /// The results at every time and the last `(h, c)`, from first ones (zeros if not given).
    #[track_caller]
    pub fn run(&self, x: &Tensor, state: Option<(&Tensor, &Tensor)>) -> (Tensor, (Tensor, Tensor)) {
        let given: Vec<&Tensor> = state.map(|(h, c)| vec![h, c]).unwrap_or_default();
        let (y, mut last) = self.0.run(x, &given);
        let c = last.swap_remove(1);
        (y, (last.swap_remove(0), c))
    }
}

macro_rules! modules {
    ($($name:ident)*) => {$(
        impl Module for $name {
            fn forward(&self, x: &Tensor) -> Tensor {
                self.0.run(x, &[]).0
            }
            fn visit(&self, visitor: &mut Visitor<'_>) {
                self.0.visit(visitor);
            }
        }
    )*};
}
modules!(Rnn Gru Lstm);
