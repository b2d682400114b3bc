//! Running folds along an axis: the element of a fold, and how two are made one, in the frame of `shaders/scan*.wgsl`.

use super::rows::{Rows, contiguous, side_by_side};
use super::write::Writer;
use super::{KernelSource, Result, ops, spread};
use crate::dtype::DType;
use crate::graph::{ReduceOp, ScanOp};
use crate::plan::Scan;

/// Rows up to this length are walked by one invocation each.
const SHORT: usize = 64;
/// So are rows up to this length where there are many side by side, so that neighbours read neighbours.
const COLUMN: usize = 1 << 14;
/// How many are many.
const MANY: usize = 1 << 12;

/// The kernel of a scan.
pub fn scan(s: &Scan) -> Result<KernelSource> {
    let rows = Rows::new(&s.shape, s.axis);
    let columns = rows.count >= MANY && rows.length <= COLUMN && side_by_side(&s.srcs[0], s.axis);
    let alone = rows.length <= SHORT || columns;
    let (frame, dispatch) = match alone {
        true => (include_str!("../../shaders/scan_rows.wgsl"), spread(rows.count.div_ceil(64))?),
        false => (include_str!("../../shaders/scan.wgsl"), spread(rows.count)?),
    };
    let mut w = Writer::default();
    for src in &s.srcs {
        w.touch(src.slot, s.dtype, false)?;
    }
    w.touch(s.out, s.dtype, true)?;
    if let Some(found) = s.found {
        w.touch(found, DType::I32, true)?;
    }
    let out = contiguous(&s.shape);
    let names = ["x", "b"];
    let mut layouts: Vec<(&str, &crate::shape::Layout)> =
        names.into_iter().zip(s.srcs.iter().map(|o| &o.layout)).collect();
    layouts.push(("y", &out));
    let mut text = format!("{frame}\n{}{}", rows.numbers(&mut w, dispatch[0])?, rows.places(&mut w, &layouts)?);
    text += &item(s)?;
    let mut values = Vec::new();
    for (name, src) in names.into_iter().zip(&s.srcs) {
        let at = rows.element(&mut w, name, &src.layout, "j");
        values.push(w.load(src.slot, s.dtype, &at)?);
    }
    if s.dtype == DType::Bool {
        values.iter_mut().for_each(|v| *v = format!("select(0u, 1u, {v})"));
    }
    let value = match s.op {
        ScanOp::Max | ScanOp::Min => format!("Item({}, i32(j))", values[0]),
        ScanOp::Linear => format!("Item({})", values.join(", ")),
        _ => values[0].clone(),
    };
    text += &format!(
        "fn fetch(row: Row, j: u32) -> Item {{\n    if (j >= length()) {{\n        return neutral();\n    }}\n    \
         return {value};\n}}\n\n"
    );
    let folded = if s.op.finds() || s.op == ScanOp::Linear { "item.value" } else { "item" };
    let folded = ops::folded(if s.op.finds() { ReduceOp::Max } else { ReduceOp::Sum }, s.dtype, folded);
    let at = rows.element(&mut w, "y", &out, "j");
    let mut stores = format!("        {}\n", w.store(s.out, s.dtype, &at, &folded)?);
    if let Some(found) = s.found {
        stores += &format!("        {}\n", w.store(found, DType::I32, &at, "item.at")?);
    }
    text += &format!("fn put(row: Row, j: u32, item: Item) {{\n    if (j < length()) {{\n{stores}    }}\n}}\n");
    Ok(w.finish("scan", "", &text, dispatch))
}

/// `Item`, `neutral` and `combine`, the second operand being the later one.
fn item(s: &Scan) -> Result<String> {
    let t = ops::stored_type(s.dtype)?;
    let zero = ops::zero(if s.dtype == DType::Bool { DType::U32 } else { s.dtype });
    let value = |op| ops::neutral(op, s.dtype);
    let (item, neutral, combine) = match s.op {
        ScanOp::Sum => (None, zero.to_owned(), "a + b".to_owned()),
        ScanOp::Prod => (None, value(ReduceOp::Prod).to_owned(), "a * b".to_owned()),
        ScanOp::LogSumExp => (None, "-inf_f32()".to_owned(), "log_add_f32(a, b)".to_owned()),
        ScanOp::Max | ScanOp::Min => {
            let least = s.op == ScanOp::Min;
            let op = if least { ReduceOp::Min } else { ReduceOp::Max };
            let sign = if least { "<=" } else { ">=" };
            let reaches = format!("b.value {sign} a.value");
            let later = match s.dtype.is_float() {
                true => format!("is_nan(b.value) || (!is_nan(a.value) && {reaches})"),
                false => reaches,
            };
            let item = format!("    value: {t},\n    at: i32,\n");
            (Some(item), format!("Item({}, 0i)", value(op)), format!("pick(a, b, {later})"))
        }
        ScanOp::Linear => {
            let item = format!("    scale: {t},\n    value: {t},\n");
            // A product of many scales may overflow where the recurrence, still at 0, would not.
            let combine =
                format!("Item(a.scale * b.scale, select(b.scale * a.value, {zero}, a.value == {zero}) + b.value)");
            (Some(item), format!("Item({}, {zero})", value(ReduceOp::Prod)), combine)
        }
    };
    let item = match item {
        Some(members) => format!("struct Item {{\n{members}}}\n\n"),
        None => format!("alias Item = {t};\n\n"),
    };
    let pick = match s.op.finds() {
        true => {
            "fn pick(a: Item, b: Item, later: bool) -> Item {\n    if (later) {\n        return b;\n    }\n    \
             return a;\n}\n\n"
        }
        false => "",
    };
    Ok(format!(
        "{item}fn neutral() -> Item {{\n    return {neutral};\n}}\n\n{pick}\
         fn combine(a: Item, b: Item) -> Item {{\n    return {combine};\n}}\n\n"
    ))
}
