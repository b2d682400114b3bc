//! What does this device do in this browser? The suites, rows and file of `sunstone bench`.

use super::pause::{now, pause};
use super::{JsResult, fail, invalid, open};
use crate::bench::report::tidy;
use crate::bench::{self as suites, Event, Options, Report, Row};
use js_sys::{Date, Function, JSON};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** A row begins, or is done. */
export type BenchEvent = { start: { place: number; of: number; suite: string; name: string } } | { row: BenchRow };

/** One row, as the file has it: its result was right and it was timed, or it was not timed and there is a reason. */
export type BenchRow = {
  suite: string; name: string; dtype: string;
  /** Of one call; 0 where that says nothing about it. */ work: { flops: number; bytes: number; samples: number };
} & (
  | { outcome: "skipped" | "wrong"; reason: string }
  | {
    outcome: "timed";
    /** Seconds of one call. */ time: { median: number; q1: number; q3: number; best: number; samples: number; calls: number };
    host: number; device: number | null; kernels: number | null; error: number | null;
    /** The time that the device's peak allows, as a share of the time it took. */ of_peak: number | null;
  }
);
"#;

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Told<'a> {
    Start { place: usize, of: usize, suite: &'a str, name: &'a str },
    Row(&'a Row),
}

/// Measures the small sizes of these suites, or of all if none is named; each row is checked before it is timed, and the
/// signal ends it before the next row. Gives the file that `sunstone bench --json` would write, of the rows that were
/// reached. `browser` goes into the file, because the module cannot know where it runs.
#[wasm_bindgen]
pub async fn bench(
    device: String,
    suites: Vec<String>,
    browser: String,
    #[wasm_bindgen(unchecked_param_type = "(event: BenchEvent) => void")] on_event: Function,
    signal: Option<AbortSignal>,
) -> JsResult<String> {
    let mut options = Options::quick();
    if !suites.is_empty() {
        options.suites = suites.iter().map(|name| name.parse()).collect::<Result<_, _>>().map_err(fail)?;
    }
    let device = open(&device).await?;
    let mut report = Report::new(suites::date((Date::now() / 1e3) as u64), options.quick);
    report.program = tidy(&format!("{} in {browser}", report.program));
    let stopped = || signal.as_ref().is_some_and(AbortSignal::aborted);
    let mut failed = None;
    let mut on = |event: Event<'_>| {
        let told = match event {
            Event::Start { .. } if stopped() => return false,
            Event::Start { place, of, suite, name } => Told::Start { place, of, suite, name },
            Event::Done { row, .. } => Told::Row(row),
        };
        failed = tell(&on_event, &told).err();
        failed.is_none() && !stopped()
    };
    let mut run = suites::run_pausing(&device, &options, &|| now() / 1e3, &mut on, pause).await;
    if let Some(error) = failed {
        return Err(error);
    }
    // The target knows of no operating system.
    run.device.machine = run.device.machine.trim().into();
    report.runs.push(run);
    report.json().map_err(fail)
}

/// By way of JSON, whose code for rows is here for the file already.
fn tell(on_event: &Function, told: &Told<'_>) -> JsResult<()> {
    let json = serde_json::to_string_pretty(told).map_err(|e| invalid(e.to_string()))?;
    on_event.call1(&JsValue::NULL, &JSON::parse(&json)?).map(drop)
}
