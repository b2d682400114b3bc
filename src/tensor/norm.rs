//! Normalization: rows, groups or channels brought to mean 0 and variance 1. Compositions; the scheduler makes each one kernel.

use super::Tensor;
use crate::autograd::no_grad;
use crate::error::Caller;
use crate::graph::{BinaryOp, UnaryOp};
use crate::shape::Shape;

/// The axes that count as channels in `[n, c, ..]` lie at 1; their parameters are laid along it.
fn along_channels(t: &Tensor, rank: usize, at: Caller) -> Tensor {
    let shape: Shape = (0..rank).map(|i| if i == 1 { t.numel() } else { 1 }).collect();
    t.reshape_to(shape, at)
}

impl Tensor {
    /// `self · weight + bias`, of those that are there.
    fn scaled(&self, weight: Option<Tensor>, bias: Option<Tensor>, at: Caller) -> Tensor {
        let y = weight.map_or(self.clone(), |w| self.binary(BinaryOp::Mul, w.into(), at));
        bias.map_or(y.clone(), |b| y.binary(BinaryOp::Add, b.into(), at))
    }

    /// `(x - E[x]) / √(Var[x] + eps)` over `axes`.
    fn standardized(&self, axes: &[usize], eps: f64, at: Caller) -> Tensor {
        let centred = self.binary(BinaryOp::Sub, self.mean_keepdim(axes).into(), at);
        let var = centred.square().mean_keepdim(axes);
        let scale = var.binary(BinaryOp::Add, eps.into(), at).unary(UnaryOp::Rsqrt, at);
        centred.binary(BinaryOp::Mul, scale.into(), at)
    }

    /// The last `count` axes; or the error of `name`, also when the parameters do not have their shape.
    fn last_axes(
        &self,
        name: &'static str,
        count: usize,
        parameters: &[Option<&Tensor>],
        at: Caller,
    ) -> Result<Vec<usize>, Tensor> {
        let given = || parameters.iter().flatten().copied();
        if let Some(failed) = std::iter::once(self).chain(given()).find(|t| t.error().is_some()) {
            return Err(failed.clone());
        }
        let Some(first) = self.rank().checked_sub(count) else {
            return Err(Tensor::bad(name, at, format!("{count} axes of {}", self.shape())));
        };
        match given().find(|t| t.shape()[..] != self.shape()[first..]) {
            Some(t) => {
                let detail = format!("a parameter {} beside the last {count} axes of {}", t.shape(), self.shape());
                Err(Tensor::bad(name, at, detail))
            }
            None => Ok((first..self.rank()).collect()),
        }
    }

    /// `(x - E[x]) / √(Var[x] + eps)` over the last `axes` axes (Ba et al., 2016), without scale and shift.
    #[track_caller]
    pub fn layer_norm(&self, axes: usize, eps: f64) -> Tensor {
        self.layer_norm_with(axes, None, None, eps)
    }

    /// [`Tensor::layer_norm`], then `· weight + bias`, both of the shape of the last `axes` axes.
    #[track_caller]
    pub fn layer_norm_with(&self, axes: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        let at = Caller::here();
        match self.last_axes("layer_norm", axes, &[weight, bias], at) {
            Ok(list) => self
                .floating(at)
                .widened(at, |x| x.standardized(&list, eps, at).scaled(weight.cloned(), bias.cloned(), at)),
            Err(bad) => bad,
        }
    }

    /// `x / √(E[x²] + eps) · weight` over the last `axes` axes (Zhang and Sennrich, 2019).
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::from_slice(&[1.0f32, 7.0], [2], &Device::cpu());
    /// assert_eq!(x.rms_norm(1, None, 0.0).to_vec::<f32>()?, [0.2, 1.4]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn rms_norm(&self, axes: usize, weight: Option<&Tensor>, eps: f64) -> Tensor {
        let at = Caller::here();
        match self.last_axes("rms_norm", axes, &[weight], at) {
            Ok(list) => self.floating(at).widened(at, |x| {
                let square = x.square().mean_keepdim(&list[..]);
                let scale = square.binary(BinaryOp::Add, eps.into(), at).unary(UnaryOp::Rsqrt, at);
                x.binary(BinaryOp::Mul, scale.into(), at).scaled(weight.cloned(), None, at)
            }),
            Err(bad) => bad,
        }
    }

    /// Laid along the channels of `[n, c, ..]`; or the error of `name`, also when they are not `[c]`.
    fn by_channel<const N: usize>(
        &self,
        name: &'static str,
        parameters: [Option<&Tensor>; N],
        at: Caller,
    ) -> Result<[Option<Tensor>; N], Tensor> {
        let given = || parameters.iter().flatten().copied();
        if let Some(failed) = std::iter::once(self).chain(given()).find(|t| t.error().is_some()) {
            return Err(failed.clone());
        }
        if self.rank() < 2 {
            return Err(Tensor::bad(name, at, format!("needs [n, channels, ..], not {}", self.shape())));
        }
        let channels = self.shape()[1];
        match given().find(|t| *t.shape() != [channels]) {
            Some(t) => {
                let detail = format!("a parameter of shape {} does not fit the {channels} channels", t.shape());
                Err(Tensor::bad(name, at, detail))
            }
            None => Ok(parameters.map(|p| p.map(|t| along_channels(t, self.rank(), at)))),
        }
    }

    /// Normalizes each of `groups` groups of channels of `[n, c, ..]` by itself, then `· weight + bias` (`[c]` each)
    /// (Wu and He, 2018).
    #[track_caller]
    pub fn group_norm(&self, groups: usize, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        let at = Caller::here();
        let [weight, bias] = match self.by_channel("group_norm", [weight, bias], at) {
            Ok(parameters) => parameters,
            Err(bad) => return bad,
        };
        let (n, c) = (self.shape()[0], self.shape()[1]);
        if groups == 0 || !c.is_multiple_of(groups) {
            return Tensor::bad("group_norm", at, format!("{c} channels cannot be put into {groups} groups"));
        }
        let size = c / groups * self.shape()[2..].iter().product::<usize>();
        self.floating(at).widened(at, |x| {
            let rows = x.reshape_to([n, groups, size].into(), at).standardized(&[2], eps, at);
            rows.reshape_to(self.shape().clone(), at).scaled(weight, bias, at)
        })
    }

    /// Normalizes each channel of each element of `[n, c, ..]` by itself, then `· weight + bias` (`[c]` each)
    /// (Ulyanov et al., 2016).
    #[track_caller]
    pub fn instance_norm(&self, weight: Option<&Tensor>, bias: Option<&Tensor>, eps: f64) -> Tensor {
        let at = Caller::here();
        match self.by_channel("instance_norm", [weight, bias], at) {
            Ok([weight, bias]) => {
                let axes: Vec<usize> = (2..self.rank()).collect();
                self.floating(at).widened(at, |x| x.standardized(&axes, eps, at).scaled(weight, bias, at))
            }
            Err(bad) => bad,
        }
    }

    /// `(x - mean) / √(var + eps) · weight + bias` by given statistics, `[c]` each, over `[n, c, ..]` (Ioffe and Szegedy,
    /// 2015): batch normalization as it is used, not trained.
    #[track_caller]
    pub fn batch_norm(
        &self,
        mean: &Tensor,
        var: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Tensor {
        let at = Caller::here();
        match self.by_channel("batch_norm", [Some(mean), Some(var), weight, bias], at) {
            Ok([Some(mean), Some(var), weight, bias]) => {
                let scale = var.binary(BinaryOp::Add, eps.into(), at).unary(UnaryOp::Rsqrt, at);
                let centred = self.binary(BinaryOp::Sub, mean.into(), at);
                centred.binary(BinaryOp::Mul, scale.into(), at).scaled(weight, bias, at)
            }
            Ok(_) => self.clone(),
            Err(bad) => bad,
        }
    }

    /// Batch normalization in training: each channel of `[n, c, ..]` by its own mean and (biased) variance over the batch,
    /// then `· weight + bias`. Beside it the batch's statistics, detached: the mean and the unbiased variance, `[c]` each,
    /// of which running ones are made (`running · (1 - momentum) + these · momentum`).
    ///
    /// An error when a channel has fewer than two elements.
    #[track_caller]
    pub fn batch_norm_training(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> (Tensor, Tensor, Tensor) {
        let at = Caller::here();
        let failed = |bad: Tensor| (bad.clone(), bad.clone(), bad);
        let [weight, bias] = match self.by_channel("batch_norm", [weight, bias], at) {
            Ok(parameters) => parameters,
            Err(bad) => return failed(bad),
        };
        let axes: Vec<usize> = (0..self.rank()).filter(|&i| i != 1).collect();
        let count: usize = axes.iter().map(|&i| self.shape()[i]).product();
        if count < 2 {
            let detail = format!("training needs more than one value per channel, the input is {}", self.shape());
            return failed(Tensor::bad("batch_norm", at, detail));
        }
        let x = self.floating(at);
        let mean = x.mean_keepdim(&axes[..]);
        let centred = x.binary(BinaryOp::Sub, (&mean).into(), at);
        let var = centred.square().mean_keepdim(&axes[..]);
        let scale = var.binary(BinaryOp::Add, eps.into(), at).unary(UnaryOp::Rsqrt, at);
        let y = centred.binary(BinaryOp::Mul, scale.into(), at).scaled(weight, bias, at);
        let unbiased = count as f64 / (count as f64 - 1.0);
        let flat = |t: Tensor| t.detach().reshape_to([self.shape()[1]].into(), at);
        no_grad(|| (y, flat(mean), flat(var) * unbiased))
    }
}
