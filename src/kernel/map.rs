//! A loop that folds nothing: one invocation for each point, or for two where halves are stored two to a word.

use super::domain::merge_axes;
use super::write::{Body, Halves, Writer, half_bits};
use super::{KernelSource, Result, count, spread};
use crate::dtype::DType;
use crate::plan::{Loop, Store};
use crate::shape::Shape;
use std::fmt::Write as _;

/// Invocations in a workgroup.
const GROUP: usize = 256;

/// The kernel of a loop without folds.
pub fn map(l: &Loop) -> Result<KernelSource> {
    let l = merge_axes(l);
    let halves: Vec<&Store> = l.stores.iter().filter(|s| dtype_of(&l, s).is_half()).collect();
    let paired = !halves.is_empty() && halves.iter().all(|s| is_paired(&l, s));
    if paired { pairs(&l, &halves) } else { points(&l) }
}

fn dtype_of(l: &Loop, s: &Store) -> DType {
    l.instrs[s.value].dtype
}

/// True when points 2i and 2i + 1 are the two halves of a word.
fn is_paired(l: &Loop, s: &Store) -> bool {
    s.at.offset % 2 == 0 && s.at.strides == Shape::from(&l.outer[..]).strides()
}

fn points(l: &Loop) -> Result<KernelSource> {
    let points = l.outer_len();
    let dispatch = spread(points.div_ceil(GROUP))?;
    let mut w = Writer::default();
    w.touch_loop(l, Halves::Alone)?;
    let width = w.count(dispatch[0]);
    let total = w.count(count(points)?);
    let indices = w.indices("i", "i", &l.outer, "    ")?;
    let (mut body, mut text) = Body::new(&mut w, l, "    ");
    for r in 0..l.instrs.len() {
        text += &body.instr(r, "    ")?;
    }
    for s in &l.stores {
        text += &body.store(s, "    ")?;
    }
    let text = format!(
        "{}    let i = (group.y * {width} + group.x) * {GROUP}u + id;\n    \
         if (i >= {total}) {{\n        return;\n    }}\n{indices}{text}}}\n",
        head()
    );
    Ok(w.finish("map", "", &text, dispatch))
}

/// An invocation takes the two points whose halves are a word, so that nobody else writes it.
fn pairs(l: &Loop, halves: &[&Store]) -> Result<KernelSource> {
    let points = l.outer_len();
    let dispatch = spread(points.div_ceil(2 * GROUP))?;
    let mut w = Writer::default();
    w.touch_loop(l, Halves::Pairs)?;
    let width = w.count(dispatch[0]);
    let total = w.count(count(points)?);
    let pad = "        ";
    let indices = w.indices("i", "i", &l.outer, pad)?;
    let (mut body, mut each) = Body::new(&mut w, l, pad);
    for r in 0..l.instrs.len() {
        each += &body.instr(r, pad)?;
    }
    for s in l.stores.iter().filter(|s| !dtype_of(l, s).is_half()) {
        each += &body.store(s, pad)?;
    }
    let (mut words, mut stores) = (String::new(), String::new());
    for (k, s) in halves.iter().enumerate() {
        let bits = half_bits(dtype_of(l, s), &format!("r{}", s.value));
        let _ = writeln!(words, "    var h{k} = 0u;");
        let _ = writeln!(each, "{pad}h{k} |= {bits} << (k * 16u);");
        let start = if s.at.offset == 0 { String::new() } else { format!(" + {}", w.int(s.at.offset / 2)) };
        let _ = writeln!(stores, "    {}[i32(first >> 1u){start}] = h{k};", w.buffer(s.slot));
    }
    let text = format!(
        "{}    let first = ((group.y * {width} + group.x) * {GROUP}u + id) * 2u;\n    \
         if (first >= {total}) {{\n        return;\n    }}\n{words}    for (var k = 0u; k < 2u; k++) {{\n        \
         let i = first + k;\n        if (i >= {total}) {{\n            break;\n        }}\n{indices}{each}    }}\n{stores}}}\n",
        head()
    );
    Ok(w.finish("map", "", &text, dispatch))
}

fn head() -> String {
    format!(
        "@compute @workgroup_size({GROUP})\n\
         fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {{\n"
    )
}
