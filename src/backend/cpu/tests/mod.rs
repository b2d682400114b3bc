//! Plans written by hand, run, and compared with plain loops.

mod contract;
mod folds;
mod loops;
mod maps;
mod steps;

use super::CpuBackend;
use crate::backend::testing::read;
use crate::device::Backend;
use crate::dtype::{DType, Element, Scalar};
use crate::error::{Caller, Result};
use crate::plan::{Affine, Instr, InstrKind, Level, Loop, Origin, Plan, Slot, Step, Store};
use std::sync::Arc;

/// The bytes of elements.
fn bytes<T: Element>(values: &[T]) -> Vec<u8> {
    T::to_bytes(values).into_owned()
}

/// Numbers that look random, in [-1, 1).
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// Runs steps over slots with these contents and returns the contents afterwards.
fn run(steps: Vec<Step>, slots: &[Vec<u8>], scalars: &[Scalar]) -> Result<Vec<Vec<u8>>> {
    let backend = CpuBackend::new();
    let origins = vec![Origin { op: "gather", at: Caller::here() }];
    let plan = Plan {
        slots: (0..slots.len()).map(Slot::Leaf).collect(),
        steps,
        params: Vec::new(),
        outputs: Vec::new(),
        origins,
        deterministic: false,
    };
    let executable = backend.compile(Arc::new(plan))?;
    let storages: Vec<_> = slots.iter().map(|s| Ok(Arc::new(backend.allocate(s.len())?))).collect::<Result<_>>()?;
    for (storage, content) in storages.iter().zip(slots) {
        backend.write(storage, DType::U8, content)?;
    }
    executable.run(&storages, scalars)?;
    storages.iter().zip(slots).map(|(s, content)| read(&*backend, s, DType::U8, 0, content.len())).collect()
}

fn affine(offset: i64, strides: &[i64]) -> Affine {
    Affine { offset, strides: strides.into() }
}

/// Writes loops by hand.
#[derive(Default)]
struct Builder(Loop);

impl Builder {
    fn new(outer: &[usize], inner: &[usize]) -> Builder {
        Builder(Loop { outer: outer.into(), inner: inner.into(), ..Loop::default() })
    }

    fn push(&mut self, kind: InstrKind, dtype: DType, level: Level) -> usize {
        self.0.instrs.push(Instr { kind, dtype, level });
        self.0.instrs.len() - 1
    }

    /// The level of what follows from these.
    fn level(&self, kind: &InstrKind) -> Level {
        match kind.is_fold() {
            true => Level::Outer,
            false => kind.operands().iter().map(|&r| self.0.instrs[r].level).max().unwrap_or(Level::Uniform),
        }
    }

    fn load(&mut self, slot: usize, dtype: DType, at: Affine) -> usize {
        let inner = at.strides[self.0.outer.len()..].iter().any(|&s| s != 0);
        let level = if inner { Level::Inner } else { Level::Outer };
        self.push(InstrKind::Load { slot, at, guard: None }, dtype, level)
    }

    fn op(&mut self, kind: InstrKind, dtype: DType) -> usize {
        let level = self.level(&kind);
        self.push(kind, dtype, level)
    }

    fn store(mut self, slot: usize, at: Affine, value: usize) -> Builder {
        self.0.stores.push(Store { slot, at, value });
        self
    }

    fn step(self) -> Vec<Step> {
        vec![Step::Loop(self.0)]
    }
}
