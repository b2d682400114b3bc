//! From graph to plan to results: what is pending is collected, looked up by its key, planned if new, and run.

mod build;
mod collect;
mod debug;
mod decide;
mod expand;
mod merge;
mod order;
mod pending;
mod pull;
mod slots;

pub use pending::{flush_limit, register};

use crate::device::{Device, Executable, Storage};
use crate::error::{Error, Result};
use crate::graph::{GradMode, Meta, Node, Op, Realized, view};
use crate::plan::{Output, Plan, PlanCache, Slot};
use collect::Graph;
use expand::Expanded;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What becomes of the history behind the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// A gradient may still be asked for. What a handle holds is stored; what only the unrealized graph or a later
    /// `backward` can ask for is stored where the plan stores it anyway or where it is the first map after a
    /// contraction or fold, and recomputed otherwise.
    Keep,
    /// The step is over: everything anyone refers to is stored and lets its sources go, and inputs that nobody else
    /// holds may be overwritten.
    Release,
}

/// Computes `roots`, all on `device`, with whatever they need.
pub fn realize(device: &Device, roots: Vec<Arc<Node>>, history: History) -> Result<()> {
    // One thread schedules on a device at a time: what a node holds must not change between planning and running.
    let mut plans = device.plans();
    let graph = Graph::collect(roots, history, device.is_deterministic());
    if !graph.nodes.is_empty() {
        run(device, &mut plans, &graph, history)?;
    }
    Ok(())
}

/// Computes everything that this thread has pending on `device` and lets all history go.
pub fn realize_all(device: &Device) -> Result<()> {
    let roots = pending::take_held(device);
    realize(device, roots, History::Release)
}

fn run(device: &Device, plans: &mut PlanCache, graph: &Graph, history: History) -> Result<()> {
    let key = graph.key();
    let executable = match plans.get(&key) {
        Some(known) => {
            device.counters().plans_replayed.fetch_add(1, Ordering::Relaxed);
            known
        }
        None => {
            for node in &graph.nodes {
                node.outs.iter().try_for_each(|m| device.check_dtype(m.dtype))?;
            }
            let plan = Arc::new(match Expanded::new(graph) {
                Some(expanded) => expanded.plan_of_first(plan(&expanded.graph, device)?),
                None => plan(graph, device)?,
            });
            debug::plan(device, &plan);
            let executable: Arc<dyn Executable> = device.backend().compile(plan)?.into();
            debug::kernels(&*executable);
            device.counters().plans_built.fetch_add(1, Ordering::Relaxed);
            plans.insert(key, executable.clone());
            executable
        }
    };
    let plan = executable.plan();
    let slots = take_slots(device, plan, graph).map_err(|e| with_largest(e, graph))?;
    plans.ran(plan);
    device.run(&*executable, &slots, &graph.scalars())?;
    device.counters().kernels_launched.fetch_add(executable.launches() as u64, Ordering::Relaxed);
    for Output { node, out, slot, layout } in &plan.outputs {
        let realized = Realized { storage: slots[*slot].clone(), layout: layout.clone() };
        graph.nodes[*node].state().realized[*out] = Some(realized);
    }
    for node in &graph.nodes {
        if history == History::Release || (node.grad() != GradMode::Interior && node.is_realized()) {
            node.detach();
        }
    }
    Ok(())
}

/// Collected graph to plan.
fn plan(graph: &Graph, device: &Device) -> Result<Plan> {
    let caps = device.caps();
    let mut decisions = decide::Decisions::new(graph);
    let kernels = loop {
        decisions.decide(graph);
        match build::kernels(graph, &decisions, caps) {
            Ok(kernels) => break kernels,
            Err(forced) if decisions.force(&forced) => {}
            Err(forced) => {
                let node = &graph.nodes[forced[0].0];
                return Err(Error::op(
                    node.op.name(),
                    node.at,
                    "cannot be scheduled; this is a fault of the scheduler",
                ));
            }
        }
    };
    let kernels = merge::merge(graph, &decisions, kernels, caps);
    let (kernels, donations) = order::order(graph, &decisions, kernels);
    Ok(slots::assign(graph, &decisions, kernels, &donations, caps))
}

/// An out-of-memory error that also names the largest tensors that the graph reads or computes.
fn with_largest(error: Error, graph: &Graph) -> Error {
    const NAMED: usize = 5;
    let Error::OutOfMemory { device, requested, reserved, mut detail } = error else { return error };
    let leaves = graph.leaves.iter().map(|l| ("input", &l.meta));
    // Views and constants take no memory.
    let nodes = graph.nodes.iter().filter(|n| !view::is_view(&n.op) && !matches!(n.op, Op::Scalar { .. }));
    let computed = nodes.flat_map(|n| n.outs.iter().map(|m| (n.op.name(), m)));
    let bytes = |m: &Meta| m.shape.numel().saturating_mul(m.dtype.bytes());
    let mut all: Vec<(&str, &Meta)> = leaves.chain(computed).collect();
    all.sort_by_key(|(_, m)| std::cmp::Reverse(bytes(m)));
    let named = all.iter().take(NAMED);
    let named: Vec<String> =
        named.map(|(op, m)| format!("{op} {} {} ({} bytes)", m.dtype, m.shape, bytes(m))).collect();
    detail = format!("{detail}; the largest tensors of this computation: {}", named.join(", "));
    Error::OutOfMemory { device, requested, reserved, detail }
}

fn take_slots(device: &Device, plan: &Plan, graph: &Graph) -> Result<Vec<Arc<Storage>>> {
    plan.slots
        .iter()
        .map(|slot| match slot {
            Slot::Leaf(i) => Ok(graph.storages[*i].clone()),
            Slot::Fresh { bytes } => device.backend().allocate(*bytes).map(Arc::new),
        })
        .collect()
}
