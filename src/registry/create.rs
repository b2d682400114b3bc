//! Tensors from nothing.

use super::{OpInfo, index, one, op, x};
use crate::random::Generator;
use crate::tensor::Tensor;

fn generator(c: &super::Call) -> Generator {
    Generator::new(c.int("seed") as u64)
}

pub(super) const OPS: &[OpInfo] = &[
    op("zeros", r#"{"shape": [2, 3], "dtype": "f32"}"#, &[], |c| {
        one(Tensor::zeros(c.shape("shape"), c.dtype("dtype"), c.device()))
    }),
    op("ones", r#"{"shape": [2, 3], "dtype": "f32"}"#, &[], |c| {
        one(Tensor::ones(c.shape("shape"), c.dtype("dtype"), c.device()))
    }),
    op("full", r#"{"shape": [2, 3], "value": 1.5, "dtype": "f32"}"#, &[], |c| {
        one(Tensor::full(c.shape("shape"), c.number("value"), c.dtype("dtype"), c.device()))
    }),
    op("zeros_like", "{}", &[x(&[2, 3])], |c| one(c.x(0).zeros_like())),
    op("ones_like", "{}", &[x(&[2, 3])], |c| one(c.x(0).ones_like())),
    op("full_like", r#"{"value": 2}"#, &[x(&[2, 3])], |c| one(c.x(0).full_like(c.number("value")))),
    op("arange", r#"{"start": 0, "end": 4, "step": 1, "dtype": "i32"}"#, &[], |c| {
        one(Tensor::arange_by(c.number("start"), c.number("end"), c.number("step"), c.dtype("dtype"), c.device()))
    }),
    op("linspace", r#"{"start": 0.0, "end": 1.0, "steps": 5, "dtype": "f32"}"#, &[], |c| {
        one(Tensor::linspace(c.float("start"), c.float("end"), c.size("steps"), c.dtype("dtype"), c.device()))
    }),
    op("eye", r#"{"n": 3, "m": null, "dtype": "f32"}"#, &[], |c| {
        let n = c.size("n");
        one(match c.optional("m", |c| c.size("m")) {
            Some(m) => Tensor::eye_of(n, m, c.dtype("dtype"), c.device()),
            None => Tensor::eye(n, c.dtype("dtype"), c.device()),
        })
    }),
    op("tril_mask", r#"{"rows": 3, "columns": 4, "diagonal": 0}"#, &[], |c| {
        one(Tensor::tril_mask(c.size("rows"), c.size("columns"), c.int32("diagonal"), c.device()))
    }),
    op("triu_mask", r#"{"rows": 3, "columns": 4, "diagonal": 0}"#, &[], |c| {
        one(Tensor::triu_mask(c.size("rows"), c.size("columns"), c.int32("diagonal"), c.device()))
    }),
    op("one_hot", r#"{"classes": 3}"#, &[index(&[2, 3])], |c| one(c.x(0).one_hot(c.size("classes")))),
    op("rand", r#"{"shape": [2, 3], "seed": 0}"#, &[], |c| one(generator(c).rand(c.shape("shape"), c.device())))
        .random(),
    op("randn", r#"{"shape": [2, 3], "seed": 0}"#, &[], |c| one(generator(c).randn(c.shape("shape"), c.device())))
        .random(),
    op("bits", r#"{"shape": [2, 3], "seed": 0}"#, &[], |c| one(generator(c).bits(c.shape("shape"), c.device())))
        .random(),
    op("rand_like", r#"{"seed": 0}"#, &[x(&[2, 3])], |c| one(generator(c).rand_like(c.x(0)))).random(),
    op("randn_like", r#"{"seed": 0}"#, &[x(&[2, 3])], |c| one(generator(c).randn_like(c.x(0)))).random(),
    op("uniform", r#"{"shape": [2, 3], "low": -1.0, "high": 1.0, "dtype": "f32", "seed": 0}"#, &[], |c| {
        let (shape, low, high) = (c.shape("shape"), c.float("low"), c.float("high"));
        one(generator(c).uniform(shape, low, high, c.dtype("dtype"), c.device()))
    })
    .random(),
    op("normal", r#"{"shape": [2, 3], "mean": 0.0, "std": 1.0, "dtype": "f32", "seed": 0}"#, &[], |c| {
        let (shape, mean, std) = (c.shape("shape"), c.float("mean"), c.float("std"));
        one(generator(c).normal(shape, mean, std, c.dtype("dtype"), c.device()))
    })
    .random(),
    op("randint", r#"{"shape": [2, 3], "low": 0, "high": 10, "seed": 0}"#, &[], |c| {
        one(generator(c).randint(c.shape("shape"), c.int32("low")..c.int32("high"), c.device()))
    })
    .random(),
    op("bernoulli", r#"{"shape": [2, 3], "p": 0.5, "seed": 0}"#, &[], |c| {
        one(generator(c).bernoulli(c.shape("shape"), c.float("p"), c.device()))
    })
    .random(),
    op("bernoulli_of", r#"{"seed": 0}"#, &[x(&[2, 3])], |c| one(generator(c).bernoulli_of(c.x(0)))).random(),
    op("randperm", r#"{"n": 5, "seed": 0}"#, &[], |c| one(generator(c).permutation(c.size("n"), c.device()))).random(),
];
