//! Axes that can be walked as one are merged, so that kernels count fewer of them and more sizes share a text.

use crate::plan::{Affine, Loop};
use crate::shape::Dims;

/// The same loop with axes of size 1 dropped and neighbours merged wherever every linear function of the loop goes on
/// from one row of the inner neighbour to the next in equal steps. Positions in row-major order stay what they were.
pub fn merge_axes(l: &Loop) -> Loop {
    let mut merged = l.clone();
    let split = l.outer.len();
    let affines: Vec<&Affine> = affines(l).collect();
    let outer = groups(&l.outer, &affines, 0);
    let inner = groups(&l.inner, &affines, split);
    merged.outer = outer.iter().map(|g| g.0).collect();
    merged.inner = inner.iter().map(|g| g.0).collect();
    let axes: Vec<usize> = outer.iter().map(|g| g.1).chain(inner.iter().map(|g| g.1 + split)).collect();
    let pick = |at: &mut Affine| at.strides = axes.iter().map(|&d| at.strides[d]).collect();
    for instr in &mut merged.instrs {
        if let Some(at) = instr.kind.affine_mut() {
            pick(at);
        }
    }
    merged.stores.iter_mut().for_each(|s| pick(&mut s.at));
    merged
}

fn affines(l: &Loop) -> impl Iterator<Item = &Affine> {
    l.instrs.iter().filter_map(|i| i.kind.affine()).chain(l.stores.iter().map(|s| &s.at))
}

/// The merged axes as (size, the axis among `sizes` whose stride they keep); `first` is where these axes' strides begin.
fn groups(sizes: &Dims<usize>, affines: &[&Affine], first: usize) -> Vec<(usize, usize)> {
    if sizes.contains(&0) {
        return vec![(0, sizes.len() - 1)];
    }
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for (d, &size) in sizes.iter().enumerate().filter(|(_, size)| **size != 1) {
        match groups.last_mut() {
            Some((total, last)) if affines.iter().all(|a| continues(a, first + *last, first + d, size)) => {
                *total *= size;
                *last = d;
            }
            _ => groups.push((size, d)),
        }
    }
    groups
}

/// A step along `outer` is `size` steps along `inner`.
fn continues(a: &Affine, outer: usize, inner: usize, size: usize) -> bool {
    a.strides[inner].checked_mul(size as i64) == Some(a.strides[outer])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::DType;
    use crate::plan::{Instr, InstrKind, Level, Store};

    fn copy(outer: &[usize], from: &[i64], to: &[i64]) -> Loop {
        let at = |s: &[i64]| Affine { offset: 0, strides: s.into() };
        Loop {
            outer: outer.into(),
            inner: Dims::new(),
            instrs: vec![Instr {
                kind: InstrKind::Load { slot: 0, at: at(from), guard: None },
                dtype: DType::F32,
                level: Level::Outer,
            }],
            stores: vec![Store { slot: 1, at: at(to), value: 0 }],
        }
    }

    #[test]
    fn contiguous_axes_become_one_and_transposed_ones_stay() {
        assert_eq!(merge_axes(&copy(&[2, 3, 4], &[12, 4, 1], &[12, 4, 1])).outer[..], [24]);
        assert_eq!(merge_axes(&copy(&[2, 3, 4], &[0, 4, 1], &[12, 4, 1])).outer[..], [2, 12]);
        assert_eq!(merge_axes(&copy(&[3, 4], &[1, 3], &[4, 1])).outer[..], [3, 4]);
        assert_eq!(merge_axes(&copy(&[3, 1, 4], &[4, 9, 1], &[4, 7, 1])).outer[..], [12]);
        assert_eq!(merge_axes(&copy(&[1, 1], &[5, 9], &[5, 9])).outer[..], [0usize; 0]);
        assert_eq!(merge_axes(&copy(&[3, 0, 4], &[4, 4, 1], &[4, 4, 1])).outer[..], [0]);
    }
}
