//! Connectionist temporal classification (Graves et al., 2006): the likelihood of a labelling over all its alignments.
//!
//! The forward variables are computed in the log domain, a graph op for every step of time; autograd does the backward
//! ones.

use super::{Reduction, Tensor};
use crate::autograd::no_grad;
use crate::dtype::{DType, Scalar};
use crate::error::Caller;
use crate::graph::Op;

/// The logarithm of a probability that counts as 0: finite, so that differences and slopes are.
const NEVER: f64 = -1e30;

/// Options of [`Tensor::ctc_loss`].
#[derive(Debug, Clone, Copy, Default)]
pub struct CtcLoss {
    /// The class that stands for no label.
    pub blank: usize,
    /// What becomes of the losses of the batch; the mean is over losses divided by their target's length (at least 1).
    pub reduction: Reduction,
    /// A target that no alignment can reach costs nothing instead of infinitely much.
    pub zero_infinity: bool,
}

impl Tensor {
    /// The negative log-likelihood of `targets [n, s]` given `self [t, n, classes]`, log-probabilities at every time.
    ///
    /// Of element `i`, the first `input_lengths[i]` times and the first `target_lengths[i]` targets count (integers, `[n]`
    /// each). A target that is too long for its input has the loss infinity and no gradient. Lengths and
    /// classes out of range are errors of the run that meets them.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// use sunstone::tensor::CtcLoss;
    /// let device = Device::cpu();
    /// // Two times, two classes, all alike: of the four paths, three read as the target [1].
    /// let log_p = Tensor::full([2, 1, 2], 0.5f32.ln(), DType::F32, &device);
    /// let [targets, times, length] = [[1].as_slice(), &[2], &[1]].map(|v| Tensor::from_slice(v, [1], &device));
    /// let loss = log_p.ctc_loss(&targets.reshape([1, 1]), &times, &length, CtcLoss::default());
    /// assert!((loss.item::<f32>()? + 0.75f32.ln()).abs() < 1e-6);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn ctc_loss(&self, targets: &Tensor, input_lengths: &Tensor, target_lengths: &Tensor, spec: CtcLoss) -> Tensor {
        let at = Caller::here();
        let operands = [self, targets, input_lengths, target_lengths];
        if let Some(failed) = operands.iter().find(|t| t.error().is_some()) {
            return (*failed).clone();
        }
        let (x, y) = (self.shape(), targets.shape());
        let fits = x.rank() == 3
            && y.rank() == 2
            && x[1] == y[0]
            && spec.blank < x[2]
            && *input_lengths.shape() == [x[1]]
            && *target_lengths.shape() == [x[1]];
        if !fits || !self.dtype().is_float() || operands[1..].iter().any(|t| !t.dtype().is_int()) {
            let detail = format!(
                "needs float [t, n, classes] with the blank {} among the classes, integer targets [n, s] and lengths [n], \
                 not {} {x}, {} {y}, {} and {}",
                spec.blank,
                self.dtype(),
                targets.dtype(),
                input_lengths.shape(),
                target_lengths.shape()
            );
            return Tensor::bad("ctc_loss", at, detail);
        }
        // Read from a table of the numbers that they may be, so that others are reported.
        let among = |lengths: &Tensor, most: usize| {
            Tensor::apply(
                Op::Gather { axis: 0 },
                &[&Tensor::arange(most + 1, &self.device()), &lengths.as_index(at)],
                at,
            )
        };
        let (times, lengths) = (among(input_lengths, x[0]), among(target_lengths, y[1]));
        let targets = targets.as_index(at);
        let wide = if self.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let states = States::new(&targets, &lengths, spec.blank, at);
        let log_p = self.cast_at(wide, at);
        let losses = -states.log_likelihood(&log_p.masked_fill(&log_p.lt(NEVER), NEVER), &times, at);
        let unreachable = losses.gt(-NEVER / 10.0);
        let instead = if spec.zero_infinity { 0.0 } else { f64::INFINITY };
        let losses = losses.masked_fill(&unreachable, instead).cast_at(self.dtype(), at);
        match spec.reduction {
            Reduction::Mean => (losses / lengths.clamp_min(1).cast_at(self.dtype(), at)).mean(..),
            other => other.of(&losses),
        }
    }
}

/// The targets with a blank before, between and after: `l = 2s + 1` states for each of `n`.
struct States {
    /// The class of each state, `[n, l]`.
    class: Tensor,
    /// 0 where a state may be entered from two before it (another label, none in between), else [`NEVER`]; `[n, l]`.
    skip: Tensor,
    /// 0 at the two states in which an alignment may end, else [`NEVER`]; `[n, l]`.
    end: Tensor,
}

impl States {
    fn new(targets: &Tensor, lengths: &Tensor, blank: usize, at: Caller) -> States {
        let (n, s) = (targets.shape()[0], targets.shape()[1]);
        let iota = |size: usize| Tensor::source(Op::Iota { shape: [n, size].into(), axis: 1 }, &targets.device(), at);
        let column = lengths.reshape_to([n, 1].into(), at);
        let blank = blank as i32;
        // What lies beyond a target's length may be anything, also no class.
        let labels = targets.where_(&iota(s).lt(&column), blank);
        let class = Tensor::stack(&[&labels.zeros_like().masked_fill(&iota(s).ge(0), blank), &labels], 2);
        let class = class.reshape_to([n, 2 * s].into(), at).pad(&[(0, 0), (0, 1)], blank);
        let cost = |allowed: Tensor| allowed.choose(0.0, NEVER);
        let skip = class.ne(blank).bitwise_and(class.ne(shifted(&class, 2, blank)));
        let place = iota(2 * s + 1);
        let last = &column * 2;
        let end = place.eq(&last).bitwise_or(place.eq(&last - 1));
        States { class, skip: cost(skip), end: cost(end) }
    }

    /// `log Σ` over the alignments, `[n]`.
    fn log_likelihood(&self, log_p: &Tensor, times: &Tensor, at: Caller) -> Tensor {
        let (t, n, l) = (log_p.shape()[0], log_p.shape()[1], self.class.shape()[1]);
        let index = self.class.reshape_to([1, n, l].into(), at).broadcast(&[t, n, l].into(), "ctc_loss", at);
        let emitted = Tensor::apply(Op::Gather { axis: 2 }, &[log_p, &index], at);
        let emitted = |time: usize| emitted.narrow(0, time, 1).reshape_to([n, l].into(), at);
        let dtype = log_p.dtype();
        let [skip, end] = [&self.skip, &self.end].map(|t| t.cast_at(dtype, at));
        let place = Tensor::source(Op::Iota { shape: [n, l].into(), axis: 1 }, &log_p.device(), at);
        let times = times.reshape_to([n, 1].into(), at);
        // Before all time one is in the first blank: from there the first step leads to it and to the first label.
        let mut alpha = place.eq(0).choose(0.0, NEVER).cast_at(dtype, at);
        for time in 0..t {
            let from = [alpha.clone(), shifted(&alpha, 1, NEVER), shifted(&alpha, 2, NEVER) + &skip];
            let next = log_sum(&from) + emitted(time);
            alpha = next.where_(&times.gt(time as i32), &alpha);
        }
        (alpha + end).logsumexp(1)
    }
}

/// `x [n, l]` moved `by` places along the last axis, `fill` coming in.
fn shifted(x: &Tensor, by: usize, fill: impl Into<Scalar>) -> Tensor {
    x.pad(&[(0, 0), (by, 0)], fill).narrow(1, 0, x.shape()[1])
}

/// `log Σ exp` of three tensors, element by element.
fn log_sum(parts: &[Tensor; 3]) -> Tensor {
    // The shift cancels, so no gradient needs to know of it.
    let max = no_grad(|| parts[0].maximum(&parts[1]).maximum(&parts[2]));
    let [a, b, c] = [0, 1, 2].map(|i| (&parts[i] - &max).exp());
    (a + b + c).log() + max
}
