//! Where a block's values come from when they are not computed from others: memory, parameters, the point itself.

use super::copy::{elements, read, with_width};
use super::eval::{Frame, Value, outside};
use super::memory::Line;
use super::program::{Code, Entry, Source};
use super::walk::{Map, Place, Run};
use super::{broken, random};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::{Origin, Reg};
use crate::random::Distribution;
use bytemuck::{cast_slice, cast_slice_mut};
use half::{bf16, f16};
use std::mem::take;

impl<'a> Frame<'a> {
    pub fn param(&mut self, e: &Entry, param: usize) -> Result<()> {
        let scalar = *self.job.scalars.get(param).ok_or_else(|| broken("a parameter is missing"))?;
        let dst = cast_slice_mut::<Line, u8>(&mut self.scratch.buffers[e.buffer]);
        match e.dtype {
            DType::Bool => dst[0] = (scalar.to_f64() != 0.0) as u8,
            DType::U8 => dst[0] = scalar.to_i64() as u8,
            DType::U32 => dst[..4].copy_from_slice(&(scalar.to_i64() as u32).to_ne_bytes()),
            DType::I32 => dst[..4].copy_from_slice(&(scalar.to_i64() as i32).to_ne_bytes()),
            DType::I64 => dst[..8].copy_from_slice(&scalar.to_i64().to_ne_bytes()),
            DType::F16 => dst[..2].copy_from_slice(&f16::from_f32(scalar.to_f32(DType::F16)).to_ne_bytes()),
            DType::BF16 => dst[..2].copy_from_slice(&bf16::from_f32(scalar.to_f32(DType::BF16)).to_ne_bytes()),
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

    pub fn load(&mut self, e: &Entry, source: Source, map: &Map, guard: Option<Reg>, place: &Place<'a>) -> Result<()> {
        let width = e.dtype.bytes();
        let (shared, first) = match source {
            Source::Slot(slot) => (self.job.reads.get(slot).copied(), 0),
            Source::Store(k) => (None, self.targets[k].first),
        };
        let single = map.single(place).map(|r| Run { first: r.first.wrapping_sub(first), ..r });
        let unguarded = self.guard(guard).is_none();
        // A contiguous run is read where it lies.
        if let (Some(src), Some(range), true) = (shared, single.and_then(|r| r.range()), unguarded) {
            let slice =
                src.get(range.start.saturating_mul(width)..range.end.saturating_mul(width)).ok_or_else(outside)?;
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

    pub fn gather(&mut self, e: &Entry, place: &Place<'a>) -> Result<()> {
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

    pub fn in_bounds(&mut self, e: &Entry, map: &Map, size: i64, and: Option<Reg>, place: &Place) -> Result<()> {
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

    pub fn random(
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
}

/// The error of an index outside of `0..size`.
pub fn out_of_range(origins: &[Origin], origin: usize, index: i64, size: usize) -> Error {
    match origins.get(origin) {
        Some(o) => Error::IndexOutOfRange { op: o.op, index, size, at: o.at },
        None => broken(format!("index {index} is out of range for an axis of size {size}")),
    }
}
