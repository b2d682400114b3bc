//! Additions at indexed places: a copy of the base, then one atomic addition for each source element.

use super::write::Writer;
use super::{KernelSource, Number, Result, count, map, spread, unsupported};
use crate::dtype::DType;
use crate::plan::{Affine, Instr, InstrKind, Level, Loop, Operand, Scatter, Store};
use crate::shape::{Dims, Shape};

/// The kernels: the copy is left out where base and result share a slot.
pub fn scatter(s: &Scatter) -> Result<Vec<KernelSource>> {
    let add = add(s)?;
    if s.base.slot == s.out {
        return Ok(vec![add]);
    }
    Ok(vec![map::map(&copy(s))?, add])
}

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

fn add(s: &Scatter) -> Result<KernelSource> {
    if s.dtype.is_half() {
        // Many small addends would be lost in a sum of 11 or 8 bits: tensors scatter halves as f32.
        return Err(unsupported(format!("scatter_add of {}; cast to f32 first", s.dtype)));
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
        addition(&out, s.dtype),
    );
    Ok(w.finish("scatter", "", &text, dispatch))
}

/// Adds `value` to the atomic element `at`. Floats and bytes have no atomic addition: compare and exchange until it held.
fn addition(out: &str, dtype: DType) -> String {
    let sum = match dtype {
        DType::F32 => "bitcast<u32>(bitcast<f32>(old) + value)".to_owned(),
        DType::U8 => "(old + value) & 255u".to_owned(),
        _ => return format!("    atomicAdd(&{out}[at], value);\n"),
    };
    format!(
        "    var old = atomicLoad(&{out}[at]);\n    loop {{\n        \
         let r = atomicCompareExchangeWeak(&{out}[at], old, {sum});\n        \
         if (r.exchanged) {{\n            break;\n        }}\n        old = r.old_value;\n    }}\n"
    )
}
