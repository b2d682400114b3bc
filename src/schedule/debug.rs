//! `SUNSTONE_DEBUG=plan|kernels|memory` (or several, with commas): prints what was planned, to standard error.

use crate::device::{Device, Executable};
use crate::plan::{Plan, Slot};
use std::sync::OnceLock;

fn on(what: &str) -> bool {
    static DEBUG: OnceLock<String> = OnceLock::new();
    DEBUG.get_or_init(|| std::env::var("SUNSTONE_DEBUG").unwrap_or_default()).split(',').any(|w| w.trim() == what)
}

/// Prints a new plan, and its slots.
pub fn plan(device: &Device, plan: &Plan) {
    if on("plan") {
        eprintln!("[{device}] {plan}");
    }
    if on("memory") {
        let fresh: usize = plan.slots.iter().map(|s| if let Slot::Fresh { bytes } = s { *bytes } else { 0 }).sum();
        eprintln!("[{device}] memory: {fresh} bytes in fresh slots; reserved {}", device.stats().bytes_reserved);
        for (i, slot) in plan.slots.iter().enumerate() {
            let users: Vec<usize> = plan.outputs.iter().filter(|o| o.slot == i).map(|o| o.node).collect();
            eprintln!("  slot {i}: {slot:?}{}", if users.is_empty() { String::new() } else { format!(", holds nodes {users:?}") });
        }
    }
}

/// Prints the text of every kernel.
pub fn kernels(executable: &dyn Executable) {
    if on("kernels") {
        for (i, text) in executable.kernels().iter().enumerate() {
            eprintln!("// kernel {i}\n{text}");
        }
    }
}
