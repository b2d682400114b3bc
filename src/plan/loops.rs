//! The fused loop: a domain of points, a list of instructions evaluated at each, and what is stored.
//!
//! The domain is `outer × inner`. Without `inner` it is a plain map. With it, each point of `outer` is a *row*:
//! [`InstrKind::Reduce`] folds an inner value over the row, later instructions may use the result for a further fold
//! or for every element of the row. Softmax, a norm or a cross-entropy with all its folds is one loop.

use crate::dtype::DType;
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};
use crate::random::Distribution;
use crate::shape::Dims;

/// The index of an instruction, whose value it stands for.
pub type Reg = usize;

/// A linear function of the point: `offset + Σ strides[d]·index[d]` over the axes of `outer`, then `inner`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Affine {
    /// The value at the origin.
    pub offset: i64,
    /// One factor for each axis of the domain.
    pub strides: Dims<i64>,
}

/// A fused loop.
#[derive(Debug, Clone, Default)]
pub struct Loop {
    /// Sizes of the kept axes.
    pub outer: Dims<usize>,
    /// Sizes of the folded axes; empty when nothing is folded.
    pub inner: Dims<usize>,
    /// In an order in which every operand comes before its user.
    pub instrs: Vec<Instr>,
    /// At least one.
    pub stores: Vec<Store>,
}

/// An instruction: one value per point, row, or run, as its level says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instr {
    /// What it computes.
    pub kind: InstrKind,
    /// The type of its value.
    pub dtype: DType,
    /// How often it changes.
    pub level: Level,
}

/// How often a value changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// Never during a run.
    Uniform,
    /// From one point of `outer` to the next.
    Outer,
    /// From one point of `inner` to the next.
    Inner,
}

/// What an instruction computes. Affine values are in elements.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstrKind {
    /// Element `at` of a slot. Where `guard` is false nothing is read and the value is 0.
    Load { slot: usize, at: Affine, guard: Option<Reg> },
    /// Element `at + stride·index` of a slot, `index` being an `i32` value in `0..size`. Outside of that, error `origin`
    /// is reported and the value is NaN (0 for integers). Where `guard` is false nothing is read, checked or reported.
    Gather { slot: usize, at: Affine, index: Reg, stride: i64, size: usize, guard: Option<Reg>, origin: usize },
    /// The element of a contraction's result; in epilogues only.
    Accumulator,
    /// The run's scalar number `param`.
    Param { param: usize },
    /// `at` itself, as `i32`.
    Iota { at: Affine },
    /// `0 <= at < size`, and `and` if given; a `bool`.
    InBounds { at: Affine, size: usize, and: Option<Reg> },
    /// Random element number `at` ([`crate::random`]); `params` are the numbers of the seed's low word, its high
    /// word and the stream among the run's scalars.
    Random { distribution: Distribution, at: Affine, params: [usize; 3] },
    /// `op(src)`
    Unary { op: UnaryOp, src: Reg },
    /// `op(lhs, rhs)`
    Binary { op: BinaryOp, lhs: Reg, rhs: Reg },
    /// `condition ? on_true : on_false`
    Select { condition: Reg, on_true: Reg, on_false: Reg },
    /// `src` converted to the instruction's dtype.
    Cast { src: Reg },
    /// The fold of `src` over `inner`; an outer value.
    Reduce { op: ReduceOp, src: Reg },
    /// The position (row-major over `inner`, `i32`) of the first largest or smallest `src`; NaN counts as extreme.
    ArgReduce { op: ReduceOp, src: Reg },
}

/// Writes a value: once per point of `outer × inner` for an inner value, once per point of `outer` for any other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Store {
    /// Where to; each store of a loop has a slot of its own. When a load of the loop reads this slot, it reads it at
    /// exactly the place that the same point writes, so it may be done in place.
    pub slot: usize,
    /// The element; strides of `inner` are 0 when the value is not an inner one.
    pub at: Affine,
    /// What is written.
    pub value: Reg,
}

impl Loop {
    /// Points of `outer`.
    pub fn outer_len(&self) -> usize {
        self.outer.iter().product()
    }

    /// Points of `inner` (1 when there are no such axes).
    pub fn inner_len(&self) -> usize {
        self.inner.iter().product()
    }

    /// True when something is folded.
    pub fn reduces(&self) -> bool {
        self.instrs.iter().any(|i| i.kind.is_fold())
    }
}

impl InstrKind {
    /// True for `Reduce` and `ArgReduce`.
    pub fn is_fold(&self) -> bool {
        matches!(self, InstrKind::Reduce { .. } | InstrKind::ArgReduce { .. })
    }

    /// The values it uses.
    pub fn operands(&self) -> Dims<Reg> {
        use InstrKind::*;
        match *self {
            Load { guard, .. } => guard.into_iter().collect(),
            Gather { index, guard, .. } => [index].into_iter().chain(guard).collect(),
            InBounds { and, .. } => and.into_iter().collect(),
            Accumulator | Param { .. } | Iota { .. } | Random { .. } => Dims::new(),
            Unary { src, .. } | Cast { src } | Reduce { src, .. } | ArgReduce { src, .. } => {
                [src].into_iter().collect()
            }
            Binary { lhs, rhs, .. } => [lhs, rhs].into_iter().collect(),
            Select { condition, on_true, on_false } => [condition, on_true, on_false].into_iter().collect(),
        }
    }

    /// Replaces every operand `r` by `regs[r]`.
    pub(crate) fn rename(&mut self, regs: &[Reg]) {
        use InstrKind::*;
        let guard = |g: &mut Option<Reg>| {
            if let Some(r) = g {
                *r = regs[*r];
            }
        };
        match self {
            Load { guard: g, .. } => guard(g),
            Gather { index, guard: g, .. } => {
                *index = regs[*index];
                guard(g);
            }
            InBounds { and, .. } => guard(and),
            Accumulator | Param { .. } | Iota { .. } | Random { .. } => {}
            Unary { src, .. } | Cast { src } | Reduce { src, .. } | ArgReduce { src, .. } => *src = regs[*src],
            Binary { lhs, rhs, .. } => {
                *lhs = regs[*lhs];
                *rhs = regs[*rhs];
            }
            Select { condition, on_true, on_false } => {
                for r in [condition, on_true, on_false] {
                    *r = regs[*r];
                }
            }
        }
    }

    /// The linear function it evaluates, if it has one.
    pub fn affine(&self) -> Option<&Affine> {
        use InstrKind::*;
        match self {
            Load { at, .. } | Gather { at, .. } | Iota { at } | InBounds { at, .. } | Random { at, .. } => Some(at),
            _ => None,
        }
    }

    /// The same, to change.
    pub fn affine_mut(&mut self) -> Option<&mut Affine> {
        use InstrKind::*;
        match self {
            Load { at, .. } | Gather { at, .. } | Iota { at } | InBounds { at, .. } | Random { at, .. } => Some(at),
            _ => None,
        }
    }

    /// The slot it reads, if it reads one.
    pub fn slot(&self) -> Option<usize> {
        match self {
            InstrKind::Load { slot, .. } | InstrKind::Gather { slot, .. } => Some(*slot),
            _ => None,
        }
    }
}
