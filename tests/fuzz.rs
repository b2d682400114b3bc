//! Ops called with parameters nobody should pass: 100,000 cases (`SUNSTONE_FUZZ_CASES` for more), no panic, no wrong silence.
//!
//! Each case takes an op of the registry with its example and changes some of it: axes, sizes, pads, strides, indices far
//! out of range, sizes of zero, sizes whose product overflows, other dtypes, other ranks. It must give an error or a result
//! whose elements can be read and whose number is what its shape says; indices out of range must never go unnoticed.

mod common;

use serde_json::{Value, json};
use std::panic::{AssertUnwindSafe, catch_unwind};
use sunstone::prelude::*;
use sunstone::registry::{self, Args, InputKind, OpInfo};

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn int(&mut self) -> i64 {
        const FAR: [i64; 12] = [
            i64::MIN,
            i64::MIN + 1,
            -(1 << 62),
            -(1 << 31) - 1,
            -1000,
            1000,
            65_536,
            1 << 31,
            1 << 32,
            1 << 62,
            i64::MAX - 1,
            i64::MAX,
        ];
        if self.one_in(4) { self.pick(&FAR) } else { self.below(9) as i64 - 3 }
    }

    fn float(&mut self) -> Value {
        match self.below(8) {
            0 => json!("nan"),
            1 => json!("inf"),
            2 => json!("-inf"),
            3 => json!(0.0),
            4 => json!(-1.0),
            5 => json!(1e300),
            _ => json!(self.below(1000) as f64 / 250.0 - 1.0),
        }
    }

    /// Another value of the same kind, now and then of another.
    fn mutate(&mut self, value: &Value) -> Value {
        if self.one_in(25) {
            return self.pick(&[&json!(null), &json!("?"), &json!(true), &json!([]), &json!(-1), &json!(0.5)]).clone();
        }
        match value {
            Value::Bool(b) => json!(!b),
            Value::Number(n) if n.is_f64() => self.float(),
            Value::Number(_) => json!(self.int()),
            Value::Null => match self.below(3) {
                0 => json!(self.int()),
                1 => self.float(),
                _ => self.list(&[]),
            },
            Value::Array(items) => self.list(items),
            other => other.clone(),
        }
    }

    fn list(&mut self, items: &[Value]) -> Value {
        let mut items = items.to_vec();
        match self.below(4) {
            0 => items.push(json!(self.int())),
            1 if !items.is_empty() => items.truncate(items.len() - 1),
            _ => {}
        }
        let nested = |item: &Value| item.is_array();
        let changed = items.iter().map(|i| match self.one_in(2) {
            true if nested(i) => self.list(i.as_array().map_or(&[][..], |a| &a[..])),
            true => json!(self.int()),
            false => i.clone(),
        });
        Value::Array(changed.collect())
    }

    fn shape(&mut self, example: &[usize]) -> Vec<usize> {
        let mut shape = example.to_vec();
        if self.one_in(3) {
            return shape;
        }
        match self.below(6) {
            0 => shape.push(self.pick(&[0, 1, 2, 3])),
            1 if !shape.is_empty() => drop(shape.remove(0)),
            _ => {}
        }
        for size in &mut shape {
            if self.one_in(3) {
                *size = self.pick(&[0, 1, 1, 2, 3, 4, 5, 7]);
            }
        }
        shape
    }
}

/// A call, made from a number.
struct Case {
    op: &'static OpInfo,
    args: Args,
    inputs: Vec<(InputKind, DType, Vec<usize>)>,
    /// An index of every index operand is far out of range.
    stray: bool,
    seed: u64,
}

impl Case {
    fn new(ops: &[&'static OpInfo], seed: u64) -> Case {
        let mut rng = Rng(seed);
        let op = rng.pick(ops);
        let defaults: Value = serde_json::from_str(op.defaults).expect("JSON");
        let mut args = Args::default();
        let mut harmless = true;
        for (name, value) in defaults.as_object().expect("an object") {
            if rng.one_in(2) {
                args = args.with(name, rng.mutate(value));
                harmless = false;
            }
        }
        let dtype = if rng.one_in(3) { rng.pick(&DType::ALL) } else { DType::F32 };
        let stray = harmless && rng.one_in(3);
        let make = |i: &registry::Input| {
            let kind_type = match i.kind {
                InputKind::Data => dtype,
                InputKind::Index => DType::I32,
                InputKind::Mask => DType::Bool,
            };
            let dtype = if rng.one_in(12) && !stray { rng.pick(&DType::ALL) } else { kind_type };
            (i.kind, dtype, if stray { i.shape.to_vec() } else { rng.shape(i.shape) })
        };
        let inputs: Vec<_> = op.inputs.iter().map(make).collect();
        let stray = stray && inputs.iter().any(|(kind, ..)| *kind == InputKind::Index);
        Case { op, args, inputs, stray, seed }
    }

    fn inputs(&self, device: &Device) -> Vec<Tensor> {
        let make = |(k, (kind, dtype, shape)): (usize, &(InputKind, DType, Vec<usize>))| {
            let n: usize = shape.iter().product();
            // Not -1, which some ops count from the end.
            let far = [i32::MAX, 1 << 20, i32::MIN];
            match kind {
                InputKind::Index if *dtype == DType::I32 => {
                    let mut data: Vec<i32> = (0..n).map(|i| (i % 2) as i32).collect();
                    if let Some(last) = data.last_mut().filter(|_| self.stray) {
                        *last = far[self.seed as usize % far.len()];
                    }
                    Tensor::from_slice(&data, &shape[..], device)
                }
                _ => Tensor::from_slice(&common::numbers(n, self.seed ^ k as u64), &shape[..], device).cast(*dtype),
            }
        };
        self.inputs.iter().enumerate().map(make).collect()
    }

    /// The results where they are few enough to be read, as f64; or the error.
    fn run(&self, device: &Device) -> Result<Vec<Option<Vec<f64>>>> {
        const FEW: usize = 1 << 12;
        let results = self.op.call(device, &self.inputs(device), &self.args)?;
        let mut read = Vec::new();
        for t in &results {
            if let Some(error) = t.error() {
                return Err(error.clone());
            }
            let count = t.shape().iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            assert!(count.is_some_and(|n| n <= isize::MAX as usize), "a shape that overflows: {}", t.shape());
            if t.numel() > FEW {
                read.push(None);
                continue;
            }
            let wide = if device.caps().dtypes.contains(&DType::F64) { DType::F64 } else { DType::F32 };
            let t = t.cast(wide);
            let values: Vec<f64> = match wide {
                DType::F64 => t.to_vec()?,
                _ => t.to_vec::<f32>()?.into_iter().map(f64::from).collect(),
            };
            assert_eq!(values.len(), t.numel(), "elements of {}", t.shape());
            read.push(Some(values));
        }
        Ok(read)
    }

    fn describe(&self) -> String {
        let inputs: Vec<String> = self.inputs.iter().map(|(_, d, s)| format!("{d} {s:?}")).collect();
        let args: Vec<String> = self.args.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let stray = if self.stray { ", an index out of range" } else { "" };
        format!("case {}: {}({}; {}{stray})", self.seed, self.op.name, inputs.join(", "), args.join(", "))
    }
}

/// Ops for which an index that is no place in the data is still meaningful.
const ANY_INDEX: &[&str] = &["one_hot", "searchsorted", "bucketize"];

/// What is wrong with the case, if anything.
fn complaint(case: &Case, device: &Device) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| case.run(device))) {
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("?");
            Some(format!("{} panics: {text}", case.describe()))
        }
        Ok(Ok(read)) if case.stray && read.iter().all(Option::is_some) && !ANY_INDEX.contains(&case.op.name) => {
            Some(format!("{} goes unnoticed", case.describe()))
        }
        Ok(_) => None,
    }
}

#[test]
fn no_parameters_cause_a_panic_or_go_unnoticed() {
    let cases: u64 = std::env::var("SUNSTONE_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let ops: Vec<&'static OpInfo> = registry::all().collect();
    let device = Device::cpu();
    std::panic::set_hook(Box::new(|_| {}));
    let mut failures = Vec::new();
    let mut valid = 0;
    for seed in 0..cases {
        let case = Case::new(&ops, seed);
        match complaint(&case, &device) {
            Some(text) => failures.push(text),
            None => valid += 1,
        }
        if failures.len() >= 40 {
            break;
        }
    }
    drop(std::panic::take_hook());
    println!("{valid} cases of {} ops without complaint", ops.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn devices_agree_on_strange_parameters() {
    let ops: Vec<&'static OpInfo> = registry::all().filter(|o| !o.random).collect();
    let Some(gpu) = common::gpu() else { return };
    let mut compared = 0;
    for seed in 1_000_000..1_000_600 {
        let case = Case::new(&ops, seed);
        let lacks = case.inputs.iter().any(|(_, d, _)| !gpu.caps().dtypes.contains(d));
        let (Ok(truth), false) = (case.run(&Device::cpu()), lacks) else { continue };
        // Where only the CPU has the dtype of the result or of a step, the GPU says so.
        let Ok(got) = case.run(&gpu) else { continue };
        for (t, g) in truth.iter().flatten().zip(got.iter().flatten()) {
            assert_eq!(t.len(), g.len(), "{}", case.describe());
            for (i, (&t, &g)) in t.iter().zip(g).enumerate() {
                assert!(
                    common::close(g, t as f32 as f64, 1e-4),
                    "{}: element {i}: {g} instead of {t}",
                    case.describe()
                );
            }
        }
        compared += 1;
    }
    println!("{compared} cases compared");
}
