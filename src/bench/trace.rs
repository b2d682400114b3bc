//! Which kernel ran when? Kernels of replayed steps as Chrome's trace event format, for `chrome://tracing` and Perfetto.
//!
//! Each device is a process and each traced step a thread that begins at 0. An event is a kernel: `ts` and `dur` are
//! microseconds of the device's own clock, `args` says which plan of the step it belongs to, and to which of its steps.
//! Plans of one step follow each other without the waits in between.

use super::report::tidy;
use crate::device::{Device, KernelTime};
use crate::error::{Error, Result};
use crate::io::atomic;
use serde_json::{Value, json};
use std::path::Path;

/// A file of traces in the making.
#[derive(Debug, Default)]
pub struct Trace {
    events: Vec<Value>,
    devices: Vec<String>,
    threads: usize,
}

impl Trace {
    /// Adds the kernels of one step, as [`Device::profile`] gives them.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::ones([64, 64], DType::F32, &Device::cpu());
    /// let (_, kernels) = Device::cpu().profile(|| x.matmul(&x).realize())?;
    /// let mut trace = sunstone::bench::Trace::default();
    /// trace.add(&Device::cpu(), "a product", &kernels);
    /// assert!(trace.json().contains("matmul"));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn add(&mut self, device: &Device, title: &str, kernels: &[KernelTime]) {
        let process = self.process(device);
        self.threads += 1;
        let thread = self.threads;
        self.name("thread_name", process, thread, title);
        let (mut begin, mut end, mut run) = (0.0, 0.0f64, 0);
        for kernel in kernels {
            if kernel.run != run {
                (begin, run) = (end, kernel.run);
            }
            let start = begin + kernel.start;
            end = end.max(start + kernel.duration);
            self.events.push(json!({
                "ph": "X", "name": kernel.name, "cat": "kernel", "pid": process, "tid": thread,
                "ts": start, "dur": kernel.duration,
                "args": { "plan": kernel.run, "step": kernel.step, "what": kernel.what },
            }));
        }
    }

    /// The device's number, told once by name.
    fn process(&mut self, device: &Device) -> usize {
        let name = tidy(&format!("{} ({})", device.name(), device.caps().hardware));
        if let Some(known) = self.devices.iter().position(|d| *d == name) {
            return known;
        }
        self.devices.push(name.clone());
        let process = self.devices.len() - 1;
        self.name("process_name", process, 0, &name);
        process
    }

    fn name(&mut self, what: &str, process: usize, thread: usize, name: &str) {
        self.events.push(json!({
            "ph": "M", "name": what, "pid": process, "tid": thread, "args": { "name": name },
        }));
    }

    /// The whole file.
    pub fn json(&self) -> String {
        json!({ "traceEvents": self.events, "displayTimeUnit": "ns" }).to_string()
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        atomic::write(path, &[self.json().as_bytes()])
    }

    /// An error where nothing was added, because no device of them tells the times of its kernels.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn check(&self, device: &Device) -> Result<()> {
        match self.threads {
            0 => {
                let what = "the times of single kernels, so there is nothing to trace".into();
                Err(Error::Unsupported { device: device.name().into(), what })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_follow_each_other_and_devices_are_named_once() {
        let kernel =
            |run, start, duration| KernelTime { name: "map".into(), run, start, duration, ..Default::default() };
        let mut trace = Trace::default();
        trace.add(&Device::cpu(), "a", &[kernel(0, 0.0, 2.0), kernel(0, 3.0, 1.0), kernel(1, 0.5, 1.0)]);
        trace.add(&Device::cpu(), "b", &[kernel(0, 0.0, 1.0)]);
        let read: Value = serde_json::from_str(&trace.json()).unwrap();
        let events = read["traceEvents"].as_array().unwrap();
        let starts: Vec<f64> = events.iter().filter(|e| e["ph"] == "X").map(|e| e["ts"].as_f64().unwrap()).collect();
        assert_eq!(starts, [0.0, 3.0, 4.5, 0.0]);
        assert_eq!(events.iter().filter(|e| e["name"] == "process_name").count(), 1);
        let titles: Vec<&Value> =
            events.iter().filter(|e| e["name"] == "thread_name").map(|e| &e["args"]["name"]).collect();
        assert_eq!(titles, ["a", "b"]);
        assert!(trace.check(&Device::cpu()).is_ok() && Trace::default().check(&Device::cpu()).is_err());
    }
}
