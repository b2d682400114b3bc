//! Recurrent layers against PyTorch's: results, last states and gradients, with the parameters under PyTorch's names.

mod common;

use common::{assert_close, devices};
use safetensors::SafeTensors;
use serde_json::Value;
use sunstone::nn::{Gru, Init, Lstm, Nonlinearity, Parameter, Recurrence, Rnn};
use sunstone::prelude::*;

const FILE: &[u8] = include_bytes!("golden/recurrent.safetensors");

fn spec(case: &Value) -> Recurrence {
    let flag = |name: &str, default| case[name].as_bool().unwrap_or(default);
    Recurrence {
        layers: case["layers"].as_u64().unwrap_or(1) as usize,
        bidirectional: flag("bidirectional", false),
        batch_first: flag("batch_first", false),
        bias: flag("bias", true),
        dropout: 0.0,
    }
}

/// A layer of any kind: the module, and its results and last states from first ones.
enum Layer {
    Rnn(Rnn),
    Gru(Gru),
    Lstm(Lstm),
}

impl Layer {
    fn new(kind: &str, spec: Recurrence, init: &Init) -> Layer {
        match kind {
            "tanh" => Layer::Rnn(Rnn::new(3, 4, Nonlinearity::Tanh, spec, init)),
            "relu" => Layer::Rnn(Rnn::new(3, 4, Nonlinearity::Relu, spec, init)),
            "gru" => Layer::Gru(Gru::new(3, 4, spec, init)),
            _ => Layer::Lstm(Lstm::new(3, 4, spec, init)),
        }
    }

    fn module(&self) -> &dyn Module {
        match self {
            Layer::Rnn(m) => m,
            Layer::Gru(m) => m,
            Layer::Lstm(m) => m,
        }
    }

    fn run(&self, x: &Tensor, start: &[Tensor]) -> (Tensor, Vec<Tensor>) {
        let one = |(y, h): (Tensor, Tensor)| (y, vec![h]);
        match self {
            Layer::Rnn(m) => one(m.run(x, start.first())),
            Layer::Gru(m) => one(m.run(x, start.first())),
            Layer::Lstm(m) => {
                let (y, (h, c)) = m.run(x, start.first().zip(start.get(1)));
                (y, vec![h, c])
            }
        }
    }
}

#[test]
fn results_and_gradients_are_those_of_pytorch() -> Result<()> {
    let (_, header) = SafeTensors::read_metadata(FILE).unwrap();
    let cases: Vec<Value> = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let file = SafeTensors::deserialize(FILE).unwrap();
    for device in devices() {
        for (index, case) in cases.iter().enumerate() {
            let read = |name: &str| {
                let view = file.tensor(&format!("{index}.{name}")).unwrap_or_else(|e| panic!("{name}: {e}"));
                (f32::from_bytes(view.data()), view.shape().to_vec())
            };
            let load = |name: &str| {
                let (data, shape) = read(name);
                Tensor::from_slice(&data, &shape[..], &device)
            };
            let kind = case["kind"].as_str().unwrap();
            let layer = Layer::new(kind, spec(case), &Init::new(0, &device));
            let parameters: Vec<(String, Parameter)> = layer.module().parameters();
            let state: Vec<(String, Tensor)> =
                parameters.iter().map(|(n, _)| (n.clone(), load(&format!("p.{n}")))).collect();
            layer.module().load_state_dict(&state)?;
            let count = if kind == "lstm" { 2 } else { 1 };
            let start: Vec<Tensor> = (0..count).map(|i| load(&format!("start{i}"))).collect();
            let x = load("x").requires_grad();
            let (y, end) = layer.run(&x, &start);
            let what = |part: &str| format!("{part} of {case} on {device}");
            assert_close(&what("result"), &y.to_vec::<f32>()?, &read("y").0, 2e-5);
            for (i, s) in end.iter().enumerate() {
                assert_close(&what("state"), &s.to_vec::<f32>()?, &read(&format!("end{i}")).0, 2e-5);
            }
            let loss = end.iter().fold(y.square().sum(..), |sum, s| sum + s.sum(..));
            let grads = loss.backward()?;
            let close = |name: &str, variable: &Tensor| -> Result<()> {
                let got = grads.get(variable).expect("a gradient").to_vec::<f32>()?;
                assert_close(&what(name), &got, &read(name).0, 1e-4);
                Ok(())
            };
            close("x.grad", &x)?;
            for (name, parameter) in &parameters {
                close(&format!("g.{name}"), &parameter.get())?;
            }
        }
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() {
    let device = Device::cpu();
    let init = Init::new(0, &device);
    let gru = Gru::new(3, 4, Recurrence::default(), &init);
    let message = |t: Tensor| t.realize().unwrap_err().to_string();
    assert!(message(gru.forward(&Tensor::ones([5, 2, 7], DType::F32, &device))).contains("[t, n, 3]"));
    assert!(gru.forward(&Tensor::ones([5, 3], DType::F32, &device)).realize().is_err());
    assert!(gru.forward(&Tensor::ones([0, 2, 3], DType::F32, &device)).realize().is_err());
    let x = Tensor::ones([5, 2, 3], DType::F32, &device);
    let state = Tensor::ones([1, 3, 4], DType::F32, &device);
    assert!(message(gru.run(&x, Some(&state)).1).contains("[1, 2, 4]"));
    let none = Lstm::new(3, 4, Recurrence { layers: 0, ..Recurrence::default() }, &init);
    assert!(none.forward(&x).realize().is_err());
}
