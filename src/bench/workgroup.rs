//! How fast is the memory that a workgroup shares? The one row that needs a kernel of its own.

use super::Suite;
use super::case::{After, Case, Operand, Prepared, tolerance, work};
use crate::device::Device;
use crate::dtype::DType;
use crate::graph::Meta;
use crate::graph::custom::{CustomOp, CustomShader};
use crate::tensor::{Tensor, custom};
use std::sync::Arc;

/// Invocations of a workgroup, and vectors of four in its memory.
const WIDTH: usize = 256;

/// Each invocation sums all vectors of its workgroup, `turns` times, beginning with its own.
#[derive(Debug)]
struct Turns(usize);

impl CustomOp for Turns {
    fn name(&self) -> &'static str {
        "workgroup_memory"
    }

    fn outputs(&self, inputs: &[Meta]) -> Result<Vec<Meta>, String> {
        Ok(inputs.to_vec())
    }

    fn wgsl(&self, inputs: &[Meta], _outputs: &[Meta]) -> Option<CustomShader> {
        let groups = inputs.first()?.shape.numel() / WIDTH;
        let source = format!(
            "@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
var<workgroup> cells: array<vec4<f32>, {WIDTH}>;
@compute @workgroup_size({WIDTH})
fn main(@builtin(global_invocation_id) at: vec3<u32>, @builtin(local_invocation_index) own: u32) {{
    cells[own] = vec4<f32>(x[at.x]);
    workgroupBarrier();
    var sum = vec4<f32>();
    for (var i = 0u; i < {}u; i++) {{
        sum += cells[(own + i) % {WIDTH}u];
    }}
    y[at.x] = dot(sum, vec4<f32>(0.25));
}}
",
            self.0 * WIDTH
        );
        Some(CustomShader { source, entry: "main".into(), workgroups: [groups.try_into().ok()?, 1, 1] })
    }

    fn cpu(&self, _inputs: &[&[u8]], _outputs: &mut [Vec<u8>]) -> Option<()> {
        None
    }
}

pub fn case(name: &str, quick: bool) -> Case {
    let (groups, turns) = if quick { (64, 1) } else { (8192, 4) };
    let shape = [groups, WIDTH];
    let prepare = move |device: &Device| {
        let host = Operand::numbers(DType::F32, &shape).make(0)?;
        let (x, op): (Tensor, Arc<dyn CustomOp>) = (host.to_device(device)?, Arc::new(Turns(turns)));
        let run = move || custom(&op, &[&x]).into_iter().next();
        let sums = host.cast(DType::F64).sum_keepdim(1) * turns as f64;
        let pairs = run().map(|y| (y, sums.expand(shape))).into_iter().collect();
        let call = move || run().map_or(Ok(()), |y| y.realize());
        Ok(Prepared { call: Box::new(call), after: After::Nothing, pairs, tolerance: tolerance(DType::F32) })
    };
    let bytes = groups * WIDTH * turns * WIDTH * 16;
    Case::new(Suite::Peak, name, DType::F32, work(0.0, bytes), Box::new(prepare))
}
