//! One kernel for each stored value: what it computes ([`super::pull`]), how its domain is cut, and what to store as well
//! where that does not work out.

use super::collect::{Graph, Ref};
use super::decide::{Decisions, is_opaque};
use super::pull::{Pull, Stop};
use crate::device::Caps;
use crate::graph::view;
use crate::plan::{InstrKind, Level, Loop, Operand};
use crate::shape::Dims;

/// A few long rows are better folded by one kernel and mapped by another, which then has all the device to itself.
pub fn few_long_rows(rows: usize, len: usize) -> bool {
    rows < 64 && len > 2048
}

/// A kernel whose slots are still values: storage `s` of the graph is slot `s`, stored values follow ([`Numbering`]).
#[derive(Debug, Clone)]
pub struct Kernel {
    pub work: Work,
    /// The values it stores, in the order of its stores.
    pub makes: Vec<(usize, usize)>,
}

/// What a kernel does.
#[derive(Debug, Clone)]
pub enum Work {
    Loop(Loop),
    /// The contraction of a node, with its operands and epilogue.
    Contract {
        node: usize,
        a: Operand,
        b: Operand,
        epilogue: Loop,
    },
    /// A scatter, scan, sort or custom op; its operands are found by [`Decisions::place`].
    Opaque {
        node: usize,
        operands: Vec<Operand>,
    },
}

impl Kernel {
    /// The making of a value without elements. Nothing is pulled through such values, so that what is computed of them
    /// (a sum is 0, a padding all fill) is decided in one place, when a value with elements is made from them.
    fn nothing(n: usize, out: usize) -> Kernel {
        let body = Loop { outer: Dims::from_elem(0, 1), ..Loop::default() };
        Kernel { work: Work::Loop(body), makes: vec![(n, out)] }
    }

    /// The fused loop, if there is one.
    pub fn body(&self) -> Option<&Loop> {
        match &self.work {
            Work::Loop(body) | Work::Contract { epilogue: body, .. } => Some(body),
            Work::Opaque { .. } => None,
        }
    }

    /// The slots of operands that are not read by its loop.
    pub fn operands(&self) -> Vec<&Operand> {
        match &self.work {
            Work::Loop(_) => vec![],
            Work::Contract { a, b, .. } => vec![a, b],
            Work::Opaque { operands, .. } => operands.iter().collect(),
        }
    }

    /// Every slot it reads.
    pub fn reads(&self) -> Vec<usize> {
        let loads = self.body().into_iter().flat_map(|b| b.instrs.iter().filter_map(|i| i.kind.slot()));
        let mut slots: Vec<usize> = loads.chain(self.operands().iter().map(|o| o.slot)).collect();
        slots.sort_unstable();
        slots.dedup();
        slots
    }
}

/// Numbers for everything that may lie in memory: first the graph's storages, then outputs of nodes.
#[derive(Debug)]
pub struct Numbering {
    storages: usize,
    first: Vec<usize>,
    values: Vec<(usize, usize)>,
}

impl Numbering {
    pub fn new(graph: &Graph) -> Numbering {
        let storages = graph.storages.len();
        let mut first = Vec::with_capacity(graph.nodes.len());
        let mut values = Vec::new();
        for (n, node) in graph.nodes.iter().enumerate() {
            first.push(storages + values.len());
            values.extend((0..node.outs.len()).map(|out| (n, out)));
        }
        Numbering { storages, first, values }
    }

    pub fn value(&self, n: usize, out: usize) -> usize {
        self.first[n] + out
    }

    /// The output behind a number, or `None` for a storage.
    pub fn output(&self, slot: usize) -> Option<(usize, usize)> {
        slot.checked_sub(self.storages).map(|v| self.values[v])
    }

    fn base(&self, graph: &Graph, r: Ref) -> usize {
        match r {
            Ref::Leaf(i) => graph.leaves[i].storage,
            Ref::Node(n, out) => self.value(n, out),
        }
    }
}

/// All kernels in order, or the values that have to be stored as well.
pub fn kernels(graph: &Graph, decisions: &Decisions, caps: &Caps) -> Result<Vec<Kernel>, Vec<(usize, usize)>> {
    let numbering = Numbering::new(graph);
    let (_, params) = graph.params();
    let context = Context { graph, decisions, numbering: &numbering, params: &params };
    let mut kernels = Vec::new();
    let mut forced = Vec::new();
    for n in 0..graph.nodes.len() {
        if is_opaque(&graph.nodes[n].op) {
            match context.opaque(n) {
                Ok(kernel) => kernels.push(kernel),
                Err(value) => forced.push(value),
            }
            continue;
        }
        for out in (0..graph.nodes[n].outs.len()).filter(|&out| decisions.is_stored(n, out)) {
            if graph.nodes[n].outs[out].shape.numel() == 0 {
                kernels.push(Kernel::nothing(n, out));
                continue;
            }
            match context.kernel(n, out, caps) {
                Ok(kernel) => kernels.push(kernel),
                Err(value) => forced.push(value),
            }
        }
    }
    if forced.is_empty() { Ok(kernels) } else { Err(forced) }
}

/// What every kernel is built from.
pub struct Context<'a> {
    pub graph: &'a Graph,
    pub decisions: &'a Decisions,
    pub numbering: &'a Numbering,
    /// For each node the number of its first parameter.
    pub params: &'a [usize],
}

impl Context<'_> {
    /// `r` as an operand that lies in memory, if it does.
    pub fn operand(&self, r: Ref) -> Option<Operand> {
        let place = self.decisions.place(self.graph, r)?;
        Some(Operand { slot: self.numbering.base(self.graph, place.base), layout: place.layout })
    }

    /// The operand, or the value to store so that there is one.
    pub fn operand_or_force(&self, r: Ref) -> Result<Operand, (usize, usize)> {
        self.operand(r).ok_or_else(|| match r {
            Ref::Node(n, out) => (n, out),
            Ref::Leaf(_) => unreachable!("a leaf lies in memory"),
        })
    }

    fn opaque(&self, n: usize) -> Result<Kernel, (usize, usize)> {
        let operands = self.graph.edges[n].iter().map(|&r| self.operand_or_force(r)).collect::<Result<_, _>>()?;
        let makes = (0..self.graph.nodes[n].outs.len()).map(|out| (n, out)).collect();
        Ok(Kernel { work: Work::Opaque { node: n, operands }, makes })
    }

    /// The kernel of one stored value.
    fn kernel(&self, n: usize, out: usize, caps: &Caps) -> Result<Kernel, (usize, usize)> {
        let shape = &self.graph.nodes[n].outs[out].shape;
        let mut factors: Vec<Dims<usize>> = shape.iter().map(|&d| Dims::from_elem(d, 1)).collect();
        let mut inner_factors: Vec<Dims<usize>> = Vec::new();
        loop {
            let mut pull = Pull::new(self, (n, out), &factors, &inner_factors);
            match pull.root() {
                Ok(value) => {
                    let kernel = pull.finish(value, (n, out))?;
                    let buffers = kernel.reads().len() + kernel.makes.len();
                    if buffers > caps.max_buffers_per_kernel
                        && let Some(value) = self.widest(n, caps.max_buffers_per_kernel)
                    {
                        return Err(value);
                    }
                    return Ok(kernel);
                }
                Err(Stop::Force(n, out)) => return Err((n, out)),
                Err(Stop::Split { dim, inner }) => {
                    let (list, at) = if dim < pull.root_dims {
                        (&mut factors, dim)
                    } else {
                        inner_factors = std::mem::take(&mut pull.inner_factors);
                        (&mut inner_factors, dim - pull.root_dims)
                    };
                    cut(list, at, inner);
                }
            }
        }
    }

    /// The unstored operand below node `n` that reads the most buffers that one kernel may: storing it makes room.
    fn widest(&self, n: usize, limit: usize) -> Option<(usize, usize)> {
        let mut best: Option<(usize, (usize, usize))> = None;
        let room = |reads: usize| reads < limit;
        let mut stack = vec![n];
        let mut seen = rustc_hash::FxHashSet::default();
        while let Some(i) = stack.pop() {
            for &r in &self.graph.edges[i] {
                let Ref::Node(s, out) = r else { continue };
                if self.decisions.is_stored(s, out) || !seen.insert(s) {
                    continue;
                }
                stack.push(s);
                let reads = self.buffers_below(s);
                let better = best.is_none_or(|(b, _)| match (room(reads), room(b)) {
                    (true, true) => reads > b,
                    (mine, theirs) => (mine && !theirs) || (!mine && reads < b),
                });
                if reads > 1 && better && !view::is_view(&self.graph.nodes[s].op) {
                    best = Some((reads, (s, out)));
                }
            }
        }
        best.map(|(_, v)| v)
    }

    fn buffers_below(&self, n: usize) -> usize {
        let mut seen = rustc_hash::FxHashSet::default();
        let mut buffers = rustc_hash::FxHashSet::default();
        let mut stack = vec![n];
        while let Some(i) = stack.pop() {
            for &r in &self.graph.edges[i] {
                match r {
                    Ref::Node(s, out) if !self.decisions.is_stored(s, out) => {
                        if seen.insert(s) {
                            stack.push(s);
                        }
                    }
                    r => {
                        buffers.insert(self.numbering.base(self.graph, r));
                    }
                }
            }
        }
        buffers.len()
    }
}

/// Cuts factor number `at`, counted over all lists, in two.
fn cut(lists: &mut [Dims<usize>], mut at: usize, inner: usize) {
    for list in lists {
        if at < list.len() {
            list[at] /= inner;
            list.insert(at + 1, inner);
            return;
        }
        at -= list.len();
    }
}

/// How often each instruction's value changes.
pub fn set_levels(body: &mut Loop) {
    let outer = body.outer.len();
    for i in 0..body.instrs.len() {
        let instr = &body.instrs[i];
        let operands = instr.kind.operands();
        let mut level = operands.iter().map(|&r| body.instrs[r].level).max().unwrap_or(Level::Uniform);
        if let Some(at) = instr.kind.affine() {
            if at.strides[outer..].iter().any(|&s| s != 0) {
                level = Level::Inner;
            } else if at.strides[..outer].iter().any(|&s| s != 0) {
                level = level.max(Level::Outer);
            }
        }
        match instr.kind {
            InstrKind::Accumulator => level = Level::Outer,
            InstrKind::Reduce { .. } | InstrKind::ArgReduce { .. } => level = Level::Outer,
            _ => {}
        }
        body.instrs[i].level = level;
    }
}
