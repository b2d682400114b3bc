//! How fast are matrix products, of every layout and shape that training meets?

use super::Suite;
use super::case::{Case, Operand, op, work};
use crate::dtype::DType;
use crate::error::Result;
use crate::tensor::Tensor;

pub fn cases(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes: &[usize] = if quick { &[128] } else { &[256, 512, 1024, 2048, 4096, 8192] };
    for dtype in [DType::F32, DType::F16] {
        let layouts: &[&str] = if quick && dtype == DType::F16 { &["nn"] } else { &["nn", "nt", "tn"] };
        for layout in layouts {
            cases.extend(sizes.iter().map(|&n| square(dtype, layout, n)));
        }
        let (batch, n) = if quick { (4, 128) } else { (64, 512) };
        cases.push(batched(dtype, batch, n));
        let n = if quick { 512 } else { 8192 };
        cases.extend([narrow(dtype, n, 1), narrow(dtype, n, 16)]);
    }
    cases
}

fn case(name: String, dtype: DType, [batch, m, k, n]: [usize; 4], operands: Vec<Operand>, f: Product) -> Case {
    let flops = 2.0 * batch as f64 * m as f64 * k as f64 * n as f64;
    let bytes = batch * (m * k + k * n + m * n) * dtype.bytes();
    Case::new(Suite::Matmul, name, dtype, work(flops, bytes), op(operands, 0, dtype, f))
}

type Product = fn(&[Tensor]) -> Result<Vec<Tensor>>;

/// `n`: as it lies, `t`: transposed in memory; the left operand first, as BLAS has it.
fn square(dtype: DType, layout: &str, n: usize) -> Case {
    let (left, f): (usize, Product) = match layout {
        "nt" => (0, |t| Ok(vec![t[0].matmul(&t[1].t())])),
        "tn" => (1, |t| Ok(vec![t[0].t().matmul(&t[1])])),
        _ => (0, |t| Ok(vec![t[0].matmul(&t[1])])),
    };
    let operands = vec![Operand::numbers(dtype, &[n, n]).cut(left), Operand::numbers(dtype, &[n, n])];
    case(format!("{layout} {n}"), dtype, [1, n, n, n], operands, f)
}

fn batched(dtype: DType, batch: usize, n: usize) -> Case {
    let x = || Operand::numbers(dtype, &[batch, n, n]).cut(0);
    case(format!("batch {batch} of {n}"), dtype, [batch, n, n, n], vec![x(), x()], |t| Ok(vec![t[0].matmul(&t[1])]))
}

/// A matrix by a few columns; by one it is a matrix-vector product.
fn narrow(dtype: DType, n: usize, columns: usize) -> Case {
    let operands = vec![Operand::numbers(dtype, &[n, n]).cut(0), Operand::numbers(dtype, &[n, columns])];
    let name = format!("{n} by {columns} column{}", if columns == 1 { "" } else { "s" });
    case(name, dtype, [1, n, n, columns], operands, |t| Ok(vec![t[0].matmul(&t[1])]))
}
