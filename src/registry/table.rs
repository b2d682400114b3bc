//! The table of ops and dtypes, found out by asking each op.

use super::{Args, GROUPS, InputKind, OpInfo};
use crate::device::Device;
use crate::dtype::DType;
use crate::tensor::Tensor;
use std::fmt::Write;

/// The example's operands in `dtype`; ones, so that they are in every op's domain.
pub(super) fn example(op: &OpInfo, dtype: DType, device: &Device) -> Vec<Tensor> {
    let make = |input: &super::Input| match input.kind {
        InputKind::Data => Tensor::ones(input.shape, dtype, device),
        InputKind::Index => Tensor::zeros(input.shape, DType::I32, device),
        InputKind::Mask => Tensor::ones(input.shape, DType::Bool, device),
    };
    op.inputs.iter().map(make).collect()
}

/// True if the op takes operands of `dtype` on `device`. Nothing is computed: shapes and dtypes are checked eagerly.
pub(super) fn works(op: &OpInfo, dtype: DType, device: &Device) -> bool {
    let named = op.defaults.contains("\"dtype\"");
    let args = if named { Args::default().with("dtype", dtype.name()) } else { Args::default() };
    let operands = op.inputs.iter().any(|i| i.kind == InputKind::Data);
    let results = op.call(device, &example(op, dtype, device), &args);
    // Without operands of that type it is the result's that counts.
    results.is_ok_and(|all| all.iter().all(|t| t.error().is_none() && (operands || named || t.dtype() == dtype)))
}

/// True if a gradient flows through it.
fn differentiable(op: &OpInfo, device: &Device) -> bool {
    let inputs: Vec<Tensor> = example(op, DType::F32, device)
        .into_iter()
        .map(|t| if t.dtype().is_float() { t.requires_grad() } else { t })
        .collect();
    let results = op.call(device, &inputs, &Args::default());
    results.is_ok_and(|all| all.iter().any(Tensor::tracks_grad))
}

/// A Markdown table for each group: an op, its parameters with defaults, whether it has a gradient, and for each dtype the
/// names of those `devices` that take it.
pub fn markdown(devices: &[(&str, Device)]) -> String {
    let mut text = String::new();
    for (group, ops) in GROUPS {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n### {group}\n\n| op | parameters | gradient |");
        let _ = writeln!(text, "{}", DType::ALL.map(|d| format!(" {d} |")).concat());
        let _ = writeln!(text, "|---|---|---|{}", "---|".repeat(DType::ALL.len()));
        for op in *ops {
            let parameters = match op.defaults {
                "{}" => String::new(),
                defaults => format!("`{}`", &defaults[1..defaults.len() - 1].replace('|', "\\|")),
            };
            let gradient = if devices.iter().any(|(_, d)| differentiable(op, d)) { "yes" } else { "" };
            let _ = write!(text, "| {} | {parameters} | {gradient} |", op.name);
            let taken: Vec<_> = devices.iter().map(|(name, d)| (*name, op.dtypes(d))).collect();
            for dtype in DType::ALL {
                let on: Vec<&str> = taken.iter().filter(|(_, all)| all.contains(&dtype)).map(|(n, _)| *n).collect();
                let _ = write!(text, " {} |", on.join(" "));
            }
            text.push('\n');
        }
    }
    text
}
