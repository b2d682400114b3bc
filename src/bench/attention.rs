//! How fast is attention, alone and with its gradients?

use super::Suite;
use super::case::{Case, Operand, gradients, op, work};
use crate::dtype::DType;
use crate::tensor::{AttentionOptions, Tensor};

pub fn cases(quick: bool) -> Vec<Case> {
    let shapes: &[[usize; 3]] =
        if quick { &[[4, 128, 64]] } else { &[[16, 1024, 64], [16, 4096, 64], [16, 4096, 128]] };
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for &shape in shapes {
            cases.extend(pair(dtype, shape, false));
            if !quick || dtype == DType::F32 {
                cases.extend(pair(dtype, shape, true));
            }
        }
    }
    cases
}

/// Forward, and forward with all gradients: 3.5 times the products (Dao, 2023).
fn pair(dtype: DType, [heads, places, width]: [usize; 3], causal: bool) -> [Case; 2] {
    let attend =
        move |t: &[Tensor]| t[0].scaled_dot_product_attention(&t[1], &t[2], AttentionOptions::new().causal(causal));
    let operands = |count| (0..count).map(|_| Operand::numbers(dtype, &[1, heads, places, width]).cut(1)).collect();
    let flops = (4 * heads * places * places * width) as f64 / if causal { 2.0 } else { 1.0 };
    let bytes = heads * places * width * dtype.bytes();
    let name = format!("{heads}×{places}×{width} {}", if causal { "causal" } else { "full" });
    let forward = op(operands(3), 1, dtype, move |t| Ok(vec![attend(t)]));
    let step = gradients(operands(4), 1, dtype, &[0, 1, 2], attend);
    [
        Case::new(Suite::Attention, format!("{name} forward"), dtype, work(flops, 4 * bytes), forward),
        Case::new(Suite::Attention, format!("{name} step"), dtype, work(3.5 * flops, 8 * bytes), step),
    ]
}
