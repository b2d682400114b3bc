//! Loops that fold: each way of sharing out rows, folds that depend on each other, positions of extremes.

use super::*;

/// A fold of a `[rows, columns]` tensor along its rows, or across them.
fn fold_of(op: ReduceOp, dtype: DType, rows: usize, columns: usize, across: bool) -> (Loop, usize) {
    let (outer, inner) = if across { (columns, rows) } else { (rows, columns) };
    let strides = if across { [1, columns as i64] } else { [columns as i64, 1] };
    let mut d = Draft::new(&[outer], &[inner]);
    let x = d.load(0, dtype, at(0, &strides));
    let r = d.reduce(op, x);
    d.store(1, at(0, &[1, 0]), r);
    (d.0, outer)
}

/// The sizes reach every kind of team; both ways round.
const SIZES: [(usize, usize); 8] = [(1, 1), (3, 5), (70, 31), (5, 33), (33, 200), (2, 1500), (1, 9000), (3000, 40)];

#[test]
fn sums_products_and_extremes_of_floats() {
    let b = backend_or_return!();
    for (rows, columns) in SIZES {
        for across in [false, true] {
            let xs = noise(rows * columns, 3);
            for &op in ReduceOp::ALL {
                let scaled: Vec<f32> = match op {
                    ReduceOp::Prod => xs.iter().map(|x| 1.0 + x * 0.01).collect(),
                    _ => xs.clone(),
                };
                let (l, n) = fold_of(op, DType::F32, rows, columns, across);
                let got = f32s(&run(&b, vec![Step::Loop(l)], &[data(&scaled), data(&vec![0.0f32; n])])[1]);
                for i in 0..n {
                    let row: Vec<f64> = (0..rows * columns / n)
                        .map(|j| scaled[if across { j * columns + i } else { i * columns + j }] as f64)
                        .collect();
                    let (want, scale) = match op {
                        ReduceOp::Sum => (row.iter().sum(), row.iter().map(|x| x.abs()).sum()),
                        ReduceOp::Prod => (row.iter().product::<f64>(), row.iter().product::<f64>() * 100.0),
                        ReduceOp::Max => (row.iter().copied().fold(f64::MIN, f64::max), 0.0),
                        ReduceOp::Min => (row.iter().copied().fold(f64::MAX, f64::min), 0.0),
                    };
                    let off = (got[i] as f64 - want).abs();
                    assert!(off <= 1e-6 * scale, "{op:?} {rows}x{columns} {across}: {} instead of {want}", got[i]);
                }
            }
        }
    }
}

#[test]
fn folds_of_other_types() {
    let b = backend_or_return!();
    for (rows, columns) in [(3usize, 40usize), (4, 7)] {
        let n = rows * columns;
        let ints: Vec<i32> = (0..n as i32).map(|i| (i * 7919) % 101 - 50).collect();
        let bytes: Vec<u8> = ints.iter().map(|&i| i as u8).collect();
        let bools: Vec<bool> = (0..n).map(|i| i / columns == 1 || (i / columns == 2 && i % columns == 6)).collect();
        for &op in ReduceOp::ALL {
            let (l, _) = fold_of(op, DType::I32, rows, columns, false);
            let got = i32::from_bytes(&run(&b, vec![Step::Loop(l)], &[data(&ints), data(&vec![0i32; rows])])[1]);
            let (l, _) = fold_of(op, DType::U8, rows, columns, false);
            let small = run(&b, vec![Step::Loop(l)], &[data(&bytes), data(&vec![0u8; rows])]).remove(1);
            for i in 0..rows {
                let (row, short) = (&ints[i * columns..][..columns], &bytes[i * columns..][..columns]);
                let (want, byte) = match op {
                    ReduceOp::Sum => (row.iter().sum(), short.iter().fold(0, |a: u8, b| a.wrapping_add(*b))),
                    ReduceOp::Prod => (
                        row.iter().fold(1, |a: i32, b| a.wrapping_mul(*b)),
                        short.iter().fold(1, |a: u8, b| a.wrapping_mul(*b)),
                    ),
                    ReduceOp::Max => (*row.iter().max().unwrap(), *short.iter().max().unwrap()),
                    ReduceOp::Min => (*row.iter().min().unwrap(), *short.iter().min().unwrap()),
                };
                assert_eq!((got[i], small[i]), (want, byte), "{op:?}");
            }
        }
        for (op, want) in [(ReduceOp::Max, [false, true, true]), (ReduceOp::Min, [false, true, false])] {
            let (l, _) = fold_of(op, DType::Bool, rows, columns, false);
            let got = bool::from_bytes(&run(&b, vec![Step::Loop(l)], &[data(&bools), data(&vec![false; rows])])[1]);
            assert_eq!(got[..3], want, "{op:?}");
        }
    }
}

#[test]
fn nan_and_infinity_survive_folds() {
    let b = backend_or_return!();
    for columns in [8usize, 100, 5000] {
        // Rows: with NaN, all -inf, one +inf.
        let mut xs = vec![1.0f32; 3 * columns];
        xs[columns - 1] = f32::NAN;
        xs[columns..2 * columns].fill(f32::NEG_INFINITY);
        xs[2 * columns + 3] = f32::INFINITY;
        let fold = |op| {
            let (l, n) = fold_of(op, DType::F32, 3, columns, false);
            f32s(&run(&b, vec![Step::Loop(l)], &[data(&xs), data(&vec![0.0f32; n])])[1])
        };
        let (sum, max, min) = (fold(ReduceOp::Sum), fold(ReduceOp::Max), fold(ReduceOp::Min));
        assert!(sum[0].is_nan() && max[0].is_nan() && min[0].is_nan());
        assert_eq!((sum[1], max[1], min[1]), (f32::NEG_INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY), "{columns}");
        assert_eq!((sum[2], max[2], min[2]), (f32::INFINITY, f32::INFINITY, 1.0));
    }
}

#[test]
fn sixteen_million_numbers_in_one_row() {
    let b = backend_or_return!();
    let n = 1 << 24;
    let (l, _) = fold_of(ReduceOp::Sum, DType::F32, 1, n, false);
    let xs: Vec<f32> = noise(n, 4).iter().map(|x| x * 0.5 + 0.5).collect();
    for xs in [xs, vec![0.1; n]] {
        let want: f64 = xs.iter().map(|&x| x as f64).sum();
        let got = f32s(&run(&b, vec![Step::Loop(l.clone())], &[data(&xs), data(&[0.0f32])])[1])[0];
        assert!(error(got, want) < 1e-6, "{got} instead of {want}");
    }
}

#[test]
fn empty_rows_give_the_neutral_element() {
    let b = backend_or_return!();
    let (l, _) = fold_of(ReduceOp::Sum, DType::F32, 5, 0, false);
    assert_eq!(f32s(&run(&b, vec![Step::Loop(l)], &[data::<f32>(&[]), data(&[7.0f32; 5])])[1]), [0.0; 5]);
    let (l, _) = fold_of(ReduceOp::Prod, DType::I32, 5, 0, false);
    assert_eq!(i32::from_bytes(&run(&b, vec![Step::Loop(l)], &[data::<i32>(&[]), data(&[7i32; 5])])[1]), [1; 5]);
}

#[test]
fn the_first_extreme_is_found_and_nan_is_one() {
    let b = backend_or_return!();
    for columns in [6usize, 90, 3000] {
        for (op, sign) in [(ReduceOp::Max, 1.0f32), (ReduceOp::Min, -1.0)] {
            let mut xs: Vec<f32> = (0..4 * columns).map(|i| sign * ((i * 7) % 5) as f32).collect();
            xs[columns + 2] = sign * 100.0;
            xs[columns + 4] = sign * 100.0;
            xs[2 * columns + 3] = f32::NAN;
            xs[2 * columns + 5] = f32::NAN;
            xs[2 * columns + 1] = sign * f32::INFINITY;
            xs[3 * columns..].fill(-sign * f32::INFINITY);
            let mut d = Draft::new(&[4], &[columns]);
            let x = d.load(0, DType::F32, at(0, &[columns as i64, 1]));
            let r = d.push(InstrKind::ArgReduce { op, src: x }, DType::I32, Level::Outer);
            d.store(1, at(0, &[1, 0]), r);
            let got = i32::from_bytes(&run(&b, vec![Step::Loop(d.0)], &[data(&xs), data(&[0i32; 4])])[1]);
            let first = (0..columns).position(|i| (i * 7) % 5 == 4).unwrap() as i32;
            assert_eq!(got, [first, 2, 3, 0], "{op:?} of {columns}");
        }
    }
}

#[test]
fn positions_count_over_several_axes_and_for_integers() {
    let b = backend_or_return!();
    // [2, 3, 4] folded over axes 0 and 2: position row-major over (2, 4).
    let xs: Vec<i32> = vec![0, 5, 2, 1, 9, 1, 1, 1, 3, 3, 3, 3, 5, 1, 1, 1, 9, 9, 1, 1, 2, 3, 3, 4];
    let mut d = Draft::new(&[3], &[2, 4]);
    let x = d.load(0, DType::I32, at(0, &[4, 12, 1]));
    let most = d.push(InstrKind::ArgReduce { op: ReduceOp::Max, src: x }, DType::I32, Level::Outer);
    let least = d.push(InstrKind::ArgReduce { op: ReduceOp::Min, src: x }, DType::I32, Level::Outer);
    d.store(1, at(0, &[1, 0, 0]), most);
    d.store(2, at(0, &[1, 0, 0]), least);
    let out = run(&b, vec![Step::Loop(d.0)], &[data(&xs), data(&[0i32; 3]), data(&[0i32; 3])]);
    assert_eq!(i32::from_bytes(&out[1]), [1, 0, 7]);
    assert_eq!(i32::from_bytes(&out[2]), [0, 1, 4]);
}

/// Softmax in place: the largest, the sum of what depends on it, a value for every element that depends on both.
fn softmax(rows: usize, columns: usize, across: bool) -> Loop {
    let (outer, inner) = if across { (columns, rows) } else { (rows, columns) };
    let strides = if across { [1, columns as i64] } else { [columns as i64, 1] };
    let mut d = Draft::new(&[outer], &[inner]);
    let x = d.load(0, DType::F32, at(0, &strides));
    let most = d.reduce(ReduceOp::Max, x);
    let centred = d.binary(BinaryOp::Sub, x, most);
    let e = d.unary(UnaryOp::Exp, centred);
    let sum = d.reduce(ReduceOp::Sum, e);
    let y = d.binary(BinaryOp::Div, e, sum);
    let log = d.unary(UnaryOp::Log, sum);
    let total = d.binary(BinaryOp::Add, log, most);
    d.store(0, at(0, &strides), y);
    d.store(1, at(0, &[1, 0]), total);
    d.0
}

#[test]
fn folds_that_need_each_other_share_a_loop() {
    let b = backend_or_return!();
    for (rows, columns) in SIZES {
        for across in [false, true] {
            let xs: Vec<f32> = noise(rows * columns, 5).iter().map(|x| x * 30.0).collect();
            let n = if across { columns } else { rows };
            let out = run(&b, vec![Step::Loop(softmax(rows, columns, across))], &[data(&xs), data(&vec![0.0f32; n])]);
            let (got, logs) = (f32s(&out[0]), f32s(&out[1]));
            for (i, log) in logs.iter().enumerate() {
                let place = |j: usize| if across { j * columns + i } else { i * columns + j };
                let row: Vec<f64> = (0..rows * columns / n).map(|j| xs[place(j)] as f64).collect();
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                assert!((*log as f64 - sum.ln()).abs() < 1e-5, "{log} {}", sum.ln());
                for (j, x) in row.iter().enumerate() {
                    let want = x.exp() / sum;
                    assert!((got[place(j)] as f64 - want).abs() <= 2e-6 * want + 1e-9, "{rows}x{columns} {across}");
                }
            }
        }
    }
}

#[test]
fn many_folds_share_a_stage_and_a_row_is_written_over_what_it_read() {
    let b = backend_or_return!();
    let (rows, columns) = (5usize, 100usize);
    let mut d = Draft::new(&[rows], &[columns]);
    let x = d.load(0, DType::F32, at(0, &[columns as i64, 1]));
    let bias = d.load(1, DType::F32, at(0, &[1, 0]));
    let y = d.binary(BinaryOp::Add, x, bias);
    let square = d.binary(BinaryOp::Mul, y, y);
    let folds: Vec<Reg> = [
        (ReduceOp::Sum, y),
        (ReduceOp::Sum, square),
        (ReduceOp::Max, y),
        (ReduceOp::Min, y),
        (ReduceOp::Max, square),
        (ReduceOp::Min, square),
    ]
    .map(|(op, r)| d.reduce(op, r))
    .to_vec();
    let arg = d.push(InstrKind::ArgReduce { op: ReduceOp::Max, src: y }, DType::I32, Level::Outer);
    d.store(1, at(0, &[1, 0]), folds[0]);
    for (i, &r) in folds.iter().enumerate().skip(1) {
        d.store(i + 1, at(0, &[1, 0]), r);
    }
    d.store(7, at(0, &[1, 0]), arg);
    let xs = noise(rows * columns, 6);
    let biases = [0.5f32, -1.0, 0.0, 2.0, 3.0];
    let mut slots = vec![data(&xs), data(&biases)];
    slots.extend((0..5).map(|_| data(&[0.0f32; 5])));
    slots.push(data(&[0i32; 5]));
    let out = run(&b, vec![Step::Loop(d.0)], &slots);
    for i in 0..rows {
        let row: Vec<f32> = xs[i * columns..][..columns].iter().map(|x| x + biases[i]).collect();
        let sum: f64 = row.iter().map(|&y| y as f64).sum();
        assert!((f32s(&out[1])[i] as f64 - sum).abs() < 1e-4);
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        assert_eq!(f32s(&out[3])[i], most);
        assert_eq!(f32s(&out[6])[i], row.iter().map(|y| y * y).fold(f32::MAX, f32::min));
        assert_eq!(i32::from_bytes(&out[7])[i], row.iter().position(|&y| y == most).unwrap() as i32);
    }
}

#[test]
fn more_rows_than_one_axis_has_workgroups() {
    let b = backend_or_return!();
    let (rows, columns) = (70_000usize, 33usize);
    let (l, _) = fold_of(ReduceOp::Sum, DType::I32, rows, columns, false);
    let xs: Vec<i32> = (0..(rows * columns) as i32).map(|i| i % 17).collect();
    let got = i32::from_bytes(&run(&b, vec![Step::Loop(l)], &[data(&xs), data(&vec![0i32; rows])])[1]);
    assert!((0..rows).all(|i| got[i] == xs[i * columns..][..columns].iter().sum::<i32>()));
}
