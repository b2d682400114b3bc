//! Rows put in order: blocks in workgroup memory, then merges of ever longer runs, in the frames of `shaders/sort*.wgsl`.

use super::rows::{Rows, contiguous, number};
use super::write::Writer;
use super::{KernelSource, Result, count, spread};
use crate::dtype::DType;
use crate::plan::Sort;

/// The kernels of a sort, [`Sort::passes`] of them.
pub fn sort(s: &Sort) -> Result<Vec<KernelSource>> {
    let rows = Rows::new(&s.shape, s.axis);
    let mut kernels = vec![blocks(s, &rows, false)?];
    let mut run = 2 * Sort::BLOCK;
    while run < 2 * rows.length && rows.length > Sort::BLOCK {
        kernels.push(apart(s, &rows, run / 2, run - 1)?);
        let mut half = run / 4;
        while half >= Sort::BLOCK {
            kernels.push(apart(s, &rows, half, half)?);
            half /= 2;
        }
        kernels.push(blocks(s, &rows, true)?);
        run *= 2;
    }
    Ok(kernels)
}

/// A number that is ordered as `value` is, the greatest being smallest where the order is descending.
fn key(s: &Sort, value: &str) -> String {
    let key = match s.dtype {
        DType::Bool => format!("select(0u, 1u, {value})"),
        DType::I32 => format!("(bitcast<u32>({value}) ^ 0x80000000u)"),
        other if other.is_float() => format!("key_f32({value})"),
        _ => value.to_owned(),
    };
    if s.descending { format!("~{key}") } else { key }
}

/// Sorts each block, or merges each where blocks are bitonic runs.
fn blocks(s: &Sort, rows: &Rows, sorted: bool) -> Result<KernelSource> {
    let out = contiguous(&s.shape);
    let block = rows.length.next_power_of_two().clamp(2, Sort::BLOCK);
    let per_row = rows.length.div_ceil(block).max(1);
    let dispatch = spread((rows.count * per_row).div_ceil(Sort::BLOCK / block))?;
    let mut w = writer(s, true)?;
    let mut text = format!("{}\nconst SORTED: bool = {sorted};\n\n", include_str!("../../shaders/sort.wgsl"));
    text += &rows.numbers(&mut w, dispatch[0])?;
    text += &number(&mut w, "block", count(block)?);
    text += &number(&mut w, "blocks", count(per_row)?);
    text += &rows.places(&mut w, &[("x", &s.src.layout), ("y", &out)])?;
    let (x, y) = (rows.element(&mut w, "x", &s.src.layout, "j"), rows.element(&mut w, "y", &out, "j"));
    text += &match sorted {
        true => lookups(s, &w, s.values, &y, Some(&y))?,
        false => lookups(s, &w, s.src.slot, &x, None)?,
    };
    let from = rows.element(&mut w, "x", &s.src.layout, "source");
    let value = w.load(s.src.slot, s.dtype, &from)?;
    text += &format!(
        "fn put(row: Row, j: u32, source: u32) {{\n    {}\n    {}\n}}\n",
        w.store(s.values, s.dtype, &y, &value)?,
        w.store(s.indices, DType::I32, &y, "i32(source)")?
    );
    Ok(w.finish("sort", "", &text, dispatch))
}

/// One step between elements that lie at least a block apart.
fn apart(s: &Sort, rows: &Rows, half: usize, mask: usize) -> Result<KernelSource> {
    let out = contiguous(&s.shape);
    let pairs = rows.length.div_ceil(2 * half) * half;
    let total = rows.count * pairs;
    let dispatch = spread(total.div_ceil(256))?;
    let mut w = writer(s, false)?;
    let mut text = format!("{}\n", include_str!("../../shaders/sort_apart.wgsl"));
    for (name, n) in [("pairs", pairs), ("total", total), ("half", half), ("mask", mask), ("length", rows.length)] {
        text += &number(&mut w, name, count(n)?);
    }
    text += &number(&mut w, "groups_x", dispatch[0]);
    text += &rows.places(&mut w, &[("y", &out)])?;
    let [a, b, j] = ["a", "b", "j"].map(|j| rows.element(&mut w, "y", &out, j));
    text += &lookups(s, &w, s.values, &j, Some(&j))?;
    let [value_a, value_b] = [&a, &b].map(|at| w.load(s.values, s.dtype, at));
    let [index_a, index_b] = [&a, &b].map(|at| w.load(s.indices, DType::I32, at));
    text += &format!(
        "fn exchange(row: Row, a: u32, b: u32) {{\n    let value = {};\n    let index = {};\n    {}\n    {}\n    {}\n    {}\n}}\n",
        value_a?,
        index_a?,
        w.store(s.values, s.dtype, &a, &value_b?)?,
        w.store(s.indices, DType::I32, &a, &index_b?)?,
        w.store(s.values, s.dtype, &b, "value")?,
        w.store(s.indices, DType::I32, &b, "index")?,
    );
    Ok(w.finish("sort", "", &text, dispatch))
}

fn writer(s: &Sort, reads: bool) -> Result<Writer> {
    let mut w = Writer::default();
    if reads {
        w.touch(s.src.slot, s.dtype, false)?;
    }
    w.touch(s.values, s.dtype, true)?;
    w.touch(s.indices, DType::I32, true)?;
    Ok(w)
}

/// `key_at` from element `value` of `slot`, and `source_at` from element `index` of the indices, or as yet its own place.
fn lookups(s: &Sort, w: &Writer, slot: usize, value: &str, index: Option<&str>) -> Result<String> {
    let key = key(s, &w.load(slot, s.dtype, value)?);
    let source = match index {
        Some(at) => format!("u32({})", w.load(s.indices, DType::I32, at)?),
        None => "j".into(),
    };
    Ok(format!(
        "fn key_at(row: Row, j: u32) -> u32 {{\n    return {key};\n}}\n\n\
         fn source_at(row: Row, j: u32) -> u32 {{\n    return {source};\n}}\n\n"
    ))
}
