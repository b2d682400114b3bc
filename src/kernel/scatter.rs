//! Additions (or the largest, or the smallest) at indexed places: a copy of the base, then one atomic operation for each
//! source element; or, where runs must not differ, a walk over all sources for each place.

use super::write::Writer;
use super::{KernelSource, Number, Result, count, map, spread, unsupported};
use crate::dtype::DType;
use crate::graph::ReduceOp;
use crate::plan::{Affine, Instr, InstrKind, Level, Loop, Operand, Scatter, Store};
use crate::shape::{Dims, Shape};

/// The kernels: the copy is left out where base and result share a slot.
pub fn scatter(s: &Scatter) -> Result<Vec<KernelSource>> {
    let mut kernels = Vec::new();
    if s.base.slot != s.out {
        kernels.push(map::map(&copy(s), false)?);
    }
    // What integers come to does not depend on the order.
    if s.deterministic && s.dtype.is_float() {
        for start in (0..s.count).step_by(IN_ORDER) {
            kernels.push(in_order(s, start..s.count.min(start + IN_ORDER))?);
        }
    } else {
        kernels.push(at_once(s)?);
    }
    Ok(kernels)
}

/// Sources that a kernel walks at most: a software driver may stop after 65,535 turns, and takes four sources each.
const IN_ORDER: usize = 200_000;

fn affine(o: &Operand) -> Affine {
    Affine { offset: o.layout.offset, strides: o.layout.strides.clone() }
}

fn copy(s: &Scatter) -> Loop {
    let load = InstrKind::Load { slot: s.base.slot, at: affine(&s.base), guard: None };
    let strides = Shape::from(&s.shape[..]).strides();
    Loop {
        outer: s.shape.clone(),
        inner: Dims::new(),
        instrs: vec![Instr { kind: load, dtype: s.dtype, level: Level::Outer }],
        stores: vec![Store { slot: s.out, at: Affine { offset: 0, strides }, value: 0 }],
    }
}

/// Every source element in an invocation of its own.
fn at_once(s: &Scatter) -> Result<KernelSource> {
    if s.dtype.is_half() {
        // Many small addends would be lost in a sum of 11 or 8 bits: tensors scatter halves as f32.
        return Err(unsupported(format!("scatter of {}; cast to f32 first", s.dtype)));
    }
    let mut sizes = s.shape.clone();
    sizes[s.axis] = s.count;
    let points: usize = sizes.iter().product();
    let dispatch = spread(points.div_ceil(256))?;
    let mut strides = Shape::from(&s.shape[..]).strides();
    let stride = std::mem::replace(&mut strides[s.axis], 0);

    let mut w = Writer::default();
    // Only integers are atomic: floats and bytes are exchanged as words.
    w.touch(s.out, if s.dtype == DType::I32 { DType::I32 } else { DType::U32 }, true)?;
    w.touch(s.index.slot, DType::I32, false)?;
    w.touch(s.src.slot, s.dtype, false)?;
    w.reports();
    let (width, total) = (w.count(dispatch[0]), w.count(count(points)?));
    let size = w.count(count(s.shape[s.axis])?);
    let origin = w.number(Number::Origin(s.origin));
    let indices = w.indices("i", "i", &sizes, "    ")?;
    let place = |w: &mut Writer, at: &Affine| match w.linear(at.offset, &at.strides, "i") {
        sum if sum.is_empty() => "0i".to_owned(),
        sum => sum,
    };
    let (at_index, at_src) = (place(&mut w, &affine(&s.index)), place(&mut w, &affine(&s.src)));
    let at_out = place(&mut w, &Affine { offset: 0, strides });
    let stride = w.int(stride);
    let index = w.load(s.index.slot, DType::I32, &at_index)?;
    let value = w.load(s.src.slot, s.dtype, &at_src)?;
    let out = w.buffer(s.out);
    let text = format!(
        "{}\nfn groups_x() -> u32 {{\n    return {width};\n}}\n\nfn points() -> u32 {{\n    return {total};\n}}\n\n\
         fn add_point(i: u32) {{\n{indices}    let index = {index};\n    \
         if (index < 0i || index >= i32({size})) {{\n        report({origin}, index, {size});\n        return;\n    }}\n    \
         let at = {at_out} + index * {stride};\n    let value = {value};\n{}}}\n",
        include_str!("../../shaders/scatter.wgsl"),
        exchange(&out, s.op, s.dtype),
    );
    Ok(w.finish("scatter", "", &text, dispatch))
}

/// Folds `value` into the atomic element `at`. Floats and bytes have no atomic addition: compare and exchange until it held.
fn exchange(out: &str, op: ReduceOp, dtype: DType) -> String {
    let sum = match (op, dtype) {
        (ReduceOp::Max, _) => return format!("    atomicMax(&{out}[at], value);\n"),
        (ReduceOp::Min, _) => return format!("    atomicMin(&{out}[at], value);\n"),
        (_, DType::F32) => "bitcast<u32>(bitcast<f32>(old) + value)".to_owned(),
        (_, DType::U8) => "(old + value) & 255u".to_owned(),
        _ => return format!("    atomicAdd(&{out}[at], value);\n"),
    };
    format!(
        "    var old = atomicLoad(&{out}[at]);\n    loop {{\n        \
         let r = atomicCompareExchangeWeak(&{out}[at], old, {sum});\n        \
         if (r.exchanged) {{\n            break;\n        }}\n        old = r.old_value;\n    }}\n"
    )
}

/// Every place in an invocation of its own, which folds in those of `sources` that name it, from the first to the last.
/// An index outside is reported at the end: a loop within the loop would use up a software driver's turns.
fn in_order(s: &Scatter, sources: std::ops::Range<usize>) -> Result<KernelSource> {
    let points: usize = s.shape.iter().product();
    let dispatch = spread(points.div_ceil(256))?;
    let mut w = Writer::default();
    w.touch(s.out, s.dtype, true)?;
    w.touch(s.index.slot, DType::I32, false)?;
    w.touch(s.src.slot, s.dtype, false)?;
    w.reports();
    let (width, total) = (w.count(dispatch[0]), w.count(count(points)?));
    let (start, end) = (w.count(count(sources.start)?), w.count(count(sources.end)?));
    let size = w.count(count(s.shape[s.axis])?);
    let origin = w.number(Number::Origin(s.origin));
    let indices = w.indices("i", "i", &s.shape, "    ")?;
    let along = |w: &mut Writer, o: &Operand, name: &str| {
        let mut strides = o.layout.strides.clone();
        let stride = std::mem::replace(&mut strides[s.axis], 0);
        let first = match w.linear(o.layout.offset, &strides, "i") {
            sum if sum.is_empty() => "0i".to_owned(),
            sum => sum,
        };
        (format!("    let {name}_first = {first};\n"), format!("{name}_first + i32(j) * {}", w.int(stride)))
    };
    let (index_first, at_index) = along(&mut w, &s.index, "index");
    let (src_first, at_src) = along(&mut w, &s.src, "src");
    let index = w.load(s.index.slot, DType::I32, &at_index)?;
    let value = w.load(s.src.slot, s.dtype, &at_src)?;
    let before = w.load(s.out, s.dtype, "i")?;
    let after = w.store(s.out, s.dtype, "i", "sum")?;
    let axis = s.axis;
    let turn = format!(
        "            let index = {index};\n            if (index == i{axis}) {{\n                \
         sum = sum + {value};\n            }}\n            \
         if (index < 0i || index >= i32({size})) {{\n                wrong = index;\n            }}\n"
    );
    let turns: String = (0..4)
        .map(|u| format!("        if (k + {u}u < {end}) {{\n            let j = k + {u}u;\n{turn}        }}\n"))
        .collect();
    let text = format!(
        "{}\nfn groups_x() -> u32 {{\n    return {width};\n}}\n\nfn points() -> u32 {{\n    return {total};\n}}\n\n\
         fn fold_into(i: u32) {{\n{indices}{index_first}{src_first}    var sum = {before};\n    \
         var wrong = 0i;\n    for (var k = {start}; k < {end}; k += 4u) {{\n{turns}    }}\n    {after}\n    \
         if (wrong < 0i || wrong >= i32({size})) {{\n        report({origin}, wrong, {size});\n    }}\n}}\n",
        include_str!("../../shaders/scatter_in_order.wgsl"),
    );
    Ok(w.finish("scatter", "", &text, dispatch))
}
