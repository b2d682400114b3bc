//! Floats of 16 bits on every device: the same bits as the CPU where f32 arithmetic is exact, and those of PyTorch.

#[path = "common/cases.rs"]
mod cases;
mod common;

use common::{devices, numbers};
use sunstone::dtype::{bf16, f16};
use sunstone::nn::{Init, Linear};
use sunstone::optim::{AdamW, Sgd};
use sunstone::prelude::*;

const HALVES: [DType; 2] = [DType::F16, DType::BF16];

/// What a number in [1, 2) is to the next one.
fn step_of(dtype: DType) -> f64 {
    if dtype == DType::F16 { 2f64.powi(-10) } else { 2f64.powi(-7) }
}

/// The elements as `f64`, whatever their type.
fn values(x: &Tensor) -> Vec<f64> {
    let x = x.cast(DType::F64.min(if x.device().name() == "cpu" { DType::F64 } else { DType::F32 }));
    match x.dtype() {
        DType::F64 => x.to_vec::<f64>().unwrap(),
        _ => x.to_vec::<f32>().unwrap().into_iter().map(f64::from).collect(),
    }
}

/// The elements' bits; all NaNs are one.
fn bits(x: &Tensor) -> Vec<u16> {
    match x.dtype() {
        DType::F16 => {
            x.to_vec::<f16>().unwrap().iter().map(|h| if h.is_nan() { 0x7e00 } else { h.to_bits() }).collect()
        }
        _ => x.to_vec::<bf16>().unwrap().iter().map(|h| if h.is_nan() { 0x7fc0 } else { h.to_bits() }).collect(),
    }
}

fn to_bits(values: &[f32], dtype: DType) -> Vec<u16> {
    let one = |v: f32| match dtype {
        _ if v.is_nan() => {
            if dtype == DType::F16 {
                0x7e00
            } else {
                0x7fc0
            }
        }
        DType::F16 => f16::from_f32(v).to_bits(),
        _ => bf16::from_f32(v).to_bits(),
    };
    values.iter().map(|&v| one(v)).collect()
}

fn half(values: &[f32], shape: &[usize], dtype: DType, device: &Device) -> Tensor {
    match dtype {
        DType::F16 => {
            let v: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
            Tensor::from_slice(&v, shape, device)
        }
        _ => {
            let v: Vec<bf16> = values.iter().map(|&v| bf16::from_f32(v)).collect();
            Tensor::from_slice(&v, shape, device)
        }
    }
}

#[test]
fn every_half_becomes_its_f32_and_comes_back() -> Result<()> {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    for device in devices() {
        let h: Vec<f16> = all.iter().map(|&b| f16::from_bits(b)).collect();
        let x = Tensor::from_slice(&h, [h.len()], &device);
        let wide = x.cast(DType::F32);
        for (g, h) in wide.to_vec::<f32>()?.iter().zip(&h) {
            assert!(g.to_bits() == h.to_f32().to_bits() || (g.is_nan() && h.is_nan()), "{g} for {h} on {device}");
        }
        assert_eq!(bits(&wide.cast(DType::F16)), bits(&x), "{device}");
        let b: Vec<bf16> = all.iter().map(|&b| bf16::from_bits(b)).collect();
        let x = Tensor::from_slice(&b, [b.len()], &device);
        let wide = x.cast(DType::F32);
        for (g, b) in wide.to_vec::<f32>()?.iter().zip(&b) {
            assert!(g.to_bits() == b.to_f32().to_bits() || (g.is_nan() && b.is_nan()), "{g:e} for {b:e} on {device}");
        }
        assert_eq!(bits(&wide.cast(DType::BF16)), bits(&x), "{device}");
    }
    Ok(())
}

#[test]
fn f32_rounds_to_the_nearest_half_and_ties_to_even() -> Result<()> {
    let mut x: Vec<f32> = Vec::new();
    for bits in (0..=u16::MAX).step_by(3) {
        for v in [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()] {
            for low in [0u32, 1, 0xfff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001] {
                x.push(f32::from_bits(v.to_bits() ^ low));
            }
        }
    }
    x.extend([65504.0, 65519.996, 65520.0, -65520.0, 1e38, 2.9802322e-8, 2.980233e-8, 5.9604645e-8, 6.1e-5, 1e-45]);
    for device in devices() {
        let t = Tensor::from_slice(&x, [x.len()], &device);
        for dtype in HALVES {
            let (got, expected) = (bits(&t.cast(dtype)), to_bits(&x, dtype));
            for ((g, e), x) in got.iter().zip(&expected).zip(&x) {
                assert_eq!(g, e, "{x:e} as {dtype} on {device}: {g:04x}, not {e:04x}");
            }
        }
    }
    Ok(())
}

/// Single ops: what PyTorch does, the f32 result rounded once.
#[test]
fn every_op_is_the_f32_op_rounded() -> Result<()> {
    type Unary = fn(&Tensor) -> Tensor;
    type Binary = fn(&Tensor, &Tensor) -> Tensor;
    let exact: &[(&str, Unary)] = &[
        ("neg", |x| -x),
        ("abs", Tensor::abs),
        ("sign", Tensor::sign),
        ("relu", Tensor::relu),
        ("floor", Tensor::floor),
        ("ceil", Tensor::ceil),
        ("round", Tensor::round),
        ("trunc", Tensor::trunc),
        ("x + 0.1", |x| x + 0.5),
        ("x * 0.1", |x| x * 0.1),
        ("0.999 x", |x| 0.999 * x),
        ("1 - x", |x| 1.0 - x),
        ("cube", |x| x * x * x),
        ("clamp", |x| x.clamp(-0.75, 1.5)),
        ("isnan", |x| x.isnan().cast(x.dtype())),
        ("not", |x| x.logical_not().cast(x.dtype())),
        ("to i32", |x| x.cast(DType::I32).cast(x.dtype())),
        ("to u8", |x| x.cast(DType::U8).cast(x.dtype())),
        ("to bool", |x| x.cast(DType::Bool).cast(x.dtype())),
    ];
    let near: &[(&str, Unary)] = &[
        ("sqrt", Tensor::sqrt),
        ("rsqrt", Tensor::rsqrt),
        ("recip", Tensor::recip),
        ("exp", Tensor::exp),
        ("exp2", Tensor::exp2),
        ("expm1", Tensor::expm1),
        ("log", Tensor::log),
        ("log2", Tensor::log2),
        ("log10", Tensor::log10),
        ("log1p", Tensor::log1p),
        ("sin", Tensor::sin),
        ("cos", Tensor::cos),
        ("tan", Tensor::tan),
        ("asin", Tensor::asin),
        ("acos", Tensor::acos),
        ("atan", Tensor::atan),
        ("sinh", Tensor::sinh),
        ("cosh", Tensor::cosh),
        ("tanh", Tensor::tanh),
        ("erf", Tensor::erf),
        ("sigmoid", Tensor::sigmoid),
        ("gelu", Tensor::gelu),
        ("silu", Tensor::silu),
    ];
    let pairs: &[(&str, bool, Binary)] = &[
        ("add", true, |a, b| a + b),
        ("sub", true, |a, b| a - b),
        ("mul", true, |a, b| a * b),
        ("div", false, |a, b| a / b),
        ("pow", false, |a, b| a.abs().pow(b)),
        ("maximum", true, |a, b| a.maximum(b)),
        ("minimum", true, |a, b| a.minimum(b)),
        ("atan2", false, |a, b| a.atan2(b)),
        ("eq", true, |a, b| a.eq(b).cast(a.dtype())),
        ("lt", true, |a, b| a.lt(b).cast(a.dtype())),
        ("le", true, |a, b| a.le(b).cast(a.dtype())),
        ("ge", true, |a, b| a.ge(b).cast(a.dtype())),
        ("where", true, |a, b| a.where_(&a.gt(b), b)),
    ];
    let special = [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 300.0, -70000.0, 6e-8, 65504.0];
    let x: Vec<f32> = special.into_iter().chain(numbers(990, 3)).collect();
    let y: Vec<f32> = numbers(997, 4).into_iter().chain([0.0, f32::NAN, 2.0, -2.0]).collect();
    assert_eq!((x.len(), y.len()), (1001, 1001));
    for device in devices() {
        for dtype in HALVES {
            let (a, b) = (half(&x, &[7, 143], dtype, &device), half(&y, &[7, 143], dtype, &device));
            let (wa, wb) =
                (a.to_device(&Device::cpu())?.cast(DType::F32), b.to_device(&Device::cpu())?.cast(DType::F32));
            let check = |name: &str, exact: bool, got: &Tensor, wide: &Tensor| {
                assert_eq!(got.dtype(), dtype, "{name}");
                let expected = wide.cast(dtype);
                let all = bits(got).into_iter().zip(bits(&expected)).zip(values(got).into_iter().zip(values(wide)));
                for (i, ((g, e), (gv, ev))) in all.enumerate() {
                    // Neighbours of one sign have neighbouring bits. What is below every normal half has larger steps.
                    let near = (g ^ e) & 0x8000 == 0 && g.abs_diff(e) <= 1 || (gv - ev).abs() < 1e-7;
                    let (x, y) = (x[i], y[i]);
                    assert!(
                        g == e || gv == ev || (!exact && near),
                        "{name}({x}, {y}) in {dtype} on {device}: {g:04x} {gv}, not {e:04x} {ev}"
                    );
                }
            };
            for (name, f) in exact {
                // Several ops in one: rounded after each.
                let wide = match *name {
                    "cube" => (&wa * &wa).cast(dtype).cast(DType::F32) * &wa,
                    _ => f(&wa),
                };
                check(name, true, &f(&a), &wide);
            }
            for (name, f) in near {
                check(name, false, &f(&a), &f(&wa));
            }
            for (name, exact, f) in pairs {
                check(name, *exact, &f(&a, &b), &f(&wa, &wb));
            }
        }
    }
    Ok(())
}

/// The op table in halves, against f64 of the same operands; and every device against the CPU.
#[test]
fn the_table_of_ops_holds_in_halves() -> Result<()> {
    for case in cases::cases() {
        for dtype in HALVES {
            let cpu = Device::cpu();
            let data = case.data();
            let narrow = |d: &[f64]| d.iter().map(|&v| v as f32).collect::<Vec<f32>>();
            let inputs: Vec<Tensor> =
                (case.inputs.iter().zip(&data)).map(|((shape, _), d)| half(&narrow(d), shape, dtype, &cpu)).collect();
            let reference = (case.f)(&inputs.iter().map(|t| t.cast(DType::F64)).collect::<Vec<_>>());
            let first = (case.f)(&inputs);
            assert_eq!(first.dtype(), dtype, "{}", case.name);
            let (expected, reference) = (values(&first), values(&reference));
            let scale = |v: &[f64]| v.iter().fold(1f64, |m, x| if x.is_finite() { m.max(x.abs()) } else { m });
            let close = |what: &str, a: &[f64], b: &[f64], steps: f64| {
                assert_eq!(a.len(), b.len());
                let tolerance = steps * step_of(dtype) * scale(b);
                for (i, (a, b)) in a.iter().zip(b).enumerate() {
                    let both = a.is_nan() && b.is_nan() || a.is_infinite() && b.abs() > f16::MAX.to_f64();
                    let fits = a == b || both || (a - b).abs() <= tolerance;
                    assert!(fits, "{} in {dtype}, {what}: element {i} is {a}, expected {b}", case.name);
                }
            };
            if case.smooth && !["remainder", "floor_divide"].contains(&case.name) {
                close("against f64", &expected, &reference, 12.0);
            }
            for device in devices().into_iter().skip(1) {
                let there: Vec<Tensor> = inputs.iter().map(|t| t.to_device(&device)).collect::<Result<_>>()?;
                close(device.name(), &values(&(case.f)(&there)), &expected, 4.0);
            }
        }
    }
    Ok(())
}

#[test]
fn gradients_of_halves_are_halves() -> Result<()> {
    for case in cases::cases().into_iter().filter(|c| c.smooth) {
        let dtype = DType::BF16;
        let gradients = |device: &Device| -> Result<Vec<Vec<f64>>> {
            let make = |((shape, _), d): (&(Vec<usize>, cases::Domain), &Vec<f64>)| {
                let narrow: Vec<f32> = d.iter().map(|&v| v as f32).collect();
                half(&narrow, shape, dtype, device).requires_grad()
            };
            let inputs: Vec<Tensor> = case.inputs.iter().zip(&case.data()).map(make).collect();
            let grads = (case.f)(&inputs).sum(..).backward()?;
            inputs.iter().for_each(|x| assert!(grads.get(x).is_none_or(|g| g.dtype() == dtype), "{}", case.name));
            Ok(inputs.iter().filter_map(|x| grads.get(x)).map(|g| values(&g)).collect())
        };
        let expected = gradients(&Device::cpu())?;
        for device in devices().into_iter().skip(1) {
            for (got, expected) in gradients(&device)?.iter().zip(&expected) {
                let scale = expected.iter().fold(1f64, |m, x| m.max(x.abs()));
                for (g, e) in got.iter().zip(expected) {
                    let fits = g == e || (g.is_nan() && e.is_nan()) || (g - e).abs() <= 6.0 * step_of(dtype) * scale;
                    assert!(fits, "gradient of {} on {device}: {g}, expected {e}", case.name);
                }
            }
        }
    }
    Ok(())
}

/// One kernel or one for each op: the same bits, because each op rounds.
#[test]
fn fused_is_as_op_by_op() -> Result<()> {
    for device in devices() {
        for dtype in HALVES {
            let x = half(&numbers(333, 1), &[9, 37], dtype, &device);
            let y = half(&numbers(37, 2), &[37], dtype, &device);
            type Step = fn(&Tensor, &Tensor) -> Tensor;
            let steps: [Step; 6] = [
                |a, y| a * y + 0.3,
                |a, _| a.square() - 1.0,
                |a, y| a.maximum(y) * 0.7,
                |a, y| a + a.sum_keepdim(1) * y,
                |a, _| a.t().flip(0).t() * 3.0,
                |a, y| (a - y).abs(),
            ];
            let fused = steps.iter().fold(x.clone(), |a, f| f(&a, &y));
            let mut apart = x.clone();
            for f in steps {
                apart = f(&apart, &y);
                apart.realize()?;
            }
            assert_eq!(bits(&fused), bits(&apart), "{dtype} on {device}");
        }
    }
    Ok(())
}

#[test]
fn words_are_shared_without_losing_a_half() -> Result<()> {
    for device in devices() {
        for dtype in HALVES {
            // Every size of the parts, so that pieces begin in either half of a word.
            for (m, n, k) in [(1, 1, 1), (1, 2, 3), (3, 5, 2), (2, 7, 1), (5, 255, 1), (33, 1, 300)] {
                let part = |n: usize, salt| half(&numbers(3 * n, salt), &[3, n], dtype, &device);
                let (a, b, c) = (part(m, 1), part(n, 2), part(k, 3));
                let all = Tensor::cat(&[&a, &b, &c], 1);
                all.realize()?;
                let (va, vb, vc) = (bits(&a), bits(&b), bits(&c));
                let rows = (0..3).flat_map(|r| [&va[r * m..][..m], &vb[r * n..][..n], &vc[r * k..][..k]].concat());
                assert_eq!(bits(&all), rows.collect::<Vec<_>>(), "{m} {n} {k} {dtype} on {device}");
                // Parts read back by themselves begin in the middle of a word as well.
                let row = all.slice((1, 1..));
                assert_eq!(bits(&row), bits(&all)[m + n + k + 1..2 * (m + n + k)], "{m} {n} {k} on {device}");
                assert_eq!(bits(&all.slice((1.., ..)).slice(0)), bits(&all)[m + n + k..2 * (m + n + k)]);
                let turned = all.t() * 1.0;
                turned.realize()?;
                assert_eq!(bits(&turned.t()), bits(&all));
            }
            // Rows of odd length: neighbours in a word belong to different rows.
            for shape in [[300, 3], [7, 33], [5, 1025], [2, 5001]] {
                let x = half(&numbers(shape[0] * shape[1], 9), &shape, dtype, &device);
                let (sum, scaled) = (x.sum_keepdim(1), &x - x.max_keepdim(1));
                let both = (sum.to_device(&Device::cpu())?, scaled.to_device(&Device::cpu())?);
                let x = x.to_device(&Device::cpu())?;
                assert_eq!(bits(&both.1), bits(&(&x - x.max_keepdim(1))), "{shape:?} {dtype} on {device}");
                let wide = x.cast(DType::F64).sum_keepdim(1);
                for (g, e) in values(&both.0).iter().zip(values(&wide)) {
                    assert!((g - e).abs() <= step_of(dtype) * e.abs().max(0.01), "{g} instead of {e} on {device}");
                }
            }
            let m =
                half(&numbers(35, 5), &[5, 7], dtype, &device).matmul(&half(&numbers(21, 6), &[7, 3], dtype, &device));
            let c = Device::cpu();
            let e = half(&numbers(35, 5), &[5, 7], dtype, &c).matmul(&half(&numbers(21, 6), &[7, 3], dtype, &c));
            for (g, e) in bits(&m).iter().zip(bits(&e)) {
                assert!(g.abs_diff(e) <= 1, "{g:04x} {e:04x} on {device}");
            }
        }
    }
    Ok(())
}

#[test]
fn sums_of_halves_do_not_stall_or_overflow_on_the_way() -> Result<()> {
    for device in devices() {
        for dtype in HALVES {
            let ones = Tensor::ones([70_000], dtype, &device);
            assert_eq!(values(&ones.mean(..)), [1.0], "{dtype} on {device}");
            assert_eq!(values(&ones.narrow(0, 0, 4096).sum(..)), [4096.0]);
            let sum = values(&ones.sum(..))[0];
            // As PyTorch: too large for f16, and rounded to 8 bits in bf16.
            assert_eq!(sum, if dtype == DType::F16 { f64::INFINITY } else { 70144.0 });
            let big = half(&[60000.0, 60000.0], &[2], DType::BF16, &device).cast(dtype);
            assert_eq!(values(&big.mean(..))[0], values(&big)[0]);
            // 1,000 times 0.1 at one place.
            let at = Tensor::zeros([1000], DType::I32, &device);
            let sum =
                Tensor::zeros([1], dtype, &device).scatter_add(0, &at, &Tensor::full([1000], 0.1, dtype, &device));
            let exact = values(&Tensor::full([1], 0.1, dtype, &device))[0] * 1000.0;
            assert!((values(&sum)[0] - exact).abs() <= step_of(dtype) * exact, "{dtype} on {device}");
        }
    }
    Ok(())
}

#[test]
fn nan_and_infinity_go_through_folds() -> Result<()> {
    for device in devices() {
        for dtype in HALVES {
            let x = half(&[1.0, f32::NAN, 3.0, 4.0, f32::INFINITY, 2.0], &[2, 3], dtype, &device);
            let (max, min) = (values(&x.max(1)), values(&x.min(1)));
            assert!(max[0].is_nan() && max[1] == f64::INFINITY && min[0].is_nan() && min[1] == 2.0, "{device}");
            assert_eq!(x.argmax(1).to_vec::<i32>()?, [1, 1]);
            assert_eq!(x.argmin(1).to_vec::<i32>()?, [1, 2]);
            let (values_, at) = x.max_with_indices(1);
            assert!(values(&values_)[0].is_nan());
            assert_eq!(at.to_vec::<i32>()?, [1, 1]);
        }
    }
    Ok(())
}

#[test]
fn optimizers_update_halves_in_place() -> Result<()> {
    for dtype in HALVES {
        let mut runs = Vec::new();
        for device in common::private_devices() {
            type Make = fn(Vec<(String, sunstone::nn::Parameter)>) -> Box<dyn Optimizer>;
            let make: [Make; 2] =
                [|p| Box::new(Sgd::new(p, 0.05).momentum(0.9)), |p| Box::new(AdamW::new(p, 0.01).eps(1e-4))];
            for make in make {
                let model = Linear::new(7, 5, &Init::new(3, &device).dtype(dtype));
                let mut optimizer = make(model.parameters());
                let x = half(&numbers(21, 8), &[3, 7], dtype, &device);
                let mut losses = Vec::new();
                let mut settled = None;
                for i in 0..8 {
                    let loss = (model.forward(&x) - 1.0).square().mean(..);
                    let (gradients, _) = loss.backward()?.clip_norm(1.0);
                    optimizer.step(gradients)?;
                    losses.push(values(&loss)[0]);
                    let stats = device.stats();
                    if i >= 3 {
                        // Nothing new is planned, and every parameter keeps its memory.
                        let now = (stats.plans_built, stats.bytes_in_use);
                        assert_eq!(*settled.get_or_insert(now), now, "{dtype} on {device}");
                    }
                }
                assert_eq!(model.weight().get().dtype(), dtype);
                assert!(losses[7] < losses[0] * 0.9, "{losses:?}");
                runs.push((device.name().to_owned(), losses));
            }
        }
        // Two optimizers on each device, the CPU first.
        for (i, (name, losses)) in runs.iter().enumerate().skip(2) {
            let expected = &runs[i % 2].1;
            let fits = losses.iter().zip(expected).all(|(a, b)| (a - b).abs() < 0.05 * b.max(0.2));
            assert!(fits, "{dtype} on {name}: {losses:?} instead of {expected:?}");
        }
    }
    Ok(())
}

#[test]
fn halves_go_to_files_and_come_back() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("halves.safetensors");
    for device in devices() {
        let tensors: Vec<(String, Tensor)> = HALVES
            .into_iter()
            .flat_map(|d| {
                [
                    (format!("{d}.odd"), half(&numbers(15, 1), &[3, 5], d, &device).t()),
                    (format!("{d}"), half(&[f32::NAN], &[], d, &device)),
                ]
            })
            .collect();
        sunstone::io::safetensors::save(&path, &tensors, &Default::default())?;
        let (loaded, _) = sunstone::io::safetensors::load(&path, &device)?;
        for (name, tensor) in &tensors {
            let (_, back) = loaded.iter().find(|(n, _)| n == name).expect("it was saved");
            assert_eq!(
                (back.dtype(), back.shape(), bits(back)),
                (tensor.dtype(), tensor.shape(), bits(tensor)),
                "{name}"
            );
        }
    }
    Ok(())
}

#[test]
fn types_meet_as_in_pytorch() -> Result<()> {
    let device = Device::cpu();
    let of = |dtype| Tensor::ones([2], dtype, &device);
    for half in HALVES {
        for other in DType::ALL {
            let expected = match other {
                DType::F64 => DType::F64,
                DType::F32 => DType::F32,
                o if o.is_half() && o != half => DType::F32,
                _ => half,
            };
            assert_eq!((of(half) + of(other)).dtype(), expected, "{half} with {other}");
            assert_eq!(values(&of(other).cast(half).cast(other)), [1.0, 1.0]);
        }
        assert_eq!((of(half) + 1).dtype(), half);
        assert_eq!((0.5f64 * of(half)).dtype(), half);
        assert_eq!(of(half).sum(..).dtype(), half);
        assert!(of(half).shl(1).error().is_some() && of(half).bitwise_and(of(half)).error().is_some());
    }
    assert_eq!(Tensor::full([2], 0.1, DType::F16, &device).eq(0.1).all(..).to_vec::<bool>()?, [true]);
    assert_eq!(format!("{}", half(&[1.5, -2.0], &[2], DType::F16, &device)), "[ 1.5000, -2.0000]");
    Ok(())
}

/// The types of whole numbers that GPUs lack are whole on the CPU, and an error says what to take instead.
#[test]
fn what_a_device_lacks_is_named() -> Result<()> {
    for device in devices().into_iter().skip(1) {
        for (dtype, near) in [(DType::F64, "f32"), (DType::I64, "i32")] {
            let message = Tensor::zeros([2], dtype, &device).realize().unwrap_err().to_string();
            assert!(message.contains(dtype.name()) && message.contains(near), "{message}");
        }
    }
    let x = Tensor::from_slice(&[i64::MAX, -7, 5], [3], &Device::cpu());
    assert_eq!((&x / 2).dtype(), DType::F32);
    assert_eq!(x.floor_divide(2).to_vec::<i64>()?, [i64::MAX / 2, -4, 2]);
    assert_eq!(x.remainder(4).to_vec::<i64>()?, [3, 1, 1]);
    assert_eq!(x.sum(..).item::<i64>()?, i64::MAX.wrapping_sub(2));
    assert_eq!(x.max(..).item::<i64>()?, i64::MAX);
    assert_eq!((x.shr(1).bitwise_and(3)).to_vec::<i64>()?, [3, 0, 2]);
    let b = Tensor::from_slice(&[200u8, 100, 7], [3], &Device::cpu());
    assert_eq!((&b + &b).to_vec::<u8>()?, [144, 200, 14]);
    assert_eq!(b.argmax(0).item::<i32>()?, 0);
    assert_eq!((&b * &x.cast(DType::U8)).dtype(), DType::U8);
    Ok(())
}
