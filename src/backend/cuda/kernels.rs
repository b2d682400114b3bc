//! Compiled kernels, one for each text.

use super::Core;
use super::attention::Native;
use super::context::Context;
use super::nvrtc::{self, Target};
use super::translate::{Options, Translated, Uniforms, translate};
use crate::error::{Error, Result};
use crate::kernel::{self, KernelSource};
use cudarc::driver::sys;
use rayon::prelude::*;
use rustc_hash::FxHashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex};

/// A kernel on the device.
pub(super) struct Kernel {
    pub function: sys::CUfunction,
    pub translated: Translated,
    module: sys::CUmodule,
    context: Arc<Context>,
}

// SAFETY: the driver's handles may be used from any thread whose current context is theirs.
unsafe impl Send for Kernel {}
// SAFETY: as above.
unsafe impl Sync for Kernel {}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.context.current();
        // SAFETY: unloaded once; nothing that was started from it is lost, for the driver waits.
        unsafe { sys::cuModuleUnload(self.module) };
    }
}

type Key = (String, String, Uniforms);

/// By text, entry point, and how the uniform block reaches it.
#[derive(Default)]
pub(super) struct Kernels(Mutex<FxHashMap<Key, Arc<Kernel>>>);

/// Uniform blocks up to this size are kernel arguments; all arguments together may take 4 KiB.
const BY_VALUE: usize = 2048;

/// How a kernel's numbers reach it: those that differ from run to run lie in memory, so that a recorded graph holds.
pub(super) fn uniforms(source: &KernelSource) -> Uniforms {
    let varies = source.numbers.iter().any(|n| matches!(n, kernel::Number::Param { .. }));
    if varies || source.numbers.len() * 4 > BY_VALUE { Uniforms::Pointer } else { Uniforms::Value }
}

/// Whether a kernel's products and sums may be fused: long sums promise no order and no rounding in between, all else
/// computes what it says.
fn fused(source: &KernelSource) -> bool {
    source.trusted && ["matmul", "conv", "attention"].iter().any(|kind| source.name.starts_with(kind))
}

impl Core {
    /// The kernels of a plan. Those that are new are compiled side by side.
    pub(super) fn kernels(&self, sources: &[KernelSource]) -> Result<Vec<Arc<Kernel>>> {
        let key = |s: &KernelSource| (s.wgsl.clone(), s.entry.clone(), uniforms(s));
        let lock = || self.kernels.0.lock().unwrap_or_else(|e| e.into_inner());
        let mut missing: FxHashMap<Key, &KernelSource> = sources.iter().map(|s| (key(s), s)).collect();
        {
            let known = lock();
            missing.retain(|k, _| !known.contains_key(k));
        }
        let compiled: Vec<(Key, Translated, Vec<u8>)> = missing
            .into_par_iter()
            .map(|(key, source)| self.machine_code(source).map(|(translated, code)| (key, translated, code)))
            .collect::<Result<_>>()?;
        for (key, translated, code) in compiled {
            let kernel = self.load(translated, &code)?;
            lock().insert(key, Arc::new(kernel));
        }
        let known = lock();
        let find = |s: &KernelSource| known.get(&key(s)).cloned();
        sources.iter().map(|s| find(s).ok_or_else(|| self.context.error("a kernel was lost"))).collect()
    }

    /// A kernel that was written for this device.
    pub(super) fn native(&self, native: &Native) -> Result<Arc<Kernel>> {
        let key = (native.source.clone(), native.entry.to_owned(), Uniforms::Value);
        let lock = || self.kernels.0.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let target = Target { architecture: self.architecture, fused: true };
        let code = nvrtc::machine_code(&native.source, target)
            .map_err(|message| Error::Shader { name: native.entry.into(), message })?;
        let (entry, workgroup) = (native.entry.to_owned(), [native.threads, 1, 1]);
        let kernel = self.load(Translated { source: String::new(), entry, params: Vec::new(), workgroup }, &code)?;
        let which = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        // SAFETY: the function was loaded just now; a size that the device lacks is an error.
        let code = unsafe { sys::cuFuncSetAttribute(kernel.function, which, native.shared as i32) };
        self.context.check("cuFuncSetAttribute", code)?;
        let kernel = Arc::new(kernel);
        lock().insert(key, kernel.clone());
        Ok(kernel)
    }

    fn machine_code(&self, source: &KernelSource) -> Result<(Translated, Vec<u8>)> {
        let failed = |message: String| Error::Shader { name: source.name.into(), message };
        // CUDA's own conversions are exact.
        let native = source.trusted.then(|| kernel::with_native_halves(&source.wgsl, kernel::Rounding::Packing));
        let (module, info) = kernel::validate(source.name, native.as_ref().unwrap_or(&source.wgsl), source.matrices)?;
        let options = Options { trusted: source.trusted, uniforms: uniforms(source) };
        let translated = translate(&module, &info, &source.entry, &options).map_err(|e| failed(e.to_string()))?;
        let target = Target { architecture: self.architecture, fused: fused(source) };
        let code = nvrtc::machine_code(&translated.source, target).map_err(failed)?;
        Ok((translated, code))
    }

    fn load(&self, translated: Translated, code: &[u8]) -> Result<Kernel> {
        let context = &self.context;
        let name = CString::new(&translated.entry[..]).map_err(|_| context.error("a kernel's name holds a zero"))?;
        let (mut module, mut function) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the image is NVRTC's own and whole; PTX ends in a zero.
        context.check("cuModuleLoadData", unsafe { sys::cuModuleLoadData(&mut module, code.as_ptr().cast()) })?;
        // SAFETY: the name ends in a zero.
        let code = unsafe { sys::cuModuleGetFunction(&mut function, module, name.as_ptr()) };
        let kernel = Kernel { function, translated, module, context: context.clone() };
        context.check("cuModuleGetFunction", code)?;
        Ok(kernel)
    }
}
