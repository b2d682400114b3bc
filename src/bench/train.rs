//! How long does a whole training step take?

use super::Suite;
use super::case::{After, Case, Prepared};
use super::report::Work;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::models::Digits;
use crate::models::digits::SIDE;
use crate::models::gpt::{Gpt, GptConfig};
use crate::nn::{Init, Linear, Module, Relu, Sequential};
use crate::optim::{Adam, AdamW, Optimizer};
use crate::random::Generator;
use crate::tensor::Tensor;
use std::rc::Rc;

/// The inputs of the MLP that others are often measured with, and the widths of its layers.
const MLP: [usize; 4] = [SIDE * SIDE, 512, 512, 10];

/// Images a step of it, in the quick suite too: it takes milliseconds, and others are measured with so many.
const MLP_BATCH: usize = 128;

/// Losses are compared after a step whose gradients differ in their last bits.
const TOLERANCE: f64 = 1e-2;

/// The learning rate.
const RATE: f64 = 1e-3;

pub fn cases(quick: bool) -> Vec<Case> {
    let batch = if quick { 8 } else { 256 };
    let digits = |name: &str, make: fn(&Init) -> Digits| {
        let name = format!("digits {name}, batch {batch}");
        case(
            name,
            batch,
            batch,
            Rc::new(move |device, batch| Training::digits(make(&Init::new(0, device)), batch, device)),
        )
    };
    let mut cases = vec![digits("mlp", Digits::mlp), digits("cnn", Digits::cnn)];
    let name = format!("mlp {}, batch {MLP_BATCH}", MLP.map(|n| n.to_string()).join("-"));
    cases.push(case(name, MLP_BATCH, MLP_BATCH, Rc::new(|device, batch| Training::mlp(batch, device))));
    let sizes: &[(usize, [usize; 4])] = match quick {
        true => &[(2, [2, 2, 64, 64])],
        false => &[(16, [4, 4, 128, 128]), (64, [6, 6, 384, 256]), (8, [12, 12, 768, 1024])],
    };
    for &(batch, [layers, heads, width, context]) in sizes {
        let vocabulary = if width < 768 { 96 } else { 50_304 };
        let config = GptConfig { vocabulary, layers, heads, width, context, dropout: 0.0, tied: true };
        let name = format!("gpt {layers}×{width}, context {context}, batch {batch}");
        cases.push(case(
            name,
            batch,
            batch * context,
            Rc::new(move |device, batch| Training::gpt(config, batch, device)),
        ));
    }
    cases
}

/// What makes a training for a batch of so many.
type Make = Rc<dyn Fn(&Device, usize) -> Result<Training>>;

/// A row of steps. Checked with a batch of one, which even the largest network's CPU step bears.
fn case(name: String, batch: usize, samples: usize, make: Make) -> Case {
    let prepare = move |device: &Device| {
        let (mut here, mut there) = (make(device, 1)?, make(&Device::cpu(), 1)?);
        let mut pairs = Vec::new();
        for _ in 0..2 {
            pairs.push((here.step()?, there.step()?.cast(DType::F64)));
        }
        let mut training = make(device, batch)?;
        let call = move || training.step().map(drop);
        Ok(Prepared { call: Box::new(call), after: After::Nothing, pairs, tolerance: TOLERANCE })
    };
    let work = Work { samples: samples as f64, ..Work::default() };
    Case::new(Suite::Train, name, DType::F32, work, Box::new(prepare))
}

/// A network, what it learns, and its optimizer.
struct Training {
    model: Box<dyn Module>,
    optimizer: Box<dyn Optimizer>,
    x: Tensor,
    targets: Tensor,
    classes: usize,
}

impl Training {
    fn digits(model: Digits, batch: usize, device: &Device) -> Result<Training> {
        let optimizer = AdamW::new(model.parameters(), RATE);
        Training::new(Box::new(model), Box::new(optimizer), images(batch, device)?, numbers(batch, 10, device), 10)
    }

    /// By Adam, as `examples/cuda_speed.rs` and `examples/peers/speed.py` have it.
    fn mlp(batch: usize, device: &Device) -> Result<Training> {
        let init = Init::new(0, device);
        let [inputs, first, second, classes] = MLP;
        let model = Sequential::new()
            .add(Linear::new(inputs, first, &init))
            .add(Relu)
            .add(Linear::new(first, second, &init))
            .add(Relu)
            .add(Linear::new(second, classes, &init));
        let (optimizer, targets) = (Adam::new(model.parameters(), RATE), numbers(batch, classes, device));
        Training::new(Box::new(model), Box::new(optimizer), images(batch, device)?, targets, classes)
    }

    fn gpt(config: GptConfig, batch: usize, device: &Device) -> Result<Training> {
        let model = Gpt::new(config, &Init::new(0, device))?;
        let count = batch * config.context;
        let (optimizer, classes) = (AdamW::new(model.parameters(), RATE), config.vocabulary);
        let x = numbers(count, classes, device).reshape([batch, config.context]);
        Training::new(Box::new(model), Box::new(optimizer), x, numbers(count, classes, device), classes)
    }

    fn new(
        model: Box<dyn Module>,
        optimizer: Box<dyn Optimizer>,
        x: Tensor,
        targets: Tensor,
        classes: usize,
    ) -> Result<Training> {
        x.realize()?;
        targets.realize()?;
        Ok(Training { model, optimizer, x, targets, classes })
    }

    /// One step; gives the loss before it.
    fn step(&mut self) -> Result<Tensor> {
        let classes = i64::try_from(self.classes).map_err(|e| Error::Invalid(e.to_string()))?;
        let loss = self.model.forward(&self.x).reshape([-1, classes]).cross_entropy(&self.targets);
        self.optimizer.step(loss.backward()?)?;
        Ok(loss.detach())
    }
}

/// Images of noise.
fn images(batch: usize, device: &Device) -> Result<Tensor> {
    Generator::new(1).rand([batch, SIDE * SIDE], &Device::cpu()).to_device(device)
}

/// Classes in an order without much sense.
fn numbers(count: usize, classes: usize, device: &Device) -> Tensor {
    let numbers: Vec<i32> = (0..count).map(|i| (i * 7919 % classes) as i32).collect();
    Tensor::from_slice(&numbers, [count], device)
}
