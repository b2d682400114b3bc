//! Where loops read and write: strides, guards, indices, several stores, in place; and plans that break the rules.

use super::*;
use crate::error::Error;
use crate::graph::{BinaryOp, UnaryOp};
use crate::random::{Distribution, normal, philox, uniform};

#[test]
fn transposed_and_flipped_reads_and_strided_writes() {
    let data: Vec<f32> = (0..300 * 400).map(|i| i as f32).collect();
    // out[j, i] = 2·in[i, 399 - j], the result being the left half of rows twice as long.
    let mut b = Builder::new(&[400, 300], &[]);
    let x = b.load(0, DType::F32, affine(399, &[-1, 400]));
    let y = b.op(InstrKind::Binary { op: BinaryOp::Add, lhs: x, rhs: x }, DType::F32);
    let steps = b.store(1, affine(0, &[600, 1]), y).step();
    let out = run(steps, &[bytes(&data), bytes(&vec![-1f32; 400 * 600])], &[]).unwrap();
    let out = f32::from_bytes(&out[1]);
    for (at, &got) in out.iter().enumerate() {
        let (j, i) = (at / 600, at % 600);
        let want = if i < 300 { 2.0 * data[i * 400 + 399 - j] } else { -1.0 };
        assert_eq!(got, want, "{j}, {i}");
    }
}

#[test]
fn several_stores_of_all_widths_one_of_them_transposed() {
    let (n, m) = (300, 257);
    let mut b = Builder::new(&[n, m], &[]);
    let i = b.push(InstrKind::Iota { at: affine(5, &[m as i64, 1]) }, DType::I32, Level::Outer);
    let f = b.op(InstrKind::Cast { src: i }, DType::F64);
    let odd = b.op(InstrKind::Cast { src: i }, DType::U8);
    let mut b = b.store(0, affine(0, &[m as i64, 1]), i).store(1, affine(3, &[1, n as i64]), f);
    let p = b.op(InstrKind::Param { param: 0 }, DType::U8);
    let steps = b.store(2, affine(0, &[m as i64, 1]), odd).store(3, affine(0, &[m as i64, 1]), p).step();
    let slots = [vec![0; 4 * n * m], vec![0; 8 * (n * m + 3)], vec![0; n * m], vec![0; n * m]];
    let out = run(steps, &slots, &[Scalar::Int(77)]).unwrap();
    let (ints, floats) = (i32::from_bytes(&out[0]), f64::from_bytes(&out[1]));
    for at in 0..n * m {
        assert_eq!(ints[at], at as i32 + 5);
        assert_eq!(out[2][at], (at + 5) as u8);
        assert_eq!(floats[3 + at % m * n + at / m], (at + 5) as f64);
    }
    assert!(out[3].iter().all(|&v| v == 77));
}

#[test]
fn guards_pad_without_reading_outside() {
    // A 5×7 image with two rows and three columns of padding around it, by two bounds checks.
    let image: Vec<f32> = (1..=35).map(|v| v as f32).collect();
    for inner in [false, true] {
        let mut b = if inner { Builder::new(&[9], &[13]) } else { Builder::new(&[9, 13], &[]) };
        let level = if inner { Level::Inner } else { Level::Outer };
        let rows = InstrKind::InBounds { at: affine(-2, &[1, 0]), size: 5, and: None };
        let rows = b.push(rows, DType::Bool, Level::Outer);
        let both =
            b.push(InstrKind::InBounds { at: affine(-3, &[0, 1]), size: 7, and: Some(rows) }, DType::Bool, level);
        let load = InstrKind::Load { slot: 0, at: affine(-2 * 7 - 3, &[7, 1]), guard: Some(both) };
        let x = b.push(load, DType::F32, level);
        let steps = b.store(1, affine(0, &[13, 1]), x).step();
        let out = f32::from_bytes(&run(steps, &[bytes(&image), vec![1; 9 * 13 * 4]], &[]).unwrap()[1]);
        for (at, &got) in out.iter().enumerate() {
            let (y, x) = ((at / 13).wrapping_sub(2), (at % 13).wrapping_sub(3));
            assert_eq!(got, if y < 5 && x < 7 { image[y * 7 + x] } else { 0.0 }, "{at}");
        }
    }
}

fn gather(indices: &[i32], guard: bool) -> Result<Vec<f32>> {
    let table: Vec<f32> = (0..50).map(|v| v as f32).collect();
    let n = indices.len();
    let mut b = Builder::new(&[n, 5], &[]);
    let i = b.load(1, DType::I32, affine(0, &[1, 0]));
    let bounds = InstrKind::InBounds { at: affine(0, &[1, 0]), size: n - 1, and: None };
    let g = b.push(bounds, DType::Bool, Level::Outer);
    let guard = guard.then_some(g);
    let kind = InstrKind::Gather { slot: 0, at: affine(0, &[0, 1]), index: i, stride: 5, size: 10, guard, origin: 0 };
    let x = b.push(kind, DType::F32, Level::Outer);
    let steps = b.store(2, affine(0, &[5, 1]), x).step();
    Ok(f32::from_bytes(&run(steps, &[bytes(&table), bytes(indices), vec![0; n * 20]], &[])?[2]))
}

#[test]
fn gather_reads_rows_and_reports_indices_out_of_range() {
    let indices: Vec<i32> = (0..500).map(|i| i * 7 % 10).collect();
    let got = gather(&indices, false).unwrap();
    let want: Vec<f32> = indices.iter().flat_map(|&i| (0..5).map(move |j| (i * 5 + j) as f32)).collect();
    assert_eq!(got, want);
    for bad in [-1, 10, i32::MIN] {
        match gather(&[3, bad], false) {
            Err(Error::IndexOutOfRange { op: "gather", index, size: 10, .. }) => assert_eq!(index, bad as i64),
            other => panic!("{other:?}"),
        }
        // The last row is guarded: nothing is read or reported there.
        assert_eq!(gather(&[3, bad], true).unwrap(), [15.0, 16.0, 17.0, 18.0, 19.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }
}

#[test]
fn a_loop_may_overwrite_what_it_reads() {
    for n in [1, 7, 1023, 1025, 200_000] {
        let data = noise(n, 2);
        let mut b = Builder::new(&[n], &[]);
        let x = b.load(0, DType::F32, affine(0, &[1]));
        let g = b.load(1, DType::F32, affine(0, &[1]));
        let y = b.op(InstrKind::Binary { op: BinaryOp::Sub, lhs: x, rhs: g }, DType::F32);
        let z = b.op(InstrKind::Unary { op: UnaryOp::Neg, src: x }, DType::F32);
        let steps = b.store(0, affine(0, &[1]), y).store(2, affine(0, &[1]), z).step();
        let out = run(steps, &[bytes(&data), bytes(&vec![1f32; n]), vec![0; 4 * n]], &[]).unwrap();
        assert_eq!(f32::from_bytes(&out[0]), data.iter().map(|v| v - 1.0).collect::<Vec<_>>());
        assert_eq!(f32::from_bytes(&out[2]), data.iter().map(|v| -v).collect::<Vec<_>>());
    }
}

/// -min(|b - max(relu((x + p)·a), q)|, r)·x on single numbers, NaN winning.
fn chained(x: f32, a: f32, b: f32, [p, q, r]: [f32; 3]) -> f32 {
    let max = |a: f32, b: f32| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) };
    let min = |a: f32, b: f32| if a.is_nan() || b.is_nan() { f32::NAN } else { a.min(b) };
    -min((b - max(max((x + p) * a, 0.0), q)).abs(), r) * x
}

#[test]
fn chains_of_maps_of_all_lengths_even_past_the_caches() {
    use BinaryOp::*;
    for n in [1, 63, 64, 65, 1023, 1025, 5000, (1 << 22) + 777] {
        let mut data = [noise(n, 1), noise(n, 2), noise(n, 3)];
        for (i, d) in data.iter_mut().enumerate() {
            d[n * (i + 1) / 4] = f32::NAN;
        }
        for params in [[0.25, -0.5, 0.75], [0.25, f32::NAN, 0.75]] {
            let f = DType::F32;
            let mut build = Builder::new(&[n], &[]);
            let [x, a, b] = [0, 1, 2].map(|slot| build.load(slot, f, affine(0, &[1])));
            let [p, q, r] = [0, 1, 2].map(|param| build.op(InstrKind::Param { param }, f));
            let v = build.op(InstrKind::Binary { op: Add, lhs: p, rhs: x }, f);
            let v = build.op(InstrKind::Binary { op: Mul, lhs: v, rhs: a }, f);
            let v = build.op(InstrKind::Unary { op: UnaryOp::Relu, src: v }, f);
            let v = build.op(InstrKind::Binary { op: Max, lhs: v, rhs: q }, f);
            let v = build.op(InstrKind::Binary { op: Sub, lhs: b, rhs: v }, f);
            let v = build.op(InstrKind::Unary { op: UnaryOp::Abs, src: v }, f);
            let v = build.op(InstrKind::Binary { op: Min, lhs: r, rhs: v }, f);
            let v = build.op(InstrKind::Unary { op: UnaryOp::Neg, src: v }, f);
            let v = build.op(InstrKind::Binary { op: Mul, lhs: v, rhs: x }, f);
            // Where two stores want it, the value is kept.
            let mut build = build.store(3, affine(0, &[1]), v);
            if n < 5000 {
                build = build.store(4, affine(0, &[1]), v);
            }
            let scalars = params.map(|v| Scalar::Float(v as f64));
            let slots = [bytes(&data[0]), bytes(&data[1]), bytes(&data[2]), vec![0; 4 * n], vec![0; 4 * n]];
            let out = run(build.step(), &slots, &scalars).unwrap();
            let want: Vec<f32> = (0..n).map(|i| chained(data[0][i], data[1][i], data[2][i], params)).collect();
            for slot in if n < 5000 { 3..5 } else { 3..4 } {
                for (i, (got, want)) in f32::from_bytes(&out[slot]).iter().zip(&want).enumerate() {
                    assert!(got == want || (got.is_nan() && want.is_nan()), "{n} {i}: {got} instead of {want}");
                }
            }
        }
    }
}

#[test]
fn results_past_the_caches_without_a_chain() {
    let n = (1 << 22) + 5;
    let mut b = Builder::new(&[n], &[]);
    let i = b.push(InstrKind::Iota { at: affine(-3, &[1]) }, DType::I32, Level::Outer);
    let f = b.op(InstrKind::Cast { src: i }, DType::F32);
    // One element further on, so that nothing is aligned.
    let out = run(b.store(0, affine(1, &[1]), f).step(), &[vec![0; 4 * (n + 1)]], &[]).unwrap();
    let out = f32::from_bytes(&out[0]);
    assert!(out[0] == 0.0 && out[1..].iter().enumerate().all(|(i, &v)| v == i as f32 - 3.0));
}

#[test]
fn random_elements_are_those_of_the_definition() {
    let scalars = [Scalar::Int(0x89AB_CDEF), Scalar::Int(7), Scalar::Int(3)];
    let words = |i: usize| philox([(i / 4) as u32, 0, 3, 0], [0x89AB_CDEF, 7]);
    for n in [1, 7, 1023, 1025, 5000] {
        for (distribution, dtype) in
            [(Distribution::Bits, DType::U32), (Distribution::Uniform, DType::F32), (Distribution::Normal, DType::F32)]
        {
            for (offset, stride) in [(0, 1), (3, 1), (1, 3)] {
                let mut b = Builder::new(&[n], &[]);
                let kind = InstrKind::Random { distribution, at: affine(offset, &[stride]), params: [0, 1, 2] };
                let x = b.push(kind, dtype, Level::Outer);
                let out = run(b.store(0, affine(0, &[1]), x).step(), &[vec![0; 4 * n]], &scalars).unwrap();
                for (at, bits) in u32::from_bytes(&out[0]).into_iter().enumerate() {
                    let i = offset as usize + at * stride as usize;
                    let w = words(i);
                    let want = match distribution {
                        Distribution::Bits => w[i % 4],
                        Distribution::Uniform => uniform(w[i % 4]).to_bits(),
                        Distribution::Normal => normal(w[i % 4 / 2 * 2], w[i % 4 / 2 * 2 + 1])[i % 2].to_bits(),
                    };
                    assert_eq!(bits, want, "{distribution:?} {i}");
                }
            }
        }
    }
}

#[test]
fn plans_that_break_the_rules_are_errors() {
    let map = |at: Affine, to: Affine| {
        let mut b = Builder::new(&[10], &[]);
        let x = b.load(0, DType::F32, at);
        b.store(1, to, x).step()
    };
    let slots = [vec![0; 40], vec![0; 40]];
    assert!(run(map(affine(0, &[1]), affine(0, &[1])), &slots, &[]).is_ok());
    let outside = [
        (1, 1, 0, 1),
        (0, -1, 0, 1),
        (0, 2, 0, 1),
        (0, i64::MAX, 0, 1),
        (0, 1, 1, 1),
        (0, 1, -1, 1),
        (0, 1, 0, i64::MIN),
    ];
    for (o, s, p, t) in outside {
        let result = run(map(affine(o, &[s]), affine(p, &[t])), &slots, &[]);
        assert!(matches!(result, Err(Error::Backend { .. })), "{o} {s} {p} {t}");
    }
    // In parallel, where memory is cut up beforehand.
    let mut b = Builder::new(&[1 << 20], &[]);
    let p = b.op(InstrKind::Param { param: 0 }, DType::F32);
    let steps = b.store(0, affine(0, &[1]), p).step();
    assert!(matches!(run(steps.clone(), &slots, &[Scalar::Int(1)]), Err(Error::Backend { .. })));
    assert!(matches!(run(steps, &[vec![0; 4 << 20]], &[]), Err(Error::Backend { .. })), "the parameter is missing");
    // A load elsewhere in the slot that is written, an operand that comes later, dtypes that do not fit.
    let mut b = Builder::new(&[5], &[]);
    let x = b.load(0, DType::F32, affine(1, &[1]));
    assert!(run(b.store(0, affine(0, &[1]), x).step(), &slots, &[]).is_err());
    let mut b = Builder::new(&[5], &[]);
    let x = b.push(InstrKind::Unary { op: UnaryOp::Exp, src: 1 }, DType::F32, Level::Outer);
    assert!(run(b.store(0, affine(0, &[1]), x).step(), &slots, &[]).is_err());
    let mut b = Builder::new(&[5], &[]);
    let x = b.load(0, DType::I32, affine(0, &[1]));
    let y = b.op(InstrKind::Unary { op: UnaryOp::Exp, src: x }, DType::I32);
    assert!(run(b.store(1, affine(0, &[1]), y).step(), &slots, &[]).is_err());
}
