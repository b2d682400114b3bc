//! What the floats of 16 bits are: `f32` in every computation, rounded to nearest, ties to even, after each op.
//!
//! The conversions have no branches, so that loops over blocks become vector instructions; those of the `half` crate ask
//! the processor for each element.

use super::num::{Convert, Float, Num, Truth};
use half::{bf16, f16};

/// A float of 16 bits.
pub trait Half: Copy {
    /// Its value.
    fn value(self) -> f32;
    /// The nearest one: too large becomes infinite, NaN stays NaN.
    fn round(value: f32) -> Self;
}

impl Half for bf16 {
    #[inline(always)]
    fn value(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }

    #[inline(always)]
    fn round(value: f32) -> bf16 {
        let bits = value.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
        bf16::from_bits(if value.is_nan() { bits >> 16 | 0x40 } else { nearest } as u16)
    }
}

impl Half for f16 {
    #[inline(always)]
    fn value(self) -> f32 {
        let bits = self.to_bits() as u32;
        let magnitude = bits & 0x7fff;
        // The exponent's bias is 15 here and 127 there.
        let normal = (magnitude << 13) + (112 << 23);
        let special = (magnitude << 13) + (224 << 23);
        let tiny = (magnitude as f32 * (1.0 / 16_777_216.0)).to_bits();
        let value = if magnitude < 0x400 { tiny } else { normal };
        let value = if magnitude < 0x7c00 { value } else { special };
        f32::from_bits(value | (bits & 0x8000) << 16)
    }

    #[inline(always)]
    fn round(value: f32) -> f16 {
        let (sign, bits) = (value.to_bits() >> 16 & 0x8000, value.to_bits() & 0x7fff_ffff);
        let normal = bits.wrapping_sub(112 << 23).wrapping_add(0xfff + (bits >> 13 & 1)) >> 13;
        // Below 2^-14 what is left of the mantissa counts units of 2^-24: those of an f32 in [0.5, 1).
        let tiny = (f32::from_bits(bits) + 0.5).to_bits().wrapping_sub(0.5f32.to_bits());
        let nan = bits >> 13 & 0x3ff | 0x7e00;
        let magnitude = if bits < 113 << 23 { tiny } else { normal };
        // 65,520 is halfway to what would be the next number.
        let magnitude = if bits >= 65_520f32.to_bits() { 0x7c00 } else { magnitude };
        let magnitude = if bits > 0x7f80_0000 { nan } else { magnitude };
        f16::from_bits((sign | magnitude) as u16)
    }
}

macro_rules! halves {
    ($($t:ident)*) => {$(
        impl Num for $t {
            const ZERO: $t = $t::ZERO;
            const ONE: $t = $t::ONE;
            const LOWEST: $t = $t::NEG_INFINITY;
            const HIGHEST: $t = $t::INFINITY;
            type Wide = f64;
            #[inline(always)]
            fn widen(self) -> f64 { self.value() as f64 }
            #[inline(always)]
            fn narrow(wide: f64) -> $t { Half::round(wide as f32) }
            halves!(@binary $t: add sub mul div rem floor_div pow atan2);
            halves!(@unary Num $t: sign floor ceil trunc);
            #[inline(always)]
            fn round(self) -> $t { Half::round(Num::round(self.value())) }
            #[inline(always)]
            fn neg(self) -> $t { $t::from_bits(self.to_bits() ^ 0x8000) }
            #[inline(always)]
            fn abs(self) -> $t { $t::from_bits(self.to_bits() & 0x7fff) }
            #[inline(always)]
            fn is_nan(self) -> bool { $t::is_nan(self) }
            halves!(@undefined $t: and or xor shl shr);
            #[inline(always)]
            fn bit_not(self) -> $t { self }
        }

        impl Float for $t {
            halves!(@unary Float $t: sqrt rsqrt recip exp exp2 expm1 log log2 log10 log1p sin cos tan asin acos atan);
            halves!(@unary Float $t: sinh cosh tanh erf sigmoid);
            #[inline(always)]
            fn is_inf(self) -> bool { Float::is_inf(self.value()) }
            #[inline(always)]
            fn is_finite(self) -> bool { Float::is_finite(self.value()) }
        }

        impl Convert<Truth> for $t {
            #[inline(always)]
            fn convert(self) -> Truth { (self != $t::ZERO).into() }
        }

        impl Convert<$t> for Truth {
            #[inline(always)]
            fn convert(self) -> $t { if self.0 == 0 { $t::ZERO } else { $t::ONE } }
        }

        impl Convert<f16> for $t {
            #[inline(always)]
            fn convert(self) -> f16 { Half::round(self.value()) }
        }

        impl Convert<bf16> for $t {
            #[inline(always)]
            fn convert(self) -> bf16 { Half::round(self.value()) }
        }
    )*};
    (@binary $t:ident: $($op:ident)*) => {$(
        #[inline(always)]
        fn $op(self, o: $t) -> $t { Half::round(Num::$op(self.value(), o.value())) }
    )*};
    (@unary $trait:ident $t:ident: $($op:ident)*) => {$(
        #[inline(always)]
        fn $op(self) -> $t { Half::round($trait::$op(self.value())) }
    )*};
    // Not defined for floats.
    (@undefined $t:ident: $($op:ident)*) => {$(
        #[inline(always)]
        fn $op(self, _: $t) -> $t { self }
    )*};
}
halves! { f16 bf16 }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_has_its_value_and_comes_back() {
        for bits in 0..=u16::MAX {
            let (h, b) = (f16::from_bits(bits), bf16::from_bits(bits));
            let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            assert!(same(h.value(), h.to_f32()) && same(b.value(), b.to_f32()), "{bits:04x}");
            let (h2, b2): (f16, bf16) = (Half::round(h.value()), Half::round(b.value()));
            assert!(h2.to_bits() == bits || (h.is_nan() && h2.is_nan()), "{bits:04x}");
            assert!(b2.to_bits() == bits || (b.is_nan() && b2.is_nan()), "{bits:04x}");
        }
    }

    /// Around every half, and halfway between neighbours, and just beside that.
    #[test]
    fn rounding_is_that_of_the_half_crate() {
        for bits in 0..=u16::MAX {
            for value in [f16::from_bits(bits).to_f32(), bf16::from_bits(bits).to_f32()] {
                for low in [0u32, 1, 0xfff, 0x1000, 0x1001, 0x1fff, 0x7fff, 0x8000, 0x8001, 0xffff] {
                    let v = f32::from_bits(value.to_bits() ^ low);
                    let (h, b): (f16, bf16) = (Half::round(v), Half::round(v));
                    let (h2, b2) = (f16::from_f32(v), bf16::from_f32(v));
                    assert!(h.to_bits() == h2.to_bits() || (h.is_nan() && h2.is_nan()), "{v:e}: {h} {h2}");
                    assert!(b.to_bits() == b2.to_bits() || (b.is_nan() && b2.is_nan()), "{v:e}: {b} {b2}");
                }
            }
        }
        for shift in 0..40 {
            for odd in [0x3300_0000u32, 0x3300_0001, 0x3380_0000, 0x387f_e000, 0x387f_f000, 0x387f_ffff] {
                let v = f32::from_bits(odd + (shift << 13));
                assert_eq!(<f16 as Half>::round(v).to_bits(), f16::from_f32(v).to_bits(), "{v:e}");
            }
        }
    }
}
