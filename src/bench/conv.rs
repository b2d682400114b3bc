//! How fast are the layers of ResNet-50 (He et al., 2015), forward and for both gradients?

use super::Suite;
use super::case::{Case, Operand, gradients, op, work};
use crate::dtype::DType;
use crate::tensor::{ConvOptions, Tensor};

/// Channels in and out, height and width, and the kernel's.
struct Layer {
    inputs: usize,
    outputs: usize,
    side: usize,
    kernel: usize,
}

pub fn cases(quick: bool) -> Vec<Case> {
    let three = |channels, side| Layer { inputs: channels, outputs: channels, side, kernel: 3 };
    let one = |inputs, outputs, side| Layer { inputs, outputs, side, kernel: 1 };
    let (batch, layers) = match quick {
        true => (1, vec![three(64, 14), one(256, 64, 14)]),
        false => (
            32,
            vec![
                three(64, 56),
                three(128, 28),
                three(256, 14),
                three(512, 7),
                one(64, 256, 56),
                one(256, 64, 56),
                one(1024, 256, 14),
                one(512, 2048, 7),
            ],
        ),
    };
    let dtypes: &[DType] = if quick { &[DType::F32] } else { &[DType::F32, DType::F16] };
    let mut cases = Vec::new();
    for &dtype in dtypes {
        layers.iter().for_each(|layer| cases.extend(layer.cases(batch, dtype)));
    }
    cases
}

impl Layer {
    fn cases(&self, batch: usize, dtype: DType) -> [Case; 3] {
        let Layer { inputs, outputs, side, kernel } = *self;
        let forward = move |t: &[Tensor]| t[0].conv2d(&t[1], ConvOptions::new().padding(kernel / 2));
        let x = || Operand::numbers(dtype, &[batch, inputs, side, side]);
        let weight = || Operand::numbers(dtype, &[outputs, inputs, kernel, kernel]);
        let g = || Operand::numbers(dtype, &[batch, outputs, side, side]);
        let flops = 2.0 * (batch * side * side) as f64 * (inputs * outputs * kernel * kernel) as f64;
        let numbers = batch * side * side * (inputs + outputs) + inputs * outputs * kernel * kernel;
        let case = |what: &str, prepare| {
            let name = format!("{kernel}×{kernel} {inputs}→{outputs} at {side}, batch {batch}, {what}");
            Case::new(Suite::Conv, name, dtype, work(flops, numbers * dtype.bytes()), prepare)
        };
        [
            case("forward", op(vec![x().cut(0), weight()], 0, dtype, move |t| Ok(vec![forward(t)]))),
            case("input gradient", gradients(vec![x().cut(0), weight(), g().cut(0)], 0, dtype, &[0], forward)),
            case("weight gradient", gradients(vec![x(), weight().cut(0), g().cut(1)], 0, dtype, &[1], forward)),
        ]
    }
}
