//! A plan's matrix products as cuBLASLt takes them: column-major, in batches of one stride.
//!
//! What is row-major here is its own transpose there, so `c = a·b` is asked for as `cᵀ = bᵀ·aᵀ`.

use super::product::{Matrix, Problem};
use crate::dtype::DType;
use crate::graph::BinaryOp;
use crate::plan::{Affine, Contract, ContractKind, InstrKind, Level, Loop, Operand, Store};
use crate::shape::{Dims, Layout, Shape};

/// Batches that cannot be one are asked for one after the other, up to so many.
const CALLS: usize = 64;

/// Below so many multiplications a generated kernel, which does the epilogue in one go, is the faster.
const SMALL: usize = 1 << 16;

/// A slot, and an element of it.
pub(super) type Place = (usize, i64);

/// A contraction as products and what follows them.
#[derive(Debug, Clone)]
pub(super) struct Lowered {
    pub problem: Problem,
    /// Slots and first elements of a, b and d, as cuBLASLt names them.
    pub a: Place,
    pub b: Place,
    pub d: Place,
    pub bias: Option<Place>,
    /// Further first elements, added to those of a, b and d: one call each.
    pub calls: Vec<[i64; 3]>,
    /// What is left to do with the result, which it loads from `d`.
    pub rest: Option<Loop>,
    /// Bytes of the scratch slot that `d` lies in, if it does.
    pub scratch: usize,
}

/// The products that make a contraction; none when cuBLASLt cannot take it or would gain nothing. `scratch` is the
/// number of a slot that is nobody's.
pub(super) fn lower(c: &Contract, scratch: usize) -> Option<Lowered> {
    let ContractKind::Matmul { batch, m, n, k } = &c.kind else { return None };
    let (m, n, k) = (*m, *n, *k);
    let e = &c.epilogue;
    let elements = batch.iter().product::<usize>().checked_mul(m)?.checked_mul(n)?;
    if c.dtype != DType::F32 || elements == 0 || k == 0 || !e.inner.is_empty() {
        return None;
    }
    let (target, bias, rest) = target(c, n, scratch);
    if rest.is_some() && elements.checked_mul(k)? < SMALL {
        return None;
    }
    let rank = batch.len();
    let (ra, rb) = (&c.a.layout.strides, &c.b.layout.strides);
    let out = Shape::from(&batch.iter().copied().chain([m, n]).collect::<Dims<usize>>()[..]).strides();
    let axes: Vec<(usize, [i64; 3])> =
        (0..rank).map(|d| (batch[d], [rb[d], ra[d], out[d]])).filter(|(size, _)| *size > 1).collect();
    let mut groups = merged(&axes);
    let (batches, [stride_a, stride_b, stride_d]) = groups.pop().unwrap_or((1, [0; 3]));
    let calls = offsets(&groups)?;
    // cuBLASLt's a is b here, and the other way round.
    let mut a = matrix(n, k, rb[rank + 1], rb[rank])?;
    let mut b = matrix(k, m, ra[rank + 1], ra[rank])?;
    let mut d = matrix(n, m, 1, n as i64)?;
    let starts = [c.b.layout.offset, c.a.layout.offset, target.1];
    for (i, (matrix, stride)) in [(&mut a, stride_a), (&mut b, stride_b), (&mut d, stride_d)].into_iter().enumerate() {
        matrix.batch_stride = stride;
        matrix.alignment = alignment(calls.iter().map(|c| c[i]).chain([starts[i]]));
        if stride < 0 || calls.iter().any(|c| c[i] < 0) {
            return None;
        }
    }
    Some(Lowered {
        problem: Problem { a, b, d, batches, bias: bias.is_some(), tf32: false },
        a: (c.b.slot, starts[0]),
        b: (c.a.slot, starts[1]),
        d: target,
        bias,
        calls,
        rest,
        scratch: if target.0 == scratch { elements * 4 } else { 0 },
    })
}

/// Where the product is written (slot and first element), the bias that it takes along, and the loop that is left.
fn target(c: &Contract, n: usize, scratch: usize) -> (Place, Option<Place>, Option<Loop>) {
    let e = &c.epilogue;
    let shape = Shape::from(&e.outer[..]);
    let place = e.stores.iter().find(|s| in_place(c, &shape, s)).map(|s| (s.slot, s.at.offset));
    if let (Some(place), [store]) = (place, &e.stores[..]) {
        if e.instrs[store.value].kind == InstrKind::Accumulator {
            return (place, None, None);
        }
        if let Some(bias) = bias(e, store, n) {
            return (place, Some(bias), None);
        }
    }
    let place = place.unwrap_or((scratch, 0));
    let at = Affine { offset: place.1, strides: shape.strides() };
    let mut rest = e.clone();
    for i in rest.instrs.iter_mut().filter(|i| i.kind == InstrKind::Accumulator) {
        i.kind = InstrKind::Load { slot: place.0, at: at.clone(), guard: None };
        i.level = Level::Outer;
    }
    (place, None, Some(rest))
}

/// True when the product may be written where `s` will: the same f32 elements in the same order, and nobody needs what
/// lies there.
fn in_place(c: &Contract, shape: &Shape, s: &Store) -> bool {
    let e = &c.epilogue;
    let contiguous = Layout { offset: 0, strides: s.at.strides.clone() }.is_contiguous(shape);
    let read = |o: &Operand| o.slot == s.slot;
    let read = e.instrs.iter().any(|i| i.kind.slot() == Some(s.slot)) || read(&c.a) || read(&c.b);
    contiguous && s.at.offset >= 0 && !read && e.instrs[s.value].dtype == DType::F32
}

/// The vector along the last axis that is added to the result, if that is all that happens to it.
fn bias(e: &Loop, store: &Store, n: usize) -> Option<Place> {
    let InstrKind::Binary { op: BinaryOp::Add, lhs, rhs } = e.instrs[store.value].kind else { return None };
    let other = match (&e.instrs[lhs].kind, &e.instrs[rhs].kind) {
        (InstrKind::Accumulator, _) => rhs,
        (_, InstrKind::Accumulator) => lhs,
        _ => return None,
    };
    let InstrKind::Load { slot, at, guard: None } = &e.instrs[other].kind else { return None };
    let (last, others) = at.strides.split_last()?;
    let flat = others.iter().zip(&e.outer).all(|(stride, size)| *stride == 0 || *size == 1);
    let vector = flat && (*last == 1 || n == 1) && e.outer.last() == Some(&n) && e.instrs[other].dtype == DType::F32;
    (vector && at.offset >= 0 && at.offset % 4 == 0).then_some((*slot, at.offset))
}

/// A `rows × columns` operand, given the distances between its rows and between its columns, as cuBLASLt sees it: one
/// of the two is 1.
fn matrix(rows: usize, columns: usize, row: i64, column: i64) -> Option<Matrix> {
    let plain = Matrix { rows, columns, pitch: column, batch_stride: 0, transposed: false, alignment: 256 };
    let fits = |pitch: i64, length: usize| pitch >= length.max(1) as i64;
    if row == 1 || rows == 1 {
        let pitch = if columns == 1 { rows as i64 } else { column };
        if fits(pitch, rows) {
            return Some(Matrix { pitch, ..plain });
        }
    }
    if column == 1 || columns == 1 {
        let pitch = if rows == 1 { columns as i64 } else { row };
        if fits(pitch, columns) {
            return Some(Matrix { rows: columns, columns: rows, pitch, transposed: true, ..plain });
        }
    }
    None
}

/// Neighbouring axes that all three operands step through evenly, as one.
fn merged(axes: &[(usize, [i64; 3])]) -> Vec<(usize, [i64; 3])> {
    let mut groups: Vec<(usize, [i64; 3])> = Vec::new();
    for &(size, strides) in axes {
        match groups.last_mut() {
            Some((count, outer)) if (0..3).all(|i| outer[i] == strides[i] * size as i64) => {
                *count *= size;
                *outer = strides;
            }
            _ => groups.push((size, strides)),
        }
    }
    groups
}

/// Every combination of the axes, as offsets; none when there are too many.
fn offsets(axes: &[(usize, [i64; 3])]) -> Option<Vec<[i64; 3]>> {
    let mut all = vec![[0; 3]];
    for (size, strides) in axes {
        if all.len() * size > CALLS {
            return None;
        }
        all = all
            .iter()
            .flat_map(|at| (0..*size as i64).map(move |i| std::array::from_fn(|d| at[d] + i * strides[d])))
            .collect();
    }
    Some(all)
}

/// The power of two, at most 256, that all these elements' addresses are multiples of; memory itself starts at one.
fn alignment(offsets: impl Iterator<Item = i64>) -> u32 {
    offsets.fold(256, |align, offset| align.min(1 << (offset as u64 * 4).trailing_zeros().min(8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_that_step_evenly_are_one() {
        let even = [(2, [30, 0, 60]), (3, [10, 0, 20]), (5, [2, 0, 4])];
        assert_eq!(merged(&even), [(30, [2, 0, 4])]);
        let broken = [(2, [31, 0, 60]), (3, [10, 0, 20])];
        assert_eq!(merged(&broken), broken);
        assert_eq!(offsets(&[(2, [31, 0, 60])]), Some(vec![[0, 0, 0], [31, 0, 60]]));
        assert_eq!(offsets(&[(65, [1, 1, 1])]), None);
    }

    #[test]
    fn operands_are_plain_transposed_or_refused() {
        let of = |rows, columns, row, column| matrix(rows, columns, row, column).map(|m| (m.transposed, m.pitch));
        assert_eq!(of(4, 3, 1, 7), Some((false, 7)));
        assert_eq!(of(4, 3, 5, 1), Some((true, 5)));
        assert_eq!(of(1, 3, 9, 1), Some((false, 1)));
        assert_eq!(of(4, 1, 2, 0), Some((true, 2)));
        assert_eq!(of(4, 3, 2, 8), None);
        assert_eq!(of(4, 3, 1, 0), None, "broadcast");
        assert_eq!(alignment([0, 64, 6].into_iter()), 8);
    }
}
