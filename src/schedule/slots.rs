//! The last step of planning: values get memory slots, temporaries share them once their last reader has run.

use super::build::{Kernel, Numbering, Work};
use super::collect::{Graph, Ref};
use super::decide::Decisions;
use crate::device::Caps;
use crate::graph::{AttentionSizes, ConvSpec, Meta, Op};
use crate::plan::{
    Attention, AttentionGrad, Contract, ContractKind, ConvSizes, Custom, InstrKind, Loop, Operand, Origin, Output,
    Plan, Scan, Scatter, Slot, Sort, Step,
};
use crate::shape::{Layout, Shape};
use rustc_hash::FxHashMap;

/// Kernels to plan.
pub fn assign(
    graph: &Graph,
    decisions: &Decisions,
    kernels: Vec<Kernel>,
    donations: &FxHashMap<usize, usize>,
    caps: &Caps,
) -> Plan {
    let numbering = Numbering::new(graph);
    let mut slots: Vec<Slot> = (0..graph.storages.len()).map(Slot::Leaf).collect();
    let mut slot_of: FxHashMap<usize, usize> = (0..slots.len()).map(|s| (s, s)).collect();
    let last = last_readers(&kernels);
    let lasting = lasting(graph, decisions, &numbering);
    // Free slots by size; a temporary takes one of just its size, so that no slot grows.
    let mut free: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
    let mut origins = Origins::new(graph);
    let mut steps = Vec::new();
    for (k, mut kernel) in kernels.into_iter().enumerate() {
        for &(n, out) in &kernel.makes {
            let value = numbering.value(n, out);
            let meta = &graph.nodes[n].outs[out];
            let bytes = meta.shape.numel() * caps.bytes_of(meta.dtype);
            let slot = match donations.get(&value) {
                Some(&storage) => storage,
                None => {
                    let reused = if lasting.contains(&value) { None } else { free.get_mut(&bytes).and_then(Vec::pop) };
                    reused.unwrap_or_else(|| {
                        slots.push(Slot::Fresh { bytes });
                        slots.len() - 1
                    })
                }
            };
            slot_of.insert(value, slot);
        }
        let reads = kernel.reads();
        let makes: Vec<usize> = kernel.makes.iter().map(|&(n, out)| numbering.value(n, out)).collect();
        place(&mut kernel, &slot_of, &mut origins);
        steps.extend(step(graph, kernel, &slot_of, &numbering, &mut origins));
        for value in reads.into_iter().chain(makes) {
            let done = last.get(&value).is_none_or(|&l| l <= k);
            if let (Some((n, out)), true) = (numbering.output(value), done && !lasting.contains(&value)) {
                let meta = &graph.nodes[n].outs[out];
                let slot = slot_of[&value];
                let list = free.entry(meta.shape.numel() * caps.bytes_of(meta.dtype)).or_default();
                if !list.contains(&slot) {
                    list.push(slot);
                }
            }
        }
    }
    let outputs = outputs(graph, decisions, &numbering, &slot_of);
    let (params, _) = graph.params();
    Plan { slots, steps, params, outputs, origins: origins.list, deterministic: graph.deterministic }
}

/// For each value the number of the last kernel that reads it.
fn last_readers(kernels: &[Kernel]) -> FxHashMap<usize, usize> {
    let mut last = FxHashMap::default();
    for (k, kernel) in kernels.iter().enumerate() {
        for slot in kernel.reads() {
            last.insert(slot, k);
        }
    }
    last
}

/// Values whose memory a result lies in.
fn lasting(graph: &Graph, decisions: &Decisions, numbering: &Numbering) -> rustc_hash::FxHashSet<usize> {
    results(graph, decisions)
        .filter_map(|(_, _, base, _)| match base {
            Ref::Node(n, out) => Some(numbering.value(n, out)),
            Ref::Leaf(_) => None,
        })
        .collect()
}

/// All results: node, output, the memory they lie in, and where in it.
fn results<'a>(
    graph: &'a Graph,
    decisions: &'a Decisions,
) -> impl Iterator<Item = (usize, usize, Ref, Layout)> + use<'a> {
    (0..graph.nodes.len()).flat_map(move |n| {
        (0..graph.nodes[n].outs.len()).filter_map(move |out| {
            if !decisions.is_output(graph, n, out) && graph.held[n] >> out & 1 == 0 {
                return None;
            }
            let place = decisions.place(graph, Ref::Node(n, out))?;
            Some((n, out, place.base, place.layout))
        })
    })
}

fn outputs(
    graph: &Graph,
    decisions: &Decisions,
    numbering: &Numbering,
    slot_of: &FxHashMap<usize, usize>,
) -> Vec<Output> {
    results(graph, decisions)
        .map(|(node, out, base, layout)| {
            let slot = match base {
                Ref::Leaf(l) => graph.leaves[l].storage,
                Ref::Node(n, o) => slot_of[&numbering.value(n, o)],
            };
            Output { node, out, slot, layout }
        })
        .collect()
}

/// Callers of ops that can fail while running, numbered.
struct Origins<'a> {
    graph: &'a Graph,
    list: Vec<Origin>,
    numbers: FxHashMap<usize, usize>,
}

impl<'a> Origins<'a> {
    fn new(graph: &'a Graph) -> Self {
        Origins { graph, list: Vec::new(), numbers: FxHashMap::default() }
    }

    fn number(&mut self, node: usize) -> usize {
        *self.numbers.entry(node).or_insert_with(|| {
            let n = &self.graph.nodes[node];
            self.list.push(Origin { op: n.op.name(), at: n.at });
            self.list.len() - 1
        })
    }
}

/// Replaces value numbers by slots.
fn place(kernel: &mut Kernel, slot_of: &FxHashMap<usize, usize>, origins: &mut Origins) {
    let mut operands: Vec<&mut Operand> = Vec::new();
    let body: Option<&mut Loop> = match &mut kernel.work {
        Work::Loop(body) => Some(body),
        Work::Contract { a, b, epilogue, .. } => {
            operands.extend([a, b]);
            Some(epilogue)
        }
        Work::Opaque { operands: list, .. } => {
            operands.extend(list.iter_mut());
            None
        }
    };
    for operand in operands {
        operand.slot = slot_of[&operand.slot];
    }
    let Some(body) = body else { return };
    for instr in &mut body.instrs {
        match &mut instr.kind {
            InstrKind::Load { slot, .. } => *slot = slot_of[slot],
            InstrKind::Gather { slot, origin, .. } => {
                *slot = slot_of[slot];
                *origin = origins.number(*origin);
            }
            _ => {}
        }
    }
    for store in &mut body.stores {
        store.slot = slot_of[&store.slot];
    }
}

/// The step of a kernel, or none where there is nothing to compute.
fn step(
    graph: &Graph,
    kernel: Kernel,
    slot_of: &FxHashMap<usize, usize>,
    numbering: &Numbering,
    origins: &mut Origins,
) -> Option<Step> {
    match kernel.work {
        Work::Loop(body) if body.outer_len() == 0 => None,
        // Nothing along the rows, and nothing but stores along them: no element is ever written.
        Work::Loop(body) if body.inner_len() == 0 && !body.reduces() => None,
        Work::Loop(body) => Some(Step::Loop(body)),
        Work::Contract { epilogue, .. } if epilogue.outer_len() == 0 => None,
        Work::Contract { node, a, b, epilogue } => {
            let shapes: Vec<&Shape> = graph.edges[node].iter().map(|&r| &graph.meta(r).shape).collect();
            let out = &graph.nodes[node].outs[0];
            let kind = contract_kind(&graph.nodes[node].op, &shapes, &out.shape)?;
            Some(Step::Contract(Contract { kind, dtype: out.dtype, a, b, epilogue }))
        }
        Work::Opaque { node, operands } => {
            let n = &graph.nodes[node];
            if n.outs.iter().all(|m| m.shape.numel() == 0) {
                return None;
            }
            let metas = || graph.edges[node].iter().map(|&r| graph.meta(r).clone()).collect::<Vec<_>>();
            let out = |o: usize| slot_of[&numbering.value(node, o)];
            match (&n.op, operands) {
                (Op::Scatter { op, axis }, operands) => {
                    let [base, index, src]: [Operand; 3] = operands.try_into().ok()?;
                    let metas = metas();
                    Some(Step::Scatter(Scatter {
                        op: *op,
                        deterministic: graph.deterministic,
                        axis: *axis,
                        shape: metas[0].shape.iter().copied().collect(),
                        count: metas[1].shape[*axis],
                        dtype: metas[0].dtype,
                        base,
                        index,
                        src,
                        out: out(0),
                        origin: origins.number(node),
                    }))
                }
                (Op::Scan { op, axis }, srcs) => Some(Step::Scan(Scan {
                    op: *op,
                    axis: *axis,
                    shape: n.outs[0].shape.iter().copied().collect(),
                    dtype: n.outs[0].dtype,
                    srcs,
                    out: out(0),
                    found: op.finds().then(|| out(1)),
                })),
                (Op::Sort { axis, descending }, operands) => Some(Step::Sort(Sort {
                    axis: *axis,
                    descending: *descending,
                    shape: n.outs[0].shape.iter().copied().collect(),
                    dtype: n.outs[0].dtype,
                    src: operands.into_iter().next()?,
                    values: out(0),
                    indices: out(1),
                })),
                (Op::Attention(spec), operands) => {
                    let sizes = attention_sizes(&metas())?;
                    let [q, k, v]: [Operand; 3] = operands.try_into().ok()?;
                    let (dtype, out, lse) = (n.outs[0].dtype, out(0), out(1));
                    Some(Step::Attention(Attention { spec: *spec, sizes, dtype, q, k, v, out, lse }))
                }
                (Op::AttentionGrad(spec), operands) => {
                    let sizes = attention_sizes(&metas())?;
                    let [q, k, v, dout, lse, delta]: [Operand; 6] = operands.try_into().ok()?;
                    let (dtype, dq, dk, dv) = (n.outs[0].dtype, out(0), out(1), out(2));
                    let spec = *spec;
                    Some(Step::AttentionGrad(Box::new(AttentionGrad {
                        spec,
                        sizes,
                        dtype,
                        q,
                        k,
                        v,
                        dout,
                        lse,
                        delta,
                        dq,
                        dk,
                        dv,
                    })))
                }
                (Op::Custom(op), operands) => Some(Step::Custom(Custom {
                    op: op.clone(),
                    inputs: operands.iter().map(|o| o.slot).collect(),
                    input_metas: metas(),
                    outputs: (0..n.outs.len()).map(out).collect(),
                    output_metas: n.outs.to_vec(),
                })),
                _ => None,
            }
        }
    }
}

fn attention_sizes(metas: &[Meta]) -> Option<AttentionSizes> {
    AttentionSizes::new(&metas[0].shape, &metas[1].shape, &metas[2].shape).ok()
}

fn contract_kind(op: &Op, srcs: &[&Shape], out: &Shape) -> Option<ContractKind> {
    let conv = |spec: &ConvSpec, x: &[usize], w: &[usize], y: &[usize]| ConvSizes {
        spec: *spec,
        n: x[0],
        c: x[1],
        h: x[2],
        w: x[3],
        o: w[0],
        kh: w[2],
        kw: w[3],
        oh: y[2],
        ow: y[3],
    };
    Some(match op {
        Op::Matmul => {
            let rank = out.rank();
            ContractKind::Matmul {
                batch: out[..rank - 2].iter().copied().collect(),
                m: out[rank - 2],
                n: out[rank - 1],
                k: srcs[0][rank - 1],
            }
        }
        Op::Conv(spec) => ContractKind::Conv(conv(spec, srcs[0], srcs[1], out)),
        Op::ConvDataGrad { spec, .. } => ContractKind::ConvDataGrad(conv(spec, out, srcs[1], srcs[0])),
        Op::ConvFilterGrad { spec, .. } => ContractKind::ConvFilterGrad(conv(spec, srcs[0], out, srcs[1])),
        _ => return None,
    })
}
