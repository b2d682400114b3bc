//! What kernels over the rows along an axis share: where a row begins in each operand, and its elements' distance.

use super::write::Writer;
use super::{Result, count};
use crate::plan::Operand;
use crate::shape::{Dims, Layout, Shape};
use std::fmt::Write as _;

/// The rows of operands of one shape.
pub struct Rows {
    axis: usize,
    /// Sizes of all other axes.
    sizes: Dims<usize>,
    /// How many rows there are.
    pub count: usize,
    /// Elements of a row.
    pub length: usize,
}

impl Rows {
    /// Those of `shape` along `axis`.
    pub fn new(shape: &[usize], axis: usize) -> Rows {
        let sizes: Dims<usize> = Shape::from(shape).without(&[axis]).iter().copied().collect();
        Rows { axis, count: sizes.iter().product(), sizes, length: shape[axis] }
    }

    /// Functions `rows()`, `length()` and `groups_x()`, the last giving `width`.
    pub fn numbers(&self, w: &mut Writer, width: u32) -> Result<String> {
        let numbers = [("rows", count(self.count)?), ("length", count(self.length)?), ("groups_x", width)];
        Ok(numbers.map(|(name, n)| number(w, name, n)).concat())
    }

    /// A struct `Row` with a member for each layout, where the row begins in it, and a function `place` that finds a row.
    pub fn places(&self, w: &mut Writer, layouts: &[(&str, &Layout)]) -> Result<String> {
        let indices = w.indices("row", "i", &self.sizes, "    ")?;
        let mut members = String::new();
        let mut starts = Vec::new();
        for (name, layout) in layouts {
            let mut strides = layout.strides.clone();
            strides.remove(self.axis);
            let start = w.linear(layout.offset, &strides, "i");
            starts.push(if start.is_empty() { "0i".to_owned() } else { start });
            let _ = writeln!(members, "    {name}: i32,");
        }
        let starts = starts.join(", ");
        Ok(format!(
            "struct Row {{\n{members}}}\n\nfn place(row: u32) -> Row {{\n{indices}    return Row({starts});\n}}\n\n"
        ))
    }

    /// An expression for where element `j` of a row lies, `row.{name}` being where the row begins.
    pub fn element(&self, w: &mut Writer, name: &str, layout: &Layout, j: &str) -> String {
        match layout.strides[self.axis] {
            1 => format!("row.{name} + i32({j})"),
            stride => format!("row.{name} + i32({j}) * {}", w.int(stride)),
        }
    }
}

/// A function without parameters that gives a number.
pub fn number(w: &mut Writer, name: &str, n: u32) -> String {
    let n = w.count(n);
    format!("fn {name}() -> u32 {{\n    return {n};\n}}\n\n")
}

/// The layout of results: contiguous.
pub fn contiguous(shape: &[usize]) -> Layout {
    Layout::contiguous(&Shape::from(shape))
}

/// True when neighbouring rows lie side by side in memory and elements of a row do not.
pub fn side_by_side(operand: &Operand, axis: usize) -> bool {
    let strides = &operand.layout.strides;
    strides[axis].abs() > 1 && strides.contains(&1)
}
