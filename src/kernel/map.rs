//! A loop that folds nothing: one invocation for each point.

use super::domain::merge_axes;
use super::write::{Body, Writer};
use super::{KernelSource, Result, count, spread};
use crate::plan::Loop;

/// Invocations in a workgroup.
const GROUP: usize = 256;

/// The kernel of a loop without folds.
pub fn map(l: &Loop) -> Result<KernelSource> {
    let l = merge_axes(l);
    let points = l.outer_len();
    let dispatch = spread(points.div_ceil(GROUP))?;
    let mut w = Writer::default();
    w.touch_loop(&l)?;
    let width = w.count(dispatch[0]);
    let total = w.count(count(points)?);
    let indices = w.indices("i", "i", &l.outer, "    ")?;
    let (mut body, mut text) = Body::new(&mut w, &l, "    ");
    for r in 0..l.instrs.len() {
        text += &body.instr(r, "    ")?;
    }
    for s in &l.stores {
        text += &body.store(s, "    ")?;
    }
    let text = format!(
        "@compute @workgroup_size({GROUP})\n\
         fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {{\n    \
         let i = (group.y * {width} + group.x) * {GROUP}u + id;\n    \
         if (i >= {total}) {{\n        return;\n    }}\n{indices}{text}}}\n"
    );
    Ok(w.finish("map", "", &text, dispatch))
}
