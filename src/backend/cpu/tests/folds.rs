//! Folds in both directions, in several stages, over few long rows, against plain loops.

use super::*;
use crate::backend::cpu::program::Program;
use crate::graph::{BinaryOp, ReduceOp, UnaryOp};

/// A fold of `[outer, inner]` with these strides; position instead of value if `find`.
fn fold(op: ReduceOp, find: bool, sizes: [usize; 2], strides: [i64; 2], dtype: DType) -> Builder {
    let mut b = Builder::new(&[sizes[0]], &[sizes[1]]);
    let x = b.load(0, dtype, affine(0, &strides));
    let (kind, out) = match find {
        true => (InstrKind::ArgReduce { op, src: x }, DType::I32),
        false => (InstrKind::Reduce { op, src: x }, dtype),
    };
    let y = b.op(kind, out);
    b.store(1, affine(0, &[1, 0]), y)
}

fn program(l: &Loop) -> Program {
    Program::new(l, &|slot| slot).unwrap()
}

fn naive(op: ReduceOp, row: impl Iterator<Item = f32>) -> (f64, i32) {
    let mut best = (f64::NAN, 0);
    let (mut sum, mut prod) = (0.0, 1.0);
    for (i, x) in row.map(f64::from).enumerate() {
        sum += x;
        prod *= x;
        let further = if op == ReduceOp::Max { x > best.0 } else { x < best.0 };
        if i == 0 || further || (x.is_nan() && !best.0.is_nan()) {
            best = (x, i as i32);
        }
    }
    match op {
        ReduceOp::Sum => (sum, 0),
        ReduceOp::Prod => (prod, 0),
        _ => best,
    }
}

#[test]
fn folds_agree_with_plain_loops_in_both_directions() {
    let (mut along, mut across, mut split) = (0, 0, 0);
    let shapes = [
        [1, 1],
        [7, 3],
        [3, 1023],
        [1025, 2],
        [2000, 70],
        [70, 2000],
        [1, 200_000],
        [3, 150_001],
        [64, 10],
        [20, 5000],
    ];
    for [outer, inner] in shapes {
        let mut data: Vec<f32> = noise(outer * inner, 5).iter().map(|v| v * 0.01 + 1.0).collect();
        if inner > 2 {
            data[inner * outer / 2] = f32::NAN;
        }
        for strides in [[inner as i64, 1], [1, outer as i64]] {
            for op in ReduceOp::ALL.iter().copied() {
                for find in [false, true] {
                    if find && !matches!(op, ReduceOp::Max | ReduceOp::Min) {
                        continue;
                    }
                    let b = fold(op, find, [outer, inner], strides, DType::F32);
                    let p = program(&b.0);
                    *(if p.split {
                        &mut split
                    } else if p.outer_blocks {
                        &mut across
                    } else {
                        &mut along
                    }) += 1;
                    let slots = run(b.step(), &[bytes(&data), vec![0xAA; 4 * outer]], &[]).unwrap();
                    let at = |o: usize, i: usize| data[o * strides[0] as usize + i * strides[1] as usize];
                    for o in 0..outer {
                        let (value, position) = naive(op, (0..inner).map(|i| at(o, i)));
                        if find {
                            assert_eq!(i32::from_bytes(&slots[1])[o], position, "{op:?} {outer}x{inner} row {o}");
                            continue;
                        }
                        let got = f32::from_bytes(&slots[1])[o] as f64;
                        let ok = (got - value).abs() <= 1e-6 * value.abs() || got.is_nan() && value.is_nan();
                        assert!(ok || got == value as f32 as f64, "{op:?} {outer}x{inner} row {o}: {got} {value}");
                    }
                }
            }
        }
    }
    assert!(along > 0 && across > 0 && split > 0, "a strategy was not tried: {along} {across} {split}");
}

#[test]
fn sums_of_millions_stay_exact_to_six_digits() {
    let data: Vec<f32> = noise(1 << 22, 3).iter().map(|v| (v + 1.0) / 2.0).collect();
    let want: f64 = data.iter().map(|&v| v as f64).sum();
    for sizes in [[1, 1 << 22], [4, 1 << 20], [1 << 11, 1 << 11]] {
        for strides in [[sizes[1] as i64, 1], [1, sizes[0] as i64]] {
            let b = fold(ReduceOp::Sum, false, sizes, strides, DType::F32);
            let slots = run(b.step(), &[bytes(&data), vec![0; 4 * sizes[0]]], &[]).unwrap();
            let got: f64 = f32::from_bytes(&slots[1]).iter().map(|&v| v as f64).sum();
            assert!((got - want).abs() < 1e-6 * want, "{sizes:?} {strides:?}: {got} {want}");
        }
    }
}

#[test]
fn integers_wrap_and_truths_are_any_and_all() {
    let data: Vec<u8> = (0..3000).map(|i| (i % 251) as u8).collect();
    let slots =
        run(fold(ReduceOp::Sum, false, [3, 1000], [1000, 1], DType::U8).step(), &[data.clone(), vec![0; 3]], &[]);
    let want: Vec<u8> = data.chunks(1000).map(|c| c.iter().fold(0u8, |a, &x| a.wrapping_add(x))).collect();
    assert_eq!(slots.unwrap()[1], want);

    let truths: Vec<bool> = [true, true, false, true, false, false].to_vec();
    for (op, want) in [(ReduceOp::Max, [true, true, false]), (ReduceOp::Min, [true, false, false])] {
        let b = fold(op, false, [3, 2], [2, 1], DType::Bool);
        assert_eq!(bool::from_bytes(&run(b.step(), &[bytes(&truths), vec![9; 3]], &[]).unwrap()[1]), want);
    }
    let wide: Vec<i64> = vec![i64::MAX, 2, -5, i64::MIN];
    let b = fold(ReduceOp::Min, true, [1, 4], [4, 1], DType::I64);
    assert_eq!(i32::from_bytes(&run(b.step(), &[bytes(&wide), vec![0; 4]], &[]).unwrap()[1]), [3]);
}

#[test]
fn folds_over_nothing_give_the_neutral_element() {
    for strides in [[0, 1], [1, 3]] {
        for (op, want) in [(ReduceOp::Sum, 0.0), (ReduceOp::Prod, 1.0)] {
            let b = fold(op, false, [3, 0], strides, DType::F32);
            assert_eq!(f32::from_bytes(&run(b.step(), &[vec![], vec![7; 12]], &[]).unwrap()[1]), [want; 3]);
        }
    }
    let b = fold(ReduceOp::Sum, false, [0, 5], [5, 1], DType::F32);
    assert!(run(b.step(), &[vec![], vec![]], &[]).is_ok());
}

/// Softmax of `[rows, n]`, the maximum stored as well: two folds that depend on each other, then a store per element.
fn softmax(rows: usize, n: usize, strides: [i64; 2], from: usize, to: usize) -> Builder {
    let mut b = Builder::new(&[rows], &[n]);
    let x = b.load(from, DType::F32, affine(0, &strides));
    let m = b.op(InstrKind::Reduce { op: ReduceOp::Max, src: x }, DType::F32);
    let d = b.op(InstrKind::Binary { op: BinaryOp::Sub, lhs: x, rhs: m }, DType::F32);
    let e = b.op(InstrKind::Unary { op: UnaryOp::Exp, src: d }, DType::F32);
    let s = b.op(InstrKind::Reduce { op: ReduceOp::Sum, src: e }, DType::F32);
    let r = b.op(InstrKind::Unary { op: UnaryOp::Recip, src: s }, DType::F32);
    let y = b.op(InstrKind::Binary { op: BinaryOp::Mul, lhs: e, rhs: r }, DType::F32);
    b.store(to, affine(0, &strides), y).store(1, affine(0, &[1, 0]), m)
}

#[test]
fn softmax_in_one_loop_in_place_and_not() {
    for [rows, n] in [[64, 10], [3, 5000], [1, 1], [2000, 33], [2, 140_000]] {
        let data: Vec<f32> = noise(rows * n, 8).iter().map(|v| v * 20.0).collect();
        for strides in [[n as i64, 1], [1, rows as i64]] {
            for target in [0, 2] {
                let b = softmax(rows, n, strides, 0, target);
                let slots = run(b.step(), &[bytes(&data), vec![0; 4 * rows], vec![0; 4 * rows * n]], &[]).unwrap();
                let (y, max) = (f32::from_bytes(&slots[target]), f32::from_bytes(&slots[1]));
                let at = |r: usize, i: usize| r * strides[0] as usize + i * strides[1] as usize;
                for r in 0..rows {
                    let row: Vec<f64> = (0..n).map(|i| data[at(r, i)] as f64).collect();
                    let top = row.iter().copied().fold(f64::MIN, f64::max);
                    let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
                    assert_eq!(max[r] as f64, top);
                    for (i, x) in row.iter().enumerate() {
                        let (got, want) = (y[at(r, i)] as f64, (x - top).exp() / sum);
                        // The difference of two numbers up to 20 is rounded to 2e-6 before the exponential is taken.
                        assert!(
                            (got - want).abs() <= 5e-6 * want + 1e-30,
                            "{rows}x{n} {strides:?} {r},{i}: {got} {want}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let data = noise(600_000, 4);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let whole = fold(ReduceOp::Sum, false, [1, 600_000], [0, 1], DType::F32);
            let columns = fold(ReduceOp::Sum, false, [600, 1000], [1, 600], DType::F32);
            let soft = softmax(2, 300_000, [300_000, 1], 0, 2);
            let slots = |rows: usize| [bytes(&data), vec![0; 4 * rows], vec![0; 2_400_000]];
            let results = [
                run(whole.step(), &slots(1), &[]),
                run(columns.step(), &slots(600), &[]),
                run(soft.step(), &slots(2), &[]),
            ];
            results.map(|r| r.unwrap())
        })
    };
    assert_eq!(on(1), on(3));
}
