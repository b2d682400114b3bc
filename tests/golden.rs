//! Every op against values and gradients that PyTorch gave, on every device; see `tests/golden/make.py`.
//!
//! The files are part of the program, so one binary can be carried to a machine with a GPU and prints its counts there.

#[path = "golden/check.rs"]
mod check;
mod common;
#[path = "golden/file.rs"]
mod file;

use check::check;
use file::{Case, cases};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
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

type Outcome<'a> = (&'a Case, Result<Option<String>>, Duration);

/// Each case once, with what came of it and how long it took.
fn on_all_threads<'a>(cases: &[&'a Case], check: impl Fn(&Case) -> Result<Option<String>> + Sync) -> Vec<Outcome<'a>> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some(&case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();

            let result = check(case);

            done.push((case, result, start.elapsed()));
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|w| w.join().expect("a case does not panic")).collect()
    })
}

#[test]
fn every_case_agrees_with_pytorch_on_every_device() {
    let cases = cases();
    let ops: BTreeSet<&str> = cases.iter().map(|c| c.op.as_str()).collect();
    let mut failures = Vec::new();
    for device in common::devices() {
        let mut lacking = BTreeMap::<String, usize>::new();
        let lacks = |case: &&Case| case.tensors().map(Tensor::dtype).find(|d| !device.caps().dtypes.contains(d));
        for dtype in cases.iter().filter_map(|case| lacks(&case)) {
            *lacking.entry(dtype.to_string()).or_default() += 1;
        }
        let able: Vec<&Case> = cases.iter().filter(|case| lacks(case).is_none()).collect();
        let mut results = on_all_threads(&able, |case| now(check(case, &device)));
        results.sort_by_key(|(.., time)| std::cmp::Reverse(*time));
        let slow = results.iter().take(3).map(|(case, _, time)| format!("{} {:.1} s", case.op, time.as_secs_f64()));
        let slow = slow.collect::<Vec<_>>().join(", ");
        let passed = results.iter().filter(|(_, result, _)| matches!(result, Ok(None))).count();
        println!(
            "{device}: {passed} of {} cases of {} ops pass; lacks the dtype of {lacking:?}; slowest: {slow}",
            able.len(),
            ops.len()
        );
        failures.extend(results.iter().filter_map(|(case, result, _)| match result {
            Ok(None) => None,
            Ok(Some(why)) => Some(format!("{device}: {case}: {why}")),
            Err(error) => Some(format!("{device}: {case}: {error}")),
        }));
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
