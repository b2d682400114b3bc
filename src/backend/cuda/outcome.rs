//! Where a library's result is written, and what is left to do with it: the epilogues that only a kernel can do.

use crate::plan::{Affine, Contract, InstrKind, Level, Loop, Operand, Store};
use crate::shape::{Layout, Shape};

/// A slot, and an element of it.
pub(super) type Place = (usize, i64);

/// What becomes of a contraction's result.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    /// Where the library writes it, contiguous.
    pub place: Place,
    /// What is left to do with it, which it loads from there.
    pub rest: Option<Loop>,
    /// Bytes of the scratch slot that `place` lies in, if it does.
    pub scratch: usize,
}

impl Outcome {
    /// That of `c`, whose result has so many elements; `scratch` is the number of a slot that is nobody's.
    pub fn new(c: &Contract, elements: usize, scratch: usize) -> Outcome {
        let e = &c.epilogue;
        let shape = Shape::from(&e.outer[..]);
        let place = e.stores.iter().find(|s| in_place(c, &shape, s)).map(|s| (s.slot, s.at.offset));
        if let (Some(place), [store]) = (place, &e.stores[..])
            && e.instrs[store.value].kind == InstrKind::Accumulator
        {
            return Outcome { place, rest: None, scratch: 0 };
        }
        let bytes = if place.is_some() { 0 } else { elements * c.dtype.bytes() };
        let place = place.unwrap_or((scratch, 0));
        let at = Affine { offset: place.1, strides: shape.strides() };
        let mut rest = e.clone();
        for i in rest.instrs.iter_mut().filter(|i| i.kind == InstrKind::Accumulator) {
            i.kind = InstrKind::Load { slot: place.0, at: at.clone(), guard: None };
            i.level = Level::Outer;
        }
        Outcome { place, rest: Some(rest), scratch: bytes }
    }
}

/// True when the result may be written where `s` will: the same elements of the same dtype in the same order, and
/// nobody needs what lies there.
fn in_place(c: &Contract, shape: &Shape, s: &Store) -> bool {
    let e = &c.epilogue;
    let contiguous = Layout { offset: 0, strides: s.at.strides.clone() }.is_contiguous(shape);
    let read = |o: &Operand| o.slot == s.slot;
    let read = e.instrs.iter().any(|i| i.kind.slot() == Some(s.slot)) || read(&c.a) || read(&c.b);
    contiguous && s.at.offset >= 0 && !read && e.instrs[s.value].dtype == c.dtype
}
