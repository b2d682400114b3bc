//! What a loop becomes before it runs: its axes collapsed, its instructions sorted into stages, its registers given
//! buffers and its points divided among tasks. All of this is done once, when the plan is compiled.

use super::chain::{can_link, continues};
use super::domain::{prefer_outer_blocks, simplify};
use super::walk::Map;
use super::{broken, check};
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};
use crate::plan::{InstrKind, Level, Loop, Reg, Store};
use crate::random::Distribution;
use crate::shape::Dims;
use std::ops::Range;

/// Elements per block: a few blocks fit the first-level cache.
pub const BLOCK: usize = 1024;
/// Bytes of a slot from which on it is not expected to stay in the caches.
const LARGE: usize = 1 << 24;

/// A loop made ready.
#[derive(Debug)]
pub struct Program {
    /// Sizes of the kept axes, collapsed.
    pub outer: Dims<usize>,
    /// Sizes of the folded axes, collapsed.
    pub inner: Dims<usize>,
    /// Blocks run along `outer` and `inner` is walked point by point; else it is the other way round.
    pub outer_blocks: bool,
    /// Evaluated once per task.
    pub uniform: Vec<Entry>,
    /// Evaluated once per point of `outer`, before the stage of this number (or after the last).
    pub before: Vec<Vec<Entry>>,
    pub stages: Vec<Stage>,
    /// Stores of outer values, done last.
    pub outer_stores: Vec<usize>,
    pub stores: Vec<Put>,
    pub folds: Vec<Fold>,
    pub registers: usize,
    pub buffers: usize,
    pub tasks: Vec<Task>,
    /// Tasks write disjoint parts of memory, in order, and are worth several threads.
    pub parallel: bool,
    /// There are few rows and they are long: `tasks` are parts of rows, and each stage is a pass over all of them.
    pub split: bool,
}

/// One pass over `inner`.
#[derive(Debug, Default)]
pub struct Stage {
    pub entries: Vec<Entry>,
    /// Indices into [`Program::folds`].
    pub folds: Range<usize>,
    /// Indices into [`Program::stores`].
    pub stores: Vec<usize>,
}

/// An instruction with the buffer that its value goes to.
#[derive(Debug)]
pub struct Entry {
    pub reg: Reg,
    pub code: Code,
    pub dtype: DType,
    pub buffer: usize,
    /// The store that is this value's only use: it may be computed in place.
    pub direct: Option<usize>,
    /// How many entries from this one on are a chain; 0 when it begins none.
    pub chain: usize,
}

/// An instruction, its dtypes resolved.
#[derive(Debug)]
pub enum Code {
    Load { source: Source, map: Map, guard: Option<Reg> },
    Gather { slot: usize, map: Map, index: Reg, stride: i64, size: usize, guard: Option<Reg>, origin: usize },
    Param(usize),
    Iota(Map),
    InBounds { map: Map, size: usize, and: Option<Reg> },
    Random { distribution: Distribution, map: Map, params: [usize; 3] },
    Unary { op: UnaryOp, of: DType, src: Reg },
    Binary { op: BinaryOp, of: DType, lhs: Reg, rhs: Reg },
    Select { condition: Reg, on_true: Reg, on_false: Reg },
    Cast { from: DType, src: Reg },
}

/// What a load reads.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// A slot that nobody writes meanwhile.
    Slot(usize),
    /// The place that this store is going to write.
    Store(usize),
}

/// A store.
#[derive(Debug)]
pub struct Put {
    pub slot: usize,
    pub map: Map,
    pub value: Reg,
    pub bytes: usize,
    /// It writes so much that it had better write past the caches.
    pub stream: bool,
}

/// A fold.
#[derive(Debug)]
pub struct Fold {
    pub reg: Reg,
    pub op: ReduceOp,
    /// The position is wanted, not the value.
    pub find: bool,
    pub src: Reg,
    /// The type of `src`.
    pub of: DType,
    pub dtype: DType,
    pub buffer: usize,
}

/// A part of the domain, with the lowest and the highest element that each store writes there.
#[derive(Debug, Clone)]
pub struct Task {
    pub outer: Range<usize>,
    pub inner: Range<usize>,
    pub spans: Dims<(i64, i64)>,
}

impl Program {
    /// Prepares a checked loop. `local` gives a plan's slot its number within the step.
    pub fn new(l: &Loop, local: &dyn Fn(usize) -> usize) -> Result<Program> {
        check::check(l)?;
        let (outer, inner, affines) = simplify(l);
        let live = live(l);
        let outer_blocks = prefer_outer_blocks(l, &outer, &inner, &affines, &live);
        let map = |i: usize| {
            let (o, n) = (affines.outer[i].clone(), affines.inner[i].clone());
            let (vector, fixed) = if outer_blocks { (o, n) } else { (n, o) };
            Map { offset: affines.offsets[i], vector, fixed }
        };
        let stores: Vec<Put> = (l.stores.iter().enumerate())
            .map(|(k, s)| {
                let (instr, bytes) = (&l.instrs[s.value], l.instrs[s.value].dtype.bytes());
                let points = l.outer_len() * if instr.level == Level::Inner { l.inner_len() } else { 1 };
                let stream = points.saturating_mul(bytes) >= LARGE;
                Put { slot: local(s.slot), map: map(l.instrs.len() + k), value: s.value, bytes, stream }
            })
            .collect();
        let mut program = Program {
            outer_blocks,
            stores,
            registers: l.instrs.len(),
            uniform: Vec::new(),
            before: Vec::new(),
            stages: Vec::new(),
            outer_stores: Vec::new(),
            folds: Vec::new(),
            buffers: 0,
            tasks: Vec::new(),
            parallel: false,
            split: false,
            outer,
            inner,
        };
        program.sort_into_stages(l, &live, &|reg| entry(l, reg, map(reg), local))?;
        program.find_chains(l, &live);
        program.allocate_buffers(l);
        program.find_direct_stores(l, &live);
        program.divide(&affines, l.instrs.len(), live.iter().filter(|&&v| v).count());
        Ok(program)
    }

    /// Which stage evaluates what. A value needs as many stages before it as there are folds on its longest chain.
    fn sort_into_stages(&mut self, l: &Loop, live: &[bool], entry: &dyn Fn(Reg) -> Result<Entry>) -> Result<()> {
        let mut need = vec![0; l.instrs.len()];
        for (reg, instr) in l.instrs.iter().enumerate() {
            let before = instr.kind.operands().iter().map(|&r| need[r]).max().unwrap_or(0);
            need[reg] = before + instr.kind.is_fold() as usize;
        }
        let is_inner = |s: &Store| l.instrs[s.value].level == Level::Inner;
        let fold_stages = (0..need.len()).filter(|&r| live[r] && l.instrs[r].kind.is_fold()).map(|r| need[r]).max();
        let fold_stages = fold_stages.unwrap_or(0);
        // In-place loads are read again by every stage, so all stores of inner values wait for the last one.
        let store_stage = (l.stores.iter().filter(|s| is_inner(s)).map(|s| need[s.value]).max())
            .map(|stage| stage.max(fold_stages.saturating_sub(1)));
        let count = fold_stages.max(store_stage.map_or(0, |s| s + 1));
        self.before = (0..=count).map(|_| Vec::new()).collect();
        for (reg, instr) in l.instrs.iter().enumerate() {
            match instr.level {
                _ if !live[reg] || instr.kind.is_fold() => {}
                Level::Uniform => self.uniform.push(entry(reg)?),
                Level::Outer => self.before[need[reg]].push(entry(reg)?),
                Level::Inner => {}
            }
        }
        for stage in 0..count {
            let first = self.folds.len();
            let mut wanted = vec![false; l.instrs.len()];
            for (reg, instr) in l.instrs.iter().enumerate().filter(|(r, i)| live[*r] && i.kind.is_fold()) {
                if need[reg] == stage + 1 {
                    let fold = fold(reg, &instr.kind, instr.dtype, l)?;
                    wanted[fold.src] = true;
                    self.folds.push(fold);
                }
            }
            let stores = match store_stage == Some(stage) {
                true => (0..l.stores.len()).filter(|&k| is_inner(&l.stores[k])).collect(),
                false => Vec::new(),
            };
            stores.iter().for_each(|&k: &usize| wanted[l.stores[k].value] = true);
            let mut entries = Vec::new();
            for reg in (0..l.instrs.len()).rev().filter(|&r| l.instrs[r].level == Level::Inner) {
                if wanted[reg] {
                    l.instrs[reg].kind.operands().iter().for_each(|&r| wanted[r] = true);
                    entries.push(entry(reg)?);
                }
            }
            entries.reverse();
            self.stages.push(Stage { entries, folds: first..self.folds.len(), stores });
        }
        self.outer_stores = (0..l.stores.len()).filter(|&k| !is_inner(&l.stores[k])).collect();
        // Loads first: they cost no buffer where they are read in place, and what follows are longer chains.
        let lists = self.before.iter_mut().chain(self.stages.iter_mut().map(|s| &mut s.entries));
        lists.for_each(|list| list.sort_by_key(|e| !matches!(e.code, Code::Load { guard: None, .. })));
        Ok(())
    }

    /// Neighbours of which each is the only user of the one before.
    fn find_chains(&mut self, l: &Loop, live: &[bool]) {
        let uses = uses(l, live);
        let lists = self.before.iter_mut().chain(self.stages.iter_mut().map(|s| &mut s.entries));
        for list in lists {
            let mut first = 0;
            while first < list.len() {
                let next = |i: usize| {
                    let (e, from) = (&list[i], list[i - 1].reg);
                    uses[from] == 1 && can_link(&list[i - 1]) && continues(e, from)
                };
                let len = 1 + (first + 1..list.len()).take_while(|&i| next(i)).count();
                list[first].chain = if len > 1 { len } else { 0 };
                first += len;
            }
        }
    }

    /// A computed value that is only stored may be computed where it is stored, unless that place is still to be read.
    fn find_direct_stores(&mut self, l: &Loop, live: &[bool]) {
        let (uses, stores) = (uses(l, live), &self.stores);
        let direct = |list: &mut [Entry], wanted: &[usize]| {
            for i in 0..list.len() {
                let store = wanted.iter().copied().find(|&k| stores[k].value == list[i].reg);
                let read_later = |k: usize| {
                    let reads = |e: &Entry| matches!(e.code, Code::Load { source: Source::Store(s), .. } if s == k);
                    list[i + 1..].iter().any(reads)
                };
                // Only chains can write past the caches themselves.
                let fits = |k: usize| !stores[k].stream || ends_chain(list, i);
                list[i].direct = store.filter(|&k| uses[list[i].reg] == 1 && fits(k) && !read_later(k));
            }
        };
        for stage in &mut self.stages {
            let wanted = std::mem::take(&mut stage.stores);
            direct(&mut stage.entries, &wanted);
            stage.stores = wanted;
        }
        if let Some(list) = self.before.last_mut() {
            direct(list, &self.outer_stores);
        }
    }
}

/// Which values reach a store.
fn live(l: &Loop) -> Vec<bool> {
    let mut live = vec![false; l.instrs.len()];
    l.stores.iter().for_each(|s| live[s.value] = true);
    for reg in (0..l.instrs.len()).rev() {
        if live[reg] {
            l.instrs[reg].kind.operands().iter().for_each(|&r| live[r] = true);
        }
    }
    live
}

fn ends_chain(list: &[Entry], i: usize) -> bool {
    (0..i).any(|first| list[first].chain > 0 && first + list[first].chain == i + 1)
}

/// How often each value is used, by live instructions and by stores.
fn uses(l: &Loop, live: &[bool]) -> Vec<usize> {
    let mut uses = vec![0; l.instrs.len()];
    for (_, instr) in l.instrs.iter().enumerate().filter(|(r, _)| live[*r]) {
        instr.kind.operands().iter().for_each(|&r| uses[r] += 1);
    }
    l.stores.iter().for_each(|s| uses[s.value] += 1);
    uses
}

fn fold(reg: Reg, kind: &InstrKind, dtype: DType, l: &Loop) -> Result<Fold> {
    match *kind {
        InstrKind::Reduce { op, src } => {
            Ok(Fold { reg, op, find: false, src, of: l.instrs[src].dtype, dtype, buffer: 0 })
        }
        InstrKind::ArgReduce { op, src } => {
            Ok(Fold { reg, op, find: true, src, of: l.instrs[src].dtype, dtype, buffer: 0 })
        }
        _ => Err(broken("a map where a fold was expected")),
    }
}

fn entry(l: &Loop, reg: Reg, map: Map, local: &dyn Fn(usize) -> usize) -> Result<Entry> {
    let of = |r: Reg| l.instrs[r].dtype;
    let instr = &l.instrs[reg];
    let code = match instr.kind {
        InstrKind::Load { slot, guard, .. } => {
            let store = l.stores.iter().position(|s| s.slot == slot);
            Code::Load { source: store.map_or(Source::Slot(local(slot)), Source::Store), map, guard }
        }
        InstrKind::Gather { slot, index, stride, size, guard, origin, .. } => {
            Code::Gather { slot: local(slot), map, index, stride, size, guard, origin }
        }
        InstrKind::Param { param } => Code::Param(param),
        InstrKind::Iota { .. } => Code::Iota(map),
        InstrKind::InBounds { size, and, .. } => Code::InBounds { map, size, and },
        InstrKind::Random { distribution, params, .. } => Code::Random { distribution, map, params },
        InstrKind::Unary { op, src } => Code::Unary { op, of: of(src), src },
        InstrKind::Binary { op, lhs, rhs } => Code::Binary { op, of: of(lhs), lhs, rhs },
        InstrKind::Select { condition, on_true, on_false } => Code::Select { condition, on_true, on_false },
        InstrKind::Cast { src } => Code::Cast { from: of(src), src },
        InstrKind::Accumulator | InstrKind::Reduce { .. } | InstrKind::ArgReduce { .. } => {
            return Err(broken(format!("%{reg} cannot be evaluated here: {}", instr.kind)));
        }
    };
    Ok(Entry { reg, code, dtype: instr.dtype, buffer: 0, direct: None, chain: 0 })
}
