//! A loop that folds nothing: one invocation for each point, or for two where halves are stored two to a word.

use super::domain::merge_axes;
use super::pairs::{Pairs, is_paired, stores_half};
use super::turn::{Turn, turn};
use super::vector::{self, Element, Vectors};
use super::write::{Body, Writer};
use super::{KernelSource, Result, count, spread};
use crate::plan::{Loop, Reg, Store};

/// Invocations in a workgroup.
const GROUP: usize = 256;

/// The kernel of a loop without folds. A CPU that emulates a GPU (`emulated`) reads across rows well, but waits long at
/// barriers.
pub fn map(l: &Loop, emulated: bool) -> Result<KernelSource> {
    let l = merge_axes(l);
    if let Some(turned) = Turn::of(&l).filter(|_| !emulated) {
        return turn(&l, &turned);
    }
    if let Some(v) = l.outer.len().checked_sub(1).and_then(|last| Vectors::cut(&l, last)) {
        return vectors(&v);
    }
    let halves: Vec<&Store> = l.stores.iter().filter(|s| stores_half(&l, s)).collect();
    let paired = !halves.is_empty() && halves.iter().all(|s| is_paired(&l, s, 0));
    if paired { pairs(&l, &halves) } else { points(&l) }
}

fn points(l: &Loop) -> Result<KernelSource> {
    let points = l.outer_len();
    let dispatch = spread(points.div_ceil(GROUP))?;
    let mut w = Writer::default();
    w.touch_loop(l, |s| stores_half(l, s))?;
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

/// An invocation takes a vector of neighbouring points.
fn vectors(v: &Vectors) -> Result<KernelSource> {
    let l = &v.l;
    let points = l.outer_len();
    let dispatch = spread(points.div_ceil(GROUP))?;
    let mut w = Writer::default();
    w.touch_loop(l, |_| false)?;
    v.declare(&mut w);
    let width = w.count(dispatch[0]);
    let total = w.count(count(points)?);
    let indices = w.indices("i", "i", &l.outer, "    ")?;
    let (mut body, mut text) = Body::new(&mut w, l, "    ");
    for r in (0..l.instrs.len()).filter(|&r| !v.varies(r)) {
        text += &body.instr(r, "    ")?;
    }
    let (whole, single) = v.stores(|_| true);
    let targets: Vec<Reg> = whole.iter().map(|s| s.value).collect();
    let element = Element::new(&mut body, v, "point", &targets, &single, &vector::scope(v)?)?;
    for &r in &element.own {
        text += &v.load(&body, r, "", "    ");
    }
    let own = |r: Reg, k: usize| v.component(body.w, r, k);
    for k in 0..v.width {
        text += &element.call(k, own, "    ")?;
    }
    for s in whole {
        text += &v.store(&body, s, |k| element.value(s.value, k, own), "    ")?;
    }
    let text = format!(
        "{}{}    let i = (group.y * {width} + group.x) * {GROUP}u + id;\n    \
         if (i >= {total}) {{\n        return;\n    }}\n{indices}{text}}}\n",
        element.text,
        head()
    );
    Ok(w.finish("map", "", &text, dispatch))
}

/// An invocation takes the two points whose halves are a word.
fn pairs(l: &Loop, halves: &[&Store]) -> Result<KernelSource> {
    let points = l.outer_len();
    let dispatch = spread(points.div_ceil(2 * GROUP))?;
    let mut w = Writer::default();
    w.touch_loop(l, |_| false)?;
    let width = w.count(dispatch[0]);
    let total = w.count(count(points)?);
    let pad = "        ";
    let indices = w.indices("i", "i", &l.outer, pad)?;
    let Pairs { before, each, after } = Pairs::new(&mut w, l, halves, 0, "first", "    ");
    let (mut body, mut text) = Body::new(&mut w, l, pad);
    for r in 0..l.instrs.len() {
        text += &body.instr(r, pad)?;
    }
    for s in l.stores.iter().filter(|s| !stores_half(l, s)) {
        text += &body.store(s, pad)?;
    }
    let text = format!(
        "{}    let first = ((group.y * {width} + group.x) * {GROUP}u + id) * 2u;\n    \
         if (first >= {total}) {{\n        return;\n    }}\n{before}    for (var k = 0u; k < 2u; k++) {{\n        \
         let i = first + k;\n        if (i >= {total}) {{\n            break;\n        }}\n\
         {indices}{text}{each}    }}\n{after}}}\n",
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
