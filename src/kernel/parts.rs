//! The kernels of a contraction. One whose elements are too few to fill a device is cut along its sums: one kernel makes the
//! sums of all parts, so that every workgroup of the device has one, and a fold adds them up, in order, and does what follows.

use super::matrices::Matrices;
use super::{KernelSource, Result, Target, contract, fold};
use crate::dtype::DType;
use crate::graph::ReduceOp;
use crate::plan::{Affine, Contract, Instr, InstrKind, Level, Loop, Reg};
use crate::shape::{Dims, Shape};

/// Sums of all parts, at most: 64 MiB. They lie in memory as long as the kernels are kept.
pub const MOST_SUMS: usize = 1 << 24;

/// What makes parts worth it: for a second kernel costs as much as a small product.
pub struct Worth {
    /// Parts, and terms of each, at least.
    parts: usize,
    terms: usize,
    /// Terms of a part at most, whatever it is worth: a software driver may stop an invocation after 65,535 turns of its
    /// loops.
    most: usize,
}

/// That of each kernel.
pub const TILED: Worth = Worth { parts: 4, terms: 64, most: 1 << 15 };
pub const LONG: Worth = Worth { parts: 4, terms: 1024, most: 1 << 21 };
pub const MATRICES: Worth = Worth { parts: 2, terms: 128, most: 1 << 20 };

impl Worth {
    /// Parts that sums of so many terms are worth, where whole sums would be made by `workgroups` and the device has room for
    /// so many.
    pub fn parts(&self, room: u32, workgroups: usize, terms: usize) -> usize {
        let parts = (room as usize / workgroups.max(1)).min(terms / self.terms);
        let parts = if parts < self.parts { 1 } else { parts };
        parts.max(terms.div_ceil(self.most))
    }
}

/// The kernels of a contraction, in order, and the bytes of slot `scratch`, in which they leave numbers for each other: the
/// sums of parts, where it is cut, then what is largest in the operands' rows, where that has to be known.
pub fn contract(c: &Contract, target: Target, scratch: usize) -> Result<(Vec<KernelSource>, usize)> {
    let parts = contract::parts(c, target)?;
    let mut numbers = if parts < 2 { 0 } else { (parts * c.epilogue.outer_len()).next_multiple_of(4) };
    let mut kernels = Vec::new();
    if let Some(matrices) = Matrices::of(c, target) {
        let (largest, count) = matrices.largest(parts, scratch);
        for find in largest {
            kernels.push(fold::fold(&find, target)?);
        }
        numbers += count;
    }
    if parts < 2 {
        kernels.push(contract::contract(c, target, scratch)?);
    } else {
        kernels.push(contract::sums(c, target, parts, scratch)?);
        kernels.push(fold::fold(&rest(c, parts, scratch), target)?);
    }
    Ok((kernels, numbers * DType::F32.bytes()))
}

/// The epilogue as a loop over the parts' sums: `[parts, elements..]`, in `f32`.
fn rest(c: &Contract, parts: usize, scratch: usize) -> Loop {
    let e = &c.epilogue;
    let widened = |at: &Affine, along: i64| {
        let strides: Dims<i64> = at.strides.iter().copied().chain([along]).collect();
        Affine { offset: at.offset, strides }
    };
    let contiguous = Affine { offset: 0, strides: Shape::from(&e.outer[..]).strides() };
    let part = InstrKind::Load { slot: scratch, at: widened(&contiguous, e.outer_len() as i64), guard: None };
    let mut instrs = vec![
        Instr { kind: part, dtype: DType::F32, level: Level::Inner },
        Instr { kind: InstrKind::Reduce { op: ReduceOp::Sum, src: 0 }, dtype: DType::F32, level: Level::Outer },
    ];
    let regs: Vec<Reg> = (0..e.instrs.len()).map(|r| r + instrs.len()).collect();
    for instr in &e.instrs {
        let mut instr = instr.clone();
        instr.kind.rename(&regs);
        if let Some(at) = instr.kind.affine_mut() {
            *at = widened(at, 0);
        }
        if instr.kind == InstrKind::Accumulator {
            instr.kind = InstrKind::Cast { src: 1 };
        }
        instrs.push(instr);
    }
    let stores =
        e.stores.iter().map(|s| crate::plan::Store { at: widened(&s.at, 0), value: regs[s.value], ..s.clone() });
    Loop { outer: e.outer.clone(), inner: Dims::from_elem(parts, 1), instrs, stores: stores.collect() }
}
