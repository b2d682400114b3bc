//! Contractions against naive loops in double precision, and additions at indexed places.

use super::*;
use crate::graph::ConvSpec;
use crate::shape::{Layout, Shape};

/// Stores `accumulator + slot 3` (a bias along the last axis) to slot 2.
fn epilogue(shape: &[usize]) -> Loop {
    let mut d = Draft::new(shape, &[]);
    let c = d.push(InstrKind::Accumulator, DType::F32, Level::Outer);
    let mut along = vec![0; shape.len()];
    along[shape.len() - 1] = 1;
    let bias = d.load(3, DType::F32, at(0, &along));
    let y = d.binary(BinaryOp::Add, c, bias);
    d.store(2, at(0, &Shape::from(shape).strides()), y);
    d.0
}

fn operand(slot: usize, offset: i64, strides: &[i64]) -> Operand {
    Operand { slot, layout: Layout { offset, strides: strides.into() } }
}

fn dense(slot: usize, shape: &[usize]) -> Operand {
    Operand { slot, layout: Layout::contiguous(&Shape::from(shape)) }
}

fn contract(
    b: &WgpuBackend,
    kind: ContractKind,
    a: (Operand, &[f32]),
    w: (Operand, &[f32]),
    out: &[usize],
) -> Vec<f32> {
    let last = out[out.len() - 1];
    let bias: Vec<f32> = (0..last).map(|i| i as f32).collect();
    let step = Step::Contract(Contract { kind, dtype: DType::F32, a: a.0, b: w.0, epilogue: epilogue(out) });
    let n = out.iter().product();
    let got = f32s(&run(b, vec![step], &[data(a.1), data(w.1), data(&vec![9.0f32; n]), data(&bias)])[2]);
    got.iter().enumerate().map(|(i, y)| y - (i % last) as f32).collect()
}

fn close(got: &[f32], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len());
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((*g as f64 - w).abs() < 2e-4 * (1.0 + w.abs()), "{what}, element {i}: {g} instead of {w}");
    }
}

#[test]
fn matrix_products_of_odd_sizes_strides_and_batches() {
    shaped().iter().for_each(|b| matrix_products(b));
}

fn matrix_products(b: &WgpuBackend) {
    // Long vectors and few elements have kernels of their own; the last two are cut in parts.
    for (m, n, k) in [
        (1, 1, 1),
        (3, 5, 7),
        (65, 130, 33),
        (128, 64, 16),
        (100, 100, 0),
        (17, 200, 9),
        (8, 8, 3000),
        (1, 300, 64),
        (1, 70, 300),
        (70, 1, 300),
        (48, 80, 2100),
        (20, 9, 9000),
    ] {
        for (transposed_a, transposed_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let (xs, ys) = (noise(6 * m * k + 3, 1), noise(3 * k * n + 1, 2));
            // Batch [2, 3], the second operand broadcast along the first batch axis.
            let strides = |rows: usize, columns: usize, t: bool| match t {
                true => [1, rows as i64],
                false => [columns as i64, 1],
            };
            let (sa, sb) = (strides(m, k, transposed_a), strides(k, n, transposed_b));
            let a = operand(0, 3, &[3 * (m * k) as i64, (m * k) as i64, sa[0], sa[1]]);
            let w = operand(1, 1, &[0, (k * n) as i64, sb[0], sb[1]]);
            let kind = ContractKind::Matmul { batch: Dims::from_slice(&[2, 3]), m, n, k };
            let got = contract(b, kind, (a, &xs), (w, &ys), &[2, 3, m, n]);
            let mut want = Vec::new();
            for (batch, i, j) in (0..6).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j)))) {
                let (x, y) = (&xs[3 + batch * m * k..], &ys[1 + batch % 3 * k * n..]);
                let sum = (0..k).map(|p| {
                    x[i * sa[0] as usize + p * sa[1] as usize] as f64
                        * y[p * sb[0] as usize + j * sb[1] as usize] as f64
                });
                want.push(sum.sum());
            }
            close(&got, &want, &format!("{m}x{n}x{k} {transposed_a} {transposed_b}"));
        }
    }
}

/// Products of so many tiles that they are made of large ones, by fours where sizes and places allow it.
#[test]
fn wide_products_of_every_layout() {
    const BATCH: usize = 60;
    for b in shaped() {
        for ((m, n, k), start) in [((68, 132, 20), 4), ((68, 132, 20), 3), ((66, 130, 19), 0)] {
            for (transposed_a, transposed_b) in [(false, false), (true, false), (false, true), (true, true)] {
                let (xs, ys) = (noise(BATCH * m * k + start, 1), noise(BATCH * k * n + start, 2));
                let strides = |rows: usize, columns: usize, t: bool| match t {
                    true => [(rows * columns) as i64, 1, rows as i64],
                    false => [(rows * columns) as i64, columns as i64, 1],
                };
                let (sa, sb) = (strides(m, k, transposed_a), strides(k, n, transposed_b));
                let kind = ContractKind::Matmul { batch: Dims::from_slice(&[BATCH]), m, n, k };
                let (a, w) = (operand(0, start as i64, &sa), operand(1, start as i64, &sb));
                let got = contract(&b, kind, (a, &xs), (w, &ys), &[BATCH, m, n]);
                let at = |s: &[i64; 3], batch: usize, i: usize, j: usize| {
                    start + batch * s[0] as usize + i * s[1] as usize + j * s[2] as usize
                };
                let mut want = Vec::new();
                for (batch, i, j) in (0..BATCH).flat_map(|b| (0..m).flat_map(move |i| (0..n).map(move |j| (b, i, j)))) {
                    let term = |p| xs[at(&sa, batch, i, p)] as f64 * ys[at(&sb, batch, p, j)] as f64;
                    want.push((0..k).map(term).sum());
                }
                close(&got, &want, &format!("{m}x{n}x{k} from {start} {transposed_a} {transposed_b}"));
            }
        }
    }
}

/// Whether the only step of a plan is made by the wide kernel, in tiles of so many rows.
fn is_wide(b: &WgpuBackend, step: Step, rows: usize) -> bool {
    let kernels = b.compile(plan(4, vec![step], vec![], vec![])).unwrap().kernels();
    kernels.iter().any(|text| text.contains(&format!("const TILE_M = {rows}u;")))
}

/// Large tiles, whose batches are all the same product, so that a reference is had for one.
#[test]
fn wide_products_of_large_tiles() {
    const BATCH: usize = 120;
    let Some(b) = fresh() else { return };
    // Cores for all of them at once, but for no more low ones.
    b.set_tuning(Tuning { wide_room: 180, ..Tuning::default() });
    let (m, n, k) = (68, 72, 516);
    for (transposed_a, transposed_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let (xs, ys) = (noise(m * k, 1), noise(k * n, 2));
        let strides = |rows: usize, columns: usize, t: bool| match t {
            true => [0, 1, rows as i64],
            false => [0, columns as i64, 1],
        };
        let (sa, sb) = (strides(m, k, transposed_a), strides(k, n, transposed_b));
        let kind = ContractKind::Matmul { batch: Dims::from_slice(&[BATCH]), m, n, k };
        let (a, w) = (operand(0, 0, &sa), operand(1, 0, &sb));
        let out = [BATCH, m, n];
        let step = Contract { kind, dtype: DType::F32, a, b: w, epilogue: epilogue(&out) };
        assert!(is_wide(&b, Step::Contract(step.clone()), 128));
        let got = contract(&b, step.kind, (step.a, &xs), (step.b, &ys), &out);
        let mut want = Vec::new();
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let x = |p: usize| xs[i * sa[1] as usize + p * sa[2] as usize] as f64;
            want.push((0..k).map(|p| x(p) * ys[p * sb[1] as usize + j * sb[2] as usize] as f64).sum());
        }
        close(&got, &want.repeat(BATCH), &format!("{transposed_a} {transposed_b}"));
    }
}

/// Few tiles of long sums, which are cut in parts, the last of them shorter.
#[test]
fn wide_products_in_parts() {
    let b = backend_or_return!();
    for (m, n, k) in [(36, 260, 9000), (35, 259, 9001)] {
        for (transposed_a, transposed_b) in [(false, true), (true, false)] {
            let (xs, ys) = (noise(m * k, 1), noise(k * n, 2));
            let strides = |rows: usize, columns: usize, t: bool| match t {
                true => [1, rows as i64],
                false => [columns as i64, 1],
            };
            let (sa, sb) = (strides(m, k, transposed_a), strides(k, n, transposed_b));
            let kind = ContractKind::Matmul { batch: Dims::new(), m, n, k };
            let (a, w) = (operand(0, 0, &sa), operand(1, 0, &sb));
            let step = Contract { kind, dtype: DType::F32, a, b: w, epilogue: epilogue(&[m, n]) };
            assert!(is_wide(&b, Step::Contract(step.clone()), 64));
            let got = contract(&b, step.kind, (step.a, &xs), (step.b, &ys), &[m, n]);
            let mut want = Vec::new();
            for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                let x = |p: usize| xs[i * sa[0] as usize + p * sa[1] as usize] as f64;
                want.push((0..k).map(|p| x(p) * ys[p * sb[0] as usize + j * sb[1] as usize] as f64).sum());
            }
            close(&got, &want, &format!("{m}x{n}x{k} {transposed_a} {transposed_b}"));
        }
    }
}

/// A software driver may stop an invocation after 65,535 turns of its loops.
#[test]
fn sums_of_many_terms_are_whole() {
    let all = [(96, 96, 70_000), (8, 600, 270_000), (1, 1, 5_000_000), (640, 32, 70_000)];
    // Also where nothing else would cut a sum in parts.
    let Some(whole) = fresh() else { return };
    whole.set_tuning(Tuning { tiled_room: 1, long_room: 1, wide_room: 1, ..Tuning::default() });
    let devices = shaped().into_iter().chain([whole]);
    for (b, (m, n, k)) in devices.flat_map(|b| all.map(|sizes| (b.clone(), sizes))) {
        let kind = ContractKind::Matmul { batch: Dims::new(), m, n, k };
        // Broadcast operands: every term is 0.5.
        let (a, w) = (operand(0, 0, &[0, 0]), operand(1, 0, &[0, 0]));
        let got = contract(&b, kind, (a, &[2.0]), (w, &[0.25]), &[m, n]);
        close(&got, &vec![k as f64 * 0.5; m * n], "sum");
    }
}

#[test]
fn a_large_product_is_not_slow() {
    let b = backend_or_return!();
    let n = 512;
    let (xs, ys) = (noise(n * n, 1), noise(n * n, 2));
    let kind = ContractKind::Matmul { batch: Dims::new(), m: n, n, k: n };
    let step =
        Contract { kind, dtype: DType::F32, a: dense(0, &[n, n]), b: dense(1, &[n, n]), epilogue: epilogue(&[n, n]) };
    let executable = b.compile(plan(4, vec![Step::Contract(step)], vec![], vec![])).unwrap();
    let slots: Vec<_> = (0..4).map(|_| Arc::new(b.allocate(4 * n * n).unwrap())).collect();
    b.write(&slots[0], DType::F32, &data(&xs).1).unwrap();
    b.write(&slots[1], DType::F32, &data(&ys).1).unwrap();
    executable.run(&slots, &[]).unwrap();
    b.synchronize().unwrap();
    let start = std::time::Instant::now();
    executable.run(&slots, &[]).unwrap();
    b.synchronize().unwrap();
    println!("512³: {:?}", start.elapsed());
    assert!(start.elapsed().as_secs() < 20);
}

/// Visits every (n, group, output channel, input channel in group, oh, ow, kh, kw) whose input place is inside, with
/// the flat places of x, w and y.
fn each_term(s: &ConvSizes, mut visit: impl FnMut(usize, usize, usize)) {
    let (g, cg, og) = (s.spec.groups, s.c / s.spec.groups, s.o / s.spec.groups);
    for n in 0..s.n {
        for (group, co, ci) in (0..g).flat_map(|g| (0..og).flat_map(move |o| (0..cg).map(move |c| (g, o, c)))) {
            let (o, c) = (group * og + co, group * cg + ci);
            for (oh, ow) in (0..s.oh).flat_map(|h| (0..s.ow).map(move |w| (h, w))) {
                for (kh, kw) in (0..s.kh).flat_map(|h| (0..s.kw).map(move |w| (h, w))) {
                    let ih = (oh * s.spec.stride[0] + kh * s.spec.dilation[0]).wrapping_sub(s.spec.padding[0]);
                    let iw = (ow * s.spec.stride[1] + kw * s.spec.dilation[1]).wrapping_sub(s.spec.padding[1]);
                    if ih < s.h && iw < s.w {
                        visit(
                            ((n * s.c + c) * s.h + ih) * s.w + iw,
                            ((o * cg + ci) * s.kh + kh) * s.kw + kw,
                            ((n * s.o + o) * s.oh + oh) * s.ow + ow,
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn convolutions_and_their_gradients() {
    shaped().iter().for_each(|b| convolutions(b));
}

fn convolutions(b: &WgpuBackend) {
    let spec = |stride, padding, dilation, groups| ConvSpec { stride, padding, dilation, groups };
    let cases = [
        (spec([1, 1], [0, 0], [1, 1], 1), 2, 3, 9, 7, 4, 3, 3),
        (spec([2, 1], [1, 2], [1, 2], 2), 3, 4, 12, 11, 6, 3, 2),
        (spec([3, 2], [2, 0], [2, 1], 4), 1, 4, 14, 9, 4, 2, 4),
        (spec([1, 1], [1, 1], [1, 1], 1), 4, 20, 13, 12, 40, 3, 3),
        (spec([1, 1], [1, 1], [1, 1], 1), 4, 1, 40, 40, 3, 3, 3),
        (spec([1, 1], [0, 0], [1, 1], 1), 40, 66, 20, 20, 67, 1, 1),
    ];
    for (spec, n, c, h, w, o, kh, kw) in cases {
        let (oh, ow) = (spec.output(0, h, kh).unwrap(), spec.output(1, w, kw).unwrap());
        let s = ConvSizes { spec, n, c, h, w, o, kh, kw, oh, ow };
        let (xd, wd, yd) = ([n, c, h, w], [o, c / spec.groups, kh, kw], [n, o, oh, ow]);
        let len = |d: &[usize]| d.iter().product::<usize>();
        let (xs, ws, dys) = (noise(len(&xd), 1), noise(len(&wd), 2), noise(len(&yd), 3));
        let (mut y, mut dx, mut dw) = (vec![0.0; dys.len()], vec![0.0; xs.len()], vec![0.0; ws.len()]);
        each_term(&s, |i, j, k| {
            y[k] += xs[i] as f64 * ws[j] as f64;
            dx[i] += dys[k] as f64 * ws[j] as f64;
            dw[j] += dys[k] as f64 * xs[i] as f64;
        });
        let forward = contract(b, ContractKind::Conv(s), (dense(0, &xd), &xs), (dense(1, &wd), &ws), &yd);
        close(&forward, &y, "conv");
        let data = contract(b, ContractKind::ConvDataGrad(s), (dense(0, &yd), &dys), (dense(1, &wd), &ws), &xd);
        close(&data, &dx, "data gradient");
        let filter = contract(b, ContractKind::ConvFilterGrad(s), (dense(0, &xd), &xs), (dense(1, &yd), &dys), &wd);
        close(&filter, &dw, "filter gradient");
    }
}

/// A tensor's elements at the places of another layout, which begins at `start` and has its channels last.
fn channels_last(slot: usize, start: usize, values: &[f32], d: [usize; 4]) -> (Operand, Vec<f32>) {
    let strides = [d[1] * d[2] * d[3], 1, d[3] * d[1], d[1]];
    let mut all = vec![f32::NAN; start + values.len()];
    for (i, value) in values.iter().enumerate() {
        let at = [i / (d[1] * d[2] * d[3]), i / (d[2] * d[3]) % d[1], i / d[3] % d[2], i % d[3]];
        all[start + at.iter().zip(strides).map(|(i, s)| i * s).sum::<usize>()] = *value;
    }
    (operand(slot, start as i64, &strides.map(|s| s as i64)), all)
}

/// Convolutions of so many places that they are made of large tiles, in every way that these are filled.
#[test]
fn wide_convolutions_and_their_gradients() {
    let b = backend_or_return!();
    let spec = |stride, padding, dilation, groups| ConvSpec { stride, padding, dilation, groups };
    let cases = [
        // By windows; both gradients too, the weight's in parts.
        (spec([1, 1], [1, 1], [1, 1], 2), [4, 16, 60, 56], [64, 3, 3], [true, true, true]),
        (spec([2, 1], [1, 2], [1, 2], 3), [8, 27, 41, 53], [132, 3, 2], [true, true, true]),
        (spec([1, 3], [0, 2], [1, 1], 1), [24, 16, 24, 64], [16, 1, 5], [true, true, false]),
        // As products of matrices, by fours and not.
        (spec([1, 1], [0, 0], [1, 1], 1), [40, 68, 20, 20], [72, 1, 1], [true, true, true]),
        (spec([1, 1], [0, 0], [1, 1], 1), [260, 21, 7, 7], [22, 1, 1], [true, true, false]),
        // One place in four, and a kernel of more rows than there are bits.
        (spec([2, 2], [0, 0], [1, 1], 1), [64, 20, 30, 29], [24, 1, 1], [true, true, false]),
        (spec([1, 1], [0, 0], [1, 1], 1), [8, 4, 33, 100], [16, 17, 1], [false, false, false]),
    ];
    for (spec, [n, c, h, w], [o, kh, kw], wide) in cases {
        let (oh, ow) = (spec.output(0, h, kh).unwrap(), spec.output(1, w, kw).unwrap());
        let s = ConvSizes { spec, n, c, h, w, o, kh, kw, oh, ow };
        let (xd, wd, yd) = ([n, c, h, w], [o, c / spec.groups, kh, kw], [n, o, oh, ow]);
        let len = |d: &[usize]| d.iter().product::<usize>();
        let (xs, ws, dys) = (noise(len(&xd), 1), noise(len(&wd), 2), noise(len(&yd), 3));
        let (mut y, mut dx, mut dw) = (vec![0.0; dys.len()], vec![0.0; xs.len()], vec![0.0; ws.len()]);
        each_term(&s, |i, j, k| {
            y[k] += xs[i] as f64 * ws[j] as f64;
            dx[i] += dys[k] as f64 * ws[j] as f64;
            dw[j] += dys[k] as f64 * xs[i] as f64;
        });
        let passes = [
            (ContractKind::Conv(s), (&xs, xd), (&ws, wd), yd, y),
            (ContractKind::ConvDataGrad(s), (&dys, yd), (&ws, wd), xd, dx),
            (ContractKind::ConvFilterGrad(s), (&xs, xd), (&dys, yd), wd, dw),
        ];
        for ((kind, (a, ad), (w, wd), out, want), wide) in passes.into_iter().zip(wide) {
            let what = format!("{kind:?}");
            let step = |a: &Operand, b: &Operand| {
                let (a, b) = (a.clone(), b.clone());
                Step::Contract(Contract { kind: kind.clone(), dtype: DType::F32, a, b, epilogue: epilogue(&out) })
            };
            assert_eq!(is_wide(&b, step(&dense(0, &ad), &dense(1, &wd)), 64), wide, "{what}");
            let portable = crate::kernel::generate(&step(&dense(0, &ad), &dense(1, &wd))).unwrap();
            assert!(portable.iter().all(|kernel| !kernel.wgsl.contains("TILE_M")), "{what} on any device");
            close(&contract(&b, kind.clone(), (dense(0, &ad), a), (dense(1, &wd), w), &out), &want, &what);
            // Where no four lie together, and where fours of channels do.
            let start = if kh == 1 { 4 } else { 3 };
            let ((a, xs), (w, ws)) = (channels_last(0, start, a, ad), channels_last(1, start, w, wd));
            assert_eq!(is_wide(&b, step(&a, &w), 64), wide, "{what}");
            close(&contract(&b, kind.clone(), (a, &xs), (w, &ws), &out), &want, &format!("{what} from {start}"));
        }
    }
}

/// The same of halves, whose products are made in f32.
#[test]
fn wide_convolutions_of_halves() {
    let b = backend_or_return!();
    let spec = ConvSpec { stride: [1, 1], padding: [1, 1], dilation: [1, 1], groups: 1 };
    let (n, c, h, w, o) = (4, 8, 57, 56, 16);
    for kernel in [3, 1] {
        let spec = ConvSpec { padding: [kernel / 2; 2], ..spec };
        let s = ConvSizes { spec, n, c, h, w, o, kh: kernel, kw: kernel, oh: h, ow: w };
        let halves = |n: usize, seed| noise(n, seed).iter().map(|&x| half::f16::from_f32(x)).collect::<Vec<_>>();
        let (xs, ws) = (halves(n * c * h * w, 1), halves(o * c * kernel * kernel, 2));
        let out = [n, o, h, w];
        let mut want = vec![0.0; n * o * h * w];
        each_term(&s, |i, j, k| want[k] += xs[i].to_f64() * ws[j].to_f64());
        let (a, k) = (dense(0, &[n, c, h, w]), dense(1, &[o, c, kernel, kernel]));
        let kind = ContractKind::Conv(s);
        let step = Step::Contract(Contract { kind, dtype: DType::F16, a, b: k, epilogue: epilogue(&out) });
        assert!(is_wide(&b, step.clone(), 64));
        let slots = [data(&xs), data(&ws), data(&vec![9.0f32; want.len()]), data(&vec![0.0f32; w])];
        close(&f32s(&run(&b, vec![step], &slots)[2]), &want, "halves");
    }
}

fn origin() -> Origin {
    Origin { op: "scatter_add", at: crate::error::Caller::here() }
}

fn scatter(b: &WgpuBackend, dtype: DType, out: usize, slots: &[Data]) -> Result<Vec<Vec<u8>>> {
    // [2, 4] with [2, 5] sources along axis 1; the sources lie transposed.
    let step = Step::Scatter(Scatter {
        op: ReduceOp::Sum,
        deterministic: false,
        axis: 1,
        shape: Dims::from_slice(&[2, 4]),
        count: 5,
        dtype,
        base: dense(0, &[2, 4]),
        index: dense(1, &[2, 5]),
        src: operand(2, 0, &[1, 2]),
        out,
        origin: 0,
    });
    try_run(b, plan(slots.len(), vec![step], vec![], vec![origin()]), &[], slots)
}

#[test]
fn additions_at_repeated_places() {
    let b = backend_or_return!();
    let index = data(&[0i32, 1, 1, 3, 1, 2, 2, 2, 2, 2]);
    let src = [1.0f32, 10., 2., 20., 3., 30., 4., 40., 5., 50.];
    let want = [101.0f32, 110., 100., 104., 100., 100., 250., 100.];
    let out = scatter(&b, DType::F32, 3, &[data(&[100.0f32; 8]), index, data(&src), data(&[0.0f32; 8])]).unwrap();
    assert_eq!((f32s(&out[0]), f32s(&out[3])), (vec![100.0; 8], want.to_vec()));
    let index = data(&[0i32, 1, 1, 3, 1, 2, 2, 2, 2, 2]);
    let out = scatter(&b, DType::F32, 0, &[data(&[100.0f32; 8]), index, data(&src)]).unwrap();
    assert_eq!(f32s(&out[0]), want);
    let index = data(&[0i32, 1, 1, 3, 1, 2, 2, 2, 2, 2]);
    let out = scatter(&b, DType::I32, 0, &[data(&[100i32; 8]), index, data(&src.map(|x| x as i32))]).unwrap();
    assert_eq!(i32::from_bytes(&out[0]), want.map(|x| x as i32));
    let index = data(&[0i32, 1, 1, 3, 1, 2, 2, 2, 2, 2]);
    let out = scatter(&b, DType::U8, 0, &[data(&[200u8; 8]), index, data(&src.map(|x| x as u8))]).unwrap();
    assert_eq!(u8::from_bytes(&out[0]), want.map(|x| (x as u32 + 100) as u8));
}

#[test]
fn many_additions_at_one_place() {
    let b = backend_or_return!();
    let n = 10_000;
    let step = Step::Scatter(Scatter {
        op: ReduceOp::Sum,
        deterministic: false,
        axis: 0,
        shape: Dims::from_slice(&[1]),
        count: n,
        dtype: DType::F32,
        base: dense(0, &[1]),
        index: dense(1, &[n]),
        src: dense(2, &[n]),
        out: 0,
        origin: 0,
    });
    let plan = plan(3, vec![step], vec![], vec![origin()]);
    let out = try_run(&b, plan, &[], &[data(&[0.0f32]), data(&vec![0i32; n]), data(&vec![1.0f32; n])]).unwrap();
    assert_eq!(f32s(&out[0]), [n as f32]);
}

#[test]
fn a_place_outside_is_reported_and_adds_nothing() {
    let Some(b) = fresh() else { return };
    let index = data(&[0i32, 1, 4, 3, 1, 2, 2, 2, 2, 2]);
    let slots = [data(&[0.0f32; 8]), index, data(&[1.0f32; 10])];
    let error = scatter(&b, DType::F32, 0, &slots).unwrap_err();
    assert!(matches!(error, Error::IndexOutOfRange { op: "scatter_add", index: 4, size: 4, .. }), "{error}");
}
