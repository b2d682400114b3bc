//! Neural networks: a tree of modules whose parameters have PyTorch's names.
//!
//! ```
//! use sunstone::prelude::*;
//! use sunstone::nn::{Init, Linear, Relu, Sequential};
//! let init = Init::new(0, &Device::cpu());
//! let model = Sequential::new().add(Linear::new(4, 8, &init)).add(Relu).add(Linear::new(8, 2, &init));
//! let names: Vec<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
//! assert_eq!(names, ["0.weight", "0.bias", "2.weight", "2.bias"]);
//! assert_eq!(model.forward(&Tensor::ones([3, 4], DType::F32, &Device::cpu())).dims::<2>()?, [3, 2]);
//! # Ok::<(), sunstone::Error>(())
//! ```

mod activation;
mod attention;
mod conv;
mod conv_transpose;
mod dropout;
mod embedding;
pub mod init;
mod linear;
mod module;
mod norm;
mod parameter;
mod pool;
mod recurrent;
mod resample;
mod sequential;

pub use activation::{Gelu, Relu, Sigmoid, Silu, Tanh};
pub use attention::{AttentionInputs, MultiheadAttention, MultiheadAttentionBuilder};
pub use conv::{Conv1d, Conv1dBuilder, Conv2d, Conv2dBuilder, Conv3d, Conv3dBuilder};
pub use conv_transpose::{
    ConvTranspose1d, ConvTranspose1dBuilder, ConvTranspose2d, ConvTranspose2dBuilder, ConvTranspose3d,
    ConvTranspose3dBuilder,
};
pub use dropout::Dropout;
pub use embedding::Embedding;
pub use init::Init;
pub use linear::Linear;
pub use module::{Module, Part, StateDict, Visitor};
pub use norm::{BatchNorm2d, GroupNorm, InstanceNorm2d, LayerNorm, RmsNorm};
pub use parameter::{Buffer, Mode, Parameter};
pub use pool::{
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d,
    AvgPool1d, AvgPool2d, AvgPool3d, MaxPool1d, MaxPool2d, MaxPool3d,
};
pub use recurrent::{Gru, Lstm, Nonlinearity, Recurrence, Rnn};
pub use resample::{PixelShuffle, PixelUnshuffle, Upsample};
pub use sequential::{Flatten, Sequential};

use crate::error::Caller;
use crate::tensor::Tensor;

/// Height and width; a single number stands for both.
pub type Pair = crate::tensor::Sizes<2>;

/// What a layer gives when it cannot use what it was given: a tensor that carries the error, at the user's line.
#[track_caller]
fn refuse(layer: &'static str, detail: impl Into<String>) -> Tensor {
    Tensor::bad(layer, Caller::here(), detail)
}
