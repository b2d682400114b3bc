//! A plan made ready: its pipelines, the numbers of all its kernels in one buffer, and its bind groups.

use super::memory::Memory;
use super::pipelines::Pipeline;
#[cfg(not(target_arch = "wasm32"))]
use super::timestamps::Timestamps;
use super::{Core, WgpuBackend};
#[cfg(not(target_arch = "wasm32"))]
use crate::device::KernelTime;
use crate::device::{Backend, Executable, Storage};
use crate::dtype::Scalar;
use crate::error::{Error, Result};
use crate::kernel::{self, KernelSource};
use crate::plan::Plan;
use smallvec::SmallVec;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex};

/// Bind groups kept for each kernel: the memory manager hands the same few buffers out again and again.
const GROUPS: usize = 8;

pub(super) struct WgpuExecutable {
    core: Arc<Core>,
    plan: Arc<Plan>,
    launches: Vec<Launch>,
    /// Every kernel's uniform block, each in a region of its own.
    uniforms: Option<wgpu::Buffer>,
    /// What kernels leave for the next one within a step; a slot after the plan's own.
    scratch: Option<Arc<Storage>>,
    /// For each of the plan's origins, its name on the device.
    tags: Vec<u32>,
    /// Also orders the runs, each with its numbers.
    state: Mutex<State>,
}

struct Launch {
    /// Which of the plan's steps it belongs to.
    #[cfg_attr(target_arch = "wasm32", expect(dead_code, reason = "no kernel is timed there"))]
    step: usize,
    source: KernelSource,
    pipeline: Arc<Pipeline>,
    /// Where its numbers begin, in bytes.
    offset: u64,
}

impl Launch {
    /// Whether there is nothing to do.
    fn is_empty(&self) -> bool {
        self.source.dispatch.contains(&0)
    }
}

#[derive(Default)]
struct State {
    /// What the numbers were last written for.
    scalars: Option<Vec<Scalar>>,
    /// For each launch, bind groups and the memory they name; the last used is the last.
    groups: Vec<Vec<(Memories, wgpu::BindGroup)>>,
}

/// What a plan becomes on a device.
struct Launches {
    launches: Vec<Launch>,
    /// Bytes of all their numbers.
    end: u64,
    /// Bytes of the scratch slot.
    scratch: usize,
}

impl Launches {
    fn new(core: &Core, plan: &Plan) -> Result<Launches> {
        let align = core.device.limits().min_uniform_buffer_offset_alignment.max(16) as u64;
        let mut launches = Vec::new();
        let mut end = 0;
        let generated = kernel::generate_plan(plan, core.target())?;
        for (step, source) in generated.kernels {
            core.check_launch(&source)?;
            let pipeline = core.pipeline(&source)?;
            let offset = end;
            end = (offset + block_bytes(&source)).next_multiple_of(align);
            launches.push(Launch { step, source, pipeline, offset });
        }
        Ok(Launches { launches, end, scratch: generated.scratch })
    }
}

type Memories = SmallVec<[u64; 8]>;

impl WgpuExecutable {
    pub fn new(backend: &WgpuBackend, plan: Arc<Plan>) -> Result<WgpuExecutable> {
        let core = &backend.core;
        core.check()?;
        let Launches { launches, end, scratch } = match Launches::new(core, &plan) {
            // What is experimental in wgpu is new to drivers too.
            Err(Error::Shader { .. }) if core.target().matrices => {
                core.shape(|target| target.matrices = false);
                Launches::new(core, &plan)?
            }
            other => other?,
        };
        let uniforms = (end > 0).then(|| {
            core.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("numbers"),
                size: end,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let scratch = match scratch {
            0 => None,
            bytes => Some(Arc::new(backend.allocate(bytes)?)),
        };
        core.check()?;
        let tags = plan.origins.iter().map(|o| core.flags.tag(o)).collect();
        let state = State { scalars: None, groups: launches.iter().map(|_| Vec::new()).collect() };
        Ok(WgpuExecutable { core: core.clone(), plan, launches, uniforms, scratch, tags, state: Mutex::new(state) })
    }

    /// Writes the numbers, unless those that are there still hold. Runs that are under way have theirs: writes take
    /// their turn between submissions.
    fn write_numbers(&self, state: &mut State, scalars: &[Scalar]) {
        let Some(uniforms) = self.uniforms.as_ref().filter(|_| state.scalars.as_deref() != Some(scalars)) else {
            return;
        };
        self.core.queue.write_buffer(uniforms, 0, &self.numbers(scalars));
        state.scalars = Some(scalars.to_vec());
    }

    /// The numbers of all kernels, as they lie in their buffer.
    pub(super) fn numbers(&self, scalars: &[Scalar]) -> Vec<u8> {
        let mut bytes = vec![0u8; self.uniforms.as_ref().map_or(0, |buffer| buffer.size() as usize)];
        for launch in &self.launches {
            for (i, number) in launch.source.numbers.iter().enumerate() {
                let word = number.word(scalars, |origin| self.tags.get(origin).copied().unwrap_or(0));
                let at = launch.offset as usize + 4 * i;
                bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
        }
        bytes
    }

    /// The bind group of a launch over this memory.
    fn group<'a>(
        &self,
        launch: &Launch,
        kept: &'a mut Vec<(Memories, wgpu::BindGroup)>,
        slots: &[Arc<Storage>],
    ) -> Result<&'a wgpu::BindGroup> {
        let core = &self.core;
        let mut memories: SmallVec<[&Memory; 8]> = SmallVec::new();
        for binding in &launch.source.bindings {
            let own = self.scratch.as_ref().filter(|_| binding.slot == slots.len());
            let storage = (slots.get(binding.slot).or(own))
                .ok_or_else(|| core.error(format!("slot {} is missing", binding.slot)))?;
            memories.push(core.memory(storage)?);
        }
        let ids: Memories = memories.iter().map(|m| m.id).collect();
        if let Some(i) = kept.iter().position(|(known, _)| *known == ids) {
            let found = kept.remove(i);
            kept.push(found);
        } else {
            for (i, binding) in launch.source.bindings.iter().enumerate().filter(|(_, b)| b.writes) {
                if ids.iter().enumerate().any(|(j, id)| i != j && *id == ids[i]) {
                    return Err(
                        core.error(format!("slot {} is written while another slot shares its memory", binding.slot))
                    );
                }
            }
            if kept.len() == GROUPS {
                kept.remove(0);
            }
            kept.push((ids, self.bind(launch, &memories)));
        }
        kept.last().map(|(_, group)| group).ok_or_else(|| core.error("a bind group was lost"))
    }

    /// Asks for a launch over this memory.
    fn record(
        &self,
        pass: &mut wgpu::ComputePass<'_>,
        launch: &Launch,
        kept: &mut Vec<(Memories, wgpu::BindGroup)>,
        slots: &[Arc<Storage>],
    ) -> Result<()> {
        if let Some(error) = launch.pipeline.health.get() {
            return Err(error.clone());
        }
        let [x, y, z] = launch.source.dispatch;
        pass.set_pipeline(&launch.pipeline.pipeline);
        pass.set_bind_group(0, self.group(launch, kept, slots)?, &[]);
        pass.dispatch_workgroups(x, y, z);
        Ok(())
    }

    /// Hands a run to the device; `reports` where one of its kernels may set the error flags.
    fn submit(&self, encoder: wgpu::CommandEncoder, reports: bool) -> Result<()> {
        // Both times: a read on another thread must neither miss this run's report nor forget that one is due.
        self.core.flags.expect(reports);
        self.core.submit(Some(encoder.finish()))?;
        self.core.flags.expect(reports);
        self.core.check()
    }

    /// The next run writes its numbers, whatever they are.
    #[cfg(test)]
    pub(super) fn forget_numbers(&self) {
        self.state.lock().unwrap_or_else(|e| e.into_inner()).scalars = None;
    }

    /// Asks for the last run once more with these numbers, looking nothing up: the least that wgpu lets a host do.
    #[cfg(test)]
    pub(super) fn floor(&self, numbers: &[u8]) -> Result<()> {
        self.uniforms.iter().for_each(|uniforms| self.core.queue.write_buffer(uniforms, 0, numbers));
        let state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let mut encoder = self.core.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for (launch, kept) in self.launches.iter().zip(&state.groups) {
            let Some((_, group)) = kept.last() else { continue };
            let [x, y, z] = launch.source.dispatch;
            pass.set_pipeline(&launch.pipeline.pipeline);
            pass.set_bind_group(0, group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
        drop(pass);
        self.core.queue.submit([encoder.finish()]);
        Ok(())
    }

    fn bind(&self, launch: &Launch, memories: &[&Memory]) -> wgpu::BindGroup {
        let flags = launch.source.flags.then(|| self.core.flags.buffer.as_entire_binding());
        let numbers = self.uniforms.as_ref().and_then(|buffer| {
            let size = NonZeroU64::new(block_bytes(&launch.source))?;
            Some(wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset: launch.offset, size: Some(size) }))
        });
        let resources = memories.iter().map(|m| m.buffer.as_entire_binding()).chain(flags).chain(numbers);
        let entries: Vec<_> =
            resources.zip(0..).map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource }).collect();
        self.core.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(launch.source.name),
            layout: &launch.pipeline.layout,
            entries: &entries,
        })
    }
}

/// Bytes of a kernel's uniform block, which is made of vectors of four words.
fn block_bytes(source: &KernelSource) -> u64 {
    source.numbers.len().next_multiple_of(4) as u64 * 4
}

impl Core {
    /// An error when a kernel asks for more than the device grants.
    fn check_launch(&self, source: &KernelSource) -> Result<()> {
        let limits = self.device.limits();
        let buffers = source.bindings.len() + source.flags as usize;
        let too_much = |what: String| Err(Error::Unsupported { device: self.name.clone(), what });
        if buffers > limits.max_storage_buffers_per_shader_stage as usize {
            return too_much(format!("a kernel ('{}') over {buffers} buffers", source.name));
        }
        if block_bytes(source) > limits.max_uniform_buffer_binding_size {
            return too_much(format!("a kernel ('{}') of {} numbers", source.name, source.numbers.len()));
        }
        if source.dispatch.iter().any(|&d| d > limits.max_compute_workgroups_per_dimension) {
            return too_much(format!("a kernel ('{}') of {:?} workgroups", source.name, source.dispatch));
        }
        Ok(())
    }
}

impl Executable for WgpuExecutable {
    fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    fn run(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<()> {
        let core = &self.core;
        core.check()?;
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        self.write_numbers(&mut state, scalars);
        let mut encoder = core.device.create_command_encoder(&Default::default());
        let mut reports = false;
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for (launch, kept) in self.launches.iter().zip(&mut state.groups).filter(|(launch, _)| !launch.is_empty()) {
                self.record(&mut pass, launch, kept, slots)?;
                reports |= launch.source.flags;
            }
        }
        self.submit(encoder, reports)
    }

    // In a browser nothing may wait here.
    #[cfg(not(target_arch = "wasm32"))]
    fn run_timed(&self, slots: &[Arc<Storage>], scalars: &[Scalar]) -> Result<Vec<KernelTime>> {
        let core = &self.core;
        core.check()?;
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        let asked = self.launches.iter().filter(|launch| !launch.is_empty());
        let timestamps = Timestamps::new(core, asked.clone().count())?;
        self.write_numbers(&mut state, scalars);
        let mut encoder = core.device.create_command_encoder(&Default::default());
        let groups = self.launches.iter().zip(&mut state.groups).filter(|(launch, _)| !launch.is_empty());
        for (i, (launch, kept)) in groups.enumerate() {
            let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                label: Some(launch.source.name),
                timestamp_writes: timestamps.around(i),
            });
            self.record(&mut pass, launch, kept, slots)?;
        }
        timestamps.resolve(&mut encoder);
        self.submit(encoder, asked.clone().any(|launch| launch.source.flags))?;
        let times = asked.zip(timestamps.read(core)?).map(|(launch, [start, end])| KernelTime {
            name: launch.source.name.into(),
            step: launch.step,
            start,
            duration: end - start,
            ..KernelTime::default()
        });
        Ok(times.collect())
    }

    fn launches(&self) -> usize {
        self.launches.iter().filter(|launch| !launch.is_empty()).count()
    }

    fn kernels(&self) -> Vec<String> {
        self.launches.iter().map(|l| l.source.wgsl.clone()).collect()
    }
}
