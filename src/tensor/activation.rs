//! Activations: the functions between the layers of a network. Formulas, and the slopes at the corners, are PyTorch's.

use super::axes::resolve;
use super::{Operand, Tensor};
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{BinaryOp, UnaryOp};

/// Klambauer et al., *Self-normalizing neural networks*, 2017.
const SELU_ALPHA: f64 = 1.6732632423543772;
const SELU_SCALE: f64 = 1.0507009873554805;

/// Past this many e-foldings `log(1 + eˣ)` is `x` in double precision too, and `eˣ` is still finite in single.
const LINEAR: f64 = 80.0;

impl Tensor {
    /// Itself, or as `f32` where functions of floats are meant for integers and bools too.
    pub(crate) fn floating(&self, at: Caller) -> Tensor {
        if self.dtype().is_float() { self.clone() } else { self.cast_at(DType::F32, at) }
    }

    /// What `f` makes of it as a float; a half is rounded once, at the end.
    pub(super) fn composed(&self, at: Caller, f: impl FnOnce(Tensor) -> Tensor) -> Tensor {
        self.floating(at).widened(at, |x| f(x.clone()))
    }

    /// `min(max(x, 0), 6)` (Krizhevsky, 2010). No slope at 0 and at 6.
    #[track_caller]
    pub fn relu6(&self) -> Tensor {
        self.hardtanh(0.0, 6.0)
    }

    /// Limited to `min..=max`; no slope at the ends; NaN stays NaN.
    #[track_caller]
    pub fn hardtanh(&self, min: f64, max: f64) -> Tensor {
        self.composed(Caller::here(), |x| {
            let x = x.masked_fill(&x.le(min), min);
            x.masked_fill(&x.ge(max), max)
        })
    }

    /// `min(max(x + 3, 0), 6) / 6` (Howard et al., 2019).
    #[track_caller]
    pub fn hardsigmoid(&self) -> Tensor {
        (self.floating(Caller::here()) + 3.0).hardtanh(0.0, 6.0) * (1.0 / 6.0)
    }

    /// `x · hardsigmoid(x)` (Howard et al., 2019).
    #[track_caller]
    pub fn hardswish(&self) -> Tensor {
        self.binary(BinaryOp::Mul, self.hardsigmoid().into(), Caller::here())
    }

    /// `x` where it is positive, `slope · x` elsewhere (Maas et al., 2013).
    #[track_caller]
    pub fn leaky_relu(&self, slope: f64) -> Tensor {
        self.composed(Caller::here(), |x| x.where_(&x.gt(0.0), &x * slope))
    }

    /// `x` where it is positive, `weight · x` elsewhere (He et al., 2015). `weight` has one element, or one for each
    /// channel, which is axis 1.
    #[track_caller]
    pub fn prelu(&self, weight: &Tensor) -> Tensor {
        let at = Caller::here();
        let channels = if self.rank() > 1 { self.shape()[1] } else { 1 };
        let fits = weight.rank() <= 1 && (weight.numel() == 1 || weight.numel() == channels);
        if self.error().is_none() && weight.error().is_none() && !fits {
            let detail = format!("a weight of shape {} does not fit the {channels} channels", weight.shape());
            return Tensor::bad("prelu", at, detail);
        }
        let mut sizes = vec![1; self.rank().max(1)];
        if weight.numel() > 1 {
            sizes[1] = channels;
        }
        let x = self.floating(at);
        // Where the weight has no part, its slope must not be 0 times something infinite.
        let negative = x.masked_fill(&x.gt(0.0), 0.0);
        let below = negative.binary(BinaryOp::Mul, weight.reshape(&sizes[..]).into(), at);
        x.where_(&x.gt(0.0), below.reshape_to(x.shape().clone(), at))
    }

    /// `outer · (exp(inner · x) - 1)` where `x` is not positive, itself elsewhere.
    fn exponential_below(&self, outer: f64, inner: f64, at: Caller) -> Tensor {
        self.composed(at, |x| {
            let below = x.le(0.0);
            // The exponential must not overflow where it is not wanted: its slope there would be 0·∞.
            let shielded = x.where_(&below, 0.0);
            ((shielded * inner).expm1() * outer).where_(&below, &x)
        })
    }

    /// `x` where it is positive, `alpha · (eˣ - 1)` elsewhere (Clevert et al., 2016).
    #[track_caller]
    pub fn elu(&self, alpha: f64) -> Tensor {
        self.exponential_below(alpha, 1.0, Caller::here())
    }

    /// `x` where it is positive, `alpha · (exp(x / alpha) - 1)` elsewhere (Barron, 2017); smooth for every `alpha`.
    #[track_caller]
    pub fn celu(&self, alpha: f64) -> Tensor {
        self.exponential_below(alpha, 1.0 / alpha, Caller::here())
    }

    /// [`Tensor::elu`] with the scales that keep mean 0 and variance 1 (Klambauer et al., 2017).
    #[track_caller]
    pub fn selu(&self) -> Tensor {
        self.exponential_below(SELU_ALPHA, 1.0, Caller::here()) * SELU_SCALE
    }

    /// The approximation `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))` of [`Tensor::gelu`] (Hendrycks and Gimpel, 2016).
    #[track_caller]
    pub fn gelu_tanh(&self) -> Tensor {
        self.composed(Caller::here(), |x| {
            let inner = (x.square() * &x * 0.044715 + &x) * (2.0 / std::f64::consts::PI).sqrt();
            (inner.tanh() + 1.0) * 0.5 * x
        })
    }

    /// `log(1 + exp(beta · x)) / beta`, and `x` itself where `beta · x` exceeds `threshold` (PyTorch's defaults are 1 and 20).
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[0.0f32, 1000.0, -1000.0], [3], &Device::cpu());
    /// assert_eq!(x.softplus(1.0, 20.0).to_vec::<f32>()?, [2f32.ln(), 1000.0, 0.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn softplus(&self, beta: f64, threshold: f64) -> Tensor {
        self.composed(Caller::here(), |x| {
            let scaled = &x * beta;
            let linear = scaled.gt(threshold.min(LINEAR));
            let curve = scaled.masked_fill(&linear, 0.0).exp().log1p() * (1.0 / beta);
            x.where_(&linear, curve)
        })
    }

    /// `log(sigmoid(x))`, accurate at both ends.
    #[track_caller]
    pub fn logsigmoid(&self) -> Tensor {
        self.composed(Caller::here(), |x| -(-x).softplus(1.0, LINEAR))
    }

    /// `x · tanh(softplus(x))` (Misra, 2020).
    #[track_caller]
    pub fn mish(&self) -> Tensor {
        self.composed(Caller::here(), |x| &x * x.softplus(1.0, 20.0).tanh())
    }

    /// `x / (1 + |x|)`
    #[track_caller]
    pub fn softsign(&self) -> Tensor {
        self.composed(Caller::here(), |x| &x / (x.abs() + 1.0))
    }

    /// `x - tanh(x)`
    #[track_caller]
    pub fn tanhshrink(&self) -> Tensor {
        self.composed(Caller::here(), |x| &x - x.tanh())
    }

    /// 0 within `lambda` of 0, elsewhere `lambda` nearer to it.
    #[track_caller]
    pub fn softshrink(&self, lambda: f64) -> Tensor {
        self.composed(Caller::here(), |x| (&x - x.sign() * lambda).masked_fill(&x.abs().le(lambda), 0.0))
    }

    /// 0 within `lambda` of 0, elsewhere `x`.
    #[track_caller]
    pub fn hardshrink(&self, lambda: f64) -> Tensor {
        self.composed(Caller::here(), |x| x.masked_fill(&x.abs().le(lambda), 0.0))
    }

    /// `x` where it exceeds `threshold`, `value` elsewhere.
    #[track_caller]
    pub fn threshold(&self, threshold: f64, value: f64) -> Tensor {
        self.composed(Caller::here(), |x| x.masked_fill(&x.le(threshold), value))
    }

    /// `a · sigmoid(b)`, `a` and `b` being the halves of `x` along `axis` (Dauphin et al., 2017). An error if its size is odd.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[3.0f32, 4.0, 0.0, 0.0], [2, 2], &Device::cpu());
    /// assert_eq!(x.glu(0).to_vec::<f32>()?, [1.5, 2.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn glu(&self, axis: isize) -> Tensor {
        let at = Caller::here();
        match resolve(axis as i64, self.rank()) {
            _ if self.error().is_some() => self.clone(),
            Ok(a) if self.shape()[a].is_multiple_of(2) => {
                let half = self.shape()[a] / 2;
                let gate = self.narrow(axis, half, half).unary(UnaryOp::Sigmoid, at);
                self.narrow(axis, 0, half).binary(BinaryOp::Mul, Operand::Tensor(gate), at)
            }
            Ok(a) => Tensor::bad("glu", at, format!("axis {a} of {} cannot be halved", self.shape())),
            Err(detail) => Tensor::bad("glu", at, detail),
        }
    }
}
