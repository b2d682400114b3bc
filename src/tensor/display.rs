//! Tensors as people read them, in the manner of NumPy: aligned columns, long axes abridged.

use super::Tensor;
use crate::dtype::{DType, Element};
use crate::error::Result;
use half::{bf16, f16};
use std::fmt;

/// Elements at each end of an axis that is too long to show.
const EDGE: usize = 3;
/// Tensors of more elements than this are abridged.
const LIMIT: usize = 1000;
/// Digits after the point, as in NumPy and PyTorch.
const PRECISION: usize = 4;

/// Rounded to what a person wants to see; reading it computes the tensor. One that carries an error shows the error.
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.render() {
            Ok(text) => f.write_str(&text),
            Err(error) => write!(f, "Tensor(error: {error})"),
        }
    }
}

/// Shape, dtype and device; the elements only if they are there already.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.value() {
            Err(error) => write!(f, "Tensor(error: {error})"),
            Ok(value) => {
                write!(f, "Tensor({} {} on {}", self.dtype(), self.shape(), value.node.device)?;
                if value.realized().is_some() {
                    write!(f, ", {self}")?;
                }
                f.write_str(")")
            }
        }
    }
}

impl Tensor {
    fn render(&self) -> Result<String> {
        let abridge = self.numel() > LIMIT;
        // Only what is shown is read: the edges of each long axis.
        let shown = crate::autograd::no_grad(|| {
            (0..self.rank()).filter(|_| abridge).fold(self.clone(), |x, axis| {
                let n = x.shape()[axis];
                if n <= 2 * EDGE {
                    return x;
                }
                let axis = axis as isize;
                Tensor::cat(&[&x.narrow(axis, 0, EDGE), &x.narrow(axis, n - EDGE, EDGE)], axis)
            })
        });
        let texts = match self.dtype() {
            DType::Bool => shown.texts(|v: bool| v.to_string())?,
            DType::U8 => shown.texts(|v: u8| v.to_string())?,
            DType::U32 => shown.texts(|v: u32| v.to_string())?,
            DType::I32 => shown.texts(|v: i32| v.to_string())?,
            DType::I64 => shown.texts(|v: i64| v.to_string())?,
            DType::F16 => floats(&shown.to_vec::<f16>()?.into_iter().map(f64::from).collect::<Vec<_>>()),
            DType::BF16 => floats(&shown.to_vec::<bf16>()?.into_iter().map(f64::from).collect::<Vec<_>>()),
            DType::F32 => floats(&shown.to_vec::<f32>()?.iter().map(|&v| v as f64).collect::<Vec<_>>()),
            DType::F64 => floats(&shown.to_vec::<f64>()?),
        };
        let width = texts.iter().map(String::len).max().unwrap_or(0);
        let mut out = String::new();
        let gaps: Vec<bool> = self.shape().iter().zip(shown.shape().iter()).map(|(a, b)| a != b).collect();
        block(&mut out, &texts, shown.shape(), &gaps, width, 1);
        Ok(out)
    }

    fn texts<T: Element>(&self, text: impl Fn(T) -> String) -> Result<Vec<String>> {
        Ok(self.to_vec::<T>()?.into_iter().map(text).collect())
    }
}

/// Floats in one format for all: scientific where fixed digits would hide or swamp something.
fn floats(values: &[f64]) -> Vec<String> {
    let finite = || values.iter().copied().filter(|v| v.is_finite() && *v != 0.0).map(f64::abs);
    let (low, high) = finite().fold((f64::INFINITY, 0f64), |(l, h), v| (l.min(v), h.max(v)));
    let whole = values.iter().all(|v| !v.is_finite() || (v.fract() == 0.0 && v.abs() < 1e8));
    let scientific = !whole && high > 0.0 && (high >= 1e8 || low < 1e-4 || high / low > 1000.0 * 1e4);
    values
        .iter()
        .map(|&v| match v {
            _ if v.is_nan() => "nan".into(),
            _ if v.is_infinite() => {
                if v > 0.0 {
                    "inf".into()
                } else {
                    "-inf".into()
                }
            }
            _ if whole => format!("{v:.0}."),
            _ if scientific => format!("{v:.PRECISION$e}"),
            _ => format!("{v:.PRECISION$}"),
        })
        .collect()
}

fn block(out: &mut String, texts: &[String], shape: &[usize], gaps: &[bool], width: usize, indent: usize) {
    let Some((&n, rest)) = shape.split_first() else {
        out.push_str(texts.first().map_or("", String::as_str));
        return;
    };
    out.push('[');
    let size: usize = rest.iter().product();
    for i in 0..n {
        if i > 0 {
            if rest.is_empty() {
                out.push_str(", ");
            } else {
                out.push(',');
                out.push_str(&"\n".repeat(rest.len()));
                out.push_str(&" ".repeat(indent));
            }
        }
        if gaps[0] && i == EDGE {
            out.push_str(if rest.is_empty() { "..., " } else { "...,\n" });
            if !rest.is_empty() {
                out.push_str(&" ".repeat(indent));
            }
        }
        if rest.is_empty() {
            out.push_str(&format!("{:>width$}", texts[i]));
        } else {
            block(out, &texts[i * size..(i + 1) * size], rest, &gaps[1..], width, indent + 1);
        }
    }
    out.push(']');
}
