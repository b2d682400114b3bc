//! What is the largest element, the mean or the p-norm of each window?

use super::{Sizes, Tensor};
use crate::dtype::{DType, Scalar};
use crate::error::Caller;
use crate::graph::{BinaryOp, Op, ReduceOp, UnaryOp};
use crate::shape::{Dims, Shape};

/// The windows of a pool over `D` axes.
///
/// ```
/// # use sunstone::prelude::*;
/// use sunstone::tensor::PoolOptions;
/// let x = Tensor::arange(25, &Device::cpu()).cast(DType::F32).reshape([1, 5, 5]);
/// assert_eq!(x.max_pool2d(PoolOptions::new(2)).to_vec::<f32>()?, [6.0, 8.0, 16.0, 18.0]);
/// assert_eq!(*x.max_pool2d(PoolOptions::new(2).ceil_mode(true)).shape(), [1, 3, 3]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct PoolOptions<const D: usize> {
    kernel: [usize; D],
    stride: [usize; D],
    padding: [usize; D],
    dilation: [usize; D],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Option<usize>,
}

impl<const D: usize> PoolOptions<D> {
    /// Windows of `kernel` that do not overlap, without padding.
    pub fn new(kernel: impl Into<Sizes<D>>) -> PoolOptions<D> {
        let kernel = kernel.into().0;
        PoolOptions {
            kernel,
            stride: kernel,
            padding: [0; D],
            dilation: [1; D],
            ceil_mode: false,
            count_include_pad: true,
            divisor: None,
        }
    }

    /// The step between windows; the kernel's size unless given.
    pub fn stride(mut self, stride: impl Into<Sizes<D>>) -> PoolOptions<D> {
        self.stride = stride.into().0;
        self
    }

    /// How far windows may reach over each edge; at most half of what they span.
    pub fn padding(mut self, padding: impl Into<Sizes<D>>) -> PoolOptions<D> {
        self.padding = padding.into().0;
        self
    }

    /// The distance between a window's elements; for max pools only.
    pub fn dilation(mut self, dilation: impl Into<Sizes<D>>) -> PoolOptions<D> {
        self.dilation = dilation.into().0;
        self
    }

    /// Whether windows that begin inside but do not fit count.
    pub fn ceil_mode(mut self, ceil_mode: bool) -> PoolOptions<D> {
        self.ceil_mode = ceil_mode;
        self
    }

    /// Whether an average counts the padding's zeros; it does unless `false` is given.
    pub fn count_include_pad(mut self, include: bool) -> PoolOptions<D> {
        self.count_include_pad = include;
        self
    }

    /// What an average divides by, instead of the number of elements.
    pub fn divisor_override(mut self, divisor: usize) -> PoolOptions<D> {
        self.divisor = Some(divisor);
        self
    }
}

/// The windows along one axis, as far as they may meet an element: whatever lies in the padding for every window is cut off.
#[derive(Debug, Clone, Copy)]
struct Frame {
    n: usize,
    count: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    /// How far the first window reaches beyond the first element.
    lo: usize,
    /// How far the last window reaches beyond the last.
    hi: usize,
    /// The kernel and the padding that were asked for.
    asked: [usize; 2],
}

impl Frame {
    /// Follows PyTorch's `pooling_output_shape`.
    fn new<const D: usize>(n: usize, o: &PoolOptions<D>, d: usize) -> Option<Frame> {
        let [kernel, stride, pad, dilation] = [o.kernel[d], o.stride[d], o.padding[d], o.dilation[d]];
        if n == 0 || kernel == 0 || stride == 0 || dilation == 0 {
            return None;
        }
        let dilation = if kernel == 1 { 1 } else { dilation };
        let span = (kernel - 1).checked_mul(dilation)?.checked_add(1)?;
        if pad > span / 2 {
            return None;
        }
        // In i128 nothing overflows that usizes can say.
        let [len, step, lo, reach] = [n, stride, pad, span].map(|v| v as i128);
        let room = len + 2 * lo - reach + if o.ceil_mode { step - 1 } else { 0 };
        let mut count = room.div_euclid(step) + 1;
        if o.ceil_mode && (count - 1) * step >= len + lo {
            count -= 1;
        }
        if count < 1 {
            return None;
        }
        let apart = dilation as i128;
        // No window meets an element at or behind `end` of its own, nor one before `begin`.
        let end = (kernel as i128).min((len + lo + apart - 1) / apart);
        let begin = (lo - (count - 1) * step).max(0) / apart;
        let lo = lo - begin * apart;
        let hi = ((count - 1) * step + (end - begin - 1) * apart + 1 - len - lo).max(0);
        let small = |v: i128| usize::try_from(v).ok();
        let stride = if count == 1 { 1 } else { stride };
        let kernel_left = small(end - begin).filter(|&k| k > 0)?;
        Some(Frame {
            n,
            count: small(count)?,
            kernel: kernel_left,
            stride,
            dilation: if kernel_left == 1 { 1 } else { dilation },
            lo: small(lo)?,
            hi: small(hi)?,
            asked: [kernel, pad],
        })
    }

    /// Whether all windows count the same number of elements, the whole kernel's.
    fn is_even(&self, padding_counts: bool) -> bool {
        let [kernel, padding] = self.asked;
        let last = (self.count - 1).saturating_mul(self.stride).saturating_add(kernel);
        match padding_counts {
            true => last <= self.n.saturating_add(padding.saturating_mul(2)),
            false => padding == 0 && last <= self.n,
        }
    }
}

impl Tensor {
    /// The frames of the last `D` axes.
    fn frames<const D: usize>(&self, o: &PoolOptions<D>) -> Result<[Frame; D], String> {
        let bad = || format!("{o:?} does not fit {} (padding is at most half of what a window spans)", self.shape());
        let first = self.rank().checked_sub(D).ok_or_else(bad)?;
        let mut frames = [Frame { n: 0, count: 0, kernel: 1, stride: 1, dilation: 1, lo: 0, hi: 0, asked: [1, 0] }; D];
        for (d, frame) in frames.iter_mut().enumerate() {
            *frame = Frame::new(self.shape()[first + d], o, d).ok_or_else(bad)?;
        }
        Ok(frames)
    }

    /// `[.., h, w]` as windows `[.., oh, ow, kh, kw]`, with `fill` beyond the edges.
    fn framed(&self, frames: &[Frame], fill: f64, at: Caller) -> Tensor {
        let (rank, d) = (self.rank(), frames.len());
        let (mut lo, mut hi): (Dims<usize>, Dims<usize>) = (Dims::from_elem(0, rank), Dims::from_elem(0, rank));
        for (i, f) in frames.iter().enumerate() {
            (lo[rank - d + i], hi[rank - d + i]) = (f.lo, f.hi);
        }
        let padded = self.pad_with(lo, hi, Scalar::Float(fill), at);
        frames.iter().enumerate().fold(padded, |x, (i, f)| {
            let axis = rank - d + i;
            // What no window needs is cut off, so that as many windows fit as there shall be.
            let used = (f.count - 1) * f.stride + (f.kernel - 1) * f.dilation + 1;
            x.narrow_to(axis, 0, used, at).windows_along(axis, f.kernel, f.stride, f.dilation, at)
        })
    }

    fn max_pool<const D: usize>(&self, name: &'static str, o: PoolOptions<D>, at: Caller) -> Tensor {
        Tensor::attempt(name, at, &[self], || Ok(self.max_windows(&self.frames(&o)?, at)?.swap_remove(0)))
    }

    /// The largest of each window, and which of its elements it is.
    fn max_windows(&self, frames: &[Frame], at: Caller) -> Result<Vec<Tensor>, String> {
        if self.dtype() == DType::Bool {
            return Err("is not defined for bool; cast first".into());
        }
        let windows = self.framed(frames, f64::NEG_INFINITY, at);
        let axes = (self.rank()..self.rank() + frames.len()).collect();
        Ok(Tensor::apply_all(Op::ArgReduce { op: ReduceOp::Max, axes }, &[&windows], at))
    }

    fn max_pool_with_indices<const D: usize>(
        &self,
        name: &'static str,
        o: PoolOptions<D>,
        at: Caller,
    ) -> (Tensor, Tensor) {
        Tensor::attempt_both(name, at, &[self], || {
            let frames = self.frames(&o)?;
            let elements =
                frames.iter().try_fold(1usize, |n, f| n.checked_mul(f.n)).filter(|&n| n <= i32::MAX as usize);
            if elements.is_none() {
                return Err(format!("positions in {} are beyond i32", self.shape()));
            }
            let both = self.max_windows(&frames, at)?;
            let index = self.positions(&both[1], &frames, at);
            Ok((both[0].clone(), index))
        })
    }

    /// Positions in windows as positions in the input's last axes, row-major.
    fn positions(&self, within: &Tensor, frames: &[Frame], at: Caller) -> Tensor {
        let calc = |a: &Tensor, op: BinaryOp, b: usize| a.binary(op, (b as i32).into(), at);
        let rank = self.rank();
        let mut rest = within.clone();
        let mut position: Option<Tensor> = None;
        let mut scale = 1;
        for (i, f) in frames.iter().enumerate().rev() {
            let place = calc(&rest, BinaryOp::Rem, f.kernel);
            rest = calc(&rest, BinaryOp::FloorDiv, f.kernel);
            let start = calc(
                &calc(&self.ramp(f.count, rank - frames.len() + i, rank, at), BinaryOp::Mul, f.stride),
                BinaryOp::Sub,
                f.lo,
            );
            // A window of nothing but -∞ names its first element, which may lie in the padding.
            let before = start.unary(UnaryOp::Neg, at);
            let skipped = calc(&calc(&before, BinaryOp::Add, f.dilation - 1), BinaryOp::FloorDiv, f.dilation);
            let first = calc(&skipped, BinaryOp::Max, 0);
            let place = place.binary(BinaryOp::Max, first.into(), at);
            let along = calc(
                &calc(&place, BinaryOp::Mul, f.dilation).binary(BinaryOp::Add, start.into(), at),
                BinaryOp::Mul,
                scale,
            );
            position = Some(match position {
                Some(p) => p.binary(BinaryOp::Add, along.into(), at),
                None => along,
            });
            scale *= f.n;
        }
        position.unwrap_or(rest)
    }

    fn avg_pool<const D: usize>(&self, name: &'static str, o: PoolOptions<D>, at: Caller) -> Tensor {
        Tensor::attempt(name, at, &[self], || {
            if o.dilation != [1; D] || o.divisor == Some(0) {
                return Err("an average has no dilation, and no divisor of 0".into());
            }
            let frames = self.frames(&o)?;
            let sum = self.summed_windows(&frames, at);
            if sum.error().is_some() {
                return Ok(sum);
            }
            let kernel = o.kernel.iter().map(|&k| k as f64).product::<f64>();
            Ok(match o.divisor {
                Some(divisor) => sum.binary(BinaryOp::Div, (divisor as f64).into(), at),
                None if frames.iter().all(|f| f.is_even(o.count_include_pad)) => {
                    sum.binary(BinaryOp::Div, kernel.into(), at)
                }
                None => frames.iter().enumerate().fold(sum, |sum, (i, f)| {
                    let axis = self.rank() - D + i;
                    let count = self.elements(f, axis, o.count_include_pad, at).cast_at(sum.dtype(), at);
                    sum.binary(BinaryOp::Div, count.into(), at)
                }),
            })
        })
    }

    fn summed_windows(&self, frames: &[Frame], at: Caller) -> Tensor {
        let x = if self.dtype().is_float() { self.clone() } else { self.cast_at(DType::F32, at) };
        let axes = (self.rank()..self.rank() + frames.len()).collect();
        x.framed(frames, 0.0, at).reduce_axes(ReduceOp::Sum, axes, false, at)
    }

    /// How many elements each window along `axis` has, but at least 1.
    fn elements(&self, f: &Frame, axis: usize, padding_counts: bool, at: Caller) -> Tensor {
        let calc = |a: &Tensor, op: BinaryOp, b: i64| a.binary(op, (b.min(i32::MAX.into()) as i32).into(), at);
        let (n, [kernel, padding]) = (f.n as i64, f.asked.map(|v| v.min(i32::MAX as usize / 4) as i64));
        let start = calc(&self.ramp(f.count, axis, self.rank(), at), BinaryOp::Mul, f.stride as i64);
        // Counted from the first element of the padding.
        let end = calc(&start, BinaryOp::Add, kernel);
        let (from, to) = match padding_counts {
            true => (start, calc(&end, BinaryOp::Min, n + 2 * padding)),
            false => (calc(&start, BinaryOp::Max, padding), calc(&end, BinaryOp::Min, n + padding)),
        };
        calc(&to.binary(BinaryOp::Sub, from.into(), at), BinaryOp::Max, 1)
    }

    fn lp_pool<const D: usize>(&self, name: &'static str, p: f64, o: PoolOptions<D>, at: Caller) -> Tensor {
        Tensor::attempt(name, at, &[self], || {
            if o.dilation != [1; D] || o.padding != [0; D] {
                return Err("a norm's windows have neither padding nor dilation".into());
            }
            let frames = self.frames(&o)?;
            let sum = self.powf(p).summed_windows(&frames, at);
            Ok(sum.relu().powf(1.0 / p))
        })
    }
}

macro_rules! pools {
    ($($d:literal, $axes:literal, $max:ident $with:ident $avg:ident $lp:ident;)*) => {
        impl Tensor {$(
            #[doc = concat!("The largest element of each window, over the last ", $axes, ". Beyond the edges lies −∞; NaN is")]
            /// largest. The gradient goes to the first largest.
            #[track_caller]
            pub fn $max(&self, options: PoolOptions<$d>) -> Tensor {
                self.max_pool(stringify!($max), options, Caller::here())
            }

            #[doc = concat!("[`Tensor::", stringify!($max), "`] and the `i32` positions of what it found, counted row-major over")]
            #[doc = concat!("the last ", $axes, " of `self`.")]
            #[track_caller]
            pub fn $with(&self, options: PoolOptions<$d>) -> (Tensor, Tensor) {
                self.max_pool_with_indices(stringify!($max), options, Caller::here())
            }

            #[doc = concat!("The mean of each window, over the last ", $axes, ". Beyond the edges lie zeros, which count unless")]
            /// [`PoolOptions::count_include_pad`] says otherwise. Integers become `f32`.
            #[track_caller]
            pub fn $avg(&self, options: PoolOptions<$d>) -> Tensor {
                self.avg_pool(stringify!($avg), options, Caller::here())
            }

            #[doc = concat!("`(Σ xᵖ)^(1/p)` over each window of the last ", $axes, "; 0 where the sum is negative (PyTorch's rule).")]
            #[track_caller]
            pub fn $lp(&self, p: f64, options: PoolOptions<$d>) -> Tensor {
                self.lp_pool(stringify!($lp), p, options, Caller::here())
            }
        )*}
    };
}

pools! {
    1, "axis", max_pool1d max_pool1d_with_indices avg_pool1d lp_pool1d;
    2, "two axes", max_pool2d max_pool2d_with_indices avg_pool2d lp_pool2d;
    3, "three axes", max_pool3d max_pool3d_with_indices avg_pool3d lp_pool3d;
}

impl Tensor {
    /// `[.., c·r², h, w]` to `[.., c, h·r, w·r]`: channels become places (Shi et al., 2016).
    #[track_caller]
    pub fn pixel_shuffle(&self, factor: usize) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("pixel_shuffle", at, &[self], || {
            let shape = self.shape();
            let first = shape.rank().checked_sub(3);
            let square = factor.checked_mul(factor).filter(|&s| s > 0);
            let (Some(c), Some(square)) =
                (first, square.filter(|&s| first.is_some_and(|c| shape[c].is_multiple_of(s))))
            else {
                return Err(format!("{shape} is not [.., c·r², h, w] with r = {factor}"));
            };
            // [.., c, r, r, h, w] → [.., c, h, r, w, r]
            let apart = self.split_axis(c, square, at).split_axis(c + 1, factor, at);
            let order = (0..c).chain([c, c + 3, c + 1, c + 4, c + 2]).collect();
            Ok(apart
                .order_axes(order, at)
                .reshape_to(scaled(shape, c, shape[c] / square, |d| d.saturating_mul(factor)), at))
        })
    }

    /// `[.., c, h·r, w·r]` to `[.., c·r², h, w]`, the inverse of [`Tensor::pixel_shuffle`].
    #[track_caller]
    pub fn pixel_unshuffle(&self, factor: usize) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("pixel_unshuffle", at, &[self], || {
            let shape = self.shape();
            let divides = |d: usize| d.checked_rem(factor) == Some(0);
            let channels = |c: usize| factor.checked_mul(factor)?.checked_mul(shape[c]);
            let first = shape.rank().checked_sub(3).filter(|&c| divides(shape[c + 1]) && divides(shape[c + 2]));
            let Some((c, channels)) = first.and_then(|c| Some((c, channels(c)?))) else {
                return Err(format!("{shape} is not [.., c, h·r, w·r] with r = {factor}"));
            };
            // [.., c, h, r, w, r] → [.., c, r, r, h, w]
            let apart = self.split_axis(c + 2, factor, at).split_axis(c + 1, factor, at);
            let order = (0..c).chain([c, c + 2, c + 4, c + 1, c + 3]).collect();
            Ok(apart.order_axes(order, at).reshape_to(scaled(shape, c, channels, |d| d / factor), at))
        })
    }
}

/// The shape with other channels at axis `c` and the two axes behind scaled.
fn scaled(shape: &Shape, c: usize, channels: usize, scale: impl Fn(usize) -> usize) -> Shape {
    shape[..c].iter().copied().chain([channels, scale(shape[c + 1]), scale(shape[c + 2])]).collect()
}
