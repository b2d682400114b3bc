//! How far does a training go in a frame? As many steps as the user wants, and no more than the frame has time for.

use super::mode::{Mode, Scene, Touch};
use super::series::Series;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sunstone::io::safetensors;
use sunstone::prelude::*;

/// What the user may ask of a training.
#[derive(Debug, Clone)]
pub enum Command {
    /// Go on, or pause.
    Run(bool),
    /// Do one step, though paused.
    Step,
    /// Start again from this seed.
    Restart(u64),
    /// Learn at this rate.
    Rate(f64),
    /// Do at most so many steps a frame.
    Steps(usize),
    /// Something in the picture.
    Touch(Touch),
    /// Write the network to a file.
    Save(PathBuf),
}

/// A mode, driven frame by frame.
pub struct Trainer {
    mode: Box<dyn Mode>,
    running: bool,
    /// Steps asked for one by one.
    owed: usize,
    steps: usize,
    step: u64,
    /// Seconds that a step takes, lately.
    pace: Option<f64>,
    loss: Series,
    quality: Series,
    trouble: Option<String>,
    notice: Option<String>,
}

impl Trainer {
    /// A training that has not begun.
    pub fn new(mode: Box<dyn Mode>, steps: usize) -> Trainer {
        Trainer {
            mode,
            running: true,
            owed: 0,
            steps,
            step: 0,
            pace: None,
            loss: Series::default(),
            quality: Series::default(),
            trouble: None,
            notice: None,
        }
    }

    /// True when a frame would change nothing.
    pub fn rests(&self) -> bool {
        self.trouble.is_some() || !self.running && self.owed == 0
    }

    /// Does what the user asked for.
    ///
    /// # Errors
    /// Whatever the device fails with. A file that cannot be written is a notice.
    pub fn obey(&mut self, command: Command) -> Result<()> {
        match command {
            Command::Run(running) => self.running = running,
            Command::Step => self.owed += 1,
            Command::Steps(steps) => self.steps = steps.max(1),
            Command::Rate(lr) => self.mode.optimizer().set_lr(lr),
            Command::Touch(touch) => self.mode.take(touch)?,
            Command::Restart(seed) => {
                let lr = self.mode.optimizer().lr();
                self.mode.restart(seed)?;
                self.mode.optimizer().set_lr(lr);
                (self.step, self.owed, self.trouble) = (0, 0, None);
                (self.loss, self.quality) = (Series::default(), Series::default());
            }
            Command::Save(path) => {
                let saved = safetensors::save(&path, &self.mode.model().state_dict(), &BTreeMap::new());
                self.notice = Some(match saved {
                    Ok(()) => format!("saved {}", path.display()),
                    Err(lost @ Error::DeviceLost { .. }) => return Err(lost),
                    Err(error) => format!("not saved: {error}"),
                });
            }
        }
        Ok(())
    }

    /// Trains for a frame and gives what is to be seen. Without a budget it does the steps that were asked for, however
    /// long they take.
    ///
    /// # Errors
    /// Whatever the device fails with. A loss that is no number is a trouble, which starting again ends.
    pub fn frame(&mut self, budget: Option<Duration>) -> Result<Scene> {
        let steps = match (self.rests(), self.running) {
            (true, _) => 0,
            (false, true) => self.affordable(budget),
            (false, false) => 1,
        };
        self.owed = self.owed.saturating_sub(1);
        if steps > 0 {
            let start = Instant::now();
            self.train(steps)?;
            let pace = start.elapsed().as_secs_f64() / steps as f64;
            // The first steps build plans and kernels: what they took is soon forgotten.
            self.pace = Some(self.pace.map_or(pace, |old| 0.7 * old.min(2.0 * pace) + 0.3 * pace));
        }
        let shown = self.mode.show(budget.map(|b| b / 3))?;
        if let Some(quality) = shown.quality.filter(|_| steps > 0) {
            self.quality.push(self.step, quality);
        }
        Ok(Scene {
            step: self.step,
            speed: self.pace.map_or(0.0, |pace| 1.0 / pace),
            loss: self.loss.clone(),
            quality: self.quality.clone(),
            view: shown.view,
            trouble: self.trouble.clone(),
            notice: self.notice.clone(),
        })
    }

    /// How many steps fit two thirds of the budget; the last third is for what is shown.
    fn affordable(&self, budget: Option<Duration>) -> usize {
        match (budget, self.pace) {
            (None, _) => self.steps,
            (Some(_), None) => 1,
            (Some(budget), Some(pace)) => (budget.as_secs_f64() / 1.5 / pace).clamp(1.0, self.steps as f64) as usize,
        }
    }

    /// Reading the losses waits for the steps, so no more than a frame's work is ever under way.
    fn train(&mut self, steps: usize) -> Result<()> {
        let losses = (0..steps).map(|_| Ok(self.mode.step()?.detach().reshape([1]))).collect::<Result<Vec<_>>>()?;
        for value in Tensor::cat(&losses.iter().collect::<Vec<_>>(), 0).to_vec::<f32>()? {
            self.step += 1;
            if !value.is_finite() {
                self.trouble = Some(Error::NotFinite { step: self.step, value: value as f64 }.to_string());
                break;
            }
            self.loss.push(self.step, value as f64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::field::Field;
    use crate::view::gpu::Gpu;
    use crate::view::points::Data;

    #[test]
    fn a_frame_does_what_was_asked_and_no_more_than_it_has_time_for() {
        let Ok(gpu) = Gpu::open(None, None) else { return };
        let mut trainer = Trainer::new(Box::new(Field::new(Data::Moons, 1, 0.01, &gpu.tensors).unwrap()), 3);
        let step = |trainer: &mut Trainer, budget| trainer.frame(budget).unwrap().step;
        assert_eq!(step(&mut trainer, None), 3);
        let first = trainer.loss.points()[0];
        // No step is as short as a nanosecond, and one is done at least.
        assert_eq!(step(&mut trainer, Some(Duration::from_nanos(1))), 4);
        trainer.obey(Command::Run(false)).unwrap();
        assert_eq!((step(&mut trainer, None), trainer.rests()), (4, true));
        trainer.obey(Command::Step).unwrap();
        assert_eq!((step(&mut trainer, None), trainer.rests()), (5, true));
        trainer.obey(Command::Restart(1)).unwrap();
        trainer.obey(Command::Run(true)).unwrap();
        assert_eq!(step(&mut trainer, None), 3);
        assert_eq!(trainer.loss.points()[0], first, "a seed decides");
        trainer.obey(Command::Touch(Touch::Point([0.5, 0.5], 1))).unwrap();
        trainer.obey(Command::Save("nowhere/model.safetensors".into())).unwrap();
        assert!(trainer.frame(None).unwrap().notice.is_some_and(|said| said.starts_with("not saved")));
    }

    #[test]
    fn a_loss_that_is_no_number_stops_the_training_until_it_starts_again() {
        let Ok(gpu) = Gpu::open(None, None) else { return };
        let mut trainer = Trainer::new(Box::new(Field::new(Data::Rings, 1, 1e38, &gpu.tensors).unwrap()), 8);
        let scene = trainer.frame(None).unwrap();
        assert!(scene.trouble.is_some() && trainer.rests(), "step {}", scene.step);
        assert_eq!(trainer.frame(None).unwrap().step, scene.step);
        trainer.obey(Command::Restart(2)).unwrap();
        assert!(!trainer.rests());
    }
}
