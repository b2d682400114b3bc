//! What kernels report: the first index outside its axis, as words that the next read sees before its data.

use super::context::Context;
use super::memory::Memory;
use crate::backend::origins::{FLAG_BYTES, Origins};
use crate::error::Result;
use crate::plan::Origin;
use cudarc::driver::sys;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) struct Flags {
    memory: Memory,
    context: Arc<Context>,
    /// A kernel that reports has run since the flags were last read.
    pending: AtomicBool,
    origins: Origins,
}

impl Flags {
    pub fn new(context: &Arc<Context>) -> Result<Flags> {
        let memory = Memory::new(context, &Arc::default(), 256)?;
        let flags =
            Flags { memory, context: context.clone(), pending: AtomicBool::new(false), origins: Origins::default() };
        flags.clear()?;
        Ok(flags)
    }

    pub fn address(&self) -> u64 {
        self.memory.address
    }

    /// What the device calls an origin.
    pub fn tag(&self, origin: &Origin) -> u32 {
        self.origins.tag(origin)
    }

    /// Says whether kernels that report are being started.
    pub fn expect(&self, reports: bool) {
        self.pending.fetch_or(reports, Ordering::AcqRel);
    }

    /// True once after that.
    pub fn pending(&self) -> bool {
        self.pending.swap(false, Ordering::AcqRel)
    }

    /// The error that these flags tell of; the device's own are cleared for the next.
    pub fn take(&self, bytes: &[u8]) -> Result<()> {
        let told = self.origins.error(&self.context.name, bytes);
        if told.is_err() {
            self.clear()?;
        }
        told
    }

    fn clear(&self) -> Result<()> {
        // SAFETY: the range lies inside the memory.
        let code = unsafe { sys::cuMemsetD8Async(self.memory.address, 0, FLAG_BYTES, self.context.stream) };
        self.context.check("cuMemsetD8Async", code)
    }
}
