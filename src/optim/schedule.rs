//! How the learning rate changes from step to step. Schedules remember nothing, so a resumed run needs no state of theirs.
//!
//! ```
//! use sunstone::optim::schedule::{Cosine, Schedule};
//! let schedule = Cosine { peak: 0.1, floor: 0.0, warmup: 10, total: 110 };
//! assert_eq!([0, 9, 60, 110].map(|step| (schedule.lr(step) * 1e4).round() / 1e4), [0.01, 0.1, 0.05, 0.0]);
//! let halved = |step: u64| 0.1 * 0.5f64.powi((step / 1000) as i32);
//! assert_eq!(halved.lr(2000), 0.025);
//! ```

/// The learning rate of each step; any `Fn(u64) -> f64` is one.
pub trait Schedule {
    /// For step number `step`, counted from 0. For [`Optimizer::set_lr`](super::Optimizer::set_lr).
    fn lr(&self, step: u64) -> f64;
}

impl<F: Fn(u64) -> f64> Schedule for F {
    fn lr(&self, step: u64) -> f64 {
        self(step)
    }
}

/// Always the same.
#[derive(Debug, Clone, Copy)]
pub struct Constant(pub f64);

impl Schedule for Constant {
    fn lr(&self, _: u64) -> f64 {
        self.0
    }
}

/// `initial · factor^⌊step/every⌋`.
#[derive(Debug, Clone, Copy)]
pub struct StepDecay {
    /// The rate of the first `every` steps.
    pub initial: f64,
    /// Steps between two changes; 0 counts as 1.
    pub every: u64,
    /// What each change multiplies by.
    pub factor: f64,
}

impl Schedule for StepDecay {
    fn lr(&self, step: u64) -> f64 {
        self.initial * self.factor.powf((step / self.every.max(1)) as f64)
    }
}

/// Linear to `peak` over the first `warmup` steps, then half a cosine down to `floor` at step `total`, and there it stays.
#[derive(Debug, Clone, Copy)]
pub struct Cosine {
    /// The highest rate.
    pub peak: f64,
    /// The rate from `total` on.
    pub floor: f64,
    /// Steps of rising; step `warmup − 1` is the first at `peak`.
    pub warmup: u64,
    /// Steps in all.
    pub total: u64,
}

impl Schedule for Cosine {
    fn lr(&self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        anneal(self.peak, self.floor, progress(step as f64, self.warmup as f64, self.total as f64))
    }
}

/// Smith's one-cycle policy as PyTorch's `OneCycleLR` does it: half a cosine from `peak/25` up to `peak` over the first
/// 30 % of `total` steps, then half a cosine down to `peak/25/10⁴`.
#[derive(Debug, Clone, Copy)]
pub struct OneCycle {
    /// The highest rate.
    pub peak: f64,
    /// Steps in all.
    pub total: u64,
}

impl Schedule for OneCycle {
    fn lr(&self, step: u64) -> f64 {
        let (low, lowest) = (self.peak / 25.0, self.peak / 25.0 / 1e4);
        let top = 0.3 * self.total as f64 - 1.0;
        let step = step as f64;
        if step <= top {
            anneal(low, self.peak, progress(step, 0.0, top))
        } else {
            anneal(self.peak, lowest, progress(step, top, self.total as f64 - 1.0))
        }
    }
}

/// How far `step` is from `start` to `end`, in `[0, 1]`.
fn progress(step: f64, start: f64, end: f64) -> f64 {
    if end > start { ((step - start) / (end - start)).clamp(0.0, 1.0) } else { 1.0 }
}

fn anneal(from: f64, to: f64, progress: f64) -> f64 {
    to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12 + 1e-9 * b.abs(), "{a} instead of {b}");
    }

    #[test]
    fn one_cycle_is_pytorchs() {
        // torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=10): rise ends at 0.3·10 − 1 = 2.
        let schedule = OneCycle { peak: 1.0, total: 10 };
        for (step, lr) in [(0, 0.04), (1, 0.52), (2, 1.0), (9, 4e-6), (50, 4e-6)] {
            close(schedule.lr(step), lr);
        }
        // Half-way down, between steps 5 and 6, lies the mean of both ends.
        close((schedule.lr(5) + schedule.lr(6)) / 2.0, (1.0 + 4e-6) / 2.0);
    }

    #[test]
    fn steps_and_edges() {
        let decay = StepDecay { initial: 0.8, every: 3, factor: 0.5 };
        assert_eq!([0, 2, 3, 6].map(|s| decay.lr(s)), [0.8, 0.8, 0.4, 0.2]);
        assert_eq!(StepDecay { every: 0, ..decay }.lr(1), 0.4);
        assert_eq!(Constant(0.1).lr(u64::MAX), 0.1);
        let cosine = Cosine { peak: 1.0, floor: 0.1, warmup: 0, total: 0 };
        assert_eq!([0, 9].map(|s| cosine.lr(s)), [0.1, 0.1]);
        assert!(OneCycle { peak: 1.0, total: 0 }.lr(0).is_finite());
    }
}
