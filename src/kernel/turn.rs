//! A map that turns an operand: what it reads lies side by side along one axis, what it writes along another. A
//! workgroup reads a square of it in its own direction, and takes it from its memory in the other.

use super::pairs::stores_half;
use super::write::{Body, Writer};
use super::{KernelSource, Result, count, ops, spread};
use crate::dtype::DType;
use crate::plan::{Affine, InstrKind, Loop, Reg, Store};
use std::fmt::Write as _;

/// The side of a square.
const SIDE: usize = 32;

/// Invocations in a workgroup.
const GROUP: usize = 256;

/// Operands that are turned, at most: 16 KiB of a workgroup's memory hold three squares.
const MOST: usize = 3;

/// A map that is worth it: the axis that its operands lie along, and which those are.
pub struct Turn {
    axis: usize,
    loads: Vec<Reg>,
}

impl Turn {
    /// None for maps that read as they write, or where an axis is short.
    pub fn of(l: &Loop) -> Option<Turn> {
        let last = l.outer.len().checked_sub(1)?;
        let turned = |axis: usize| -> Vec<Reg> {
            let near = |at: &Affine| at.strides[axis] == 1 && at.strides[last].abs() > 1;
            let load = |r: &Reg| matches!(&l.instrs[*r].kind, InstrKind::Load { at, guard: None, .. } if near(at));
            (0..l.instrs.len()).filter(load).collect()
        };
        let (axis, loads) = (0..last).map(|axis| (axis, turned(axis))).max_by_key(|(_, loads)| loads.len())?;
        let along = |s: &Store| s.at.strides[last] == 1;
        let even = |s: &Store| s.at.offset % 2 == 0 && s.at.strides[..last].iter().all(|s| s % 2 == 0);
        let whole = |s: &Store| !stores_half(l, s) || (even(s) && l.outer[last].is_multiple_of(2));
        let long = l.outer[axis] >= SIDE / 2 && l.outer[last] >= SIDE / 2;
        let fits = (1..=MOST).contains(&loads.len()) && l.stores.iter().all(|s| along(s) && whole(s));
        (long && fits).then_some(Turn { axis, loads })
    }
}

/// The kernel.
pub fn turn(l: &Loop, turn: &Turn) -> Result<KernelSource> {
    let (last, axis) = (l.outer.len() - 1, turn.axis);
    let (wide, high) = (l.outer[last].div_ceil(SIDE), l.outer[axis].div_ceil(SIDE));
    let others: Vec<usize> = (0..last).filter(|&d| d != axis).collect();
    let sizes: Vec<usize> = others.iter().map(|&d| l.outer[d]).collect();
    let squares = wide * high * sizes.iter().product::<usize>();
    let dispatch = spread(squares)?;
    let mut w = Writer::default();
    w.touch_loop(l, |_| false)?;
    let width = w.count(dispatch[0]);
    let total = w.count(count(squares)?);
    let (wide, high) = (w.count(count(wide)?), w.count(count(high)?));
    let (columns, rows) = (w.count(count(l.outer[last])?), w.count(count(l.outer[axis])?));
    let mut text = format!(
        "@compute @workgroup_size({GROUP})\n\
         fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {{\n    \
         let square = group.y * {width} + group.x;\n    if (square >= {total}) {{\n        return;\n    }}\n    \
         let column = (square % {wide}) * {SIDE}u;\n    let row = (square / {wide} % {high}) * {SIDE}u;\n    \
         let other = square / {wide} / {high};\n"
    );
    text += &w.indices("other", "o", &sizes, "    ")?;
    for (n, d) in others.iter().enumerate() {
        let _ = writeln!(text, "    let i{d} = o{n};");
    }
    let mut scratch = String::new();
    let mut reads = String::new();
    for &r in &turn.loads {
        let InstrKind::Load { slot, at, .. } = &l.instrs[r].kind else { continue };
        let place = w.linear(at.offset, &at.strides, "i");
        let mut value = w.load(*slot, l.instrs[r].dtype, &place)?;
        let mut of = ops::register_type(l.instrs[r].dtype)?;
        // NVIDIA's Vulkan driver loses truths in a workgroup's memory.
        if l.instrs[r].dtype == DType::Bool {
            (value, of) = (format!("select(0u, 1u, {value})"), "u32");
        }
        let _ = writeln!(scratch, "var<workgroup> square{r}: array<{of}, {}>;", SIDE * (SIDE + 1));
        let _ = writeln!(reads, "            square{r}[(y + k) * {}u + x] = {value};", SIDE + 1);
    }
    let step = GROUP / SIDE;
    let _ = write!(
        text,
        "    let x = id % {SIDE}u;\n    let y = id / {SIDE}u;\n    for (var k = 0u; k < {SIDE}u; k += {step}u) {{\n        \
         let i{axis} = i32(row + x);\n        let i{last} = i32(column + y + k);\n        \
         if (u32(i{axis}) < {rows} && u32(i{last}) < {columns}) {{\n{reads}        }}\n    }}\n    workgroupBarrier();\n"
    );
    let halves: Vec<&Store> = l.stores.iter().filter(|s| stores_half(l, s)).collect();
    // Where halves are stored, an invocation takes the two of a word.
    let each = if halves.is_empty() { 1 } else { 2 };
    let (across, pad) = (SIDE / each, "            ");
    let (mut body, mut lines) = Body::new(&mut w, l, pad);
    for r in 0..l.instrs.len() {
        lines += &match turn.loads.contains(&r) {
            true => {
                let truth = if l.instrs[r].dtype == DType::Bool { " != 0u" } else { "" };
                format!("{pad}let r{r} = square{r}[({each}u * p + part) * {}u + q + k]{truth};\n", SIDE + 1)
            }
            false => body.instr(r, pad)?,
        };
    }
    let (mut before, mut after) = (String::new(), String::new());
    for s in l.stores.iter() {
        if !stores_half(l, s) {
            lines += &body.store(s, pad)?;
            continue;
        }
        let (dtype, value, place) = (l.instrs[s.value].dtype, s.value, body.place(&s.at).to_owned());
        let n = s.slot;
        let _ = write!(before, "        var h{n} = 0u;\n        var w{n} = 0i;\n");
        let _ =
            write!(lines, "{pad}h{n} |= {dtype}_from_f32(r{value}) << (part * 16u);\n{pad}w{n} = ({place}) >> 1u;\n");
        let _ = writeln!(after, "            {}[w{n}] = h{n};", body.w.buffer(s.slot));
    }
    let store = match after.is_empty() {
        true => String::new(),
        false => {
            format!("        if (u32(i{axis}) < {rows} && column + {each}u * p < {columns}) {{\n{after}        }}\n")
        }
    };
    let step = GROUP / across;
    let _ = write!(
        text,
        "    let p = id % {across}u;\n    let q = id / {across}u;\n    for (var k = 0u; k < {SIDE}u; k += {step}u) {{\n        \
         let i{axis} = i32(row + q + k);\n{before}        for (var part = 0u; part < {each}u; part++) {{\n            \
         let i{last} = i32(column + {each}u * p + part);\n            \
         if (u32(i{axis}) >= {rows} || u32(i{last}) >= {columns}) {{\n                break;\n            }}\n\
         {lines}        }}\n{store}    }}\n}}\n"
    );
    Ok(w.finish("turn", &scratch, &text, dispatch))
}
