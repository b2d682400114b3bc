//! Values: every op of the table on every device against the CPU, the CPU against plain formulas, and the edges.

#[path = "common/cases.rs"]
mod cases;
mod common;

use common::{assert_close, close, devices, numbers};
use sunstone::prelude::*;

/// f32 results of different devices may differ by rounding, in another order of sums and in transcendental functions.
const F32: f64 = 2e-5;

#[test]
fn every_op_agrees_with_double_precision_on_every_device() -> Result<()> {
    let cases = cases::cases();
    for device in devices() {
        for case in &cases {
            let exact = {
                let inputs: Vec<Tensor> = tensors_f64(case);
                (case.f)(&inputs).to_vec::<f64>().unwrap_or_else(|e| panic!("{} on f64: {e}", case.name))
            };
            let inputs: Vec<Tensor> = tensors_f32(case, &device);
            let y = (case.f)(&inputs);
            let got = y.to_vec::<f32>().unwrap_or_else(|e| panic!("{} on {device}: {e}", case.name));
            let exact: Vec<f32> = exact.iter().map(|&v| v as f32).collect();
            assert_close(&format!("{} on {device}", case.name), &got, &exact, F32);
        }
    }
    println!("{} cases on {} devices", cases.len(), devices().len());
    Ok(())
}

#[test]
fn every_gradient_agrees_between_devices() -> Result<()> {
    for device in devices().into_iter().skip(1) {
        for case in cases::cases().iter().filter(|c| c.smooth) {
            let grads = |device: &Device| -> Result<Vec<Vec<f32>>> {
                let vars: Vec<Tensor> = tensors_f32(case, device).into_iter().map(Tensor::requires_grad).collect();
                let grads = (case.f)(&vars).sum(..).backward()?;
                vars.iter().map(|v| grads.get(v).map_or(Ok(vec![0.0; v.numel()]), |g| g.to_vec())).collect()
            };
            let name = |e: Error| panic!("gradient of {} on {device}: {e}", case.name);
            let (mine, truth) = (grads(&device).unwrap_or_else(name), grads(&Device::cpu()).unwrap_or_else(name));
            for (k, (m, t)) in mine.iter().zip(&truth).enumerate() {
                assert_close(&format!("gradient {k} of {} on {device}", case.name), m, t, 1e-4);
            }
        }
    }
    Ok(())
}

fn tensors_f64(case: &cases::Case) -> Vec<Tensor> {
    let data = case.data();
    case.inputs.iter().zip(&data).map(|((shape, _), d)| Tensor::from_slice(d, &shape[..], &Device::cpu())).collect()
}

fn tensors_f32(case: &cases::Case, device: &Device) -> Vec<Tensor> {
    let data = case.data();
    let narrow = |d: &[f64]| d.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    case.inputs.iter().zip(&data).map(|((shape, _), d)| Tensor::from_slice(&narrow(d), &shape[..], device)).collect()
}

type Map = (&'static str, fn(&Tensor) -> Tensor, fn(f64) -> f64);

#[test]
fn maps_follow_their_formulas_also_at_the_edges() -> Result<()> {
    let maps: Vec<Map> = vec![
        ("neg", |x| -x, |x| -x),
        ("abs", |x| x.abs(), f64::abs),
        (
            "sign",
            |x| x.sign(),
            |x| {
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    x
                }
            },
        ),
        ("sqrt", |x| x.sqrt(), f64::sqrt),
        ("rsqrt", |x| x.rsqrt(), |x| 1.0 / x.sqrt()),
        ("recip", |x| x.recip(), |x| 1.0 / x),
        ("exp", |x| x.exp(), f64::exp),
        ("exp2", |x| x.exp2(), f64::exp2),
        ("expm1", |x| x.expm1(), f64::exp_m1),
        ("log", |x| x.log(), f64::ln),
        ("log2", |x| x.log2(), f64::log2),
        ("log10", |x| x.log10(), f64::log10),
        ("log1p", |x| x.log1p(), f64::ln_1p),
        ("sin", |x| x.sin(), f64::sin),
        ("cos", |x| x.cos(), f64::cos),
        ("atan", |x| x.atan(), f64::atan),
        ("asin", |x| x.asin(), f64::asin),
        ("acos", |x| x.acos(), f64::acos),
        ("sinh", |x| x.sinh(), f64::sinh),
        ("cosh", |x| x.cosh(), f64::cosh),
        ("tanh", |x| x.tanh(), f64::tanh),
        ("sigmoid", |x| x.sigmoid(), |x| 1.0 / (1.0 + (-x).exp())),
        ("relu", |x| x.relu(), |x| if x.is_nan() { x } else { x.max(0.0) }),
        ("floor", |x| x.floor(), f64::floor),
        ("ceil", |x| x.ceil(), f64::ceil),
        ("trunc", |x| x.trunc(), f64::trunc),
        ("round", |x| x.round(), f64::round_ties_even),
        ("maximum with 0.5", |x| x.maximum(0.5), |x| if x.is_nan() { x } else { x.max(0.5) }),
        ("minimum with 0.5", |x| x.minimum(0.5), |x| if x.is_nan() { x } else { x.min(0.5) }),
        ("isnan", |x| x.isnan().cast(DType::F32), |x| x.is_nan() as u8 as f64),
        ("isinf", |x| x.isinf().cast(DType::F32), |x| x.is_infinite() as u8 as f64),
        ("isfinite", |x| x.isfinite().cast(DType::F32), |x| x.is_finite() as u8 as f64),
        ("x == x", |x| x.eq(x).cast(DType::F32), |x| !x.is_nan() as u8 as f64),
        ("x < 1", |x| x.lt(1.0).cast(DType::F32), |x| (x < 1.0) as u8 as f64),
        ("x >= 1", |x| x.ge(1.0).cast(DType::F32), |x| (x >= 1.0) as u8 as f64),
        ("x != 1", |x| x.ne(1.0).cast(DType::F32), |x| (x != 1.0) as u8 as f64),
        ("to i32", |x| x.cast(DType::I32).cast(DType::F32), |x| (x as i32) as f32 as f64),
        ("to u8", |x| x.cast(DType::U8).cast(DType::F32), |x| (x as u8) as f64),
        ("to bool", |x| x.cast(DType::Bool).cast(DType::F32), |x| (x != 0.0) as u8 as f64),
        ("x to the 3", |x| x.pow(3.0), |x| x.powf(3.0)),
        ("x to the 0", |x| x.pow(0.0), |_| 1.0),
        ("remainder by -1.5", |x| x.remainder(-1.5), |x| x - -1.5 * (x / -1.5).floor()),
    ];
    let mut x: Vec<f32> = vec![
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        2.5,
        -2.5,
        3.7,
        -3.7,
        20.0,
        -20.0,
        88.0,
        -87.0,
        100.0,
        -100.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-6,
        -1e-6,
        1e-3,
        255.0,
        300.0,
        1e9,
        -1e9,
    ];
    x.extend(numbers(200, 5));
    for device in devices() {
        let t = Tensor::from_slice(&x, [x.len()], &device);
        for (name, f, formula) in &maps {
            let got = f(&t).to_vec::<f32>()?;
            for (&x, &g) in x.iter().zip(&got) {
                // Sines of large arguments lose digits on GPUs, and are of no use.
                if matches!(*name, "sin" | "cos") && x.abs() > 100.0 {
                    continue;
                }
                if *name == "remainder by -1.5" && (x.is_infinite() || x.abs() > 1e6) {
                    continue;
                }
                let e = formula(x as f64) as f32;
                let fits = close(g as f64, e as f64, 1e-5) || (e.is_infinite() && g == e);
                assert!(fits, "{name}({x}) is {g} on {device}, expected {e}");
            }
        }
    }
    Ok(())
}

#[test]
fn empty_tensors_and_axes_of_size_one() -> Result<()> {
    for device in devices() {
        let empty = Tensor::zeros([0, 3], DType::F32, &device);
        assert_eq!((&empty + 1.0).exp().to_vec::<f32>()?, [0f32; 0]);
        assert_eq!(empty.sum(0).to_vec::<f32>()?, [0.0; 3]);
        assert_eq!(empty.prod(0).to_vec::<f32>()?, [1.0; 3]);
        assert_eq!(empty.sum(1).to_vec::<f32>()?, [0f32; 0]);
        assert_eq!(empty.sum(..).item::<f32>()?, 0.0);
        assert!(empty.max(0).to_vec::<f32>().is_err());
        assert_eq!(empty.t().matmul(&empty).to_vec::<f32>()?, [0.0; 9]);
        assert_eq!(empty.matmul(&Tensor::ones([3, 2], DType::F32, &device)).to_vec::<f32>()?, [0f32; 0]);
        let full = Tensor::ones([2, 3], DType::F32, &device);
        assert_eq!(Tensor::cat(&[&empty, &full], 0).to_vec::<f32>()?, [1.0; 6]);
        assert_eq!(empty.pad(&[(1, 1), (0, 0)], 2.0).to_vec::<f32>()?, [2.0; 6]);
        assert_eq!(full.slice((1..1, ..)).to_vec::<f32>()?, [0f32; 0]);
        let one = Tensor::ones([1, 1, 1], DType::F32, &device);
        assert_eq!((one.sum(1) + one.max(0)).to_vec::<f32>()?, [2.0]);
        assert_eq!(one.argmax(2).to_vec::<i32>()?, [0]);
        assert_eq!(one.softmax(-1).to_vec::<f32>()?, [1.0]);
        // Gradients of empty things exist and are empty.
        let v = Tensor::zeros([0, 3], DType::F32, &device).requires_grad();
        let g = v.exp().sum(..).backward()?;
        assert_eq!(g.get(&v).map(|g| g.numel()), Some(0));
    }
    Ok(())
}

#[test]
fn nan_and_infinity_go_through_folds() -> Result<()> {
    for device in devices() {
        let x = Tensor::from_slice(&[1.0f32, f32::NAN, 3.0, 4.0, f32::INFINITY, 2.0], [2, 3], &device);
        let max = x.max(1).to_vec::<f32>()?;
        assert!(max[0].is_nan() && max[1] == f32::INFINITY, "{max:?} on {device}");
        let min = x.min(1).to_vec::<f32>()?;
        assert!(min[0].is_nan() && min[1] == 2.0, "{min:?} on {device}");
        assert_eq!(x.argmax(1).to_vec::<i32>()?, [1, 1], "{device}");
        assert_eq!(x.argmin(1).to_vec::<i32>()?, [1, 2], "{device}");
        let sum = x.sum(1).to_vec::<f32>()?;
        assert!(sum[0].is_nan() && sum[1] == f32::INFINITY);
        let ties = Tensor::from_slice(&[2.0f32, 5.0, 5.0, 1.0, 1.0, 5.0], [6], &device);
        assert_eq!((ties.argmax(0).item::<i32>()?, ties.argmin(0).item::<i32>()?), (1, 3));
    }
    Ok(())
}

#[test]
fn more_workgroups_than_one_axis_of_a_dispatch_holds() -> Result<()> {
    // 65,535 workgroups of 256 invocations are 16.8 million points.
    let n = 65_535 * 256 + 1000;
    for device in devices() {
        let x = Tensor::arange(n, &device).cast(DType::F32);
        let y = (x * 0.5 + 1.0).realize_and(|y| y.slice(n as i64 - 2..).to_vec::<f32>())?;
        assert_close("the end", &y, &[(n - 2) as f32 * 0.5 + 1.0, (n - 1) as f32 * 0.5 + 1.0], 1e-6);
        let rows = Tensor::arange(70_000 * 3, &device).reshape([70_000, 3]).cast(DType::F32).sum(1);
        let rows = rows.realize_and(|r| r.slice(69_999i64..).to_vec::<f32>())?;
        assert_close("the last row", &rows, &[209_997.0 + 209_998.0 + 209_999.0], 1e-6);
        let wide = Tensor::ones([70_000, 300], DType::F32, &device);
        let wide = (wide.sum(1) * 2.0).realize_and(|r| r.slice(69_998i64..).to_vec::<f32>())?;
        assert_close("the last wide rows", &wide, &[600.0, 600.0], 1e-6);
    }
    Ok(())
}

/// Computes a tensor whole, then reads a part: the slice alone would otherwise be all that is computed.
trait RealizeAnd {
    fn realize_and<T>(self, f: impl FnOnce(&Tensor) -> Result<T>) -> Result<T>;
}

impl RealizeAnd for Tensor {
    fn realize_and<T>(self, f: impl FnOnce(&Tensor) -> Result<T>) -> Result<T> {
        self.realize()?;
        f(&self)
    }
}

#[test]
fn sums_are_accurate() -> Result<()> {
    let device = Device::cpu();
    let x = Generator::new(1).rand([1 << 24], &device);
    x.realize()?;
    let exact: f64 = x.to_vec::<f32>()?.iter().map(|&v| v as f64).sum();
    for device in devices() {
        let x = x.to_device(&device)?;
        let sum = x.sum(..).item::<f32>()? as f64;
        assert!((sum / exact - 1.0).abs() < 1e-6, "{sum} instead of {exact} on {device}");
        let columns = x.reshape([1 << 14, 1 << 10]).sum(0).sum(..).item::<f32>()? as f64;
        assert!((columns / exact - 1.0).abs() < 1e-6, "{columns} by columns instead of {exact} on {device}");
    }
    Ok(())
}

#[test]
fn random_numbers_are_the_same_everywhere() -> Result<()> {
    let cpu = Device::cpu();
    for device in devices() {
        let (a, b) = (Generator::new(0x1234_5678_9abc), Generator::new(0x1234_5678_9abc));
        for shape in [vec![1003], vec![17, 5], vec![]] {
            assert_eq!(a.bits(&shape[..], &device).to_vec::<u32>()?, b.bits(&shape[..], &cpu).to_vec::<u32>()?);
            assert_eq!(a.rand(&shape[..], &device).to_vec::<f32>()?, b.rand(&shape[..], &cpu).to_vec::<f32>()?);
            let (x, y) = (a.randn(&shape[..], &device).to_vec::<f32>()?, b.randn(&shape[..], &cpu).to_vec::<f32>()?);
            assert_close("normals", &x, &y, 1e-6);
        }
        let z = a.randn([100_000], &device);
        let (mean, std) = (z.mean(..).item::<f32>()?, z.std(.., 1.0).item::<f32>()?);
        assert!(mean.abs() < 0.02 && (std - 1.0).abs() < 0.02, "{mean} {std}");
        // A view of random numbers is a view of the same numbers.
        let (c, d) = (Generator::new(3).rand([6, 7], &device), Generator::new(3).rand([6, 7], &device));
        assert_eq!(
            c.t().slice(2).to_vec::<f32>()?,
            d.to_vec::<f32>()?.iter().skip(2).step_by(7).copied().collect::<Vec<_>>()
        );
    }
    Ok(())
}

#[test]
fn first_words_of_the_generator() -> Result<()> {
    use sunstone::random::philox;
    let bits = Generator::new(42).bits([8], &Device::cpu()).to_vec::<u32>()?;
    assert_eq!(bits, [philox([0, 0, 0, 0], [42, 0]), philox([1, 0, 0, 0], [42, 0])].concat());
    Ok(())
}

#[test]
fn long_sums_are_accurate_whatever_their_layout() -> Result<()> {
    for device in devices() {
        // A GPU that is none gets what it can do in seconds.
        let n = if device.caps().software { 1 << 20 } else { 1 << 24 };
        let x = Generator::new(5).rand([n], &device);
        let exact: f64 = x.to_vec::<f32>()?.iter().map(|&v| v as f64).sum();
        let sums = [
            ("whole", x.sum(..)),
            ("of a matrix", x.reshape([n / 1024, 1024]).sum(..)),
            ("of a transpose", x.reshape([n / 512, 512]).t().sum(..)),
            ("of two axes and one", x.reshape([64, n / 2048, 32]).sum([0, 1]).sum(..)),
            ("but for a rest", x.narrow(0, 0, n - 1027).sum(..) + x.narrow(0, n - 1027, 1027).sum(..)),
            ("by the mean", x.mean(..) * n as f64),
        ];
        for (what, sum) in sums {
            let error = (sum.item::<f32>()? as f64 - exact).abs() / exact;
            assert!(error < 1e-6, "the sum {what} on {device} is off by {error:e}");
        }
        let v = x.narrow(0, 0, 300_007).requires_grad();
        let grad = (v.sum(..) * 2.0).backward()?.get(&v).expect("a gradient").to_vec::<f32>()?;
        assert!(grad.len() == 300_007 && grad.iter().all(|&g| g == 2.0));
    }
    Ok(())
}
