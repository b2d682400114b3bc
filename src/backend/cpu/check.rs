//! What must hold of a loop for the evaluator to be able to run it: a plan that breaks a rule is an error, not a crash.

use super::broken;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{Meta, Op, infer};
use crate::plan::{Affine, Instr, InstrKind, Level, Loop, Reg, Store};
use crate::random::Distribution;
use crate::shape::Shape;

/// An error unless operands come before their users, dtypes fit, values change no more often than their level says,
/// and slots are read and written as [`Store`] promises.
pub fn check(l: &Loop) -> Result<()> {
    let rank = l.outer.len() + l.inner.len();
    let points = l.outer.iter().chain(&l.inner).filter(|&&d| d != 0).try_fold(1usize, |n, &d| n.checked_mul(d));
    if points.is_none_or(|n| n > isize::MAX as usize) || l.stores.is_empty() {
        return Err(broken("a loop over too many points, or one that stores nothing"));
    }
    for (reg, instr) in l.instrs.iter().enumerate() {
        let fits = instr.kind.operands().iter().all(|&r| r < reg && level_fits(instr, &l.instrs[r]))
            && instr.kind.affine().is_none_or(|a| a.strides.len() == rank)
            && dtype_fits(l, instr)
            && slot_fits(l, instr);
        if !fits {
            return Err(broken(format!("%{reg} = {} is not well formed", instr.kind)));
        }
    }
    for (k, s) in l.stores.iter().enumerate() {
        let known = s.value < l.instrs.len() && s.at.strides.len() == rank;
        if !known || l.stores[..k].iter().any(|other| other.slot == s.slot) {
            return Err(broken(format!("the store of %{} in slot {} is not well formed", s.value, s.slot)));
        }
    }
    Ok(())
}

fn level_fits(instr: &Instr, operand: &Instr) -> bool {
    match instr.kind.is_fold() {
        true => instr.level == Level::Outer,
        false => operand.level <= instr.level,
    }
}

fn dtype_fits(l: &Loop, instr: &Instr) -> bool {
    let of = |r: Reg| l.instrs[r].dtype;
    let truth = |r: &Option<Reg>| r.is_none_or(|r| of(r) == DType::Bool);
    let meta = |r: Reg| Meta { shape: Shape::scalar(), dtype: of(r) };
    let gives = |op: Op, regs: &[Reg]| {
        let metas: Vec<Meta> = regs.iter().map(|&r| meta(r)).collect();
        infer(&op, &metas.iter().collect::<Vec<_>>()).is_ok_and(|out| out[0].dtype == instr.dtype)
    };
    match instr.kind {
        InstrKind::Load { ref guard, .. } => truth(guard),
        InstrKind::Gather { index, ref guard, size, .. } => {
            of(index) == DType::I32 && truth(guard) && size <= i64::MAX as usize
        }
        InstrKind::Accumulator | InstrKind::Param { .. } | InstrKind::Cast { .. } => true,
        InstrKind::Iota { .. } => instr.dtype == DType::I32,
        InstrKind::InBounds { ref and, size, .. } => {
            instr.dtype == DType::Bool && truth(and) && size <= i64::MAX as usize
        }
        InstrKind::Random { distribution, .. } => match distribution {
            Distribution::Bits => instr.dtype == DType::U32,
            Distribution::Uniform | Distribution::Normal => instr.dtype == DType::F32,
        },
        InstrKind::Unary { op, src } => gives(Op::Unary(op), &[src]),
        InstrKind::Binary { op, lhs, rhs } => gives(Op::Binary(op), &[lhs, rhs]),
        InstrKind::Select { condition, on_true, on_false } => gives(Op::Select, &[condition, on_true, on_false]),
        InstrKind::Reduce { src, .. } => of(src) == instr.dtype,
        InstrKind::ArgReduce { .. } => instr.dtype == DType::I32,
    }
}

/// A slot that the loop also writes may only be read where the same point writes, by elements of the same size.
fn slot_fits(l: &Loop, instr: &Instr) -> bool {
    let store = |slot: usize| l.stores.iter().find(|s| s.slot == slot);
    match &instr.kind {
        InstrKind::Load { slot, at, .. } => store(*slot).is_none_or(|s| same_place(l, s, at, instr.dtype)),
        InstrKind::Gather { slot, .. } => store(*slot).is_none(),
        _ => true,
    }
}

fn same_place(l: &Loop, s: &Store, at: &Affine, dtype: DType) -> bool {
    let sizes = l.outer.iter().chain(&l.inner);
    let strides = at.strides.iter().zip(&s.at.strides);
    at.offset == s.at.offset
        && strides.zip(sizes).all(|((a, b), &size)| a == b || size <= 1)
        && l.instrs.get(s.value).is_some_and(|v| v.dtype.bytes() == dtype.bytes())
}
