//! Does it matter how a graph is cut into kernels? Random graphs, computed in one go and op by op, here and elsewhere.

mod common;

use common::{assert_close, numbers};
use proptest::prelude::*;
use sunstone::backend::cpu::CpuBackend;
use sunstone::prelude::*;
use sunstone::tensor::{Index, IntoIndices, realize_all};

/// Elements a value may have: small, but more than a few rows.
const LARGEST: usize = 400;
/// Bits after the point that a value may have and still be exact in every sum of it.
const EXACT_BITS: u32 = 8;

/// One op; what it works on and how is taken from the numbers modulo whatever there is to choose from.
#[derive(Debug, Clone)]
struct Step {
    op: u8,
    a: u8,
    b: u8,
    p: [u8; 6],
    keep: bool,
}

#[derive(Debug, Clone)]
struct Case {
    leaves: Vec<(Vec<usize>, bool)>,
    steps: Vec<Step>,
    at_once: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let size = prop_oneof![1 => Just(0usize), 3 => Just(1), 4 => Just(2), 4 => Just(3), 3 => Just(4), 2 => Just(5), 1 => Just(7)];
    let leaf = (prop::collection::vec(size, 0..4), any::<bool>());
    let step = (0..OPS.len() as u8, any::<u8>(), any::<u8>(), any::<[u8; 6]>(), prop::bool::weighted(0.2))
        .prop_map(|(op, a, b, p, keep)| Step { op, a, b, p, keep });
    (prop::collection::vec(leaf, 1..4), prop::collection::vec(step, 1..14), any::<bool>())
        .prop_map(|(leaves, steps, at_once)| Case { leaves, steps, at_once })
}

/// A value, and how many bits it has after the point when no rounding has touched it. Only such a value may decide
/// something (a comparison, the larger of two): rounded another way, the others might decide it another way.
#[derive(Clone)]
struct Known {
    x: Tensor,
    bits: Option<u32>,
}

impl Known {
    /// Kept small, so that errors stay small, too.
    fn tame(x: Tensor, bits: Option<u32>) -> Known {
        match bits.filter(|&b| b <= EXACT_BITS) {
            Some(bits) => Known { x: x.clamp(-8.0, 8.0), bits: Some(bits) },
            None => Known { x: x.tanh(), bits: None },
        }
    }

    fn view(&self, x: Tensor) -> Known {
        Known { x, bits: self.bits }
    }
}

fn larger(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    Some(a?.max(b?))
}

struct Indices(Vec<Index>);

impl IntoIndices for Indices {
    fn into_indices(self) -> Vec<Index> {
        self.0
    }
}

/// What an op is made from: two values, one that may decide, and numbers to choose by.
struct Given<'a> {
    a: &'a Known,
    b: &'a Known,
    exact: &'a Known,
    p: [u8; 6],
}

impl Given<'_> {
    fn p(&self, i: usize) -> usize {
        self.p[i % 6] as usize
    }

    fn axis(&self, of: &Known) -> usize {
        self.p(0) % of.x.rank()
    }

    /// Some of the axes, at least one.
    fn axes(&self, of: &Known) -> Vec<usize> {
        let rank = of.x.rank();
        let some: Vec<usize> = (0..rank).filter(|i| self.p(1) >> i & 1 == 1).collect();
        if some.is_empty() { vec![self.axis(of)] } else { some }
    }

    /// `b`, or the sum of it if its shape does not go with that of `a`.
    fn partner(&self, a: &Known) -> Known {
        let fits = self.b.x.shape().broadcast(a.x.shape()).is_some_and(|s| s.numel() <= LARGEST && s.rank() < 6);
        if fits { self.b.clone() } else { Known::tame(self.b.x.sum(..), self.b.bits) }
    }

    fn exact_partner(&self) -> Known {
        let b = self.partner(self.exact);
        if b.bits.is_some() { b } else { self.exact.view(self.exact.x.detach()) }
    }

    /// A valid index into `x` along `axis`, of the shape of `x`.
    fn index(&self, x: &Tensor, axis: usize) -> Tensor {
        let n = x.shape()[axis] as i32;
        let (shape, device) = (x.shape().clone(), x.device());
        let places = Tensor::arange(x.numel(), &device).reshape(shape);
        let data = (&self.exact.x * 4.0).cast(DType::I32);
        let fits = data.shape().broadcast(x.shape()).is_some_and(|s| s == *x.shape());
        if fits { (places + data).remainder(n) } else { (places * (self.p(2) as i32)).remainder(n) }
    }
}

type Make = fn(&Given) -> Option<Known>;

const OPS: &[Make] = &[
    permute, reshape, slice, flip, expand, pad, cat, unfold, add, mul, exp, relu, where_, maximum, cast, sum, max,
    mean, argmax, softmax, matmul, gather, scatter, centre, sin, recompute,
];

fn permute(g: &Given) -> Option<Known> {
    let mut axes: Vec<isize> = (0..g.a.x.rank() as isize).collect();
    for i in (1..axes.len()).rev() {
        axes.swap(i, g.p(i) % (i + 1));
    }
    Some(g.a.view(g.a.x.permute(&axes)))
}

fn reshape(g: &Given) -> Option<Known> {
    let mut rest = g.a.x.numel();
    let mut sizes = vec![];
    for i in 0..3 {
        let divisors: Vec<usize> = (1..=rest).filter(|d| rest.is_multiple_of(*d)).collect();
        if let Some(&d) = divisors.get(g.p(i) % divisors.len().max(1)) {
            sizes.push(d);
            rest /= d;
        }
    }
    sizes.push(rest);
    Some(g.a.view(g.a.x.reshape(&sizes[..])))
}

fn slice(g: &Given) -> Option<Known> {
    let index = |i: usize| match g.p(i) {
        p if p & 7 == 0 && g.a.x.shape()[i] > 0 => Index::At((p / 8 % g.a.x.shape()[i]) as i64),
        p => Index::Range {
            start: (p & 1 == 1).then_some((p / 16 % 8) as i64 - 3),
            end: (p & 2 == 2).then_some((p / 32) as i64 - 2),
            step: [1, -1, 2, -2, -3][p % 5],
        },
    };
    Some(g.a.view(g.a.x.slice(Indices((0..g.a.x.rank()).map(index).collect()))))
}

fn flip(g: &Given) -> Option<Known> {
    (g.a.x.rank() > 0).then(|| g.a.view(g.a.x.flip(&g.axes(g.a)[..])))
}

fn expand(g: &Given) -> Option<Known> {
    let at = g.p(0) % (g.a.x.rank() + 1);
    let x = g.a.x.unsqueeze(at as isize);
    let mut sizes = x.shape().to_vec();
    sizes[at] = g.p(1) % 4 + 1;
    Some(g.a.view(x.expand(sizes)))
}

fn pad(g: &Given) -> Option<Known> {
    let by: Vec<(usize, usize)> = (0..g.a.x.rank()).map(|i| (g.p(i) % 3, g.p(i) / 4 % 3)).collect();
    Some(g.a.view(g.a.x.pad(&by, (g.p(5) % 3) as f32)))
}

fn cat(g: &Given) -> Option<Known> {
    if g.a.x.rank() == 0 {
        return None;
    }
    let axis = g.axis(g.a);
    let turned = g.a.x.flip(axis);
    let same = g.b.x.rank() == g.a.x.rank() && g.b.x.shape().without(&[axis]) == g.a.x.shape().without(&[axis]);
    let (second, bits) = if same { (&g.b.x, larger(g.a.bits, g.b.bits)) } else { (&turned, g.a.bits) };
    let all = [&g.a.x, second, &turned];
    Some(Known { x: Tensor::cat(&all[..2 + g.p(1) % 2], axis as isize), bits })
}

fn unfold(g: &Given) -> Option<Known> {
    if g.a.x.rank() == 0 {
        return None;
    }
    let axis = g.axis(g.a);
    let n = g.a.x.shape()[axis];
    (n > 0).then(|| g.a.view(g.a.x.unfold(axis as isize, 1 + g.p(1) % n.min(3), 1 + g.p(2) % 2)))
}

fn add(g: &Given) -> Option<Known> {
    let b = g.partner(g.a);
    Some(Known::tame(&g.a.x + &b.x, larger(g.a.bits, b.bits)))
}

fn mul(g: &Given) -> Option<Known> {
    let b = g.partner(g.a);
    Some(Known::tame(&g.a.x * &b.x, g.a.bits.zip(b.bits).map(|(a, b)| a + b)))
}

fn exp(g: &Given) -> Option<Known> {
    Some(Known { x: g.exact.x.clamp(-3.0, 1.5).exp(), bits: None })
}

fn relu(g: &Given) -> Option<Known> {
    Some(g.exact.view(g.exact.x.relu()))
}

fn where_(g: &Given) -> Option<Known> {
    let (b, other) = (g.exact_partner(), g.partner(g.exact));
    Some(Known { x: other.x.where_(&g.exact.x.gt(&b.x), 1.0), bits: other.bits })
}

fn maximum(g: &Given) -> Option<Known> {
    let b = g.exact_partner();
    Some(Known { x: g.exact.x.maximum(&b.x), bits: larger(g.exact.bits, b.bits) })
}

fn cast(g: &Given) -> Option<Known> {
    Some(Known { x: g.exact.x.cast(DType::I32).cast(DType::F32), bits: Some(0) })
}

fn sum(g: &Given) -> Option<Known> {
    let axes = g.axes_or_none(g.a)?;
    let x = if g.p(2) & 1 == 0 { g.a.x.sum(&axes[..]) } else { g.a.x.sum_keepdim(&axes[..]) };
    Some(Known::tame(x, g.a.bits))
}

fn max(g: &Given) -> Option<Known> {
    let axes = g.axes_or_none(g.exact)?;
    let full = axes.iter().all(|&i| g.exact.x.shape()[i] > 0);
    let fold = || if g.p(2) & 1 == 0 { g.exact.x.max(&axes[..]) } else { g.exact.x.max_keepdim(&axes[..]) };
    full.then(|| g.exact.view(fold()))
}

fn mean(g: &Given) -> Option<Known> {
    let axes = g.axes_or_none(g.a)?;
    let fold = || if g.p(2) & 1 == 0 { g.a.x.mean(&axes[..]) } else { g.a.x.mean_keepdim(&axes[..]) };
    (g.a.x.numel() > 0).then(|| Known { x: fold(), bits: None })
}

fn argmax(g: &Given) -> Option<Known> {
    let axes = g.axes_or_none(g.exact)?;
    let full = axes.iter().all(|&i| g.exact.x.shape()[i] > 0);
    full.then(|| Known::tame(g.exact.x.argmax(&axes[..]).cast(DType::F32), Some(0)))
}

fn softmax(g: &Given) -> Option<Known> {
    let axis = *g.axes_or_none(g.a)?.first()?;
    (g.a.x.shape()[axis] > 0).then(|| Known { x: g.a.x.softmax(axis as isize), bits: None })
}

fn matmul(g: &Given) -> Option<Known> {
    let (a, rank) = (g.a, g.a.x.rank());
    if rank < 2 {
        return None;
    }
    let fits = g.b.x.rank() == 2 && g.b.x.shape()[0] == a.x.shape()[rank - 1];
    let b = if fits { g.b.clone() } else { a.view(a.x.flip(-1).t()) };
    let product = a.x.matmul(&b.x);
    Some(Known::tame(product, a.bits.zip(b.bits).map(|(a, b)| a + b)))
}

fn gather(g: &Given) -> Option<Known> {
    let axis = *g.axes_or_none(g.a)?.first()?;
    (g.a.x.shape()[axis] > 0).then(|| g.a.view(g.a.x.gather(axis as isize, &g.index(&g.a.x, axis))))
}

fn scatter(g: &Given) -> Option<Known> {
    let axis = *g.axes_or_none(g.a)?.first()?;
    let index = || g.index(&g.a.x, axis);
    (g.a.x.shape()[axis] > 0)
        .then(|| Known::tame(g.a.x.scatter_add(axis as isize, &index(), &(&g.a.x * 2.0)), g.a.bits))
}

/// A fold's result spread over the axes that it folded.
fn centre(g: &Given) -> Option<Known> {
    let axes = g.axes_or_none(g.a)?;
    Some(Known::tame(&g.a.x - g.a.x.sum_keepdim(&axes[..]), g.a.bits))
}

fn sin(g: &Given) -> Option<Known> {
    Some(Known { x: g.a.x.sin(), bits: None })
}

/// A few cheap maps, which kernels may repeat.
fn recompute(g: &Given) -> Option<Known> {
    Some(Known { x: (&g.a.x * 0.5 + 1.0).abs().neg() * 0.25, bits: None }).filter(|_| g.a.bits.is_some())
}

impl Given<'_> {
    fn axes_or_none(&self, of: &Known) -> Option<Vec<usize>> {
        (of.x.rank() > 0).then(|| self.axes(of))
    }
}

/// What a graph gave: all that was kept, and the gradients.
struct Computed {
    values: Vec<Vec<f32>>,
    grads: Vec<Vec<f32>>,
}

/// The graph over the data that `salt` stands for; `each` realizes every value as soon as it is made.
fn compute(case: &Case, device: &Device, salt: u64, each: bool, grad: bool) -> Result<Computed> {
    let mut variables = vec![];
    let mut known: Vec<Known> = vec![];
    for (i, (shape, tracked)) in case.leaves.iter().enumerate() {
        let data: Vec<f32> =
            numbers(shape.iter().product(), salt + i as u64).iter().map(|x| (x * 4.0).round() / 4.0).collect();
        let x = Tensor::from_slice(&data, &shape[..], device);
        let x = if grad && (*tracked || i == 0) { x.requires_grad() } else { x };
        if x.tracks_grad() {
            variables.push(x.clone());
        }
        known.push(Known { x, bits: Some(2) });
    }
    let mut kept = vec![];
    for step in &case.steps {
        let pick = |n: u8| &known[known.len() - 1 - n as usize % known.len().min(5)];
        let from = known.len() - 1 - step.a as usize % known.len().min(5);
        let exact = known[..=from].iter().rev().find(|k| k.bits.is_some()).unwrap_or(&known[0]);
        let given = Given { a: pick(step.a), b: pick(step.b), exact, p: step.p };
        let Some(made) = OPS[step.op as usize](&given) else { continue };
        if made.x.error().is_none() && (made.x.numel() > LARGEST || made.x.rank() > 5) {
            continue;
        }
        if each {
            made.x.realize()?;
        }
        if step.keep {
            kept.push(made.x.clone());
        }
        known.push(made);
    }
    kept.extend(known.pop().map(|k| k.x));
    drop(known);
    let mut grads = vec![];
    if grad {
        let floats = kept.iter().filter(|x| x.tracks_grad()).map(|x| (x * 0.5).sum(..));
        if let Some(loss) = floats.reduce(|a, b| a + b) {
            let all = loss.backward()?;
            for v in &variables {
                grads.push(all.get(v).map_or(Ok(vec![]), |g| g.to_vec::<f32>())?);
            }
        }
    } else if case.at_once {
        realize_all(device)?;
    }
    let values = kept.iter().map(|x| x.to_vec::<f32>()).collect::<Result<_>>()?;
    Ok(Computed { values, grads })
}

/// Relative to the largest element: what was added up to a small one may have been large.
fn assert_same(what: &str, got: &[Vec<f32>], expected: &[Vec<f32>], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (g, e) in got.iter().zip(expected) {
        let largest = e.iter().fold(1.0f32, |m, x| m.max(x.abs()));
        assert!(g.iter().chain(e).all(|x| x.is_finite()), "{what}: {g:?}, {e:?}");
        let scaled = |v: &[f32]| v.iter().map(|x| x / largest).collect::<Vec<f32>>();
        assert_close(what, &scaled(g), &scaled(e), tolerance);
    }
}

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    ProptestConfig { cases: if asked { default.cases } else { cases }, failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn in_one_go_is_as_op_by_op(case in cases()) {
        let device = Device::cpu();
        let lazy = compute(&case, &device, 0, false, false).unwrap();
        let each = compute(&case, &device, 0, true, false).unwrap();
        assert_same("values", &lazy.values, &each.values, 1e-5);
    }

    #[test]
    fn gradients_in_one_go_are_as_op_by_op(case in cases()) {
        let device = Device::cpu();
        let lazy = compute(&case, &device, 0, false, true).unwrap();
        let each = compute(&case, &device, 0, true, true).unwrap();
        assert_same("values", &lazy.values, &each.values, 1e-5);
        assert_same("gradients", &lazy.grads, &each.grads, 1e-4);
    }

    #[test]
    fn a_replayed_plan_is_as_a_new_one(case in cases()) {
        let device = Device::cpu();
        compute(&case, &device, 0, false, true).unwrap();
        let replayed = compute(&case, &device, 77, false, true).unwrap();
        let fresh = compute(&case, &Device::new("fresh", CpuBackend::new()), 77, false, true).unwrap();
        assert_same("values", &replayed.values, &fresh.values, 0.0);
        assert_same("gradients", &replayed.grads, &fresh.grads, 0.0);
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn a_gpu_gives_what_the_cpu_gives(case in cases()) {
        if let Some(gpu) = common::gpu() {
            let there = compute(&case, &gpu, 0, false, true).unwrap();
            let here = compute(&case, &Device::cpu(), 0, false, true).unwrap();
            assert_same("values", &there.values, &here.values, 1e-4);
            assert_same("gradients", &there.grads, &here.grads, 1e-3);
        }
    }
}

/// The exponentials of a softmax's sum are at hand when its gradient sums them once more, in the same kernel.
#[test]
fn what_a_stage_carried_the_next_does_not_carry_again() {
    let Some(gpu) = common::gpu() else { return };
    for shape in [&[4][..], &[3, 8], &[5, 1024]] {
        let of = |device: &Device| {
            let numel = shape.iter().product();
            let x = Tensor::from_slice(&numbers(numel, 1), shape, device).requires_grad();
            let y = x.softmax(-1);
            let grads = (&y * 0.5).sum(..).backward().unwrap();
            [y.to_vec::<f32>().unwrap(), grads.get(&x).unwrap().to_vec::<f32>().unwrap()]
        };
        assert_same("softmax and its gradient", &of(&gpu), &of(&Device::cpu()), 1e-5);
    }
}
