//! The lazy graph: what an op is, the node that remembers one, and the rule that gives its result's shape and dtype.

pub mod custom;
mod infer;
mod node;
mod op;
pub mod view;

pub use infer::infer;
pub use node::{GradMode, Node, Realized, Rule, Value};
pub use op::{BinaryOp, ConvSpec, CustomHandle, Op, Param, ReduceOp, ScanOp, UnaryOp};

use crate::{dtype::DType, shape::Shape};

/// The shape and dtype of one result.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Meta {
    /// Sizes, outermost first.
    pub shape: Shape,
    /// Element type.
    pub dtype: DType,
}

impl Meta {
    /// A meta of this shape and dtype.
    pub fn new(shape: impl Into<Shape>, dtype: DType) -> Meta {
        Meta { shape: shape.into(), dtype }
    }
}
