//! Device memory: where it comes from, and how elements get into it and out again.

use super::Core;
use super::context::Context;
use super::graph::Event;
use crate::backend::origins::FLAG_BYTES;
use crate::backend::words::{narrow, widened};
use crate::device::{Block, BlockSource, Storage};
use crate::dtype::DType;
use crate::error::{Error, Result};
use cudarc::driver::sys::{self, CUresult};
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Host memory that the device copies to and from by itself; reads up to this size go through it.
const PINNED: usize = 1 << 20;

/// A piece of device memory.
pub(super) struct Memory {
    pub address: u64,
    bytes: usize,
    context: Arc<Context>,
    reserved: Arc<AtomicU64>,
}

impl Memory {
    /// Takes `bytes` from the device, aligned to 256.
    pub fn new(context: &Arc<Context>, reserved: &Arc<AtomicU64>, bytes: usize) -> Result<Memory> {
        let take = || {
            let mut address = 0;
            // SAFETY: the context is current; the driver writes one address.
            let code = unsafe {
                match context.pools {
                    true => sys::cuMemAllocAsync(&mut address, bytes, context.stream),
                    false => sys::cuMemAlloc_v2(&mut address, bytes),
                }
            };
            (code, address)
        };
        let (mut code, mut address) = take();
        if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            // What was freed a moment ago may still be on its way back.
            context.wait()?;
            (code, address) = take();
        }
        if code == CUresult::CUDA_ERROR_OUT_OF_MEMORY {
            let (mut free, mut total) = (0, 0);
            // SAFETY: writes two numbers.
            unsafe { sys::cuMemGetInfo_v2(&mut free, &mut total) };
            return Err(Error::OutOfMemory {
                device: context.name.clone(),
                requested: bytes as u64,
                reserved: reserved.load(Ordering::Relaxed),
                detail: format!("the device has {free} of {total} bytes free"),
            });
        }
        context.check("cuMemAllocAsync", code)?;
        reserved.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(Memory { address, bytes, context: context.clone(), reserved: reserved.clone() })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.reserved.fetch_sub(self.bytes as u64, Ordering::Relaxed);
        self.context.current();
        // SAFETY: the address is the driver's own and given back once; work that was asked before still finds it.
        unsafe {
            match self.context.pools {
                true => sys::cuMemFreeAsync(self.address, self.context.stream),
                false => sys::cuMemFree_v2(self.address),
            }
        };
    }
}

/// Host memory that the device copies to by itself.
pub(super) struct Pinned {
    address: *mut c_void,
    context: Arc<Context>,
}

// SAFETY: it is plain memory with one owner.
unsafe impl Send for Pinned {}

impl Pinned {
    fn new(context: &Arc<Context>) -> Result<Pinned> {
        let mut address = std::ptr::null_mut();
        // SAFETY: the context is current; the driver writes one address.
        context.check("cuMemAllocHost", unsafe { sys::cuMemAllocHost_v2(&mut address, PINNED + FLAG_BYTES) })?;
        Ok(Pinned { address, context: context.clone() })
    }

    fn bytes(&self, start: usize, length: usize) -> &[u8] {
        let length = length.min((PINNED + FLAG_BYTES).saturating_sub(start));
        // SAFETY: the range lies inside the allocation, and the device's copies into it were waited for.
        unsafe { std::slice::from_raw_parts(self.address.cast::<u8>().add(start), length) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.context.current();
        // SAFETY: given back once.
        unsafe { sys::cuMemFreeHost(self.address) };
    }
}

impl BlockSource for Core {
    fn allocate(&self, bytes: usize) -> Result<Block> {
        self.context.enter()?;
        self.check_size(bytes)?;
        let memory = Memory::new(&self.context, &self.reserved, bytes.max(256))?;
        Ok(Block { bytes, memory: Box::new(memory) })
    }
}

impl Core {
    /// An error when no single buffer may be this large.
    pub(super) fn check_size(&self, bytes: usize) -> Result<()> {
        let most = self.caps.max_buffer_bytes;
        if bytes as u64 <= most {
            return Ok(());
        }
        Err(Error::OutOfMemory {
            device: self.context.name.clone(),
            requested: bytes as u64,
            reserved: self.reserved.load(Ordering::Relaxed),
            detail: format!("it grants no buffer of more than {most} bytes"),
        })
    }

    /// Where a storage lies.
    pub(super) fn address(&self, storage: &Storage) -> Result<u64> {
        match storage.memory::<Memory>() {
            Some(memory) if Arc::ptr_eq(&memory.context, &self.context) => Ok(memory.address),
            _ => Err(self.context.error("a storage of another device was given to it")),
        }
    }

    /// See [`Backend::write`](crate::device::Backend::write).
    pub(super) fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        self.context.enter()?;
        let address = self.address(storage)?;
        let words = widened(dtype, bytes);
        if !bytes.len().is_multiple_of(dtype.bytes()) || words.len() > storage.bytes() {
            return Err(self.context.error(format!("{} bytes of {dtype} do not fit {storage:?}", bytes.len())));
        }
        if words.is_empty() {
            return Ok(());
        }
        // SAFETY: the range lies inside the storage; pageable memory has been read when the call returns.
        let code =
            unsafe { sys::cuMemcpyHtoDAsync_v2(address, words.as_ptr().cast(), words.len(), self.context.stream) };
        self.context.check("cuMemcpyHtoDAsync", code)
    }

    /// See [`Backend::copy_from`](crate::device::Backend::copy_from): from another GPU, or another backend's memory on
    /// the same one.
    pub(super) fn copy_from(&self, to: &Storage, from: &Storage, start: usize, bytes: usize) -> Result<bool> {
        let Some(memory) = from.memory::<Memory>() else { return Ok(false) };
        if start.checked_add(bytes).is_none_or(|end| end > from.bytes()) || bytes > to.bytes() {
            return Err(self.context.error(format!("bytes {start}.. ({bytes}) of {from:?} do not fit {to:?}")));
        }
        let (to, theirs, ours) = (self.address(to)?, &memory.context, &self.context);
        // What the other device was asked for comes first, and what it is asked for next comes after.
        theirs.enter()?;
        let written = Event::new(theirs)?;
        written.record()?;
        ours.enter()?;
        written.precede(ours)?;
        // SAFETY: both ranges lie inside their allocations, and both contexts are alive.
        let code = unsafe {
            let address = memory.address + start as u64;
            sys::cuMemcpyPeerAsync(to, ours.raw(), address, theirs.raw(), bytes, ours.stream)
        };
        ours.check("cuMemcpyPeerAsync", code)?;
        let copied = Event::new(ours)?;
        copied.record()?;
        theirs.enter()?;
        copied.precede(theirs)?;
        ours.enter().map(|()| true)
    }

    /// See [`Backend::read`](crate::device::Backend::read).
    pub(super) fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()> {
        self.context.enter()?;
        let address = self.address(storage)?;
        let (wide, count) = (self.caps.bytes_of(dtype), out.len() / dtype.bytes());
        let end = start.checked_add(count).and_then(|n| n.checked_mul(wide)).filter(|&end| end <= storage.bytes());
        if end.is_none() || !out.len().is_multiple_of(dtype.bytes()) {
            return Err(self
                .context
                .error(format!("elements {start}.. ({count} of {dtype}) are not all in {storage:?}")));
        }
        let address = address + (start * wide) as u64;
        if wide == dtype.bytes() {
            return self.download(address, out);
        }
        let mut words = vec![0; count * wide];
        self.download(address, &mut words)?;
        narrow(dtype, &words, out);
        Ok(())
    }

    /// Copies memory to the host, after the error flags if a kernel may have set them.
    pub(super) fn download(&self, address: u64, out: &mut [u8]) -> Result<()> {
        let context = &self.context;
        let flags = self.flags.pending();
        let mut kept = self.pinned.lock().unwrap_or_else(|e| e.into_inner());
        let pinned = match kept.take() {
            Some(pinned) => pinned,
            None => Pinned::new(context)?,
        };
        let copy = |to: *mut c_void, from: u64, bytes: usize| {
            // SAFETY: `to` has room for the bytes and outlives the wait below; they lie inside the source.
            context.check("cuMemcpyDtoHAsync", unsafe { sys::cuMemcpyDtoHAsync_v2(to, from, bytes, context.stream) })
        };
        if flags {
            copy(pinned.address, self.flags.address(), FLAG_BYTES)?;
        }
        if out.len() > PINNED {
            copy(out.as_mut_ptr().cast(), address, out.len())?;
        } else if !out.is_empty() {
            copy(pinned.address.wrapping_byte_add(FLAG_BYTES), address, out.len())?;
        }
        context.wait()?;
        if out.len() <= PINNED {
            out.copy_from_slice(pinned.bytes(FLAG_BYTES, out.len()));
        }
        let told = if flags { self.flags.take(pinned.bytes(0, FLAG_BYTES)) } else { Ok(()) };
        *kept = Some(pinned);
        told
    }
}
