//! What is pending, as plain numbered lists: nodes in topological order, their edges, the data they start from, and
//! who else refers to what. The plan's key is this, written out.

use super::History;
use crate::device::Storage;
use crate::dtype::{DType, Scalar};
use crate::graph::{GradMode, Meta, Node, Op, Realized, Value, view};
use crate::plan::Key;
use crate::shape::Dims;
use rustc_hash::FxHashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// An operand of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ref {
    /// Entry of [`Graph::leaves`].
    Leaf(usize),
    /// Output of entry of [`Graph::nodes`].
    Node(usize, usize),
}

/// Data that a graph starts from.
#[derive(Debug)]
pub struct Leaf {
    pub meta: Meta,
    pub realized: Realized,
    /// Entry of [`Graph::storages`].
    pub storage: usize,
    /// Nobody but this graph will ever read it.
    pub donatable: bool,
}

/// A pending graph.
#[derive(Debug)]
pub struct Graph {
    /// Uncomputed nodes, operands first.
    pub nodes: Vec<Arc<Node>>,
    /// Their operands.
    pub edges: Vec<Dims<Ref>>,
    /// By first appearance.
    pub leaves: Vec<Leaf>,
    /// The distinct storages behind the leaves, by first appearance.
    pub storages: Vec<Arc<Storage>>,
    /// Bit `o` of entry `n`: output `o` of node `n` must be stored.
    pub held: Vec<u32>,
    /// Somebody may still ask for node `n`, which is stored if that is cheap.
    pub kept: Vec<bool>,
    /// Every run must give the same bits.
    pub deterministic: bool,
}

impl Graph {
    /// Walks back from `roots` to what is computed already.
    pub fn collect(roots: Vec<Arc<Node>>, history: History, deterministic: bool) -> Graph {
        let mut walk = Walk::default();
        for root in roots {
            walk.visit(root);
        }
        Graph { deterministic, ..walk.finish(history) }
    }

    /// The shape and dtype of an operand.
    pub fn meta(&self, r: Ref) -> &Meta {
        match r {
            Ref::Leaf(i) => &self.leaves[i].meta,
            Ref::Node(i, out) => &self.nodes[i].outs[out],
        }
    }

    /// The numbers that differ from run to run, in the order in which [`Graph::params`] numbers them.
    pub fn scalars(&self) -> Vec<Scalar> {
        let mut scalars = Vec::new();
        for node in &self.nodes {
            match &node.op {
                Op::Scalar { value, .. } => scalars.push(value.0),
                Op::Random { state, .. } => {
                    let (seed, stream) = (state.0.seed, state.0.stream);
                    scalars.extend([seed & 0xffff_ffff, seed >> 32, stream as u64].map(|w| Scalar::Int(w as i64)));
                }
                _ => {}
            }
        }
        scalars
    }

    /// The dtypes of [`Graph::scalars`], and for each node the number of its first.
    pub fn params(&self) -> (Vec<DType>, Vec<usize>) {
        let mut dtypes = Vec::new();
        let mut first = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            first.push(dtypes.len());
            match &node.op {
                Op::Scalar { dtype, .. } => dtypes.push(*dtype),
                Op::Random { .. } => dtypes.extend([DType::U32; 3]),
                _ => {}
            }
        }
        (dtypes, first)
    }

    /// The graph written out: everything that a plan for it depends on.
    pub fn key(&self) -> Key {
        let mut words = Recorder(Vec::with_capacity(self.nodes.len() * 8));
        words.write_u64(self.deterministic as u64);
        for leaf in &self.leaves {
            leaf.meta.hash(&mut words);
            leaf.realized.layout.hash(&mut words);
            words.write_u64((leaf.storage as u64) << 1 | leaf.donatable as u64);
        }
        for (i, node) in self.nodes.iter().enumerate() {
            node.op.hash(&mut words);
            self.edges[i].hash(&mut words);
            words.write_u64((self.held[i] as u64) << 1 | self.kept[i] as u64);
        }
        Key(words.0)
    }
}

/// A `Hasher` that forgets nothing: derived `Hash` writes lengths and discriminants, so the words determine the value.
struct Recorder(Vec<u64>);

impl Hasher for Recorder {
    fn finish(&self) -> u64 {
        0
    }
    fn write(&mut self, bytes: &[u8]) {
        let (chunks, rest) = bytes.as_chunks::<8>();
        self.0.extend(chunks.iter().map(|c| u64::from_ne_bytes(*c)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.0.push(u64::from_ne_bytes(last));
        }
    }
    fn write_u8(&mut self, v: u8) {
        self.0.push(v as u64);
    }
    fn write_u32(&mut self, v: u32) {
        self.0.push(v as u64);
    }
    fn write_u64(&mut self, v: u64) {
        self.0.push(v);
    }
    fn write_usize(&mut self, v: usize) {
        self.0.push(v as u64);
    }
}

#[derive(Default)]
struct Walk {
    nodes: Vec<Arc<Node>>,
    edges: Vec<Dims<Ref>>,
    numbers: FxHashMap<u64, usize>,
    leaves: Vec<Leaf>,
    leaf_nodes: Vec<Arc<Node>>,
    leaf_numbers: FxHashMap<(u64, usize), usize>,
    storages: Vec<Arc<Storage>>,
    storage_numbers: FxHashMap<u64, usize>,
}

impl Walk {
    /// Depth first, on a stack of its own: graphs are deeper than call stacks.
    fn visit(&mut self, root: Arc<Node>) {
        struct Frame {
            node: Arc<Node>,
            srcs: Vec<Value>,
            next: usize,
        }
        let open = |node: Arc<Node>| {
            let srcs = node.state().srcs.to_vec();
            Frame { node, srcs, next: 0 }
        };
        if root.is_realized() || self.numbers.contains_key(&root.id) {
            return;
        }
        let mut stack = vec![open(root)];
        while let Some(frame) = stack.last_mut() {
            if let Some(src) = frame.srcs.get(frame.next) {
                frame.next += 1;
                if !self.numbers.contains_key(&src.node.id) && src.realized().is_none() {
                    let node = src.node.clone();
                    stack.push(open(node));
                }
                continue;
            }
            let Some(Frame { node, srcs, .. }) = stack.pop() else { break };
            if self.numbers.contains_key(&node.id) {
                continue;
            }
            let edges: Dims<Ref> = srcs.iter().map(|src| self.edge(src)).collect();
            let edges = self.reshapable(&node, srcs, edges);
            self.numbers.insert(node.id, self.nodes.len());
            self.edges.push(edges);
            self.nodes.push(node);
        }
    }

    /// A reshape of data whose strides do not allow it gets a copy of the data to reshape: a node that only this graph
    /// knows of, since nobody could tell when the reshape was made that its source would be such data by now.
    fn reshapable(&mut self, node: &Arc<Node>, srcs: Vec<Value>, edges: Dims<Ref>) -> Dims<Ref> {
        let (Op::Reshape(_), &[Ref::Leaf(leaf)]) = (&node.op, &edges[..]) else { return edges };
        let Leaf { meta, realized, .. } = &self.leaves[leaf];
        if view::apply(&node.op, &meta.shape, &realized.layout).is_some() {
            return edges;
        }
        let meta = meta.clone();
        let op = Op::Cast(meta.dtype);
        let copy =
            Node::pending(&node.device, op, srcs.into(), [meta].into_iter().collect(), GradMode::None, None, node.at);
        self.edges.push(edges);
        self.nodes.push(copy);
        Dims::from_elem(Ref::Node(self.nodes.len() - 1, 0), 1)
    }

    fn edge(&mut self, src: &Value) -> Ref {
        if let Some(&n) = self.numbers.get(&src.node.id) {
            return Ref::Node(n, src.out);
        }
        let key = (src.node.id, src.out);
        if let Some(&n) = self.leaf_numbers.get(&key) {
            return Ref::Leaf(n);
        }
        // Not among the uncomputed ones, so it is computed.
        let Some(realized) = src.realized() else { unreachable!("a source is visited before its user") };
        let fresh = self.storages.len();
        let storage = *self.storage_numbers.entry(realized.storage.id()).or_insert(fresh);
        if storage == fresh {
            self.storages.push(realized.storage.clone());
        }
        let n = self.leaves.len();
        self.leaves.push(Leaf { meta: src.meta().clone(), realized, storage, donatable: false });
        self.leaf_nodes.push(src.node.clone());
        self.leaf_numbers.insert(key, n);
        Ref::Leaf(n)
    }

    fn finish(mut self, history: History) -> Graph {
        // References from inside the graph, to tell them from those outside.
        let mut inside = vec![0usize; self.nodes.len()];
        let mut inside_leaf = vec![0usize; self.leaves.len()];
        for edge in self.edges.iter().flatten() {
            match *edge {
                Ref::Node(n, _) => inside[n] += 1,
                Ref::Leaf(n) => inside_leaf[n] += 1,
            }
        }
        for node in &self.nodes {
            for input in node.state().rule.iter().flat_map(|r| &r.inputs) {
                if let Some(&n) = self.numbers.get(&input.node.id) {
                    inside[n] += 1;
                } else if let Some(&n) = self.leaf_numbers.get(&(input.node.id, input.out)) {
                    inside_leaf[n] += 1;
                }
            }
        }
        let mut held = Vec::with_capacity(self.nodes.len());
        let mut kept = Vec::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            let mut mask: u32 = (0..node.outs.len()).filter(|&o| node.handles(o) > 0).map(|o| 1 << o).sum();
            let elsewhere = Arc::strong_count(node) > 1 + inside[i] + node.all_handles() as usize;
            match history {
                History::Release if elsewhere => mask = (1 << node.outs.len()) - 1,
                _ => {}
            }
            held.push(mask);
            kept.push(history == History::Keep && (elsewhere || node.grad() == GradMode::Interior));
        }
        if history == History::Release {
            let mut uses = vec![0usize; self.storages.len()];
            for leaf in &self.leaves {
                uses[leaf.storage] += 1;
            }
            for (i, leaf) in self.leaves.iter_mut().enumerate() {
                let node = &self.leaf_nodes[i];
                // The list of leaves and this graph's edges hold the node; the node, the leaf and the list of storages
                // hold the storage. Whoever else does would see it overwritten.
                leaf.donatable = node.all_handles() == 0
                    && node.outs.len() == 1
                    && Arc::strong_count(node) == 1 + inside_leaf[i]
                    && uses[leaf.storage] == 1
                    && Arc::strong_count(&leaf.realized.storage) == 3
                    && leaf.realized.layout.offset == 0
                    && leaf.realized.layout.is_contiguous(&leaf.meta.shape);
            }
        }
        Graph {
            nodes: self.nodes,
            edges: self.edges,
            leaves: self.leaves,
            storages: self.storages,
            held,
            kept,
            deterministic: false,
        }
    }
}
