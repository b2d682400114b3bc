//! `sunstone view` as a person or a test looks at it: off-screen pictures of each mode, and a real window on a display that
//! exists in memory only.
#![cfg(all(feature = "view", unix))]

use image::RgbImage;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a window may take to get somewhere on a slow, loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn command(folder: &Path, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sunstone"));
    command.current_dir(folder).arg("view").args(args.split_whitespace());
    command
}

fn run(folder: &Path, args: &str) -> Output {
    command(folder, args).output().expect("the program starts")
}

fn has_gpu() -> bool {
    let found = !sunstone::backend::wgpu::adapters().is_empty();
    if !found {
        eprintln!("skipped: no adapter, not even a software one");
    }
    found
}

/// Each frame's quality and the last frame's picture.
fn watch(folder: &Path, args: &str) -> (Vec<Option<f64>>, RgbImage) {
    let out = run(folder, &format!("{args} --json --screenshot shot.png"));
    assert!(out.status.success(), "{args}: {}", String::from_utf8_lossy(&out.stderr));
    let quality = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["quality"].as_f64();
    let qualities = String::from_utf8_lossy(&out.stdout).lines().map(quality).collect();
    (qualities, image::open(folder.join("shot.png")).unwrap().to_rgb8())
}

/// The share of pixels right of the controls that differ.
fn changed(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let pairs =
        a.enumerate_pixels().filter(|(x, ..)| *x > a.width() / 4).map(|(x, y, pixel)| pixel != b.get_pixel(x, y));
    let (count, different) = pairs.fold((0, 0), |(n, d), differs| (n + 1, d + u32::from(differs)));
    different as f64 / count as f64
}

/// A mode's picture after one frame and after `frames`, and its quality at both.
#[track_caller]
fn learns(folder: &Path, args: &str, frames: u32, rise: f64) {
    let (_, before) = watch(folder, &format!("{args} --frames 1"));
    let (qualities, after) = watch(folder, &format!("{args} --frames {frames}"));
    assert_eq!(qualities.len(), frames as usize);
    let (first, last) = (qualities[0].unwrap(), qualities[frames as usize - 1].unwrap());
    assert!(last > first + rise, "{args}: {first} to {last}");
    let share = changed(&before, &after);
    assert!(share > 0.02, "{args}: {share} of the picture changed");
}

#[test]
fn an_image_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_fn(40, 24, |x, y| image::Rgb([(6 * x) as u8, (10 * y) as u8, (x * y / 4) as u8]));
    picture.save(folder.path().join("picture.png")).unwrap();
    if has_gpu() {
        learns(folder.path(), "image picture.png --steps 5", 6, 3.0);
    }
}

#[test]
fn digits_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    if has_gpu() {
        learns(folder.path(), "digits --steps 5", 8, 0.15);
    }
}

#[test]
fn a_field_is_learned() {
    let folder = tempfile::tempdir().unwrap();
    if has_gpu() {
        learns(folder.path(), "field moons --steps 10", 8, 0.03);
    }
}

#[test]
fn a_picture_has_as_many_pixels_as_scale_and_size_say() {
    let folder = tempfile::tempdir().unwrap();
    if has_gpu() {
        let (_, shot) = watch(folder.path(), "field rings --steps 1 --frames 1 --scale 2 --size 700x450");
        assert_eq!(shot.dimensions(), (1400, 900));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text.png"), "no picture").unwrap();
    let off = "--frames 1 --screenshot a.png";
    for (args, part) in [
        (format!("image text.png {off}"), "text.png"),
        (format!("image nowhere.png {off}"), "nowhere.png"),
        (format!("digits --data nowhere {off}"), "nowhere"),
        (format!("field circles {off}"), "circles"),
        (format!("field --device cpu {off}"), "cpu"),
        (format!("field --device wgpu:99 {off}"), "wgpu:99"),
        (format!("field --lr nan {off}"), "learning rate"),
        (format!("field --scale 9 {off}"), "scale"),
        (format!("field --size 10x10 {off}"), "640x420"),
        ("field --frames 1 --screenshot nowhere/a.png".into(), "nowhere/a.png"),
        ("field --frames 1".into(), "--screenshot"),
    ] {
        let out = run(folder.path(), &args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args}: {said}");
        assert!(said.contains(part) && !said.contains("panicked"), "{args}: {said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn without_a_display_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), "field");
    let out =
        command.env_remove("DISPLAY").env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET").output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("--screenshot") && !said.contains("panicked"), "{said}");
}

#[test]
fn help_lists_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    for args in ["--help", "image --help", "digits --help", "field --help"] {
        let said = String::from_utf8(run(folder.path(), args).stdout).unwrap();
        assert!(said.contains("Space") && said.contains("save the model"), "{said}");
    }
}

/// Ends a process that a test started, however the test ends.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A display in memory.
struct Display {
    _server: Ended,
    name: String,
    folder: tempfile::TempDir,
}

impl Display {
    fn open() -> Option<Display> {
        let there = |(program, asked): (&str, &str)| Command::new(program).arg(asked).output().is_ok();
        if ![("Xvfb", "-help"), ("xdotool", "version")].into_iter().all(there) {
            eprintln!("skipped: Xvfb or xdotool is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mut server = Command::new("Xvfb");
        server
            .args(["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset", "-fbdir"])
            .arg(folder.path());
        let mut server = Ended(server.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
        let mut number = String::new();
        BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut number).unwrap();
        Some(Display { _server: server, name: format!(":{}", number.trim()), folder })
    }

    fn xdotool(&self, args: &str) -> String {
        let out = Command::new("xdotool").env("DISPLAY", &self.name).args(args.split_whitespace()).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// What is on the screen, read from the server's own memory: an XWD header, colours, then pixels of four bytes.
    fn screen(&self) -> RgbImage {
        let bytes = fs::read(self.folder.path().join("Xvfb_screen0")).unwrap();
        let word = |i: usize| u32::from_be_bytes(bytes[4 * i..][..4].try_into().unwrap()) as usize;
        let (width, height, line, colours) = (word(4), word(5), word(12), word(19));
        let start = word(0) + 12 * colours;
        RgbImage::from_fn(width as u32, height as u32, |x, y| {
            let pixel = &bytes[start + y as usize * line + 4 * x as usize..];
            image::Rgb([pixel[2], pixel[1], pixel[0]])
        })
    }
}

/// Where the window is, by what is not the display's black: width and height.
fn extent(screen: &RgbImage) -> (u32, u32) {
    let lit = screen.enumerate_pixels().filter(|(.., pixel)| pixel.0 != [0; 3]);
    lit.fold((0, 0), |(w, h), (x, y, _)| (w.max(x + 1), h.max(y + 1)))
}

#[track_caller]
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("waited in vain for {what}");
}

#[test]
fn a_window_opens_draws_is_resized_pauses_saves_and_closes() {
    if !has_gpu() {
        return;
    }
    let Some(display) = Display::open() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), "field spirals --scale 1 --size 1000x640");
    let command = command.env("DISPLAY", &display.name).env_remove("WAYLAND_DISPLAY").env_remove("WAYLAND_SOCKET");
    let mut program = Ended(command.spawn().unwrap());
    let id = wait_for("a window", || {
        Some(display.xdotool("search --name Sunstone")).and_then(|ids| ids.lines().next().map(str::to_owned))
    });
    let orange = |screen: &RgbImage| screen.pixels().filter(|p| p.0 == [230, 159, 0]).count();
    wait_for("points", || (orange(&display.screen()) > 500).then_some(()));
    assert_eq!(extent(&display.screen()), (1000, 640));
    let first = display.screen();
    wait_for("training to be seen", || (changed(&first, &display.screen()) > 0.02).then_some(()));

    display.xdotool(&format!("windowsize {id} 760 500"));
    wait_for("the smaller window", || {
        let screen = display.screen();
        (extent(&screen) == (760, 500) && orange(&screen) > 200).then_some(())
    });
    display.xdotool(&format!("windowsize {id} 1200 800"));
    wait_for("the larger window", || (extent(&display.screen()) == (1200, 800)).then_some(()));

    // Hidden and shown again, it is drawn again.
    display.xdotool(&format!("windowunmap --sync {id}"));
    display.xdotool(&format!("windowmap --sync {id}"));
    wait_for("the window again", || (orange(&display.screen()) > 500).then_some(()));

    display.xdotool(&format!("windowfocus {id} sleep 0.3 key space key p key m"));
    let file = |kind: &str| {
        let ends = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().ends_with(kind);
        fs::read_dir(folder.path()).unwrap().flatten().find(ends).map(|entry| entry.path())
    };
    let picture = wait_for("a picture", || file(".png"));
    assert_eq!(image::open(picture).unwrap().to_rgb8().dimensions(), (1200, 800));
    let model = wait_for("a model", || file(".safetensors"));
    let names = sunstone::io::load(&model, &sunstone::device::Device::cpu()).unwrap().0;
    assert!(names.iter().any(|(name, _)| name == "fc3.weight"), "{names:?}");

    display.xdotool("key q");
    let status = wait_for("the end", || program.0.try_wait().unwrap());
    assert!(status.success(), "{status}");
}
