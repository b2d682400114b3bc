//! An expression is pulled back from the value that a kernel stores, through views, until memory is reached.
//!
//! While pulling, every value is known by where the kernel's point lies in it: one linear function per axis. Views
//! only change these functions. A fold on the way gives the kernel its inner axes, a contraction becomes its anchor.
//! What does not fit is reported as a value to store, and planning starts over.

use super::build::{Context, Kernel, Work, few_long_rows, set_levels};
use super::collect::Ref;
use super::decide::is_anchor;
use crate::dtype::DType;
use crate::graph::{Op, ReduceOp, view};
use crate::plan::{Affine, Instr, InstrKind, Level, Loop, Operand, Reg, Store};
use crate::shape::{Dims, Layout};
use rustc_hash::FxHashMap;

/// Why pulling stopped.
pub enum Stop {
    /// Axis `dim` of the domain must be cut so that its inner part has this size.
    Split { dim: usize, inner: usize },
    /// This value must be stored.
    Force(usize, usize),
}

/// Where the point lies in a value: a linear function per axis, and where it must not be read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct At {
    index: Dims<Affine>,
    guard: Option<Reg>,
}

/// The building of one kernel.
pub struct Pull<'a> {
    cx: &'a Context<'a>,
    root: (usize, usize),
    /// Sizes of the domain's axes; those from `root_dims` on were added by a fold.
    dims: Dims<usize>,
    pub root_dims: usize,
    root_index: Dims<Affine>,
    /// Which axes are folded, once a fold was met.
    inner: Option<Dims<usize>>,
    pub inner_factors: Vec<Dims<usize>>,
    instrs: Vec<Instr>,
    known: FxHashMap<Instr, Reg>,
    memo: FxHashMap<(usize, usize, At), Reg>,
    anchor: Option<(usize, Operand, Operand)>,
}

fn zero() -> Affine {
    Affine { offset: 0, strides: Dims::new() }
}

fn axis(dim: usize, factor: i64) -> Affine {
    let mut strides = Dims::from_elem(0, dim + 1);
    strides[dim] = factor;
    Affine { offset: 0, strides }
}

/// `a += factor·b`
fn add(a: &mut Affine, b: &Affine, factor: i64) {
    a.offset += factor * b.offset;
    if a.strides.len() < b.strides.len() {
        a.strides.resize(b.strides.len(), 0);
    }
    for (x, y) in a.strides.iter_mut().zip(&b.strides) {
        *x += factor * y;
    }
    while a.strides.last() == Some(&0) {
        a.strides.pop();
    }
}

fn linear(index: &[Affine], layout: &Layout) -> Affine {
    let mut at = zero();
    at.offset = layout.offset;
    for (i, &stride) in index.iter().zip(&layout.strides) {
        add(&mut at, i, stride);
    }
    at
}

impl<'a> Pull<'a> {
    /// A kernel for `root` whose axes, and folded axes if it comes to that, are cut into these factors.
    pub fn new(
        cx: &'a Context<'a>,
        root: (usize, usize),
        factors: &[Dims<usize>],
        inner_factors: &[Dims<usize>],
    ) -> Self {
        let mut dims: Dims<usize> = Dims::new();
        let root_index = factors.iter().map(|list| push_axis(&mut dims, list)).collect();
        Pull {
            cx,
            root,
            root_dims: dims.len(),
            dims,
            root_index,
            inner: None,
            inner_factors: inner_factors.to_vec(),
            instrs: Vec::new(),
            known: FxHashMap::default(),
            memo: FxHashMap::default(),
            anchor: None,
        }
    }

    /// Pulls everything; gives the root's register.
    pub fn root(&mut self) -> Result<Reg, Stop> {
        let at = At { index: self.root_index.clone(), guard: None };
        self.compute(self.root.0, self.root.1, at)
    }

    fn emit(&mut self, kind: InstrKind, dtype: DType) -> Reg {
        // Levels are filled in at the end, when it is known which axes are inner.
        let instr = Instr { kind, dtype, level: Level::Uniform };
        if let Some(&reg) = self.known.get(&instr) {
            return reg;
        }
        self.known.insert(instr.clone(), self.instrs.len());
        self.instrs.push(instr);
        self.instrs.len() - 1
    }

    fn value(&mut self, r: Ref, at: At) -> Result<Reg, Stop> {
        let dtype = self.cx.graph.meta(r).dtype;
        if let Some(operand) = self.cx.operand(r) {
            let kind = InstrKind::Load { slot: operand.slot, at: linear(&at.index, &operand.layout), guard: at.guard };
            return Ok(self.emit(kind, dtype));
        }
        let Ref::Node(n, out) = r else { unreachable!("a leaf lies in memory") };
        let key = (n, out, at);
        if let Some(&reg) = self.memo.get(&key) {
            return Ok(reg);
        }
        let reg = self.compute(n, out, key.2.clone())?;
        self.memo.insert(key, reg);
        Ok(reg)
    }

    fn compute(&mut self, n: usize, out: usize, at: At) -> Result<Reg, Stop> {
        let graph = self.cx.graph;
        let node = &graph.nodes[n];
        let edges = &graph.edges[n];
        let meta = &node.outs[out];
        let dtype = meta.dtype;
        let size = |k: usize| &graph.meta(edges[k]).shape;
        match &node.op {
            Op::Scalar { .. } => Ok(self.emit(InstrKind::Param { param: self.cx.params[n] }, dtype)),
            Op::Iota { axis, .. } => {
                let at = at.index[*axis].clone();
                Ok(self.emit(InstrKind::Iota { at }, dtype))
            }
            Op::Random { distribution, .. } => {
                let p = self.cx.params[n];
                let at = linear(&at.index, &Layout::contiguous(&meta.shape));
                Ok(self.emit(InstrKind::Random { distribution: *distribution, at, params: [p, p + 1, p + 2] }, dtype))
            }
            Op::Unary(op) => {
                let src = self.value(edges[0], at)?;
                Ok(self.emit(InstrKind::Unary { op: *op, src }, dtype))
            }
            Op::Binary(op) => {
                let lhs = self.value(edges[0], at.clone())?;
                let rhs = self.value(edges[1], at)?;
                Ok(self.emit(InstrKind::Binary { op: *op, lhs, rhs }, dtype))
            }
            Op::Select => {
                let condition = self.value(edges[0], at.clone())?;
                let on_true = self.value(edges[1], at.clone())?;
                let on_false = self.value(edges[2], at)?;
                Ok(self.emit(InstrKind::Select { condition, on_true, on_false }, dtype))
            }
            Op::Cast(_) => {
                let src = self.value(edges[0], at)?;
                Ok(self.emit(InstrKind::Cast { src }, dtype))
            }
            Op::Permute(axes) => {
                let mut index = at.index.clone();
                for (i, &a) in axes.iter().enumerate() {
                    index[a] = at.index[i].clone();
                }
                self.value(edges[0], At { index, guard: at.guard })
            }
            Op::Expand(to) => {
                let shape = size(0);
                let index = (0..to.rank()).map(|i| if shape[i] == 1 { zero() } else { at.index[i].clone() }).collect();
                self.value(edges[0], At { index, guard: at.guard })
            }
            Op::Slice { starts, steps, .. } => {
                let index = at.index.iter().enumerate().map(|(i, a)| {
                    let mut moved = Affine { offset: starts[i] as i64, strides: Dims::new() };
                    add(&mut moved, a, steps[i]);
                    moved
                });
                self.value(edges[0], At { index: index.collect(), guard: at.guard })
            }
            Op::Unfold { axis, step, dilation, .. } => {
                let mut index = at.index.clone();
                let within = index.pop().unwrap_or_else(zero);
                let mut moved = zero();
                add(&mut moved, &index[*axis], *step as i64);
                add(&mut moved, &within, *dilation as i64);
                index[*axis] = moved;
                self.value(edges[0], At { index, guard: at.guard })
            }
            Op::Reshape(to) => {
                // Over memory whose strides allow it, a reshape is only another layout.
                if let Some(x) = self.cx.operand(edges[0])
                    && let Some(layout) = view::apply(&node.op, size(0), &x.layout)
                {
                    let kind = InstrKind::Load { slot: x.slot, at: linear(&at.index, &layout), guard: at.guard };
                    return Ok(self.emit(kind, dtype));
                }
                let index = match self.reshape(&at.index, to, size(0)) {
                    Ok(index) => index,
                    Err(Some((dim, inner))) => return Err(Stop::Split { dim, inner }),
                    Err(None) => return Err(self.force(edges[0])),
                };
                self.value(edges[0], At { index, guard: at.guard })
            }
            Op::Pad { .. } if size(0).numel() == 0 => self.value(edges[1], At { index: Dims::new(), guard: None }),
            Op::Pad { lo, .. } => {
                let shape = size(0).clone();
                let mut inside = at.clone();
                for i in (0..lo.len()).filter(|&i| shape[i] != meta.shape[i]) {
                    inside.index[i].offset -= lo[i] as i64;
                    inside.guard = Some(self.bounds(inside.index[i].clone(), shape[i], inside.guard));
                }
                let Some(condition) = inside.guard.filter(|_| inside.guard != at.guard) else {
                    return self.value(edges[0], at);
                };
                let on_true = self.value(edges[0], inside)?;
                let on_false = self.value(edges[1], At { index: Dims::new(), guard: None })?;
                Ok(self.emit(InstrKind::Select { condition, on_true, on_false }, dtype))
            }
            Op::Concat { axis } => {
                let mut start = 0;
                let mut parts = Vec::new();
                for (k, &r) in edges.iter().enumerate() {
                    let len = size(k)[*axis];
                    if len == 0 {
                        continue;
                    }
                    let mut part = at.clone();
                    part.index[*axis].offset -= start as i64;
                    let condition = self.bounds(part.index[*axis].clone(), len, at.guard);
                    part.guard = Some(condition);
                    parts.push((condition, self.value(r, part)?));
                    start += len;
                }
                // All parts are empty: no point of the domain asks for a value, any part will do.
                let Some((_, mut result)) = parts.pop() else { return self.value(edges[0], at) };
                for (condition, on_true) in parts.into_iter().rev() {
                    result = self.emit(InstrKind::Select { condition, on_true, on_false: result }, dtype);
                }
                Ok(result)
            }
            Op::Gather { axis } => {
                let index = self.value(edges[1], at.clone())?;
                let Some(mut x) = self.cx.operand(edges[0]) else { return Err(self.force(edges[0])) };
                let stride = std::mem::take(&mut x.layout.strides[*axis]);
                let kind = InstrKind::Gather {
                    slot: x.slot,
                    at: linear(&at.index, &x.layout),
                    index,
                    stride,
                    size: size(0)[*axis],
                    guard: at.guard,
                    origin: n,
                };
                Ok(self.emit(kind, dtype))
            }
            Op::Reduce { op, .. } if size(0).numel() == 0 => {
                Ok(self.constant(matches!(op, ReduceOp::Prod) as i64, dtype))
            }
            Op::Reduce { op, axes } => {
                let src = self.folded(n, axes, at)?;
                Ok(self.emit(InstrKind::Reduce { op: *op, src }, dtype))
            }
            Op::ArgReduce { op, axes } => {
                let src = self.folded(n, axes, at)?;
                Ok(match out {
                    0 => self.emit(InstrKind::Reduce { op: *op, src }, dtype),
                    _ => self.emit(InstrKind::ArgReduce { op: *op, src }, dtype),
                })
            }
            op if is_anchor(op) => self.contraction(n, &at),
            // Opaque ops are always stored, leaves always in memory.
            _ => Err(Stop::Force(n, out)),
        }
    }

    /// A number that is part of the plan.
    fn constant(&mut self, value: i64, dtype: DType) -> Reg {
        let at = Affine { offset: value, strides: Dims::new() };
        let src = self.emit(InstrKind::Iota { at }, DType::I32);
        if dtype == DType::I32 { src } else { self.emit(InstrKind::Cast { src }, dtype) }
    }

    fn force(&self, r: Ref) -> Stop {
        match r {
            Ref::Node(n, out) => Stop::Force(n, out),
            Ref::Leaf(_) => unreachable!("a leaf lies in memory"),
        }
    }

    fn bounds(&mut self, at: Affine, size: usize, and: Option<Reg>) -> Reg {
        self.emit(InstrKind::InBounds { at, size, and }, DType::Bool)
    }

    /// The operand of a fold, and with it the kernel's inner axes.
    fn folded(&mut self, n: usize, axes: &[usize], at: At) -> Result<Reg, Stop> {
        let src = self.cx.graph.edges[n][0];
        let shape = self.cx.graph.meta(src).shape.clone();
        let sizes: Dims<usize> = axes.iter().map(|&a| shape[a]).collect();
        let used = self.used_dims(&at);
        let refuse = Stop::Force(n, 0);
        if self.anchor.is_some() || at.guard.is_some() {
            return Err(refuse);
        }
        let inner_index = match &self.inner {
            Some(inner) => {
                if inner.iter().any(|d| used.contains(d)) {
                    return Err(refuse);
                }
                match self.consume(inner, &sizes) {
                    Some(index) => index,
                    None => return Err(refuse),
                }
            }
            None => {
                let unused: Dims<usize> =
                    (0..self.dims.len()).filter(|d| !used.contains(d) && self.dims[*d] != 1).collect();
                if unused.is_empty() {
                    if self.inner_factors.len() != sizes.len() {
                        self.inner_factors = sizes.iter().map(|&d| Dims::from_elem(d, 1)).collect();
                    }
                    let first = self.dims.len();
                    let lists = self.inner_factors.clone();
                    let index = lists.iter().map(|list| push_axis(&mut self.dims, list)).collect();
                    self.inner = Some((first..self.dims.len()).collect());
                    index
                } else {
                    // The fold's result is spread over the very axes that it folds: the kernel's rows.
                    let len = |dims: &mut dyn Iterator<Item = usize>| dims.map(|d| self.dims[d]).product::<usize>();
                    let rows = len(&mut (0..self.dims.len()).filter(|d| !unused.contains(d)));
                    if few_long_rows(rows, len(&mut unused.iter().copied())) {
                        return Err(refuse);
                    }
                    match self.consume(&unused, &sizes) {
                        Some(index) => {
                            self.inner = Some(unused);
                            index
                        }
                        None => return Err(refuse),
                    }
                }
            }
        };
        let mut outer = at.index.iter();
        let mut inner = inner_index.iter();
        let index = (0..shape.rank()).map(|i| {
            let from = if axes.contains(&i) { &mut inner } else { &mut outer };
            from.next().cloned().unwrap_or_else(zero)
        });
        let index = index.collect();
        self.value(src, At { index, guard: None })
    }

    /// Axes of the domain that `at` depends on.
    fn used_dims(&self, at: &At) -> Dims<usize> {
        let depends = |d: usize| at.index.iter().any(|a| a.strides.get(d).is_some_and(|&s| s != 0));
        (0..self.dims.len()).filter(|&d| depends(d)).collect()
    }

    /// Expresses axes of these sizes by the domain's axes `dims`, in order; `None` unless they multiply up exactly.
    fn consume(&self, dims: &[usize], sizes: &[usize]) -> Option<Dims<Affine>> {
        let mut rest = dims.iter().copied().filter(|&d| self.dims[d] != 1).peekable();
        let mut index = Dims::new();
        for &size in sizes {
            let mut mine: Dims<usize> = Dims::new();
            let mut product = 1;
            while product < size {
                let d = rest.next()?;
                product *= self.dims[d];
                mine.push(d);
            }
            if product != size {
                return None;
            }
            let mut at = zero();
            let mut factor = 1;
            for &d in mine.iter().rev() {
                add(&mut at, &axis(d, factor), 1);
                factor *= self.dims[d] as i64;
            }
            index.push(at);
        }
        rest.peek().is_none().then_some(index)
    }

    /// Makes contraction `n` the anchor: the kernel's points must be its elements in row-major order.
    fn contraction(&mut self, n: usize, at: &At) -> Result<Reg, Stop> {
        let meta = &self.cx.graph.nodes[n].outs[0];
        let element = linear(&at.index, &Layout::contiguous(&meta.shape));
        let mut all = zero();
        let mut factor = 1;
        for d in (0..self.dims.len()).rev() {
            if self.dims[d] != 1 {
                add(&mut all, &axis(d, factor), 1);
            }
            factor *= self.dims[d] as i64;
        }
        // Axes of size 1 may carry any stride.
        let mut element = element;
        for (d, s) in element.strides.iter_mut().enumerate() {
            if self.dims[d] == 1 {
                *s = 0;
            }
        }
        add(&mut element, &zero(), 1);
        let same = element == all && factor == meta.shape.numel() as i64;
        let free = self.anchor.as_ref().is_none_or(|(a, ..)| *a == n);
        if !same || !free || at.guard.is_some() || self.inner.is_some() {
            return Err(Stop::Force(n, 0));
        }
        if self.anchor.is_none() {
            let edges = &self.cx.graph.edges[n];
            let operand = |k: usize| self.cx.operand_or_force(edges[k]).map_err(|(n, out)| Stop::Force(n, out));
            self.anchor = Some((n, operand(0)?, operand(1)?));
        }
        Ok(self.emit(InstrKind::Accumulator, meta.dtype))
    }

    /// Where the point lies in the source of a reshape; `Err(Some)` asks for a finer domain, `Err(None)` gives up.
    fn reshape(&self, index: &[Affine], to: &[usize], from: &[usize]) -> Result<Dims<Affine>, Option<(usize, usize)>> {
        let mut result: Dims<Affine> = from.iter().map(|_| zero()).collect();
        // `to` is the shape that `index` is for, `from` the shape below.
        for (src, dst) in view::groups(from, to) {
            let real: Dims<usize> = src.clone().filter(|&i| from[i] != 1).collect();
            let real_dst: Dims<usize> = dst.clone().filter(|&j| to[j] != 1).collect();
            if let ([i], [j]) = (&real[..], &real_dst[..]) {
                result[*i] = index[*j].clone();
                continue;
            }
            let mut at = zero();
            let mut factor = 1;
            for j in dst.rev() {
                if to[j] != 1 {
                    add(&mut at, &index[j], factor);
                }
                factor *= to[j] as i64;
            }
            match &real[..] {
                [] => {}
                [i] => result[*i] = at,
                many => self.spread(at, many, from, &mut result)?,
            }
        }
        Ok(result)
    }

    /// Writes a linear index over axes `axes` as one index per axis, term by term, so that no term carries into the next axis.
    fn spread(
        &self,
        at: Affine,
        axes: &[usize],
        from: &[usize],
        result: &mut Dims<Affine>,
    ) -> Result<(), Option<(usize, usize)>> {
        let sizes: Dims<i64> = axes.iter().map(|&a| from[a] as i64).collect();
        let mut strides = Dims::from_elem(1i64, sizes.len());
        for i in (1..sizes.len()).rev() {
            strides[i - 1] = strides[i] * sizes[i];
        }
        let mut offset = at.offset;
        if offset < 0 {
            return Err(None);
        }
        let mut highest: Dims<i64> = Dims::new();
        for (i, &a) in axes.iter().enumerate() {
            result[a].offset = offset / strides[i];
            highest.push(offset / strides[i]);
            offset %= strides[i];
        }
        for (d, &c) in at.strides.iter().enumerate() {
            let n = self.dims[d] as i64;
            if c == 0 || n == 1 {
                continue;
            }
            if c < 0 {
                return Err(None);
            }
            let Some(i) = (0..axes.len()).find(|&i| c >= strides[i]) else { return Err(None) };
            if c % strides[i] != 0 {
                return Err(None);
            }
            // Steps of the domain's axis that fit into this axis before the next one has to move.
            let room = strides[i] * sizes[i] / c;
            if n > room && i > 0 {
                let fits = c * room == strides[i] * sizes[i] && n % room == 0 && room > 1;
                return Err(fits.then_some((d, room as usize)));
            }
            add(&mut result[axes[i]], &axis(d, c / strides[i]), 1);
            highest[i] += c / strides[i] * (n - 1);
        }
        if highest.iter().zip(&sizes).all(|(h, s)| h < s) { Ok(()) } else { Err(None) }
    }

    /// Puts the axes in order, fills in levels, and stores the value.
    pub fn finish(mut self, value: Reg, root: (usize, usize)) -> Result<Kernel, (usize, usize)> {
        let inner = self.inner.take().unwrap_or_default();
        let rank = self.dims.len();
        let keep = |d: &usize| self.dims[*d] != 1;
        let outer_dims: Dims<usize> = (0..rank).filter(|d| !inner.contains(d)).filter(keep).collect();
        let inner_dims: Dims<usize> = inner.iter().copied().filter(keep).collect();
        let order: Dims<usize> = outer_dims.iter().chain(&inner_dims).copied().collect();
        let reorder = |at: &Affine| Affine {
            offset: at.offset,
            strides: order.iter().map(|&d| at.strides.get(d).copied().unwrap_or(0)).collect(),
        };
        for instr in &mut self.instrs {
            if let Some(at) = instr.kind.affine_mut() {
                *at = reorder(at);
            }
            // A fold over one element is that element.
            match instr.kind {
                InstrKind::Reduce { src, .. } if inner_dims.is_empty() => instr.kind = InstrKind::Cast { src },
                InstrKind::ArgReduce { .. } if inner_dims.is_empty() => {
                    instr.kind = InstrKind::Iota { at: reorder(&zero()) }
                }
                _ => {}
            }
        }
        let layout = Layout::contiguous(&self.cx.graph.nodes[root.0].outs[root.1].shape);
        let at = reorder(&linear(&self.root_index, &layout));
        let mut body = Loop {
            outer: outer_dims.iter().map(|&d| self.dims[d]).collect(),
            inner: inner_dims.iter().map(|&d| self.dims[d]).collect(),
            instrs: std::mem::take(&mut self.instrs),
            stores: Vec::new(),
        };
        set_levels(&mut body);
        // Rows were spread over the root's own axes, but the root turned out constant along them.
        let spread = at.strides[body.outer.len()..].iter().any(|&s| s != 0);
        if spread && body.instrs[value].level != Level::Inner {
            let fold = (0..self.cx.graph.nodes.len()).rev().find(|&n| {
                let op = &self.cx.graph.nodes[n].op;
                n < root.0 && matches!(op, Op::Reduce { .. } | Op::ArgReduce { .. }) && self.memo_has(n)
            });
            return Err((fold.unwrap_or(root.0), 0));
        }
        body.stores.push(Store { slot: self.cx.numbering.value(root.0, root.1), at, value });
        let work = match self.anchor {
            None => Work::Loop(body),
            Some((node, a, b)) => Work::Contract { node, a, b, epilogue: body },
        };
        Ok(Kernel { work, makes: vec![root] })
    }

    fn memo_has(&self, n: usize) -> bool {
        self.memo.keys().any(|(node, ..)| *node == n)
    }
}

/// Appends the factors of one axis to the domain and gives the axis as a function of them.
fn push_axis(dims: &mut Dims<usize>, factors: &[usize]) -> Affine {
    let mut at = zero();
    let mut factor = 1;
    let first = dims.len();
    dims.extend(factors.iter().copied());
    for d in (first..dims.len()).rev() {
        if dims[d] != 1 {
            add(&mut at, &axis(d, factor), 1);
        }
        factor *= dims[d] as i64;
    }
    at
}
