//! A compiled plan: its steps made ready, and what happens when they run.

use super::contract::ContractStep;
use super::eval::{Job, Target};
use super::memory::Uses;
use super::program::Program;
use super::{attention, broken, run, scan, scatter, sort};
#[cfg(not(target_arch = "wasm32"))]
use crate::device::KernelTime;
use crate::device::{Executable, MemoryManager, Storage};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::graph::Meta;
use crate::plan::{Attention, AttentionGrad, Custom, Loop, Origin, Plan, Scan, Scatter, Sort, Step};
use std::sync::Arc;

/// See the module.
pub struct CpuPlan {
    plan: Arc<Plan>,
    steps: Vec<Ready>,
    manager: Arc<dyn MemoryManager>,
}

/// A step made ready. Loops and contractions take some preparation, the others are run as they are.
enum Ready {
    Loop(LoopStep),
    Contract(ContractStep),
    Attention(Uses),
    AttentionGrad(Uses),
    Scatter(Uses),
    Scan(Uses),
    Sort(Uses),
    Custom(Uses),
}

impl CpuPlan {
    /// Makes every step ready. Fails when one is not well formed.
    pub fn new(plan: Arc<Plan>, manager: Arc<dyn MemoryManager>) -> Result<CpuPlan> {
        let ready = |step: &Step| {
            Ok(match step {
                Step::Loop(l) => Ready::Loop(LoopStep::new(l)?),
                Step::Contract(c) => Ready::Contract(ContractStep::new(c)?),
                Step::Attention(a) => Ready::Attention(Uses::new(a.reads(), a.writes())),
                Step::AttentionGrad(a) => Ready::AttentionGrad(Uses::new(a.reads(), a.writes())),
                Step::Scatter(s) => Ready::Scatter(Uses::new([s.base.slot, s.index.slot, s.src.slot], [s.out])),
                Step::Scan(s) => {
                    Ready::Scan(Uses::new(s.srcs.iter().map(|o| o.slot), std::iter::once(s.out).chain(s.found)))
                }
                Step::Sort(s) => Ready::Sort(Uses::new([s.src.slot], [s.values, s.indices])),
                Step::Custom(c) => Ready::Custom(Uses::new(c.inputs.clone(), c.outputs.clone())),
            })
        };
        let steps = plan.steps.iter().map(ready).collect::<Result<_>>()?;
        Ok(CpuPlan { plan, steps, manager })
    }

    fn run_step(&self, step: &Step, ready: &Ready, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()> {
        let origins = &self.plan.origins;
        match (step, ready) {
            (Step::Loop(_), Ready::Loop(l)) => l.run(slots, scalars, origins),
            (Step::Contract(c), Ready::Contract(r)) => r.run(c, slots, scalars, origins, &self.manager),
            (Step::Attention(a), Ready::Attention(uses)) => run_attention(a, uses, slots),
            (Step::AttentionGrad(a), Ready::AttentionGrad(uses)) => run_attention_grad(a, uses, slots),
            (Step::Scatter(s), Ready::Scatter(uses)) => run_scatter(s, uses, slots, origins),
            (Step::Scan(s), Ready::Scan(uses)) => run_scan(s, uses, slots),
            (Step::Sort(s), Ready::Sort(uses)) => run_sort(s, uses, slots),
            (Step::Custom(c), Ready::Custom(uses)) => run_custom(c, uses, slots),
            _ => Err(broken("a step that was not made ready")),
        }
    }
}

impl Executable for CpuPlan {
    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn run(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()> {
        self.plan.steps.iter().zip(&self.steps).try_for_each(|(step, ready)| self.run_step(step, ready, slots, scalars))
    }

    // In a browser the standard library has no clock.
    #[cfg(not(target_arch = "wasm32"))]
    fn run_timed(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<Vec<KernelTime>> {
        let began = std::time::Instant::now();
        let now = || began.elapsed().as_secs_f64() * 1e6;
        let mut times = Vec::with_capacity(self.steps.len());
        for (i, (step, ready)) in self.plan.steps.iter().zip(&self.steps).enumerate() {
            let start = now();
            self.run_step(step, ready, slots, scalars)?;
            let name = step.name().to_owned();
            times.push(KernelTime { name, step: i, start, duration: now() - start, ..KernelTime::default() });
        }
        Ok(times)
    }
}

/// A fused loop.
pub struct LoopStep {
    uses: Uses,
    program: Program,
}

/// The slots that a loop reads, and those that it writes.
pub fn loop_uses(l: &Loop, also: impl IntoIterator<Item = usize>) -> Uses {
    let reads = l.instrs.iter().filter_map(|i| i.kind.slot()).chain(also);
    Uses::new(reads, l.stores.iter().map(|s| s.slot))
}

impl LoopStep {
    fn new(l: &Loop) -> Result<LoopStep> {
        let uses = loop_uses(l, []);
        let program = Program::new(l, &|slot| uses.local(slot))?;
        Ok(LoopStep { uses, program })
    }

    fn run(&self, slots: &[Arc<Storage>], scalars: &[Scalar], origins: &[Origin]) -> Result<()> {
        let mut held = self.uses.hold(slots)?;
        let mut views = held.views();
        let reads: smallvec::SmallVec<[&[u8]; 8]> = (0..self.uses.len()).map(|i| views.shared(i)).collect();
        let mut targets = smallvec::SmallVec::new();
        for store in &self.program.stores {
            targets.push(Target { bytes: views.take(store.slot)?, first: 0 });
        }
        run::run(&Job { program: &self.program, reads: &reads, scalars, origins }, targets)
    }
}

fn run_attention(a: &Attention, uses: &Uses, slots: &[Arc<Storage>]) -> Result<()> {
    let mut held = uses.hold(slots)?;
    let mut views = held.views();
    let (out, lse) = (views.take(uses.local(a.out))?, views.take(uses.local(a.lse))?);
    attention::run(a, a.reads().map(|slot| views.shared(uses.local(slot))), out, lse)
}

fn run_attention_grad(a: &AttentionGrad, uses: &Uses, slots: &[Arc<Storage>]) -> Result<()> {
    let mut held = uses.hold(slots)?;
    let mut views = held.views();
    let [dq, dk, dv] = a.writes().map(|slot| views.take(uses.local(slot)));
    attention::run_grad(a, a.reads().map(|slot| views.shared(uses.local(slot))), [dq?, dk?, dv?])
}

fn run_scatter(s: &Scatter, uses: &Uses, slots: &[Arc<Storage>], origins: &[Origin]) -> Result<()> {
    let mut held = uses.hold(slots)?;
    let mut views = held.views();
    let out = views.take(uses.local(s.out))?;
    let base = (s.base.slot != s.out).then(|| views.shared(uses.local(s.base.slot)));
    let (index, src) = (views.shared(uses.local(s.index.slot)), views.shared(uses.local(s.src.slot)));
    scatter::run(s, base, index, src, out, origins)
}

fn run_scan(s: &Scan, uses: &Uses, slots: &[Arc<Storage>]) -> Result<()> {
    let mut held = uses.hold(slots)?;
    let mut views = held.views();
    let out = views.take(uses.local(s.out))?;
    let found = s.found.map(|slot| views.take(uses.local(slot))).transpose()?;
    let srcs: Vec<&[u8]> = s.srcs.iter().map(|o| views.shared(uses.local(o.slot))).collect();
    scan::run(s, &srcs, out, found)
}

fn run_sort(s: &Sort, uses: &Uses, slots: &[Arc<Storage>]) -> Result<()> {
    let mut held = uses.hold(slots)?;
    let mut views = held.views();
    let (values, indices) = (views.take(uses.local(s.values))?, views.take(uses.local(s.indices))?);
    sort::run(s, views.shared(uses.local(s.src.slot)), values, indices)
}

/// The first bytes of a slot: a contiguous tensor.
fn tensor<'b>(bytes: &'b [u8], meta: &Meta) -> Result<&'b [u8]> {
    let whole = meta.shape.numel().checked_mul(meta.dtype.bytes());
    whole.and_then(|n| bytes.get(..n)).ok_or_else(|| broken("a tensor that is larger than its slot"))
}

fn run_custom(c: &Custom, uses: &Uses, slots: &[Arc<Storage>]) -> Result<()> {
    let mut held = uses.hold(slots)?;
    let mut views = held.views();
    let inputs: Vec<&[u8]> = (c.inputs.iter().zip(&c.input_metas))
        .map(|(&slot, meta)| tensor(views.shared(uses.local(slot)), meta))
        .collect::<Result<_>>()?;
    let mut outputs = Vec::new();
    for (&slot, meta) in c.outputs.iter().zip(&c.output_metas) {
        let dst = views.take(uses.local(slot))?;
        let bytes = tensor(dst, meta)?.len();
        outputs.push((vec![0u8; bytes], dst));
    }
    let (mut results, places): (Vec<Vec<u8>>, Vec<&mut [u8]>) = outputs.into_iter().unzip();
    let name = c.op.0.name();
    c.op.0.cpu(&inputs, &mut results).ok_or_else(|| Error::Unsupported {
        device: "cpu".into(),
        what: format!("the custom op {name}: it has no CPU evaluation"),
    })?;
    if results.len() != c.outputs.len() {
        return Err(broken(format!("the custom op {name} changed the number of its outputs")));
    }
    for ((result, place), meta) in results.iter().zip(places).zip(&c.output_metas) {
        let dst = place.get_mut(..result.len()).filter(|_| tensor(result, meta).is_ok_and(|t| t.len() == result.len()));
        let dst = dst.ok_or_else(|| broken(format!("the custom op {name} changed the size of an output")))?;
        match meta.dtype {
            DType::Bool => dst.iter_mut().zip(result).for_each(|(d, &b)| *d = (b != 0) as u8),
            _ => dst.copy_from_slice(result),
        }
    }
    Ok(())
}
