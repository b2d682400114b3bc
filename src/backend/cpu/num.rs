//! What each op means on each element type, one element at a time.
//!
//! The scheduler checks which op is defined for which dtype; where one is not, a method here gives some value.

use super::half::Half;
use super::math;
use ::half::{bf16, f16};
use bytemuck::{Pod, Zeroable};

/// A `bool` in memory: 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Pod, Zeroable)]
#[repr(transparent)]
pub struct Truth(pub u8);

impl From<bool> for Truth {
    #[inline(always)]
    fn from(v: bool) -> Truth {
        Truth(v as u8)
    }
}

/// Elements, with the ops that are defined on several kinds of them.
pub trait Num: Pod + PartialOrd + Send + Sync + Default {
    const ZERO: Self;
    const ONE: Self;
    /// Below every other value (or equal to it).
    const LOWEST: Self;
    /// Above every other value (or equal to it).
    const HIGHEST: Self;
    /// What sums and products are accumulated in.
    type Wide: Num;
    fn widen(self) -> Self::Wide;
    fn narrow(wide: Self::Wide) -> Self;
    fn add(self, o: Self) -> Self;
    fn sub(self, o: Self) -> Self;
    fn mul(self, o: Self) -> Self;
    fn div(self, o: Self) -> Self;
    fn rem(self, o: Self) -> Self;
    fn floor_div(self, o: Self) -> Self;
    fn pow(self, o: Self) -> Self;
    fn atan2(self, o: Self) -> Self;
    fn and(self, o: Self) -> Self;
    fn or(self, o: Self) -> Self;
    fn xor(self, o: Self) -> Self;
    fn shl(self, o: Self) -> Self;
    fn shr(self, o: Self) -> Self;
    fn neg(self) -> Self;
    fn abs(self) -> Self;
    fn sign(self) -> Self;
    fn floor(self) -> Self;
    fn ceil(self) -> Self;
    fn round(self) -> Self;
    fn trunc(self) -> Self;
    fn bit_not(self) -> Self;
    fn is_nan(self) -> bool;

    /// The larger; NaN wins.
    #[inline(always)]
    fn max(self, o: Self) -> Self {
        if self > o || self.is_nan() { self } else { o }
    }
    /// The smaller; NaN wins.
    #[inline(always)]
    fn min(self, o: Self) -> Self {
        if self < o || self.is_nan() { self } else { o }
    }
    #[inline(always)]
    fn relu(self) -> Self {
        if self < Self::ZERO { Self::ZERO } else { self }
    }
}

/// What only floats have.
pub trait Float: Num {
    fn sqrt(self) -> Self;
    fn rsqrt(self) -> Self;
    fn recip(self) -> Self;
    fn exp(self) -> Self;
    fn exp2(self) -> Self;
    fn expm1(self) -> Self;
    fn log(self) -> Self;
    fn log2(self) -> Self;
    fn log10(self) -> Self;
    fn log1p(self) -> Self;
    fn sin(self) -> Self;
    fn cos(self) -> Self;
    fn tan(self) -> Self;
    fn asin(self) -> Self;
    fn acos(self) -> Self;
    fn atan(self) -> Self;
    fn sinh(self) -> Self;
    fn cosh(self) -> Self;
    fn tanh(self) -> Self;
    fn erf(self) -> Self;
    fn sigmoid(self) -> Self;
    fn is_inf(self) -> bool;
    fn is_finite(self) -> bool;
}

macro_rules! ints {
    ($($t:ident $signed:literal)*) => {$(
        impl Num for $t {
            const ZERO: $t = 0;
            const ONE: $t = 1;
            const LOWEST: $t = $t::MIN;
            const HIGHEST: $t = $t::MAX;
            type Wide = $t;
            #[inline(always)]
            fn widen(self) -> $t { self }
            #[inline(always)]
            fn narrow(wide: $t) -> $t { wide }
            #[inline(always)]
            fn add(self, o: $t) -> $t { self.wrapping_add(o) }
            #[inline(always)]
            fn sub(self, o: $t) -> $t { self.wrapping_sub(o) }
            #[inline(always)]
            fn mul(self, o: $t) -> $t { self.wrapping_mul(o) }
            #[inline(always)]
            fn div(self, o: $t) -> $t { if o == 0 { 0 } else { self.wrapping_div(o) } }
            #[inline(always)]
            fn rem(self, o: $t) -> $t {
                let r = if o == 0 { 0 } else { self.wrapping_rem(o) };
                // The remainder's sign follows the divisor.
                if r != 0 && ((r ^ o) as i64) < 0 && $signed { r.wrapping_add(o) } else { r }
            }
            #[inline(always)]
            fn floor_div(self, o: $t) -> $t {
                if o == 0 { return 0; }
                let inexact = self.wrapping_rem(o) != 0;
                self.wrapping_div(o).wrapping_sub((inexact && ((self ^ o) as i64) < 0 && $signed) as $t)
            }
            #[inline(always)]
            fn pow(self, _: $t) -> $t { self }
            #[inline(always)]
            fn atan2(self, _: $t) -> $t { self }
            #[inline(always)]
            fn and(self, o: $t) -> $t { self & o }
            #[inline(always)]
            fn or(self, o: $t) -> $t { self | o }
            #[inline(always)]
            fn xor(self, o: $t) -> $t { self ^ o }
            #[inline(always)]
            fn shl(self, o: $t) -> $t {
                if (o as u64) < $t::BITS as u64 { self.wrapping_shl(o as u32) } else { 0 }
            }
            #[inline(always)]
            fn shr(self, o: $t) -> $t {
                let inside = (o as u64) < $t::BITS as u64;
                // An arithmetic shift by all bits but one leaves copies of the sign.
                let by = if inside { o as u32 } else { $t::BITS - 1 };
                if inside || $signed { self.wrapping_shr(by) } else { 0 }
            }
            #[inline(always)]
            fn neg(self) -> $t { self.wrapping_neg() }
            #[inline(always)]
            fn abs(self) -> $t { if $signed && (self as i64) < 0 { self.wrapping_neg() } else { self } }
            #[inline(always)]
            fn sign(self) -> $t {
                let one: $t = 1;
                if self == 0 { 0 } else if $signed && (self as i64) < 0 { one.wrapping_neg() } else { 1 }
            }
            #[inline(always)]
            fn floor(self) -> $t { self }
            #[inline(always)]
            fn ceil(self) -> $t { self }
            #[inline(always)]
            fn round(self) -> $t { self }
            #[inline(always)]
            fn trunc(self) -> $t { self }
            #[inline(always)]
            fn bit_not(self) -> $t { !self }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
        }
    )*};
}
ints! { u8 false u32 false i32 true i64 true }

macro_rules! truths {
    ($($pair:ident)*; $($alone:ident)*) => {
        impl Num for Truth {
            const ZERO: Truth = Truth(0);
            const ONE: Truth = Truth(1);
            const LOWEST: Truth = Truth(0);
            const HIGHEST: Truth = Truth(1);
            type Wide = Truth;
            #[inline(always)]
            fn widen(self) -> Truth { self }
            #[inline(always)]
            fn narrow(wide: Truth) -> Truth { wide }
            #[inline(always)]
            fn add(self, o: Truth) -> Truth { Truth(self.0 | o.0) }
            #[inline(always)]
            fn mul(self, o: Truth) -> Truth { Truth(self.0 & o.0) }
            #[inline(always)]
            fn and(self, o: Truth) -> Truth { Truth(self.0 & o.0) }
            #[inline(always)]
            fn or(self, o: Truth) -> Truth { Truth(self.0 | o.0) }
            #[inline(always)]
            fn xor(self, o: Truth) -> Truth { Truth(self.0 ^ o.0) }
            #[inline(always)]
            fn bit_not(self) -> Truth { Truth(self.0 ^ 1) }
            #[inline(always)]
            fn is_nan(self) -> bool { false }
            // Not defined for `bool`.
            $(#[inline(always)]
            fn $pair(self, _: Truth) -> Truth { self })*
            $(#[inline(always)]
            fn $alone(self) -> Truth { self })*
        }
    };
}
truths! { sub div rem floor_div pow atan2 shl shr; neg abs sign floor ceil round trunc }

macro_rules! floats {
    ($($t:ident { $($vector:ident = $f:path,)* })*) => {$(
        impl Num for $t {
            const ZERO: $t = 0.0;
            const ONE: $t = 1.0;
            const LOWEST: $t = $t::NEG_INFINITY;
            const HIGHEST: $t = $t::INFINITY;
            type Wide = f64;
            #[inline(always)]
            fn widen(self) -> f64 { self as f64 }
            #[inline(always)]
            fn narrow(wide: f64) -> $t { wide as $t }
            #[inline(always)]
            fn add(self, o: $t) -> $t { self + o }
            #[inline(always)]
            fn sub(self, o: $t) -> $t { self - o }
            #[inline(always)]
            fn mul(self, o: $t) -> $t { self * o }
            #[inline(always)]
            fn div(self, o: $t) -> $t { self / o }
            #[inline(always)]
            fn rem(self, o: $t) -> $t {
                let r = self % o;
                if r != 0.0 && (r < 0.0) != (o < 0.0) { r + o } else { r }
            }
            // PyTorch's rule: 2.5 / 0.001 rounds to 2500, of which 2499 are whole.
            #[inline(always)]
            fn floor_div(self, o: $t) -> $t {
                if o == 0.0 {
                    return self / o;
                }
                let r = self % o;
                let below = r != 0.0 && (r < 0.0) != (o < 0.0);
                let q = ((self - r) / o).round() - below as u8 as $t;
                if q == 0.0 { $t::copysign(0.0, self / o) } else { q }
            }
            #[inline(always)]
            fn pow(self, o: $t) -> $t { self.powf(o) }
            #[inline(always)]
            fn atan2(self, o: $t) -> $t { $t::atan2(self, o) }
            #[inline(always)]
            fn and(self, _: $t) -> $t { self }
            #[inline(always)]
            fn or(self, _: $t) -> $t { self }
            #[inline(always)]
            fn xor(self, _: $t) -> $t { self }
            #[inline(always)]
            fn shl(self, _: $t) -> $t { self }
            #[inline(always)]
            fn shr(self, _: $t) -> $t { self }
            #[inline(always)]
            fn neg(self) -> $t { -self }
            #[inline(always)]
            fn abs(self) -> $t { $t::abs(self) }
            #[inline(always)]
            fn sign(self) -> $t {
                if self > 0.0 { 1.0 } else if self < 0.0 { -1.0 } else { self }
            }
            #[inline(always)]
            fn floor(self) -> $t { $t::floor(self) }
            #[inline(always)]
            fn ceil(self) -> $t { $t::ceil(self) }
            #[inline(always)]
            fn round(self) -> $t { self.round_ties_even() }
            #[inline(always)]
            fn trunc(self) -> $t { $t::trunc(self) }
            #[inline(always)]
            fn bit_not(self) -> $t { self }
            #[inline(always)]
            fn is_nan(self) -> bool { self != self }
        }

        impl Float for $t {
            $(#[inline(always)]
            fn $vector(self) -> $t { $f(self) })*
            #[inline(always)]
            fn sqrt(self) -> $t { $t::sqrt(self) }
            #[inline(always)]
            fn rsqrt(self) -> $t { 1.0 / $t::sqrt(self) }
            #[inline(always)]
            fn recip(self) -> $t { 1.0 / self }
            #[inline(always)]
            fn exp2(self) -> $t { $t::exp2(self) }
            #[inline(always)]
            fn expm1(self) -> $t { self.exp_m1() }
            #[inline(always)]
            fn log2(self) -> $t { $t::log2(self) }
            #[inline(always)]
            fn log10(self) -> $t { $t::log10(self) }
            #[inline(always)]
            fn log1p(self) -> $t { self.ln_1p() }
            #[inline(always)]
            fn sin(self) -> $t { $t::sin(self) }
            #[inline(always)]
            fn cos(self) -> $t { $t::cos(self) }
            #[inline(always)]
            fn tan(self) -> $t { $t::tan(self) }
            #[inline(always)]
            fn asin(self) -> $t { $t::asin(self) }
            #[inline(always)]
            fn acos(self) -> $t { $t::acos(self) }
            #[inline(always)]
            fn atan(self) -> $t { $t::atan(self) }
            #[inline(always)]
            fn sinh(self) -> $t { $t::sinh(self) }
            #[inline(always)]
            fn cosh(self) -> $t { $t::cosh(self) }
            #[inline(always)]
            fn is_inf(self) -> bool { $t::abs(self) == $t::INFINITY }
            #[inline(always)]
            fn is_finite(self) -> bool { $t::abs(self) < $t::INFINITY }
        }
    )*};
}

fn sigmoid_f64(x: f64) -> f64 {
    let z = (-x.abs()).exp();
    if x < 0.0 { z / (1.0 + z) } else { 1.0 / (1.0 + z) }
}

floats! {
    f32 { exp = math::exp, log = math::log, tanh = math::tanh, erf = math::erf, sigmoid = math::sigmoid, }
    f64 { exp = f64::exp, log = f64::ln, tanh = f64::tanh, erf = math::erf_f64, sigmoid = sigmoid_f64, }
}

/// Conversion between element types: Rust's `as`, by way of `f32` where a half is involved, and for `bool` the comparison
/// with zero.
pub trait Convert<T>: Num {
    fn convert(self) -> T;
}

macro_rules! conversions {
    ($($from:ident)*) => {$(
        conversions!(@from $from: u8 u32 i32 i64 f32 f64);
        conversions!(@half $from: f16 bf16);
        impl Convert<Truth> for $from {
            #[inline(always)]
            fn convert(self) -> Truth { (self != $from::ZERO).into() }
        }
        impl Convert<$from> for Truth {
            #[inline(always)]
            fn convert(self) -> $from { self.0 as $from }
        }
    )*};
    (@half $other:ident: $($half:ident)*) => {$(
        impl Convert<$half> for $other {
            #[inline(always)]
            fn convert(self) -> $half { Half::round(self as f32) }
        }
        impl Convert<$other> for $half {
            #[inline(always)]
            fn convert(self) -> $other { Half::value(self) as $other }
        }
    )*};
    (@from $from:ident: $($to:ident)*) => {$(
        impl Convert<$to> for $from {
            #[inline(always)]
            fn convert(self) -> $to { self as $to }
        }
    )*};
}
conversions! { u8 u32 i32 i64 f32 f64 }

impl Convert<Truth> for Truth {
    #[inline(always)]
    fn convert(self) -> Truth {
        self
    }
}
