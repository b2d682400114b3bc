//! Losses: how far a result is from what it should be. Formulas and options are PyTorch's; all are compositions but for
//! the two that pick a class, whose gradients are written down because they need no scatter.

use super::Tensor;
use crate::autograd::{Function, function, no_grad};
use crate::error::{Caller, Error, Result};
use crate::graph::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::shape::{Dims, Shape};

/// What becomes of the losses of the single elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reduction {
    /// Their mean; where there are weights, the weighted mean. NaN over no elements.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// They are given as they are.
    None,
    /// Their sum divided by the size of the first axis.
    BatchMean,
}

impl Reduction {
    pub(super) fn of(self, losses: &Tensor) -> Tensor {
        match self {
            Reduction::Mean => losses.mean(..),
            Reduction::Sum => losses.sum(..),
            Reduction::None => losses.clone(),
            Reduction::BatchMean => losses.sum(..) * (1.0 / losses.shape().first().copied().unwrap_or(1) as f64),
        }
    }
}

/// Options of [`Tensor::cross_entropy_with`].
///
/// ```
/// # use sunstone::prelude::*;
/// use sunstone::tensor::CrossEntropy;
/// let logits = Tensor::zeros([2, 4], DType::F32, &Device::cpu());
/// let targets = Tensor::from_slice(&[3, -100], [2], &Device::cpu());
/// let spec = CrossEntropy { ignore_index: Some(-100), label_smoothing: 0.1, ..CrossEntropy::default() };
/// let loss = logits.cross_entropy_with(&targets, spec).item::<f32>()?;
/// assert!((loss - 4f32.ln()).abs() < 1e-6);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct CrossEntropy {
    /// A factor for each class, `[classes]`.
    pub weight: Option<Tensor>,
    /// Elements with this target count nothing, and not in the mean (PyTorch's default is `Some(-100)`).
    pub ignore_index: Option<i32>,
    /// How much of each target is spread evenly over all classes (Szegedy et al., 2016).
    pub label_smoothing: f64,
    /// What becomes of the losses.
    pub reduction: Reduction,
}

/// Options of [`Tensor::nll_loss`].
#[derive(Debug, Clone, Default)]
pub struct NllLoss {
    /// A factor for each class, `[classes]`.
    pub weight: Option<Tensor>,
    /// Elements with this target count nothing, and not in the mean (PyTorch's default is `Some(-100)`).
    pub ignore_index: Option<i32>,
    /// What becomes of the losses.
    pub reduction: Reduction,
}

/// Options of [`Tensor::binary_cross_entropy_with_logits`].
#[derive(Debug, Clone, Default)]
pub struct BceWithLogits {
    /// A factor for each element, which broadcasts.
    pub weight: Option<Tensor>,
    /// A factor for the positive part of each element, which broadcasts.
    pub pos_weight: Option<Tensor>,
    /// What becomes of the losses.
    pub reduction: Reduction,
}

/// What a loss over classes works on: logits `[n, c, ..]`, targets `[n, ..]` in range, and which of them count.
struct Classes {
    x: Tensor,
    target: Tensor,
    valid: Option<Tensor>,
    /// The factor of each element's class.
    factor: Option<Tensor>,
    /// The weights of the classes, along axis 1.
    weight: Option<Tensor>,
}

impl Classes {
    fn new(
        name: &'static str,
        x: &Tensor,
        target: &Tensor,
        weight: Option<&Tensor>,
        ignore: Option<i32>,
        at: Caller,
    ) -> Result<Classes, Tensor> {
        if let Some(failed) = [x, target].into_iter().chain(weight).find(|t| t.error().is_some()) {
            return Err(failed.clone());
        }
        let axis = if x.rank() == 1 { 0 } else { 1 };
        let fits = x.rank() > 0 && x.shape().without(&[axis]) == *target.shape() && x.shape()[axis] > 0;
        if !fits || !target.dtype().is_int() || !x.dtype().is_float() {
            let detail = format!(
                "needs floats [n, classes, ..] and integer targets [n, ..], not {} {} and {} {}",
                x.dtype(),
                x.shape(),
                target.dtype(),
                target.shape()
            );
            return Err(Tensor::bad(name, at, detail));
        }
        // A single element is a batch of one; `without` gives its reduction the shape back.
        let single = axis == 0;
        let x = if single { x.reshape_to([1, x.numel()].into(), at) } else { x.clone() };
        let target = if single { target.reshape_to([1].into(), at) } else { target.clone() };
        let classes = x.shape()[1];
        let weight = class_weight(name, weight, &x, at)?;
        let target = target.as_index(at);
        let valid = ignore.map(|i| target.ne(i));
        let target = match &valid {
            Some(valid) => target.where_(valid, 0),
            None => target,
        };
        let factor = weight.as_ref().map(|w| {
            let flat = w.reshape_to([classes].into(), at);
            let index = target.reshape_to([target.numel()].into(), at);
            Tensor::apply(Op::Gather { axis: 0 }, &[&flat, &index], at).reshape_to(target.shape().clone(), at)
        });
        Ok(Classes { x, target, valid, factor, weight })
    }

    /// `losses`, 0 for those that do not count.
    fn counted(&self, losses: Tensor) -> Tensor {
        match &self.valid {
            Some(valid) => losses.where_(valid, 0.0),
            None => losses,
        }
    }

    fn weighted(&self, losses: Tensor) -> Tensor {
        let losses = match &self.factor {
            Some(factor) => losses * factor,
            None => losses,
        };
        self.counted(losses)
    }

    fn reduced(&self, losses: Tensor, reduction: Reduction, shape: &Shape, at: Caller) -> Tensor {
        let share = match (&self.factor, &self.valid) {
            (Some(factor), _) => Some(self.counted(factor.clone())),
            (None, Some(valid)) => Some(valid.cast(losses.dtype())),
            (None, None) => None,
        };
        match (reduction, share) {
            (Reduction::None, _) => losses.reshape_to(shape.clone(), at),
            (Reduction::Mean, Some(share)) => losses.sum(..) / share.sum(..),
            _ => reduction.of(&losses),
        }
    }
}

/// `[classes]` weights along axis 1 of `x`.
fn class_weight(name: &'static str, weight: Option<&Tensor>, x: &Tensor, at: Caller) -> Result<Option<Tensor>, Tensor> {
    let Some(weight) = weight else { return Ok(None) };
    if weight.error().is_some() {
        return Err(weight.clone());
    }
    if *weight.shape() != [x.shape()[1]] {
        let detail = format!("weights of shape {} for the classes of {}", weight.shape(), x.shape());
        return Err(Tensor::bad(name, at, detail));
    }
    let along: Shape = (0..x.rank()).map(|i| if i == 1 { weight.numel() } else { 1 }).collect();
    Ok(Some(weight.cast_at(x.dtype(), at).reshape_to(along, at)))
}

impl Tensor {
    /// The mean over the batch of `-log softmax(self)[target]`: `self [n, classes, ..]`, `targets [n, ..]` integers, or
    /// probabilities of the shape of `self`.
    ///
    /// A target outside `0..classes` is an error of the run that meets it.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let logits = Tensor::zeros([2, 10], DType::F32, &Device::cpu());
    /// let targets = Tensor::from_slice(&[3, 7], [2], &Device::cpu());
    /// let loss = logits.cross_entropy(&targets).item::<f32>()?;
    /// assert!((loss - 10f32.ln()).abs() < 1e-6);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn cross_entropy(&self, targets: &Tensor) -> Tensor {
        self.cross_entropy_with(targets, CrossEntropy::default())
    }

    /// [`Tensor::cross_entropy`] with options. One element's logits may also be `[classes]`, its target then `[]`.
    #[track_caller]
    pub fn cross_entropy_with(&self, targets: &Tensor, spec: CrossEntropy) -> Tensor {
        let at = Caller::here();
        if !(0.0..=1.0).contains(&spec.label_smoothing) {
            let detail = format!("label_smoothing must lie in [0, 1], not {}", spec.label_smoothing);
            return Tensor::bad("cross_entropy", at, detail);
        }
        if targets.dtype().is_float() && targets.error().is_none() {
            return self.cross_entropy_to(targets, spec, at);
        }
        let classes = match Classes::new("cross_entropy", self, targets, spec.weight.as_ref(), spec.ignore_index, at) {
            Ok(classes) => classes,
            Err(bad) => return bad,
        };
        let picked = function::apply_at(Picked { at, normalize: true }, &[&classes.x, &classes.target], at);
        let mut losses = classes.weighted(picked[0].clone());
        let smooth = spec.label_smoothing;
        if smooth > 0.0 {
            let log_p = classes.x.log_softmax(1);
            let log_p = classes.weight.as_ref().map_or(log_p.clone(), |w| log_p * w);
            let even = classes.counted(-log_p.sum(1));
            losses = losses * (1.0 - smooth) + even * (smooth / classes.x.shape()[1] as f64);
        }
        classes.reduced(losses, spec.reduction, targets.shape(), at)
    }

    /// The cross-entropy to probabilities; every element counts.
    fn cross_entropy_to(&self, targets: &Tensor, spec: CrossEntropy, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        if self.shape() != targets.shape() || self.rank() == 0 || self.numel() == 0 || !self.dtype().is_float() {
            let detail = format!(
                "needs float logits and probabilities of one shape [n, classes, ..], not {} {} and {}",
                self.dtype(),
                self.shape(),
                targets.shape()
            );
            return Tensor::bad("cross_entropy", at, detail);
        }
        let single = self.rank() == 1;
        let x = if single { self.reshape_to([1, self.numel()].into(), at) } else { self.clone() };
        let classes = x.shape()[1] as f64;
        let weight = match class_weight("cross_entropy", spec.weight.as_ref(), &x, at) {
            Ok(weight) => weight,
            Err(bad) => return bad,
        };
        let target = targets.cast_at(x.dtype(), at).reshape_to(x.shape().clone(), at);
        let target = match spec.label_smoothing {
            0.0 => target,
            smooth => target * (1.0 - smooth) + smooth / classes,
        };
        let terms = x.log_softmax(1) * target;
        let terms = weight.map_or(terms.clone(), |w| terms * w);
        let losses = -terms.sum(1);
        spec.reduction.of(&if single { losses.reshape_to(Shape::scalar(), at) } else { losses })
    }

    /// The negative of `self [n, classes, ..]` at the class that `targets [n, ..]` name: with log-probabilities, the
    /// likelihood loss.
    #[track_caller]
    pub fn nll_loss(&self, targets: &Tensor, spec: NllLoss) -> Tensor {
        let at = Caller::here();
        match Classes::new("nll_loss", self, targets, spec.weight.as_ref(), spec.ignore_index, at) {
            Ok(classes) => {
                let picked = function::apply_at(Picked { at, normalize: false }, &[&classes.x, &classes.target], at);
                let losses = classes.weighted(picked[0].clone());
                classes.reduced(losses, spec.reduction, targets.shape(), at)
            }
            Err(bad) => bad,
        }
    }

    /// `-(y log x + (1 - y) log(1 - x))` for probabilities `x` and targets `y` of one shape, the logarithms no lower than
    /// -100.
    #[track_caller]
    pub fn binary_cross_entropy(&self, targets: &Tensor, weight: Option<&Tensor>, reduction: Reduction) -> Tensor {
        let at = Caller::here();
        if let Some(bad) = unlike("binary_cross_entropy", self, targets, at) {
            return bad;
        }
        let x = self.floating(at);
        let y = targets.cast_at(x.dtype(), at);
        let losses = function::apply_at(BinaryCrossEntropy, &[&x, &y], at).swap_remove(0);
        reduction.of(&weight.map_or(losses.clone(), |w| losses.binary(BinaryOp::Mul, w.into(), at)))
    }

    /// [`Tensor::binary_cross_entropy`] of `sigmoid(x)`, accurate for every `x`:
    /// `(1 - y)·x + (1 + (pos_weight - 1)·y)·log(1 + e⁻ˣ)`.
    #[track_caller]
    pub fn binary_cross_entropy_with_logits(&self, targets: &Tensor, spec: BceWithLogits) -> Tensor {
        let at = Caller::here();
        if let Some(bad) = unlike("binary_cross_entropy_with_logits", self, targets, at) {
            return bad;
        }
        let x = self.floating(at);
        let y = targets.cast_at(x.dtype(), at);
        let miss = -x.logsigmoid();
        let miss = match &spec.pos_weight {
            Some(w) => miss * ((w - 1.0).binary(BinaryOp::Mul, (&y).into(), at) + 1.0),
            None => miss,
        };
        let losses = x * (1.0 - y) + miss;
        let weighted = spec.weight.as_ref().map_or(losses.clone(), |w| losses.binary(BinaryOp::Mul, w.into(), at));
        spec.reduction.of(&weighted)
    }

    /// The mean of `(self - target)²`.
    #[track_caller]
    pub fn mse_loss(&self, target: &Tensor) -> Tensor {
        self.mse_loss_with(target, Reduction::Mean)
    }

    /// `(self - target)²`, reduced.
    #[track_caller]
    pub fn mse_loss_with(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        let apart = self.floating(Caller::here()).binary(BinaryOp::Sub, target.into(), Caller::here());
        reduction.of(&apart.square())
    }

    /// `|self - target|`, reduced.
    #[track_caller]
    pub fn l1_loss(&self, target: &Tensor, reduction: Reduction) -> Tensor {
        reduction.of(&self.distance(target, Caller::here()))
    }

    /// `d²/2` of the distance `d` where it is at most `delta`, `delta · (d - delta/2)` beyond, reduced (Huber, 1964).
    #[track_caller]
    pub fn huber_loss(&self, target: &Tensor, delta: f64, reduction: Reduction) -> Tensor {
        let (near, far) = self.near_and_far(target, delta, Caller::here());
        reduction.of(&(near.square() * 0.5 + far * delta))
    }

    /// `d²/(2 beta)` of the distance `d` where it is below `beta`, `d - beta/2` beyond, reduced (Girshick, 2015). With a
    /// `beta` of 0 it is [`Tensor::l1_loss`].
    #[track_caller]
    pub fn smooth_l1_loss(&self, target: &Tensor, beta: f64, reduction: Reduction) -> Tensor {
        if beta == 0.0 {
            return self.l1_loss(target, reduction);
        }
        let (near, far) = self.near_and_far(target, beta, Caller::here());
        reduction.of(&(near.square() * (0.5 / beta) + far))
    }

    fn distance(&self, target: &Tensor, at: Caller) -> Tensor {
        self.floating(at).binary(BinaryOp::Sub, target.into(), at).unary(UnaryOp::Abs, at)
    }

    /// The distance, as a part up to `bound` and the rest: nothing overflows where its slope would be multiplied by 0.
    fn near_and_far(&self, target: &Tensor, bound: f64, at: Caller) -> (Tensor, Tensor) {
        let d = self.distance(target, at);
        let near = d.masked_fill(&d.ge(bound), bound);
        let far = d - &near;
        (near, far)
    }

    /// `target · (log target - self)`, where `self` is the logarithm of a distribution, and `target` too if `log_target`
    /// (then it is `exp(target) · (target - self)`). [`Reduction::BatchMean`] gives the divergence of Kullback and Leibler.
    #[track_caller]
    pub fn kl_div(&self, target: &Tensor, log_target: bool, reduction: Reduction) -> Tensor {
        let at = Caller::here();
        let (x, target) = self.floating(at).aligned(target.into(), "kl_div", at);
        let losses = match log_target {
            true => target.exp() * (&target - x),
            // 0 · log 0 is 0.
            false => &target * target.masked_fill(&target.eq(0.0), 1.0).log() - &target * x,
        };
        reduction.of(&losses)
    }
}

/// The error of two tensors that ought to have one shape, or their own.
fn unlike(name: &'static str, x: &Tensor, y: &Tensor, at: Caller) -> Option<Tensor> {
    if let Some(failed) = [x, y].into_iter().find(|t| t.error().is_some()) {
        return Some(failed.clone());
    }
    let detail = || format!("the input {} and the targets {} differ in shape", x.shape(), y.shape());
    (x.shape() != y.shape()).then(|| Tensor::bad(name, at, detail()))
}

/// `-x[target]` along axis 1, of `log softmax(x)` if that is to `normalize`.
struct Picked {
    at: Caller,
    normalize: bool,
}

impl Picked {
    fn column(&self, x: &Tensor, target: &Tensor) -> Tensor {
        target.reshape_to(x.shape().with_ones(&[1]), self.at)
    }
}

impl Function for Picked {
    fn name(&self) -> &'static str {
        if self.normalize { "cross_entropy" } else { "nll_loss" }
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let (x, target) = (&inputs[0], &inputs[1]);
        // Gathered rather than masked, so that a target out of range is reported.
        let picked = Tensor::apply(Op::Gather { axis: 1 }, &[x, &self.column(x, target)], self.at);
        let loss = match self.normalize {
            true => {
                let (_, lse) = x.shifted(1, self.at);
                let max = x.reduce_axes(ReduceOp::Max, Dims::from_elem(1, 1), true, self.at);
                lse + max - picked
            }
            false => -picked,
        };
        Ok(vec![loss.reshape_to(target.shape().clone(), self.at)])
    }

    fn backward(&self, inputs: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
        let (x, target) = (&inputs[0], &inputs[1]);
        let Some(grad) = &grads[0] else { return vec![None, None] };
        let iota = Tensor::source(Op::Iota { shape: x.shape().clone(), axis: 1 }, &x.device(), self.at);
        let hot = iota.eq(self.column(x, target));
        let grad = self.column(x, grad);
        vec![
            Some(match self.normalize {
                true => {
                    let (shifted, lse) = x.shifted(1, self.at);
                    ((shifted - lse).exp() - hot.cast(x.dtype())) * grad
                }
                false => (-grad).where_(&hot, 0.0),
            }),
            None,
        ]
    }
}

/// The slope with respect to a probability is bounded where the logarithms are, which no derivation of the formula gives.
struct BinaryCrossEntropy;

impl BinaryCrossEntropy {
    fn logarithms(x: &Tensor) -> (Tensor, Tensor) {
        (x.log().maximum(-100.0), (-x).log1p().maximum(-100.0))
    }
}

impl Function for BinaryCrossEntropy {
    fn name(&self) -> &'static str {
        "binary_cross_entropy"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
        let (x, y) = (&inputs[0], &inputs[1]);
        let (log_x, log_rest) = BinaryCrossEntropy::logarithms(x);
        Ok(vec![(y - 1.0) * log_rest - y * log_x])
    }

    fn backward(&self, inputs: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
        let (x, y) = (&inputs[0], &inputs[1]);
        let Some(grad) = &grads[0] else { return vec![None, None] };
        let slope = (x - y) / (x * (1.0 - x)).maximum(1e-12);
        let (log_x, log_rest) = no_grad(|| BinaryCrossEntropy::logarithms(x));
        vec![Some(grad * slope), Some(grad * (log_rest - log_x))]
    }
}
