//! What does this device do in this browser? A few kernels, timed, each checked against a plain computation.

use super::pause::{now, pause};
use super::{JsResult, fail, open, to_js};
use crate::autograd::no_grad;
use crate::device::Device;
use crate::error::Result;
use crate::tensor::Tensor;
use js_sys::Function;
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// Milliseconds that a row is measured for, after it has warmed up.
const SPAN: f64 = 400.0;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** One row of the benchmark. */
export interface BenchRow {
  name: string; unit: string;
  /** The median, in `unit`; more is better. */ value: number;
  /** Median time of one run, and how many were measured. */ milliseconds: number; runs: number;
  /** Whether its result was right. */ correct: boolean;
}
"#;

#[derive(Serialize)]
struct Row {
    name: &'static str,
    unit: &'static str,
    value: f64,
    milliseconds: f64,
    runs: usize,
    correct: bool,
}

/// A kernel: its work in `unit` × 10⁹ a run, how to run it, and whether its result is right.
struct Case {
    name: &'static str,
    unit: &'static str,
    work: f64,
    inputs: Vec<Tensor>,
    run: fn(&[Tensor]) -> Tensor,
    /// The value that element `i` should have.
    expect: Box<dyn Fn(usize) -> f64>,
}

/// Runs the suite; each row is reported when it is there.
#[wasm_bindgen(unchecked_return_type = "BenchRow[]")]
pub async fn bench(
    device: String,
    #[wasm_bindgen(unchecked_param_type = "(row: BenchRow) => void")] on_row: Function,
    signal: Option<AbortSignal>,
) -> JsResult<JsValue> {
    let device = open(&device).await?;
    let mut rows = Vec::new();
    for make in [matmul::<256>, matmul::<512>, matmul::<1024>, affine, sum, softmax] {
        if signal.as_ref().is_some_and(AbortSignal::aborted) {
            break;
        }
        let row = measure(&make(&device), &device).await.map_err(fail)?;
        on_row.call1(&JsValue::NULL, &to_js(&row)?)?;
        rows.push(row);
        pause().await;
    }
    to_js(&rows)
}

async fn measure(case: &Case, device: &Device) -> Result<Row> {
    let run = || no_grad(|| (case.run)(&case.inputs));
    let result = run();
    let found = result.flatten(0, -1).to_vec_async::<f32>().await?;
    let close = |i: usize| {
        let expected = (case.expect)(i);
        (found[i] as f64 - expected).abs() <= 1e-4 * expected.abs().max(1.0)
    };
    let correct = (0..found.len()).step_by((found.len() / 61).max(1)).all(close);
    drop(result);
    let mut times = Vec::new();
    // As many runs in a row as the wait for the device is to be small beside.
    let mut batch = 1;
    let start = now();
    while times.len() < 3 || now() - start < SPAN {
        device.synchronize_async().await?;
        let since = now();
        let mut last = Vec::new();
        for _ in 0..batch {
            let result = run();
            result.realize()?;
            last = vec![result];
        }
        device.synchronize_async().await?;
        let spent = now() - since;
        drop(last);
        if spent < 20.0 && batch < 256 {
            batch *= 4;
            continue;
        }
        times.push(spent / batch as f64);
        pause().await;
    }
    times.sort_by(f64::total_cmp);
    let milliseconds = times[times.len() / 2];
    Ok(Row {
        name: case.name,
        unit: case.unit,
        value: case.work / (milliseconds / 1000.0),
        milliseconds,
        runs: times.len() * batch,
        correct,
    })
}

/// Small numbers without a pattern that sums would hide.
fn number(i: usize) -> f32 {
    ((i * 7919 + 104_729) % 1009) as f32 / 504.5 - 1.0
}

fn numbers(shape: [usize; 2], device: &Device) -> Tensor {
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(number).collect();
    Tensor::from_slice(&values, shape, device)
}

fn matmul<const N: usize>(device: &Device) -> Case {
    Case {
        name: match N {
            256 => "matmul 256³ f32",
            512 => "matmul 512³ f32",
            _ => "matmul 1024³ f32",
        },
        unit: "GFLOP/s",
        work: 2.0 * (N * N * N) as f64 / 1e9,
        inputs: vec![numbers([N, N], device), numbers([N, N], device)],
        run: |t| t[0].matmul(&t[1]),
        expect: Box::new(|i| {
            let (row, column) = (i / N, i % N);
            (0..N).map(|k| number(row * N + k) as f64 * number(k * N + column) as f64).sum()
        }),
    }
}

const ROWS: usize = 1024;
const COLUMNS: usize = 4096;

/// Bytes of the elements, read and written once each.
fn traffic(passes: f64) -> f64 {
    passes * (ROWS * COLUMNS * 4) as f64 / 1e9
}

fn affine(device: &Device) -> Case {
    Case {
        name: "x·2+1, 16 MiB f32",
        unit: "GB/s",
        work: traffic(2.0),
        inputs: vec![numbers([ROWS, COLUMNS], device)],
        run: |t| &t[0] * 2.0 + 1.0,
        expect: Box::new(|i| 2.0 * number(i) as f64 + 1.0),
    }
}

fn sum(device: &Device) -> Case {
    Case {
        name: "sum of rows, 16 MiB f32",
        unit: "GB/s",
        work: traffic(1.0),
        inputs: vec![numbers([ROWS, COLUMNS], device)],
        run: |t| t[0].sum(1),
        expect: Box::new(|row| (0..COLUMNS).map(|c| number(row * COLUMNS + c) as f64).sum()),
    }
}

fn softmax(device: &Device) -> Case {
    Case {
        name: "softmax of rows, 16 MiB f32",
        unit: "GB/s",
        work: traffic(2.0),
        inputs: vec![numbers([ROWS, COLUMNS], device)],
        run: |t| t[0].softmax(1) * COLUMNS as f32,
        expect: Box::new(|i| {
            let row = i / COLUMNS * COLUMNS;
            let total: f64 = (0..COLUMNS).map(|c| (number(row + c) as f64).exp()).sum();
            (number(i) as f64).exp() / total * COLUMNS as f64
        }),
    }
}
