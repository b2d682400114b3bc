//! Views as arithmetic on layouts: which view of a storage is itself a strided view of it.

use super::Op;
use crate::shape::{Dims, Layout, Shape};

/// The layout of `op(x)` in `x`'s storage, or `None` where `op` is no view or no strides describe it.
pub fn apply(op: &Op, shape: &Shape, layout: &Layout) -> Option<Layout> {
    let strides = &layout.strides;
    match op {
        Op::Permute(axes) => {
            Some(Layout { offset: layout.offset, strides: axes.iter().map(|&a| strides[a]).collect() })
        }
        Op::Expand(to) => {
            let strides = (0..shape.rank()).map(|i| if shape[i] == 1 && to[i] != 1 { 0 } else { strides[i] });
            Some(Layout { offset: layout.offset, strides: strides.collect() })
        }
        Op::Slice { starts, steps, .. } => {
            let moved: i64 = starts.iter().zip(strides).map(|(&s, &stride)| s as i64 * stride).sum();
            Some(Layout {
                offset: layout.offset + moved,
                strides: strides.iter().zip(steps).map(|(&stride, &step)| stride * step).collect(),
            })
        }
        Op::Unfold { axis, step, dilation, .. } => {
            let mut windows = strides.clone();
            windows.push(strides[*axis] * *dilation as i64);
            windows[*axis] *= *step as i64;
            Some(Layout { offset: layout.offset, strides: windows })
        }
        Op::Reshape(to) => {
            Some(Layout { offset: layout.offset, strides: reshape_strides(shape, strides, to)? })
        }
        _ => None,
    }
}

/// True for the ops that [`apply`] may have an answer for.
pub fn is_view(op: &Op) -> bool {
    matches!(op, Op::Permute(_) | Op::Expand(_) | Op::Slice { .. } | Op::Unfold { .. } | Op::Reshape(_))
}

/// Strides under which `to` walks the same elements as `from` does with `strides`.
fn reshape_strides(from: &Shape, strides: &[i64], to: &Shape) -> Option<Dims<i64>> {
    if from.numel() == 0 {
        return Some(to.strides());
    }
    let mut result: Dims<i64> = Dims::from_elem(0, to.rank());
    for (src, dst) in groups(from, to) {
        // Within a group the source must walk memory evenly.
        let mut step = None;
        let mut expected = 0;
        for i in src.rev() {
            if from[i] == 1 {
                continue;
            }
            match step {
                None => step = Some(strides[i]),
                Some(_) if strides[i] != expected => return None,
                Some(_) => {}
            }
            expected = strides[i] * from[i] as i64;
        }
        let mut stride = step.unwrap_or(0);
        for j in dst.rev() {
            result[j] = stride;
            stride *= to[j] as i64;
        }
    }
    Some(result)
}

/// Cuts two shapes of equally many elements (not 0) into the shortest runs of axes whose sizes multiply to the same.
pub fn groups(from: &[usize], to: &[usize]) -> Vec<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut cut = Vec::new();
    let (mut i, mut j) = (0, 0);
    while i < from.len() || j < to.len() {
        let (i0, j0) = (i, j);
        let (mut a, mut b) = (1usize, 1usize);
        // Each group starts with one axis of both, as far as there are any.
        if i < from.len() {
            a = from[i];
            i += 1;
        }
        if j < to.len() {
            b = to[j];
            j += 1;
        }
        while a != b {
            if a < b && i < from.len() {
                a *= from[i];
                i += 1;
            } else if j < to.len() {
                b *= to[j];
                j += 1;
            } else {
                break;
            }
        }
        cut.push((i0..i, j0..j));
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reshape(from: &[usize], strides: &[i64], to: &[usize]) -> Option<Vec<i64>> {
        reshape_strides(&from.into(), strides, &to.into()).map(|s| s.to_vec())
    }

    #[test]
    fn reshapes_that_need_no_copy() {
        assert_eq!(reshape(&[2, 3, 4], &[12, 4, 1], &[6, 4]), Some(vec![4, 1]));
        assert_eq!(reshape(&[6, 4], &[4, 1], &[2, 3, 2, 2]), Some(vec![12, 4, 2, 1]));
        // A transposed matrix can be split along an axis, but not flattened.
        assert_eq!(reshape(&[4, 6], &[1, 4], &[4, 2, 3]), Some(vec![1, 12, 4]));
        assert_eq!(reshape(&[4, 6], &[1, 4], &[24]), None);
        assert_eq!(reshape(&[1, 5, 1], &[9, 2, 9], &[5]), Some(vec![2]));
        assert_eq!(reshape(&[], &[], &[1, 1]), Some(vec![0, 0]));
    }

    #[test]
    fn groups_have_equal_products() {
        for (a, b) in [(vec![2, 3, 4], vec![6, 4]), (vec![1, 6], vec![3, 2, 1]), (vec![], vec![1]), (vec![4, 1, 1], vec![2, 2])] {
            let cut = groups(&a, &b);
            for (i, j) in &cut {
                assert_eq!(a[i.clone()].iter().product::<usize>(), b[j.clone()].iter().product::<usize>());
            }
            assert_eq!(cut.iter().map(|(i, _)| i.len()).sum::<usize>(), a.len());
            assert_eq!(cut.iter().map(|(_, j)| j.len()).sum::<usize>(), b.len());
        }
    }
}
