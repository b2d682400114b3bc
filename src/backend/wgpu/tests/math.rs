//! Elementary functions against double precision, over their whole range.

use super::*;

fn apply(b: &WgpuBackend, op: UnaryOp, xs: &[f32]) -> Vec<f32> {
    let mut d = Draft::new(&[xs.len()], &[]);
    let x = d.load(0, DType::F32, at(0, &[1]));
    let y = d.unary(op, x);
    d.store(1, at(0, &[1]), y);
    f32s(&run(b, vec![Step::Loop(d.0)], &[data(xs), data(&vec![0.0f32; xs.len()])])[1])
}

/// Numbers of every magnitude and sign, small steps around the origin, and the special ones.
fn everywhere() -> Vec<f32> {
    let mut xs: Vec<f32> = (-2000..2000).map(|i| i as f32 * 0.01).collect();
    xs.extend((0..4000u32).map(|i| f32::from_bits(i.wrapping_mul(1_073_676_289))));
    xs.extend([0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 88.7, -87.3, 89.5, 1e-8, -1e-8]);
    xs
}

#[test]
fn elementary_functions_are_accurate() {
    use UnaryOp::*;
    let b = backend_or_return!();
    let xs = everywhere();
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    type Case<'a> = (UnaryOp, &'a dyn Fn(f64) -> f64, f64);
    let cases: &[Case] = &[
        (Sqrt, &f64::sqrt, 3e-7),
        (Rsqrt, &|x| 1.0 / x.sqrt(), 3e-7),
        (Recip, &|x| 1.0 / x, 3e-7),
        (Exp, &f64::exp, 3e-7),
        (Exp2, &f64::exp2, 3e-7),
        (Expm1, &f64::exp_m1, 4e-7),
        (Log, &f64::ln, 3e-7),
        (Log2, &f64::log2, 3e-7),
        (Log10, &f64::log10, 4e-7),
        (Log1p, &f64::ln_1p, 4e-7),
        (Sin, &f64::sin, 5e-7),
        (Cos, &f64::cos, 5e-7),
        (Tan, &f64::tan, 1e-6),
        (Asin, &f64::asin, 4e-7),
        (Acos, &f64::acos, 4e-7),
        (Atan, &f64::atan, 4e-7),
        (Sinh, &f64::sinh, 5e-7),
        (Cosh, &f64::cosh, 5e-7),
        (Tanh, &f64::tanh, 4e-7),
        (Sigmoid, &sigmoid, 4e-7),
    ];
    for &(op, f, bound) in cases {
        for (got, x) in apply(&b, op, &xs).into_iter().zip(&xs) {
            let want = f(*x as f64);
            // Numbers below the normal ones may be taken for 0.
            let denormal = x.abs() < 1.2e-38 && *x != 0.0 || want.abs() < 1.2e-38 && got.abs() < 1.2e-38;
            assert!(denormal || error(got, want) < bound, "{op:?}({x:e}) = {got:e} instead of {want:e}");
        }
    }
}

#[test]
fn the_error_function() {
    let b = backend_or_return!();
    // Digits from the NIST handbook.
    let known = [
        (0.0, 0.0),
        (0.1, 0.1124629160),
        (0.5, 0.5204998778),
        (1.0, 0.8427007929),
        (1.5, 0.9661051465),
        (2.0, 0.9953222650),
        (3.0, 0.9999779095),
        (-0.5, -0.5204998778),
        (-9.0, -1.0),
        (f64::INFINITY, 1.0),
    ];
    let xs: Vec<f32> = known.iter().map(|k| k.0 as f32).collect();
    for (got, (x, want)) in apply(&b, UnaryOp::Erf, &xs).into_iter().zip(known) {
        assert!(error(got, want) < 2e-7, "erf({x}) = {got} instead of {want}");
    }
    assert!(apply(&b, UnaryOp::Erf, &[f32::NAN])[0].is_nan());
}

#[test]
fn powers_and_remainders_of_ordinary_numbers() {
    let b = backend_or_return!();
    let xs: Vec<f32> = noise(4000, 1).iter().map(|x| (x * 12.0).exp()).collect();
    let ys: Vec<f32> = noise(4000, 2).iter().map(|y| y * 7.0).collect();
    let apply = |op| {
        let mut d = Draft::new(&[xs.len()], &[]);
        let (x, y) = (d.load(0, DType::F32, at(0, &[1])), d.load(1, DType::F32, at(0, &[1])));
        let z = d.binary(op, x, y);
        d.store(2, at(0, &[1]), z);
        f32s(&run(&b, vec![Step::Loop(d.0)], &[data(&xs), data(&ys), data(&vec![0.0f32; xs.len()])])[2])
    };
    let (powers, remainders) = (apply(BinaryOp::Pow), apply(BinaryOp::Rem));
    for i in 0..xs.len() {
        let (x, y) = (xs[i] as f64, ys[i] as f64);
        let want = x.powf(y);
        assert!(error(powers[i], want) < 1e-6, "{x} ^ {y} = {} instead of {want}", powers[i]);
        let r = x % y;
        let want = if r != 0.0 && (r < 0.0) != (y < 0.0) { r + y } else { r };
        assert!(
            (remainders[i] as f64 - want).abs() <= 1e-7 * y.abs(),
            "{x} mod {y} = {} instead of {want}",
            remainders[i]
        );
    }
}
