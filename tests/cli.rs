//! The program as a person or another program meets it: output, exit codes, and no partial file on bad input.
#![cfg(feature = "cli")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use sunstone::data::{Images, strokes};

/// A folder with MNIST's four files, small, of digits that the library draws.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = Folder(tempfile::tempdir().expect("a temporary folder"));
        let data = strokes::digits(1, 640, 100);
        for (name, images) in [("train", &data.train), ("t10k", &data.test)] {
            fs::write(folder.file(&format!("{name}-images-idx3-ubyte")), idx_images(images)).unwrap();
            fs::write(folder.file(&format!("{name}-labels-idx1-ubyte")), idx_labels(images)).unwrap();
        }
        folder
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

fn idx_images(images: &Images) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 3];
    for size in [images.len(), 28, 28] {
        bytes.extend((size as u32).to_be_bytes());
    }
    bytes.extend(&images.pixels);
    bytes
}

fn idx_labels(images: &Images) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, 1];
    bytes.extend((images.len() as u32).to_be_bytes());
    bytes.extend(&images.labels);
    bytes
}

fn sunstone(folder: &Folder, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunstone"));
    command.current_dir(folder.path()).env_remove("SUNSTONE_DEVICE").args(args).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A training of two epochs, unless `more` says otherwise.
fn train<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec!["train", "digits", "--data", ".", "--device", "cpu", "--model", "mlp"];
    if !more.contains(&"--epochs") {
        args.extend(["--epochs", "2"]);
    }
    args.extend(more);
    args
}

#[test]
fn a_training_reports_as_json_and_leaves_its_files() {
    let folder = Folder::new();
    let out = sunstone(&folder, &train(&["--json", "--save", "net.safetensors", "--losses", "losses.txt"]));
    assert!(out.status.success(), "{}", text(&out.stderr));
    let lines: Vec<serde_json::Value> =
        text(&out.stdout).lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect();
    let events: Vec<&str> = lines.iter().map(|l| l["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["start", "epoch", "epoch", "done"]);
    let done = &lines[3];
    for key in [
        "device",
        "epochs",
        "test_accuracy",
        "train_loss",
        "images_per_second",
        "steps",
        "plans_built",
        "plans_replayed",
        "kernels_per_step",
        "bytes_reserved",
    ] {
        assert!(!done[key].is_null(), "{key} is missing in {done}");
    }
    assert_eq!((done["steps"].as_u64(), done["epochs"].as_u64()), (Some(20), Some(2)));
    let losses = fs::read_to_string(folder.file("losses.txt")).unwrap();
    assert_eq!(losses.lines().filter(|l| l.parse::<f32>().is_ok_and(f32::is_finite)).count(), 20);
    let (tensors, _) = sunstone::io::load(folder.file("net.safetensors"), &sunstone::prelude::Device::cpu()).unwrap();
    assert!(tensors.iter().any(|(name, t)| name == "fc1.weight" && *t.shape() == [128, 784]));
}

#[test]
fn a_training_reports_to_people() {
    let folder = Folder::new();
    let out = sunstone(&folder, &train(&[]));
    assert!(out.status.success(), "{}", text(&out.stderr));
    let shown = text(&out.stdout);
    for part in [
        "640 to learn from, 100 to be tested on",
        "epoch 2: loss",
        "commonest confusions",
        "@",
        "saved digits.safetensors",
    ] {
        assert!(shown.contains(part), "'{part}' is missing in:\n{shown}");
    }
    assert!(folder.file("digits.safetensors").exists());
}

#[test]
#[cfg(unix)]
fn ctrl_c_saves_and_resume_goes_on_bit_for_bit() {
    let folder = Folder::new();
    let whole = sunstone(&folder, &train(&["--epochs", "60", "--losses", "whole.txt"]));
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let args = train(&["--epochs", "60", "--losses", "first.txt", "--save", "part.safetensors", "--json"]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_sunstone"))
        .current_dir(folder.path())
        .args(&args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // Once some losses are there, training is under way.
    let first = folder.file("first.txt");
    while fs::read_to_string(&first).map_or(0, |s| s.lines().count()) < 20 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let kill = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(kill.is_ok_and(|s| s.success()));
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success());
    let last = text(&out.stdout).lines().last().unwrap_or_default().to_owned();
    assert!(last.contains("interrupted"), "the training ended before it was stopped: {last}");
    let args =
        ["train", "digits", "--data", ".", "--device", "cpu", "--resume", "part.safetensors", "--losses", "second.txt"];
    let resumed = sunstone(&folder, &args);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    let read = |name: &str| fs::read_to_string(folder.file(name)).unwrap();
    assert_eq!(read("first.txt") + &read("second.txt"), read("whole.txt"));
}

/// Runs what must fail: exit code 2, a message with all `parts`, and no file that was not there before.
#[track_caller]
fn refused(folder: &Folder, args: &[&str], parts: &[&str]) {
    let list = || {
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
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
fn bad_arguments() {
    let folder = Folder::new();
    refused(&folder, &train(&["--save", "a.safetensors", "--batch", "0"]), &["a batch of 0"]);
    refused(&folder, &train(&["--save", "a.safetensors", "--batch", "641"]), &["a batch of 641"]);
    refused(&folder, &train(&["--lr", "nan"]), &["learning rate"]);
    refused(&folder, &train(&["--lr", "fast"]), &["fast"]);
    refused(&folder, &["train", "digits", "--device", "abacus"], &["unknown device 'abacus'", "cpu"]);
    refused(&folder, &["train", "poetry"], &["poetry"]);
    refused(&folder, &["--nonsense"], &["--nonsense"]);
    refused(&folder, &["train", "digits", "--resume", "x", "--lr", "1"], &["cannot be used with"]);
}

#[test]
fn bad_data() {
    let folder = Folder::new();
    let with = |dir: &'static str| ["train", "digits", "--device", "cpu", "--save", "a.safetensors", "--data", dir];
    refused(&folder, &with("nowhere"), &["nowhere"]);
    let images = fs::read(folder.file("train-images-idx3-ubyte")).unwrap();
    let labels = fs::read(folder.file("train-labels-idx1-ubyte")).unwrap();
    let spoil = |images: &[u8], labels: &[u8]| {
        fs::write(folder.file("train-images-idx3-ubyte"), images).unwrap();
        fs::write(folder.file("train-labels-idx1-ubyte"), labels).unwrap();
    };
    spoil(&images[..images.len() - 1], &labels);
    refused(&folder, &with("."), &["train-images-idx3-ubyte"]);
    let mut lying = images.clone();
    lying[4..8].copy_from_slice(&u32::MAX.to_be_bytes());
    spoil(&lying, &labels);
    refused(&folder, &with("."), &["train-images-idx3-ubyte", "4294967295"]);
    let mut wrong = labels.clone();
    wrong[8 + 17] = 10;
    spoil(&images, &wrong);
    refused(&folder, &with("."), &["train-labels-idx1-ubyte", "17", "10"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&images).unwrap();
    let packed = gzip.finish().unwrap();
    spoil(&packed[..packed.len() / 2], &labels);
    refused(&folder, &with("."), &["train-images-idx3-ubyte", "gzip"]);
    spoil(&packed, &labels);
    let out = sunstone(&folder, &train(&["--save", "fine.safetensors"]));
    assert!(out.status.success(), "the whole gzip is read: {}", text(&out.stderr));
}

#[test]
fn bad_checkpoints() {
    let folder = Folder::new();
    let out = sunstone(&folder, &train(&["--save", "good.safetensors"]));
    assert!(out.status.success(), "{}", text(&out.stderr));
    let good = fs::read(folder.file("good.safetensors")).unwrap();
    let resume = ["train", "digits", "--device", "cpu", "--data", ".", "--resume", "bad.safetensors"];
    let spoiled: Vec<(Vec<u8>, &str)> = vec![
        (good[..good.len() - 5].to_vec(), "bad.safetensors"),
        (good[..4].to_vec(), "bad.safetensors"),
        ([&u64::MAX.to_le_bytes()[..], &good[8..]].concat(), "bad.safetensors"),
        ([&(1u64 << 40).to_le_bytes()[..], &good[8..]].concat(), "bad.safetensors"),
        (text_swap(&good, "fc1.weight", "fc9.weight"), "fc1.weight"),
        (text_swap(&good, "[128,784]", "[784,128]"), "[784, 128]"),
        (b"not at all".to_vec(), "bad.safetensors"),
    ];
    for (bytes, part) in spoiled {
        fs::write(folder.file("bad.safetensors"), &bytes).unwrap();
        refused(&folder, &resume, &[part]);
    }
    refused(
        &folder,
        &["train", "digits", "--device", "cpu", "--data", ".", "--resume", "none.safetensors"],
        &["none.safetensors"],
    );
}

/// The same bytes with a text replaced by another of equal length.
fn text_swap(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut out = bytes.to_vec();
    let mut found = false;
    for i in 0..out.len() - from.len() {
        if &out[i..i + from.len()] == from.as_bytes() {
            out[i..i + to.len()].copy_from_slice(to.as_bytes());
            found = true;
        }
    }
    assert!(found, "'{from}' is not in the file");
    out
}

#[test]
fn a_loss_that_becomes_nan_stops_the_training_and_says_where() {
    let folder = Folder::new();
    let out = sunstone(&folder, &train(&["--lr", "1e9", "--save", "a.safetensors"]));
    assert_eq!(out.status.code(), Some(1));
    let message = text(&out.stderr);
    assert!(message.contains("the loss became") && message.contains("at step"), "{message}");
    assert!(!folder.file("a.safetensors").exists(), "a spoiled network was saved");
}

#[test]
fn devices_are_listed() {
    let folder = Folder::new();
    let out = sunstone(&folder, &["devices"]);
    assert!(out.status.success());
    assert!(text(&out.stdout).contains("cpu") && text(&out.stdout).contains("picked by default"));
    let out = sunstone(&folder, &["devices", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text(&out.stdout)).unwrap();
    assert_eq!(json["devices"][0]["name"], "cpu");
    assert!(json["devices"][0]["caps"]["dtypes"].as_array().unwrap().contains(&"f64".into()));
    // A software GPU may be there, but is never picked by itself.
    let best = json["best"].as_str().unwrap();
    let chosen = json["devices"].as_array().unwrap().iter().find(|d| d["name"] == best).unwrap();
    assert!(best == "cpu" || chosen["caps"]["software"] == false, "{json}");
}

#[test]
#[cfg(feature = "wgpu")]
fn tuning_is_for_gpus_and_is_kept_until_it_is_forgotten() {
    let folder = Folder::new();
    refused(&folder, &["tune", "--device", "cpu"], &["'cpu'", "only their kernels can be tuned"]);
    refused(&folder, &["tune", "--device", "wgpu:99"], &["wgpu:99"]);
    if sunstone::backend::wgpu::adapters().is_empty() {
        println!("skipped: no GPU driver (Vulkan, Metal or DX12)");
        return;
    }
    let tune = |args: &[&str]| -> serde_json::Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sunstone"));
        let output = command.env("SUNSTONE_CACHE", folder.path()).arg("tune").args(args).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    assert_eq!(tune(&["--reset", "--json"])["forgotten"], false);
    let report = tune(&["--json"]);
    let saved = report["file"].as_str().expect("the file that it was saved in");
    assert!(Path::new(saved).starts_with(folder.path()), "{saved}");
    for step in report["found"]["steps"].as_array().expect("what was tried") {
        let trials = step["trials"].as_array().unwrap();
        assert!(trials.len() > 2 && trials.iter().all(|t| t["seconds"].as_f64() > Some(0.0)), "{step}");
        assert!(trials.iter().any(|t| t["value"] == step["after"]), "{step}");
    }
    let again = tune(&["--reset", "--json"]);
    assert_eq!(again["forgotten"], true);
    assert!(again["tuning"]["wide_room"].is_u64() && !Path::new(saved).exists());
}
