//! The device as a whole: lists, memory, errors from kernels, the user's own kernels, loss.

use super::*;
use crate::device::Device;
use crate::graph::custom::{CustomOp, CustomShader};
use crate::graph::{CustomHandle, Meta};
use crate::tensor::Tensor;

#[test]
fn adapters_have_names_and_hardware_comes_first() {
    let all = adapters();
    assert!(all.iter().all(|a| !a.name.is_empty() && !a.driver.is_empty()));
    assert!(all.is_sorted_by_key(|a| a.software));
    let error = WgpuBackend::open(all.len()).unwrap_err();
    assert!(matches!(error, Error::UnknownDevice { .. }), "{error}");
}

#[test]
fn elements_come_back_and_memory_is_used_again() {
    let Some(b) = fresh() else { return };
    let bools = b.allocate(5 * b.caps().bytes_of(DType::Bool)).unwrap();
    b.write(&bools, DType::Bool, &[0, 1, 7, 0, 1]).unwrap();
    assert_eq!(read(&*b, &bools, DType::Bool, 1, 4).unwrap(), [1, 1, 0, 1]);
    let bytes: Vec<u8> = (0..=255).collect();
    let small = b.allocate(256 * 4).unwrap();
    b.write(&small, DType::U8, &bytes).unwrap();
    assert_eq!(read(&*b, &small, DType::U8, 0, 256).unwrap(), bytes);
    assert!(read(&*b, &small, DType::U8, 250, 7).is_err() && read(&*b, &small, DType::U8, usize::MAX, 1).is_err());
    assert!(b.read(&small, DType::F32, 0, &mut [0; 3]).is_err());
    assert!(b.write(&small, DType::F32, &[0; 2048]).is_err());
    assert_eq!(read(&*b, &small, DType::F32, 0, 0).unwrap(), [0u8; 0]);
    let before = b.memory();
    drop(small);
    let again = b.allocate(1024).unwrap();
    assert_eq!(b.memory().reserved, before.reserved);
    drop((again, bools));
    assert_eq!(b.memory().in_use, 0);
    let empty = b.allocate(0).unwrap();
    b.write(&empty, DType::F32, &[]).unwrap();
}

#[test]
fn transfers_larger_than_a_chunk() {
    let Some(b) = fresh() else { return };
    let n = (80 << 20) / 4;
    if b.caps().max_buffer_bytes < 4 * n as u64 {
        return;
    }
    let xs: Vec<u32> = (0..n as u32).collect();
    let storage = b.allocate(4 * n).unwrap();
    b.write(&storage, DType::U32, &data(&xs).1).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| assert!(u32::from_bytes(&read(&*b, &storage, DType::U32, 0, n).unwrap()) == xs));
        }
    });
    // Pieces that begin in the middle of a word, and elements that are words there and bytes here.
    let bytes: Vec<u8> = (0..12 << 20).map(|i| (i % 251) as u8).collect();
    b.write(&storage, DType::F16, &bytes).unwrap();
    assert!(read(&*b, &storage, DType::F16, 1, (6 << 20) - 2).unwrap() == bytes[2..bytes.len() - 2]);
    b.write(&storage, DType::U8, &bytes[..3 << 20]).unwrap();
    assert!(read(&*b, &storage, DType::U8, 5, (3 << 20) - 5).unwrap() == bytes[5..3 << 20]);
}

#[test]
fn an_index_outside_is_reported_by_a_read_of_several_pieces() -> Result<()> {
    let Some(b) = fresh() else { return Ok(()) };
    let device = Device::new("mine", b);
    let x = Tensor::ones([5 << 20], DType::F32, &device);
    x.realize()?;
    x.index_select(0, &Tensor::from_slice(&[5i32 << 20], [1], &device)).realize()?;
    let error = x.to_vec::<f32>().unwrap_err();
    assert!(matches!(error, Error::IndexOutOfRange { .. }), "{error}");
    assert!(x.to_vec::<f32>()?.iter().all(|&x| x == 1.0));
    Ok(())
}

#[test]
fn a_buffer_that_is_too_large_is_refused_by_name() {
    let b = backend_or_return!();
    let error = b.allocate(usize::MAX / 2).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    assert!(error.to_string().contains(&b.caps().max_buffer_bytes.to_string()), "{error}");
}

fn gather(b: &WgpuBackend, indices: &[i32]) -> Result<Vec<f32>> {
    // Row i of the result is row indices[i] of a [3, 2] table.
    let mut d = Draft::new(&[indices.len(), 2], &[]);
    let index = d.load(1, DType::I32, at(0, &[1, 0]));
    let kind = InstrKind::Gather { slot: 0, at: at(0, &[0, 1]), index, stride: 2, size: 3, guard: None, origin: 1 };
    let x = d.push(kind, DType::F32, Level::Outer);
    d.store(2, at(0, &[2, 1]), x);
    let origins = ["other", "gather"].map(|op| Origin { op, at: crate::error::Caller::here() }).to_vec();
    let plan = plan(3, vec![Step::Loop(d.0)], vec![], origins);
    let slots = [data(&[1.0f32, 2., 3., 4., 5., 6.]), data(indices), data(&vec![0.0f32; 2 * indices.len()])];
    Ok(f32s(&try_run(b, plan, &[], &slots)?[2]))
}

#[test]
fn an_index_outside_is_reported_once_and_the_device_goes_on() {
    let Some(b) = fresh() else { return };
    assert_eq!(gather(&b, &[2, 0, 2]).unwrap(), [5., 6., 1., 2., 5., 6.]);
    for (bad, wrong) in [([0, 3], 3), ([-1, 0], -1)] {
        let error = gather(&b, &bad).unwrap_err();
        assert!(
            matches!(error, Error::IndexOutOfRange { op: "gather", index, size: 3, at } if index == wrong && at.file().ends_with("device.rs")),
            "{error}"
        );
        assert_eq!(gather(&b, &[1]).unwrap(), [3., 4.]);
        b.synchronize().unwrap();
    }
}

#[derive(Debug)]
struct Twice(&'static str);

impl CustomOp for Twice {
    fn name(&self) -> &'static str {
        "twice"
    }
    fn outputs(&self, inputs: &[Meta]) -> std::result::Result<Vec<Meta>, String> {
        Ok(inputs.to_vec())
    }
    fn wgsl(&self, _: &[Meta], _: &[Meta]) -> Option<CustomShader> {
        Some(CustomShader { source: self.0.into(), entry: "twice".into(), workgroups: [1, 1, 1] })
    }
    fn cpu(&self, _: &[&[u8]], _: &mut [Vec<u8>]) -> Option<()> {
        None
    }
}

fn twice(b: &WgpuBackend, source: &'static str) -> Result<Vec<f32>> {
    let metas = vec![Meta::new([3], DType::F32)];
    let op = CustomHandle(Arc::new(Twice(source)));
    let step = Custom { op, inputs: vec![0], input_metas: metas.clone(), outputs: vec![1], output_metas: metas };
    let slots = [data(&[1.0f32, 2., 3.]), data(&[0.0f32; 3])];
    Ok(f32s(&try_run(b, plan(2, vec![Step::Custom(step)], vec![], vec![]), &[], &slots)?[1]))
}

#[test]
fn a_kernel_of_the_users_own_runs_with_bounds_checked() {
    let b = backend_or_return!();
    let source = "@group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn twice(@builtin(global_invocation_id) id: vec3<u32>) {
            if (id.x < 3u) { y[id.x] = 2.0 * x[id.x]; } else { y[id.x * 100000000u] = x[id.x * 100000000u]; }
        }";
    let got = twice(&b, source).unwrap();
    assert_eq!(got, [2., 4., 6.]);
}

#[test]
fn a_bad_kernel_is_an_error_that_names_it() {
    let b = backend_or_return!();
    let bindings = "@group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;\n";
    let cases: [(&'static str, &str); 4] = [
        ("fn twice( {", "expected"),
        (format!("{bindings}@compute @workgroup_size(1) fn twice() {{ y[0] = 1u; }}").leak(), "twice"),
        (format!("{bindings}@compute @workgroup_size(1) fn other() {{ y[0] = x[0]; }}").leak(), "twice"),
        (
            "@group(1) @binding(5) var<storage, read_write> y: array<f32>;
          @compute @workgroup_size(1) fn twice() { y[0] = 1.0; }",
            "twice",
        ),
    ];
    for (source, part) in cases {
        let error = twice(&b, source).unwrap_err();
        assert!(matches!(&error, Error::Shader { name, .. } if name == "twice"), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    b.synchronize().unwrap();
}

#[test]
fn two_slots_may_share_memory_only_to_read() {
    let b = backend_or_return!();
    let mut d = Draft::new(&[4], &[]);
    let x = d.load(0, DType::F32, at(0, &[1]));
    d.store(1, at(0, &[1]), x);
    let executable = b.compile(plan(2, vec![Step::Loop(d.0)], vec![], vec![])).unwrap();
    let storage = Arc::new(b.allocate(16).unwrap());
    assert!(executable.run(&[storage.clone(), storage], &[]).is_err());
    b.synchronize().unwrap();
}

#[test]
fn many_runs_in_flight() {
    let b = backend_or_return!();
    let mut d = Draft::new(&[1000], &[]);
    let x = d.load(0, DType::F32, at(0, &[1]));
    let p = d.push(InstrKind::Param { param: 0 }, DType::F32, Level::Uniform);
    let y = d.binary(BinaryOp::Add, x, p);
    d.store(0, at(0, &[1]), y);
    let executable = b.compile(plan(1, vec![Step::Loop(d.0)], vec![DType::F32], vec![])).unwrap();
    let storage = Arc::new(b.allocate(4000).unwrap());
    b.write(&storage, DType::F32, &[0; 4000]).unwrap();
    for i in 0..100 {
        executable.run(std::slice::from_ref(&storage), &[Scalar::Int(i)]).unwrap();
    }
    assert_eq!(f32s(&read(&*b, &storage, DType::F32, 0, 1000).unwrap()), [4950.0; 1000]);
}

#[test]
fn a_lost_device_says_so_and_returns_nothing_stale() {
    let Some(b) = fresh() else { return };
    let mut d = Draft::new(&[4], &[]);
    let x = d.load(0, DType::F32, at(0, &[1]));
    d.store(1, at(0, &[1]), x);
    let plan = plan(2, vec![Step::Loop(d.0)], vec![], vec![]);
    let executable = b.compile(plan.clone()).unwrap();
    let slots = [Arc::new(b.allocate(16).unwrap()), Arc::new(b.allocate(16).unwrap())];
    b.write(&slots[0], DType::F32, &[1; 16]).unwrap();
    executable.run(&slots, &[]).unwrap();
    b.destroy();
    let lost = |r: Result<()>| assert!(matches!(r, Err(Error::DeviceLost { .. })), "{r:?}");
    lost(read(&*b, &slots[1], DType::F32, 0, 4).map(drop));
    lost(b.write(&slots[0], DType::F32, &[1; 16]));
    lost(executable.run(&slots, &[]));
    lost(b.allocate(16).map(drop));
    lost(b.compile(plan).map(drop));
    lost(b.synchronize());
}

#[test]
fn a_device_made_elsewhere_is_welcome() {
    let Ok((device, queue)) = adapters::open(0) else { return };
    let b = WgpuBackend::from_device(device, queue);
    assert_eq!(
        twice(
            &b,
            "@group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(3)
        fn twice(@builtin(local_invocation_index) i: u32) { y[i] = x[i] + x[i]; }"
        )
        .unwrap(),
        [2., 4., 6.]
    );
}
