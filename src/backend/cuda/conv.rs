//! A plan's convolutions as cuDNN takes them.

use super::cudnn::{Pass, Problem};
use super::outcome::{Outcome, Place};
use crate::dtype::DType;
use crate::plan::{Contract, ContractKind, ConvSizes, Operand};
use crate::shape::Shape;
use std::ffi::c_int;

/// A convolution and what follows it.
#[derive(Debug, Clone)]
pub(super) struct Lowered {
    pub problem: Problem,
    /// Slots and first elements of x (or dx), of the weight (or dw), and of y (or dy).
    pub x: Place,
    pub w: Place,
    pub y: Place,
    pub outcome: Outcome,
}

/// The convolution that makes a contraction; none when cuDNN cannot take it. `scratch` is the number of a slot that is
/// nobody's.
pub(super) fn lower(c: &Contract, scratch: usize, deterministic: bool) -> Option<Lowered> {
    let (pass, sizes) = match &c.kind {
        ContractKind::Conv(s) => (Pass::Forward, *s),
        ContractKind::ConvDataGrad(s) => (Pass::Data, *s),
        ContractKind::ConvFilterGrad(s) => (Pass::Filter, *s),
        ContractKind::Matmul { .. } => return None,
    };
    let ConvSizes { spec, n, c: channels, h, w, o, kh, kw, oh, ow } = sizes;
    let (x_shape, y_shape) = ([n, channels, h, w], [n, o, oh, ow]);
    let w_shape = [o, channels.checked_div(spec.groups)?, kh, kw];
    if !matches!(c.dtype, DType::F32 | DType::F16 | DType::BF16) || !c.epilogue.inner.is_empty() {
        return None;
    }
    if x_shape.iter().chain(&y_shape).chain(&w_shape).any(|&size| size == 0) {
        return None;
    }
    let elements = match pass {
        Pass::Forward => y_shape.iter().product(),
        Pass::Data => x_shape.iter().product(),
        Pass::Filter => w_shape.iter().product(),
    };
    let outcome = Outcome::new(c, elements, scratch);
    let (made, place) = (None, |o: &Operand| (o.slot, o.layout.offset));
    let (x, weight, y) = match pass {
        Pass::Forward => (Some(&c.a), Some(&c.b), made),
        Pass::Data => (made, Some(&c.b), Some(&c.a)),
        Pass::Filter => (Some(&c.a), made, Some(&c.b)),
    };
    let contiguous = |o: &Operand| o.layout.is_contiguous(&Shape::from(&w_shape[..]));
    if weight.is_some_and(|o| !contiguous(o)) {
        return None;
    }
    let at = |o: Option<&Operand>| o.map_or(outcome.place, place);
    Some(Lowered {
        problem: Problem {
            pass,
            dtype: c.dtype,
            sizes,
            x: strides(x, x_shape)?,
            y: strides(y, y_shape)?,
            tf32: false,
            deterministic,
        },
        x: at(x),
        w: at(weight),
        y: at(y),
        outcome,
    })
}

/// An operand's strides, or those of a contiguous result; none when elements lie on each other.
fn strides(operand: Option<&Operand>, shape: [usize; 4]) -> Option<[c_int; 4]> {
    let plain = Shape::from(&shape[..]).strides();
    let mut strides = [0; 4];
    for d in 0..4 {
        // Where there is one element any stride will do; the plain one is what cuDNN likes best.
        let stride = match operand {
            Some(o) if shape[d] > 1 => o.layout.strides[d],
            _ => plain[d],
        };
        strides[d] = c_int::try_from(stride).ok().filter(|s| *s > 0)?;
    }
    Some(strides)
}
