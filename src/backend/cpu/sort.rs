//! Rows put in order: each by a sort of keys and positions, which is stable because no two are equal; rows on all threads.

use super::broken;
use super::copy::{elements, elements_mut};
use super::half::Half;
use super::maps::with_type;
use super::num::{Num, Truth};
use super::scatter::packed;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::parallel::*;
use crate::plan::Sort;
use ::half::{bf16, f16};

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

fn sort<T: Ordered>(s: &Sort, x: &[T], values: &mut [T], indices: &mut [i32]) {
    let post: usize = s.shape[s.axis + 1..].iter().product();
    let lane = s.shape[s.axis] * post;
    if values.is_empty() {
        return;
    }
    let key = |x: &T| if s.descending { !x.key() } else { x.key() };
    let lanes = values.par_chunks_mut(lane).zip(indices.par_chunks_mut(lane)).zip(x.par_chunks(lane));
    lanes.for_each(|((values, indices), x)| {
        for column in 0..post {
            let row = || x[column..].iter().step_by(post);
            let mut order: Vec<(u64, i32)> = row().map(key).zip(0..).collect();
            put_in_order(&mut order);
            let places = values[column..].iter_mut().step_by(post).zip(indices[column..].iter_mut().step_by(post));
            for ((value, index), (_, place)) in places.zip(order) {
                (*value, *index) = (x[column + place as usize * post], place);
            }
        }
    });
}

/// Apart, and of one type, because a sort is much code: with one for each dtype it was a twentieth of a page's module.
fn put_in_order(order: &mut [(u64, i32)]) {
    if order.len() >= LONG { order.par_sort_unstable() } else { order.sort_unstable() }
}

/// Elements whose order is that of whole numbers.
trait Ordered: Num {
    /// Greater where the element is; NaN is greater than all others, and as great as itself.
    fn key(self) -> u64;
}

const SIGN: u64 = 1 << 63;

macro_rules! ordered {
    ($($t:ty: $x:ident => $key:expr;)*) => {
        $(impl Ordered for $t {
            fn key(self) -> u64 {
                let $x = self;
                $key
            }
        })*
    };
}

ordered! {
    Truth: x => x.0 as u64;
    u8: x => x as u64;
    u32: x => x as u64;
    i32: x => (x as i64).key();
    i64: x => x as u64 ^ SIGN;
    f16: x => x.value().key();
    bf16: x => x.value().key();
    f32: x => (x as f64).key();
    f64: x => {
        // Both zeros are equal, and this makes one of them.
        let bits = (x + 0.0).to_bits();
        match bits & SIGN {
            _ if x.is_nan() => u64::MAX,
            0 => bits | SIGN,
            _ => !bits,
        }
    };
}
