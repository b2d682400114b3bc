//! One fold of a row: its accumulator, how a value or another accumulator gets into it, and what is put away.

use super::Result;
use super::ops;
use crate::dtype::DType;
use crate::graph::ReduceOp;
use crate::plan::{InstrKind, Loop, Reg};
use std::fmt::Write as _;

/// A fold. Its accumulator is `f` and its register's number; `x` is the position where it searches for one.
#[derive(Debug, Clone, Copy)]
pub struct Fold {
    pub r: Reg,
    pub op: ReduceOp,
    /// What is folded, and its type.
    pub src: Reg,
    pub dtype: DType,
    /// Whether the position is wanted.
    pub arg: bool,
}

impl Fold {
    /// Register `r` of a loop, if it is a fold.
    pub fn of(l: &Loop, r: Reg) -> Option<Fold> {
        match l.instrs[r].kind {
            InstrKind::Reduce { op, src } => Some(Fold { r, op, src, dtype: l.instrs[src].dtype, arg: false }),
            InstrKind::ArgReduce { op, src } => Some(Fold { r, op, src, dtype: l.instrs[src].dtype, arg: true }),
            _ => None,
        }
    }

    /// True for sums of floats, which lose digits when they are long.
    pub fn is_float_sum(&self) -> bool {
        ops::computed(self.dtype) == DType::F32 && self.op == ReduceOp::Sum && !self.arg
    }

    /// True for the largest and the smallest of floats.
    pub fn is_float_extreme(&self) -> bool {
        ops::computed(self.dtype) == DType::F32 && matches!(self.op, ReduceOp::Max | ReduceOp::Min)
    }

    /// The accumulator's type.
    pub fn of_type(&self) -> Result<&'static str> {
        ops::folded_type(self.dtype)
    }

    /// The accumulator before all.
    pub fn neutral(&self) -> &'static str {
        ops::neutral(self.op, self.dtype)
    }

    /// The line that declares it.
    pub fn declare(&self) -> String {
        let r = self.r;
        let at = if self.arg { format!("    var x{r} = 2147483647i;\n") } else { String::new() };
        format!("    var f{r} = {};\n{at}", self.neutral())
    }

    /// A value of the source, as it is folded.
    pub fn folded(&self, value: &str) -> String {
        if self.dtype == DType::Bool { format!("select(0u, 1u, {value})") } else { value.into() }
    }

    /// Two accumulators made one.
    pub fn combine(&self, a: &str, b: &str) -> String {
        ops::combine(self.op, self.dtype, a, b)
    }

    /// Whether one pair of value and position is to be kept rather than another.
    pub fn beats(&self, value: &str, at: &str, other: &str, other_at: &str) -> String {
        let t = match ops::computed(self.dtype) {
            DType::F32 => "f32",
            DType::I32 => "i32",
            _ => "u32",
        };
        let op = if self.op == ReduceOp::Min { "min" } else { "max" };
        format!("beats_{op}_{t}({value}, {at}, {other}, {other_at})")
    }

    /// The lines that take a value (found at `at`) into the accumulator, whose name begins with `name`.
    pub fn take(&self, name: &str, value: &str, at: &str, pad: &str) -> String {
        let (f, x) = (format!("{name}{}", self.r), format!("x{}", self.r));
        if !self.arg {
            return format!("{pad}{f} = {};\n", self.combine(&f, value));
        }
        let beats = self.beats(value, at, &f, &x);
        format!("{pad}if ({beats}) {{\n{pad}    {f} = {value};\n{pad}    {x} = {at};\n{pad}}}\n")
    }

    /// The line that gives the register its value.
    pub fn result(&self) -> String {
        let r = self.r;
        match self.arg {
            true => format!("    let r{r} = x{r};\n"),
            false => format!("    let r{r} = {};\n", ops::folded(self.op, self.dtype, &format!("f{r}"))),
        }
    }
}

/// The lines that put running sums `p` away in `f`, with what rounding lost in `k`; `one` is 1.
pub fn put_away(sums: &[Fold], one: &str, pad: &str) -> String {
    let mut text = String::new();
    for Fold { r, .. } in sums {
        let _ = write!(
            text,
            "{pad}let y{r} = p{r} - k{r};\n{pad}let t{r} = f{r} + y{r};\n\
             {pad}k{r} = lost_f32(t{r}, f{r}, y{r}, {one});\n{pad}f{r} = t{r};\n"
        );
    }
    text
}
