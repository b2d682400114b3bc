//! Matrix products and convolutions against plain loops.

use super::*;
use crate::graph::{BinaryOp, ConvSpec, UnaryOp};
use crate::plan::{Contract, ContractKind, ConvSizes, Operand};
use crate::shape::{Layout, Shape};

fn operand(slot: usize, offset: i64, strides: &[i64]) -> Operand {
    Operand { slot, layout: Layout { offset, strides: strides.into() } }
}

/// An epilogue over `shape`: nothing but the store, or a bias along the last axis and a relu.
fn epilogue(shape: &[usize], slot: usize, dtype: DType, bias: Option<usize>) -> Loop {
    let strides = Shape::from(shape).strides();
    let mut b = Builder::new(shape, &[]);
    let mut y = b.push(InstrKind::Accumulator, dtype, Level::Outer);
    if let Some(bias) = bias {
        let mut along: Vec<i64> = vec![0; shape.len()];
        along[shape.len() - 1] = 1;
        let x = b.load(bias, dtype, affine(0, &along));
        let sum = b.op(InstrKind::Binary { op: BinaryOp::Add, lhs: y, rhs: x }, dtype);
        y = b.op(InstrKind::Unary { op: UnaryOp::Relu, src: sum }, dtype);
    }
    b.store(slot, affine(0, &strides), y).0
}

fn close(got: &[f32], want: &[f64], scale: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((*g as f64 - w).abs() < 1e-5 * scale, "element {i}: {g} instead of {w}");
    }
}

#[test]
fn matrix_products_of_all_layouts() {
    let (m, n, k) = (33, 65, 47);
    for batch in [&[][..], &[1], &[3], &[2, 3]] {
        let count: usize = batch.iter().product();
        let (a, b) = (noise(count * m * k, 1), noise(count * k * n, 2));
        let bias = noise(n, 3);
        for (ta, tb, shared) in [(false, false, false), (true, false, false), (false, true, true), (true, true, true)] {
            let strides = |rows: usize, columns: usize, transposed: bool, shared: bool| {
                let step = (rows * columns) as i64;
                let last = if transposed { [1, rows as i64] } else { [columns as i64, 1] };
                let lead: Vec<i64> = (0..batch.len())
                    .map(|d| if shared { 0 } else { step * batch[d + 1..].iter().product::<usize>() as i64 })
                    .collect();
                [lead, last.to_vec()].concat()
            };
            let (sa, sb) = (strides(m, k, ta, false), strides(k, n, tb, shared));
            let shape: Vec<usize> = batch.iter().copied().chain([m, n]).collect();
            for with_bias in [None, Some(2)] {
                let kind = ContractKind::Matmul { batch: batch.into(), m, n, k };
                let e = epilogue(&shape, 3, DType::F32, with_bias);
                let c = Contract { kind, dtype: DType::F32, a: operand(0, 0, &sa), b: operand(1, 0, &sb), epilogue: e };
                let slots = [bytes(&a), bytes(&b), bytes(&bias), vec![0xFF; 4 * count * m * n]];
                let out = run(vec![Step::Contract(c)], &slots, &[]).unwrap();
                let r = batch.len();
                let want: Vec<f64> = (0..count * m * n)
                    .map(|at| {
                        let (item, i, j) = (at / (m * n), at / n % m, at % n);
                        let (fa, fb) = (item * m * k, if shared { 0 } else { item * k * n });
                        let x = |p: usize| a[fa + i * sa[r] as usize + p * sa[r + 1] as usize] as f64;
                        let y = |p: usize| b[fb + p * sb[r] as usize + j * sb[r + 1] as usize] as f64;
                        let sum: f64 = (0..k).map(|p| x(p) * y(p)).sum();
                        if with_bias.is_some() { (sum + bias[j] as f64).max(0.0) } else { sum }
                    })
                    .collect();
                close(&f32::from_bytes(&out[3]), &want, 10.0);
            }
        }
    }
}

#[test]
fn products_over_nothing_are_zero_and_empty_ones_are_fine() {
    for (m, n, k) in [(2, 3, 0), (0, 3, 2), (2, 0, 2)] {
        let kind = ContractKind::Matmul { batch: [].into_iter().collect(), m, n, k };
        let e = epilogue(&[m, n], 2, DType::F64, None);
        let (a, b) = (operand(0, 0, &[k as i64, 1]), operand(1, 0, &[n as i64, 1]));
        let c = Contract { kind, dtype: DType::F64, a, b, epilogue: e };
        let out = run(vec![Step::Contract(c)], &[vec![1; 8 * m * k], vec![1; 8 * k * n], vec![1; 8 * m * n]], &[]);
        assert_eq!(out.unwrap()[2], vec![0; 8 * m * n]);
    }
}

#[test]
fn an_epilogue_may_store_elsewhere_cast_and_read_its_target() {
    let (m, n, k) = (5, 4, 3);
    let (a, b) = (noise(m * k, 1), noise(k * n, 2));
    // The transposed result times two as f64, and the result added to what lies in slot 3.
    let mut e = Builder::new(&[m, n], &[]);
    let y = e.push(InstrKind::Accumulator, DType::F32, Level::Outer);
    let wide = e.op(InstrKind::Cast { src: y }, DType::F64);
    let double = e.op(InstrKind::Binary { op: BinaryOp::Add, lhs: wide, rhs: wide }, DType::F64);
    let old = e.load(3, DType::F32, affine(0, &[n as i64, 1]));
    let new = e.op(InstrKind::Binary { op: BinaryOp::Add, lhs: old, rhs: y }, DType::F32);
    let e = e.store(2, affine(0, &[1, m as i64]), double).store(3, affine(0, &[n as i64, 1]), new).0;
    let kind = ContractKind::Matmul { batch: [].into_iter().collect(), m, n, k };
    let (oa, ob) = (operand(0, 0, &[k as i64, 1]), operand(1, 0, &[n as i64, 1]));
    let c = Contract { kind, dtype: DType::F32, a: oa, b: ob, epilogue: e };
    let slots = [bytes(&a), bytes(&b), vec![0; 8 * m * n], bytes(&vec![1f32; m * n])];
    let out = run(vec![Step::Contract(c)], &slots, &[]).unwrap();
    let (wide, sum) = (f64::from_bytes(&out[2]), f32::from_bytes(&out[3]));
    for i in 0..m {
        for j in 0..n {
            let want: f64 = (0..k).map(|p| a[i * k + p] as f64 * b[p * n + j] as f64).sum();
            assert!((wide[j * m + i] - 2.0 * want).abs() < 1e-6);
            assert!((sum[i * n + j] as f64 - 1.0 - want).abs() < 1e-6);
        }
    }
}

#[test]
fn operands_that_reach_outside_are_errors() {
    for (oa, sa) in [(1, [3, 1]), (-1, [3, 1]), (0, [4, 1]), (0, [3, i64::MAX])] {
        let kind = ContractKind::Matmul { batch: [].into_iter().collect(), m: 2, n: 2, k: 3 };
        let e = epilogue(&[2, 2], 2, DType::F32, None);
        let c = Contract { kind, dtype: DType::F32, a: operand(0, oa, &sa), b: operand(1, 0, &[2, 1]), epilogue: e };
        assert!(run(vec![Step::Contract(c)], &[vec![0; 24], vec![0; 24], vec![0; 16]], &[]).is_err(), "{oa} {sa:?}");
    }
}

/// Every pair of an element of x and of the weight that meet, with the element of y that their product goes to.
fn meet(s: &ConvSizes, mut each: impl FnMut(usize, usize, usize)) {
    let (spec, cg, og) = (&s.spec, s.c / s.spec.groups, s.o / s.spec.groups);
    for (n, o, oy, ox) in
        (0..s.n * s.o * s.oh * s.ow).map(|i| (i / s.ow / s.oh / s.o, i / s.ow / s.oh % s.o, i / s.ow % s.oh, i % s.ow))
    {
        for (c, ky, kx) in (0..cg * s.kh * s.kw).map(|i| (i / s.kw / s.kh, i / s.kw % s.kh, i % s.kw)) {
            let y = (oy * spec.stride[0] + ky * spec.dilation[0]).wrapping_sub(spec.padding[0]);
            let x = (ox * spec.stride[1] + kx * spec.dilation[1]).wrapping_sub(spec.padding[1]);
            if y < s.h && x < s.w {
                let channel = o / og * cg + c;
                let from = ((n * s.c + channel) * s.h + y) * s.w + x;
                let weight = ((o * cg + c) * s.kh + ky) * s.kw + kx;
                each(from, weight, ((n * s.o + o) * s.oh + oy) * s.ow + ox);
            }
        }
    }
}

#[test]
fn convolutions_and_their_gradients() {
    let spec = |stride, padding, dilation, groups| ConvSpec { stride, padding, dilation, groups };
    let cases = [
        (spec([1, 1], [0, 0], [1, 1], 1), [2, 3, 6, 7], [4, 3, 3]),
        (spec([1, 1], [1, 1], [1, 1], 1), [17, 2, 5, 5], [3, 3, 3]),
        (spec([2, 1], [1, 2], [1, 2], 1), [3, 2, 8, 9], [4, 3, 2]),
        (spec([1, 2], [2, 0], [2, 1], 2), [2, 4, 9, 8], [6, 2, 3]),
        (spec([1, 1], [0, 0], [1, 1], 4), [2, 4, 5, 4], [4, 3, 3]),
        (spec([1, 1], [0, 0], [1, 1], 1), [3, 5, 4, 4], [6, 1, 1]),
        (spec([3, 3], [5, 5], [1, 1], 1), [1, 1, 2, 2], [2, 2, 2]),
        (spec([1, 1], [1, 1], [1, 1], 1), [40, 8, 14, 14], [16, 3, 3]),
    ];
    for (spec, [n, c, h, w], [o, kh, kw]) in cases {
        let (oh, ow) = (spec.output(0, h, kh).unwrap(), spec.output(1, w, kw).unwrap());
        let s = ConvSizes { spec, n, c, h, w, o, kh, kw, oh, ow };
        let cg = c / spec.groups;
        let shapes = [[n, c, h, w], [o, cg, kh, kw], [n, o, oh, ow]];
        let sizes = shapes.map(|d| d.iter().product::<usize>());
        let data = [noise(sizes[0], 1), noise(sizes[1], 2), noise(sizes[2], 3)];
        let kinds = [ContractKind::ConvDataGrad(s), ContractKind::ConvFilterGrad(s), ContractKind::Conv(s)];
        for (result, kind) in kinds.into_iter().enumerate() {
            let mut want = vec![0f64; sizes[result]];
            let number = |i: usize, at: usize| data[i][at] as f64;
            meet(&s, |x, w, y| match result {
                0 => want[x] += number(2, y) * number(1, w),
                1 => want[w] += number(0, x) * number(2, y),
                _ => want[y] += number(0, x) * number(1, w),
            });
            let [first, second] = [[2, 1], [0, 2], [0, 1]][result];
            for turned in [false, true] {
                // Operands whose last two axes are swapped in memory, or not.
                let place = |i: usize| {
                    let shape = shapes[i];
                    let mut strides = Shape::from(shape).strides();
                    let mut values = data[i].clone();
                    if turned {
                        (strides[2], strides[3]) = (1, shape[2] as i64);
                        let area = shape[2] * shape[3];
                        for at in 0..sizes[i] {
                            let (y, x) = (at % area / shape[3], at % shape[3]);
                            values[at / area * area + x * shape[2] + y] = data[i][at];
                        }
                    }
                    (values, strides)
                };
                let ((a, sa), (b, sb)) = (place(first), place(second));
                let e = epilogue(&shapes[result], 2, DType::F32, None);
                let (a_op, b_op) = (operand(0, 0, &sa), operand(1, 0, &sb));
                let c = Contract { kind: kind.clone(), dtype: DType::F32, a: a_op, b: b_op, epilogue: e };
                let out = run(vec![Step::Contract(c)], &[bytes(&a), bytes(&b), vec![0xFF; 4 * sizes[result]]], &[]);
                close(&f32::from_bytes(&out.unwrap()[2]), &want, if result == 1 { 100.0 } else { 10.0 });
            }
        }
    }
}

#[test]
fn products_of_halves_are_those_of_f32_rounded_once() {
    use crate::dtype::bf16;
    let (m, n, k) = (9, 33, 301);
    let half = |v: Vec<f32>| v.into_iter().map(bf16::from_f32).collect::<Vec<_>>();
    let (a, b, bias) = (half(noise(m * k, 1)), half(noise(k * n, 2)), half(noise(n, 3)));
    for with_bias in [None, Some(2)] {
        let kind = ContractKind::Matmul { batch: [].into_iter().collect(), m, n, k };
        let e = epilogue(&[m, n], 3, DType::BF16, with_bias);
        let (x, y) = (operand(0, 0, &[k as i64, 1]), operand(1, 0, &[n as i64, 1]));
        let c = Contract { kind, dtype: DType::BF16, a: x, b: y, epilogue: e };
        let slots = [bytes(&a), bytes(&b), bytes(&bias), vec![0xFF; 2 * m * n]];
        let got = bf16::from_bytes(&run(vec![Step::Contract(c)], &slots, &[]).unwrap()[3]);
        for (at, got) in got.into_iter().enumerate() {
            let (i, j) = (at / n, at % n);
            let exact: f64 = (0..k).map(|t| f64::from(a[i * k + t]) * f64::from(b[t * n + j])).sum();
            let want = match with_bias {
                Some(_) => (f64::from(bf16::from_f64(exact)) + f64::from(bias[j])).max(0.0),
                None => exact,
            };
            let got = f64::from(got);
            assert!((got - want).abs() <= 0.008 * exact.abs().max(want.abs()) + 1e-5, "{at}: {got}, not {want}");
        }
    }
}
