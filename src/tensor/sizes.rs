//! How are sizes given to ops over one, two or three spatial axes?

/// One number for each of `D` spatial axes, outermost first; a single number stands for all of them.
///
/// ```
/// use sunstone::tensor::Sizes;
/// assert_eq!(Sizes::<3>::from(2), Sizes([2, 2, 2]));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes<const D: usize>(pub [usize; D]);

impl<const D: usize> From<usize> for Sizes<D> {
    fn from(all: usize) -> Sizes<D> {
        Sizes([all; D])
    }
}

impl<const D: usize> From<[usize; D]> for Sizes<D> {
    fn from(sizes: [usize; D]) -> Sizes<D> {
        Sizes(sizes)
    }
}
