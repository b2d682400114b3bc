//! Shapes, strides and the broadcasting rule.

use smallvec::SmallVec;
use std::fmt;
use std::ops::Deref;

/// A short list of sizes, axes or strides; eight and fewer live without an allocation.
pub type Dims<T> = SmallVec<[T; 8]>;

/// The sizes of a tensor's axes, outermost first. `[]` is the shape of a single number.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Dims<usize>);

impl Shape {
    /// The shape of a single number.
    pub fn scalar() -> Shape {
        Shape::default()
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The number of elements. Shapes are only ever built when this fits in `isize` (see [`Shape::checked_numel`]).
    pub fn numel(&self) -> usize {
        self.0.iter().product()
    }

    /// The number of elements, or `None` when the product (taken over the non-zero sizes) exceeds `isize::MAX`.
    pub fn checked_numel(&self) -> Option<usize> {
        let nonzero = self.0.iter().filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d))?;
        (nonzero <= isize::MAX as usize / 8).then(|| if self.0.contains(&0) { 0 } else { nonzero })
    }

    /// Row-major strides, in elements.
    pub fn strides(&self) -> Dims<i64> {
        let mut strides: Dims<i64> = SmallVec::from_elem(1, self.rank());
        for i in (1..self.rank()).rev() {
            strides[i - 1] = strides[i] * self.0[i] as i64;
        }
        strides
    }

    /// The shape that both broadcast to (NumPy's rule: align at the last axis, a size of 1 stretches), or `None`.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        let rank = self.rank().max(other.rank());
        let size = |s: &Shape, i: usize| (i + s.rank()).checked_sub(rank).map_or(1, |j| s[j]);
        (0..rank)
            .map(|i| match (size(self, i), size(other, i)) {
                (a, b) if a == b => Some(a),
                (1, b) => Some(b),
                (a, 1) => Some(a),
                _ => None,
            })
            .collect::<Option<Dims<usize>>>()
            .map(Shape)
    }

    /// A copy without the given axes.
    pub fn without(&self, axes: &[usize]) -> Shape {
        self.0.iter().enumerate().filter(|(i, _)| !axes.contains(i)).map(|(_, &d)| d).collect()
    }

    /// A copy in which the given axes have size 1.
    pub fn with_ones(&self, axes: &[usize]) -> Shape {
        self.0.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect()
    }

    /// Mutable access to the sizes.
    pub fn dims_mut(&mut self) -> &mut Dims<usize> {
        &mut self.0
    }
}

impl Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl FromIterator<usize> for Shape {
    fn from_iter<I: IntoIterator<Item = usize>>(iter: I) -> Shape {
        Shape(iter.into_iter().collect())
    }
}

impl<const N: usize> From<[usize; N]> for Shape {
    fn from(dims: [usize; N]) -> Shape {
        Shape(dims.into_iter().collect())
    }
}

impl From<&[usize]> for Shape {
    fn from(dims: &[usize]) -> Shape {
        Shape(dims.into())
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        shape.clone()
    }
}

impl From<Vec<usize>> for Shape {
    fn from(dims: Vec<usize>) -> Shape {
        Shape(dims.into())
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0[..])
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PartialEq<[usize]> for Shape {
    fn eq(&self, other: &[usize]) -> bool {
        self.0[..] == *other
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self.0[..] == *other
    }
}

/// Where the elements of a tensor lie in its storage: element `i` is at `offset + Σ strides[d]·i[d]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Layout {
    /// In elements.
    pub offset: i64,
    /// In elements; one for each axis. Zero on broadcast axes, negative on flipped ones.
    pub strides: Dims<i64>,
}

impl Layout {
    /// The row-major layout from offset 0.
    pub fn contiguous(shape: &Shape) -> Layout {
        Layout { offset: 0, strides: shape.strides() }
    }

    /// True when walking `shape` in row-major order walks memory in steps of one element.
    pub fn is_contiguous(&self, shape: &Shape) -> bool {
        let mut expected = 1;
        for (&size, &stride) in shape.iter().zip(&self.strides).rev() {
            if size != 1 {
                if stride != expected {
                    return false;
                }
                expected *= size as i64;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broadcasting_follows_numpy() {
        let b = |a: &[usize], b: &[usize]| Shape::from(a).broadcast(&Shape::from(b));
        assert_eq!(b(&[3, 1], &[4]), Some([3, 4].into()));
        assert_eq!(b(&[], &[2, 0]), Some([2, 0].into()));
        assert_eq!(b(&[1], &[0]), Some([0].into()));
        assert_eq!(b(&[2], &[3]), None);
    }

    #[test]
    fn contiguity_ignores_axes_of_size_one() {
        let shape = Shape::from([2, 1, 3]);
        assert!(Layout { offset: 5, strides: [3, 77, 1].into_iter().collect() }.is_contiguous(&shape));
        assert!(!Layout { offset: 0, strides: [1, 0, 2].into_iter().collect() }.is_contiguous(&shape));
    }

    #[test]
    fn overflow_is_seen() {
        assert_eq!(Shape::from([usize::MAX, 2]).checked_numel(), None);
        assert_eq!(Shape::from([usize::MAX, 2, 0]).checked_numel(), None);
        assert_eq!(Shape::from([7, 0]).checked_numel(), Some(0));
    }
}
