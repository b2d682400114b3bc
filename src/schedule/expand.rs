//! Takes programs apart into the ops that they are made of, for a graph that is to be planned.

use super::collect::{Graph, Ref};
use crate::dtype::Scalar;
use crate::graph::program::{Line, Program};
use crate::graph::{GradMode, Meta, Node, Op, Param};
use crate::plan::Plan;
use crate::shape::Dims;
use smallvec::SmallVec;
use std::sync::Arc;

/// A graph without programs, and where its values come from.
pub struct Expanded {
    pub graph: Graph,
    /// For each of its nodes, the node of the first graph and which output of that its first output is.
    origins: Vec<(usize, usize)>,
}

impl Expanded {
    /// The same graph, programs taken apart; none where there are none.
    pub fn new(graph: &Graph) -> Option<Expanded> {
        if !graph.nodes.iter().any(|n| matches!(n.op, Op::Program { .. })) {
            return None;
        }
        let empty = Graph {
            nodes: Vec::new(),
            edges: Vec::new(),
            leaves: graph.leaves.clone(),
            storages: graph.storages.clone(),
            held: Vec::new(),
            kept: Vec::new(),
            deterministic: graph.deterministic,
        };
        let mut expanded = Expanded { graph: empty, origins: Vec::new() };
        // For each node of the first graph, what its outputs are now.
        let mut now: Vec<SmallVec<[Ref; 1]>> = Vec::with_capacity(graph.nodes.len());
        for (i, node) in graph.nodes.iter().enumerate() {
            let edges: Dims<Ref> = (graph.edges[i].iter())
                .map(|edge| match *edge {
                    Ref::Node(n, out) => now[n][out],
                    leaf => leaf,
                })
                .collect();
            now.push(match &node.op {
                Op::Program { program, numbers } => expanded.program(graph, i, program, &numbers.0, &edges),
                _ => {
                    let n = expanded.push(node.clone(), edges, graph.held[i], graph.kept[i], (i, 0));
                    (0..node.outs.len()).map(|out| Ref::Node(n, out)).collect()
                }
            });
        }
        Some(expanded)
    }

    fn push(&mut self, node: Arc<Node>, edges: Dims<Ref>, held: u32, kept: bool, origin: (usize, usize)) -> usize {
        let g = &mut self.graph;
        g.nodes.push(node);
        g.edges.push(edges);
        g.held.push(held);
        g.kept.push(kept);
        self.origins.push(origin);
        g.nodes.len() - 1
    }

    fn program(
        &mut self,
        graph: &Graph,
        i: usize,
        program: &Program,
        numbers: &[Scalar],
        edges: &[Ref],
    ) -> SmallVec<[Ref; 1]> {
        let node = &graph.nodes[i];
        let meta = &node.outs[0];
        let mut values: Vec<Ref> = Vec::with_capacity(program.lines.len());
        for (at, line) in program.lines.iter().enumerate() {
            let (op, edges): (Op, Dims<Ref>) = match *line {
                Line::Operand(k) => {
                    values.push(edges[k]);
                    continue;
                }
                Line::Number(k) => {
                    let Meta { dtype, shape } = meta.clone();
                    (Op::Scalar { dtype, shape, value: Param(numbers[k]) }, Dims::new())
                }
                Line::Unary(op, a) => (Op::Unary(op), Dims::from_elem(values[a], 1)),
                Line::Binary(op, a, b) => (Op::Binary(op), [values[a], values[b]].into_iter().collect()),
            };
            let outs = SmallVec::from_iter([meta.clone()]);
            let part = Node::pending(&node.device, op, SmallVec::new(), outs, GradMode::None, None, node.at);
            let out = program.results.iter().position(|&r| r == at);
            let held = out.is_some_and(|out| graph.held[i] >> out & 1 == 1);
            let kept = out.is_some() && graph.kept[i];
            let n = self.push(part, edges, held as u32, kept, (i, out.unwrap_or(0)));
            values.push(Ref::Node(n, 0));
        }
        program.results.iter().map(|&r| values[r]).collect()
    }

    /// A plan for this graph as one for the first.
    pub fn plan_of_first(&self, mut plan: Plan) -> Plan {
        for output in &mut plan.outputs {
            let (node, out) = self.origins[output.node];
            (output.node, output.out) = (node, out + output.out);
        }
        plan
    }
}
