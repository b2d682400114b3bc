//! Kernels that move several elements at once: every size, offset, stride and dtype that they must get right or leave
//! to others, against the CPU.

mod common;

use common::{close, devices, numbers};
use sunstone::prelude::*;

/// A tensor of reproducible numbers, stored on the device as `dtype`.
fn tensor(shape: &[usize], salt: u64, dtype: DType, device: &Device) -> Tensor {
    let x = Tensor::from_slice(&numbers(shape.iter().product(), salt), shape, device).cast(dtype);
    x.realize().unwrap();
    x
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_device(&Device::cpu()).unwrap().cast(DType::F32).to_vec::<f32>().unwrap()
}

/// Computes `f` of tensors of these shapes on every device, and compares with the CPU. Halves are rounded after sums
/// that were made in another order, so that they may be a step apart.
#[track_caller]
fn check(what: &str, shapes: &[&[usize]], dtypes: &[DType], f: impl Fn(&[Tensor]) -> Tensor) {
    for &dtype in dtypes {
        let make = |device: &Device| -> Vec<Tensor> {
            (0..).zip(shapes).map(|(salt, shape)| tensor(shape, salt, dtype, device)).collect()
        };
        let tolerance = match dtype {
            DType::F16 => 2e-3,
            DType::BF16 => 1.6e-2,
            _ => 1e-5,
        };
        let expected = values(&f(&make(&Device::cpu())));
        for device in devices().into_iter().skip(1) {
            let y = f(&make(&device));
            y.realize().unwrap_or_else(|e| panic!("{what} of {shapes:?}, {dtype} on {device}: {e}"));
            let got = values(&y);
            assert_eq!(got.len(), expected.len());
            for (i, (&g, &e)) in got.iter().zip(&expected).enumerate() {
                let fits = close(g as f64, e as f64, tolerance);
                assert!(fits, "{what} of {shapes:?}, {dtype} on {device}: element {i} is {g}, expected {e}");
            }
        }
    }
}

const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];
/// One that lies in words, and one of which two lie in a word.
const SOME: [DType; 2] = [DType::F32, DType::F16];
const ALL: [DType; 6] = [DType::F32, DType::F16, DType::BF16, DType::I32, DType::U8, DType::Bool];

#[test]
fn maps_of_every_size_and_alignment() {
    for n in [3, 4, 12, 16, 1028, 1032] {
        check("add", &[&[n], &[n]], &ALL, |v| &v[0] + &v[1]);
        check("scale", &[&[3, n]], &SOME, |v| &v[0] * 2.0 + 1.0);
        check("column broadcast", &[&[3, n], &[3, 1]], &SOME, |v| &v[0] + &v[1]);
        check("row broadcast", &[&[3, n], &[n]], &SOME, |v| &v[0] + &v[1]);
        check("number broadcast", &[&[3, n], &[1, 1]], &SOME, |v| &v[0] + &v[1]);
        check("transposed", &[&[3, n], &[n, 3]], &SOME, |v| &v[0] + v[1].t());
        check("flipped", &[&[3, n], &[3, n]], &SOME, |v| &v[0] + v[1].flip([1]));
        check("flipped rows", &[&[3, n], &[3, n]], &SOME, |v| &v[0] + v[1].flip([0]));
        check("padded", &[&[3, n]], &SOME, |v| v[0].pad(&[(0, 0), (2, 2)], 1.0));
        check("with itself", &[&[n, n.min(40)]], &SOME, |v| &v[0] * v[0].slice((0, ..)));
        check("number of itself", &[&[3, n]], &SOME, |v| &v[0] + v[0].slice((1..2, 0..1)));
    }
}

#[test]
fn views_that_begin_anywhere() {
    for start in [0, 1, 4, 6, 8i64] {
        check("a part", &[&[5, 48], &[5, 24]], &SOME, |v| v[0].slice((.., start..start + 24)) + &v[1]);
        check("a part of rows", &[&[12, 8], &[2, 8]], &SOME, |v| v[0].slice((start..start + 2, ..)) + &v[1]);
        check("the sum of a part", &[&[5, 96]], &SOME, |v| v[0].slice((.., start..start + 64)).sum(1));
        check("softmax of a part", &[&[5, 96]], &SOME, |v| v[0].slice((.., start..start + 64)).softmax(1));
        check("the columns of a part", &[&[40, 96]], &SOME, |v| v[0].slice((.., start..start + 64)).sum(0));
        check("joined", &[&[3, 16], &[3, 8]], &SOME, |v| Tensor::cat(&[&v[0], &v[1].slice((.., start.min(7)..))], 1));
    }
}

#[test]
fn transposes_of_every_size() {
    for (m, n) in [(16, 16), (33, 65), (64, 32), (40, 130), (1, 70), (100, 8)] {
        check("turned", &[&[m, n]], &ALL, |v| v[0].t() + &v[0].t());
        check("both ways", &[&[m, n], &[n, m]], &SOME, |v| v[0].t() * 2.0 + &v[1]);
        check("turned within", &[&[3, m, n], &[n]], &SOME, |v| (&v[0] + 1.0).transpose(1, 2) * v[1].unsqueeze(1));
        check("turned about", &[&[m, 3, n]], &SOME, |v| v[0].permute(&[2, 1, 0]).exp());
        check("two dtypes", &[&[m, n]], &[DType::F32], |v| v[0].t().cast(DType::F16));
        check("the sum of both", &[&[n, n]], &SOME, |v| &v[0] + v[0].t());
    }
}

#[test]
fn dtypes_mix() {
    check("of half to float", &[&[4, 64]], &[DType::F16, DType::BF16], |v| v[0].cast(DType::F32) * 2.0);
    check("of float to half", &[&[4, 64]], &[DType::F32], |v| (&v[0] * 2.0).cast(DType::F16));
    check("both at once", &[&[4, 64], &[4, 64]], &[DType::F32, DType::I32], |v| {
        let (a, b) = (v[0].cast(DType::F16), v[1].cast(DType::BF16));
        Tensor::cat(&[&a.cast(DType::F32), &b.cast(DType::F32)], 0) + 1.0
    });
    check("comparison", &[&[4, 64], &[4, 64]], &FLOATS, |v| v[0].lt(&v[1]));
    check("selection", &[&[4, 64], &[4, 64]], &ALL, |v| v[0].where_(&v[0].lt(&v[1]), &v[1]));
    check("bits", &[&[4, 64], &[4, 64]], &[DType::I32, DType::U8], |v| &v[0] * &v[1] - &v[0]);
    check("sum of halves with floats", &[&[4, 264]], &[DType::F16], |v| (v[0].cast(DType::F32) * 0.5).sum(1));
}

#[test]
fn rows_of_every_length() {
    // Vectors: fewer than a team, not as many as a team takes at once, more than it can hold.
    for n in [4, 8, 36, 40, 132, 136, 1024, 4104, 8192, 8200, 16_392] {
        let m = if n > 4096 { 2 } else { 5 };
        check("sum", &[&[m, n]], &SOME, |v| v[0].sum(1));
        check("softmax", &[&[m, n]], &SOME, |v| v[0].softmax(1));
    }
    for n in [8, 24, 1032, 16_392] {
        let m = if n > 1000 { 3 } else { 70 };
        check("layer norm", &[&[m, n], &[n], &[n]], &SOME, |v| v[0].layer_norm(1, 1e-5) * &v[1] + &v[2]);
        check("maximum", &[&[m, n]], &ALL, |v| v[0].max(1));
        check("argmax", &[&[m, n]], &[DType::F32, DType::I32], |v| v[0].argmax(1));
        check("argmin and sum", &[&[m, n]], &[DType::F32], |v| v[0].argmin(1).cast(DType::F32) + v[0].sum(1));
        check("less its mean", &[&[m, n]], &SOME, |v| &v[0] - v[0].mean_keepdim(1));
        check("of two axes", &[&[m, 2, n]], &SOME, |v| v[0].sum([0, 2]));
        check("of axes apart", &[&[2, m, n, 1]], &[DType::F32], |v| v[0].transpose(0, 1).square().mean([1, 2]));
        check("with positions", &[&[m, n]], &[DType::F32], |v| {
            let at = Tensor::arange(n, &v[0].device()).cast(DType::F32);
            (&v[0] * at).sum(1) * (1.0 / n as f64)
        });
        check("of a transpose's product", &[&[m, n], &[n, m]], &[DType::F32], |v| (&v[0] * v[1].t()).sum(1));
        check("sum and more", &[&[m, n]], &[DType::F32], |v| {
            Tensor::cat(&[&v[0].sum(1), &v[0].max(1), &v[0].min(1), &v[0].square().sum(1), &v[0].abs().sum(1)], 0)
        });
    }
}

#[test]
fn columns_of_every_size() {
    for n in [4, 8, 24, 136, 1032] {
        for m in [2, 33, 256, 1030] {
            check("sum", &[&[m, n]], &SOME, |v| v[0].sum(0));
        }
        check("maximum", &[&[70, n]], &ALL, |v| v[0].max(0));
        check("minimum of three axes", &[&[3, 40, n]], &SOME, |v| v[0].min(1));
        check("mean, scaled", &[&[40, n], &[n]], &SOME, |v| v[0].mean(0) * &v[1] + 1.0);
        check("less what its column has", &[&[40, n], &[n]], &SOME, |v| (&v[0] - &v[1]).square().sum(0));
        check("weighted by rows", &[&[40, n], &[40, 1]], &SOME, |v| (&v[0] * &v[1]).sum(0));
        check("two at once", &[&[40, n]], &[DType::F32], |v| v[0].sum(0) * v[0].max(0));
        check("softmax", &[&[40, n]], &SOME, |v| v[0].softmax(0));
        check("argmax", &[&[40, n]], &[DType::F32], |v| v[0].argmax(0));
        check("variance", &[&[40, n]], &SOME, |v| v[0].var(0, 1.0));
    }
}

#[test]
fn nan_and_infinity_stay() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    for device in devices() {
        for dtype in FLOATS {
            let mut x = vec![1.0f32; 64];
            (x[5], x[23], x[40]) = (nan, inf, -inf);
            let x = Tensor::from_slice(&x, [2, 32], &device).cast(dtype);
            x.realize().unwrap();
            let got = values(&(&x * 2.0));
            assert!(got[5].is_nan() && got[23] == inf && got[40] == -inf && got[6] == 2.0, "{dtype} on {device}");
            assert!(values(&x.max(1))[0].is_nan() && values(&x.max(1))[1] == 1.0, "{dtype} on {device}");
            assert!(values(&x.sum(1))[0].is_nan() && values(&x.sum(1))[1] == -inf, "{dtype} on {device}");
            let columns = values(&x.min(0));
            assert!(columns[5].is_nan() && columns[8] == -inf && columns[0] == 1.0, "{dtype} on {device}");
            assert_eq!(values(&x.argmax(1)), [5.0, 0.0], "{dtype} on {device}");
        }
    }
}

#[test]
fn results_in_the_place_of_inputs() -> Result<()> {
    for device in devices() {
        for dtype in FLOATS {
            for n in [24, 1032, 8200] {
                let step = |device: &Device| -> Result<Vec<f32>> {
                    let mut x = tensor(&[3, n], 1, dtype, device);
                    for _ in 0..3 {
                        // The only handle is given up: the result may lie where the operand was.
                        x = x.softmax(1) * 2.0 + 0.5;
                        x.realize()?;
                        x = &x + x.sum_keepdim(1) * 0.001;
                        x.realize()?;
                    }
                    Ok(values(&x))
                };
                let (got, expected) = (step(&device)?, step(&Device::cpu())?);
                for (g, e) in got.iter().zip(&expected) {
                    assert!(close(*g as f64, *e as f64, 3e-2), "{g} instead of {e}: {n} {dtype} on {device}");
                }
            }
        }
    }
    Ok(())
}

#[test]
fn more_workgroups_than_an_axis_takes() -> Result<()> {
    for device in devices().into_iter().skip(1) {
        // A workgroup for each of 66,000 rows.
        let row = tensor(&[516], 2, DType::F32, &device);
        let maxima = values(&row.expand([66_000, 516]).max(1).realized()?);
        let largest = numbers(516, 2).into_iter().fold(f32::MIN, f32::max);
        assert!(maxima.len() == 66_000 && maxima.iter().all(|&m| m == largest), "{device}");
        // Of vectors: 65,540 workgroups of 256 invocations, each with 4 numbers.
        let n = (1 << 26) + 4096;
        if device.caps().max_buffer_bytes < 4 * n as u64 {
            println!("{device} grants no buffer that takes so many workgroups");
            continue;
        }
        let y = (Tensor::arange(n, &device) * 2).realized()?;
        let z = (&y + 1).realized()?;
        let end = z.slice(n as i64 - 3..).to_vec::<i32>()?;
        assert_eq!(end, [2 * n as i32 - 5, 2 * n as i32 - 3, 2 * n as i32 - 1], "{device}");
    }
    Ok(())
}

trait Realized: Sized {
    fn realized(self) -> Result<Self>;
}

impl Realized for Tensor {
    fn realized(self) -> Result<Tensor> {
        self.realize()?;
        Ok(self)
    }
}
