//! Tensors from nothing.

use super::{OpInfo, one, op};
use crate::random::Generator;
use crate::tensor::Tensor;

pub(super) const OPS: &[OpInfo] = &[
    op("zeros", r#"{"shape": [2, 3], "dtype": "f32"}"#, &[], |c| {
        one(Tensor::zeros(c.shape("shape"), c.dtype("dtype"), c.device()))
    }),
    op("rand", r#"{"shape": [2, 3], "seed": 0}"#, &[], |c| {
        one(Generator::new(c.int("seed") as u64).rand(c.shape("shape"), c.device()))
    })
    .random(),
];
