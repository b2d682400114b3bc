//! Rows put in order: each by a stable sort of its elements and their positions, rows on all threads.

use super::broken;
use super::copy::{elements, elements_mut};
use super::maps::with_type;
use super::num::Num;
use super::scatter::packed;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::parallel::*;
use crate::plan::Sort;
use std::cmp::Ordering;

/// Elements from which on a single row is worth several threads.
const LONG: usize = 1 << 14;

/// Sorts `src` into `values`, and writes where they were to `indices`.
pub fn run(s: &Sort, src: &[u8], values: &mut [u8], indices: &mut [u8]) -> Result<()> {
    if s.axis >= s.shape.len() || s.src.layout.strides.len() != s.shape.len() {
        return Err(broken("a sort whose operand does not fit"));
    }
    let numel: usize = s.shape.iter().product();
    let indices = elements_mut::<i32>(indices).get_mut(..numel).ok_or_else(outside)?;
    with_type!(s.dtype, T => {
        let x = packed(elements::<T>(src), &s.src.layout, &s.shape)?;
        let values = elements_mut::<T>(values).get_mut(..numel).ok_or_else(outside)?;
        sort(s, &x, values, indices);
        Ok(())
    })
}

fn outside() -> Error {
    broken("a sort reaches outside of a slot")
}

fn sort<T: Num>(s: &Sort, x: &[T], values: &mut [T], indices: &mut [i32]) {
    let post: usize = s.shape[s.axis + 1..].iter().product();
    let lane = s.shape[s.axis] * post;
    if values.is_empty() {
        return;
    }
    let order = |a: &(T, i32), b: &(T, i32)| if s.descending { compare(b.0, a.0) } else { compare(a.0, b.0) };
    let lanes = values.par_chunks_mut(lane).zip(indices.par_chunks_mut(lane)).zip(x.par_chunks(lane));
    lanes.for_each(|((values, indices), x)| {
        for column in 0..post {
            let mut row: Vec<(T, i32)> = x[column..].iter().step_by(post).copied().zip(0..).collect();
            if row.len() >= LONG {
                row.par_sort_by(order)
            } else {
                row.sort_by(order)
            }
            let places = values[column..].iter_mut().step_by(post).zip(indices[column..].iter_mut().step_by(post));
            places.zip(row).for_each(|((value, index), sorted)| (*value, *index) = sorted);
        }
    });
}

/// NaN is greater than all others, and as great as itself.
fn compare<T: Num>(a: T, b: T) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}
