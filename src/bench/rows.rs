//! How near to memory's speed are folds along rows and columns?

use super::Suite;
use super::case::{Case, Operand, op, work};
use crate::dtype::DType;
use crate::tensor::{CrossEntropy, Reduction, Tensor};

pub fn cases(quick: bool) -> Vec<Case> {
    let n = if quick { 1024 } else { 8192 };
    let mut cases = of(DType::F32, n);
    cases.extend(of(DType::F16, n).into_iter().take(if quick { 1 } else { usize::MAX }));
    cases
}

fn of(dtype: DType, n: usize) -> Vec<Case> {
    let matrix = n * n * dtype.bytes();
    let x = |axis| Operand::numbers(dtype, &[n, n]).cut(axis);
    let row = |name: &str, bytes: usize, operands, f: fn(&[Tensor]) -> Tensor| {
        let prepare = op(operands, 0, dtype, move |t| Ok(vec![f(t)]));
        Case::new(Suite::Rows, format!("{name} {n}"), dtype, work(0.0, bytes), prepare)
    };
    let vector = || Operand::numbers(dtype, &[n]);
    vec![
        row("softmax", 2 * matrix, vec![x(0)], |t| t[0].softmax(1)),
        row("log softmax", 2 * matrix, vec![x(0)], |t| t[0].log_softmax(1)),
        row("layer norm", 2 * matrix, vec![x(0)], |t| t[0].layer_norm(1, 1e-5)),
        row("layer norm, affine", 2 * matrix, vec![x(0), vector(), vector()], |t| {
            t[0].layer_norm(1, 1e-5) * &t[1] + &t[2]
        }),
        row("row sum", matrix, vec![x(0)], |t| t[0].sum(1)),
        row("row max", matrix, vec![x(0)], |t| t[0].max(1)),
        row("column sum", matrix, vec![x(1)], |t| t[0].sum(0)),
        row("cross-entropy of each row", matrix, vec![x(0), Operand::indices(n, &[n]).cut(0)], |t| {
            t[0].cross_entropy_with(&t[1], CrossEntropy { reduction: Reduction::None, ..CrossEntropy::default() })
        }),
    ]
}
