//! How near to memory's speed is what touches every element once?

use super::Suite;
use super::case::{Case, Operand, op, work};
use crate::dtype::DType;
use crate::tensor::Tensor;

pub fn cases(quick: bool) -> Vec<Case> {
    let n = if quick { 1024 } else { 8192 };
    let mut cases = of(DType::F32, n);
    cases.extend(of(DType::F16, n).into_iter().take(if quick { 1 } else { usize::MAX }));
    cases
}

fn of(dtype: DType, n: usize) -> Vec<Case> {
    let matrix = n * n * dtype.bytes();
    let x = |axis| Operand::numbers(dtype, &[n, n]).cut(axis);
    let row = |name: &str, bytes: usize, axis: usize, operands, f: fn(&[Tensor]) -> Tensor| {
        let prepare = op(operands, axis, dtype, move |t| Ok(vec![f(t)]));
        Case::new(Suite::Map, format!("{name} {n}"), dtype, work(0.0, bytes), prepare)
    };
    let column = Operand::numbers(dtype, &[n, 1]).cut(0);
    vec![
        row("gelu(2x + 1)", 2 * matrix, 0, vec![x(0)], |t| (&t[0] * 2.0 + 1.0).gelu()),
        row("add a row", 2 * matrix, 0, vec![x(0), Operand::numbers(dtype, &[n])], |t| &t[0] + &t[1]),
        row("add a column", 2 * matrix, 0, vec![x(0), column], |t| &t[0] + &t[1]),
        row("transpose and scale", 2 * matrix, 0, vec![x(1)], |t| t[0].t() * 2.0),
        row(
            "gather rows",
            2 * matrix,
            0,
            vec![Operand::numbers(dtype, &[n, n]), Operand::indices(n, &[n]).cut(0)],
            |t| t[0].index_select(0, &t[1]),
        ),
        row("add rows at indices", 3 * matrix, 1, vec![x(1), Operand::indices(n, &[n]), x(1)], |t| {
            t[0].index_add(0, &t[1], &t[2])
        }),
    ]
}
