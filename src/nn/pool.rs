//! Pooling over windows of images.

use super::{Module, Pair, Visitor};
use crate::tensor::Tensor;

macro_rules! pools {
    ($($(#[$doc:meta])* $name:ident => $op:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name {
            kernel: [usize; 2],
            stride: [usize; 2],
            padding: [usize; 2],
        }

        impl $name {
            /// Windows of `kernel` that do not overlap, without padding.
            pub fn new(kernel: impl Into<Pair>) -> $name {
                let kernel = kernel.into().0;
                $name { kernel, stride: kernel, padding: [0, 0] }
            }

            /// The step between windows.
            pub fn stride(self, stride: impl Into<Pair>) -> $name {
                $name { stride: stride.into().0, ..self }
            }

            /// How far windows may reach over each edge.
            pub fn padding(self, padding: impl Into<Pair>) -> $name {
                $name { padding: padding.into().0, ..self }
            }
        }

        impl Module for $name {
            fn forward(&self, x: &Tensor) -> Tensor {
                x.$op(self.kernel, self.stride, self.padding)
            }
            fn visit(&self, _: &mut Visitor<'_>) {}
        }
    )*};
}

pools! {
    /// The largest of each window: `[n, c, h, w]` to `[n, c, oh, ow]`. Beyond the edge lies −∞.
    MaxPool2d => max_pool2d;
    /// The mean of each window: `[n, c, h, w]` to `[n, c, oh, ow]`. Zeros beyond the edge count, as PyTorch counts them.
    AvgPool2d => avg_pool2d;
}
