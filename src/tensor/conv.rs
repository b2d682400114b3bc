//! How do convolutions over one, two and three axes, and their transposes, become the 2-d primitives?
//!
//! One axis is two with a height of 1. A third axis is folded away: each output depth sees its window of depths as
//! further channels, so a 3-d convolution is one 2-d convolution over `n · depth` images.

use super::{Sizes, Tensor};
use crate::autograd::fold;
use crate::error::Caller;
use crate::graph::{BinaryOp, ConvSpec, Op};
use crate::shape::{Dims, Shape};

/// What lies around the input of a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding<const D: usize> {
    /// So many zeros on both sides of each axis.
    Zeros([usize; D]),
    /// Zeros such that the output is as large as the input; where their number is odd, the last one lies at the end.
    /// Needs stride 1.
    Same,
}

impl<const D: usize> From<usize> for Padding<D> {
    fn from(zeros: usize) -> Padding<D> {
        Padding::Zeros([zeros; D])
    }
}

impl<const D: usize> From<[usize; D]> for Padding<D> {
    fn from(zeros: [usize; D]) -> Padding<D> {
        Padding::Zeros(zeros)
    }
}

/// Stride, padding, dilation, groups and bias of a convolution over `D` axes.
///
/// ```
/// # use sunstone::prelude::*;
/// use sunstone::tensor::{ConvOptions, Padding};
/// let x = Tensor::ones([1, 2, 8], DType::F32, &Device::cpu());
/// let w = Tensor::ones([4, 2, 3], DType::F32, &Device::cpu());
/// assert_eq!(*x.conv1d(&w, ConvOptions::new().stride(2)).shape(), [1, 4, 3]);
/// assert_eq!(*x.conv1d(&w, ConvOptions::new().padding(Padding::Same)).shape(), [1, 4, 8]);
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ConvOptions<const D: usize> {
    stride: [usize; D],
    padding: Padding<D>,
    dilation: [usize; D],
    groups: usize,
    bias: Option<Tensor>,
}

impl<const D: usize> Default for ConvOptions<D> {
    fn default() -> ConvOptions<D> {
        ConvOptions { stride: [1; D], padding: Padding::Zeros([0; D]), dilation: [1; D], groups: 1, bias: None }
    }
}

impl From<ConvSpec> for ConvOptions<2> {
    fn from(spec: ConvSpec) -> ConvOptions<2> {
        let ConvSpec { stride, padding, dilation, groups } = spec;
        ConvOptions { stride, padding: Padding::Zeros(padding), dilation, groups, bias: None }
    }
}

impl<const D: usize> ConvOptions<D> {
    /// Stride 1, no padding, no dilation, one group, no bias.
    pub fn new() -> ConvOptions<D> {
        ConvOptions::default()
    }

    /// The step between windows.
    pub fn stride(mut self, stride: impl Into<Sizes<D>>) -> ConvOptions<D> {
        self.stride = stride.into().0;
        self
    }

    /// What lies around the input: a number, one for each axis, or [`Padding::Same`].
    pub fn padding(mut self, padding: impl Into<Padding<D>>) -> ConvOptions<D> {
        self.padding = padding.into();
        self
    }

    /// The distance between a kernel's elements.
    pub fn dilation(mut self, dilation: impl Into<Sizes<D>>) -> ConvOptions<D> {
        self.dilation = dilation.into().0;
        self
    }

    /// Groups of channels that do not see each other.
    pub fn groups(mut self, groups: usize) -> ConvOptions<D> {
        self.groups = groups;
        self
    }

    /// `[outputs]`, added to every element of a channel.
    pub fn bias(mut self, bias: &Tensor) -> ConvOptions<D> {
        self.bias = Some(bias.clone());
        self
    }
}

/// Stride, padding, output padding, dilation, groups and bias of a transposed convolution over `D` axes.
#[derive(Debug, Clone)]
#[must_use]
pub struct ConvTransposeOptions<const D: usize> {
    stride: [usize; D],
    padding: [usize; D],
    output_padding: [usize; D],
    dilation: [usize; D],
    groups: usize,
    bias: Option<Tensor>,
}

impl<const D: usize> Default for ConvTransposeOptions<D> {
    fn default() -> ConvTransposeOptions<D> {
        ConvTransposeOptions {
            stride: [1; D],
            padding: [0; D],
            output_padding: [0; D],
            dilation: [1; D],
            groups: 1,
            bias: None,
        }
    }
}

impl<const D: usize> ConvTransposeOptions<D> {
    /// Stride 1, no padding, no dilation, one group, no bias.
    pub fn new() -> ConvTransposeOptions<D> {
        ConvTransposeOptions::default()
    }

    /// How far apart the inputs' contributions lie.
    pub fn stride(mut self, stride: impl Into<Sizes<D>>) -> ConvTransposeOptions<D> {
        self.stride = stride.into().0;
        self
    }

    /// How much is cut from both ends of each axis.
    pub fn padding(mut self, padding: impl Into<Sizes<D>>) -> ConvTransposeOptions<D> {
        self.padding = padding.into().0;
        self
    }

    /// How much longer the output is at its end; less than the stride or the dilation.
    pub fn output_padding(mut self, padding: impl Into<Sizes<D>>) -> ConvTransposeOptions<D> {
        self.output_padding = padding.into().0;
        self
    }

    /// The distance between a kernel's elements.
    pub fn dilation(mut self, dilation: impl Into<Sizes<D>>) -> ConvTransposeOptions<D> {
        self.dilation = dilation.into().0;
        self
    }

    /// Groups of channels that do not see each other.
    pub fn groups(mut self, groups: usize) -> ConvTransposeOptions<D> {
        self.groups = groups;
        self
    }

    /// `[outputs]`, added to every element of a channel.
    pub fn bias(mut self, bias: &Tensor) -> ConvTransposeOptions<D> {
        self.bias = Some(bias.clone());
        self
    }
}

/// One axis of a convolution from `long` elements to `short` ones, its numbers small enough for every product.
#[derive(Debug, Clone, Copy)]
struct Axis {
    long: usize,
    short: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    padding: usize,
}

impl Axis {
    /// An axis that is not there.
    const NONE: Axis = Axis { long: 1, short: 1, kernel: 1, stride: 1, dilation: 1, padding: 0 };

    /// The axis, with `short` worked out; `None` where the kernel does not fit.
    fn new(long: usize, kernel: usize, stride: usize, dilation: usize, padding: usize) -> Option<Axis> {
        let dilation = if kernel == 1 { 1 } else { dilation };
        let room = long.checked_add(padding.checked_mul(2)?)?.checked_sub(span(kernel, dilation)?)?;
        // A step that no second window can use is as good as any other.
        let stride = stride.min(room.checked_add(1)?);
        Some(Axis { long, short: room / stride + 1, kernel, stride, dilation, padding })
    }

    fn padded(&self) -> usize {
        self.long + 2 * self.padding
    }
}

/// The elements that a kernel reaches over.
fn span(kernel: usize, dilation: usize) -> Option<usize> {
    kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)
}

/// The primitive's numbers for the last two axes.
fn spec(axes: &[Axis; 3], groups: usize) -> ConvSpec {
    let two = |f: fn(&Axis) -> usize| [f(&axes[1]), f(&axes[2])];
    ConvSpec { stride: two(|a| a.stride), padding: two(|a| a.padding), dilation: two(|a| a.dilation), groups }
}

/// The given axes behind those that are not there.
fn three(given: &[Axis]) -> [Axis; 3] {
    let mut axes = [Axis::NONE; 3];
    axes[3 - given.len()..].copy_from_slice(given);
    axes
}

impl Tensor {
    /// The cross-correlation of `self [n, c, l]` with `weight [o, c/groups, k]`, giving `[n, o, l']`; without `n`, too.
    /// See [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv1d(&self, weight: &Tensor, options: ConvOptions<1>) -> Tensor {
        self.conv("conv1d", weight, options, Caller::here())
    }

    /// The cross-correlation of `self [n, c, h, w]` with `weight [o, c/groups, kh, kw]`, giving `[n, o, oh, ow]` (what deep
    /// learning calls convolution); without `n`, too. Each output size is
    /// `⌊(in + 2·padding − dilation·(kernel − 1) − 1) / stride⌋ + 1`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::ones([1, 1, 4, 4], DType::F32, &Device::cpu());
    /// let w = Tensor::ones([1, 1, 3, 3], DType::F32, &Device::cpu());
    /// let y = x.conv2d(&w, ConvSpec { padding: [1, 1], ..ConvSpec::default() });
    /// assert_eq!(y.slice((0, 0, 0)).to_vec::<f32>()?, [4.0, 6.0, 6.0, 4.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn conv2d(&self, weight: &Tensor, options: impl Into<ConvOptions<2>>) -> Tensor {
        self.conv("conv2d", weight, options.into(), Caller::here())
    }

    /// The cross-correlation of `self [n, c, d, h, w]` with `weight [o, c/groups, kd, kh, kw]`; without `n`, too.
    /// See [`Tensor::conv2d`].
    #[track_caller]
    pub fn conv3d(&self, weight: &Tensor, options: ConvOptions<3>) -> Tensor {
        self.conv("conv3d", weight, options, Caller::here())
    }

    /// The transpose of [`Tensor::conv1d`]: `self [n, c, l]`, `weight [c, o/groups, k]` to `[n, o, l']`.
    /// See [`Tensor::conv_transpose2d`].
    #[track_caller]
    pub fn conv_transpose1d(&self, weight: &Tensor, options: ConvTransposeOptions<1>) -> Tensor {
        self.conv_transpose("conv_transpose1d", weight, options, Caller::here())
    }

    /// The transpose of [`Tensor::conv2d`] (its gradient with respect to the input): `self [n, c, h, w]` and
    /// `weight [c, o/groups, kh, kw]` to `[n, o, oh, ow]`; without `n`, too. Each output size is
    /// `(in − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1`.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// use sunstone::tensor::ConvTransposeOptions;
    /// let x = Tensor::ones([1, 1, 2, 2], DType::F32, &Device::cpu());
    /// let w = Tensor::ones([1, 1, 2, 2], DType::F32, &Device::cpu());
    /// let y = x.conv_transpose2d(&w, ConvTransposeOptions::new());
    /// assert_eq!(y.to_vec::<f32>()?, [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn conv_transpose2d(&self, weight: &Tensor, options: ConvTransposeOptions<2>) -> Tensor {
        self.conv_transpose("conv_transpose2d", weight, options, Caller::here())
    }

    /// The transpose of [`Tensor::conv3d`]: `self [n, c, d, h, w]`, `weight [c, o/groups, kd, kh, kw]`.
    /// See [`Tensor::conv_transpose2d`].
    #[track_caller]
    pub fn conv_transpose3d(&self, weight: &Tensor, options: ConvTransposeOptions<3>) -> Tensor {
        self.conv_transpose("conv_transpose3d", weight, options, Caller::here())
    }

    pub(crate) fn conv<const D: usize>(
        &self,
        name: &'static str,
        weight: &Tensor,
        o: ConvOptions<D>,
        at: Caller,
    ) -> Tensor {
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(&o.bias).collect();
        Tensor::attempt(name, at, &operands, || {
            let bad = |why: String| format!("input {} and weight {}: {why}", self.shape(), weight.shape());
            let mut x = self.images::<D>(weight, at).map_err(bad)?;
            let w = weight.shape();
            if o.groups == 0 || o.stride.contains(&0) || o.dilation.contains(&0) {
                return Err(bad("groups, stride and dilation must not be 0".into()));
            }
            if w[1].checked_mul(o.groups) != Some(x.shape()[1]) || !w[0].is_multiple_of(o.groups) {
                return Err(bad(format!("the channels do not fit {} group(s)", o.groups)));
            }
            let bias = bias_of(&o.bias, w[0], D, at).map_err(bad)?;
            let mut axes = [Axis::NONE; D];
            for (d, axis) in axes.iter_mut().enumerate() {
                let padding = match o.padding {
                    Padding::Zeros(zeros) => zeros[d],
                    Padding::Same if o.stride[d] != 1 => return Err(bad("\"same\" padding needs stride 1".into())),
                    Padding::Same => {
                        let zeros = span(w[2 + d], o.dilation[d]).ok_or_else(|| bad("an empty kernel".into()))? - 1;
                        x = x.zeros_behind(2 + d, zeros % 2, at);
                        zeros / 2
                    }
                };
                let long = x.shape().get(2 + d).copied().unwrap_or(0);
                *axis = Axis::new(long, w[2 + d], o.stride[d], o.dilation[d], padding)
                    .ok_or_else(|| bad("the kernel is larger than the padded input".into()))?;
            }
            let y = x.correlate(weight, &three(&axes), o.groups, at);
            let mut shape: Shape = [self.shape().first().copied().unwrap_or(1), w[0]].into();
            shape.dims_mut().extend(axes.iter().map(|a| a.short));
            self.unbatched::<D>(y, shape, bias, at)
        })
    }

    pub(crate) fn conv_transpose<const D: usize>(
        &self,
        name: &'static str,
        weight: &Tensor,
        o: ConvTransposeOptions<D>,
        at: Caller,
    ) -> Tensor {
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(&o.bias).collect();
        Tensor::attempt(name, at, &operands, || {
            let bad = |why: String| format!("input {} and weight {}: {why}", self.shape(), weight.shape());
            let mut x = self.images::<D>(weight, at).map_err(bad)?;
            let w = weight.shape();
            if o.groups == 0 || o.stride.contains(&0) || o.dilation.contains(&0) {
                return Err(bad("groups, stride and dilation must not be 0".into()));
            }
            let outputs = w[1].checked_mul(o.groups).ok_or_else(|| bad("the channels overflow".into()))?;
            if w[0] != x.shape()[1] || !w[0].is_multiple_of(o.groups) {
                return Err(bad(format!("the channels do not fit {} group(s)", o.groups)));
            }
            let bias = bias_of(&o.bias, outputs, D, at).map_err(bad)?;
            let mut axes = [Axis::NONE; D];
            for (d, axis) in axes.iter_mut().enumerate() {
                let (stride, dilation, more) = (o.stride[d], o.dilation[d], o.output_padding[d]);
                if more >= stride.max(dilation) {
                    return Err(bad(format!(
                        "output padding {more} is not below stride {stride} or dilation {dilation}"
                    )));
                }
                let n = x.shape()[2 + d];
                let long = || -> Option<usize> {
                    let full = n.checked_sub(1)?.checked_mul(stride)?.checked_add(span(w[2 + d], dilation)?)?;
                    full.checked_add(more)?.checked_sub(o.padding[d].checked_mul(2)?).filter(|&n| n > 0)
                };
                let long = long().ok_or_else(|| bad("the output would be empty or overflow".into()))?;
                *axis = Axis::new(long, w[2 + d], stride, dilation, o.padding[d])
                    .ok_or_else(|| bad("the output overflows".into()))?;
                // An output padding of whole strides is room for further inputs, which are 0.
                x = x.zeros_behind(2 + d, axis.short - n, at);
                if x.error().is_some() {
                    return Ok(x);
                }
            }
            let y = x.spread_out(weight, &three(&axes), o.groups, at);
            let mut shape: Shape = [self.shape().first().copied().unwrap_or(1), outputs].into();
            shape.dims_mut().extend(axes.iter().map(|a| a.long));
            self.unbatched::<D>(y, shape, bias, at)
        })
    }

    /// As `[n, c, ..]` with `D` axes behind, checked against the rank and dtype of the weight.
    fn images<const D: usize>(&self, weight: &Tensor, at: Caller) -> Result<Tensor, String> {
        if weight.rank() != D + 2 || !(D + 1..=D + 2).contains(&self.rank()) {
            return Err(format!("the input needs {} axes or one less, the weight {}", D + 2, D + 2));
        }
        if self.dtype() != weight.dtype() || !self.dtype().is_float() {
            return Err(format!("both must be floats of one type, not {} and {}", self.dtype(), weight.dtype()));
        }
        Ok(if self.rank() == D + 1 { self.insert_axis(0, at) } else { self.clone() })
    }

    /// The result in its own shape, with the bias, and without a batch where the input has none.
    fn unbatched<const D: usize>(
        &self,
        y: Tensor,
        mut shape: Shape,
        bias: Option<Tensor>,
        at: Caller,
    ) -> Result<Tensor, String> {
        let single = self.rank() == D + 1;
        if single {
            shape.dims_mut()[0] = 1;
        }
        let y = y.reshape_to(shape, at);
        let y = if single { y.drop_axis(0, at) } else { y };
        Ok(match bias {
            Some(bias) => y.binary(BinaryOp::Add, bias.into(), at),
            None => y,
        })
    }

    /// With so many zeros behind the end of `axis`.
    fn zeros_behind(&self, axis: usize, count: usize, at: Caller) -> Tensor {
        self.zeros_around(axis, 0, count, at)
    }

    fn zeros_around(&self, axis: usize, before: usize, after: usize, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let (mut lo, mut hi): (Dims<usize>, Dims<usize>) =
            (Dims::from_elem(0, self.rank()), Dims::from_elem(0, self.rank()));
        (lo[axis], hi[axis]) = (before, after);
        self.pad_with(lo, hi, 0i64.into(), at)
    }

    /// The convolution of `[n, c, ..]` with all axes checked.
    fn correlate(&self, weight: &Tensor, axes: &[Axis; 3], groups: usize, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let (x, w) = (self.shape(), weight.shape());
        let [depth, h, w2] = axes;
        let kernel = |channels: usize| weight.reshape_to([w[0], channels, h.kernel, w2.kernel].into(), at);
        let op = Op::Conv(spec(axes, groups));
        if self.rank() < 5 {
            let images = self.reshape_to([x[0], x[1], h.long, w2.long].into(), at);
            return Tensor::apply(op, &[&images, &kernel(w[1])], at);
        }
        // [n, c, d, h, w] → [n, c, od, h, w, kd] → [n, od, c, kd, h, w] → [n·od, c·kd, h, w]
        let padded = self.zeros_around(2, depth.padding, depth.padding, at);
        let windows = padded.windows_along(2, depth.kernel, depth.stride, depth.dilation, at);
        let images =
            windows.order_axes([0, 2, 1, 5, 3, 4].into_iter().collect(), at).merge_axis(0, at).merge_axis(1, at);
        let y = Tensor::apply(op, &[&images, &kernel(w[1] * depth.kernel)], at);
        y.reshape_to([x[0], depth.short, w[0], h.short, w2.short].into(), at).move_axis(2, 1, at)
    }

    /// The transposed convolution of `[n, c, ..]` with all axes checked.
    fn spread_out(&self, weight: &Tensor, axes: &[Axis; 3], groups: usize, at: Caller) -> Tensor {
        let (x, w) = (self.shape(), weight.shape());
        let [depth, h, w2] = axes;
        let kernel = |channels: usize| weight.reshape_to([w[0], channels, h.kernel, w2.kernel].into(), at);
        let op = Op::ConvDataGrad { spec: spec(axes, groups), input: [h.long, w2.long] };
        if self.rank() < 5 {
            let images = self.reshape_to([x[0], x[1], h.short, w2.short].into(), at);
            return Tensor::apply(op, &[&images, &kernel(w[1])], at);
        }
        // The way of `correlate` backwards: what each depth gives to its window is added up.
        let images = self.move_axis(1, 2, at).merge_axis(0, at);
        let y = Tensor::apply(op, &[&images, &kernel(w[1] * depth.kernel)], at);
        let outputs = w[1] * groups;
        let windows = y
            .reshape_to([x[0], depth.short, outputs, depth.kernel, h.long, w2.long].into(), at)
            .order_axes([0, 2, 1, 4, 5, 3].into_iter().collect(), at);
        if windows.error().is_some() {
            return windows;
        }
        fold(&windows, depth.padded(), 2, depth.kernel, depth.stride, depth.dilation).narrow_to(
            2,
            depth.padding,
            depth.long,
            at,
        )
    }
}

/// The bias as it stands beside the result, checked.
fn bias_of(bias: &Option<Tensor>, outputs: usize, axes: usize, at: Caller) -> Result<Option<Tensor>, String> {
    match bias {
        Some(b) if *b.shape() != [outputs] => Err(format!("the bias must have shape [{outputs}], not {}", b.shape())),
        Some(b) => Ok(Some(b.reshape_to([outputs].into_iter().chain(std::iter::repeat_n(1, axes)).collect(), at))),
        None => Ok(None),
    }
}
