//! The interpreter: one task's blocks, register by register.

#[cfg(target_arch = "x86_64")]
use super::chain::{self, Link};
use super::copy::{elements_mut, part, whole, with_width, write};
use super::memory::Line;
use super::program::{BLOCK, Code, Entry, Program, Task};
use super::walk::{Place, Run, advance, unravel};
use super::{broken, fold, maps, simd};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::plan::{Origin, Reg};
use bytemuck::{cast_slice, cast_slice_mut};
use smallvec::SmallVec;
use std::cell::Cell as StdCell;
use std::mem::take;
use std::ops::Range;

/// A loop, what it reads and its parameters: what all tasks share.
pub struct Job<'a> {
    pub program: &'a Program,
    /// The bytes of each of the step's slots; empty for slots that are written.
    pub reads: &'a [&'a [u8]],
    pub scalars: &'a [Scalar],
    pub origins: &'a [Origin],
}

/// The part of a store's slot that a task writes.
#[derive(Default)]
pub struct Target<'a> {
    pub bytes: &'a mut [u8],
    /// The element number of the first byte.
    pub first: i64,
}

/// Where a register's value is.
#[derive(Clone, Copy, Default)]
pub struct Value<'a> {
    /// Read where it lies; `None` when it is in a buffer.
    pub slice: Option<&'a [u8]>,
    pub buffer: usize,
    pub bytes: usize,
    /// One element stands for the whole block.
    pub splat: bool,
    /// It was computed where its store wants it.
    pub stored: bool,
}

/// Room for a block of any dtype.
type Buffer = Box<[Line]>;

/// Memory that a thread keeps from task to task.
#[derive(Default)]
pub struct Scratch {
    pub buffers: Vec<Buffer>,
    /// For each fold the accumulators of a block, and their positions.
    lanes: Vec<[Buffer; 2]>,
    spare: Buffer,
}

thread_local! {
    static SCRATCH: StdCell<Scratch> = StdCell::default();
}

impl Scratch {
    fn fit(&mut self, buffers: usize, lanes: usize) {
        let fresh = || vec![Line::ZERO; BLOCK * 8 / Line::BYTES].into_boxed_slice();
        let missing = |b: &mut Buffer| {
            if b.is_empty() {
                *b = fresh();
            }
        };
        // An evaluation that failed halfway may have dropped a buffer.
        self.buffers.iter_mut().for_each(missing);
        self.lanes.iter_mut().flatten().for_each(missing);
        missing(&mut self.spare);
        self.buffers.resize_with(self.buffers.len().max(buffers), fresh);
        self.lanes.resize_with(self.lanes.len().max(lanes), || [fresh(), fresh()]);
    }
}

/// A task while it runs.
pub struct Frame<'a> {
    pub job: &'a Job<'a>,
    pub targets: SmallVec<[Target<'a>; 2]>,
    pub values: SmallVec<[Value<'a>; 32]>,
    cells: SmallVec<[fold::Cell; 4]>,
    pub scratch: Scratch,
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        // The threads that go on from here see what the task has streamed.
        simd::fence();
        SCRATCH.set(take(&mut self.scratch));
    }
}

pub fn outside() -> Error {
    broken("a loop reaches outside of a slot")
}

impl<'a> Frame<'a> {
    /// Begins a task that writes to `targets`, one for each store.
    pub fn new(job: &'a Job<'a>, targets: SmallVec<[Target<'a>; 2]>) -> Result<Frame<'a>> {
        let program = job.program;
        let mut scratch = SCRATCH.take();
        scratch.fit(program.buffers, program.folds.len());
        let values = SmallVec::from_elem(Value::default(), program.registers);
        let cells = SmallVec::from_elem([0; 2], program.folds.len());
        let mut frame = Frame { job, targets, values, cells, scratch };
        let place = frame.place(0, 0, 1);
        frame.eval_all(&program.uniform, &place)?;
        Ok(frame)
    }

    /// A block from the point `start` of the vector axes, at the point `fixed` of the others.
    fn place(&self, start: usize, fixed: usize, len: usize) -> Place<'a> {
        let p = self.job.program;
        let (along, across) = if p.outer_blocks { (&p.outer, &p.inner) } else { (&p.inner, &p.outer) };
        Place { sizes: along, start: unravel(along, start), fixed: unravel(across, fixed), len }
    }

    /// The task whole.
    pub fn run(&mut self, task: &Task) -> Result<()> {
        match self.job.program.outer_blocks {
            true => self.run_outer_blocks(task.outer.clone()),
            false => task.outer.clone().try_for_each(|row| {
                self.enter(row)?;
                for stage in 0..self.job.program.stages.len() {
                    self.start(stage);
                    self.pass(stage, row, task.inner.clone())?;
                    self.finish(stage, row)?;
                }
                self.leave(row)
            }),
        }
    }

    /// Blocks of rows at once; every point of `inner` is visited in turn.
    fn run_outer_blocks(&mut self, outer: Range<usize>) -> Result<()> {
        let p = self.job.program;
        let inner_len: usize = p.inner.iter().product();
        for first in outer.clone().step_by(BLOCK) {
            let mut place = self.place(first, 0, BLOCK.min(outer.end - first));
            for (stage, s) in p.stages.iter().enumerate() {
                self.eval_all(&p.before[stage], &place)?;
                for f in s.folds.clone() {
                    fold::start(p.folds[f].op, p.folds[f].of, cast_slice_mut(&mut self.scratch.lanes[f][0]), place.len);
                    self.scratch.lanes[f][1].fill(Line::ZERO);
                }
                place.fixed.fill(0);
                for position in 0..inner_len {
                    self.eval_all(&s.entries, &place)?;
                    s.folds.clone().for_each(|f| self.fold_lanes(f, position, place.len));
                    self.put_all(&s.stores, &place)?;
                    advance(&p.inner, &mut place.fixed);
                }
                place.fixed.fill(0);
                s.folds.clone().for_each(|f| self.finish_lanes(f, place.len));
            }
            self.eval_all(&p.before[p.stages.len()], &place)?;
            self.put_all(&p.outer_stores, &place)?;
        }
        Ok(())
    }

    /// Begins a row.
    pub fn enter(&mut self, row: usize) -> Result<()> {
        let place = self.place(0, row, 1);
        self.eval_all(&self.job.program.before[0], &place)
    }

    /// Begins a row's stage.
    pub fn start(&mut self, stage: usize) {
        let p = self.job.program;
        for f in p.stages[stage].folds.clone() {
            self.cells[f] = [0; 2];
            fold::start(p.folds[f].op, p.folds[f].of, &mut self.cells[f][..1], 1);
        }
    }

    /// A part of a row's stage.
    pub fn pass(&mut self, stage: usize, row: usize, inner: Range<usize>) -> Result<()> {
        let p = self.job.program;
        let s = &p.stages[stage];
        for first in inner.clone().step_by(BLOCK) {
            let place = self.place(first, row, BLOCK.min(inner.end - first));
            self.eval_all(&s.entries, &place)?;
            s.folds.clone().for_each(|f| self.fold_block(f, first, place.len));
            self.put_all(&s.stores, &place)?;
        }
        Ok(())
    }

    /// Ends a row's stage: its folds become values.
    pub fn finish(&mut self, stage: usize, row: usize) -> Result<()> {
        let p = self.job.program;
        for f in p.stages[stage].folds.clone() {
            let fold = &p.folds[f];
            let dst = &mut cast_slice_mut::<Line, u8>(&mut self.scratch.buffers[fold.buffer])[..fold.dtype.bytes()];
            match fold.find {
                true => dst.copy_from_slice(&(self.cells[f][1] as i32).to_ne_bytes()),
                false => fold::finish(fold.op, fold.of, &mut self.cells[f][..1], 1, dst),
            }
            self.set(fold.reg, fold.buffer, fold.dtype.bytes(), true);
        }
        let place = self.place(0, row, 1);
        self.eval_all(&p.before[stage + 1], &place)
    }

    /// Ends a row.
    pub fn leave(&mut self, row: usize) -> Result<()> {
        let place = self.place(0, row, 1);
        self.put_all(&self.job.program.outer_stores, &place)
    }

    /// The folds of the current row.
    pub fn cells(&mut self) -> &mut [fold::Cell] {
        &mut self.cells
    }

    pub fn set(&mut self, reg: Reg, buffer: usize, bytes: usize, splat: bool) {
        self.values[reg] = Value { slice: None, buffer, bytes, splat, stored: false };
    }

    pub fn bytes(&self, reg: Reg) -> &[u8] {
        let v = &self.values[reg];
        match v.slice {
            Some(slice) => slice,
            None => &cast_slice(&self.scratch.buffers[v.buffer])[..v.bytes],
        }
    }

    fn fold_block(&mut self, f: usize, position: usize, len: usize) {
        let fold = &self.job.program.folds[f];
        let mut cell = self.cells[f];
        let mut spare = take(&mut self.scratch.spare);
        let src = whole(self.bytes(fold.src), fold.of, len, &mut spare);
        match fold.find {
            true => fold::find_block(fold.op, fold.of, src, position, &mut cell),
            false => fold::fold_block(fold.op, fold.of, src, &mut cell),
        }
        self.scratch.spare = spare;
        self.cells[f] = cell;
    }

    fn fold_lanes(&mut self, f: usize, position: usize, len: usize) {
        let fold = &self.job.program.folds[f];
        let mut spare = take(&mut self.scratch.spare);
        let [mut words, mut at] = take(&mut self.scratch.lanes[f]);
        let src = whole(self.bytes(fold.src), fold.of, len, &mut spare);
        match fold.find {
            true => fold::find_lanes(
                fold.op,
                fold.of,
                src,
                position,
                cast_slice_mut(&mut words),
                &mut cast_slice_mut(&mut at)[..len],
            ),
            false => fold::fold_lanes(fold.op, fold.of, src, cast_slice_mut(&mut words), len),
        }
        self.scratch.lanes[f] = [words, at];
        self.scratch.spare = spare;
    }

    fn finish_lanes(&mut self, f: usize, len: usize) {
        let fold = &self.job.program.folds[f];
        let bytes = len * fold.dtype.bytes();
        let dst = &mut cast_slice_mut::<Line, u8>(&mut self.scratch.buffers[fold.buffer])[..bytes];
        let [words, at] = &mut self.scratch.lanes[f];
        match fold.find {
            true => cast_slice_mut::<u8, i32>(dst)
                .iter_mut()
                .zip(cast_slice::<Line, u64>(at))
                .for_each(|(d, &i)| *d = i as i32),
            false => fold::finish(fold.op, fold.of, cast_slice_mut(words), len, dst),
        }
        self.set(fold.reg, fold.buffer, bytes, len == 1);
    }

    fn eval_all(&mut self, entries: &'a [Entry], place: &Place<'a>) -> Result<()> {
        let mut rest = entries;
        while let [e, after @ ..] = rest {
            if e.chain > 1 && self.chain(&rest[..e.chain], place)? {
                rest = &rest[e.chain..];
                continue;
            }
            self.eval(e, place)?;
            rest = after;
        }
        Ok(())
    }

    /// Evaluates a chain at once; false when its links have to be evaluated one by one.
    #[cfg(target_arch = "x86_64")]
    fn chain(&mut self, entries: &[Entry], place: &Place) -> Result<bool> {
        let (first, last) = (&entries[0], &entries[entries.len() - 1]);
        let start = match first.code {
            Code::Unary { src, .. } => src,
            Code::Binary { lhs, rhs, .. } if self.values[lhs].splat => rhs,
            Code::Binary { lhs, .. } => lhs,
            _ => return Ok(false),
        };
        if self.values[start].splat || place.len < chain::TILE || !simd::wide() {
            return Ok(false);
        }
        let store = last.direct.map(|k| &self.job.program.stores[k]);
        let stream = store.is_some_and(|s| s.stream && s.map.single(place).is_some_and(|r| r.stride == 1));
        self.compute(last, place, &[start], |f, dst| {
            let mut from = start;
            let mut links: SmallVec<[Link; 16]> = SmallVec::new();
            for e in entries {
                links.push(match e.code {
                    Code::Unary { op, .. } => Link::Unary(op),
                    Code::Binary { op, lhs, rhs, .. } => {
                        let (swapped, reg) = (lhs != from, if lhs == from { rhs } else { lhs });
                        match cast_slice(f.bytes(reg)) {
                            &[other] => Link::Splat { op, swapped, other },
                            other => Link::Block { op, swapped, other },
                        }
                    }
                    _ => continue,
                });
                from = e.reg;
            }
            // SAFETY: `wide` has just seen the features that the function is compiled for.
            unsafe { chain::run(&links, cast_slice(f.bytes(start)), cast_slice_mut(dst), stream) }
        })?;
        Ok(true)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn chain(&mut self, _: &[Entry], _: &Place) -> Result<bool> {
        Ok(false)
    }

    fn eval(&mut self, e: &'a Entry, place: &Place<'a>) -> Result<()> {
        match &e.code {
            Code::Load { source, map, guard } => self.load(e, *source, map, *guard, place),
            Code::Gather { .. } => self.gather(e, place),
            Code::Param(param) => self.param(e, *param),
            Code::Iota(map) => self.fill(e, place, map.single(place).is_some_and(|r| r.stride == 0), |dst| {
                let dst: &mut [i32] = cast_slice_mut(dst);
                map.runs(place, |r| {
                    let part = dst.get_mut(r.at..(r.at + r.count).min(dst.len()))?;
                    (0i64..).zip(part).for_each(|(j, d)| *d = r.first.wrapping_add(j.wrapping_mul(r.stride)) as i32);
                    Some(())
                })
            }),
            Code::InBounds { map, size, and } => self.in_bounds(e, map, *size as i64, *and, place),
            Code::Random { distribution, map, params } => self.random(e, *distribution, map, params, place),
            &Code::Unary { op, of, src } => {
                self.compute(e, place, &[src], |f, dst| maps::unary(op, of, f.bytes(src), dst))
            }
            &Code::Binary { op, of, lhs, rhs } => {
                self.compute(e, place, &[lhs, rhs], |f, dst| maps::binary(op, of, f.bytes(lhs), f.bytes(rhs), dst))
            }
            &Code::Select { condition, on_true, on_false } => {
                let width = e.dtype.bytes();
                self.compute(e, place, &[condition, on_true, on_false], |f, dst| {
                    maps::select(width, f.bytes(condition), f.bytes(on_true), f.bytes(on_false), dst)
                })
            }
            &Code::Cast { from, src } => {
                self.compute(e, place, &[src], |f, dst| maps::cast(from, e.dtype, f.bytes(src), dst))
            }
        }
    }

    /// Applies a kernel to registers; to single elements when all of them are.
    #[inline]
    fn compute(&mut self, e: &Entry, place: &Place, regs: &[Reg], kernel: impl FnOnce(&Self, &mut [u8])) -> Result<()> {
        let splat = regs.iter().all(|&r| self.values[r].splat);
        let bytes = if splat { 1 } else { place.len } * e.dtype.bytes();
        if let Some(k) = e.direct
            && !(splat && place.len > 1)
            && let Some(range) = self.job.program.stores[k].map.single(place).and_then(|r| r.range())
        {
            let target = take(&mut self.targets[k]);
            let dst = part(target.bytes, target.first, range, e.dtype.bytes()).ok_or_else(outside)?;
            kernel(self, dst);
            self.targets[k] = target;
            self.values[e.reg].stored = true;
            return Ok(());
        }
        let mut buffer = take(&mut self.scratch.buffers[e.buffer]);
        kernel(self, &mut cast_slice_mut(&mut buffer)[..bytes]);
        self.scratch.buffers[e.buffer] = buffer;
        self.set(e.reg, e.buffer, bytes, splat || place.len == 1);
        Ok(())
    }

    /// Writes a register's buffer, one element when `splat`.
    pub fn fill(
        &mut self,
        e: &Entry,
        place: &Place,
        splat: bool,
        write: impl FnOnce(&mut [u8]) -> Option<()>,
    ) -> Result<()> {
        let splat = splat || place.len == 1;
        let bytes = if splat { 1 } else { place.len } * e.dtype.bytes();
        write(&mut cast_slice_mut(&mut self.scratch.buffers[e.buffer])[..bytes]).ok_or_else(outside)?;
        self.set(e.reg, e.buffer, bytes, splat);
        Ok(())
    }

    fn put_all(&mut self, stores: &[usize], place: &Place) -> Result<()> {
        stores.iter().try_for_each(|&k| self.put(k, place))
    }

    fn put(&mut self, k: usize, place: &Place) -> Result<()> {
        let store = &self.job.program.stores[k];
        if take(&mut self.values[store.value].stored) {
            return Ok(());
        }
        let Target { bytes, first } = take(&mut self.targets[k]);
        let src = self.bytes(store.value);
        let done = with_width!(store.bytes, T => {
            let (src, dst) = (cast_slice::<u8, T>(src), elements_mut::<T>(bytes));
            store.map.runs(place, |r| write(src, Run { first: r.first.wrapping_sub(first), ..r }, dst, store.stream))
        });
        self.targets[k] = Target { bytes, first };
        done.ok_or_else(outside)
    }
}
