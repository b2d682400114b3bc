//! The interpreter: one task's blocks, register by register.

#[cfg(target_arch = "x86_64")]
use super::chain::{self, Link};
use super::memory::Line;
use super::program::{BLOCK, Code, Entry, Program, Source, Task};
use super::walk::{Map, Place, Run, advance, unravel};
use super::{broken, fold, maps, random, simd};
use crate::dtype::{DType, Scalar};
use crate::error::{Error, Result};
use crate::plan::{Origin, Reg};
use crate::random::Distribution;
use crate::shape::{Dims, Layout};
use bytemuck::{Pod, cast_slice, cast_slice_mut};
use smallvec::SmallVec;
use std::cell::Cell as StdCell;
use std::mem::take;
use std::ops::Range;

/// Elements in a row from which on writing past the caches pays.
const STREAM: usize = 256;

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
struct Value<'a> {
    /// Read where it lies; `None` when it is in a buffer.
    slice: Option<&'a [u8]>,
    buffer: usize,
    bytes: usize,
    /// One element stands for the whole block.
    splat: bool,
    /// It was computed where its store wants it.
    stored: bool,
}

/// Room for a block of any dtype.
type Buffer = Box<[Line]>;

/// Memory that a thread keeps from task to task.
#[derive(Default)]
struct Scratch {
    buffers: Vec<Buffer>,
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
    job: &'a Job<'a>,
    targets: SmallVec<[Target<'a>; 2]>,
    values: SmallVec<[Value<'a>; 32]>,
    cells: SmallVec<[fold::Cell; 4]>,
    scratch: Scratch,
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        // The threads that go on from here see what the task has streamed.
        simd::fence();
        SCRATCH.set(take(&mut self.scratch));
    }
}

fn outside() -> Error {
    broken("a loop reaches outside of a slot")
}

/// The elements in `bytes`; a trailing partial element is ignored.
pub fn elements<T: Pod>(bytes: &[u8]) -> &[T] {
    cast_slice(&bytes[..bytes.len() / size_of::<T>() * size_of::<T>()])
}

/// The same, to write.
pub fn elements_mut<T: Pod>(bytes: &mut [u8]) -> &mut [T] {
    let whole = bytes.len() / size_of::<T>() * size_of::<T>();
    cast_slice_mut(&mut bytes[..whole])
}

/// Runs `$body` with `$t` standing for the unsigned integer of `$bytes` bytes.
macro_rules! with_width {
    ($bytes:expr, $t:ident => $body:expr) => {
        match $bytes {
            1 => {
                type $t = u8;
                $body
            }
            4 => {
                type $t = u32;
                $body
            }
            _ => {
                type $t = u64;
                $body
            }
        }
    };
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

    fn set(&mut self, reg: Reg, buffer: usize, bytes: usize, splat: bool) {
        self.values[reg] = Value { slice: None, buffer, bytes, splat, stored: false };
    }

    fn bytes(&self, reg: Reg) -> &[u8] {
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
    fn fill(
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

    fn param(&mut self, e: &Entry, param: usize) -> Result<()> {
        let scalar = *self.job.scalars.get(param).ok_or_else(|| broken("a parameter is missing"))?;
        let dst = cast_slice_mut::<Line, u8>(&mut self.scratch.buffers[e.buffer]);
        match e.dtype {
            DType::Bool => dst[0] = (scalar.to_f64() != 0.0) as u8,
            DType::U8 => dst[0] = scalar.to_i64() as u8,
            DType::U32 => dst[..4].copy_from_slice(&(scalar.to_i64() as u32).to_ne_bytes()),
            DType::I32 => dst[..4].copy_from_slice(&(scalar.to_i64() as i32).to_ne_bytes()),
            DType::I64 => dst[..8].copy_from_slice(&scalar.to_i64().to_ne_bytes()),
            DType::F32 => dst[..4].copy_from_slice(&(scalar.to_f64() as f32).to_ne_bytes()),
            DType::F64 => dst[..8].copy_from_slice(&scalar.to_f64().to_ne_bytes()),
        }
        self.set(e.reg, e.buffer, e.dtype.bytes(), true);
        Ok(())
    }

    /// A guard's truth values: none when it holds everywhere, one element when it is the same everywhere.
    fn guard(&self, guard: Option<Reg>) -> Option<&[u8]> {
        guard.map(|r| self.bytes(r)).filter(|g| *g != [1])
    }

    fn load(&mut self, e: &Entry, source: Source, map: &Map, guard: Option<Reg>, place: &Place<'a>) -> Result<()> {
        let width = e.dtype.bytes();
        let (shared, first) = match source {
            Source::Slot(slot) => (self.job.reads.get(slot).copied(), 0),
            Source::Store(k) => (None, self.targets[k].first),
        };
        let single = map.single(place).map(|r| Run { first: r.first.wrapping_sub(first), ..r });
        let unguarded = self.guard(guard).is_none();
        // A contiguous run is read where it lies.
        if let (Some(src), Some(range), true) = (shared, single.and_then(|r| r.range()), unguarded) {
            let slice = src.get(range.start * width..range.end.saturating_mul(width)).ok_or_else(outside)?;
            let splat = place.len == 1;
            self.values[e.reg] = Value { slice: Some(slice), buffer: 0, bytes: slice.len(), splat, stored: false };
            return Ok(());
        }
        if self.guard(guard) == Some(&[0]) {
            return self.fill(e, place, true, |dst| {
                dst.fill(0);
                Some(())
            });
        }
        let same = single.is_some_and(|r| r.stride == 0) && self.guard(guard).is_none_or(|g| g.len() == 1);
        let mut buffer = take(&mut self.scratch.buffers[e.buffer]);
        let splat = same || place.len == 1;
        let bytes = if splat { 1 } else { place.len } * width;
        let src = match source {
            Source::Slot(_) => shared.unwrap_or_default(),
            Source::Store(k) => &*self.targets[k].bytes,
        };
        let guard = self.guard(guard);
        with_width!(width, T => {
            let dst = &mut cast_slice_mut::<Line, T>(&mut buffer)[..bytes / width];
            map.runs(place, |r| {
                let r = Run { first: r.first.wrapping_sub(first), count: r.count.min(dst.len()), ..r };
                read(elements::<T>(src), r, guard, &mut dst[r.at..r.at + r.count])
            })
        })
        .ok_or_else(outside)?;
        self.scratch.buffers[e.buffer] = buffer;
        self.set(e.reg, e.buffer, bytes, splat);
        Ok(())
    }

    fn gather(&mut self, e: &Entry, place: &Place<'a>) -> Result<()> {
        let Code::Gather { slot, map, index, stride, size, guard, origin } = &e.code else { return Ok(()) };
        let width = e.dtype.bytes();
        let src = self.job.reads.get(*slot).copied().unwrap_or_default();
        let mut buffer = take(&mut self.scratch.buffers[e.buffer]);
        let guard = self.guard(*guard);
        let indices: &[i32] = cast_slice(self.bytes(*index));
        let still = map.single(place).is_some_and(|r| r.stride == 0);
        let splat = place.len == 1 || (still && indices.len() == 1 && guard.is_none_or(|g| g.len() == 1));
        let count = if splat { 1 } else { place.len };
        let mut wrong = None;
        let done = with_width!(width, T => {
            let (src, dst) = (elements::<T>(src), &mut cast_slice_mut::<Line, T>(&mut buffer)[..count]);
            map.runs(place, |r| {
                for (j, d) in dst.iter_mut().enumerate().skip(r.at).take(r.count) {
                    if guard.is_some_and(|g| g[j.min(g.len() - 1)] == 0) {
                        *d = 0;
                        continue;
                    }
                    let i = indices[j.min(indices.len() - 1)];
                    if i < 0 || i as usize >= *size {
                        wrong = Some(i as i64);
                        return None;
                    }
                    let at = r.first.wrapping_add(((j - r.at) as i64).wrapping_mul(r.stride));
                    *d = *src.get(usize::try_from(at.wrapping_add((i as i64).wrapping_mul(*stride))).ok()?)?;
                }
                Some(())
            })
        });
        self.scratch.buffers[e.buffer] = buffer;
        match (done, wrong) {
            (_, Some(index)) => Err(out_of_range(self.job.origins, *origin, index, *size)),
            (None, None) => Err(outside()),
            (Some(()), None) => {
                self.set(e.reg, e.buffer, count * width, splat);
                Ok(())
            }
        }
    }

    fn in_bounds(&mut self, e: &Entry, map: &Map, size: i64, and: Option<Reg>, place: &Place) -> Result<()> {
        let mut buffer = take(&mut self.scratch.buffers[e.buffer]);
        let same = map.single(place).map(|r| (r.count, r.within(size))).filter(|(n, w)| w.is_empty() || w.len() == *n);
        let and = self.guard(and);
        let splat =
            place.len == 1 || same.as_ref().is_some_and(|(_, w)| w.is_empty() || and.is_none_or(|a| a.len() == 1));
        let dst = &mut cast_slice_mut::<Line, u8>(&mut buffer)[..if splat { 1 } else { place.len }];
        let done = map.runs(place, |r| {
            let r = Run { count: r.count.min(dst.len()), ..r };
            let inside = r.within(size);
            let part = &mut dst[r.at..r.at + r.count];
            part.fill(0);
            part[inside].fill(1);
            Some(())
        });
        if let Some(and) = and {
            dst.iter_mut().enumerate().for_each(|(i, d)| *d &= and[i.min(and.len() - 1)]);
        }
        let bytes = dst.len();
        self.scratch.buffers[e.buffer] = buffer;
        done.ok_or_else(outside)?;
        self.set(e.reg, e.buffer, bytes, splat);
        Ok(())
    }

    fn random(
        &mut self,
        e: &Entry,
        distribution: Distribution,
        map: &Map,
        params: &[usize; 3],
        place: &Place,
    ) -> Result<()> {
        let mut source = [0; 3];
        for (word, &param) in source.iter_mut().zip(params) {
            *word = self.job.scalars.get(param).ok_or_else(|| broken("a parameter is missing"))?.to_i64() as u32;
        }
        self.fill(e, place, false, |dst| {
            let dst: &mut [u32] = cast_slice_mut(dst);
            map.runs(place, |r| {
                random::fill(distribution, source, r, dst.get_mut(r.at..r.at + r.count)?);
                Some(())
            })
        })
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

/// The error of an index outside of `0..size`.
pub fn out_of_range(origins: &[Origin], origin: usize, index: i64, size: usize) -> Error {
    match origins.get(origin) {
        Some(o) => Error::IndexOutOfRange { op: o.op, index, size, at: o.at },
        None => broken(format!("index {index} is out of range for an axis of size {size}")),
    }
}

/// A block of `len` elements, repeated into `spare` where one element stands for all.
fn whole<'s>(src: &'s [u8], dtype: DType, len: usize, spare: &'s mut [Line]) -> &'s [u8] {
    let width = dtype.bytes();
    if src.len() == len * width {
        return src;
    }
    with_width!(width, T => {
        let dst = &mut cast_slice_mut::<Line, T>(spare)[..len];
        dst.fill(cast_slice(src)[0]);
        cast_slice(dst)
    })
}

/// The bytes of elements `range` in memory whose first element is number `first`.
fn part(bytes: &mut [u8], first: i64, range: Range<usize>, width: usize) -> Option<&mut [u8]> {
    let start = usize::try_from((range.start as i64).checked_sub(first)?).ok()?.checked_mul(width)?;
    bytes.get_mut(start..start.checked_add(range.len().checked_mul(width)?)?)
}

/// Copies the elements of a run where the guard holds, and 0 elsewhere. `None` when that would leave `src`.
fn read<T: Pod>(src: &[T], run: Run, guard: Option<&[u8]>, dst: &mut [T]) -> Option<()> {
    match guard {
        None => copy(src, run, dst),
        Some(guard) => {
            let guard = &guard[run.at..run.at + run.count];
            let mut at = 0;
            while at < run.count {
                let open = guard[at] != 0;
                let count = guard[at..].iter().take_while(|&&g| (g != 0) == open).count();
                let part = &mut dst[at..at + count];
                match open {
                    true => copy(src, run.part(at, count), part)?,
                    false => part.fill(T::zeroed()),
                }
                at += count;
            }
            Some(())
        }
    }
}

/// Copies the elements of a run. `None` when that would leave `src`.
fn copy<T: Pod>(src: &[T], run: Run, dst: &mut [T]) -> Option<()> {
    if !run.inside(src.len()) {
        return None;
    }
    match run.stride {
        0 => dst.fill(src[run.first as usize]),
        1 => dst.copy_from_slice(&src[run.first as usize..][..dst.len()]),
        s if s > 0 => {
            dst.iter_mut().zip(src[run.first as usize..].iter().step_by(s as usize)).for_each(|(d, s)| *d = *s)
        }
        s => (0..).zip(dst).for_each(|(j, d)| *d = src[(run.first + j * s) as usize]),
    }
    Some(())
}

/// Copies a block's part to a run, past the caches if `stream`. `None` when that would leave `dst`.
fn write<T: Pod>(src: &[T], run: Run, dst: &mut [T], stream: bool) -> Option<()> {
    if !run.inside(dst.len()) {
        return None;
    }
    let first = run.first as usize;
    match (src.len(), run.stride) {
        (1, 1) => dst[first..first + run.count].fill(src[0]),
        (1, s) => (0..run.count as i64).for_each(|j| dst[(run.first + j * s) as usize] = src[0]),
        (_, 1) => {
            let (src, dst) = (&src[run.at..run.at + run.count], &mut dst[first..first + run.count]);
            match stream && run.count >= STREAM {
                true => simd::stream(cast_slice(src), cast_slice_mut(dst)),
                false => dst.copy_from_slice(src),
            }
        }
        (_, s) => (0..).zip(&src[run.at..run.at + run.count]).for_each(|(j, v)| dst[(run.first + j * s) as usize] = *v),
    }
    Some(())
}

/// A copy in row-major order of the elements that `layout` finds in `src`. `None` when it reaches outside.
pub fn pack<T: Pod>(src: &[T], layout: &Layout, sizes: &[usize]) -> Option<Vec<T>> {
    let len = sizes.iter().product();
    let mut dst = vec![T::zeroed(); len];
    let map = Map { offset: layout.offset, vector: layout.strides.clone(), fixed: Dims::new() };
    let place = Place { sizes, start: Dims::from_elem(0, sizes.len()), fixed: Dims::new(), len };
    match len {
        0 => {}
        _ => map.runs(&place, |r| copy(src, r, &mut dst[r.at..r.at + r.count]))?,
    }
    Some(dst)
}
