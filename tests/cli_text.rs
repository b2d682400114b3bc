//! `train text` and `generate` as a person or another program meets them.
#![cfg(feature = "cli")]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("t.txt"), common::sentences(800)).expect("written");
    folder
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunstone"));
    command.current_dir(folder).env_remove("SUNSTONE_DEVICE").args(args);
    command
}

fn sunstone(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("the program starts")
}

#[track_caller]
fn succeeds(folder: &Path, args: &[&str]) -> String {
    let out = sunstone(folder, args);
    assert!(out.status.success(), "{args:?}: {}", text(&out.stderr));
    text(&out.stdout)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(lines: &str) -> Vec<serde_json::Value> {
    lines.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

/// A small training of 25 steps, unless `more` says otherwise.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "text"];
    for (name, value) in [
        ("--device", "cpu"),
        ("--text", "t.txt"),
        ("--layers", "1"),
        ("--heads", "2"),
        ("--width", "16"),
        ("--context", "16"),
        ("--batch", "4"),
        ("--steps", "25"),
        ("--save", "m.safetensors"),
    ] {
        if !more.contains(&name) {
            args.extend([name, value]);
        }
    }
    args.extend(more);
    args
}

#[test]
fn a_training_reports_as_json_and_its_network_writes() {
    let folder = folder();
    let shown =
        succeeds(folder.path(), &train(&["--json", "--losses", "l.txt", "--eval-every", "10", "--dropout", "0.1"]));
    let lines = json(&shown);
    let events: Vec<&str> = lines.iter().map(|l| l["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["start", "validation", "validation", "done"]);
    assert_eq!((lines[0]["characters"].as_u64(), lines[2]["step"].as_u64()), (Some(27), Some(20)));
    for key in ["train_loss", "validation_loss", "tokens_per_second", "ms_per_step", "kernels_per_step", "plans_built"]
    {
        assert!(lines[3][key].is_number(), "{key} is missing in {}", lines[3]);
    }
    assert_eq!(lines[3]["sample"].as_str().unwrap().chars().count(), 400);
    let losses = fs::read_to_string(folder.path().join("l.txt")).unwrap();
    assert_eq!(losses.lines().filter(|l| l.parse::<f32>().is_ok_and(f32::is_finite)).count(), 25);

    let generate = ["generate", "--model", "m.safetensors", "--device", "cpu", "--tokens", "50", "--prompt", "the cat"];
    let plain = succeeds(folder.path(), &generate);
    assert!(plain.starts_with("the cat") && plain.trim_end_matches('\n').chars().count() <= 57, "{plain}");
    let lines = json(&succeeds(folder.path(), &[&generate[..], &["--json"]].concat()));
    let streamed: String = lines[..50].iter().map(|l| l["text"].as_str().unwrap()).collect();
    assert_eq!((lines.len(), lines[50]["text"].as_str()), (51, Some(streamed.as_str())));
    assert_eq!(plain, format!("the cat{streamed}\n"));
    let with = |more: &[&str]| succeeds(folder.path(), &[&generate[..], more].concat());
    assert_ne!(with(&["--seed", "1"]), plain);
    assert_eq!(with(&["--temperature", "0"]), with(&["--top-k", "1", "--seed", "7"]));
    assert_eq!(succeeds(folder.path(), &["generate", "--model", "m.safetensors", "--tokens", "0"]), "\n");
}

#[test]
fn a_training_reports_to_people() {
    let folder = folder();
    let shown = succeeds(folder.path(), &train(&["--no-tie", "--eval-every", "0"]));
    for part in ["characters to learn from", "validation loss", "tokens/s", "saved m.safetensors"] {
        assert!(shown.contains(part), "'{part}' is missing in:\n{shown}");
    }
    assert!(!shown.contains("step 25:"), "{shown}");
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_and_resume_goes_on_bit_for_bit() {
    let folder = folder();
    let file = |name: &str| folder.path().join(name);
    succeeds(folder.path(), &train(&["--steps", "600", "--losses", "whole.txt", "--dropout", "0.1"]));
    let args = train(&["--steps", "600", "--losses", "first.txt", "--dropout", "0.1", "--json"]);
    let mut child = command(folder.path(), &args).stdout(Stdio::piped()).spawn().expect("the program starts");
    while fs::read_to_string(file("first.txt")).map_or(0, |s| s.lines().count()) < 20
        && child.try_wait().unwrap().is_none()
    {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(kill.is_ok_and(|s| s.success()));
    let out = child.wait_with_output().unwrap();
    let shown = text(&out.stdout);
    assert!(out.status.success() && shown.contains("interrupted"), "it ended before it was stopped: {shown}");
    let resume =
        ["train", "text", "--text", "t.txt", "--device", "cpu", "--resume", "m.safetensors", "--losses", "second.txt"];
    succeeds(folder.path(), &resume);
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    assert_eq!(read("first.txt") + &read("second.txt"), read("whole.txt"));
    fs::write(file("t.txt"), common::sentences(799)).unwrap();
    refused(folder.path(), &resume, &["m.safetensors", "another text"]);
}

/// Runs what must fail: exit code 2, a message with all `parts`, and no file that was not there before.
#[track_caller]
fn refused(folder: &Path, args: &[&str], parts: &[&str]) {
    let list = || {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = list();
    let out = sunstone(folder, args);
    let message = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {message}");
    for part in parts {
        assert!(message.contains(part), "{args:?}: '{part}' is missing in: {message}");
    }
    assert!(!message.contains("panicked"), "{message}");
    assert_eq!(list(), before, "{args:?} left a file behind");
}

#[test]
fn bad_trainings() {
    let folder = folder();
    let path = folder.path();
    for (name, bytes) in [("empty.txt", &b""[..]), ("short.txt", b"a few words"), ("image.txt", b"\x89PNG\r\n\xff")] {
        fs::write(path.join(name), bytes).unwrap();
    }
    for (text, part) in [
        ("none.txt", "none.txt"),
        ("empty.txt", "is empty"),
        ("short.txt", "too few for a context of 16"),
        ("image.txt", "is not UTF-8"),
        (".", "is not a file"),
    ] {
        refused(path, &train(&["--text", text]), &[part]);
    }
    for (option, value, part) in [
        ("--layers", "0", "layers"),
        ("--heads", "3", "evenly"),
        ("--width", "99999999999998", "parameters"),
        ("--context", "0", "context"),
        ("--context", "5000", "too few"),
        ("--batch", "0", "batch of 0"),
        ("--steps", "0", "steps"),
        ("--steps", "-1", "-1"),
        ("--lr", "nan", "learning rate"),
        ("--dropout", "1", "dropout"),
        ("--device", "abacus", "unknown device"),
        ("--save", "nowhere/m.safetensors", "nowhere"),
        ("--save", ".", "folder"),
        ("--losses", "nowhere/l.txt", "nowhere"),
        ("--resume", "t.txt", "cannot be used with"),
    ] {
        refused(path, &train(&[option, value]), &[part]);
    }
    refused(path, &["train", "text"], &["--text"]);
    refused(path, &["train", "text", "--text", "t.txt", "--resume", "t.txt"], &["t.txt"]);
    refused(path, &["train", "text", "--text", "t.txt", "--resume", "none.safetensors"], &["none.safetensors"]);
    let out = sunstone(path, &train(&["--lr", "1e30", "--save", "x.safetensors"]));
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("at step") && !path.join("x.safetensors").exists());
}

#[test]
fn bad_generations() {
    let folder = folder();
    let path = folder.path();
    succeeds(path, &train(&[]));
    let generate = |more: &[&'static str]| {
        [&["generate", "--model", "m.safetensors", "--device", "cpu", "--tokens", "5"][..], more].concat()
    };
    refused(path, &generate(&["--prompt", "the 7 cats"]), &["'7'"]);
    refused(path, &generate(&["--temperature", "-1"]), &["temperature"]);
    refused(path, &generate(&["--temperature", "inf"]), &["temperature"]);
    refused(path, &generate(&["--top-k", "0"]), &["top-k"]);
    refused(path, &["generate", "--model", "none.safetensors"], &["none.safetensors"]);
    refused(path, &["generate", "--model", "t.txt"], &["t.txt"]);
    refused(path, &["generate"], &["--model"]);
    let whole = fs::read(path.join("m.safetensors")).unwrap();
    fs::write(path.join("part.safetensors"), &whole[..whole.len() - 9]).unwrap();
    refused(path, &["generate", "--model", "part.safetensors", "--device", "cpu"], &["part.safetensors"]);
    let digits = ["train", "digits", "--device", "cpu", "--model", "mlp", "--epochs", "1", "--batch", "6000"];
    succeeds(path, &[&digits[..], &["--save", "digits.safetensors"]].concat());
    refused(path, &["generate", "--model", "digits.safetensors", "--device", "cpu"], &["digits.safetensors"]);
}
