//! Kernels on cooperative matrices against those that do without; on devices that have none, with arrays in their
//! place (`emulated.rs`).

use super::*;
use crate::graph::{AttentionSizes, AttentionSpec};
use crate::kernel::{Target, generate_plan, validate};
use crate::shape::{Layout, Shape};
use half::f16;

/// The same adapter twice: with these kernels, and without.
fn both() -> Option<[Arc<WgpuBackend>; 2]> {
    let mut with = fresh()?;
    if !with.has_matrices() {
        let adapter = adapter(0).ok()?;
        let wanted = wgpu::DeviceDescriptor {
            required_features: wgpu::Features::SHADER_F16,
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let Ok((device, queue)) = super::super::host::open(&adapter, &wanted) else {
            eprintln!("not tested: {} has no f16 in shaders", with.core.caps.hardware);
            return None;
        };
        with = WgpuBackend::from_device(device, queue);
        with.set_tuning(Tuning::default());
        with.core.shape(|target| target.matrices = true);
    }
    let without = fresh()?;
    without.core.shape(|target| target.matrices = false);
    Some([with, without])
}

/// All cases; where arrays stand in for matrices, which takes long, those `some` only.
fn cases<T: Copy>(backends: &[Arc<WgpuBackend>; 2], all: Vec<T>, some: &[T]) -> Vec<T> {
    if adapters::has_matrices(&backends[0].core.device) { all } else { some.to_vec() }
}

/// Numbers of which products and sums are not exact.
fn numbers(count: usize, seed: usize) -> Vec<f16> {
    let number = |i: usize| ((i * 7919 + seed * 104729) % 1013) as f32 / 506.5 - 1.0;
    (0..count).map(|i| f16::from_f32(number(i))).collect()
}

fn f16s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
}

/// `shape` with its last two axes in the other order in memory.
fn turned(slot: usize, shape: &[usize]) -> Operand {
    let mut swapped = shape.to_vec();
    let rank = shape.len();
    swapped.swap(rank - 2, rank - 1);
    let mut layout = Layout::contiguous(&Shape::from(&swapped[..]));
    layout.strides.swap(rank - 2, rank - 1);
    Operand { slot, layout }
}

fn dense(slot: usize, shape: &[usize]) -> Operand {
    Operand { slot, layout: Layout::contiguous(&Shape::from(shape)) }
}

/// `2·(a·b) + row`, in f16 to slot 2, and the product in f32 to slot 4.
fn product([batch, m, n, k]: [usize; 4], a_turned: bool, b_turned: bool) -> Contract {
    let shape = [batch, m, n];
    let mut d = Draft::new(&shape, &[]);
    let sum = d.push(InstrKind::Accumulator, DType::F16, Level::Outer);
    let row = d.load(3, DType::F16, at(0, &[0, 0, 1]));
    let twice = d.binary(BinaryOp::Add, sum, sum);
    let moved = d.binary(BinaryOp::Add, twice, row);
    let whole = d.push(InstrKind::Cast { src: sum }, DType::F32, Level::Outer);
    let strides = Shape::from(&shape[..]).strides();
    d.store(2, at(0, &strides), moved);
    d.store(4, at(0, &strides), whole);
    let operand =
        |turn: bool, slot: usize, shape: &[usize]| if turn { turned(slot, shape) } else { dense(slot, shape) };
    Contract {
        kind: ContractKind::Matmul { batch: [batch].as_slice().into(), m, n, k },
        dtype: DType::F16,
        a: operand(a_turned, 0, &[batch, m, k]),
        b: operand(b_turned, 1, &[batch, k, n]),
        epilogue: d.0,
    }
}

/// Sizes that are no multiples of a tile; the last has its sums cut in parts.
const SIZES: [[usize; 4]; 4] = [[1, 128, 128, 32], [3, 132, 200, 100], [2, 260, 68, 36], [1, 64, 192, 4100]];

fn attention([t, s, d, e]: [usize; 4], causal: bool) -> Attention {
    let sizes = AttentionSizes { batch: [2].as_slice().into(), heads: 4, groups: 2, t, s, d, e };
    let spec = AttentionSpec::new(0.4, causal);
    Attention {
        spec,
        q: dense(0, &[2, 4, t, d]),
        k: dense(1, &[2, 2, s, d]),
        v: dense(2, &[2, 2, s, e]),
        out: 3,
        lse: 4,
        dtype: DType::F16,
        sizes,
    }
}

/// Its gradient, over the results of that.
fn attention_grad(sizes: [usize; 4], causal: bool) -> AttentionGrad {
    let forward = attention(sizes, causal);
    let [t, _, _, e] = sizes;
    AttentionGrad {
        spec: forward.spec,
        sizes: forward.sizes,
        dtype: DType::F16,
        q: forward.q,
        k: forward.k,
        v: forward.v,
        dout: dense(3, &[2, t, 4, e]),
        lse: dense(4, &[2, 4, t]),
        delta: dense(5, &[2, 4, t]),
        dq: 6,
        dk: 7,
        dv: 8,
    }
}

const HEADS: [[usize; 4]; 5] =
    [[128, 32, 64, 64], [1, 70, 64, 64], [200, 200, 32, 48], [140, 45, 8, 4], [70, 70, 64, 64]];

/// Every step that the other tests run, so that its text is checked where no device takes it.
#[test]
fn modules_are_valid_and_translate_to_spirv() {
    let mut steps = Vec::new();
    for size in SIZES {
        for turns in 0..4 {
            steps.push(Step::Contract(product(size, turns & 1 == 1, turns & 2 == 2)));
        }
    }
    steps.extend(HEADS.map(|sizes| Step::Attention(attention(sizes, sizes[0] == sizes[1]))));
    let grad = |sizes: [usize; 4]| Step::AttentionGrad(Box::new(attention_grad(sizes, sizes[0] == sizes[1])));
    steps.extend(HEADS.map(grad));
    let target = Target { matrices: true, workgroup_memory: 48 << 10, ..Target::default() };
    for step in steps {
        let kernels = generate_plan(&plan(9, vec![step], vec![], vec![]), target).unwrap().kernels;
        assert!(kernels[0].1.matrices, "{}", kernels[0].1.wgsl);
        for (_, kernel) in kernels {
            let (module, info) = validate(kernel.name, &kernel.wgsl, kernel.matrices).unwrap_or_else(|e| panic!("{e}"));
            naga::back::spv::write_vec(&module, &info, &Default::default(), None).unwrap();
        }
    }
}

#[test]
fn products_are_those_of_the_other_kernels() {
    let Some(backends) = both() else { return };
    let all = SIZES.into_iter().flat_map(|size| (0..4).map(move |turns| (size, turns))).collect();
    for (size, turns) in cases(&backends, all, &[(SIZES[1], 1), (SIZES[2], 2)]) {
        let [batch, m, n, k] = size;
        let slots = [
            data(&numbers(batch * m * k, 1)),
            data(&numbers(batch * k * n, 2)),
            data(&numbers(batch * m * n, 3)),
            data(&numbers(n, 4)),
            data(&vec![9.0f32; batch * m * n]),
        ];
        let step = || Step::Contract(product(size, turns & 1 == 1, turns & 2 == 2));
        let [got, want] = backends.each_ref().map(|b| run(b, vec![step()], &slots));
        assert!(backends[0].has_matrices(), "the driver refused them");
        for slot in [2, 4] {
            let values = |bytes: &[Vec<u8>]| if slot == 2 { f16s(&bytes[2]) } else { f32s(&bytes[4]) };
            near(&values(&got), &values(&want), &format!("{size:?}, {turns}, slot {slot}"));
        }
    }
}

#[test]
fn attention_is_that_of_the_other_kernel() {
    let Some(backends) = both() else { return };
    let all = HEADS.into_iter().flat_map(|sizes| [(sizes, false), (sizes, true)]).collect();
    for (sizes, causal) in cases(&backends, all, &[(HEADS[1], false), (HEADS[2], true), (HEADS[3], false)]) {
        let [t, s, d, e] = sizes;
        let mut q = numbers(2 * 4 * t * d, 1);
        // Scores that rise and fall far.
        q.iter_mut().enumerate().for_each(|(i, x)| *x = f16::from_f32(x.to_f32() * (1 + i / d % 7 * 5) as f32));
        let slots = [
            data(&q),
            data(&numbers(2 * 2 * s * d, 2)),
            data(&numbers(2 * 2 * s * e, 3)),
            data(&numbers(2 * t * 4 * e, 4)),
            data(&vec![9.0f32; 2 * 4 * t]),
        ];
        let step = || Step::Attention(attention(sizes, causal));
        let [got, want] = backends.each_ref().map(|b| run(b, vec![step()], &slots));
        assert!(backends[0].has_matrices(), "the driver refused them");
        near(&f16s(&got[3]), &f16s(&want[3]), &format!("{sizes:?}, causal {causal}"));
        near(&f32s(&got[4]), &f32s(&want[4]), &format!("sums of {sizes:?}, causal {causal}"));
    }
}

#[test]
fn gradients_of_attention_are_those_of_the_other_kernels() {
    let Some(backends) = both() else { return };
    let all = HEADS.into_iter().flat_map(|sizes| [(sizes, false), (sizes, true)]).collect();
    for (sizes, causal) in cases(&backends, all, &[(HEADS[3], false), (HEADS[4], true)]) {
        let [t, s, d, e] = sizes;
        let mut slots = vec![
            data(&numbers(2 * 4 * t * d, 1)),
            data(&numbers(2 * 2 * s * d, 2)),
            data(&numbers(2 * 2 * s * e, 3)),
            data(&numbers(2 * t * 4 * e, 4)),
            data(&vec![9.0f32; 2 * 4 * t]),
        ];
        let forward = run(&backends[1], vec![Step::Attention(attention(sizes, causal))], &slots);
        slots[3] = data(&numbers(2 * t * 4 * e, 5));
        slots[4] = Data(DType::F32, forward[4].clone());
        let delta: Vec<f32> = numbers(2 * 4 * t, 6).into_iter().map(f32::from).collect();
        slots.push(data(&delta));
        slots.extend([2 * t * 4 * d, 2 * s * 2 * d, 2 * s * 2 * e].map(|n| data(&vec![f16::from_f32(9.0); n])));
        let step = || Step::AttentionGrad(Box::new(attention_grad(sizes, causal)));
        let kernels = backends[0].compile(plan(slots.len(), vec![step()], vec![], vec![])).unwrap().kernels();
        if !kernels.iter().all(|text| text.contains("const BY_KEYS")) {
            let memory = backends[0].core.target().workgroup_memory;
            assert!(memory < 48 << 10, "{memory}");
            eprintln!("not tested: {} grants a workgroup {memory} bytes only", backends[0].core.caps.hardware);
            return;
        }
        let [got, want] = backends.each_ref().map(|b| run(b, vec![step()], &slots));
        assert!(backends[0].has_matrices(), "the driver refused them");
        for (slot, what) in [(6, "dq"), (7, "dk"), (8, "dv")] {
            let [got, want] = [&got, &want].map(|slots| f16s(&slots[slot]));
            // Slopes are rounded to f16 on their way into a sum, the small ones and the large ones.
            let largest = want.iter().fold(1.0f32, |m, x| m.max(x.abs()));
            let share = |all: Vec<f32>| all.into_iter().map(|x| x / largest).collect::<Vec<_>>();
            near(&share(got), &share(want), &format!("{what} of {sizes:?}, causal {causal}"));
        }
    }
}

/// Within two steps of the last place of an f16.
fn near(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= 2e-3 * (1.0 + w.abs()), "{what}, element {i}: {g} instead of {w}");
    }
}
