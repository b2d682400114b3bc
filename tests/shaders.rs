//! Every kernel that the op table makes: valid for naga, translatable to what other platforms speak, and as it was.
#![cfg(feature = "wgpu")]

#[path = "common/cases.rs"]
mod cases;
mod common;

use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use sunstone::backend::wgpu::{WgpuBackend, adapter};
use sunstone::device::{Backend, Caps, Executable, MemoryStats, Storage};
use sunstone::kernel::Tuning;
use sunstone::plan::Plan;
use sunstone::prelude::*;

/// No feature that only some devices have: the size of their subgroups, say, would be in a snapshot.
const NONE: wgpu::Features = wgpu::Features::empty();

/// Wraps the wgpu backend and keeps the text of every kernel it compiles.
#[derive(Debug)]
struct Recording {
    inner: Arc<dyn Backend>,
    texts: Arc<Mutex<Vec<String>>>,
}

impl Backend for Recording {
    fn caps(&self) -> &Caps {
        self.inner.caps()
    }
    fn allocate(&self, bytes: usize) -> Result<Storage> {
        self.inner.allocate(bytes)
    }
    fn write(&self, storage: &Storage, dtype: DType, bytes: &[u8]) -> Result<()> {
        self.inner.write(storage, dtype, bytes)
    }
    fn read(&self, storage: &Storage, dtype: DType, start: usize, out: &mut [u8]) -> Result<()> {
        self.inner.read(storage, dtype, start, out)
    }
    fn compile(&self, plan: Arc<Plan>) -> Result<Box<dyn Executable>> {
        let executable = self.inner.compile(plan)?;
        self.texts.lock().unwrap().extend(executable.kernels());
        Ok(executable)
    }
    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }
    fn memory(&self) -> MemoryStats {
        self.inner.memory()
    }
}

/// The kernels of every case and of its gradient on operands of `dtype`, by case: those of a large GPU, wherever this runs,
/// which grants of these features what it has.
fn kernels(dtype: DType, features: wgpu::Features) -> Option<BTreeMap<&'static str, Vec<String>>> {
    common::devices_of("wgpu").first()?;
    let adapter = adapter(0).expect("there is one");
    let wanted = wgpu::DeviceDescriptor {
        required_features: adapter.features() & features,
        required_limits: adapter.limits(),
        ..Default::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&wanted)).expect("the first adapter opens");
    let gpu = WgpuBackend::from_device(device, queue);
    gpu.set_tuning(Tuning::default());
    let mut all = BTreeMap::new();
    for case in cases::cases() {
        let texts = Arc::new(Mutex::new(Vec::new()));
        let backend = Recording { inner: gpu.clone(), texts: texts.clone() };
        let device = Device::new("recorded", Arc::new(backend));
        device.set_deterministic(case.name == "scatter_add of a part");
        let narrow = |d: &Vec<f64>| d.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let make = |((shape, _), d): (&(Vec<usize>, cases::Domain), &Vec<f64>)| {
            let x = Tensor::from_slice(&narrow(d), &shape[..], &device);
            if dtype == DType::F32 {
                return x.requires_grad();
            }
            let x = x.cast(dtype);
            x.realize().unwrap();
            x.requires_grad()
        };
        let inputs: Vec<Tensor> = case.inputs.iter().zip(&case.data()).map(make).collect();
        let y = (case.f)(&inputs);
        y.realize().unwrap_or_else(|e| panic!("{}: {e}", case.name));
        if case.smooth {
            for grad in y.sum(..).backward().unwrap().iter() {
                grad.realize().unwrap_or_else(|e| panic!("gradient of {}: {e}", case.name));
            }
        }
        let texts = std::mem::take(&mut *texts.lock().unwrap());
        all.insert(case.name, texts);
    }
    Some(all)
}

fn parse(text: &str) -> (naga::Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{}\n{text}", e.emit_to_string(text)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}\n{text}", e.emit_to_string(text)));
    (module, info)
}

#[test]
fn every_kernel_is_valid_and_translates_to_spirv_msl_and_hlsl() {
    every_kernel_translates(DType::F32);
}

#[test]
fn every_kernel_of_halves_is_valid_and_translates() {
    every_kernel_translates(DType::F16);
    every_kernel_translates(DType::BF16);
}

fn every_kernel_translates(dtype: DType) {
    let (Some(plain), Some(subgroups)) = (kernels(dtype, NONE), kernels(dtype, wgpu::Features::SUBGROUP)) else {
        return;
    };
    let mut distinct: Vec<&String> = plain.values().chain(subgroups.values()).flatten().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let folder = tempfile::tempdir().expect("a folder for SPIR-V");
    let mut files = Vec::new();
    for (i, text) in distinct.iter().enumerate() {
        let (module, info) = parse(text);
        let subgroups = text.contains("subgroupShuffleXor(");
        // What exchanges values within subgroups is newer than what either writes by default.
        let lang_version = if subgroups { (1, 3) } else { spv::Options::default().lang_version };
        let words = spv::write_vec(&module, &info, &spv::Options { lang_version, ..Default::default() }, None)
            .unwrap_or_else(|e| panic!("SPIR-V: {e}\n{text}"));
        let file = folder.path().join(format!("{i}.spv"));
        std::fs::write(&file, words.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<u8>>()).expect("written");
        files.push(file);
        let options = msl::Options { fake_missing_bindings: true, ..msl::Options::default() };
        msl::write_string(&module, &info, &options, &msl::PipelineOptions::default())
            .unwrap_or_else(|e| panic!("MSL: {e}\n{text}"));
        let mut out = String::new();
        let shader_model = if subgroups { hlsl::ShaderModel::V6_0 } else { hlsl::Options::default().shader_model };
        let options = hlsl::Options { fake_missing_bindings: true, shader_model, ..Default::default() };
        hlsl::Writer::new(&mut out, &options, &hlsl::PipelineOptions::default())
            .write(&module, &info, None)
            .unwrap_or_else(|e| panic!("HLSL: {e}\n{text}"));
    }
    validate_spirv(&files);
    println!("{} distinct kernels of {dtype} translate to SPIR-V, MSL and HLSL; none was left out", distinct.len());
    assert!(distinct.len() > 100, "the table gave only {} kernels", distinct.len());
}

/// Asks Khronos' validator about each file, where it is installed (Debian's spirv-tools).
fn validate_spirv(files: &[std::path::PathBuf]) {
    for file in files {
        let Ok(output) = std::process::Command::new("spirv-val").args(["--target-env", "vulkan1.1"]).arg(file).output()
        else {
            println!("skipped: spirv-val is not installed, so only naga has seen the SPIR-V");
            return;
        };
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
    println!("spirv-val accepts {} modules", files.len());
}

#[test]
#[cfg(feature = "cuda")]
fn every_kernel_translates_to_cuda_c_and_nvrtc_takes_it() {
    use sunstone::backend::cuda::translate::{Options, Uniforms, translate};
    use sunstone::backend::cuda::{library, nvrtc};
    let (Some(floats), Some(halves)) = (kernels(DType::F32, NONE), kernels(DType::BF16, NONE)) else { return };
    let distinct: std::collections::BTreeSet<&String> = floats.values().chain(halves.values()).flatten().collect();
    let compiler = library::nvrtc();
    if let Err(why) = &compiler {
        println!("skipped the compilation: {why}");
    }
    for (i, text) in distinct.iter().enumerate() {
        let (module, info) = parse(text);
        let uniforms = if i % 2 == 0 { Uniforms::Value } else { Uniforms::Pointer };
        let cuda = translate(&module, &info, "main", &Options { trusted: true, uniforms })
            .unwrap_or_else(|e| panic!("{e}\n{text}"));
        if compiler.is_ok() {
            nvrtc::machine_code(&cuda.source, nvrtc::Target { architecture: 90, fused: false })
                .unwrap_or_else(|e| panic!("{e}\n{}", cuda.source));
        }
    }
    println!("{} distinct kernels translate to CUDA C", distinct.len());
}

#[test]
fn kernels_are_as_they_were() {
    let (Some(kernels), Some(halves)) = (kernels(DType::F32, NONE), kernels(DType::F16, NONE)) else { return };
    // A few of each kind, so that a change to the generator shows as a readable difference.
    for name in ["clamp", "pad", "sum rows", "softmax", "few long rows", "matmul with epilogue", "map of vectors"] {
        snapshot(&format!("f16_{}", name.replace(' ', "_")), &halves[name]);
    }
    for name in [
        "gelu",
        "add broadcast",
        "sum rows",
        "sum columns",
        "softmax",
        "map of vectors",
        "softmax of vectors",
        "sum columns of vectors",
        "argmax argmin",
        "pad",
        "gather",
        "scatter_add",
        "matmul with epilogue",
        "conv2d with epilogue",
    ] {
        snapshot(&name.replace(' ', "_"), &kernels[name]);
    }
}

fn snapshot(name: &str, kernels: &[String]) {
    let text = kernels.iter().enumerate().map(|(i, k)| format!("// ---- kernel {i}\n{k}\n")).collect::<String>();
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}
