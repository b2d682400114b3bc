//! What lies beyond the edges? Constants, or the tensor's own elements again; negative padding crops.

use super::Tensor;
use crate::dtype::Scalar;
use crate::error::Caller;
use crate::shape::Dims;

/// What [`Tensor::pad_mode`] puts beyond an edge; the example continues `1 2 3 4`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PadMode {
    /// The last element again: `4 4 4` (PyTorch's `replicate`, NumPy's `edge`).
    Edge,
    /// Back without the last element: `3 2 1`. At most one less than the axis.
    Reflect,
    /// Back with the last element: `4 3 2`. At most the axis.
    Symmetric,
    /// From the other end: `1 2 3` (NumPy's `wrap`). At most the axis.
    Circular,
}

/// How much is put before and after an axis, negative where it is cropped.
type Reach = Dims<(i64, i64)>;

impl Tensor {
    /// `padding[i]` is how many elements of `value` to put before and after axis `i`; negative numbers crop.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(3, &Device::cpu());
    /// assert_eq!(x.pad(&[(2, -1)], 7).to_vec::<i32>()?, [7, 7, 0, 1]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn pad<P: Copy + TryInto<i64>>(&self, padding: &[(P, P)], value: impl Into<Scalar>) -> Tensor {
        let (at, value) = (Caller::here(), value.into());
        Tensor::attempt("pad", at, &[self], || {
            let reach = self.reach(padding)?;
            let [lo, hi] = grown(&reach);
            Ok(self.pad_with(lo, hi, value, at).cropped(&reach, self.shape(), at))
        })
    }

    /// [`Tensor::pad`] with the tensor's own elements. Growth comes first, then cropping.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// use sunstone::tensor::PadMode;
    /// let x = Tensor::arange(3, &Device::cpu());
    /// assert_eq!(x.pad_mode(&[(1, 2)], PadMode::Reflect).to_vec::<i32>()?, [1, 0, 1, 2, 1, 0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn pad_mode<P: Copy + TryInto<i64>>(&self, padding: &[(P, P)], mode: PadMode) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("pad_mode", at, &[self], || {
            let reach = self.reach(padding)?;
            let [lo, hi] = grown(&reach);
            let mut x = self.clone();
            for axis in 0..self.rank() {
                let n = self.shape()[axis];
                let most = match mode {
                    PadMode::Edge => {
                        if n == 0 {
                            0
                        } else {
                            usize::MAX
                        }
                    }
                    PadMode::Reflect => n.saturating_sub(1),
                    PadMode::Symmetric | PadMode::Circular => n,
                };
                if lo[axis].max(hi[axis]) > most {
                    let (lo, hi) = (lo[axis], hi[axis]);
                    return Err(format!(
                        "{mode:?} cannot put {lo} and {hi} elements around axis {axis} of {}",
                        self.shape()
                    ));
                }
                x = x.extended(axis, n, lo[axis], hi[axis], mode, at);
            }
            Ok(x.cropped(&reach, self.shape(), at))
        })
    }

    fn reach<P: Copy + TryInto<i64>>(&self, padding: &[(P, P)]) -> Result<Reach, String> {
        let signed = |p: P| p.try_into().map_err(|_| format!("padding {} overflows", self.shape()));
        let reach =
            padding.iter().map(|&(lo, hi)| Ok((signed(lo)?, signed(hi)?))).collect::<Result<Reach, String>>()?;
        if reach.len() != self.rank() {
            return Err(format!("padding for {} axes does not fit {}", reach.len(), self.shape()));
        }
        for (&(lo, hi), &n) in reach.iter().zip(self.shape().iter()) {
            if lo as i128 + hi as i128 + (n as i128) < 0 {
                return Err(format!("padding ({lo}, {hi}) crops more than an axis of size {n} has"));
            }
        }
        Ok(reach)
    }

    /// The part that is left of a tensor that has grown from `shape`.
    fn cropped(&self, reach: &Reach, shape: &[usize], at: Caller) -> Tensor {
        reach.iter().zip(shape).enumerate().fold(self.clone(), |x, (axis, (&(lo, hi), &n))| match lo < 0 || hi < 0 {
            true => {
                x.narrow_to(axis, lo.min(0).unsigned_abs() as usize, (n as i128 + lo as i128 + hi as i128) as usize, at)
            }
            false => x,
        })
    }

    fn extended(&self, axis: usize, n: usize, lo: usize, hi: usize, mode: PadMode, at: Caller) -> Tensor {
        let back = |start: usize, count: usize| self.slice_axis(axis, start, -1, count, at);
        let part = |count: usize, make: &dyn Fn() -> Tensor| (count > 0).then(make);
        let before = part(lo, &|| match mode {
            PadMode::Edge => self.narrow_to(axis, 0, 1, at).stretch_axis(axis, lo, at),
            PadMode::Reflect => back(lo, lo),
            PadMode::Symmetric => back(lo - 1, lo),
            PadMode::Circular => self.narrow_to(axis, n - lo, lo, at),
        });
        let after = part(hi, &|| match mode {
            PadMode::Edge => self.narrow_to(axis, n - 1, 1, at).stretch_axis(axis, hi, at),
            PadMode::Reflect => back(n - 2, hi),
            PadMode::Symmetric => back(n - 1, hi),
            PadMode::Circular => self.narrow_to(axis, 0, hi, at),
        });
        let parts: Vec<&Tensor> = before.iter().chain([self]).chain(&after).collect();
        if parts.len() == 1 { self.clone() } else { Tensor::cat_tree(&parts, axis, at) }
    }
}

/// The positive parts, before and after.
fn grown(reach: &Reach) -> [Dims<usize>; 2] {
    let positive = |p: i64| p.max(0) as usize;
    [reach.iter().map(|r| positive(r.0)).collect(), reach.iter().map(|r| positive(r.1)).collect()]
}
