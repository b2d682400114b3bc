//! What is a tensor at places between its elements?

use super::Tensor;
use crate::dtype::DType;
use crate::error::Caller;
use crate::graph::{BinaryOp, UnaryOp};

/// How [`Tensor::interpolate`] finds an element between others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InterpolateMode {
    /// The one at `⌊i·in/out⌋`.
    #[default]
    Nearest,
    /// The one at `⌊(i + ½)·in/out⌋`.
    NearestExact,
    /// A weighted mean of the two nearest along each axis: linear, bilinear, trilinear.
    Linear,
}

/// The output's size, or how many times larger it is, and how elements are found.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct InterpolateOptions {
    target: Target,
    mode: InterpolateMode,
    align_corners: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Target {
    Size(Vec<usize>),
    Scale(Vec<f64>),
}

impl InterpolateOptions {
    /// To these sizes, one for each axis behind the channels.
    pub fn size(size: impl Into<Vec<usize>>) -> InterpolateOptions {
        InterpolateOptions { target: Target::Size(size.into()), mode: InterpolateMode::Nearest, align_corners: false }
    }

    /// To so many times the size: one factor for each axis behind the channels, or one for all. Sizes are rounded down; the
    /// places of elements follow from the factors, not from the rounded sizes.
    pub fn scale_factor(scale: impl Into<Vec<f64>>) -> InterpolateOptions {
        InterpolateOptions { target: Target::Scale(scale.into()), mode: InterpolateMode::Nearest, align_corners: false }
    }

    /// How elements are found; the nearest unless given.
    pub fn mode(mut self, mode: InterpolateMode) -> InterpolateOptions {
        self.mode = mode;
        self
    }

    /// Whether the centres of the first and last elements stay where they are, rather than the outer edges; linear only.
    pub fn align_corners(mut self, align: bool) -> InterpolateOptions {
        self.align_corners = align;
        self
    }
}

/// One axis: `n` elements to `out`, and the factor that was asked for, if one was.
struct Axis {
    n: usize,
    out: usize,
    scale: Option<f64>,
}

impl Axis {
    /// Elements of the input per element of the output, in the precision that places are computed in.
    fn step(&self) -> f64 {
        self.scale.map_or(self.n as f64 / self.out as f64, |s| 1.0 / s)
    }

    /// Whether the factor is the sizes' own.
    fn is_plain(&self) -> bool {
        self.scale.is_none_or(|s| s * self.n as f64 == self.out as f64)
    }
}

impl Tensor {
    /// `[n, c, ..]` with the axes behind the channels resampled, following PyTorch's `interpolate`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// use sunstone::tensor::{InterpolateMode, InterpolateOptions};
    /// let x = Tensor::from_slice(&[1.0f32, 3.0], [1, 1, 2], &Device::cpu());
    /// let linear = InterpolateOptions::size([4]).mode(InterpolateMode::Linear);
    /// assert_eq!(x.interpolate(&linear).to_vec::<f32>()?, [1.0, 1.5, 2.5, 3.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn interpolate(&self, options: &InterpolateOptions) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("interpolate", at, &[self], || {
            let axes = self.resampled(&options.target)?;
            let linear = options.mode == InterpolateMode::Linear;
            if options.align_corners && !linear {
                return Err("only linear interpolation aligns corners".into());
            }
            if linear && !self.dtype().is_float() {
                return Err(format!("linear interpolation is not defined for {}", self.dtype()));
            }
            Ok(axes.iter().enumerate().fold(self.clone(), |x, (i, axis)| match options.mode {
                InterpolateMode::Linear => x.linear_along(2 + i, axis, options.align_corners, at),
                mode => x.nearest_along(2 + i, axis, mode == InterpolateMode::NearestExact, at),
            }))
        })
    }

    fn resampled(&self, target: &Target) -> Result<Vec<Axis>, String> {
        let bad = || format!("cannot resample {} ([n, c, ..]) to {target:?}", self.shape());
        let inner = self.shape().get(2..).filter(|s| !s.is_empty()).ok_or_else(bad)?;
        let axis = |(i, &n): (usize, &usize)| match target {
            Target::Size(sizes) if sizes.len() == inner.len() => Some(Axis { n, out: sizes[i], scale: None }),
            Target::Scale(scales) if scales.len() == inner.len() || scales.len() == 1 => {
                let scale = if scales.len() == 1 { scales[0] } else { scales[i] };
                let out = (n as f64 * scale).floor();
                (scale.is_finite() && scale > 0.0 && out < i32::MAX as f64).then_some(Axis {
                    n,
                    out: out as usize,
                    scale: Some(scale),
                })
            }
            _ => None,
        };
        let axes = inner.iter().enumerate().map(axis).collect::<Option<Vec<Axis>>>().ok_or_else(bad)?;
        let most = i32::MAX as usize;
        if axes.iter().any(|a| a.n == 0 || a.out == 0 || a.n > most || a.out > most) { Err(bad()) } else { Ok(axes) }
    }

    fn nearest_along(&self, axis: usize, a: &Axis, exact: bool, at: Caller) -> Tensor {
        if self.error().is_some() || (a.n == a.out && a.is_plain()) {
            return self.clone();
        }
        // Whole factors need no index, and so no scattering for the gradient. Half an element further is the same then.
        if a.out.is_multiple_of(a.n) && a.is_plain() {
            let times = a.out / a.n;
            return self.insert_axis(axis + 1, at).stretch_axis(axis + 1, times, at).merge_axis(axis, at);
        }
        let place = self.ramp(a.out, 0, 1, at).cast_at(DType::F32, at);
        let place = if exact { place.binary(BinaryOp::Add, 0.5.into(), at) } else { place };
        // PyTorch takes the step in f32.
        let place = place.binary(BinaryOp::Mul, (a.step() as f32).into(), at);
        let index = place.cast_at(DType::I32, at).binary(BinaryOp::Min, (a.n as i32 - 1).into(), at);
        self.take_axis(axis, &index, at)
    }

    fn linear_along(&self, axis: usize, a: &Axis, align_corners: bool, at: Caller) -> Tensor {
        // As in PyTorch, a factor that does not change the size changes nothing.
        if self.error().is_some() || a.n == a.out {
            return self.clone();
        }
        let calc = |t: &Tensor, op: BinaryOp, v: f64| t.binary(op, v.into(), at);
        let dtype = if self.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let i = self.ramp(a.out, 0, 1, at).cast_at(dtype, at);
        let place = if align_corners {
            calc(&i, BinaryOp::Mul, if a.out > 1 { (a.n - 1) as f64 / (a.out - 1) as f64 } else { 0.0 })
        } else {
            let centre = calc(&calc(&i, BinaryOp::Add, 0.5), BinaryOp::Mul, a.step());
            calc(&calc(&centre, BinaryOp::Sub, 0.5), BinaryOp::Max, 0.0)
        };
        let last = a.n as i32 - 1;
        let below = place.unary(UnaryOp::Floor, at).cast_at(DType::I32, at).binary(BinaryOp::Min, last.into(), at);
        let above = below.binary(BinaryOp::Add, 1.into(), at).binary(BinaryOp::Min, last.into(), at);
        let weight = place.binary(BinaryOp::Sub, below.cast_at(dtype, at).into(), at);
        let weight = calc(&calc(&weight, BinaryOp::Max, 0.0), BinaryOp::Min, 1.0).cast_at(self.dtype(), at);
        let along = (0..self.rank()).map(|d| if d == axis { a.out } else { 1 }).collect();
        let weight = weight.reshape_to(along, at);
        let other = calc(&calc(&weight, BinaryOp::Mul, -1.0), BinaryOp::Add, 1.0);
        let part =
            |index: &Tensor, weight: Tensor| self.take_axis(axis, index, at).binary(BinaryOp::Mul, weight.into(), at);
        part(&below, other).binary(BinaryOp::Add, part(&above, weight).into(), at)
    }
}
