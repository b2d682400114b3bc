//! Every op against values and gradients that PyTorch gave, on every device; see `tests/golden/make.py`.
//!
//! The files are part of the program, so one binary can be carried to a machine with a GPU and prints its counts there.

mod common;
#[path = "golden/check.rs"]
mod check;
#[path = "golden/file.rs"]
mod file;

use check::check;
use file::{Case, cases};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use sunstone::autograd::{GradCheck, gradcheck};
use sunstone::prelude::*;
use sunstone::registry;

/// Natively every wait is over at once.
fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a native read did not wait"),
    }
}

#[test]
fn every_case_agrees_with_pytorch_on_every_device() {
    let cases = cases();
    let mut failures = Vec::new();
    for device in common::devices() {
        let (mut passed, mut lacking) = (0, BTreeMap::<String, usize>::new());
        for case in &cases {
            let lacks = case.tensors().find(|t| !device.caps().dtypes.contains(&t.dtype()));
            if let Some(t) = lacks {
                *lacking.entry(t.dtype().to_string()).or_default() += 1;
                continue;
            }
            match now(check(case, &device)) {
                Ok(None) => passed += 1,
                Ok(Some(why)) => failures.push(format!("{device}: {case}: {why}")),
                Err(error) => failures.push(format!("{device}: {case}: {error}")),
            }
        }
        let ops: BTreeSet<&str> = cases.iter().map(|c| c.op.as_str()).collect();
        println!(
            "{device}: {passed} of {} cases of {} ops pass; the device lacks the dtype of {lacking:?}",
            cases.len(),
            ops.len()
        );
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn smooth_cases_agree_with_differences_in_first_and_second_order() {
    let mut failures = Vec::new();
    let small = |c: &&Case| c.smooth && c.inputs.iter().map(Tensor::numel).sum::<usize>() < 150;
    let mut checked = 0;
    for case in cases().iter().filter(small) {
        checked += 1;
        if let Err(error) = differences(case) {
            failures.push(format!("{case}: {error}"));
        }
    }
    println!("{checked} cases checked by differences");
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

/// First and second gradient of all float inputs in f64, the other inputs fixed.
fn differences(case: &Case) -> Result<()> {
    let info = registry::find(&case.op).ok_or_else(|| Error::Invalid("not in the registry".into()))?;
    let double = |t: &Tensor| if t.dtype().is_float() { t.cast(DType::F64) } else { t.clone() };
    let all: Vec<Tensor> = case.inputs.iter().map(double).collect();
    let floats: Vec<Tensor> = all.iter().filter(|t| t.dtype().is_float()).cloned().collect();
    let f = |vars: &[Tensor]| {
        let mut vars = vars.iter();
        let mixed: Vec<Tensor> = all
            .iter()
            .map(|t| if t.dtype().is_float() { vars.next().unwrap_or(t).clone() } else { t.clone() })
            .collect();
        let outputs = info.call(&Device::cpu(), &mixed, &case.args).unwrap_or_else(|e| panic!("{case}: {e}"));
        let parts: Vec<Tensor> = outputs.iter().filter(|t| t.dtype().is_float()).map(|t| t.flatten(0, -1)).collect();
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)
    };
    gradcheck(f, &floats, GradCheck::default())?;
    if floats.iter().map(Tensor::numel).sum::<usize>() < 60 {
        gradcheck(f, &floats, GradCheck { second: true, ..GradCheck::default() })?;
    }
    Ok(())
}

#[test]
fn every_op_of_the_registry_has_a_case() {
    let covered: BTreeSet<String> = cases().into_iter().map(|c| c.op).collect();
    let missing: Vec<&str> =
        registry::all().filter(|o| !o.random && !covered.contains(o.name)).map(|o| o.name).collect();
    assert!(missing.is_empty(), "no golden case for {missing:?}");
}
