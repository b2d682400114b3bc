//! Random tensors. They are made where they live; see [`crate::random`] for what is the same on every device.

use super::Tensor;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{Op, Param};
use crate::random::{Distribution, Generator, shuffled};
use crate::shape::Shape;
use std::ops::Range;

impl Generator {
    /// Uniform in `[0, 1)`, `f32`.
    #[track_caller]
    pub fn rand(&self, shape: impl Into<Shape>, device: &Device) -> Tensor {
        self.draw(shape.into(), Distribution::Uniform, device, Caller::here())
    }

    /// Standard normal, `f32`.
    #[track_caller]
    pub fn randn(&self, shape: impl Into<Shape>, device: &Device) -> Tensor {
        self.draw(shape.into(), Distribution::Normal, device, Caller::here())
    }

    /// 32 random bits each, `u32`.
    #[track_caller]
    pub fn bits(&self, shape: impl Into<Shape>, device: &Device) -> Tensor {
        self.draw(shape.into(), Distribution::Bits, device, Caller::here())
    }

    /// Uniform in `[low, high)` (`high` itself may come of rounding), drawn in `f32`.
    #[track_caller]
    pub fn uniform(&self, shape: impl Into<Shape>, low: f64, high: f64, dtype: DType, device: &Device) -> Tensor {
        self.rand(shape, device).cast(dtype) * (high - low) + low
    }

    /// Normal with this mean and standard deviation, drawn in `f32`.
    #[track_caller]
    pub fn normal(&self, shape: impl Into<Shape>, mean: f64, std: f64, dtype: DType, device: &Device) -> Tensor {
        self.randn(shape, device).cast(dtype) * std + mean
    }

    /// Uniform in `[0, 1)`; shape, dtype and device of `like`.
    #[track_caller]
    pub fn rand_like(&self, like: &Tensor) -> Tensor {
        if like.error().is_some() {
            return like.clone();
        }
        self.rand(like.shape(), &like.device()).cast(like.dtype())
    }

    /// Standard normal; shape, dtype and device of `like`.
    #[track_caller]
    pub fn randn_like(&self, like: &Tensor) -> Tensor {
        if like.error().is_some() {
            return like.clone();
        }
        self.randn(like.shape(), &like.device()).cast(like.dtype())
    }

    /// Integers of `range`, all as likely within `range.len() / 2^32`, `i32`. An error for an empty range.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let dice = Generator::new(3).randint([100], 1..7, &Device::cpu()).to_vec::<i32>()?;
    /// assert!(dice.iter().all(|d| (1..7).contains(d)));
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn randint(&self, shape: impl Into<Shape>, range: Range<i32>, device: &Device) -> Tensor {
        let at = Caller::here();
        let span = range.end as i64 - range.start as i64;
        if !(1..=i32::MAX as i64).contains(&span) {
            return Tensor::bad("randint", at, format!("{range:?} is empty or wider than i32"));
        }
        let bits = self.draw(shape.into(), Distribution::Bits, device, at);
        bits.remainder(span as u32).cast(DType::I32) + range.start
    }

    /// True with probability `p`, `bool`. An error for a `p` outside `[0, 1]`.
    #[track_caller]
    pub fn bernoulli(&self, shape: impl Into<Shape>, p: f64, device: &Device) -> Tensor {
        let at = Caller::here();
        match (0.0..=1.0).contains(&p) {
            true => self.draw(shape.into(), Distribution::Uniform, device, at).lt(p),
            false => Tensor::bad("bernoulli", at, format!("p must lie in [0, 1], not {p}")),
        }
    }

    /// True with the probability that stands at the same place of `p`, `bool`.
    #[track_caller]
    pub fn bernoulli_of(&self, p: &Tensor) -> Tensor {
        let at = Caller::here();
        match p.error() {
            Some(_) => p.clone(),
            None => self.draw(p.shape().clone(), Distribution::Uniform, &p.device(), at).lt(p),
        }
    }

    /// The numbers `0..n` in random order, `i32`, all orders alike. Shuffled on the host, so it is the same on every device.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let mut order = Generator::new(3).permutation(5, &Device::cpu()).to_vec::<i32>()?;
    /// order.sort();
    /// assert_eq!(order, [0, 1, 2, 3, 4]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn permutation(&self, n: usize, device: &Device) -> Tensor {
        match i32::try_from(n).ok().and_then(|n| shuffled(n, self.next())) {
            Some(order) => Tensor::from_vec(order, device),
            None => Tensor::bad("permutation", Caller::here(), format!("{n} is beyond i32 or the host's memory")),
        }
    }

    fn draw(&self, shape: Shape, distribution: Distribution, device: &Device, at: Caller) -> Tensor {
        Tensor::source(Op::Random { shape, distribution, state: Param(self.next()) }, device, at)
    }
}
