//! Loops without folds: every operation on every dtype, places, guards, random numbers, large dispatches.

use super::*;
use crate::random::{self, Distribution};

/// `store(op(loads))` over one axis, with one slot for each operand and one for the result.
fn map_of(n: usize, operands: &[DType], f: impl FnOnce(&mut Draft, &[Reg]) -> Reg) -> (Loop, DType) {
    let mut d = Draft::new(&[n], &[]);
    let regs: Vec<Reg> = operands.iter().enumerate().map(|(slot, &t)| d.load(slot, t, at(0, &[1]))).collect();
    let r = f(&mut d, &regs);
    d.store(operands.len(), at(0, &[1]), r);
    let dtype = d.dtype(r);
    (d.0, dtype)
}

fn unary_on<T: Element>(b: &WgpuBackend, op: UnaryOp, xs: &[T]) -> Vec<u8> {
    let (l, out) = map_of(xs.len(), &[T::DTYPE], |d, r| d.unary(op, r[0]));
    run(b, vec![Step::Loop(l)], &[data(xs), Data(out, vec![0; xs.len() * out.bytes()])]).pop().unwrap()
}

fn binary_on<T: Element>(b: &WgpuBackend, op: BinaryOp, xs: &[T], ys: &[T]) -> Vec<u8> {
    let (l, out) = map_of(xs.len(), &[T::DTYPE; 2], |d, r| d.binary(op, r[0], r[1]));
    run(b, vec![Step::Loop(l)], &[data(xs), data(ys), Data(out, vec![0; xs.len() * out.bytes()])]).pop().unwrap()
}

const SPECIAL: [f32; 22] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    1.5,
    2.5,
    -2.5,
    3.0,
    -3.0,
    7.25,
    1e-3,
    -1e-3,
    1e10,
    -1e10,
    3e38,
    1e-30,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    16777216.0,
];

/// Every pair of special values.
fn pairs() -> (Vec<f32>, Vec<f32>) {
    let all = SPECIAL.iter().flat_map(|&a| SPECIAL.iter().map(move |&b| (a, b)));
    all.unzip()
}

fn int_pairs<T: Copy>(values: &[T]) -> (Vec<T>, Vec<T>) {
    values.iter().flat_map(|&a| values.iter().map(move |&b| (a, b))).unzip()
}

#[test]
fn comparisons_and_extremes_of_floats_know_nan() {
    use BinaryOp::*;
    let b = backend_or_return!();
    let (xs, ys) = pairs();
    let check = |op, f: fn(f32, f32) -> bool| {
        let got = bool::from_bytes(&binary_on(&b, op, &xs, &ys));
        for i in 0..xs.len() {
            assert_eq!(got[i], f(xs[i], ys[i]), "{op:?} {} {}", xs[i], ys[i]);
        }
    };
    check(Eq, |a, b| a == b);
    check(Ne, |a, b| a != b);
    check(Lt, |a, b| a < b);
    check(Le, |a, b| a <= b);
    check(Gt, |a, b| a > b);
    check(Ge, |a, b| a >= b);
    for (op, larger) in [(Max, true), (Min, false)] {
        let got = f32s(&binary_on(&b, op, &xs, &ys));
        for i in 0..xs.len() {
            let (x, y) = (xs[i], ys[i]);
            let want = match () {
                _ if x.is_nan() || y.is_nan() => f32::NAN,
                _ if (x > y) == larger => x,
                _ => y,
            };
            assert!(got[i] == want || got[i].is_nan() && want.is_nan(), "{op:?} {x} {y}: {}", got[i]);
        }
    }
}

#[test]
fn arithmetic_of_floats() {
    use BinaryOp::*;
    let b = backend_or_return!();
    let (xs, ys) = pairs();
    let remainder = |a: f64, b: f64| match a % b {
        r if r != 0.0 && (r < 0.0) != (b < 0.0) => r + b,
        r => r,
    };
    let check = |op, f: &dyn Fn(f64, f64) -> f64| {
        let got = f32s(&binary_on(&b, op, &xs, &ys));
        for i in 0..xs.len() {
            let want = f(xs[i] as f64, ys[i] as f64);
            // Below the normal numbers a device may give 0.
            let tiny = want.abs() < 1.2e-38 && got[i].abs() < 1.2e-38;
            assert!(tiny || error(got[i], want) < 1e-6, "{op:?} {} {}: {} instead of {want}", xs[i], ys[i], got[i]);
        }
    };
    check(Add, &|a, b| a + b);
    check(Sub, &|a, b| a - b);
    check(Mul, &|a, b| (a as f32 * b as f32) as f64);
    check(Div, &|a, b| (a as f32 / b as f32) as f64);
    // Of what the exact remainder leaves; the quotient itself may round up to the next integer.
    let floor = |a: f64, b: f64| {
        let (r, below) = (a % b, (a % b < 0.0) != (b < 0.0));
        ((a - r) / b) as f32 as f64 - (r != 0.0 && below) as u8 as f64
    };
    check(FloorDiv, &|a, b| if b == 0.0 { a / b } else { floor(a, b) });
    check(Rem, &remainder);
    check(Pow, &f64::powf);
    check(Atan2, &f64::atan2);
}

#[test]
fn integers_wrap_and_divide_by_zero_to_zero() {
    use BinaryOp::*;
    let b = backend_or_return!();
    let (xs, ys) = int_pairs(&[0, 1, -1, 2, -2, 7, -7, 31, 32, 100, i32::MAX, i32::MIN, i32::MIN + 1]);
    let floor = |a: i32, b: i32| {
        let q = a.wrapping_div(b);
        if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { q - 1 } else { q }
    };
    let nonzero = |f: fn(i32, i32) -> i32| move |a, b| if b == 0 { 0 } else { f(a, b) };
    let check = |op, f: &dyn Fn(i32, i32) -> i32| {
        let got = i32::from_bytes(&binary_on(&b, op, &xs, &ys));
        for i in 0..xs.len() {
            assert_eq!(got[i], f(xs[i], ys[i]), "{op:?} {} {}", xs[i], ys[i]);
        }
    };
    check(Add, &i32::wrapping_add);
    check(Sub, &i32::wrapping_sub);
    check(Mul, &i32::wrapping_mul);
    check(Div, &nonzero(i32::wrapping_div));
    check(FloorDiv, &|a, b| if b == 0 { 0 } else { floor(a, b) });
    check(Rem, &|a, b| if b == 0 { 0 } else { a.wrapping_sub(floor(a, b).wrapping_mul(b)) });
    check(Max, &i32::max);
    check(Min, &i32::min);
    check(And, &|a, b| a & b);
    check(Or, &|a, b| a | b);
    check(Xor, &|a, b| a ^ b);
    check(Shl, &|a, b| if (0..32).contains(&b) { a << b } else { 0 });
    check(Shr, &|a, b| if (0..32).contains(&b) { a >> b } else { a >> 31 });
    let less = bool::from_bytes(&binary_on(&b, Lt, &xs, &ys));
    assert!((0..xs.len()).all(|i| less[i] == (xs[i] < ys[i])));
}

#[test]
fn unsigned_integers_and_bytes() {
    use BinaryOp::*;
    let b = backend_or_return!();
    let (xs, ys) = int_pairs(&[0u32, 1, 2, 7, 31, 32, 255, 1 << 31, u32::MAX]);
    let (us, vs) = int_pairs(&[0u8, 1, 2, 7, 8, 31, 32, 100, 200, 255]);
    let check = |op, f: fn(u32, u32) -> u32, g: fn(u8, u8) -> u8| {
        let got = u32::from_bytes(&binary_on(&b, op, &xs, &ys));
        assert!((0..xs.len()).all(|i| got[i] == f(xs[i], ys[i])), "{op:?}");
        let got = u8::from_bytes(&binary_on(&b, op, &us, &vs));
        for i in 0..us.len() {
            assert_eq!(got[i], g(us[i], vs[i]), "{op:?} {} {}", us[i], vs[i]);
        }
    };
    check(Add, u32::wrapping_add, u8::wrapping_add);
    check(Sub, u32::wrapping_sub, u8::wrapping_sub);
    check(Mul, u32::wrapping_mul, u8::wrapping_mul);
    check(Div, |a, b| a.checked_div(b).unwrap_or(0), |a, b| a.checked_div(b).unwrap_or(0));
    check(Rem, |a, b| a.checked_rem(b).unwrap_or(0), |a, b| a.checked_rem(b).unwrap_or(0));
    check(Max, u32::max, u8::max);
    check(Shl, |a, b| a.checked_shl(b).unwrap_or(0), |a, b| a.checked_shl(b as u32).unwrap_or(0));
    check(Shr, |a, b| a.checked_shr(b).unwrap_or(0), |a, b| a.checked_shr(b as u32).unwrap_or(0));
    assert_eq!(u8::from_bytes(&unary_on(&b, UnaryOp::BitNot, &[0u8, 255, 15])), [255, 0, 240]);
    assert_eq!(u32::from_bytes(&unary_on(&b, UnaryOp::BitNot, &[0u32, 15])), [u32::MAX, u32::MAX - 15]);
    assert_eq!(u32::from_bytes(&unary_on(&b, UnaryOp::Sign, &[0u32, 15])), [0, 1]);
}

#[test]
fn truth_values() {
    use BinaryOp::*;
    let b = backend_or_return!();
    let (xs, ys) = int_pairs(&[false, true]);
    let check = |op, f: fn(bool, bool) -> bool| {
        let got = bool::from_bytes(&binary_on(&b, op, &xs, &ys));
        assert!((0..4).all(|i| got[i] == f(xs[i], ys[i])), "{op:?} {got:?}");
    };
    for op in [Add, Max, Or] {
        check(op, |a, b| a | b);
    }
    for op in [Mul, Min, And] {
        check(op, |a, b| a & b);
    }
    check(Xor, |a, b| a ^ b);
    check(Eq, |a, b| a == b);
    check(Ne, |a, b| a != b);
    check(Lt, |a, b| !a & b);
    check(Le, |a, b| !a | b);
    check(Gt, |a, b| a & !b);
    check(Ge, |a, b| a | !b);
    assert_eq!(bool::from_bytes(&unary_on(&b, UnaryOp::Not, &xs)), [true, true, false, false]);
    assert_eq!(bool::from_bytes(&unary_on(&b, UnaryOp::BitNot, &xs)), [true, true, false, false]);
}

#[test]
fn exact_unary_operations() {
    use UnaryOp::*;
    let b = backend_or_return!();
    let sign = |x: f32| if x.is_nan() || x == 0.0 { x } else { x.signum() };
    let relu = |x: f32| if x > 0.0 || x.is_nan() { x } else { 0.0 };
    let check = |op, f: &dyn Fn(f32) -> f32| {
        for (got, x) in f32s(&unary_on(&b, op, &SPECIAL)).into_iter().zip(SPECIAL) {
            assert!(got == f(x) || got.is_nan() && f(x).is_nan(), "{op:?} {x}: {got}");
        }
    };
    check(Neg, &|x| -x);
    check(Abs, &f32::abs);
    check(Sign, &sign);
    check(Relu, &relu);
    check(Floor, &f32::floor);
    check(Ceil, &f32::ceil);
    check(Round, &f32::round_ties_even);
    check(Trunc, &f32::trunc);
    let check = |op, f: &dyn Fn(f32) -> bool| {
        for (got, x) in bool::from_bytes(&unary_on(&b, op, &SPECIAL)).into_iter().zip(SPECIAL) {
            assert_eq!(got, f(x), "{op:?} {x}");
        }
    };
    check(Not, &|x| x == 0.0);
    check(IsNan, &f32::is_nan);
    check(IsInf, &f32::is_infinite);
    check(IsFinite, &f32::is_finite);
    let ints = [0, 5, -5, i32::MIN, i32::MAX];
    let check = |op, f: &dyn Fn(i32) -> i32| {
        let want: Vec<i32> = ints.iter().map(|&x| f(x)).collect();
        assert_eq!(i32::from_bytes(&unary_on(&b, op, &ints)), want, "{op:?}");
    };
    check(Neg, &i32::wrapping_neg);
    check(Abs, &i32::wrapping_abs);
    check(Sign, &i32::signum);
    check(Relu, &|x| x.max(0));
    check(Floor, &|x| x);
    check(BitNot, &|x| !x);
}

fn cast<A: Element, B: Element>(b: &WgpuBackend, xs: &[A]) -> Vec<B> {
    let (l, _) = map_of(xs.len(), &[A::DTYPE], |d, r| d.push(InstrKind::Cast { src: r[0] }, B::DTYPE, Level::Outer));
    B::from_bytes(&run(b, vec![Step::Loop(l)], &[data(xs), Data(B::DTYPE, vec![0; xs.len() * B::DTYPE.bytes()])])[1])
}

#[test]
fn casts_saturate_floats_and_wrap_integers() {
    let b = backend_or_return!();
    let xs = [0.0f32, -0.9, 1.9, -1.9, 255.5, 256.0, 3e9, -3e9, 5e9, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    assert_eq!(cast::<f32, i32>(&b, &xs), xs.map(|x| x as i32));
    assert_eq!(cast::<f32, u32>(&b, &xs), xs.map(|x| x as u32));
    assert_eq!(cast::<f32, u8>(&b, &xs), xs.map(|x| x as u8));
    assert_eq!(cast::<f32, bool>(&b, &xs), xs.map(|x| x != 0.0));
    let ints = [0, 1, -1, 300, i32::MAX, i32::MIN];
    assert_eq!(cast::<i32, f32>(&b, &ints), ints.map(|x| x as f32));
    assert_eq!(cast::<i32, u32>(&b, &ints), ints.map(|x| x as u32));
    assert_eq!(cast::<i32, u8>(&b, &ints), ints.map(|x| x as u8));
    assert_eq!(cast::<i32, bool>(&b, &ints), ints.map(|x| x != 0));
    assert_eq!(cast::<u32, i32>(&b, &[7u32, u32::MAX]), [7, -1]);
    assert_eq!(cast::<u8, f32>(&b, &[7u8, 255]), [7.0, 255.0]);
    assert_eq!(cast::<bool, f32>(&b, &[false, true]), [0.0, 1.0]);
    assert_eq!(cast::<bool, u8>(&b, &[false, true]), [0, 1]);
}

#[test]
fn places_guards_iota_and_select() {
    let b = backend_or_return!();
    // A [2, 3] tensor transposed, padded by one column of zeros on each side, and its mask: [3, 4].
    let mut d = Draft::new(&[3, 4], &[]);
    let inside = InstrKind::InBounds { at: at(-1, &[0, 1]), size: 2, and: None };
    let g = d.push(inside, DType::Bool, Level::Outer);
    let load = InstrKind::Load { slot: 0, at: at(-3, &[1, 3]), guard: Some(g) };
    let x = d.push(load, DType::F32, Level::Outer);
    let i = d.push(InstrKind::Iota { at: at(5, &[10, -1]) }, DType::I32, Level::Outer);
    let zero = d.binary(BinaryOp::Sub, i, i);
    let chosen = d.push(InstrKind::Select { condition: g, on_true: i, on_false: zero }, DType::I32, Level::Outer);
    d.store(1, at(0, &[4, 1]), x);
    d.store(2, at(11, &[-4, -1]), chosen);
    d.store(3, at(0, &[4, 1]), g);
    let slots = [data(&[1.0f32, 2., 3., 4., 5., 6.]), data(&[9.0f32; 12]), data(&[9i32; 12]), data(&[false; 12])];
    let out = run(&b, vec![Step::Loop(d.0)], &slots);
    assert_eq!(f32s(&out[1]), [0., 1., 4., 0., 0., 2., 5., 0., 0., 3., 6., 0.]);
    assert_eq!(i32::from_bytes(&out[2]), [0, 23, 24, 0, 0, 13, 14, 0, 0, 3, 4, 0]);
    assert_eq!(bool::from_bytes(&out[3])[..4], [false, true, true, false]);
}

#[test]
fn scalars_change_without_a_new_plan_and_slots_are_written_in_place() {
    let b = backend_or_return!();
    let mut d = Draft::new(&[5], &[]);
    let x = d.load(0, DType::F32, at(0, &[1]));
    let p = d.push(InstrKind::Param { param: 0 }, DType::F32, Level::Uniform);
    let y = d.binary(BinaryOp::Mul, x, p);
    d.store(0, at(0, &[1]), y);
    let executable = b.compile(plan(1, vec![Step::Loop(d.0)], vec![DType::F32], vec![])).unwrap();
    let storage = Arc::new(b.allocate(20).unwrap());
    b.write(&storage, DType::F32, &data(&[1.0f32, 2., 3., 4., 5.]).1).unwrap();
    for scalar in [2.0f64, 0.5, 3.0, 3.0] {
        executable.run(std::slice::from_ref(&storage), &[Scalar::Float(scalar)]).unwrap();
    }
    assert_eq!(f32s(&read(&*b, &storage, DType::F32, 1, 3).unwrap()), [18., 27., 36.]);
}

#[test]
fn one_slot_read_as_one_type_and_written_as_another() {
    let b = backend_or_return!();
    let mut d = Draft::new(&[3], &[]);
    let x = d.load(0, DType::F32, at(0, &[1]));
    let y = d.push(InstrKind::Cast { src: x }, DType::I32, Level::Outer);
    d.store(0, at(0, &[1]), y);
    let out = run(&b, vec![Step::Loop(d.0)], &[data(&[1.5f32, -7.0, 4.0])]);
    assert_eq!(i32::from_bytes(&out[0]), [1, -7, 4]);
}

#[test]
fn random_numbers_are_those_of_the_cpu() {
    let b = backend_or_return!();
    const N: usize = 4099;
    let (seed, stream) = (0x1234_5678_9abc_def0u64, 42u32);
    let scalars = [seed as u32, (seed >> 32) as u32, stream].map(|w| Scalar::Int(w as i64));
    let draw = |distribution, dtype| {
        let mut d = Draft::new(&[N], &[]);
        let kind = InstrKind::Random { distribution, at: at(0, &[1]), params: [0, 1, 2] };
        let r = d.push(kind, dtype, Level::Outer);
        d.store(0, at(0, &[1]), r);
        let plan = plan(1, vec![Step::Loop(d.0)], vec![DType::U32; 3], vec![]);
        try_run(&b, plan, &scalars, &[Data(dtype, vec![0; 4 * N])]).unwrap().pop().unwrap()
    };
    let words: Vec<u32> = (0..N as u32)
        .map(|i| random::philox([i / 4, 0, stream, 0], [seed as u32, (seed >> 32) as u32])[i as usize % 4])
        .collect();
    assert_eq!(u32::from_bytes(&draw(Distribution::Bits, DType::U32)), words);
    let uniforms: Vec<f32> = words.iter().map(|&w| random::uniform(w)).collect();
    assert_eq!(f32s(&draw(Distribution::Uniform, DType::F32)), uniforms);
    let normals = f32s(&draw(Distribution::Normal, DType::F32));
    for (i, pair) in words.chunks_exact(2).enumerate() {
        let want = random::normal(pair[0], pair[1]);
        for k in 0..2 {
            assert!((normals[2 * i + k] - want[k]).abs() < 1e-6, "{i}: {} {}", normals[2 * i + k], want[k]);
        }
    }
}

#[test]
fn more_workgroups_than_one_axis_takes() {
    let b = backend_or_return!();
    let n = 65_536 * 256 + 300;
    let mut d = Draft::new(&[n], &[]);
    let x = d.load(0, DType::F32, at(0, &[1]));
    let y = d.binary(BinaryOp::Add, x, x);
    d.store(1, at(0, &[1]), y);
    let xs: Vec<f32> = (0..n).map(|i| (i % 1000) as f32).collect();
    let out = run(&b, vec![Step::Loop(d.0)], &[data(&xs), data(&vec![-1.0f32; n])]);
    assert!(f32s(&out[1]).iter().zip(&xs).all(|(y, x)| *y == 2.0 * x));
}

#[test]
fn sizes_are_not_in_the_text_and_empty_loops_launch_nothing() {
    let text = |n: usize| {
        let (l, _) = map_of(n, &[DType::F32; 2], |d, r| d.binary(BinaryOp::Mul, r[0], r[1]));
        let mut kernels = crate::kernel::generate(&Step::Loop(l)).unwrap();
        kernels.remove(0)
    };
    assert_eq!(text(10).wgsl, text(99_999).wgsl);
    assert_eq!(text(12).wgsl, text(100_000).wgsl, "of whole vectors");
    assert_eq!(text(0).dispatch[0], 0);
}
