//! Updates in place: which result may overwrite which input, and the order of kernels that makes it right.
//!
//! A result takes the memory of an input that the plan alone owns when its kernel reads that input just where it
//! writes. Every other reader of the input must run before; that is an edge, and where the edge would close a circle
//! the result gets memory of its own.

use super::build::{Kernel, Numbering, Work};
use super::collect::{Graph, Ref};
use super::decide::Decisions;
use crate::plan::{Affine, InstrKind};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The kernels in their final order, and for each value number the storage number whose memory it takes.
pub fn order(graph: &Graph, decisions: &Decisions, kernels: Vec<Kernel>) -> (Vec<Kernel>, FxHashMap<usize, usize>) {
    let numbering = Numbering::new(graph);
    let mut after = dependencies(&kernels, &numbering);
    let reads: Vec<Vec<usize>> = kernels.iter().map(Kernel::reads).collect();
    let mut free = donatable(graph, decisions);
    let mut donations = FxHashMap::default();
    for (k, kernel) in kernels.iter().enumerate() {
        for (value, storage) in candidates(graph, decisions, &numbering, kernel) {
            if !free.contains(&storage) || donations.contains_key(&value) {
                continue;
            }
            let others: Vec<usize> = (0..kernels.len()).filter(|&r| r != k && reads[r].contains(&storage)).collect();
            let downstream = reachable(&after, k);
            if others.iter().any(|&r| downstream[r]) {
                continue;
            }
            for r in others {
                after[r].push(k);
            }
            free.remove(&storage);
            donations.insert(value, storage);
        }
    }
    (sort(kernels, &after), donations)
}

/// For each kernel those that must come after it.
fn dependencies(kernels: &[Kernel], numbering: &Numbering) -> Vec<Vec<usize>> {
    let mut maker = FxHashMap::default();
    for (k, kernel) in kernels.iter().enumerate() {
        for &(n, out) in &kernel.makes {
            maker.insert(numbering.value(n, out), k);
        }
    }
    let mut after = vec![Vec::new(); kernels.len()];
    for (k, kernel) in kernels.iter().enumerate() {
        for slot in kernel.reads() {
            if let Some(&m) = maker.get(&slot) {
                after[m].push(k);
            }
        }
    }
    after
}

/// Storages that may be overwritten: the leaf is the plan's alone, and no result is a view of it.
fn donatable(graph: &Graph, decisions: &Decisions) -> FxHashSet<usize> {
    let mut free: FxHashSet<usize> = graph.leaves.iter().filter(|l| l.donatable).map(|l| l.storage).collect();
    for (n, &held) in graph.held.iter().enumerate() {
        for out in (0..graph.nodes[n].outs.len()).filter(|out| held >> out & 1 == 1) {
            if let Some(place) = decisions.place(graph, Ref::Node(n, out))
                && let Ref::Leaf(l) = place.base
            {
                free.remove(&graph.leaves[l].storage);
            }
        }
    }
    free
}

/// Results of `kernel` that could take the place of an input: value number, storage number.
fn candidates(graph: &Graph, decisions: &Decisions, numbering: &Numbering, kernel: &Kernel) -> Vec<(usize, usize)> {
    let Some(body) = kernel.body() else { return scatter_candidate(graph, decisions, numbering, kernel) };
    let mut found = Vec::new();
    for store in &body.stores {
        let Some((n, out)) = numbering.output(store.slot) else { continue };
        if !decisions.is_output(graph, n, out) {
            continue;
        }
        let meta = &graph.nodes[n].outs[out];
        for instr in &body.instrs {
            let InstrKind::Load { slot, at, guard: None } = &instr.kind else { continue };
            let whole = graph.leaves.iter().any(|l| l.storage == *slot && l.meta == *meta && l.donatable);
            if numbering.output(*slot).is_none() && whole && *at == store.at && only_there(kernel, *slot, at) {
                found.push((store.slot, *slot));
            }
        }
    }
    found
}

/// True when the kernel reads `slot` nowhere but at `at`.
fn only_there(kernel: &Kernel, slot: usize, at: &Affine) -> bool {
    let in_loop = kernel.body().is_some_and(|body| {
        body.instrs
            .iter()
            .filter(|i| i.kind.slot() == Some(slot))
            .all(|i| matches!(&i.kind, InstrKind::Load { at: here, guard: None, .. } if here == at))
    });
    // In a row kernel a later pass would read what an earlier one wrote, so only plain maps qualify.
    let one_pass = kernel
        .body()
        .is_some_and(|body| body.inner.is_empty() || at.strides[body.outer.len()..].iter().all(|&s| s == 0));
    in_loop && one_pass && kernel.operands().iter().all(|o| o.slot != slot)
}

/// A scatter works on its base in place when the base is the plan's own.
fn scatter_candidate(
    graph: &Graph,
    decisions: &Decisions,
    numbering: &Numbering,
    kernel: &Kernel,
) -> Vec<(usize, usize)> {
    let Work::Opaque { node, operands } = &kernel.work else { return vec![] };
    let crate::graph::Op::Scatter { .. } = graph.nodes[*node].op else { return vec![] };
    let base = &operands[0];
    let alone = operands[1..].iter().all(|o| o.slot != base.slot);
    let whole =
        graph.leaves.iter().any(|l| l.storage == base.slot && l.donatable && l.meta == graph.nodes[*node].outs[0]);
    let fits = base.layout.offset == 0 && base.layout.is_contiguous(&graph.nodes[*node].outs[0].shape);
    if alone && whole && fits && numbering.output(base.slot).is_none() && decisions.is_output(graph, *node, 0) {
        vec![(numbering.value(*node, 0), base.slot)]
    } else {
        vec![]
    }
}

/// Kernels that must come after `from`.
fn reachable(after: &[Vec<usize>], from: usize) -> Vec<bool> {
    let mut seen = vec![false; after.len()];
    let mut stack = after[from].clone();
    while let Some(k) = stack.pop() {
        if !std::mem::replace(&mut seen[k], true) {
            stack.extend(&after[k]);
        }
    }
    seen
}

/// Kahn's algorithm; among kernels that are ready the one that was planned first goes first.
fn sort(kernels: Vec<Kernel>, after: &[Vec<usize>]) -> Vec<Kernel> {
    let mut waiting = vec![0usize; kernels.len()];
    for &k in after.iter().flatten() {
        waiting[k] += 1;
    }
    let mut ready: BinaryHeap<Reverse<usize>> = (0..kernels.len()).filter(|&k| waiting[k] == 0).map(Reverse).collect();
    let mut kernels: Vec<Option<Kernel>> = kernels.into_iter().map(Some).collect();
    let mut sorted = Vec::with_capacity(kernels.len());
    while let Some(Reverse(k)) = ready.pop() {
        sorted.extend(kernels[k].take());
        for &next in &after[k] {
            waiting[next] -= 1;
            if waiting[next] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    sorted
}
