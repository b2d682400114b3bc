//! Which values get memory, and which are computed inside the kernels that use them.
//!
//! The rule: a value is stored if somebody holds it, if an operand must lie in memory (contractions, scatters, scans,
//! sorts, custom ops, what is gathered from), if it is a fold, contraction or random numbers used by more than one kernel, or if it
//! is a map used by more than one kernel (or at other places by one) and recomputing it is dearer than reading it back: more
//! than [`CHEAP_OPS`] operations or more than [`CHEAP_LOADS`] full-size reads. Everything else is recomputed where it is
//! used.

use super::collect::{Graph, Ref};
use crate::graph::{Op, UnaryOp, view};
use crate::shape::{Layout, Shape};
use rustc_hash::FxHashSet;

/// Operations that a kernel may repeat rather than read the result.
pub const CHEAP_OPS: u32 = 8;
/// Full-size reads that a kernel may repeat rather than read the result.
pub const CHEAP_LOADS: u32 = 2;
/// How many nodes deep an expression may be before it is cut: generated code and the planner's own stack stay bounded.
const MAX_DEPTH: u32 = 100;
/// How many operations an expression may have, counted at each place where they occur: a value that is read at several
/// offsets, in a recurrence over time say, would else be computed exponentially often.
const MAX_SIZE: u32 = 1000;
/// What a transcendental function counts for.
const DEAR_OP: u32 = 4;

/// Who computes a value that is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roots {
    None,
    One(usize),
    Many,
}

impl Roots {
    fn join(self, other: Roots) -> Roots {
        match (self, other) {
            (Roots::None, r) | (r, Roots::None) => r,
            (Roots::One(a), Roots::One(b)) if a == b => self,
            _ => Roots::Many,
        }
    }
}

/// What was decided. Bit `o` of `stored[n]`: output `o` of node `n` gets memory.
#[derive(Debug)]
pub struct Decisions {
    pub stored: Vec<u32>,
    forced: FxHashSet<(usize, usize)>,
    cost: Vec<(u32, u32)>,
    deep: Vec<bool>,
}

/// Something addressable: memory of a leaf or of a stored value, and where in it.
#[derive(Debug, Clone)]
pub struct Place {
    pub base: Ref,
    pub layout: Layout,
}

impl Decisions {
    pub fn new(graph: &Graph) -> Decisions {
        Decisions {
            stored: vec![0; graph.nodes.len()],
            forced: FxHashSet::default(),
            cost: costs(graph),
            deep: deep(graph),
        }
    }

    /// Values that turned out not to fit into the kernels that use them. False if all of them were known already.
    pub fn force(&mut self, values: &[(usize, usize)]) -> bool {
        let before = self.forced.len();
        self.forced.extend(values);
        self.forced.len() > before
    }

    pub fn is_stored(&self, n: usize, out: usize) -> bool {
        self.stored[n] >> out & 1 == 1
    }

    /// Walks the graph from its end, so that a value's users are decided before it.
    pub fn decide(&mut self, graph: &Graph) {
        let n = graph.nodes.len();
        let mut roots = vec![Roots::None; n];
        let mut must = vec![0u32; n];
        for &(node, out) in &self.forced {
            must[node] |= 1 << out;
        }
        self.stored.fill(0);
        for i in (0..n).rev() {
            let node = &graph.nodes[i];
            let mut stored = must[i];
            match &node.op {
                op if view::is_view(op) => {
                    // A held view of something in memory is an alias; only what no strides describe is copied.
                    if graph.held[i] != 0 && stored == 0 {
                        match operand_base(graph, Ref::Node(i, 0), &self.forced) {
                            Some(Ref::Node(b, out)) if b != i => must[b] |= 1 << out,
                            Some(Ref::Leaf(_)) => {}
                            _ => stored |= 1,
                        }
                    }
                }
                op if is_opaque(op) => stored = (1 << node.outs.len()) - 1,
                Op::Reduce { .. }
                | Op::ArgReduce { .. }
                | Op::Matmul
                | Op::Conv(_)
                | Op::ConvDataGrad { .. }
                | Op::ConvFilterGrad { .. }
                | Op::Random { .. } => {
                    stored |= graph.held[i];
                    // What a fold leaves is small next to what making it again would read.
                    if graph.kept[i] && matches!(node.op, Op::Reduce { .. } | Op::ArgReduce { .. }) {
                        stored |= (1 << node.outs.len()) - 1;
                    }
                    // Outputs come together: one kernel computes all that are used.
                    if roots[i] == Roots::Many || stored != 0 {
                        stored |= used_outputs(graph, i);
                    }
                }
                _ => {
                    stored |= graph.held[i];
                    let (ops, loads) = self.cost[i];
                    if roots[i] == Roots::Many && (ops > CHEAP_OPS || loads > CHEAP_LOADS) {
                        stored |= 1;
                    }
                    if self.deep[i] {
                        stored |= 1;
                    }
                    if graph.kept[i] && graph.edges[i].iter().any(|&s| is_dear(graph, s)) {
                        stored |= 1;
                    }
                }
            }
            self.stored[i] = stored;
            let mine = match stored {
                0 if reads_elsewhere(&node.op) && roots[i] != Roots::None => Roots::One(n + i),
                0 => roots[i],
                _ => Roots::One(i),
            };
            for (k, &src) in graph.edges[i].iter().enumerate() {
                let Ref::Node(s, _) = src else { continue };
                if in_memory(&node.op, k) {
                    match operand_base(graph, src, &self.forced) {
                        Some(Ref::Node(b, out)) if contiguous_enough(graph, &node.op, src, b, out) => {
                            must[b] |= 1 << out
                        }
                        Some(Ref::Leaf(_)) if !matches!(node.op, Op::Custom(_)) => {}
                        _ => must[s] |= 1 << out_of(src),
                    }
                } else {
                    roots[s] = roots[s].join(mine);
                }
            }
        }
    }

    /// True when the value has memory that outlives the run.
    pub fn is_output(&self, graph: &Graph, n: usize, out: usize) -> bool {
        self.is_stored(n, out) && (graph.held[n] >> out & 1 == 1 || graph.kept[n])
    }

    /// Where an operand that must lie in memory lies: behind its views in a leaf or in a stored value.
    pub fn place(&self, graph: &Graph, r: Ref) -> Option<Place> {
        place(graph, r, &|n, out| self.is_stored(n, out))
    }
}

/// The memory behind `r`'s views, counting as memory what `stored` says.
fn place(graph: &Graph, r: Ref, stored: &dyn Fn(usize, usize) -> bool) -> Option<Place> {
    let mut views = Vec::new();
    let mut at = r;
    let base = loop {
        match at {
            Ref::Leaf(_) => break at,
            Ref::Node(n, out) if stored(n, out) => break at,
            Ref::Node(n, _) if view::is_view(&graph.nodes[n].op) => {
                views.push(n);
                at = graph.edges[n][0];
            }
            Ref::Node(..) => return None,
        }
    };
    let mut layout = match base {
        Ref::Leaf(i) => graph.leaves[i].realized.layout.clone(),
        Ref::Node(n, out) => Layout::contiguous(&graph.nodes[n].outs[out].shape),
    };
    let mut shape: &Shape = &graph.meta(base).shape;
    for n in views.into_iter().rev() {
        layout = view::apply(&graph.nodes[n].op, shape, &layout)?;
        shape = &graph.nodes[n].outs[0].shape;
    }
    Some(Place { base, layout })
}

/// What has to be stored so that `r` is a strided view of memory, or `None` if only storing `r` itself will do.
fn operand_base(graph: &Graph, r: Ref, forced: &FxHashSet<(usize, usize)>) -> Option<Ref> {
    // The first that is no view counts as stored, and so does what was forced.
    let stored = |n: usize, out: usize| !view::is_view(&graph.nodes[n].op) || forced.contains(&(n, out));
    place(graph, r, &stored).map(|p| p.base)
}

/// Custom kernels want their operands contiguous; a view of something will not do, unless it changes nothing.
fn contiguous_enough(graph: &Graph, op: &Op, r: Ref, base: usize, out: usize) -> bool {
    match op {
        Op::Custom(_) => {
            let shape = &graph.meta(r).shape;
            place(graph, r, &|n, o| (n, o) == (base, out))
                .is_some_and(|p| p.layout.offset == 0 && p.layout.is_contiguous(shape))
        }
        _ => true,
    }
}

/// True for views whose points are other points of the source: what lies behind one is evaluated by itself, so it counts as
/// a kernel of its own. (In a recurrence of shifted values each step would else repeat all steps before it.)
fn reads_elsewhere(op: &Op) -> bool {
    matches!(op, Op::Slice { .. } | Op::Pad { .. } | Op::Unfold { .. })
}

fn out_of(r: Ref) -> usize {
    match r {
        Ref::Node(_, out) => out,
        Ref::Leaf(_) => 0,
    }
}

/// True when operand `k` of `op` is read from memory rather than computed on the spot.
pub fn in_memory(op: &Op, k: usize) -> bool {
    match op {
        Op::Matmul | Op::Conv(_) | Op::ConvDataGrad { .. } | Op::ConvFilterGrad { .. } => true,
        op if is_opaque(op) => true,
        Op::Gather { .. } => k == 0,
        _ => false,
    }
}

/// The ops that neither are fused nor let others be fused with them.
pub fn is_opaque(op: &Op) -> bool {
    matches!(op, Op::Scatter { .. } | Op::Scan { .. } | Op::Sort { .. } | Op::Custom(_))
}

/// The contractions: a kernel has at most one.
pub fn is_anchor(op: &Op) -> bool {
    matches!(op, Op::Matmul | Op::Conv(_) | Op::ConvDataGrad { .. } | Op::ConvFilterGrad { .. })
}

fn is_dear(graph: &Graph, r: Ref) -> bool {
    match r {
        Ref::Leaf(_) => false,
        Ref::Node(n, _) => match &graph.nodes[n].op {
            op if view::is_view(op) => is_dear(graph, graph.edges[n][0]),
            op => is_anchor(op) || matches!(op, Op::Random { .. }),
        },
    }
}

/// The outputs of node `i` that other nodes of the graph use.
fn used_outputs(graph: &Graph, i: usize) -> u32 {
    if graph.nodes[i].outs.len() == 1 {
        return 1;
    }
    let uses = graph.edges.iter().flatten().filter_map(|&r| match r {
        Ref::Node(n, out) if n == i => Some(1 << out),
        _ => None,
    });
    uses.fold(0, |mask, bit| mask | bit)
}

/// For each node, operations and full-size reads that computing it on the spot takes, if dear operands are stored.
fn costs(graph: &Graph) -> Vec<(u32, u32)> {
    let mut cost: Vec<(u32, u32)> = Vec::with_capacity(graph.nodes.len());
    for (i, node) in graph.nodes.iter().enumerate() {
        let full = node.outs[0].shape.numel();
        let operand = |r: &Ref| match *r {
            Ref::Leaf(l) => (0, (graph.leaves[l].meta.shape.numel() >= full) as u32),
            Ref::Node(n, _) => {
                let small = graph.nodes[n].outs[0].shape.numel() < full;
                let (ops, loads) = cost[n];
                // What is smaller is read from cache.
                (ops, if small { 0 } else { loads })
            }
        };
        let sum = graph.edges[i]
            .iter()
            .map(operand)
            .fold((0u32, 0u32), |a, b| (a.0.saturating_add(b.0), a.1.saturating_add(b.1)));
        cost.push(match &node.op {
            Op::Scalar { .. } | Op::Iota { .. } | Op::Leaf => (0, 0),
            op if view::is_view(op) => sum,
            Op::Unary(op) => (sum.0.saturating_add(if is_dear_op(*op) { DEAR_OP } else { 1 }), sum.1),
            Op::Binary(_) | Op::Select | Op::Cast(_) => (sum.0.saturating_add(1), sum.1),
            Op::Pad { .. } | Op::Concat { .. } => (sum.0.saturating_add(2), sum.1),
            Op::Gather { .. } => (sum.0.saturating_add(2), sum.1.saturating_add(1)),
            _ => (0, 1),
        });
    }
    cost
}

/// Maps at which an expression becomes too deep or too large.
fn deep(graph: &Graph) -> Vec<bool> {
    // Depth and size of each node's expression.
    let mut extent: Vec<(u32, u32)> = Vec::with_capacity(graph.nodes.len());
    let mut deep = Vec::with_capacity(graph.nodes.len());
    for (i, node) in graph.nodes.iter().enumerate() {
        let below = graph.edges[i].iter().map(|&r| if let Ref::Node(n, _) = r { extent[n] } else { (0, 0) });
        let (d, size) = below.fold((0, 0u32), |a, b| (a.0.max(b.0), a.1.saturating_add(b.1)));
        let (d, size) = (d + 1, size.saturating_add(1));
        let cut = (d >= MAX_DEPTH || size >= MAX_SIZE) && !view::is_view(&node.op);
        let folds = matches!(node.op, Op::Reduce { .. } | Op::ArgReduce { .. }) || is_anchor(&node.op);
        extent.push(match cut {
            true => (0, 0),
            false if folds => (d, 1),
            false => (d, size),
        });
        deep.push(cut);
    }
    deep
}

fn is_dear_op(op: UnaryOp) -> bool {
    use UnaryOp::*;
    !matches!(
        op,
        Neg | Abs
            | Sign
            | Sqrt
            | Rsqrt
            | Recip
            | Relu
            | Floor
            | Ceil
            | Round
            | Trunc
            | Not
            | BitNot
            | IsNan
            | IsInf
            | IsFinite
    )
}
