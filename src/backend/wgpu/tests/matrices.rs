//! Kernels on cooperative matrices against those that do without; on devices that have none, with arrays in their
//! place (`emulated.rs`).

use super::*;
use crate::device::Device;
use crate::graph::{AttentionSizes, AttentionSpec};
use crate::kernel::{Target, generate_plan, validate};
use crate::nn::{Init, Linear, Module};
use crate::optim::{Optimizer, Sgd};
use crate::shape::{Layout, Shape};
use crate::tensor::Tensor;
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

/// `2·(a·b) + row` to slot 2, and the product in f32 to slot 4.
fn product(dtype: DType, [batch, m, n, k]: [usize; 4], a_turned: bool, b_turned: bool) -> Contract {
    let shape = [batch, m, n];
    let mut d = Draft::new(&shape, &[]);
    let sum = d.push(InstrKind::Accumulator, dtype, Level::Outer);
    let row = d.load(3, dtype, at(0, &[0, 0, 1]));
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
        dtype,
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
            steps.push(Step::Contract(product(DType::F16, size, turns & 1 == 1, turns & 2 == 2)));
        }
    }
    for size in SPLIT {
        for turns in 0..4 {
            steps.push(Step::Contract(product(DType::F32, size, turns & 1 == 1, turns & 2 == 2)));
        }
    }
    steps.extend(HEADS.map(|sizes| Step::Attention(attention(sizes, sizes[0] == sizes[1]))));
    let grad = |sizes: [usize; 4]| Step::AttentionGrad(Box::new(attention_grad(sizes, sizes[0] == sizes[1])));
    steps.extend(HEADS.map(grad));
    let tuning = Tuning { split_work: 0, ..Tuning::default() };
    let target =
        Target { matrices: true, split: true, buffers: 8, workgroup_memory: 48 << 10, tuning, ..Target::default() };
    for step in steps {
        let kernels = generate_plan(&plan(9, vec![step], vec![], vec![]), target).unwrap().kernels;
        assert!(kernels.iter().any(|(_, kernel)| kernel.matrices), "{}", kernels[0].1.wgsl);
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
        let step = || Step::Contract(product(DType::F16, size, turns & 1 == 1, turns & 2 == 2));
        let [got, want] = backends.each_ref().map(|b| run(b, vec![step()], &slots));
        assert!(backends[0].has_matrices(), "the driver refused them");
        for slot in [2, 4] {
            let values = |bytes: &[Vec<u8>]| if slot == 2 { f16s(&bytes[2]) } else { f32s(&bytes[4]) };
            near(&values(&got), &values(&want), &format!("{size:?}, {turns}, slot {slot}"));
        }
    }
}

/// Sizes of products of f32; the last has its sums cut in parts.
const SPLIT: [[usize; 4]; 4] = [[1, 128, 128, 256], [3, 132, 200, 260], [2, 260, 68, 288], [1, 64, 192, 4096]];

/// Has products of f32 made of halves, however small.
fn splits(backend: &WgpuBackend) {
    backend.set_tuning(Tuning { split_work: 0, ..Tuning::default() });
    backend.allow_split(true);
}

/// `f32` with all their bits, of which rows and columns, and numbers within them, have very different sizes.
fn wide(rows: usize, columns: usize, seed: usize) -> Vec<f32> {
    let number = |i: usize| {
        let (r, c) = (i / columns, i % columns);
        let x = ((i * 7919 + seed * 104_729) % 100_003) as f32 / 50_001.5 - 1.0;
        x * 2f32.powi((r * 37 % 81) as i32 - 40) * 2f32.powi(-((c * 11 % 41) as i32))
    };
    (0..rows * columns).map(number).collect()
}

/// The other order in memory of a batch of matrices.
fn transposed(x: &[f32], [batch, rows, columns]: [usize; 3]) -> Vec<f32> {
    let from = |i: usize| (i / (rows * columns) * rows + i % rows) * columns + i / rows % columns;
    (0..batch * rows * columns).map(|i| x[from(i)]).collect()
}

#[test]
fn split_products_lose_no_more_than_they_may() {
    let Some(backends) = both() else { return };
    splits(&backends[0]);
    let all = SPLIT.into_iter().flat_map(|size| (0..4).map(move |turns| (size, turns))).collect();
    for (size, turns) in cases(&backends, all, &[(SPLIT[1], 0), (SPLIT[2], 2), (SPLIT[3], 1), (SPLIT[3], 3)]) {
        let [batch, m, n, k] = size;
        let mut a = wide(batch * m, k, 1);
        let mut b = transposed(&wide(batch * n, k, 2), [batch, n, k]);
        // A row of zeros, an infinity, a NaN, and numbers close to the largest and to the least there are.
        a[..k].fill(0.0);
        a[k + 1] = f32::INFINITY;
        b[2 * n + 5] = f32::NAN;
        a[2 * k..3 * k].iter_mut().for_each(|x| *x = x.signum() * 3e38);
        b.iter_mut().skip(7).step_by(n).for_each(|x| *x = x.signum() * 2e-38);
        let row: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let (a_turned, b_turned) = (turns & 1 == 1, turns & 2 == 2);
        let slots = [
            data(&if a_turned { transposed(&a, [batch, m, k]) } else { a.clone() }),
            data(&if b_turned { transposed(&b, [batch, k, n]) } else { b.clone() }),
            data(&vec![9.0f32; batch * m * n]),
            data(&row),
            data(&vec![9.0f32; batch * m * n]),
        ];
        let step = || Step::Contract(product(DType::F32, size, a_turned, b_turned));
        let kernels = backends[0].compile(plan(slots.len(), vec![step()], vec![], vec![])).unwrap().kernels();
        assert!(kernels.iter().any(|text| text.contains("fn sum_again")), "{size:?}\n{}", kernels.join("====="));
        let [got, strict] = backends.each_ref().map(|b| run(b, vec![step()], &slots));
        assert!(backends[0].has_matrices(), "the driver refused them");
        let (got, sums, strict) = (f32s(&got[2]), f32s(&got[4]), f32s(&strict[4]));
        let mut errors = [0.0f64; 2];
        for i in 0..batch * m * n {
            let (batch, r, c) = (i / (m * n), i / n % m, i % n);
            let (mut want, mut sizes, mut largest) = (0.0f64, 0.0f64, [0.0f64; 2]);
            for t in 0..k {
                let factors = [a[(batch * m + r) * k + t], b[(batch * k + t) * n + c]].map(f64::from);
                want += factors[0] * factors[1];
                sizes += (factors[0] * factors[1]).abs();
                largest = [0, 1].map(|i| largest[i].max(factors[i].abs()));
            }
            let most = 2f64.powi(-20) * sizes + 2f64.powi(-37) * k as f64 * largest[0] * largest[1];
            let what = format!("{size:?}, {turns}, element {r}, {c}: {} for {want}, strict {}", sums[i], strict[i]);
            if !want.is_finite() {
                assert!(sums[i] as f64 == want || sums[i].is_nan() && want.is_nan(), "{what}");
                continue;
            }
            if sizes > 1e38 {
                assert!((sums[i] as f64 - want).abs() <= 1e-5 * sizes || !sums[i].is_finite(), "{what}");
                continue;
            }
            if sizes < 1e-30 {
                assert!((sums[i] as f64 - want).abs() <= 1e-36 + 1e-5 * sizes, "{what}");
                continue;
            }
            for (error, x) in errors.iter_mut().zip([sums[i], strict[i]]) {
                *error = error.max((x as f64 - want).abs() / most);
            }
            assert_eq!(got[i], 2.0 * sums[i] + row[c], "{what}");
        }
        eprintln!("{size:?}, {turns}: {:.2} of what may be lost, strict {:.2}", errors[0], errors[1]);
        assert!(errors[0] <= 1.0, "{size:?}, {turns}: {} of what may be lost", errors[0]);
    }
}

/// On numbers of one size, as those of a layer are, what is lost is less than in f32.
#[test]
fn split_products_of_ordinary_numbers_are_more_exact_than_f32() {
    let Some(backends) = both() else { return };
    splits(&backends[0]);
    let size @ [_, m, n, k] = [1, 64, 64, 2048];
    let (a, b) = (even(m * k, 1), even(k * n, 2));
    let slots = [data(&a), data(&b), data(&vec![9.0f32; m * n]), data(&vec![0.0f32; n]), data(&vec![9.0f32; m * n])];
    let step = || Step::Contract(product(DType::F32, size, false, false));
    let [got, strict] = backends.each_ref().map(|b| f32s(&run(b, vec![step()], &slots)[4]));
    let want = |i: usize| -> f64 { (0..k).map(|t| a[i / n * k + t] as f64 * b[t * n + i % n] as f64).sum() };
    let off = |got: &[f32]| {
        let squares = (0..m * n).map(|i| (got[i] as f64 - want(i)).powi(2));
        (squares.sum::<f64>() / (m * n) as f64).sqrt()
    };
    let (split, strict) = (off(&got), off(&strict));
    eprintln!("off by {split:.2e}, strict {strict:.2e}");
    assert!(split <= strict, "off by {split:e}, strict by {strict:e}");
}

#[test]
fn what_was_compiled_before_the_setting_is_compiled_anew() -> Result<()> {
    let Some([backend, _]) = both() else { return Ok(()) };
    backend.set_tuning(Tuning { split_work: 0, ..Tuning::default() });
    let device = Device::new("mine", backend);
    let [x, y] = [(64, 256), (256, 64)].map(|(m, n)| Tensor::from_slice(&even(m * n, m as u32), [m, n], &device));
    x.realize()?;
    y.realize()?;
    let mut results = Vec::new();
    for allow in [false, true, false] {
        device.allow_split(allow);
        let before = device.stats().kernels_launched;
        let product = x.matmul(&y).to_vec::<f32>()?;
        results.push(product);
        // What is largest in the rows and in the columns is found first.
        assert_eq!(device.stats().kernels_launched - before, if allow { 3 } else { 1 });
    }
    assert_eq!(results[0], results[2]);
    for (split, strict) in results[1].iter().zip(&results[0]) {
        assert!((split - strict).abs() < 1e-4, "{split} instead of {strict}");
    }
    Ok(())
}

/// Operands as networks have them: several axes of a batch, some repeated or in another order, one tensor twice, and a gradient
/// that becomes an update in place.
#[test]
fn split_products_within_networks() -> Result<()> {
    let Some(backends) = both() else { return Ok(()) };
    splits(&backends[0]);
    let tensor = |shape: &[usize], seed: u32, device: &Device| {
        let tensor = Tensor::from_slice(&even(shape.iter().product(), seed), shape, device);
        tensor.realize().map(|()| tensor)
    };
    type Form<'a> = (&'a str, &'a dyn Fn(&Device) -> Result<Tensor>);
    let forms: [Form<'_>; 4] = [
        ("repeated", &|device| Ok(tensor(&[2, 1, 64, 260], 1, device)?.matmul(&tensor(&[2, 260, 64], 2, device)?))),
        ("heads", &|device| {
            let [q, k] = [1, 2].map(|seed| tensor(&[1, 64, 2, 256], seed, device));
            Ok(q?.permute(&[0, 2, 1, 3]).matmul(&k?.permute(&[0, 2, 3, 1])))
        }),
        ("twice", &|device| {
            let x = tensor(&[64, 260], 1, device)?;
            Ok(x.matmul(&x.t()))
        }),
        // Whose product has too few terms, but not its gradient.
        ("update", &|device| {
            let layer = Linear::without_bias(64, 68, &Init::new(0, device));
            let mut optimizer = Sgd::new(layer.parameters(), 1.0);
            let y = layer.forward(&tensor(&[260, 64], 1, device)?) * tensor(&[260, 68], 2, device)?;
            optimizer.step(y.sum(..).backward()?)?;
            Ok(layer.weight().get())
        }),
    ];
    let devices = backends.map(|backend| Device::new("mine", backend));
    for (name, form) in forms {
        let [split, strict] = devices.each_ref().map(|device| form(device)?.to_vec::<f32>());
        let (split, strict) = (split?, strict?);
        assert_eq!(split.len(), strict.len());
        assert!(split != strict, "{name} is not made of halves");
        for (i, (split, strict)) in split.iter().zip(&strict).enumerate() {
            assert!((split - strict).abs() < 1e-4, "{name}, element {i}: {split} instead of {strict}");
        }
    }
    Ok(())
}

/// From -1 to 1, with all their bits.
fn even(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
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
