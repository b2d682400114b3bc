//! Axes as users write them: counted from the front or, negative, from the back; one, several, or all (`..`).

use crate::shape::Dims;
use std::ops::RangeFull;

/// Which axes an op works on: an integer (negative counts from the back), an array or slice of them, or `..` for all.
#[derive(Debug, Clone)]
pub struct Axes(Option<Dims<i64>>);

impl Axes {
    /// As ascending axes of a tensor of rank `rank`; or what is wrong with them.
    pub(crate) fn resolve(&self, rank: usize) -> Result<Dims<usize>, String> {
        let Some(list) = &self.0 else { return Ok((0..rank).collect()) };
        let mut axes = list.iter().map(|&a| resolve(a, rank)).collect::<Result<Dims<usize>, String>>()?;
        axes.sort_unstable();
        match axes.windows(2).find(|w| w[0] == w[1]) {
            Some(w) => Err(format!("axis {} is named twice", w[0])),
            None => Ok(axes),
        }
    }
}

/// One axis, from the front.
pub(crate) fn resolve(axis: i64, rank: usize) -> Result<usize, String> {
    let from_front = if axis < 0 { axis + rank as i64 } else { axis };
    if (0..rank as i64).contains(&from_front) {
        Ok(from_front as usize)
    } else {
        Err(format!("axis {axis} is out of range for {rank} axes"))
    }
}

impl From<RangeFull> for Axes {
    fn from(_: RangeFull) -> Axes {
        Axes(None)
    }
}

macro_rules! axes_from {
    ($($t:ty)*) => {$(
        impl From<$t> for Axes {
            fn from(axis: $t) -> Axes {
                Axes(Some(Dims::from_elem(axis as i64, 1)))
            }
        }
        impl<const N: usize> From<[$t; N]> for Axes {
            fn from(axes: [$t; N]) -> Axes {
                Axes(Some(axes.iter().map(|&a| a as i64).collect()))
            }
        }
        impl From<&[$t]> for Axes {
            fn from(axes: &[$t]) -> Axes {
                Axes(Some(axes.iter().map(|&a| a as i64).collect()))
            }
        }
    )*};
}
axes_from!(i32 i64 isize usize);
