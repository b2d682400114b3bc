//! Scans, sorts, and reading and writing at indexed places: every device against plain loops, and against PyTorch 2.15.

mod common;

use common::{close, devices, numbers, private_devices};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use sunstone::autograd::{GradCheck, gradcheck};
use sunstone::prelude::*;

/// A read that another thread may wait for, whatever the elements are.
fn read<T: sunstone::dtype::Element>(x: &Tensor) -> impl Future<Output = Result<Vec<T>>> + Send + use<T> {
    x.to_vec_async::<T>()
}

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// What a future gives that is over at the first poll.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it is not over at once"),
    }
}

#[track_caller]
fn same(what: &str, got: &Tensor, want: &[f32]) {
    let got = got.cast(DType::F32).to_vec::<f32>().unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(g == w || (g.is_nan() && w.is_nan()), "{what}: element {i} is {g}, expected {w}; {got:?}");
    }
}

fn f32s(data: &[f32], device: &Device) -> Tensor {
    Tensor::from_slice(data, [data.len()], device)
}

fn i32s(data: &[i32], device: &Device) -> Tensor {
    Tensor::from_slice(data, [data.len()], device)
}

/// Sizes of rows around everything that a kernel counts in, with the number of rows.
const ROWS: [(usize, usize); 13] = [
    (1, 1),
    (3, 2),
    (70_000, 3),
    (5, 64),
    (5, 65),
    (2, 1023),
    (3, 1024),
    (2, 1025),
    (1, 2048),
    (1, 2049),
    (2, 5000),
    (0, 5),
    (5, 0),
];

#[test]
fn running_folds_of_rows_of_every_length() -> Result<()> {
    for device in devices() {
        for (rows, n) in ROWS {
            let data: Vec<i32> = numbers(rows * n, 5).iter().map(|v| (v * 100.0) as i32).collect();
            let x = Tensor::from_slice(&data, [rows, n], &device);
            let (mut sums, mut best, mut at) = (vec![], vec![], vec![]);
            for row in data.chunks(n.max(1)) {
                let (mut sum, mut top) = (0, 0);
                for (j, &v) in row.iter().enumerate() {
                    sum += v;
                    top = if v >= row[top] { j } else { top };
                    sums.push(sum);
                    best.push(row[top]);
                    at.push(top as i32);
                }
            }
            assert_eq!(x.cumsum(1).to_vec::<i32>()?, sums, "{rows} rows of {n} on {device}");
            let (values, indices) = x.cummax(-1);
            assert_eq!(values.to_vec::<i32>()?, best, "{rows} rows of {n} on {device}");
            assert_eq!(indices.to_vec::<i32>()?, at, "{rows} rows of {n} on {device}");
            // The same along columns, of a view that is not contiguous.
            let columns = x.t().cumsum(0).t();
            assert_eq!(columns.to_vec::<i32>()?, sums, "columns: {rows} of {n} on {device}");
        }
    }
    Ok(())
}

#[test]
fn rows_in_order_of_every_length() -> Result<()> {
    for device in devices() {
        for (rows, n) in ROWS {
            // Few values, so that many are equal and stability shows.
            let data: Vec<f32> = numbers(rows * n, 6).iter().map(|v| (v * 20.0).round()).collect();
            let x = Tensor::from_slice(&data, [rows, n], &device);
            for descending in [false, true] {
                let (mut values, mut indices) = (vec![], vec![]);
                for row in data.chunks(n.max(1)) {
                    let mut order: Vec<i32> = (0..n as i32).collect();
                    let by = |a: &i32, b: &i32| row[*a as usize].total_cmp(&(row[*b as usize] + 0.0));
                    let key = |i: i32| row[i as usize] + 0.0;
                    order.sort_by(|a, b| match descending {
                        true => key(*b).partial_cmp(&key(*a)).unwrap_or_else(|| by(a, b)),
                        false => key(*a).partial_cmp(&key(*b)).unwrap_or_else(|| by(a, b)),
                    });
                    values.extend(order.iter().map(|&i| row[i as usize]));
                    indices.extend(order);
                }
                let what = format!("{rows} rows of {n}, descending {descending}, on {device}");
                let (v, i) = x.sort(1, descending);
                assert_eq!(v.to_vec::<f32>()?, values, "{what}");
                assert_eq!(i.to_vec::<i32>()?, indices, "{what}");
                assert_eq!(x.t().sort(0, descending).1.t().to_vec::<i32>()?, indices, "columns of {what}");
            }
        }
    }
    Ok(())
}

#[test]
fn every_dtype_is_scanned_and_sorted() -> Result<()> {
    for device in devices() {
        for dtype in DType::ALL.into_iter().filter(|d| device.caps().dtypes.contains(d)) {
            let data = [3.0f32, 0.0, 1.0, 3.0, 1.0, 0.0, 2.0];
            let x = f32s(&data, &device).cast(dtype);
            let truth = dtype == DType::Bool;
            let name = format!("{dtype} on {device}");
            let (v, i) = x.sort(0, false);
            assert_eq!(v.dtype(), dtype);
            if truth {
                same(&name, &v, &[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
                same(&name, &i, &[1.0, 5.0, 0.0, 2.0, 3.0, 4.0, 6.0]);
                same(&name, &x.cumsum(0), &[1.0, 1.0, 2.0, 3.0, 4.0, 4.0, 5.0]);
                same(&name, &x.cummin(0).1, &[0.0, 1.0, 1.0, 1.0, 1.0, 5.0, 5.0]);
                continue;
            }
            same(&name, &v, &[0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0]);
            same(&name, &i, &[1.0, 5.0, 2.0, 4.0, 6.0, 0.0, 3.0]);
            same(&name, &x.sort(0, true).1, &[0.0, 3.0, 6.0, 2.0, 4.0, 1.0, 5.0]);
            same(&name, &x.cumsum(0), &[3.0, 3.0, 4.0, 7.0, 8.0, 8.0, 10.0]);
            same(&name, &(&x + 1).cumprod(0), &[4.0, 4.0, 8.0, 32.0, 64.0, 64.0, 192.0]);
            same(&name, &x.cummax(0).1, &[0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 3.0]);
            same(&name, &x.linear_scan(&x, 0), &[3.0, 0.0, 1.0, 6.0, 7.0, 0.0, 2.0]);
            same(
                &name,
                &x.scatter_add(0, &i32s(&[1, 1], &device), &x.narrow(0, 2, 2)),
                &[3.0, 4.0, 1.0, 3.0, 1.0, 0.0, 2.0],
            );
            same(
                &name,
                &x.scatter(0, &i32s(&[1, 1], &device), &x.narrow(0, 2, 2)),
                &[3.0, 3.0, 1.0, 3.0, 1.0, 0.0, 2.0],
            );
        }
        // Integers at the ends of their range, and what wraps.
        let ends = i32s(&[i32::MAX, i32::MIN, -1, 0, 1], &device);
        assert_eq!(ends.sort(0, false).0.to_vec::<i32>()?, [i32::MIN, -1, 0, 1, i32::MAX]);
        assert_eq!(ends.sort(0, true).1.to_vec::<i32>()?, [0, 4, 3, 2, 1]);
        let bytes = Tensor::from_slice(&[200u8, 100, 255], [3], &device);
        assert_eq!(bytes.cumsum(0).to_vec::<u8>()?, [200, 44, 43]);
        assert_eq!(bytes.sort(0, false).0.to_vec::<u8>()?, [100, 200, 255]);
        let words = Tensor::from_slice(&[u32::MAX, 0, 7], [3], &device);
        assert_eq!(words.sort(0, true).0.to_vec::<u32>()?, [u32::MAX, 7, 0]);
    }
    Ok(())
}

/// Expected values are PyTorch's.
#[test]
fn scans_and_sorts_at_the_edges_are_as_in_pytorch() {
    for device in devices() {
        let x = f32s(&[1.0, 3.0, 3.0, -INF, NAN, 2.0, INF, NAN, 3.0], &device);
        let (v, i) = x.cummax(0);
        same("cummax", &v, &[1.0, 3.0, 3.0, 3.0, NAN, NAN, NAN, NAN, NAN]);
        same("cummax", &i, &[0.0, 1.0, 2.0, 2.0, 4.0, 4.0, 4.0, 7.0, 7.0]);
        let (v, i) = x.cummin(0);
        same("cummin", &v, &[1.0, 1.0, 1.0, -INF, NAN, NAN, NAN, NAN, NAN]);
        same("cummin", &i, &[0.0, 0.0, 0.0, 3.0, 4.0, 4.0, 4.0, 7.0, 7.0]);
        same("cumsum", &f32s(&[INF, -INF, 1.0], &device).cumsum(0), &[INF, NAN, NAN]);
        let x = f32s(&[-INF, -INF, 1.0, -INF, INF, 2.0, NAN], &device);
        same("logcumsumexp", &x.logcumsumexp(0), &[-INF, -INF, 1.0, 1.0, INF, INF, NAN]);
        // The same with a long row, which another kernel takes.
        let long = Tensor::cat(&[&x, &Tensor::zeros([100], DType::F32, &device)], 0);
        same("logcumsumexp", &long.logcumsumexp(0).slice(..7), &[-INF, -INF, 1.0, 1.0, INF, INF, NAN]);

        let z = f32s(&[2.0, NAN, -0.0, 0.0, INF, -INF, NAN, 1.0, 2.0, 0.0, -0.0], &device);
        let (v, i) = z.sort(0, false);
        same("sort", &v, &[-INF, 0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 2.0, INF, NAN, NAN]);
        same("sort", &i, &[5.0, 2.0, 3.0, 9.0, 10.0, 7.0, 0.0, 8.0, 4.0, 1.0, 6.0]);
        same("sort", &v.slice(1..5).recip(), &[-INF, INF, INF, -INF]);
        let (v, i) = z.sort(-1, true);
        same("sort", &v, &[NAN, NAN, INF, 2.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, -INF]);
        same("sort", &i, &[1.0, 6.0, 4.0, 0.0, 8.0, 7.0, 2.0, 3.0, 9.0, 10.0, 5.0]);
        same("topk", &z.topk(4, 0, true).1, &[1.0, 6.0, 4.0, 0.0]);
        same("topk", &z.topk(2, 0, false).0, &[-INF, 0.0]);
        let m = Tensor::from_slice(&[4.0, 1.0, 3.0, 2.0, NAN, 1.0, NAN, 0.0, 1.0, 1.0, 2.0, 2.0], [3, 4], &device);
        let (v, i) = m.median(1);
        same("median", &v, &[2.0, NAN, 1.0]);
        same("median", &i, &[3.0, 0.0, 1.0]);
        same("median", &m.slice((0, ..)).median_all(), &[2.0]);
        same("median", &m.median_all(), &[NAN]);
        same("median", &i32s(&[5, 1, 2, 4], &device).median_all(), &[2.0]);
        let k = f32s(&[4.0, 1.0, NAN, 2.0], &device);
        same("kthvalue", &k.kthvalue(4, 0).0, &[NAN]);
        same("kthvalue", &k.kthvalue(2, 0).1, &[3.0]);
    }
}

#[test]
fn searches_find_the_first_place_or_the_last() -> Result<()> {
    for device in devices() {
        let sorted = f32s(&[1.0, 3.0, 3.0, 5.0], &device);
        let values = f32s(&[0.0, 1.0, 3.0, 4.0, 5.0, 6.0, NAN, INF, -INF], &device).reshape([3, 3]);
        same("left", &sorted.searchsorted(&values, false), &[0.0, 0.0, 1.0, 3.0, 3.0, 4.0, 4.0, 4.0, 0.0]);
        same("right", &values.bucketize(&sorted, true), &[0.0, 1.0, 3.0, 3.0, 4.0, 4.0, 4.0, 4.0, 0.0]);
        let tail = f32s(&[1.0, 3.0, NAN, NAN], &device);
        same("NaN", &tail.searchsorted(&f32s(&[2.0, 9.0, NAN], &device), false), &[1.0, 2.0, 2.0]);
        same("NaN", &tail.searchsorted(&f32s(&[2.0, 9.0, NAN], &device), true), &[1.0, 2.0, 4.0]);
        for n in [1usize, 2, 7, 1000, 70_000] {
            let data: Vec<i32> = (0..n as i32).map(|i| i / 3 * 2).collect();
            let wanted: Vec<i32> = (0..200).map(|i| i * 7 % (n as i32 + 5) - 1).collect();
            let found = i32s(&data, &device).searchsorted(&i32s(&wanted, &device), false).to_vec::<i32>()?;
            let right: Vec<i32> = wanted.iter().map(|w| data.partition_point(|d| d < w) as i32).collect();
            assert_eq!(found, right, "{n} on {device}");
        }
        let rows = Tensor::from_slice(&[1, 2, 3, 10, 20, 30], [2, 3], &device);
        let of = Tensor::from_slice(&[2, 5, 5, 20], [2, 2], &device);
        same("rows", &rows.searchsorted(&of, true), &[2.0, 3.0, 0.0, 2.0]);
    }
    Ok(())
}

/// Expected values are PyTorch's.
#[test]
fn the_last_of_repeated_places_wins() {
    for device in devices() {
        let index = Tensor::from_slice(&[0, 3, 3, 0, 2, 3, 0, 1, 3], [3, 3], &device);
        let src = Tensor::arange(9, &device).reshape([3, 3]).cast(DType::F32) + 1.0;
        let x = Tensor::zeros([4, 3], DType::F32, &device);
        let want = [7.0, 0.0, 0.0, 0.0, 8.0, 0.0, 0.0, 5.0, 0.0, 0.0, 2.0, 9.0];
        same("scatter", &x.scatter(0, &index, &src), &want);
        let (i, j) = (Tensor::from_slice(&[0, -1], [2, 1], &device), i32s(&[1, 3, 1], &device));
        let values = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &device);
        let x = Tensor::zeros([3, 4], DType::F32, &device);
        let put = x.index_put(&[&i, &j], &values, false);
        same("index_put", &put, &[0.0, 3.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 0.0, 5.0]);
        let put = x.index_put(&[&i, &j], &values.slice(0), true);
        same("index_put", &put, &[0.0, 4.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0, 2.0]);
        let n = 50_000;
        let all = Tensor::arange(n, &device);
        let one = i32s(&[0], &device).scatter(0, &all.zeros_like(), &all);
        same("many at one place", &one, &[n as f32 - 1.0]);
    }
}

#[test]
fn indices_may_be_smaller_than_what_they_index() {
    for device in devices() {
        let x = Tensor::arange(24, &device).reshape([2, 3, 4]);
        let index = Tensor::from_slice(&[3, 0], [1, 2, 1], &device);
        same("gather", &x.gather(2, &index), &[3.0, 4.0]);
        let src = Tensor::from_slice(&[100, 200], [1, 2, 1], &device);
        let mut want: Vec<f32> = (0..24).map(|v| v as f32).collect();
        (want[3], want[4]) = (103.0, 204.0);
        same("scatter_add", &x.scatter_add(2, &index, &src), &want);
        (want[3], want[4]) = (100.0, 200.0);
        same("scatter", &x.scatter(-1, &index, &src), &want);
        let none = Tensor::zeros([0, 3, 4], DType::I32, &device);
        same("nothing", &x.scatter_add(0, &none, &x), &x.cast(DType::F32).to_vec::<f32>().unwrap());
        let a = Tensor::arange(12, &device).reshape([4, 1, 3]);
        let along = a.take_along(&Tensor::from_slice(&[0, 3, 3, 1, 2, 0], [3, 2, 1], &device), 0);
        let want = [0, 1, 2, 9, 10, 11, 9, 10, 11, 3, 4, 5, 6, 7, 8, 0, 1, 2].map(|v| v as f32);
        same("take_along", &along, &want);
        same("take", &a.take(&i32s(&[-1, 5, 0], &device)), &[11.0, 5.0, 0.0]);
    }
}

#[test]
fn a_place_outside_is_an_error_and_writes_nowhere() -> Result<()> {
    for device in private_devices() {
        let x = Tensor::zeros([3, 4], DType::F32, &device);
        let one = Tensor::ones([1, 4], DType::F32, &device);
        for deterministic in [false, true] {
            device.set_deterministic(deterministic);
            for bad in [-1, 3, i32::MIN, i32::MAX] {
                let index = Tensor::from_slice(&[0, bad, 1, 2], [1, 4], &device);
                let all = [
                    x.gather(0, &index),
                    x.scatter_add(0, &index, &one),
                    x.scatter(0, &index, &one),
                    x.take_along(&index, 0),
                    x.index_add(0, &i32s(&[bad], &device), &one),
                    x.index_copy(0, &i32s(&[bad], &device), &one),
                ];
                for (k, y) in all.iter().enumerate() {
                    let error = y.to_vec::<f32>().unwrap_err();
                    let right = matches!(error, Error::IndexOutOfRange { index, size: 3, .. } if index == bad as i64);
                    assert!(right, "case {k}, {bad} on {device}: {error}");
                }
            }
        }
        // Where negative indices count from the end, each axis has its own ends.
        for (i, j, size) in [(-4, 0, 3), (3, 0, 3), (0, 4, 4), (0, -5, 4)] {
            let (i, j) = (i32s(&[i], &device), i32s(&[j], &device));
            for y in [x.index(&[&i, &j]), x.index_put(&[&i, &j], &i.cast(DType::F32), true)] {
                let error = y.to_vec::<f32>().unwrap_err();
                assert!(matches!(error, Error::IndexOutOfRange { size: s, .. } if s == size), "{error}");
            }
        }
        assert_eq!(x.to_vec::<f32>()?, [0.0; 12], "{device} works on");
    }
    Ok(())
}

#[test]
fn sizes_that_depend_on_data() -> Result<()> {
    for device in devices() {
        let x = Tensor::from_slice(&[1.0, 0.0, NAN, -0.0, 2.0, 0.0], [2, 3], &device);
        let places = now(x.nonzero())?;
        assert_eq!(*places.shape(), [3, 2]);
        same("nonzero", &places, &[0.0, 0.0, 0.0, 2.0, 1.0, 1.0]);
        same("count_nonzero", &x.count_nonzero(1), &[2.0, 1.0]);
        same("count_nonzero", &x.count_nonzero(..), &[3.0]);
        assert_eq!(*now(Tensor::scalar(3.0f32, &device).nonzero())?.shape(), [1, 0]);
        assert_eq!(*now(Tensor::scalar(0.0f32, &device).nonzero())?.shape(), [0, 0]);
        assert_eq!(*now(Tensor::zeros([0, 4], DType::F32, &device).nonzero())?.shape(), [0, 2]);
        assert_eq!(*now(Tensor::zeros([5], DType::F32, &device).nonzero())?.shape(), [0, 1]);

        let data = numbers(100_000, 9);
        let x = f32s(&data, &device);
        let picked = now(x.masked_select(&x.gt(1.0)))?;
        let want: Vec<f32> = data.iter().copied().filter(|&v| v > 1.0).collect();
        assert_eq!(now(read::<f32>(&picked))?, want);
        let rows = Tensor::from_slice(&[1, 2, 3], [3], &device);
        let mask = Tensor::from_slice(&[true, false], [2, 1], &device);
        assert_eq!(now(rows.masked_select(&mask))?.to_vec::<i32>()?, [1, 2, 3]);
        assert_eq!(now(rows.masked_select(&rows.gt(9)))?.numel(), 0);

        let x = f32s(&[1.0, -2.0, 3.0], &device).requires_grad();
        let y = now(x.masked_select(&x.gt(0.0)))?;
        let grad = y.square().sum(..).backward()?.get(&x).unwrap();
        assert_eq!(grad.to_vec::<f32>()?, [2.0, 0.0, 6.0]);
        assert_eq!(now(grad.sum(..).item_async::<f32>())?, 8.0);
        assert!(now(grad.item_async::<f32>()).unwrap_err().to_string().contains("exactly one element"));
        assert!(now(grad.to_vec_async::<i32>()).unwrap_err().to_string().contains("order.rs"));
        assert!(now(rows.masked_select(&rows)).unwrap_err().to_string().contains("bool"));
    }
    Ok(())
}

#[test]
fn additions_are_the_same_in_every_run_where_that_is_asked_for() -> Result<()> {
    for device in private_devices() {
        device.set_deterministic(true);
        let n = 5000;
        let index: Vec<i32> = (0..n).map(|i| (i * 7919 % 13) as i32).collect();
        let (index, data) = (i32s(&index, &device), numbers(n, 3));
        let src = f32s(&data, &device) * 1000.0;
        let zeros = Tensor::zeros([13], DType::F32, &device);
        let sums = || zeros.scatter_add(0, &index, &src).to_vec::<f32>();
        let table = Tensor::ones([13, 2], DType::F32, &device).requires_grad();
        let weights = Tensor::stack(&[&src, &src], 1);
        let grads = || -> Result<Vec<f32>> {
            let loss = (table.embedding(&index) * &weights).sum(..);
            loss.backward()?.get(&table).unwrap().to_vec()
        };
        let (first, first_grads) = (sums()?, grads()?);
        for run in 0..20 {
            assert!(sums()?.iter().zip(&first).all(|(a, b)| a.to_bits() == b.to_bits()), "run {run} on {device}");
            assert!(
                grads()?.iter().zip(&first_grads).all(|(a, b)| a.to_bits() == b.to_bits()),
                "run {run} on {device}"
            );
        }
        // In the order of the sources: what a plain loop gives.
        let mut want = [0.0f32; 13];
        for (i, v) in data.iter().enumerate() {
            want[i * 7919 % 13] += v * 1000.0;
        }
        assert_eq!(first, want, "{device}");
        let plan = device.last_plan().unwrap().to_string();
        assert!(plan.contains("in order"), "{plan}");
        // The setting is part of what a plan is made for.
        device.set_deterministic(false);
        let loose = sums()?;
        assert!(!device.last_plan().unwrap().to_string().contains("in order"));
        assert!(loose.iter().zip(&first).all(|(a, b)| close(*a as f64, *b as f64, 1e-4)), "{device}");
    }
    Ok(())
}

#[test]
fn sources_in_order_beyond_one_kernel() -> Result<()> {
    for device in private_devices() {
        device.set_deterministic(true);
        let n = 210_000;
        let index = Tensor::arange(n, &device).remainder(2);
        let sums =
            Tensor::zeros([2], DType::F32, &device).scatter_add(0, &index, &Tensor::ones([n], DType::F32, &device));
        assert_eq!(sums.to_vec::<f32>()?, [105_000.0; 2], "{device}");
    }
    Ok(())
}

fn f64s(data: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(data, shape, &Device::cpu())
}

/// Expected values are PyTorch's.
#[test]
fn the_gradient_of_a_running_product_is_right_where_elements_are_zero() -> Result<()> {
    let x = f64s(&[2.0, 0.0, 3.0, 0.0, 5.0, 1.0, 2.0, 0.0, 4.0, 5.0], &[2, 5]).requires_grad();
    let g = f64s(&[1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 4.0, 3.0, 2.0, 1.0], &[2, 5]);
    let first = (x.cumprod(1) * g).sum(..).backward_graph()?.get(&x).unwrap();
    assert_eq!(first.to_vec::<f64>()?, [1.0, 22.0, 0.0, 0.0, 0.0, 13.0, 4.0, 62.0, 0.0, 0.0]);
    let u = f64s(&[1.0, -2.0, 3.0, 1.0, 2.0, 2.0, 1.0, 1.0, -1.0, 3.0], &[2, 5]);
    let second = (first * u).sum(..).backward()?.get(&x).unwrap();
    assert_eq!(second.to_vec::<f64>()?, [-22.0, 203.0, -12.0, -348.0, 0.0, 66.0, 39.0, 165.0, 14.0, 8.0]);
    Ok(())
}

#[test]
fn second_gradients_of_products_with_zeros_agree_with_differences() {
    let x = f64s(&[2.0, 0.0, 3.0, 0.0, 0.5], &[5]);
    gradcheck(|v| v[0].cumprod(0).sin(), &[x], GradCheck { second: true, ..GradCheck::default() }).unwrap();
}

#[test]
fn misuse_is_an_error() {
    let d = &Device::cpu();
    let x = &Tensor::zeros([2, 3], DType::F32, d);
    let i = &Tensor::zeros([2, 3], DType::I32, d);
    let flat = &Tensor::arange(3, d);
    let empty = &Tensor::zeros([2, 0], DType::F32, d);
    let bad: Vec<(&str, Tensor)> = vec![
        ("cumsum", x.cumsum(2)),
        ("cummax", x.cummax(-3).1),
        ("logcumsumexp", i.logcumsumexp(0)),
        ("linear_scan", x.linear_scan(&Tensor::zeros([4], DType::F32, d), 1)),
        ("linear_scan", x.linear_scan(i, 1)),
        ("sort", x.sort(2, false).0),
        ("argsort", x.argsort(5, false)),
        ("topk", x.topk(4, 1, true).0),
        ("topk", x.topk(1, 2, true).1),
        ("kthvalue", x.kthvalue(0, 1).0),
        ("kthvalue", x.kthvalue(4, 1).1),
        ("median", empty.median(1).0),
        ("median", empty.median_all()),
        ("searchsorted", x.searchsorted(flat, false)),
        ("searchsorted", Tensor::scalar(1.0f32, d).searchsorted(x, false)),
        ("bucketize", x.bucketize(x, false)),
        ("scatter", x.scatter(0, &Tensor::zeros([1, 4], DType::I32, d), &Tensor::zeros([1, 4], DType::F32, d))),
        ("scatter", x.scatter(0, i, i)),
        ("scatter", x.scatter(0, x, x)),
        ("scatter_add", x.scatter_add(2, i, x)),
        ("scatter_add", x.scatter_add(0, flat, x)),
        ("scatter_add", x.gt(0.0).scatter_add(0, i, &x.gt(0.0))),
        ("take_along", x.take_along(flat, 0)),
        ("take_along", x.take_along(&Tensor::zeros([1, 2], DType::I32, d), 0)),
        ("gather", x.take(x)),
        ("gather", empty.gather(1, &Tensor::zeros([2, 1], DType::I32, d))),
        ("index_add", x.index_add(0, i, x)),
        ("index_copy", x.index_copy(0, flat, x)),
        ("index_fill", x.index_fill(7, flat, 0.0)),
        ("index", x.index(&[])),
        ("index", x.index(&[flat, flat, flat])),
        ("index", x.index(&[x])),
        ("index_put", x.index_put(&[flat, &Tensor::arange(2, d)], x, true)),
        ("index_put", x.index_put(&[flat], &Tensor::zeros([7], DType::F32, d), true)),
    ];
    for (k, (name, t)) in bad.iter().enumerate() {
        let error = t.to_vec::<f32>().expect_err(&format!("case {k} ({name}) must fail")).to_string();
        assert!(error.contains(name), "case {k}: '{name}' is missing in: {error}");
        assert!(error.contains("order.rs"), "case {k}: the caller is missing in: {error}");
    }
}
