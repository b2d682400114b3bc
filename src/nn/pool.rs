//! Pooling over windows.

use super::{Module, Visitor};
use crate::tensor::{PoolOptions, Sizes, Tensor};

macro_rules! pools {
    ($($(#[$doc:meta])* $name:ident $d:literal $op:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name(PoolOptions<$d>);

        impl $name {
            /// Windows of `kernel` that do not overlap, without padding.
            pub fn new(kernel: impl Into<Sizes<$d>>) -> $name {
                $name(PoolOptions::new(kernel))
            }

            /// The step between windows.
            pub fn stride(self, stride: impl Into<Sizes<$d>>) -> $name {
                $name(self.0.stride(stride))
            }

            /// How far windows may reach over each edge.
            pub fn padding(self, padding: impl Into<Sizes<$d>>) -> $name {
                $name(self.0.padding(padding))
            }

            /// Windows with all their options.
            pub fn with(options: PoolOptions<$d>) -> $name {
                $name(options)
            }
        }

        impl Module for $name {
            fn forward(&self, x: &Tensor) -> Tensor {
                x.$op(self.0)
            }
            fn visit(&self, _: &mut Visitor<'_>) {}
        }
    )*};
}

pools! {
    /// The largest of each window: `[n, c, l]` to `[n, c, l']`. Beyond the edge lies −∞.
    MaxPool1d 1 max_pool1d;
    /// The largest of each window: `[n, c, h, w]` to `[n, c, oh, ow]`. Beyond the edge lies −∞.
    MaxPool2d 2 max_pool2d;
    /// The largest of each window: `[n, c, d, h, w]` to `[n, c, od, oh, ow]`. Beyond the edge lies −∞.
    MaxPool3d 3 max_pool3d;
    /// The mean of each window: `[n, c, l]` to `[n, c, l']`. Zeros beyond the edge count, as PyTorch counts them.
    AvgPool1d 1 avg_pool1d;
    /// The mean of each window: `[n, c, h, w]` to `[n, c, oh, ow]`. Zeros beyond the edge count, as PyTorch counts them.
    AvgPool2d 2 avg_pool2d;
    /// The mean of each window: `[n, c, d, h, w]` to `[n, c, od, oh, ow]`. Zeros beyond the edge count, as PyTorch
    /// counts them.
    AvgPool3d 3 avg_pool3d;
}

macro_rules! adaptive_pools {
    ($($(#[$doc:meta])* $name:ident $d:literal $op:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name([usize; $d]);

        impl $name {
            /// A pool to this size.
            pub fn new(output: impl Into<Sizes<$d>>) -> $name {
                $name(output.into().0)
            }
        }

        impl Module for $name {
            fn forward(&self, x: &Tensor) -> Tensor {
                x.$op(self.0)
            }
            fn visit(&self, _: &mut Visitor<'_>) {}
        }
    )*};
}

adaptive_pools! {
    /// Means of windows that bring `[n, c, l]` to a given length.
    AdaptiveAvgPool1d 1 adaptive_avg_pool1d;
    /// Means of windows that bring `[n, c, h, w]` to a given size; 1 is the mean of each channel.
    AdaptiveAvgPool2d 2 adaptive_avg_pool2d;
    /// Means of windows that bring `[n, c, d, h, w]` to a given size.
    AdaptiveAvgPool3d 3 adaptive_avg_pool3d;
    /// The largest of windows that bring `[n, c, l]` to a given length.
    AdaptiveMaxPool1d 1 adaptive_max_pool1d;
    /// The largest of windows that bring `[n, c, h, w]` to a given size.
    AdaptiveMaxPool2d 2 adaptive_max_pool2d;
    /// The largest of windows that bring `[n, c, d, h, w]` to a given size.
    AdaptiveMaxPool3d 3 adaptive_max_pool3d;
}
