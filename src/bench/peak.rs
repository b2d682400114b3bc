//! What can the device do at most? The measure of all other rows.

use super::Suite;
use super::case::{After, Case, Operand, Prepared, op, tolerance, work};
use super::report::Work;
use super::workgroup;
use crate::device::{Device, Storage};
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::tensor::{Tensor, realize_all};

/// Pairs of a product and a sum in one kernel.
const CHAIN: usize = 64;
/// The row of workgroup memory, whose bytes are not those of the device's memory.
pub(super) const WORKGROUP: &str = "workgroup memory";

pub fn cases(quick: bool) -> Vec<Case> {
    let long = if quick { 1 << 22 } else { 1 << 26 };
    let mut cases = vec![copy(long * 4), scale(long), triad(long)];
    let few = if quick { 1 << 18 } else { 1 << 22 };
    cases.extend([DType::F32, DType::F16].map(|dtype| chain(dtype, few)));
    let n = if quick { 256 } else { 4096 };
    let dtypes: &[DType] = if quick { &[DType::F32, DType::F16] } else { &[DType::F32, DType::F16, DType::BF16] };
    cases.extend(dtypes.iter().map(|&dtype| product(dtype, n)));
    cases.push(workgroup::case(WORKGROUP, quick));
    cases.extend([launch(false), launch(true), transfer("upload", long), transfer("download", long)]);
    cases
}

/// The device's own copy, of no kernel of ours.
fn copy(bytes: usize) -> Case {
    let prepare = move |device: &Device| {
        let backend = device.backend().clone();
        let (from, to): (Storage, Storage) = (backend.allocate(bytes)?, backend.allocate(bytes)?);
        let lacks = Error::Unsupported { device: device.name().into(), what: "copies without a kernel".into() };
        let call = move || match backend.copy_from(&to, &from, 0, bytes)? {
            true => Ok(()),
            false => Err(lacks.clone()),
        };
        Ok(Prepared { call: Box::new(call), after: After::Nothing, pairs: Vec::new(), tolerance: 0.0 })
    };
    Case::new(Suite::Peak, "copy", DType::U8, work(0.0, 2 * bytes), Box::new(prepare))
}

fn scale(n: usize) -> Case {
    let x = Operand::numbers(DType::F32, &[n]).cut(0);
    let prepare = op(vec![x], 0, DType::F32, |t| Ok(vec![&t[0] * 2.0]));
    Case::new(Suite::Peak, "scale", DType::F32, work(0.0, 8 * n), prepare)
}

fn triad(n: usize) -> Case {
    let x = || Operand::numbers(DType::F32, &[n]).cut(0);
    let prepare = op(vec![x(), x()], 0, DType::F32, |t| Ok(vec![&t[0] + &t[1] * 2.0]));
    Case::new(Suite::Peak, "triad", DType::F32, work(0.0, 12 * n), prepare)
}

/// Products and sums that wait for each other within an element, and not between elements.
fn chain(dtype: DType, n: usize) -> Case {
    let x = || Operand::numbers(dtype, &[n]).cut(0);
    let prepare =
        op(vec![x(), x(), x()], 0, dtype, |t| Ok(vec![(0..CHAIN).fold(t[0].clone(), |y, _| &y * &t[1] + &t[2])]));
    let flops = (2 * CHAIN * n) as f64;
    Case::new(Suite::Peak, "multiply-add chain", dtype, work(flops, 4 * n * dtype.bytes()), prepare)
}

fn product(dtype: DType, n: usize) -> Case {
    let prepare = op(vec![Operand::numbers(dtype, &[n, n]).cut(0), Operand::numbers(dtype, &[n, n])], 0, dtype, |t| {
        Ok(vec![t[0].matmul(&t[1])])
    });
    let flops = 2.0 * (n as f64).powi(3);
    Case::new(Suite::Peak, format!("product {n}"), dtype, work(flops, 3 * n * n * dtype.bytes()), prepare)
}

/// A kernel too small to matter: asked for many times before one wait, or waited for each time.
fn launch(waits: bool) -> Case {
    let prepare = move |device: &Device| {
        let x = Tensor::ones([64], DType::F32, device);
        x.realize()?;
        let pairs = vec![(&x * 2.0, Tensor::full([64], 2.0, DType::F64, &Device::cpu()))];
        let call = move || (&x * 2.0).realize();
        let after = if waits { After::Wait } else { After::Nothing };
        Ok(Prepared { call: Box::new(call), after, pairs, tolerance: tolerance(DType::F32) })
    };
    let name = if waits { "launch and wait" } else { "launch" };
    Case::new(Suite::Peak, name, DType::F32, Work::default(), Box::new(prepare))
}

fn transfer(name: &'static str, n: usize) -> Case {
    let prepare = move |device: &Device| {
        let data: Vec<f32> = (0..n).map(|i| (i % 1000) as f32).collect();
        let there = Tensor::from_slice(&data, [n], device);
        there.realize()?;
        let first: Vec<f64> = data.iter().take(1000).map(|&x| x as f64).collect();
        let pairs = vec![(there.narrow(0, 0, first.len()), Tensor::from_vec(first, &Device::cpu()))];
        let device = device.clone();
        let (call, after): (Box<dyn FnMut() -> Result<()>>, After) = match name {
            "upload" => {
                let call = move || {
                    let _there = Tensor::from_slice(&data, [n], &device);
                    realize_all(&device)
                };
                (Box::new(call), After::Nothing)
            }
            _ => (Box::new(|| Ok(())), After::Read(there)),
        };
        Ok(Prepared { call, after, pairs, tolerance: 0.0 })
    };
    Case::new(Suite::Peak, name, DType::F32, work(0.0, 4 * n), Box::new(prepare))
}
