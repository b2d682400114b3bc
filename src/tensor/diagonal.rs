//! What lies on, above and below the diagonals of matrices?

use super::Tensor;
use super::axes::resolve;
use crate::error::Caller;
use crate::graph::BinaryOp;
use crate::shape::Dims;

impl Tensor {
    /// The elements on and below diagonal `k` of each matrix `[.., r, c]`, zeros above; `k` counts to the upper right.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::ones([2, 3], DType::I32, &Device::cpu());
    /// assert_eq!(x.tril(0).to_vec::<i32>()?, [1, 0, 0, 1, 1, 0]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn tril(&self, k: isize) -> Tensor {
        self.triangle("tril", BinaryOp::Le, k, Caller::here())
    }

    /// The elements on and above diagonal `k` of each matrix `[.., r, c]`, zeros below.
    #[track_caller]
    pub fn triu(&self, k: isize) -> Tensor {
        self.triangle("triu", BinaryOp::Ge, k, Caller::here())
    }

    fn triangle(&self, name: &'static str, keep: BinaryOp, k: isize, at: Caller) -> Tensor {
        Tensor::attempt(name, at, &[self], || {
            let rank = self.rank();
            if rank < 2 {
                return Err(format!("needs matrices [.., r, c], not {}", self.shape()));
            }
            Ok(self.keep_where(&self.on_diagonals(rank, keep, k, at), 0, at))
        })
    }

    /// `column - row` compared with `k`, over the last two axes of `rank`.
    fn on_diagonals(&self, rank: usize, compare: BinaryOp, k: isize, at: Caller) -> Tensor {
        let [rows, columns] = [self.shape()[rank - 2], self.shape()[rank - 1]];
        let row = self.ramp(rows, rank - 2, rank, at);
        let column = self.ramp(columns, rank - 1, rank, at);
        // No diagonal lies farther out than the sizes, which fit i32.
        let limit = rows.max(columns).min(i32::MAX as usize) as isize;
        column.binary(BinaryOp::Sub, row.into(), at).binary(compare, (k.clamp(-limit, limit) as i32).into(), at)
    }

    /// The diagonal `offset` of the matrices over two axes, as a new last axis. A view where the memory allows it.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let x = Tensor::arange(6, &Device::cpu()).reshape([2, 3]);
    /// assert_eq!(x.diagonal(1, 0, 1).to_vec::<i32>()?, [1, 5]);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn diagonal(&self, offset: isize, axis1: isize, axis2: isize) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("diagonal", at, &[self], || {
            let (a, b) = two_axes(axis1, axis2, self.rank())?;
            Ok(self.diagonal_of(a, b, offset, at))
        })
    }

    pub(crate) fn diagonal_of(&self, a: usize, b: usize, offset: isize, at: Caller) -> Tensor {
        if self.error().is_some() {
            return self.clone();
        }
        let (rows, columns) = (self.shape()[a], self.shape()[b]);
        let (row, column) = if offset < 0 { (offset.unsigned_abs(), 0) } else { (0, offset.unsigned_abs()) };
        let len = rows.saturating_sub(row).min(columns.saturating_sub(column));
        let last = self.rank() - 2;
        let order: Dims<usize> = (0..self.rank()).filter(|&i| i != a && i != b).chain([a, b]).collect();
        let flat = self.order_axes(order, at).merge_axis(last, at);
        // One step along the diagonal is one row and one column.
        let start = if len == 0 { 0 } else { row * columns + column };
        flat.slice_axis(last, start, columns as i64 + 1, len, at)
    }

    /// The sum of the diagonal of a matrix.
    #[track_caller]
    pub fn trace(&self) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("trace", at, &[self], || match self.rank() {
            2 => Ok(self.diagonal_of(0, 1, 0, at).reduce(crate::graph::ReduceOp::Sum, 0.into(), false, at)),
            _ => Err(format!("needs a matrix, not {}", self.shape())),
        })
    }

    /// Matrices of zeros with the last axis of `self` on their diagonal `offset`; their rows and columns become axes
    /// `axis1` and `axis2` of the result.
    #[track_caller]
    pub fn diag_embed(&self, offset: isize, axis1: isize, axis2: isize) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("diag_embed", at, &[self], || {
            let rank = self.rank() + 1;
            if rank < 2 {
                return Err("needs at least one axis".into());
            }
            let (a, b) = two_axes(axis1, axis2, rank)?;
            let away = offset.unsigned_abs();
            let size = self.shape()[rank - 2].checked_add(away).filter(|&n| n <= i32::MAX as usize);
            let size = size.ok_or_else(|| format!("diagonal {offset} is too far out"))?;
            let (mut lo, mut hi): (Dims<usize>, Dims<usize>) =
                (Dims::from_elem(0, rank - 1), Dims::from_elem(0, rank - 1));
            // Row by row: element i lies in row i, or i + |offset| below the main diagonal.
            if offset < 0 {
                lo[rank - 2] = away
            } else {
                hi[rank - 2] = away
            }
            let rows =
                self.pad_with(lo, hi, 0i64.into(), at).insert_axis(rank - 1, at).stretch_axis(rank - 1, size, at);
            if rows.error().is_some() {
                return Ok(rows);
            }
            let matrix = rows.keep_where(&rows.on_diagonals(rank, BinaryOp::Eq, offset, at), 0, at);
            let mut others = 0..rank - 2;
            let place = |i: usize| match i {
                _ if i == a => Some(rank - 2),
                _ if i == b => Some(rank - 1),
                _ => others.next(),
            };
            Ok(matrix.order_axes((0..rank).filter_map(place).collect(), at))
        })
    }

    /// The diagonal `k` of a matrix, or a matrix with the given vector on it.
    #[track_caller]
    pub fn diag(&self, k: isize) -> Tensor {
        let at = Caller::here();
        match self.rank() {
            _ if self.error().is_some() => self.clone(),
            1 => self.diag_embed(k, 0, 1),
            2 => self.diagonal_of(0, 1, k, at),
            _ => Tensor::bad("diag", at, format!("needs a vector or a matrix, not {}", self.shape())),
        }
    }
}

fn two_axes(a: isize, b: isize, rank: usize) -> Result<(usize, usize), String> {
    match (resolve(a as i64, rank)?, resolve(b as i64, rank)?) {
        (a, b) if a == b => Err(format!("axis {a} is named twice")),
        both => Ok(both),
    }
}
