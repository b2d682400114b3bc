//! The golden cases in a browser: a module that runs them on a device there and says what fails.
#![cfg(target_arch = "wasm32")]

#[path = "../golden/check.rs"]
mod check;
// Gradients are checked by differences natively only.
#[allow(dead_code)]
#[path = "../golden/file.rs"]
mod file;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use sunstone::backend::wgpu::WgpuBackend;
use sunstone::prelude::*;
use wasm_bindgen::prelude::*;

/// Runs all cases on `device` (`cpu`, `wgpu:0`, or `default` for WebGPU with no more than its default limits) and gives
/// the counts and failures as JSON. `only` picks the ops whose names contain it.
#[wasm_bindgen]
pub async fn golden(device: String, only: String) -> Result<String, JsValue> {
    let device = open(&device).await.map_err(|e| JsValue::from(e.to_string()))?;
    let cases: Vec<_> = file::cases().into_iter().filter(|c| c.op.contains(&only)).collect();
    let (mut passed, mut failures, mut lacking) = (0, Vec::<Value>::new(), BTreeMap::<String, usize>::new());
    for case in &cases {
        if let Some(t) = case.tensors().find(|t| !device.caps().dtypes.contains(&t.dtype())) {
            *lacking.entry(t.dtype().to_string()).or_default() += 1;
            continue;
        }
        match check::check(case, &device).await {
            Ok(None) => passed += 1,
            Ok(Some(why)) => failures.push(format!("{case}: {why}").into()),
            Err(error) => failures.push(format!("{case}: {error}").into()),
        }
    }
    let about = device.caps().hardware.clone();
    Ok(json!({ "device": about, "cases": cases.len(), "passed": passed, "lacking": lacking, "failures": failures })
        .to_string())
}

async fn open(name: &str) -> sunstone::Result<Device> {
    match name {
        "default" => Ok(Device::new("default", Arc::clone(&WgpuBackend::open_async(true).await?) as _)),
        name => Device::open_async(name).await,
    }
}
