//! Kernels over the same points become one: a map joins the kernel whose result it reads, or one that reads what it reads.
//!
//! A kernel is only ever merged into an earlier one, and only when everything else it reads is there by then, so the
//! order of kernels stays one in which operands come first.

use super::build::{Kernel, Numbering, Work, few_long_rows, set_levels};
use super::collect::Graph;
use super::decide::Decisions;
use crate::device::Caps;
use crate::plan::{Affine, Instr, InstrKind, Level, Loop, Reg, Store};
use rustc_hash::{FxHashMap, FxHashSet};

/// Merges what can be merged, then drops stores that nobody reads any more.
pub fn merge(graph: &Graph, decisions: &Decisions, kernels: Vec<Kernel>, caps: &Caps) -> Vec<Kernel> {
    let numbering = Numbering::new(graph);
    let mut done: Vec<Kernel> = Vec::with_capacity(kernels.len());
    let mut maker: FxHashMap<usize, usize> = FxHashMap::default();
    let mut readers: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
    for kernel in kernels {
        let reads = kernel.reads();
        let latest = reads.iter().filter_map(|slot| maker.get(slot)).max().copied();
        let siblings = reads.iter().filter_map(|slot| readers.get(slot)).flatten().copied();
        let mut candidates: Vec<usize> = siblings.filter(|&k| latest.is_none_or(|l| k > l)).collect();
        candidates.sort_unstable();
        candidates.dedup();
        candidates.reverse();
        let target = latest.into_iter().chain(candidates.into_iter().take(8));
        let merged = target.into_iter().find_map(|at| Some((at, join(&done[at], &kernel, caps)?)));
        let at = match merged {
            Some((at, joined)) => {
                done[at] = joined;
                at
            }
            None => {
                done.push(kernel.clone());
                done.len() - 1
            }
        };
        for &(n, out) in &kernel.makes {
            maker.insert(numbering.value(n, out), at);
        }
        for slot in reads {
            readers.entry(slot).or_default().push(at);
        }
    }
    prune(graph, decisions, &numbering, &mut done);
    done
}

/// `b` done within `a`, if their points agree.
fn join(a: &Kernel, b: &Kernel, caps: &Caps) -> Option<Kernel> {
    let Work::Loop(second) = &b.work else { return None };
    let first = a.body()?;
    let contract = matches!(a.work, Work::Contract { .. });
    if contract && (second.reduces() || !second.inner.is_empty()) {
        return None;
    }
    let same_rows =
        first.outer == second.outer && (second.inner == first.inner || (second.inner.is_empty() && !second.reduces()));
    let same_points = !second.reduces()
        && second.inner.is_empty()
        && second.outer.iter().eq(first.outer.iter().chain(&first.inner))
        && (first.inner.is_empty() || !few_long_rows(first.outer_len(), first.inner_len()));
    if !same_rows && !same_points {
        return None;
    }
    let rank = first.outer.len() + first.inner.len();
    let widen = |at: &Affine| {
        let mut at = at.clone();
        at.strides.resize(rank, 0);
        at
    };
    let operand_slots: Vec<usize> = a.operands().iter().map(|o| o.slot).collect();
    let mut body = first.clone();
    let mut known: FxHashMap<Instr, Reg> = FxHashMap::default();
    for (r, instr) in body.instrs.iter().enumerate() {
        known.insert(Instr { level: Level::Uniform, ..instr.clone() }, r);
    }
    let mut shares = false;
    let mut regs: Vec<Reg> = Vec::with_capacity(second.instrs.len());
    for instr in &second.instrs {
        let mut instr = Instr { level: Level::Uniform, ..instr.clone() };
        if let Some(at) = instr.kind.affine_mut() {
            *at = widen(at);
        }
        instr.kind.rename(&regs);
        let made = instr.kind.slot().and_then(|slot| first.stores.iter().find(|s| s.slot == slot));
        if let Some(store) = made {
            match &instr.kind {
                InstrKind::Load { at, guard: None, .. } if *at == store.at => {
                    shares = true;
                    regs.push(store.value);
                    continue;
                }
                _ => return None,
            }
        }
        if let Some(&r) = known.get(&instr) {
            shares |= instr.kind.slot().is_some();
            regs.push(r);
            continue;
        }
        known.insert(instr.clone(), body.instrs.len());
        regs.push(body.instrs.len());
        body.instrs.push(instr);
    }
    if !shares {
        return None;
    }
    for store in &second.stores {
        body.stores.push(Store { slot: store.slot, at: widen(&store.at), value: regs[store.value] });
    }
    set_levels(&mut body);
    // A store along the rows needs a value for each of their points.
    let fits = body.stores.iter().all(|s| {
        let along = s.at.strides[body.outer.len()..].iter().any(|&x| x != 0);
        along == (body.instrs[s.value].level == Level::Inner)
    });
    let mut slots: FxHashSet<usize> = body.instrs.iter().filter_map(|i| i.kind.slot()).collect();
    slots.extend(operand_slots);
    slots.extend(body.stores.iter().map(|s| s.slot));
    if !fits || slots.len() > caps.max_buffers_per_kernel {
        return None;
    }
    let mut makes = a.makes.clone();
    makes.extend(&b.makes);
    let work = match &a.work {
        Work::Contract { node, a, b, .. } => Work::Contract { node: *node, a: a.clone(), b: b.clone(), epilogue: body },
        _ => Work::Loop(body),
    };
    Some(Kernel { work, makes })
}

/// Drops stores of values that are no results and that no kernel reads, and then whatever only they needed.
fn prune(graph: &Graph, decisions: &Decisions, numbering: &Numbering, kernels: &mut Vec<Kernel>) {
    let mut read: FxHashSet<usize> = kernels.iter().flat_map(Kernel::reads).collect();
    for (n, held) in graph.held.iter().enumerate() {
        for out in 0..graph.nodes[n].outs.len() {
            if decisions.is_output(graph, n, out) {
                read.insert(numbering.value(n, out));
            }
            if held >> out & 1 == 1
                && let Some(place) = decisions.place(graph, super::collect::Ref::Node(n, out))
                && let super::collect::Ref::Node(b, o) = place.base
            {
                read.insert(numbering.value(b, o));
            }
        }
    }
    for kernel in kernels.iter_mut() {
        let (Work::Loop(body) | Work::Contract { epilogue: body, .. }) = &mut kernel.work else { continue };
        body.stores.retain(|s| read.contains(&s.slot));
        kernel.makes.retain(|&(n, out)| read.contains(&numbering.value(n, out)));
        sweep(body);
    }
    kernels.retain(|k| !k.makes.is_empty());
}

/// Removes instructions that no store needs.
fn sweep(body: &mut Loop) {
    let mut needed = vec![false; body.instrs.len()];
    for store in &body.stores {
        needed[store.value] = true;
    }
    // Operands come before users, so one pass from the end marks all.
    for r in (0..body.instrs.len()).rev() {
        if needed[r] {
            for o in body.instrs[r].kind.operands() {
                needed[o] = true;
            }
        }
    }
    let mut regs = vec![0; body.instrs.len()];
    let mut kept = Vec::new();
    for (r, mut instr) in std::mem::take(&mut body.instrs).into_iter().enumerate() {
        if needed[r] {
            instr.kind.rename(&regs);
            regs[r] = kept.len();
            kept.push(instr);
        }
    }
    body.instrs = kept;
    for store in &mut body.stores {
        store.value = regs[store.value];
    }
}
