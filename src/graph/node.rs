//! One op in the lazy graph, what it was made from, and, once it ran, where its results lie.

use super::{Meta, Op};
use crate::device::{Device, Storage};
use crate::error::Caller;
use crate::shape::Layout;
use smallvec::SmallVec;
use std::any::Any;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// One output of a node. Plain data: only handles of users are counted, in [`Node::handles`].
#[derive(Debug, Clone)]
pub struct Value {
    /// The node.
    pub node: Arc<Node>,
    /// Which of its outputs.
    pub out: usize,
}

impl Value {
    /// Its shape and dtype.
    pub fn meta(&self) -> &Meta {
        &self.node.outs[self.out]
    }

    /// Where it lies, if it was computed.
    pub fn realized(&self) -> Option<Realized> {
        self.node.state().realized[self.out].clone()
    }
}

/// Where a computed result lies.
#[derive(Debug, Clone)]
pub struct Realized {
    /// The memory; views of one tensor share it.
    pub storage: Arc<Storage>,
    /// Where in it.
    pub layout: Layout,
}

/// What a node means to differentiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GradMode {
    /// No gradient flows here.
    None = 0,
    /// A variable: gradients end here.
    Leaf = 1,
    /// Made from variables: gradients pass through to its sources.
    Interior = 2,
    /// Made from variables, but a `backward` has used the history up.
    Consumed = 3,
}

/// A gradient rule that stands in for the op's own.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What it gives gradients for, in place of the node's sources.
    pub inputs: SmallVec<[Value; 2]>,
    /// The rule itself; `autograd` knows its type.
    pub function: Arc<dyn Any + Send + Sync>,
}

/// A node of the graph. Immutable but for its state: sources are let go once nothing needs them, results arrive.
#[derive(Debug)]
pub struct Node {
    /// Unique in the process and ascending in order of creation.
    pub id: u64,
    /// What it computes.
    pub op: Op,
    /// Where.
    pub device: Device,
    /// Its results' shapes and dtypes.
    pub outs: SmallVec<[Meta; 1]>,
    /// The line that asked for it.
    pub at: Caller,
    handles: SmallVec<[AtomicU32; 1]>,
    grad: AtomicU8,
    state: Mutex<State>,
}

/// The part of a node that changes.
#[derive(Debug)]
pub struct State {
    /// What it is made from; empty for leaves, and once the result is there and no gradient will ask.
    pub srcs: SmallVec<[Value; 2]>,
    /// Replaces the op's own gradient rule; let go together with the sources.
    pub rule: Option<Rule>,
    /// One entry for each output.
    pub realized: SmallVec<[Option<Realized>; 1]>,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Node {
    /// A pending node.
    pub fn pending(
        device: &Device,
        op: Op,
        srcs: SmallVec<[Value; 2]>,
        outs: SmallVec<[Meta; 1]>,
        grad: GradMode,
        rule: Option<Rule>,
        at: Caller,
    ) -> Arc<Node> {
        let n = outs.len();
        Arc::new(Node {
            id: next_id(),
            op,
            device: device.clone(),
            outs,
            at,
            handles: (0..n).map(|_| AtomicU32::new(0)).collect(),
            grad: AtomicU8::new(grad as u8),
            state: Mutex::new(State { srcs, rule, realized: SmallVec::from_elem(None, n) }),
        })
    }

    /// A node over data that is already there.
    pub fn leaf(device: &Device, meta: Meta, realized: Realized, at: Caller) -> Arc<Node> {
        let node =
            Node::pending(device, Op::Leaf, SmallVec::new(), SmallVec::from_iter([meta]), GradMode::None, None, at);
        node.state().realized[0] = Some(realized);
        node
    }

    /// Locks the changing part. Never held while another node's is taken.
    pub fn state(&self) -> MutexGuard<'_, State> {
        // A panic while it was held cannot leave it half written: every write is one assignment.
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What differentiation sees.
    pub fn grad(&self) -> GradMode {
        match self.grad.load(Ordering::Relaxed) {
            0 => GradMode::None,
            1 => GradMode::Leaf,
            2 => GradMode::Interior,
            _ => GradMode::Consumed,
        }
    }

    /// Makes a node that no gradient flows through into a variable.
    pub fn set_leaf(&self) {
        self.grad.store(GradMode::Leaf as u8, Ordering::Relaxed);
    }

    /// Marks the history as used up, and lets it go if the result is there.
    pub fn consume(&self) {
        self.grad.store(GradMode::Consumed as u8, Ordering::Relaxed);
        if self.is_realized() {
            self.detach();
        }
    }

    /// How many handles of users hold output `out`.
    pub fn handles(&self, out: usize) -> u32 {
        self.handles[out].load(Ordering::Acquire)
    }

    /// How many handles of users hold any output.
    pub fn all_handles(&self) -> u32 {
        self.handles.iter().map(|h| h.load(Ordering::Acquire)).sum()
    }

    /// Counts a user's handle.
    pub fn add_handle(&self, out: usize) {
        self.handles[out].fetch_add(1, Ordering::AcqRel);
    }

    /// Takes it back.
    pub fn drop_handle(&self, out: usize) {
        self.handles[out].fetch_sub(1, Ordering::AcqRel);
    }

    /// True when every output is computed.
    pub fn is_realized(&self) -> bool {
        self.state().realized.iter().all(Option::is_some)
    }

    /// Lets the sources go, without recursion however long the history is.
    pub fn detach(&self) {
        let values = self.state().take();
        release(values);
    }
}

impl State {
    /// Everything it refers to.
    fn take(&mut self) -> SmallVec<[Value; 2]> {
        let mut values = std::mem::take(&mut self.srcs);
        values.extend(self.rule.take().into_iter().flat_map(|r| r.inputs));
        values
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        release(self.state.get_mut().unwrap_or_else(|e| e.into_inner()).take());
    }
}

/// Drops values; whatever they alone held is taken apart in a loop, because a long history would overflow the stack.
fn release(values: SmallVec<[Value; 2]>) {
    let mut stack = values;
    while let Some(value) = stack.pop() {
        if let Some(mut node) = Arc::into_inner(value.node) {
            stack.extend(node.state.get_mut().unwrap_or_else(|e| e.into_inner()).take());
        }
    }
}
