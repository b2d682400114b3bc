//! Every map on every dtype, against formulas on single numbers.

use super::*;
use crate::dtype::{bf16, f16};
use crate::graph::{BinaryOp, Meta, Op, UnaryOp, infer};
use crate::shape::Shape;

/// Values that show each op's corners, as `f64` and as `i64`.
const FLOATS: [f64; 14] =
    [0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.75, -7.25, 0.001, 80.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
const INTS: [i64; 10] = [0, 1, 2, 3, 7, 100, 31, 64, 255, 200];
const SIGNED: [i64; 10] = [0, 1, -1, 3, -7, 100, -100, 31, -128, 64];

fn encode(dtype: DType, values: &[f64], ints: &[i64]) -> Vec<u8> {
    match dtype {
        DType::Bool => bytes(&ints.iter().map(|v| v % 2 != 0).collect::<Vec<_>>()),
        DType::U8 => bytes(&ints.iter().map(|&v| v as u8).collect::<Vec<_>>()),
        DType::U32 => bytes(&ints.iter().map(|&v| v as u32).collect::<Vec<_>>()),
        DType::I32 => bytes(&ints.iter().map(|&v| v as i32).collect::<Vec<_>>()),
        DType::I64 => bytes(ints),
        DType::F16 => bytes(&values.iter().map(|&v| f16::from_f32(v as f32)).collect::<Vec<_>>()),
        DType::BF16 => bytes(&values.iter().map(|&v| bf16::from_f32(v as f32)).collect::<Vec<_>>()),
        DType::F32 => bytes(&values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
        DType::F64 => bytes(values),
    }
}

fn decode(dtype: DType, raw: &[u8]) -> Vec<f64> {
    fn all<T: Element>(raw: &[u8]) -> Vec<f64> {
        T::from_bytes(raw).into_iter().map(T::to_f64).collect()
    }
    match dtype {
        DType::Bool => all::<bool>(raw),
        DType::U8 => all::<u8>(raw),
        DType::U32 => all::<u32>(raw),
        DType::I32 => all::<i32>(raw),
        DType::I64 => all::<i64>(raw),
        DType::F16 => all::<f16>(raw),
        DType::BF16 => all::<bf16>(raw),
        DType::F32 => all::<f32>(raw),
        DType::F64 => all::<f64>(raw),
    }
}

/// A float as a dtype holds it.
fn rounded(dtype: DType, v: f64) -> f64 {
    match dtype {
        DType::F16 => f16::from_f32(v as f32).into(),
        DType::BF16 => bf16::from_f32(v as f32).into(),
        DType::F32 => v as f32 as f64,
        _ => v,
    }
}

/// Wraps an integer to a dtype's range.
fn wrap(dtype: DType, v: i128) -> f64 {
    match dtype {
        DType::Bool => (v != 0) as u8 as f64,
        DType::U8 => v as u8 as f64,
        DType::U32 => v as u32 as f64,
        DType::I32 => v as i32 as f64,
        _ => v as i64 as f64,
    }
}

fn sample(dtype: DType, count: usize) -> Vec<u8> {
    let ints = if dtype.is_signed() { SIGNED } else { INTS };
    let cycle = |i: usize| FLOATS[i % FLOATS.len()];
    let floats: Vec<f64> = (0..count).map(cycle).collect();
    let ints: Vec<i64> = (0..count).map(|i| ints[i % ints.len()]).collect();
    encode(dtype, &floats, &ints)
}

fn close(dtype: DType, got: f64, want: f64) -> bool {
    let (tolerance, want) = match dtype {
        // One step, should the f32 result lie near the middle between two.
        DType::F16 => (1e-3, rounded(dtype, want)),
        DType::BF16 => (8e-3, rounded(dtype, want)),
        DType::F32 => (2e-6, want),
        _ => (1e-12, want),
    };
    got == want || (got.is_nan() && want.is_nan()) || (got - want).abs() <= tolerance * want.abs().max(1e-30)
}

fn unary_float(op: UnaryOp, x: f64) -> f64 {
    use UnaryOp::*;
    match op {
        Neg => -x,
        Abs => x.abs(),
        Sign if x.is_nan() => x,
        Sign => (x > 0.0) as i32 as f64 - (x < 0.0) as i32 as f64,
        Sqrt => x.sqrt(),
        Rsqrt => 1.0 / x.sqrt(),
        Recip => 1.0 / x,
        Exp => x.exp(),
        Exp2 => x.exp2(),
        Expm1 => x.exp_m1(),
        Log => x.ln(),
        Log2 => x.log2(),
        Log10 => x.log10(),
        Log1p => x.ln_1p(),
        Sin => x.sin(),
        Cos => x.cos(),
        Tan => x.tan(),
        Asin => x.asin(),
        Acos => x.acos(),
        Atan => x.atan(),
        Sinh => x.sinh(),
        Cosh => x.cosh(),
        Tanh => x.tanh(),
        Erf => crate::backend::cpu::math::erf_f64(x),
        Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Relu if x.is_nan() => x,
        Relu => x.max(0.0),
        Floor => x.floor(),
        Ceil => x.ceil(),
        Round => x.round_ties_even(),
        Trunc => x.trunc(),
        Not => (x == 0.0) as u8 as f64,
        IsNan => x.is_nan() as u8 as f64,
        IsInf => x.is_infinite() as u8 as f64,
        IsFinite => x.is_finite() as u8 as f64,
        BitNot => unreachable!("not defined for floats"),
    }
}

fn unary_int(op: UnaryOp, dtype: DType, x: i128) -> f64 {
    use UnaryOp::*;
    match op {
        Neg => wrap(dtype, -x),
        Abs => wrap(dtype, x.abs()),
        Sign => x.signum() as f64,
        Relu => x.max(0) as f64,
        Not => (x == 0) as u8 as f64,
        BitNot if dtype == DType::Bool => (x == 0) as u8 as f64,
        BitNot => wrap(dtype, !x),
        _ => x as f64,
    }
}

fn binary_float(op: BinaryOp, a: f64, b: f64) -> f64 {
    use BinaryOp::*;
    match op {
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div => a / b,
        Pow => a.powf(b),
        Rem if b.is_infinite() && a.is_finite() => {
            if (a < 0.0) == (b < 0.0) || a == 0.0 {
                a
            } else {
                b
            }
        }
        Rem => {
            let r = a % b;
            if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        }
        FloorDiv if b == 0.0 => a / b,
        FloorDiv => {
            let r = a % b;
            ((a - r) / b).round() - (r != 0.0 && (r < 0.0) != (b < 0.0)) as u8 as f64
        }
        Max | Min if a.is_nan() || b.is_nan() => f64::NAN,
        Max => a.max(b),
        Min => a.min(b),
        Atan2 => a.atan2(b),
        Eq => (a == b) as u8 as f64,
        Ne => (a != b) as u8 as f64,
        Lt => (a < b) as u8 as f64,
        Le => (a <= b) as u8 as f64,
        Gt => (a > b) as u8 as f64,
        Ge => (a >= b) as u8 as f64,
        And | Or | Xor | Shl | Shr => unreachable!("not defined for floats"),
    }
}

fn binary_int(op: BinaryOp, dtype: DType, a: i128, b: i128) -> f64 {
    use BinaryOp::*;
    let width = 8 * dtype.bytes() as i128;
    let v = match op {
        Add => a + b,
        Sub => a - b,
        Mul => a * b,
        Div | Rem | FloorDiv if b == 0 => 0,
        Div => a / b,
        Rem => a - b * (a as f64 / b as f64).floor() as i128,
        FloorDiv => (a as f64 / b as f64).floor() as i128,
        Max => a.max(b),
        Min => a.min(b),
        Eq => (a == b) as i128,
        Ne => (a != b) as i128,
        Lt => (a < b) as i128,
        Le => (a <= b) as i128,
        Gt => (a > b) as i128,
        Ge => (a >= b) as i128,
        And => a & b,
        Or => a | b,
        Xor => a ^ b,
        Shl if (0..width).contains(&b) => a << b,
        Shl => 0,
        Shr => a >> if (0..width).contains(&b) { b } else { width },
        Pow | Atan2 => unreachable!("not defined for integers"),
    };
    match op.is_comparison() {
        true => v as f64,
        false => wrap(dtype, v),
    }
}

fn meta(dtype: DType) -> Meta {
    Meta { shape: Shape::scalar(), dtype }
}

#[test]
fn every_unary_op_on_every_dtype() {
    for &op in UnaryOp::ALL {
        for dtype in DType::ALL {
            let Ok(out) = infer(&Op::Unary(op), &[&meta(dtype)]) else { continue };
            let out = out[0].dtype;
            for count in [1, 7, 1023, 1025] {
                let mut b = Builder::new(&[count], &[]);
                let x = b.load(0, dtype, affine(0, &[1]));
                let y = b.op(InstrKind::Unary { op, src: x }, out);
                let input = sample(dtype, count);
                let result = vec![0; count * out.bytes()];
                let slots = run(b.store(1, affine(0, &[1]), y).step(), &[input.clone(), result], &[]).unwrap();
                let got = decode(out, &slots[1]);
                for (x, got) in decode(dtype, &input).into_iter().zip(got) {
                    let want = match dtype.is_float() {
                        true => unary_float(op, x),
                        false => unary_int(op, dtype, x as i128),
                    };
                    let slack = dtype == DType::F32 && op == UnaryOp::Tan;
                    assert!(close(dtype, got, want) || slack, "{op:?} {dtype} of {x}: {got} instead of {want}");
                }
            }
        }
    }
}

#[test]
fn every_binary_op_on_every_dtype_with_and_without_broadcasting() {
    for &op in BinaryOp::ALL {
        for dtype in DType::ALL {
            let Ok(out) = infer(&Op::Binary(op), &[&meta(dtype), &meta(dtype)]) else { continue };
            let out = out[0].dtype;
            // All pairs: the first along one axis, the second along the other, so each stands still in some blocks.
            let (x, y) = (sample(dtype, 14), sample(dtype, 14));
            for strides in [[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[1, 0], [0, 0]], [[0, 0], [0, 1]]] {
                let mut b = Builder::new(&[14, 14], &[]);
                let l = b.load(0, dtype, affine(0, &strides[0]));
                let r = b.load(1, dtype, affine(0, &strides[1]));
                let v = b.op(InstrKind::Binary { op, lhs: l, rhs: r }, out);
                let result = vec![0; 196 * out.bytes()];
                let steps = b.store(2, affine(0, &[14, 1]), v).step();
                let got = decode(out, &run(steps, &[x.clone(), y.clone(), result], &[]).unwrap()[2]);
                let (x, y) = (decode(dtype, &x), decode(dtype, &y));
                for (i, got) in got.into_iter().enumerate() {
                    let at = |s: [i64; 2]| (i / 14) * s[0] as usize + (i % 14) * s[1] as usize;
                    let (a, b) = (x[at(strides[0])], y[at(strides[1])]);
                    let want = match dtype.is_float() {
                        true => binary_float(op, a, b),
                        false => binary_int(op, dtype, a as i128, b as i128),
                    };
                    let ok = close(dtype, got, rounded(dtype, want)) || close(dtype, got, want);
                    assert!(ok, "{op:?} {dtype} of {a} and {b}: {got} instead of {want}");
                }
            }
        }
    }
}

#[test]
fn conversions_saturate_and_see_every_non_zero() {
    for from in DType::ALL {
        for to in DType::ALL {
            let input = sample(from, 70);
            let mut b = Builder::new(&[70], &[]);
            let x = b.load(0, from, affine(0, &[1]));
            let y = b.op(InstrKind::Cast { src: x }, to);
            let steps = b.store(1, affine(0, &[1]), y).step();
            let got = decode(to, &run(steps, &[input.clone(), vec![0; 70 * to.bytes()]], &[]).unwrap()[1]);
            for (x, got) in decode(from, &input).into_iter().zip(got) {
                let want = match (from.is_float(), to) {
                    (_, DType::Bool) => (x != 0.0) as u8 as f64,
                    (true, DType::U8) => x as u8 as f64,
                    (true, DType::U32) => x as u32 as f64,
                    (true, DType::I32) => x as i32 as f64,
                    (true, DType::I64) => x as i64 as f64,
                    (false, to) if !to.is_float() => wrap(to, x as i128),
                    (_, to) => rounded(to, x),
                };
                assert!(got == want || (got.is_nan() && want.is_nan()), "{from} {x} to {to}: {got} {want}");
            }
        }
    }
}

#[test]
fn select_picks_by_element_and_params_reach_every_dtype() {
    for dtype in DType::ALL {
        let mut b = Builder::new(&[100], &[]);
        let c = b.load(0, DType::Bool, affine(0, &[1]));
        let x = b.load(1, dtype, affine(0, &[1]));
        let p = b.op(InstrKind::Param { param: 1 }, dtype);
        let y = b.op(InstrKind::Select { condition: c, on_true: x, on_false: p }, dtype);
        let conditions: Vec<bool> = (0..100).map(|i| i % 3 == 0).collect();
        let input = sample(dtype, 100);
        let slots = [bytes(&conditions), input.clone(), vec![0; 100 * dtype.bytes()]];
        let scalars = [Scalar::Int(9), Scalar::Float(1.0)];
        let got = decode(dtype, &run(b.store(2, affine(0, &[1]), y).step(), &slots, &scalars).unwrap()[2]);
        for (i, (x, got)) in decode(dtype, &input).into_iter().zip(got).enumerate() {
            let want = if conditions[i] { x } else { 1.0 };
            assert!(got == want || (got.is_nan() && want.is_nan()), "{dtype} {i}: {got} {want}");
        }
    }
}
