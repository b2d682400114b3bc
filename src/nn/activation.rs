//! Activations as modules, for use in a [`Sequential`](super::Sequential).

use super::{Module, Visitor};
use crate::tensor::Tensor;

macro_rules! activations {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default)]
        pub struct $name;

        impl Module for $name {
            fn forward(&self, x: &Tensor) -> Tensor {
                x.$op()
            }
            fn visit(&self, _: &mut Visitor<'_>) {}
        }
    )*};
}

activations! {
    /// `max(x, 0)`
    Relu => relu;
    /// `x·Φ(x)`, with the exact normal distribution function
    Gelu => gelu;
    /// `x·σ(x)`, also called swish
    Silu => silu;
    /// The hyperbolic tangent
    Tanh => tanh;
    /// `1/(1 + e⁻ˣ)`
    Sigmoid => sigmoid;
}
