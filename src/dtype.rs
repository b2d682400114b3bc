//! Element types, and the host types that stand for them.

use std::borrow::Cow;
use std::fmt;

pub use half::{bf16, f16};

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DType {
    /// Truth values. One byte on the host; a `u32` word of 0 or 1 on GPUs that run WGSL.
    Bool,
    /// Unsigned bytes. A `u32` word on GPUs that run WGSL.
    U8,
    /// Unsigned 32-bit integers.
    U32,
    /// Signed 32-bit integers; what indices are made of.
    I32,
    /// Signed 64-bit integers (CPU only).
    I64,
    /// Half precision: 5 bits of exponent, 11 of precision. Stored in 16 bits, computed in `f32` and rounded after each op.
    F16,
    /// The upper half of an `f32`: its range, 8 bits of precision. Stored and computed as `F16`.
    BF16,
    /// Single precision, the default.
    F32,
    /// Double precision (CPU only), for gradient checks.
    F64,
}

impl DType {
    /// All of them, in promotion order within their kind.
    pub const ALL: [DType; 9] =
        [DType::Bool, DType::U8, DType::U32, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];

    /// Bytes of one element on the host and in files.
    pub fn bytes(self) -> usize {
        match self {
            DType::Bool | DType::U8 => 1,
            DType::F16 | DType::BF16 => 2,
            DType::U32 | DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// True for `f16`, `bf16`, `f32` and `f64`.
    pub fn is_float(self) -> bool {
        self.is_half() || matches!(self, DType::F32 | DType::F64)
    }

    /// True for the floats of 16 bits, `f16` and `bf16`.
    pub fn is_half(self) -> bool {
        matches!(self, DType::F16 | DType::BF16)
    }

    /// True for every integer type; `bool` is none.
    pub fn is_int(self) -> bool {
        matches!(self, DType::U8 | DType::U32 | DType::I32 | DType::I64)
    }

    /// True for types with a sign.
    pub fn is_signed(self) -> bool {
        matches!(self, DType::I32 | DType::I64) || self.is_float()
    }

    /// The type that holds both operands of a binary op.
    ///
    /// The rule: the wider kind wins (`bool` < integers < floats); within a kind the larger type wins;
    /// `u32` with `i32` gives `i64`, as in PyTorch's rule for signed with unsigned of the same width; `f16` with `bf16`,
    /// neither of which holds the other, gives `f32`.
    pub fn promote(self, other: DType) -> DType {
        match (self, other) {
            (a, b) if a == b => a,
            (DType::U32, DType::I32) | (DType::I32, DType::U32) => DType::I64,
            (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
            (a, b) => a.max(b),
        }
    }

    /// The name used in messages, safetensors headers aside: `f32`, `bool`, ….
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "u8",
            DType::U32 => "u32",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

pub(crate) mod sealed {
    pub trait Sealed: Sized {
        /// What elements are read as: themselves where their bytes lie as the host has them. In a page they are bytes for every
        /// type, because each function that reads is downloaded.
        type Bits: bytemuck::Pod + Send;
        /// The elements that were read so.
        fn of_bits(bits: Vec<Self::Bits>) -> Vec<Self>;
    }
}

/// Host types that are elements of tensors: `bool u8 u32 i32 i64 f32 f64`, and [`struct@f16`] and [`struct@bf16`] of the `half` crate.
pub trait Element: sealed::Sealed + Copy + Default + Send + Sync + fmt::Debug + PartialEq + 'static {
    /// The tensor type whose elements these are.
    const DTYPE: DType;
    /// The little-endian bytes of all `values` ([`DType::bytes`] each), without a copy where they lie so in memory.
    fn to_bytes(values: &[Self]) -> Cow<'_, [u8]>;
    /// Appends [`Element::to_bytes`].
    fn extend_bytes(values: &[Self], out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::to_bytes(values));
    }
    /// Reads back what [`Element::to_bytes`] gave. A trailing partial element is ignored; any non-zero byte is `true`.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
    /// The nearest `f64`.
    fn to_f64(self) -> f64;
    /// The scalar with this value.
    fn to_scalar(self) -> Scalar;
}

macro_rules! element {
    ($($t:ty => $d:ident, $s:ident($to:expr);)*) => {$(
        impl sealed::Sealed for $t {
            #[cfg(all(target_endian = "little", not(target_arch = "wasm32")))]
            type Bits = $t;
            #[cfg(all(target_endian = "little", not(target_arch = "wasm32")))]
            fn of_bits(bits: Vec<$t>) -> Vec<$t> {
                bits
            }
            #[cfg(any(target_endian = "big", target_arch = "wasm32"))]
            type Bits = u8;
            #[cfg(any(target_endian = "big", target_arch = "wasm32"))]
            fn of_bits(bits: Vec<u8>) -> Vec<$t> {
                <$t>::from_bytes(&bits)
            }
        }
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            fn to_bytes(values: &[Self]) -> Cow<'_, [u8]> {
                if cfg!(target_endian = "little") {
                    bytemuck::cast_slice(values).into()
                } else {
                    values.iter().flat_map(|v| v.to_le_bytes()).collect()
                }
            }
            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|c| <$t>::from_le_bytes(*c)).collect()
            }
            fn to_f64(self) -> f64 {
                self.to_scalar().to_f64()
            }
            fn to_scalar(self) -> Scalar {
                Scalar::$s($to(self))
            }
        }
    )*};
}

element! {
    u8 => U8, Int(i64::from);
    u32 => U32, Int(i64::from);
    i32 => I32, Int(i64::from);
    i64 => I64, Int(i64::from);
    f16 => F16, Float(f64::from);
    bf16 => BF16, Float(f64::from);
    f32 => F32, Float(f64::from);
    f64 => F64, Float(f64::from);
}

impl sealed::Sealed for bool {
    type Bits = u8;
    fn of_bits(bits: Vec<u8>) -> Vec<bool> {
        bool::from_bytes(&bits)
    }
}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn to_bytes(values: &[Self]) -> Cow<'_, [u8]> {
        values.iter().map(|&v| v as u8).collect()
    }
    fn from_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.iter().map(|&b| b != 0).collect()
    }
    fn to_f64(self) -> f64 {
        self as u8 as f64
    }
    fn to_scalar(self) -> Scalar {
        Scalar::Int(self as i64)
    }
}

/// A number on its way into a kernel: never part of a kernel's text or of a plan's key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// Any integer or truth value.
    Int(i64),
    /// Any float.
    Float(f64),
}

impl Scalar {
    /// The value as a float.
    pub fn to_f64(self) -> f64 {
        match self {
            Scalar::Int(v) => v as f64,
            Scalar::Float(v) => v,
        }
    }

    /// The value as an integer; floats are truncated and saturated, NaN gives 0.
    pub fn to_i64(self) -> i64 {
        match self {
            Scalar::Int(v) => v,
            Scalar::Float(v) => v as i64,
        }
    }

    /// The value as `dtype`, one of the floats of at most 32 bits, holds it. Halves are rounded by way of `f32`, as
    /// everything that becomes a half is.
    pub(crate) fn to_f32(self, dtype: DType) -> f32 {
        let v = self.to_f64() as f32;
        match dtype {
            DType::F16 => f16::from_f32(v).to_f32(),
            DType::BF16 => bf16::from_f32(v).to_f32(),
            _ => v,
        }
    }
}

macro_rules! scalar_from {
    ($($t:ty)*) => {$(impl From<$t> for Scalar {
        fn from(v: $t) -> Scalar {
            v.to_scalar()
        }
    })*};
}
scalar_from!(bool u8 u32 i32 i64 f16 bf16 f32 f64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_is_commutative_and_idempotent() {
        for a in DType::ALL {
            assert_eq!(a.promote(a), a);
            for b in DType::ALL {
                assert_eq!(a.promote(b), b.promote(a));
                assert_eq!(a.promote(b).promote(a), a.promote(b));
            }
        }
    }

    #[test]
    fn halves_promote_as_in_pytorch() {
        for half in [DType::F16, DType::BF16] {
            for int in [DType::Bool, DType::U8, DType::U32, DType::I32, DType::I64] {
                assert_eq!(half.promote(int), half);
            }
            assert_eq!(half.promote(DType::F32), DType::F32);
            assert_eq!(half.promote(DType::F64), DType::F64);
        }
        assert_eq!(DType::F16.promote(DType::BF16), DType::F32);
    }

    #[test]
    fn bytes_come_back() {
        let doubles = [1.5, -0.0, f64::INFINITY];
        let mut out = f64::to_bytes(&doubles).into_owned();
        assert_eq!(out.len(), 24);
        assert_eq!(f64::from_bytes(&out), doubles);
        out.clear();
        bf16::extend_bytes(&[bf16::ONE, bf16::NEG_INFINITY], &mut out);
        assert_eq!(out, [0x80, 0x3f, 0x80, 0xff]);
        assert_eq!(bf16::from_bytes(&out), [bf16::ONE, bf16::NEG_INFINITY]);
        assert_eq!(bool::from_bytes(&[0, 1, 7]), [false, true, true]);
    }
}
