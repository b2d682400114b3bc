//! A plan made ready: its kernels and products, their numbers, and the graphs that replay them.

use super::Core;
use super::graph::{Event, Graph};
use super::kernels::{Kernel, uniforms};
use super::matmul::{self, Lowered, Place};
use super::memory::Memory;
use super::product::{Places, Problem, Product};
use super::translate::{Param, Uniforms};
use crate::device::{Executable, MemoryManager, Storage};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::kernel::{self, KernelSource};
use crate::plan::{Plan, Step};
use cudarc::driver::sys;
use smallvec::SmallVec;
use std::ffi::c_void;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

/// Recorded graphs kept for each plan: the memory manager hands the same few addresses out again and again.
const GRAPHS: usize = 8;

/// Fewer launches than this are as fast one by one.
const WORTH_RECORDING: usize = 3;

/// Runs that may be under way at once; one more waits for the oldest.
const IN_FLIGHT: usize = 8;

pub(super) struct CudaExecutable {
    core: Arc<Core>,
    plan: Arc<Plan>,
    launches: Vec<Launch>,
    /// The uniform blocks of all kernels whose numbers differ from run to run.
    numbers: Option<Memory>,
    number_bytes: usize,
    /// Where products are written that have no other place; a slot after the plan's own.
    scratch: Option<Storage>,
    /// For each of the plan's origins, its name on the device.
    tags: Vec<u32>,
    reports: bool,
    /// Also orders the runs, each with its numbers.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the numbers were last written for.
    scalars: Option<Vec<Scalar>>,
    /// Addresses that were met and not recorded yet.
    met: Vec<Addresses>,
    /// The last used is the last.
    graphs: Vec<(Addresses, Graph)>,
}

/// All that a recorded run depends on: where each slot lies, and whether products are TF32.
type Addresses = (SmallVec<[u64; 16]>, bool);

enum Launch {
    Kernel(KernelLaunch),
    Product(Box<ProductLaunch>),
}

struct KernelLaunch {
    source: KernelSource,
    kernel: Arc<Kernel>,
    /// Its numbers, where they are an argument.
    words: Vec<u8>,
    /// Where they begin in the memory of numbers, where they are not.
    offset: usize,
}

struct ProductLaunch {
    lowered: Lowered,
    /// In f32, and in TF32 when that was first asked for.
    products: Mutex<(Product, Option<Product>)>,
}

/// What becomes of a step before its kernels are compiled.
enum Draft {
    Kernel(KernelSource),
    Product(Box<(Lowered, Product)>),
}

impl CudaExecutable {
    pub fn new(core: &Arc<Core>, memory: &Arc<dyn MemoryManager>, plan: Arc<Plan>) -> Result<CudaExecutable> {
        core.context.enter()?;
        let tags: Vec<u32> = plan.origins.iter().map(|o| core.flags.tag(o)).collect();
        let drafts = core.drafts(&plan)?;
        let sources: Vec<KernelSource> = drafts
            .iter()
            .filter_map(|d| if let Draft::Kernel(source) = d { Some(source.clone()) } else { None })
            .collect();
        sources.iter().try_for_each(|s| core.check_launch(s))?;
        let mut kernels = core.kernels(&sources)?.into_iter();
        let (mut launches, mut number_bytes, mut scratch_bytes) = (Vec::new(), 0usize, 0);
        for draft in drafts {
            launches.push(match draft {
                Draft::Product(both) => {
                    let (lowered, strict) = *both;
                    scratch_bytes = scratch_bytes.max(lowered.scratch);
                    Launch::Product(Box::new(ProductLaunch { lowered, products: Mutex::new((strict, None)) }))
                }
                Draft::Kernel(source) => {
                    let kernel = kernels.next().ok_or_else(|| core.context.error("a kernel was lost"))?;
                    let (mut words, mut offset) = (Vec::new(), 0);
                    match uniforms(&source) {
                        Uniforms::Value => words = block(&source, &[], &tags),
                        Uniforms::Pointer => {
                            offset = number_bytes;
                            number_bytes = (offset + block_bytes(&source)).next_multiple_of(256);
                        }
                    }
                    Launch::Kernel(KernelLaunch { source, kernel, words, offset })
                }
            });
        }
        let numbers = match number_bytes {
            0 => None,
            bytes => Some(Memory::new(&core.context, &core.reserved, bytes)?),
        };
        let scratch = match scratch_bytes {
            0 => None,
            bytes => Some(Storage::new(bytes, memory, &**core)?),
        };
        let reports = sources.iter().any(|s| s.flags);
        let state = Mutex::default();
        let core = core.clone();
        Ok(CudaExecutable { core, plan, launches, numbers, number_bytes, scratch, tags, reports, state })
    }

    /// Writes the numbers, unless those that are there still hold. Runs that are under way have theirs: writes take
    /// their turn in the stream.
    fn write_numbers(&self, state: &mut State, scalars: &[Scalar]) -> Result<()> {
        let Some(numbers) = self.numbers.as_ref().filter(|_| state.scalars.as_deref() != Some(scalars)) else {
            return Ok(());
        };
        let mut bytes = vec![0u8; self.number_bytes];
        for launch in &self.launches {
            if let Launch::Kernel(KernelLaunch { source, words, offset, .. }) = launch
                && words.is_empty()
            {
                let block = block(source, scalars, &self.tags);
                bytes[*offset..offset + block.len()].copy_from_slice(&block);
            }
        }
        let (from, stream) = (bytes.as_ptr().cast(), self.core.context.stream);
        // SAFETY: the range lies inside the memory; pageable memory has been read when the call returns.
        let code = unsafe { sys::cuMemcpyHtoDAsync_v2(numbers.address, from, bytes.len(), stream) };
        self.core.context.check("cuMemcpyHtoDAsync", code)?;
        state.scalars = Some(scalars.to_vec());
        Ok(())
    }

    /// An error when a kernel would write memory that another of its slots shares.
    fn check_aliases(&self, addresses: &[u64]) -> Result<()> {
        for launch in &self.launches {
            let Launch::Kernel(KernelLaunch { source, .. }) = launch else { continue };
            let at = |i: usize| addresses.get(source.bindings[i].slot);
            for (i, binding) in source.bindings.iter().enumerate().filter(|(_, b)| b.writes) {
                if (0..source.bindings.len()).any(|j| i != j && at(i) == at(j)) {
                    let slot = binding.slot;
                    return Err(self
                        .core
                        .context
                        .error(format!("slot {slot} is written while another shares its memory")));
                }
            }
        }
        Ok(())
    }

    /// Asks a stream for the whole plan.
    fn ask(&self, stream: sys::CUstream, addresses: &Addresses, sizes: &[usize]) -> Result<()> {
        for launch in &self.launches {
            match launch {
                Launch::Kernel(launch) => self.start(launch, stream, &addresses.0, sizes)?,
                Launch::Product(launch) => self.core.multiply(launch, stream, &addresses.0, addresses.1)?,
            }
        }
        Ok(())
    }

    fn start(&self, launch: &KernelLaunch, stream: sys::CUstream, addresses: &[u64], sizes: &[usize]) -> Result<()> {
        let [x, y, z] = launch.source.dispatch;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        let core = &self.core;
        let missing = || core.context.error(format!("the kernel '{}' lacks a slot", launch.source.name));
        let slot = |binding: u32| launch.source.bindings.get(binding as usize).map(|b| b.slot);
        let mut words: SmallVec<[u64; 24]> = SmallVec::new();
        for param in &launch.kernel.translated.params {
            words.push(match *param {
                Param::Buffer { binding, .. } => match slot(binding) {
                    Some(slot) => *addresses.get(slot).ok_or_else(missing)?,
                    None => core.flags.address(),
                },
                Param::Uniform { value: true, .. } => 0,
                Param::Uniform { .. } => self.numbers.as_ref().ok_or_else(missing)?.address + launch.offset as u64,
                Param::Length { binding, offset, stride, .. } => {
                    let bytes = *slot(binding).and_then(|slot| sizes.get(slot)).ok_or_else(missing)?;
                    (bytes.saturating_sub(offset as usize) / stride.max(1) as usize) as u64
                }
            });
        }
        let mut pointers: SmallVec<[*mut c_void; 24]> = SmallVec::new();
        for (word, param) in words.iter().zip(&launch.kernel.translated.params) {
            pointers.push(match param {
                Param::Uniform { value: true, .. } => launch.words.as_ptr() as *mut c_void,
                _ => std::ptr::from_ref(word) as *mut c_void,
            });
        }
        let [bx, by, bz] = launch.kernel.translated.workgroup;
        // SAFETY: there is one pointer for each parameter of the kernel, to a value of its size; the driver copies them.
        let code = unsafe {
            let arguments = pointers.as_mut_ptr();
            sys::cuLaunchKernel(launch.kernel.function, x, y, z, bx, by, bz, 0, stream, arguments, std::ptr::null_mut())
        };
        core.context.check(launch.source.name, code)
    }
}

/// Bytes of a kernel's uniform block, which is made of vectors of four words.
fn block_bytes(source: &KernelSource) -> usize {
    source.numbers.len().next_multiple_of(4) * 4
}

/// A kernel's uniform block.
fn block(source: &KernelSource, scalars: &[Scalar], tags: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0u8; block_bytes(source)];
    for (number, place) in source.numbers.iter().zip(bytes.chunks_exact_mut(4)) {
        let word = number.word(scalars, |origin| tags.get(origin).copied().unwrap_or(0));
        place.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

impl Core {
    /// Each step as a product of cuBLASLt's where it takes it, else as generated kernels.
    fn drafts(&self, plan: &Plan) -> Result<Vec<Draft>> {
        let mut drafts = Vec::new();
        for step in &plan.steps {
            if let (Step::Contract(c), Some(products)) = (step, &self.products)
                && let Some(lowered) = matmul::lower(c, plan.slots.len())
                && let Some(product) = products.prepare(&lowered.problem)?
            {
                let rest = lowered.rest.clone();
                drafts.push(Draft::Product(Box::new((lowered, product))));
                if let Some(rest) = rest {
                    drafts.extend(self.generate(&Step::Loop(rest))?.into_iter().map(Draft::Kernel));
                }
                continue;
            }
            drafts.extend(self.generate(step)?.into_iter().map(Draft::Kernel));
        }
        Ok(drafts)
    }

    fn generate(&self, step: &Step) -> Result<Vec<KernelSource>> {
        kernel::generate(step).map_err(|e| match e {
            Error::Unsupported { what, .. } => Error::Unsupported { device: self.context.name.clone(), what },
            other => other,
        })
    }

    /// An error when a kernel asks for more blocks than a grid may have.
    fn check_launch(&self, source: &KernelSource) -> Result<()> {
        let [x, y, z] = source.dispatch;
        if x > i32::MAX as u32 || y > 65_535 || z > 65_535 {
            let what = format!("a kernel ('{}') of {:?} workgroups", source.name, source.dispatch);
            return Err(Error::Unsupported { device: self.context.name.clone(), what });
        }
        Ok(())
    }

    fn multiply(&self, launch: &ProductLaunch, stream: sys::CUstream, addresses: &[u64], tf32: bool) -> Result<()> {
        let lowered = &launch.lowered;
        let products = self.products.as_ref().ok_or_else(|| self.context.error("cuBLASLt was lost"))?;
        let mut both = launch.products.lock().unwrap_or_else(|e| e.into_inner());
        let (strict, other) = &mut *both;
        if tf32 && other.is_none() {
            *other = products.prepare(&Problem { tf32, ..lowered.problem })?;
        }
        let product = other.as_ref().filter(|_| tf32).unwrap_or(strict);
        let at = |(slot, start): Place, more: i64| match addresses.get(slot) {
            Some(address) => Ok(address.wrapping_add_signed((start + more) * 4)),
            None => Err(self.context.error("a product lacks a slot")),
        };
        for [a, b, d] in &lowered.calls {
            let bias = lowered.bias.map(|bias| at(bias, 0)).transpose()?;
            let places = Places { a: at(lowered.a, *a)?, b: at(lowered.b, *b)?, d: at(lowered.d, *d)?, bias };
            products.run(product, &places, stream)?;
        }
        Ok(())
    }

    /// Marks the end of a run, after waiting for the oldest if much is under way.
    fn mark(&self) -> Result<()> {
        let mut in_flight = self.in_flight.lock().unwrap_or_else(|e| e.into_inner());
        let event = match in_flight.len() {
            IN_FLIGHT.. => in_flight.pop_front(),
            _ => None,
        };
        let event = match event {
            Some(oldest) => {
                oldest.wait()?;
                oldest
            }
            None => Event::new(&self.context)?,
        };
        event.record()?;
        in_flight.push_back(event);
        Ok(())
    }
}

impl Executable for CudaExecutable {
    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn run(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()> {
        let core = &self.core;
        core.context.enter()?;
        let mut places = SmallVec::new();
        let mut sizes: SmallVec<[usize; 16]> = SmallVec::new();
        for storage in slots.iter().map(|s| &**s).chain(&self.scratch) {
            places.push(core.address(storage)?);
            sizes.push(storage.bytes());
        }
        let addresses: Addresses = (places, core.tf32.load(Ordering::Relaxed));
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        self.write_numbers(&mut state, scalars)?;
        // Both times: a read on another thread must neither miss this run's report nor forget that one is due.
        core.flags.expect(self.reports);
        if let Some(i) = state.graphs.iter().position(|(known, _)| *known == addresses) {
            let (known, graph) = state.graphs.remove(i);
            let launched = graph.launch();
            state.graphs.push((known, graph));
            launched?;
        } else if let Some(i) = state.met.iter().position(|known| *known == addresses) {
            // What comes twice will come again.
            state.met.remove(i);
            let graph = Graph::record(&core.context, |stream| self.ask(stream, &addresses, &sizes))?;
            graph.launch()?;
            if state.graphs.len() == GRAPHS {
                state.graphs.remove(0);
            }
            state.graphs.push((addresses, graph));
        } else {
            self.check_aliases(&addresses.0)?;
            self.ask(core.context.stream, &addresses, &sizes)?;
            if self.launches.len() >= WORTH_RECORDING {
                if state.met.len() == GRAPHS {
                    state.met.remove(0);
                }
                state.met.push(addresses);
            }
        }
        core.flags.expect(self.reports);
        core.mark()
    }

    fn kernels(&self) -> Vec<String> {
        let text = |l: &Launch| match l {
            Launch::Kernel(k) => k.source.wgsl.clone(),
            Launch::Product(p) => format!("// cuBLASLt: {:?}\n", p.lowered.problem),
        };
        self.launches.iter().map(text).collect()
    }
}
