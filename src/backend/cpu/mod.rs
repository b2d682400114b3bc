//! The CPU backend: it interprets plans, block by block, on all cores. Plain enough to be the judge of the others.
//!
//! - `program` turns a loop into stages, buffers and tasks, once; `run` spreads the tasks over threads and `eval`
//!   evaluates one of them; `maps`, `chain`, `fold` and `random` are its kernels, `walk` its addresses.
//! - `contract` (matrix products), `conv`, `attention`, `scatter`, `scan` and `sort` are the other steps.

mod attention;
mod buffers;
mod chain;
mod check;
mod contract;
mod conv;
mod copy;
mod domain;
mod eval;
mod fold;
mod half;
mod maps;
mod math;
mod memory;
mod num;
mod program;
mod random;
mod run;
mod scan;
mod scatter;
mod simd;
mod sort;
mod sources;
mod steps;
mod walk;

#[cfg(test)]
mod tests;

use crate::backend::CachingManager;
use crate::device::{Backend, Caps, Executable, MemoryManager, MemoryStats, Storage};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::Plan;
use std::sync::Arc;

/// Runs plans on the processor, on rayon's threads. All dtypes; results are the same bits on any number of threads.
#[derive(Debug)]
pub struct CpuBackend {
    caps: Caps,
    manager: Arc<dyn MemoryManager>,
}

impl CpuBackend {
    /// A backend whose memory is kept by a [`CachingManager`].
    pub fn new() -> Arc<CpuBackend> {
        CpuBackend::with_memory(Arc::new(CachingManager::new()))
    }

    /// A backend that takes its memory from `manager`.
    pub fn with_memory(manager: Arc<dyn MemoryManager>) -> Arc<CpuBackend> {
        Arc::new(CpuBackend { caps: caps(), manager })
    }
}

fn caps() -> Caps {
    let threads = crate::parallel::threads();
    let vectors = if simd::wide() { "AVX2 + FMA" } else { "portable vectors" };
    let plural = if threads == 1 { "" } else { "s" };
    Caps {
        hardware: processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        driver: format!("rayon, {threads} thread{plural}, {vectors}"),
        software: false,
        dtypes: DType::ALL.to_vec(),
        max_buffers_per_kernel: 64,
        max_buffer_bytes: isize::MAX as u64,
        wide_bytes: false,
        notes: vec![
            ("threads".into(), threads.to_string()),
            ("vectors".into(), vectors.into()),
            ("block".into(), format!("{} elements", program::BLOCK)),
        ],
    }
}

/// The processor's own name, where Linux tells it.
fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

impl Backend for CpuBackend {
    fn caps(&self) -> &Caps {
        &self.caps
    }

    fn allocate(&self, bytes: usize) -> Result<Storage> {
        memory::allocate(bytes, &self.manager)
    }

    fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        let mut lines = memory::of(storage)?.write();
        let dst: &mut [u8] = bytemuck::cast_slice_mut(&mut lines);
        let dst = dst.get_mut(..bytes.len()).filter(|_| bytes.len() <= storage.bytes());
        let dst = dst.ok_or_else(|| broken("a write of more bytes than the storage has"))?;
        match dtype {
            DType::Bool => dst.iter_mut().zip(bytes).for_each(|(d, &b)| *d = (b != 0) as u8),
            _ => dst.copy_from_slice(bytes),
        }
        Ok(())
    }

    fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()> {
        let lines = memory::of(storage)?.read();
        let src: &[u8] = bytemuck::cast_slice(&lines);
        let range = || {
            let from = start.checked_mul(dtype.bytes())?;
            let to = from.checked_add(out.len())?;
            (to <= storage.bytes() && out.len().is_multiple_of(dtype.bytes())).then(|| src.get(from..to))?
        };
        out.copy_from_slice(range().ok_or_else(|| broken("a read of more elements than the storage has"))?);
        Ok(())
    }

    fn copy_from(&self, to: &Storage, from: &Storage, start: usize, bytes: usize) -> Result<bool> {
        memory::copy(to, from, start, bytes)
    }

    fn compile(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>> {
        Ok(Box::new(steps::CpuPlan::new(plan, self.manager.clone())?))
    }

    /// Nothing to wait for: `run` returns when the work is done.
    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn memory(&self) -> MemoryStats {
        self.manager.stats()
    }
}

/// The error of a plan that breaks the rules, or of a storage that is not ours.
fn broken(detail: impl Into<String>) -> Error {
    Error::Backend { device: "cpu".into(), detail: detail.into() }
}
