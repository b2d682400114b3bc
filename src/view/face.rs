//! What surrounds the pictures? The panel of controls; buttons, sliders and keys ask for the same things.

use super::Options;
use super::draw::{self, Pane};
use super::gpu::Gpu;
use super::keys::{self, Action, KEYS};
use super::look::{ALARM, QUIET};
use super::mode::{Scene, Touch};
use super::picture::Pictures;
use super::trainer::Command;
use egui::{RichText, Ui};
use std::path::PathBuf;

/// Steps a frame at most.
pub const MOST_STEPS: usize = 200;

/// Learning rates that the slider reaches.
const RATES: std::ops::RangeInclusive<f64> = 1e-5..=1.0;

/// What the user wants.
pub enum Wish {
    /// From the training.
    Command(Command),
    /// A PNG of the window.
    Picture(PathBuf),
    /// No more.
    Quit,
}

/// The controls, as the user has set them.
pub struct Face {
    title: &'static str,
    device: String,
    running: bool,
    pub lr: f64,
    pub seed: u64,
    pub steps: usize,
    /// Frames a second, where there is a window.
    pub frames: Option<f64>,
    /// What the window did last, such as saving a picture.
    pub notice: Option<String>,
    pane: Pane,
}

impl Face {
    /// As the options say.
    pub fn new(options: &Options, gpu: &Gpu) -> Face {
        Face {
            title: options.title(),
            device: gpu.label(),
            running: true,
            lr: options.rate(),
            seed: options.seed,
            steps: options.steps,
            frames: None,
            notice: None,
            pane: Pane::default(),
        }
    }

    /// Draws everything; gives what the user wants.
    pub fn show(&mut self, ui: &mut Ui, scene: Option<&Scene>, pictures: &Pictures) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for action in keys::pressed(ui.ctx()) {
            self.act(action, scene, &mut wishes);
        }
        let frame = egui::Frame::new().fill(super::look::GROUND).inner_margin(14);
        egui::Panel::left("controls").resizable(false).exact_size(268.0).frame(frame).show(ui, |ui| {
            egui::ScrollArea::vertical().show(ui, |ui| self.controls(ui, scene, &mut wishes));
        });
        egui::CentralPanel::no_frame().frame(frame).show(ui, |ui| match scene {
            None => {
                ui.centered_and_justified(|ui| ui.label("building kernels and data ..."));
            }
            Some(scene) => {
                let touches = draw::scene(ui, pictures, scene, &mut self.pane);
                wishes.extend(touches.into_iter().map(|touch| Wish::Command(Command::Touch(touch))));
            }
        });
        wishes
    }

    fn controls(&mut self, ui: &mut Ui, scene: Option<&Scene>, wishes: &mut Vec<Wish>) {
        ui.heading(format!("Sunstone: {}", self.title));
        ui.label(RichText::new(&self.device).small().color(QUIET));
        ui.separator();
        if let Some(scene) = scene {
            self.numbers(ui, scene);
        }
        ui.horizontal(|ui| {
            let run = if self.running { "Pause" } else { "Go on" };
            for (text, action) in [(run, Action::Pause), ("Step", Action::Step), ("Restart", Action::Restart)] {
                if ui.button(text).clicked() {
                    self.act(action, scene, wishes);
                }
            }
        });
        self.sliders(ui, wishes);
        ui.horizontal(|ui| {
            for (text, action) in [("Save PNG", Action::SavePicture), ("Save model", Action::SaveModel)] {
                if ui.button(text).clicked() {
                    self.act(action, scene, wishes);
                }
            }
        });
        let said = scene.and_then(|s| s.notice.as_ref());
        for notice in [self.notice.as_ref(), said].into_iter().flatten() {
            ui.label(RichText::new(notice).small().color(QUIET));
        }
        ui.separator();
        egui::Grid::new("keys").num_columns(2).spacing([12.0, 2.0]).show(ui, |ui| {
            for (_, name, what, _) in KEYS {
                ui.label(RichText::new(name).small().strong());
                ui.label(RichText::new(what).small().color(QUIET));
                ui.end_row();
            }
        });
    }

    fn numbers(&self, ui: &mut Ui, scene: &Scene) {
        ui.label(format!("step {}", scene.step));
        let mut speed = format!("{} steps/s", rounded(scene.speed));
        if let Some(frames) = self.frames {
            speed += &format!(", {} frames/s", rounded(frames));
        }
        ui.label(RichText::new(speed).color(QUIET));
        if let Some(trouble) = &scene.trouble {
            ui.label(RichText::new(trouble).color(ALARM));
            ui.label(RichText::new("Restart (R) begins again.").color(ALARM));
        }
    }

    fn sliders(&mut self, ui: &mut Ui, wishes: &mut Vec<Wish>) {
        ui.spacing_mut().slider_width = 150.0;
        ui.label(RichText::new("learning rate").color(QUIET));
        let rate = egui::Slider::new(&mut self.lr, RATES).logarithmic(true).custom_formatter(|lr, _| rate(lr));
        if ui.add(rate).changed() {
            wishes.push(Wish::Command(Command::Rate(self.lr)));
        }
        ui.label(RichText::new("steps a frame, at most").color(QUIET));
        if ui.add(egui::Slider::new(&mut self.steps, 1..=MOST_STEPS).logarithmic(true)).changed() {
            wishes.push(Wish::Command(Command::Steps(self.steps)));
        }
        ui.horizontal(|ui| {
            ui.label(RichText::new("seed").color(QUIET));
            if ui.add(egui::DragValue::new(&mut self.seed).range(0..=999_999)).changed() {
                wishes.push(Wish::Command(Command::Restart(self.seed)));
            }
        });
    }

    fn act(&mut self, action: Action, scene: Option<&Scene>, wishes: &mut Vec<Wish>) {
        let step = scene.map_or(0, |s| s.step);
        let file = |kind: &str| PathBuf::from(format!("sunstone-{}-{step}.{kind}", self.title));
        let wish = match action {
            Action::Pause => {
                self.running = !self.running;
                Wish::Command(Command::Run(self.running))
            }
            Action::Step => {
                if self.running {
                    self.running = false;
                    wishes.push(Wish::Command(Command::Run(false)));
                }
                Wish::Command(Command::Step)
            }
            Action::Restart => Wish::Command(Command::Restart(self.seed)),
            Action::NextSeed => {
                self.seed = (self.seed + 1) % 1_000_000;
                Wish::Command(Command::Restart(self.seed))
            }
            Action::Faster | Action::Slower => {
                let factor = if action == Action::Faster { 1.5 } else { 1.0 / 1.5 };
                self.lr = (self.lr * factor).clamp(*RATES.start(), *RATES.end());
                Wish::Command(Command::Rate(self.lr))
            }
            Action::More | Action::Fewer => {
                let steps = if action == Action::More { self.steps * 2 } else { self.steps / 2 };
                self.steps = steps.clamp(1, MOST_STEPS);
                Wish::Command(Command::Steps(self.steps))
            }
            Action::SavePicture => Wish::Picture(file("png")),
            Action::SaveModel => Wish::Command(Command::Save(file("safetensors"))),
            Action::NextData => Wish::Command(Command::Touch(Touch::NextData)),
            Action::Clear => {
                wishes.push(Wish::Command(Command::Touch(Touch::ClearPoints)));
                Wish::Command(Command::Touch(self.pane.clear()))
            }
            Action::Quit => Wish::Quit,
        };
        wishes.push(wish);
    }
}

fn rate(lr: f64) -> String {
    if lr < 0.001 { format!("{lr:.1e}") } else { format!("{lr:.4}") }
}

fn rounded(number: f64) -> String {
    if number < 10.0 { format!("{number:.1}") } else { format!("{number:.0}") }
}
