//! A plan made ready: its kernels and products, their numbers, and the graphs that replay them.

use super::Core;
use super::attention::{self, Native};
use super::calls::{Call, Setting};
use super::graph::{Event, Graph};
use super::kernels::{Kernel, uniforms};
use super::memory::Memory;
use super::translate::{Param, Uniforms};
use crate::device::{Executable, KernelTime, MemoryManager, Storage};
use crate::dtype::{DType, Scalar};
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
    /// For each launch, its step's place in the plan.
    steps: Vec<usize>,
    /// The uniform blocks of all kernels whose numbers differ from run to run.
    numbers: Option<Memory>,
    number_bytes: usize,
    /// Where the libraries write results that have no other place; a slot after the plan's own.
    scratch: Option<Storage>,
    /// Where in it the memory begins that they work in, and its bytes.
    workspace: (usize, usize),
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

/// All that a recorded run depends on: where each slot lies, and whether the libraries may use TF32.
type Addresses = (SmallVec<[u64; 16]>, bool);

enum Launch {
    Kernel(KernelLaunch),
    Call(Box<Call>),
    Attention(AttentionLaunch),
}

/// Kernels for the matrix units, and those that take their place where `f32` must not be rounded to TF32.
struct AttentionLaunch {
    natives: Vec<(Native, Arc<Kernel>)>,
    strict: Vec<KernelLaunch>,
}

struct KernelLaunch {
    source: KernelSource,
    kernel: Arc<Kernel>,
    /// Its numbers, where they are an argument.
    words: Vec<u8>,
    /// Where they begin in the memory of numbers, where they are not.
    offset: usize,
}

/// What becomes of a step before its kernels are compiled.
enum Draft {
    Kernel(KernelSource),
    Call(Box<Call>),
    Attention(Vec<Native>, Vec<KernelSource>),
}

impl CudaExecutable {
    pub fn new(core: &Arc<Core>, memory: &Arc<dyn MemoryManager>, plan: Arc<Plan>) -> Result<CudaExecutable> {
        core.context.enter()?;
        let tags: Vec<u32> = plan.origins.iter().map(|o| core.flags.tag(o)).collect();
        let (steps, drafts): (Vec<usize>, Vec<Draft>) = core.drafts(&plan)?.into_iter().unzip();
        let sources: Vec<KernelSource> = drafts
            .iter()
            .flat_map(|d| match d {
                Draft::Kernel(source) => std::slice::from_ref(source),
                Draft::Attention(_, strict) => strict,
                Draft::Call(_) => &[],
            })
            .cloned()
            .collect();
        sources.iter().try_for_each(|s| core.check_launch(s))?;
        let mut kernels = core.kernels(&sources)?.into_iter();
        let (mut launches, mut number_bytes) = (Vec::new(), 0usize);
        let (mut result_bytes, mut workspace_bytes) = (0usize, 0);
        let mut launch = |source: KernelSource| {
            let kernel = kernels.next().ok_or_else(|| core.context.error("a kernel was lost"))?;
            let (mut words, mut offset) = (Vec::new(), 0);
            match uniforms(&source) {
                Uniforms::Value => words = block(&source, &[], &tags),
                Uniforms::Pointer => {
                    offset = number_bytes;
                    number_bytes = (offset + block_bytes(&source)).next_multiple_of(256);
                }
            }
            Ok(KernelLaunch { source, kernel, words, offset })
        };
        for draft in drafts {
            launches.push(match draft {
                Draft::Call(call) => {
                    result_bytes = result_bytes.max(call.outcome().scratch);
                    workspace_bytes = workspace_bytes.max(call.workspace());
                    Launch::Call(call)
                }
                Draft::Kernel(source) => Launch::Kernel(launch(source)?),
                Draft::Attention(natives, strict) => {
                    let strict = strict.into_iter().map(&mut launch).collect::<Result<_>>()?;
                    let compiled = |native: Native| core.native(&native).map(|kernel| (native, kernel));
                    Launch::Attention(AttentionLaunch {
                        natives: natives.into_iter().map(compiled).collect::<Result<_>>()?,
                        strict,
                    })
                }
            });
        }
        let numbers = match number_bytes {
            0 => None,
            bytes => Some(Memory::new(&core.context, &core.reserved, bytes)?),
        };
        let workspace = (result_bytes.next_multiple_of(256), workspace_bytes);
        let scratch = match workspace.0 + workspace.1 {
            0 => None,
            bytes => Some(Storage::new(bytes, memory, &**core)?),
        };
        let reports = sources.iter().any(|s| s.flags);
        let state = Mutex::default();
        let core = core.clone();
        Ok(CudaExecutable {
            core,
            plan,
            launches,
            steps,
            numbers,
            number_bytes,
            scratch,
            workspace,
            tags,
            reports,
            state,
        })
    }

    /// Where the slots lie, the scratch after the plan's own, and how large they are.
    fn places(&self, slots: &[Arc<Storage>]) -> Result<(Addresses, SmallVec<[usize; 16]>)> {
        self.core.context.enter()?;
        let (mut places, mut sizes) = (SmallVec::new(), SmallVec::new());
        for storage in slots.iter().map(|s| &**s).chain(&self.scratch) {
            places.push(self.core.address(storage)?);
            sizes.push(storage.bytes());
        }
        Ok(((places, self.core.tf32.load(Ordering::Relaxed)), sizes))
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

    /// Asks a stream for the whole plan; `after` hears of each launch.
    fn ask(
        &self,
        stream: sys::CUstream,
        addresses: &Addresses,
        sizes: &[usize],
        mut after: impl FnMut(&Launch) -> Result<()>,
    ) -> Result<()> {
        let scratch = addresses.0.get(self.plan.slots.len()).map_or(0, |begin| begin + self.workspace.0 as u64);
        let (workspace, tf32) = ((scratch, self.workspace.1), addresses.1);
        let setting = Setting { addresses: &addresses.0, workspace, tf32 };
        for launch in &self.launches {
            match launch {
                Launch::Kernel(launch) => self.start(launch, stream, &addresses.0, sizes)?,
                Launch::Call(call) => self.core.start_call(call, stream, &setting)?,
                Launch::Attention(AttentionLaunch { natives, strict }) if strict.is_empty() || addresses.1 => {
                    natives.iter().try_for_each(|(n, k)| self.core.start_native(n, k, stream, &addresses.0))?
                }
                Launch::Attention(AttentionLaunch { strict, .. }) => {
                    strict.iter().try_for_each(|launch| self.start(launch, stream, &addresses.0, sizes))?
                }
            }
            after(launch)?;
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
    /// What becomes of each step, with its place.
    fn drafts(&self, plan: &Plan) -> Result<Vec<(usize, Draft)>> {
        let mut drafts = Vec::new();
        for (i, step) in plan.steps.iter().enumerate() {
            drafts.extend(self.draft(step, plan)?.into_iter().map(|draft| (i, draft)));
        }
        Ok(drafts)
    }

    /// A step as a library's call where there is one that takes it, else as generated kernels.
    fn draft(&self, step: &Step, plan: &Plan) -> Result<Vec<Draft>> {
        if let Step::Contract(c) = step
            && let Some(call) = self.call(c, plan.slots.len(), plan.deterministic)?
        {
            let rest = call.outcome().rest.clone();
            let mut drafts = vec![Draft::Call(Box::new(call))];
            if let Some(rest) = rest {
                drafts.extend(self.generate(&Step::Loop(rest))?.into_iter().map(Draft::Kernel));
            }
            return Ok(drafts);
        }
        if let Some(natives) = attention::lower(step, self.architecture) {
            let strict = match step {
                Step::Attention(a) if a.dtype == DType::F32 => self.generate(step)?,
                Step::AttentionGrad(a) if a.dtype == DType::F32 => self.generate(step)?,
                _ => vec![],
            };
            return Ok(vec![Draft::Attention(natives, strict)]);
        }
        Ok(self.generate(step)?.into_iter().map(Draft::Kernel).collect())
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
        let (addresses, sizes) = self.places(slots)?;
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
            let graph = Graph::record(&core.context, |stream| self.ask(stream, &addresses, &sizes, |_| Ok(())))?;
            graph.launch()?;
            if state.graphs.len() == GRAPHS {
                state.graphs.remove(0);
            }
            state.graphs.push((addresses, graph));
        } else {
            self.check_aliases(&addresses.0)?;
            self.ask(core.context.stream, &addresses, &sizes, |_| Ok(()))?;
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

    fn run_timed(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<Vec<KernelTime>> {
        let core = &self.core;
        let (addresses, sizes) = self.places(slots)?;
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        self.write_numbers(&mut state, scalars)?;
        self.check_aliases(&addresses.0)?;
        core.flags.expect(self.reports);
        // Recorded and run as a whole: the host, which is slower than a small kernel, must not be what is measured.
        let mut marks = vec![("", Event::timed(&core.context)?)];
        let graph = Graph::record(&core.context, |stream| {
            marks[0].1.record_in(stream)?;
            self.ask(stream, &addresses, &sizes, |launch| {
                let name = match launch {
                    Launch::Kernel(k) => k.source.name,
                    Launch::Call(call) => call.name(),
                    Launch::Attention(_) => "attention",
                };
                let mark = Event::timed(&core.context)?;
                mark.record_in(stream)?;
                marks.push((name, mark));
                Ok(())
            })
        })?;
        graph.launch()?;
        core.flags.expect(self.reports);
        core.context.wait()?;
        let begin = &marks[0].1;
        let mut times = Vec::new();
        for (pair, &step) in marks.windows(2).zip(&self.steps) {
            let (start, end) = (pair[0].1.after(begin)?, pair[1].1.after(begin)?);
            let name = pair[1].0.into();
            times.push(KernelTime { name, step, start, duration: end - start, ..KernelTime::default() });
        }
        Ok(times)
    }

    fn kernels(&self) -> Vec<String> {
        let text = |l: &Launch| match l {
            Launch::Kernel(k) => k.source.wgsl.clone(),
            Launch::Call(call) => call.describe(),
            Launch::Attention(a) => a.natives.iter().map(|(native, _)| &native.source[..]).collect(),
        };
        self.launches.iter().map(text).collect()
    }
}
