//! The CPU's memory: cache lines behind a lock, and how a step holds what it reads and writes.

use super::broken;
use crate::device::{Block, BlockSource, MemoryManager, Storage};
use crate::error::{Error, Result};
use bytemuck::{Pod, Zeroable};
use smallvec::SmallVec;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// As much memory as a cache line: what starts on one is read and written by whole vectors, without straddling two.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Line([u64; 8]);

impl Line {
    /// All zeros.
    pub const ZERO: Line = Line([0; 8]);
    /// Bytes of one.
    pub const BYTES: usize = size_of::<Line>();
}

/// A block's memory.
#[derive(Debug)]
pub struct Memory(RwLock<Vec<Line>>);

impl Memory {
    /// Holds it for reading.
    pub fn read(&self) -> RwLockReadGuard<'_, Vec<Line>> {
        // A panic elsewhere leaves elements of some value; what they mean is for the plan to know.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds it for writing.
    pub fn write(&self) -> RwLockWriteGuard<'_, Vec<Line>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Heap;

impl BlockSource for Heap {
    fn allocate(&self, bytes: usize) -> Result<Block> {
        let count = bytes.div_ceil(Line::BYTES);
        let mut lines: Vec<Line> = Vec::new();
        lines.try_reserve_exact(count).map_err(|e| Error::OutOfMemory {
            device: "cpu".into(),
            requested: bytes as u64,
            reserved: 0,
            detail: e.to_string(),
        })?;
        lines.resize(count, Line::ZERO);
        Ok(Block { bytes, memory: Box::new(Memory(RwLock::new(lines))) })
    }
}

/// Memory of `bytes` from `manager`.
pub fn allocate(bytes: usize, manager: &Arc<dyn MemoryManager>) -> Result<Storage> {
    Storage::new(bytes, manager, &Heap).map_err(|error| match error {
        Error::OutOfMemory { device, requested, detail, .. } => {
            Error::OutOfMemory { device, requested, reserved: manager.stats().reserved, detail }
        }
        other => other,
    })
}

/// The memory behind a storage of this backend.
pub fn of(storage: &Storage) -> Result<&Memory> {
    storage.memory().ok_or_else(|| broken("a storage of another backend"))
}

/// Copies `bytes` from byte `start` of one storage to the start of another; false where one is not of this kind.
pub fn copy(to: &Storage, from: &Storage, start: usize, bytes: usize) -> Result<bool> {
    let (Some(source), Some(target)) = (from.memory::<Memory>(), to.memory::<Memory>()) else { return Ok(false) };
    if from.id() == to.id() {
        return Ok(false);
    }
    // In the order of their ids, as steps lock them.
    let (source, mut target) = if from.id() < to.id() {
        let source = source.read();
        (source, target.write())
    } else {
        let target = target.write();
        (source.read(), target)
    };
    let end = start.checked_add(bytes).filter(|&end| end <= from.bytes() && bytes <= to.bytes());
    let (src, dst): (&[u8], &mut [u8]) = (bytemuck::cast_slice(&source), bytemuck::cast_slice_mut(&mut target));
    match (end.and_then(|end| src.get(start..end)), dst.get_mut(..bytes)) {
        (Some(src), Some(dst)) => dst.copy_from_slice(src),
        _ => return Err(broken(format!("bytes {start}.. ({bytes}) of {from:?} do not fit {to:?}"))),
    }
    Ok(true)
}

/// The slots that a step touches, each once. A slot's place in here is its number within the step.
#[derive(Debug, Default)]
pub struct Uses(Vec<(usize, bool)>);

impl Uses {
    /// Those of `reads` and `writes`.
    pub fn new(reads: impl IntoIterator<Item = usize>, writes: impl IntoIterator<Item = usize>) -> Uses {
        let mut uses = Uses::default();
        writes.into_iter().for_each(|slot| uses.add(slot, true));
        reads.into_iter().for_each(|slot| uses.add(slot, false));
        uses
    }

    fn add(&mut self, slot: usize, written: bool) {
        if !self.0.iter().any(|&(s, _)| s == slot) {
            self.0.push((slot, written));
        }
    }

    /// The number of a slot within the step; one beyond the last for a slot that it does not touch.
    pub fn local(&self, slot: usize) -> usize {
        self.0.iter().position(|&(s, _)| s == slot).unwrap_or(self.0.len())
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Locks them all, each storage once and in the order of their ids, so that steps of two threads never wait for
    /// each other in a circle.
    pub fn hold<'s>(&self, slots: &'s [Arc<Storage>]) -> Result<Held<'s>> {
        let mut wanted: SmallVec<[(u64, bool, &'s Storage); 8]> = SmallVec::new();
        for &(slot, written) in &self.0 {
            let storage = slots.get(slot).ok_or_else(|| broken(format!("slot {slot} has no storage")))?;
            match wanted.iter_mut().find(|(id, ..)| *id == storage.id()) {
                Some(known) => known.1 |= written,
                None => wanted.push((storage.id(), written, storage)),
            }
        }
        wanted.sort_unstable_by_key(|(id, ..)| *id);
        let mut held = Held { guards: SmallVec::new(), index: SmallVec::new() };
        for &(id, written, storage) in &wanted {
            let memory = of(storage)?;
            let guard = if written { Guard::Write(memory.write()) } else { Guard::Read(memory.read()) };
            held.guards.push((id, storage.bytes(), guard));
        }
        for &(slot, _) in &self.0 {
            held.index.push(held.guards.iter().position(|(id, ..)| *id == slots[slot].id()).unwrap_or(0));
        }
        Ok(held)
    }
}

enum Guard<'s> {
    Read(RwLockReadGuard<'s, Vec<Line>>),
    Write(RwLockWriteGuard<'s, Vec<Line>>),
}

/// A step's slots while it runs.
pub struct Held<'s> {
    guards: SmallVec<[(u64, usize, Guard<'s>); 8]>,
    /// Which guard holds each of the step's slots.
    index: SmallVec<[usize; 8]>,
}

enum View<'h> {
    Read(&'h [u8]),
    Write(&'h mut [u8]),
    Taken,
}

/// The bytes of a step's slots: read ones may be shared, written ones are given out once.
pub struct Views<'h> {
    views: SmallVec<[View<'h>; 8]>,
    index: SmallVec<[usize; 8]>,
}

impl Held<'_> {
    /// The bytes of all slots.
    pub fn views(&mut self) -> Views<'_> {
        let views = self.guards.iter_mut().map(|(_, bytes, guard)| match guard {
            Guard::Read(lines) => {
                let all: &[u8] = bytemuck::cast_slice(lines);
                View::Read(&all[..all.len().min(*bytes)])
            }
            Guard::Write(lines) => {
                let all: &mut [u8] = bytemuck::cast_slice_mut(lines);
                let bytes = all.len().min(*bytes);
                View::Write(&mut all[..bytes])
            }
        });
        Views { views: views.collect(), index: self.index.clone() }
    }
}

impl<'h> Views<'h> {
    /// The bytes of a slot that is only read; none of one that is written or not there.
    pub fn shared(&self, local: usize) -> &'h [u8] {
        match self.index.get(local).map(|&i| &self.views[i]) {
            Some(View::Read(bytes)) => bytes,
            _ => &[],
        }
    }

    /// The bytes of a slot that is written; an error when they were given out before.
    pub fn take(&mut self, local: usize) -> Result<&'h mut [u8]> {
        let view = self.index.get(local).map(|&i| std::mem::replace(&mut self.views[i], View::Taken));
        match view {
            Some(View::Write(bytes)) => Ok(bytes),
            _ => Err(broken("two of a step's slots are the same storage, and it is written")),
        }
    }
}
