//! Chains of cheap `f32` maps, each the next one's only operand but one: evaluated tile by tile in vector registers,
//! so that values between the links never go to memory. An optimisation only: link by link gives the same.

#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports))]

use super::program::{BLOCK, Code, Entry};
use crate::dtype::DType;
use crate::graph::{BinaryOp, UnaryOp};
use crate::plan::Reg;

/// Elements per tile: eight vectors, half of the registers.
pub const TILE: usize = 64;

/// One map of a chain, its other operand at hand.
#[derive(Clone, Copy)]
pub enum Link<'a> {
    Unary(UnaryOp),
    /// With one number; `swapped` when the chain's value is the second operand.
    Splat {
        op: BinaryOp,
        swapped: bool,
        other: f32,
    },
    /// With a block as long as the chain's.
    Block {
        op: BinaryOp,
        swapped: bool,
        other: &'a [f32],
    },
}

/// True when `e` may be the next link of a chain whose value so far is `from`.
pub fn continues(e: &Entry, from: Reg) -> bool {
    match e.code {
        Code::Unary { src, .. } => can_link(e) && src == from,
        Code::Binary { lhs, rhs, .. } => can_link(e) && (lhs == from) != (rhs == from),
        _ => false,
    }
}

/// True for maps that may be part of a chain.
pub fn can_link(e: &Entry) -> bool {
    match e.code {
        Code::Unary { op, of: DType::F32, .. } => {
            matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu | UnaryOp::Sqrt | UnaryOp::Recip)
        }
        Code::Binary { op, of: DType::F32, .. } => {
            use BinaryOp::*;
            matches!(op, Add | Sub | Mul | Div | Max | Min)
        }
        _ => false,
    }
}

/// Applies the links to every element of `src`, which has from [`TILE`] to [`BLOCK`] of them. With `stream`, results
/// are written past the caches where they lie aligned (see [`simd::stream`](super::simd::stream)).
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub fn run(links: &[Link], src: &[f32], dst: &mut [f32], stream: bool) {
    debug_assert!((TILE..=BLOCK).contains(&src.len()));
    let stream = stream && dst.as_ptr().align_offset(32) == 0;
    let last = src.len() - TILE;
    let mut at = 0;
    loop {
        if let (Some(x), Some(y)) = (src[at..].first_chunk(), dst[at..].first_chunk_mut()) {
            tile(links, at, x, y, stream && at.is_multiple_of(8));
        }
        if at == last {
            return;
        }
        // The last tile overlaps the one before where the length is no multiple.
        at = (at + TILE).min(last);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn tile(links: &[Link], at: usize, src: &[f32; TILE], dst: &mut [f32; TILE], stream: bool) {
    use std::arch::x86_64::*;
    type Tile = [__m256; TILE / 8];

    // NaN wins: the instruction gives its second operand when either is NaN, so only a NaN in `o` needs care.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn max(x: __m256, o: __m256) -> __m256 {
        _mm256_blendv_ps(_mm256_max_ps(o, x), o, _mm256_cmp_ps::<_CMP_UNORD_Q>(o, o))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn min(x: __m256, o: __m256) -> __m256 {
        _mm256_blendv_ps(_mm256_min_ps(o, x), o, _mm256_cmp_ps::<_CMP_UNORD_Q>(o, o))
    }

    let mut t: Tile = bytemuck::cast(*src);
    macro_rules! each {
        (|$x:ident| $value:expr) => {
            for $x in &mut t {
                *$x = $value;
            }
        };
        (|$x:ident, $o:ident| $value:expr; $other:ident) => {
            for ($x, $o) in t.iter_mut().zip($other) {
                *$x = $value;
            }
        };
    }
    macro_rules! binary {
        ($op:ident, $swapped:ident, $other:ident) => {
            match ($op, $swapped) {
                (BinaryOp::Add, _) => each!(|x, o| _mm256_add_ps(*x, o); $other),
                (BinaryOp::Sub, false) => each!(|x, o| _mm256_sub_ps(*x, o); $other),
                (BinaryOp::Sub, true) => each!(|x, o| _mm256_sub_ps(o, *x); $other),
                (BinaryOp::Mul, _) => each!(|x, o| _mm256_mul_ps(*x, o); $other),
                (BinaryOp::Div, false) => each!(|x, o| _mm256_div_ps(*x, o); $other),
                (BinaryOp::Div, true) => each!(|x, o| _mm256_div_ps(o, *x); $other),
                (BinaryOp::Max, _) => each!(|x, o| max(*x, o); $other),
                _ => each!(|x, o| min(*x, o); $other),
            }
        };
    }
    for link in links {
        match *link {
            Link::Unary(UnaryOp::Neg) => each!(|x| _mm256_xor_ps(*x, _mm256_set1_ps(-0.0))),
            Link::Unary(UnaryOp::Abs) => each!(|x| _mm256_andnot_ps(_mm256_set1_ps(-0.0), *x)),
            Link::Unary(UnaryOp::Relu) => each!(|x| _mm256_max_ps(_mm256_setzero_ps(), *x)),
            Link::Unary(UnaryOp::Sqrt) => each!(|x| _mm256_sqrt_ps(*x)),
            Link::Unary(_) => each!(|x| _mm256_div_ps(_mm256_set1_ps(1.0), *x)),
            Link::Splat { op, swapped, other } => {
                let other = [_mm256_set1_ps(other); TILE / 8];
                binary!(op, swapped, other)
            }
            Link::Block { op, swapped, other } => {
                if let Some(other) = other[at..].first_chunk::<TILE>() {
                    let other: Tile = bytemuck::cast(*other);
                    binary!(op, swapped, other)
                }
            }
        }
    }
    if stream {
        for (d, x) in dst.as_chunks_mut::<8>().0.iter_mut().zip(t) {
            // SAFETY: the eight floats belong to us, and our caller saw that they are aligned to 32 bytes.
            unsafe { _mm256_stream_ps(d.as_mut_ptr(), x) };
        }
    } else {
        *dst = bytemuck::cast(t);
    }
}
