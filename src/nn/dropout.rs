//! Dropout (Srivastava et al., JMLR 2014).

use super::{Init, Mode, Module, Visitor};
use crate::random::Generator;
use crate::tensor::Tensor;

/// In training, sets each element to zero with probability `p` and multiplies the others by `1/(1 − p)`; else, nothing.
///
/// ```
/// use sunstone::prelude::*;
/// use sunstone::nn::{Dropout, Init};
/// let drop = Dropout::new(0.5, &Init::new(0, &Device::cpu()));
/// let x = Tensor::ones([8], DType::F32, &Device::cpu());
/// assert!(drop.forward(&x).to_vec::<f32>()?.iter().all(|&v| v == 0.0 || v == 2.0));
/// drop.eval();
/// assert_eq!(drop.forward(&x).to_vec::<f32>()?, [1.0; 8]);
/// # Ok::<(), sunstone::Error>(())
/// ```
#[derive(Debug)]
pub struct Dropout {
    p: f64,
    mode: Mode,
    generator: Generator,
}

impl Dropout {
    /// A dropout with random numbers of its own, seeded from `init`. With a `p` outside `[0, 1)`, `forward` gives an error.
    pub fn new(p: f64, init: &Init) -> Dropout {
        Dropout { p, mode: Mode::default(), generator: Generator::new(init.seed()) }
    }

    /// With which probability it drops now, and the random numbers that decide.
    pub(crate) fn in_force(&self) -> Option<(f64, &Generator)> {
        (self.mode.is_training() && self.p != 0.0).then_some((self.p, &self.generator))
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Tensor) -> Tensor {
        match self.in_force() {
            Some((p, generator)) => x.dropout(p, generator),
            None => x.clone(),
        }
    }

    fn visit(&self, visitor: &mut Visitor<'_>) {
        visitor.mode(&self.mode);
        visitor.generator("generator", &self.generator);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::dtype::DType;

    #[test]
    fn keeps_the_mean_and_drops_the_right_share() {
        let device = Device::cpu();
        let n = 20_000;
        for p in [0.1, 0.5, 0.9] {
            let drop = Dropout::new(p, &Init::new(3, &device));
            let y = drop.forward(&Tensor::ones([n], DType::F32, &device)).to_vec::<f32>().unwrap();
            let zeros = y.iter().filter(|&&v| v == 0.0).count() as f64 / n as f64;
            let mean = y.iter().map(|&v| v as f64).sum::<f64>() / n as f64;
            // Five standard deviations.
            let sigma = (p * (1.0 - p) / n as f64).sqrt();
            assert!((zeros - p).abs() < 5.0 * sigma, "p {p}: {zeros} were dropped");
            assert!((mean - 1.0).abs() < 5.0 * sigma / (1.0 - p), "p {p}: the mean is {mean}");
        }
    }

    #[test]
    fn nothing_or_a_refusal_at_the_ends() {
        let device = Device::cpu();
        let init = Init::new(3, &device);
        let x = Tensor::ones([5], DType::F32, &device);
        assert_eq!(Dropout::new(0.0, &init).forward(&x).to_vec::<f32>().unwrap(), [1.0; 5]);
        for p in [1.0, -0.1, f64::NAN] {
            assert!(Dropout::new(p, &init).forward(&x).realize().is_err());
        }
    }

    #[test]
    fn every_call_draws_anew_and_every_layer_its_own() {
        let device = Device::cpu();
        let init = Init::new(3, &device);
        let (a, b) = (Dropout::new(0.5, &init), Dropout::new(0.5, &init));
        let x = Tensor::ones([256], DType::F32, &device);
        let draw = |d: &Dropout| d.forward(&x).to_vec::<f32>().unwrap();
        let first = draw(&a);
        assert_ne!(first, draw(&a));
        assert_ne!(first, draw(&b));
    }
}
