//! The benchmark: rows are right and say what they are, files are read with care, and no time ever decides a test.

use sunstone::bench::{self, Event, Options, Outcome, Report, Run, Suite};
use sunstone::prelude::*;

/// One suite on a device, each row timed as shortly as can be.
fn measured(device: &Device, suite: Suite) -> Run {
    let options = Options { suites: vec![suite], budget: 0.0, limit: f64::INFINITY, ..Options::quick() };
    let clock = std::time::Instant::now();
    let seconds = || clock.elapsed().as_secs_f64();
    bench::ready(bench::run(device, &options, &seconds, &mut |_| true)).expect("nothing to wait for")
}

#[test]
fn every_row_of_a_suite_is_right_and_timed_on_the_cpu() {
    let run = measured(&Device::cpu(), Suite::Rows);
    assert_eq!(run.rows.iter().filter(|row| row.suite == "rows").count(), 9);
    for row in &run.rows {
        match &row.outcome {
            Outcome::Timed(timed) => {
                assert!(timed.time.best <= timed.time.median && timed.time.samples >= 3, "{row:?}");
                assert!(row.suite != "rows" || (timed.error.is_some() && timed.of_peak.is_some()), "{row:?}");
            }
            Outcome::Skipped { reason } => {
                assert!(row.name == "workgroup memory" && reason.contains("no CPU evaluation"), "{row:?}")
            }
            Outcome::Wrong { .. } => panic!("{row:?}"),
        }
    }
    assert!(run.peak.bytes.is_some() && run.peak.flops.contains_key("f16"));
}

#[test]
fn rows_after_the_limit_are_listed_and_the_observer_may_end_it() {
    let device = Device::cpu();
    let options = Options { limit: -1.0, ..Options::quick() };
    let run = bench::ready(bench::run(&device, &options, &|| 0.0, &mut |_| true)).unwrap();
    assert!(run.rows.len() > 30);
    assert!(run.rows.iter().all(|r| matches!(&r.outcome, Outcome::Skipped { reason } if reason.contains("were over"))));
    let mut done = 0;
    let mut on = |event: Event<'_>| {
        done += matches!(event, Event::Done { .. }) as usize;
        done < 3
    };
    assert_eq!(bench::ready(bench::run(&device, &options, &|| 0.0, &mut on)).unwrap().rows.len(), 3);
}

#[test]
fn a_pause_comes_before_each_row_and_what_is_heard_there_ends_the_run() {
    let pauses = std::cell::Cell::new(0);
    let pause = async || pauses.set(pauses.get() + 1);
    let options = Options { limit: -1.0, ..Options::quick() };
    let mut on = |event: Event<'_>| !matches!(event, Event::Start { .. } if pauses.get() > 2);
    let run = bench::ready(bench::run_pausing(&Device::cpu(), &options, &|| 0.0, &mut on, pause)).unwrap();
    assert_eq!((pauses.get(), run.rows.len()), (3, 2));
}

#[test]
fn names_are_unique_within_a_suite_and_dtype() {
    for options in [Options::quick(), Options::full()] {
        let options = Options { limit: -1.0, ..options };
        let run = bench::ready(bench::run(&Device::cpu(), &options, &|| 0.0, &mut |_| true)).unwrap();
        let keys: std::collections::HashSet<_> = run.rows.iter().map(|r| (&r.suite, &r.name, &r.dtype)).collect();
        assert_eq!(keys.len(), run.rows.len());
        assert!(run.rows.iter().all(|r| r.name.chars().count() <= 60), "a name too long for the table");
    }
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.json");
    let options = Options { limit: -1.0, ..Options::quick() };
    let run = bench::ready(bench::run(&Device::cpu(), &options, &|| 0.0, &mut |_| true)).unwrap();
    let report = Report { runs: vec![run], ..Report::new(bench::date(0), true) };
    report.save(&path).unwrap();
    assert_eq!(Report::load(&path).unwrap(), report);
    std::fs::write(&path, "{").unwrap();
    let message = Report::load(&path).unwrap_err().to_string();
    assert!(message.contains("a.json") && message.contains("not a file of measurements"), "{message}");
}

#[test]
fn an_unknown_suite_names_the_known() {
    let message = "speed".parse::<Suite>().unwrap_err().to_string();
    assert!(message.contains("'speed'") && message.contains("peak, matmul"), "{message}");
}

#[cfg(feature = "cli")]
mod program {
    use std::path::Path;
    use std::process::{Command, Output};
    use sunstone::bench::Report;

    fn sunstone(folder: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sunstone"));
        command.current_dir(folder).env_remove("SUNSTONE_DEVICE").arg("bench").args(args).output().expect("it starts")
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn measures_writes_and_compares() {
        let folder = tempfile::tempdir().unwrap();
        let out = sunstone(folder.path(), &["map", "--quick", "--device", "cpu", "--json", "a.json"]);
        assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
        assert!(text(&out.stdout).contains("transpose and scale 1024") && text(&out.stdout).contains("Peak:"));
        let report = Report::load(&folder.path().join("a.json")).unwrap();
        assert!(report.quick && report.runs.len() == 1 && report.runs[0].device.backend == "cpu");
        let out = sunstone(folder.path(), &["compare", "a.json", "a.json"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        assert!(text(&out.stdout).contains("[2]: 1.00 times as fast as [1]"), "{}", text(&out.stdout));
    }

    #[test]
    fn draws_what_was_measured() {
        let folder = tempfile::tempdir().unwrap();
        let out = sunstone(folder.path(), &["rows", "--quick", "--device", "cpu", "--json", "a.json"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let out = sunstone(folder.path(), &["plot", "a.json", "a.json", "--out", "a.svg"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let picture = std::fs::read_to_string(folder.path().join("a.svg")).unwrap();
        assert!(picture.starts_with("<svg") && picture.contains("Roofline") && picture.contains("1.00×"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    /// The titles of a trace's threads, and how many kernels it has, each with its time and place.
    fn trace(file: &Path) -> (Vec<String>, usize) {
        let read: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let events = read["traceEvents"].as_array().unwrap();
        let of = |kind: &str| events.iter().filter(|e| e["ph"] == kind).collect::<Vec<_>>();
        for event in of("X") {
            assert!(event["dur"].as_f64().unwrap() >= 0.0 && event["ts"].as_f64().unwrap() >= 0.0, "{event}");
            assert!(!event["name"].as_str().unwrap().is_empty(), "{event}");
            assert!(event["args"]["step"].is_u64() && event["args"]["what"].is_string(), "{event}");
        }
        let titles = of("M").into_iter().filter(|e| e["name"] == "thread_name");
        (titles.map(|e| e["args"]["name"].as_str().unwrap().to_owned()).collect(), of("X").len())
    }

    #[test]
    fn a_trace_of_the_benchmark_has_every_row_that_ran() {
        let folder = tempfile::tempdir().unwrap();
        let out = sunstone(folder.path(), &["rows", "--quick", "--device", "cpu", "--trace", "t.json"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let (titles, kernels) = trace(&folder.path().join("t.json"));
        assert!(titles.contains(&"rows: softmax 1024, f32".to_owned()), "{titles:?}");
        assert!(kernels >= titles.len(), "{kernels} kernels of {titles:?}");
    }

    #[test]
    fn a_trace_of_a_training_is_one_replayed_step() {
        let folder = tempfile::tempdir().unwrap();
        let words = "the quick brown fox jumps over the lazy dog and on it goes; ".repeat(40);
        std::fs::write(folder.path().join("words.txt"), words).unwrap();
        let run = |args: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_sunstone"));
            let small = ["--layers", "1", "--heads", "1", "--width", "16", "--context", "8", "--batch", "2"];
            let text = ["train", "text", "--text", "words.txt", "--device", "cpu", "--trace", "t.json"];
            command.current_dir(folder.path()).args(text).args(small).args(args).output().expect("it starts")
        };
        let out = run(&["--steps", "5"]);
        assert!(out.status.success(), "{}", text(&out.stderr));
        let (titles, kernels) = trace(&folder.path().join("t.json"));
        assert_eq!(titles, ["step 3"]);
        assert!(kernels > 5, "{kernels}");
        std::fs::remove_file(folder.path().join("t.json")).unwrap();
        let out = run(&["--steps", "2"]);
        assert!(out.status.success() && text(&out.stderr).contains("no step was traced"), "{}", text(&out.stderr));
        assert!(!folder.path().join("t.json").exists());
    }

    #[test]
    fn bad_input_is_refused_with_code_2_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bad.json"), r#"{"format":"sunstone-bench","version":9}"#).unwrap();
        for (args, expected) in [
            (&["speed"] as &[&str], "unknown suite"),
            (&["--device", "nowhere:1"], "unknown device"),
            (&["--quick", "--json", "missing/a.json"], "no folder"),
            (&["--quick", "--trace", "missing/a.json"], "no folder"),
            (&["compare", "none.json"], "none.json"),
            (&["compare", "bad.json"], "version 9"),
            (&["compare"], "required"),
            (&["plot", "bad.json", "--out", "a.svg"], "version 9"),
            (&["plot", "bad.json", "--out", "missing/a.svg"], "no folder"),
            (&["plot", "bad.json"], "--out"),
        ] {
            let out = sunstone(folder.path(), args);
            assert_eq!(out.status.code(), Some(2), "{args:?}");
            assert!(text(&out.stderr).contains(expected), "{args:?}: {}", text(&out.stderr));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
