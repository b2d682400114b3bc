//! Attention and its gradient, a block of scores at a time: the weights of all pairs are never in memory at once.

use super::broken;
use super::contract::{Matrix, gemm};
use super::copy::{elements, elements_mut};
use super::half::Half;
use super::num::{Float, Num};
use super::simd::vectorised;
use super::walk::{hull, unravel};
use crate::dtype::DType;
use crate::error::Result;
use crate::parallel::*;
use crate::plan::{Attention, AttentionGrad, Operand};
use ::half::{bf16, f16};
use bytemuck::Pod;

/// Queries of a block.
const QUERIES: usize = 64;
/// Keys of a block.
const KEYS: usize = 256;

/// An element type and the one it is computed in.
trait Element: Pod + Send + Sync {
    type Work: Float + Element<Work = Self::Work>;
    fn work(self) -> Self::Work;
    fn round(work: Self::Work) -> Self;
}

macro_rules! elements {
    ($($t:ty as $wide:ty: $up:expr, $down:expr;)*) => {$(
        impl Element for $t {
            type Work = $wide;
            #[inline(always)]
            fn work(self) -> $wide {
                $up(self)
            }
            #[inline(always)]
            fn round(work: $wide) -> $t {
                $down(work)
            }
        }
    )*};
}
elements! {
    f16 as f32: Half::value, Half::round;
    bf16 as f32: Half::value, Half::round;
    f32 as f32: |v| v, |v| v;
    f64 as f64: |v| v, |v| v;
}

/// Writes the result to `out` and the logarithms of the sums to `lse`.
pub fn run(a: &Attention, [q, k, v]: [&[u8]; 3], out: &mut [u8], lse: &mut [u8]) -> Result<()> {
    match a.dtype {
        DType::F16 => forward::<f16>(a, [elements(q), elements(k), elements(v)], elements_mut(out), elements_mut(lse)),
        DType::BF16 => {
            forward::<bf16>(a, [elements(q), elements(k), elements(v)], elements_mut(out), elements_mut(lse))
        }
        DType::F64 => forward::<f64>(a, [elements(q), elements(k), elements(v)], elements_mut(out), elements_mut(lse)),
        _ => forward::<f32>(a, [elements(q), elements(k), elements(v)], elements_mut(out), elements_mut(lse)),
    }
}

/// Writes the gradients; `reads` and `writes` are in the order of the step's fields.
pub fn run_grad(a: &AttentionGrad, reads: [&[u8]; 6], writes: [&mut [u8]; 3]) -> Result<()> {
    match a.dtype {
        DType::F16 => backward::<f16>(a, reads, writes),
        DType::BF16 => backward::<bf16>(a, reads, writes),
        DType::F64 => backward::<f64>(a, reads, writes),
        _ => backward::<f32>(a, reads, writes),
    }
}

/// An operand whose every element is known to lie in its slot.
struct Source<'d, T> {
    data: &'d [T],
    operand: &'d Operand,
    batch: &'d [usize],
    /// Strides of heads, positions and width.
    strides: [i64; 3],
}

impl<'d, T: Element> Source<'d, T> {
    /// `axes` says which of the last three axes are heads, positions and width, `sizes` their sizes.
    fn new(
        data: &'d [T],
        operand: &'d Operand,
        batch: &'d [usize],
        axes: [usize; 3],
        sizes: [usize; 3],
    ) -> Result<Source<'d, T>> {
        let outside = || broken("an operand of an attention reaches outside of its slot");
        let strides = &operand.layout.strides;
        if strides.len() != batch.len() + 3 {
            return Err(broken("an operand of an attention has the wrong rank"));
        }
        let last = axes.map(|axis| strides[batch.len() + axis]);
        let all: Vec<usize> = batch.iter().copied().chain(sizes).collect();
        let steps: Vec<i64> = strides[..batch.len()].iter().copied().chain(last).collect();
        let count: usize = all.iter().product();
        if count > 0 {
            let (lo, hi) = hull(&all, &steps, 0..count);
            let fits = |i: i64| operand.layout.offset.checked_add(i).is_some_and(|i| i >= 0 && i < data.len() as i64);
            if !fits(lo) || !fits(hi) {
                return Err(outside());
            }
        }
        Ok(Source { data, operand, batch, strides: last })
    }

    /// Positions `from..to` of a head, `width` numbers each, one after the other.
    fn pack(&self, batch: usize, head: usize, from: usize, to: usize, width: usize) -> Vec<T::Work> {
        let index = unravel(self.batch, batch);
        let start = index.iter().zip(&self.operand.layout.strides).map(|(&i, &s)| i as i64 * s).sum::<i64>();
        let start = self.operand.layout.offset + start + head as i64 * self.strides[0];
        let mut packed = Vec::with_capacity((to - from) * width);
        for row in from..to {
            let at = start + row as i64 * self.strides[1];
            match self.strides[2] {
                1 => packed.extend(self.data[at as usize..][..width].iter().map(|v| v.work())),
                step => packed.extend((0..width as i64).map(|j| self.data[(at + j * step) as usize].work())),
            }
        }
        packed
    }
}

/// Row-major, of `columns` columns.
fn matrix<W>(data: &[W], columns: usize) -> Matrix<'_, W> {
    Matrix { data, offset: 0, row: columns as i64, column: 1 }
}

/// The transpose of a row-major matrix of `columns` columns.
fn transposed<W>(data: &[W], columns: usize) -> Matrix<'_, W> {
    Matrix { data, offset: 0, row: 1, column: columns as i64 }
}

/// How many keys the queries before `to` see.
fn seen(causal: bool, to: usize, keys: usize) -> usize {
    if causal { to.min(keys) } else { keys }
}

/// A result of several heads side by side: `[batch, positions, heads, width]`, of one head's rows.
fn place<T: Element>(dst: &mut [T], rows: &[T::Work], first: usize, heads: usize, head: usize, width: usize) {
    if width > 0 {
        for (row, values) in rows.chunks_exact(width).enumerate() {
            let at = ((first + row) * heads + head) * width;
            dst[at..at + width].iter_mut().zip(values).for_each(|(d, v)| *d = T::round(*v));
        }
    }
}

fn results<W>(dst: &mut [W], len: usize) -> Result<&mut [W]> {
    dst.get_mut(..len).ok_or_else(|| broken("a result of an attention is larger than its slot"))
}

fn forward<T: Element>(a: &Attention, [q, k, v]: [&[T]; 3], out: &mut [T], lse: &mut [T::Work]) -> Result<()> {
    let z = &a.sizes;
    let batches: usize = z.batch.iter().product();
    let q = Source::new(q, &a.q, &z.batch, [0, 1, 2], [z.heads, z.t, z.d])?;
    let k = Source::new(k, &a.k, &z.batch, [0, 1, 2], [z.groups, z.s, z.d])?;
    let v = Source::new(v, &a.v, &z.batch, [0, 1, 2], [z.groups, z.s, z.e])?;
    let out = results(out, batches * z.t * z.heads * z.e)?;
    let lse = results(lse, batches * z.heads * z.t)?;
    let blocks = z.t.div_ceil(QUERIES);
    let one = |task: usize| {
        let (item, first) = (task / blocks, task % blocks * QUERIES);
        forward_block(a, [&q, &k, &v], item / z.heads, item % z.heads, first..z.t.min(first + QUERIES))
    };
    let tasks = batches * z.heads * blocks;
    let done: Vec<_> = (0..tasks).into_par_iter().map(one).collect::<Result<_>>()?;
    for (task, [rows, sums]) in done.iter().enumerate() {
        let (item, first) = (task / blocks, task % blocks * QUERIES);
        place(out, rows, item / z.heads * z.t + first, z.heads, item % z.heads, z.e);
        lse[item * z.t + first..][..sums.len()].copy_from_slice(sums);
    }
    Ok(())
}

/// The results of some queries of a head, and the logarithms of their sums.
fn forward_block<T: Element>(
    a: &Attention,
    [q, k, v]: [&Source<T>; 3],
    batch: usize,
    head: usize,
    rows: std::ops::Range<usize>,
) -> Result<[Vec<T::Work>; 2]> {
    let (z, scale) = (&a.sizes, from_f64::<T::Work>(a.spec.scale()));
    let group = head * z.groups / z.heads;
    let count = rows.len();
    let queries = q.pack(batch, head, rows.start, rows.end, z.d);
    let zero = T::Work::ZERO;
    let (mut out, mut sums) = (vec![zero; count * z.e], vec![zero; count]);
    let mut tops = vec![T::Work::LOWEST; count];
    let mut scores = vec![zero; count * KEYS];
    let limit = seen(a.spec.causal, rows.end, z.s);
    for first in (0..limit).step_by(KEYS) {
        let n = KEYS.min(limit - first);
        let keys = k.pack(batch, group, first, first + n, z.d);
        gemm(&mut scores, [count, n, z.d], matrix(&queries, z.d), transposed(&keys, z.d), false, false)?;
        for (r, row) in scores[..count * n].chunks_exact_mut(n).enumerate() {
            let open = if a.spec.causal { (rows.start + r + 1).saturating_sub(first).min(n) } else { n };
            let (row, hidden) = row.split_at_mut(open);
            hidden.fill(zero);
            let top = scaled(row, scale, tops[r]);
            // Where nothing has been seen but -∞, it must not be subtracted from itself.
            let shift = if top == T::Work::LOWEST { zero } else { top };
            let faded = tops[r].sub(shift).exp();
            sums[r] = sums[r].mul(faded).add(exponentials(row, shift));
            times(&mut out[r * z.e..(r + 1) * z.e], faded);
            tops[r] = top;
        }
        let values = v.pack(batch, group, first, first + n, z.e);
        gemm(&mut out, [count, z.e, n], matrix(&scores[..count * n], n), matrix(&values, z.e), true, false)?;
    }
    for r in 0..count {
        let whole = if sums[r] == zero { zero } else { sums[r].recip() };
        times(&mut out[r * z.e..(r + 1) * z.e], whole);
        sums[r] = tops[r].add(sums[r].log());
    }
    Ok([out, sums])
}

fn from_f64<W: Float>(v: f64) -> W {
    // Both types it may be can be told apart by size alone.
    match size_of::<W>() {
        8 => bytemuck::cast(v),
        _ => bytemuck::cast(v as f32),
    }
}

vectorised! {
    /// Multiplies by `scale`; the largest of the products and `top`.
    pub fn scaled<W: Float>(row: &mut [W], scale: W, top: W) -> W {
        for v in row.iter_mut() {
            *v = v.mul(scale);
        }
        let mut lanes = [top; 8];
        let (whole, rest) = row.as_chunks::<8>();
        for chunk in whole {
            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                *lane = lane.max(v);
            }
        }
        lanes.into_iter().chain(rest.iter().copied()).fold(top, Num::max)
    }
}

vectorised! {
    /// Makes each element the exponential of its difference from `shift`; their sum.
    pub fn exponentials<W: Float>(row: &mut [W], shift: W) -> W {
        for v in row.iter_mut() {
            *v = v.sub(shift).exp();
        }
        let mut lanes = [W::ZERO; 8];
        let (whole, rest) = row.as_chunks::<8>();
        for chunk in whole {
            for (lane, &v) in lanes.iter_mut().zip(chunk) {
                *lane = lane.add(v);
            }
        }
        lanes.into_iter().chain(rest.iter().copied()).fold(W::ZERO, Num::add)
    }
}

vectorised! {
    /// Multiplies all by one number.
    pub fn times<W: Float>(row: &mut [W], factor: W) {
        for v in row.iter_mut() {
            *v = v.mul(factor);
        }
    }
}

vectorised! {
    /// From scores, the weights; from the weights' gradients, those of the scores.
    pub fn weigh<W: Float>(scores: &mut [W], grads: &mut [W], scale: W, lse: W, delta: W) {
        for (s, g) in scores.iter_mut().zip(grads) {
            let weight = s.mul(scale).sub(lse).exp();
            *g = weight.mul(g.sub(delta)).mul(scale);
            *s = weight;
        }
    }
}

/// What a head of the keys makes: `dq` of each of its heads of queries, `dk` and `dv`.
struct Grads<W> {
    dq: Vec<Vec<W>>,
    dk: Vec<W>,
    dv: Vec<W>,
}

fn backward<T: Element>(a: &AttentionGrad, reads: [&[u8]; 6], [dq, dk, dv]: [&mut [u8]; 3]) -> Result<()> {
    let z = &a.sizes;
    let batches: usize = z.batch.iter().product();
    let [q, k, v, dout, lse, delta] = reads;
    let q = Source::<T>::new(elements(q), &a.q, &z.batch, [0, 1, 2], [z.heads, z.t, z.d])?;
    let k = Source::<T>::new(elements(k), &a.k, &z.batch, [0, 1, 2], [z.groups, z.s, z.d])?;
    let v = Source::<T>::new(elements(v), &a.v, &z.batch, [0, 1, 2], [z.groups, z.s, z.e])?;
    let dout = Source::<T>::new(elements(dout), &a.dout, &z.batch, [1, 0, 2], [z.heads, z.t, z.e])?;
    // A row of sums is a head with a width of 1.
    let column = |o: &Operand| {
        let mut o = o.clone();
        o.layout.strides.push(1);
        o
    };
    let (lse_at, delta_at) = (column(&a.lse), column(&a.delta));
    let lse = Source::<T::Work>::new(elements(lse), &lse_at, &z.batch, [0, 1, 2], [z.heads, z.t, 1])?;
    let delta = Source::<T::Work>::new(elements(delta), &delta_at, &z.batch, [0, 1, 2], [z.heads, z.t, 1])?;
    let dq = results(elements_mut::<T>(dq), batches * z.t * z.heads * z.d)?;
    let dk = results(elements_mut::<T>(dk), batches * z.s * z.groups * z.d)?;
    let dv = results(elements_mut::<T>(dv), batches * z.s * z.groups * z.e)?;
    let one = |item: usize| {
        let (batch, group) = (item / z.groups, item % z.groups);
        let (keys, values) = (k.pack(batch, group, 0, z.s, z.d), v.pack(batch, group, 0, z.s, z.e));
        let zero = T::Work::ZERO;
        let mut made = Grads { dq: Vec::new(), dk: vec![zero; z.s * z.d], dv: vec![zero; z.s * z.e] };
        for head in heads(a, group) {
            let mut all = vec![zero; z.t * z.d];
            for first in (0..z.t).step_by(QUERIES) {
                let last = z.t.min(first + QUERIES);
                let rows = Rows {
                    first,
                    queries: q.pack(batch, head, first, last, z.d),
                    dout: dout.pack(batch, head, first, last, z.e),
                    lse: lse.pack(batch, head, first, last, 1),
                    delta: delta.pack(batch, head, first, last, 1),
                };
                backward_block(a, &rows, [&keys, &values], &mut all[first * z.d..last * z.d], &mut made)?;
            }
            made.dq.push(all);
        }
        Ok(made)
    };
    let done: Vec<Grads<T::Work>> = (0..batches * z.groups).into_par_iter().map(one).collect::<Result<_>>()?;
    for (item, made) in done.iter().enumerate() {
        let (batch, group) = (item / z.groups, item % z.groups);
        for (head, rows) in heads(a, group).zip(&made.dq) {
            place(dq, rows, batch * z.t, z.heads, head, z.d);
        }
        place(dk, &made.dk, batch * z.s, z.groups, group, z.d);
        place(dv, &made.dv, batch * z.s, z.groups, group, z.e);
    }
    Ok(())
}

/// The heads of queries that look at a head of keys.
fn heads(a: &AttentionGrad, group: usize) -> std::ops::Range<usize> {
    let share = a.sizes.heads / a.sizes.groups;
    group * share..(group + 1) * share
}

/// Some queries of a head, and what is known about them.
struct Rows<W> {
    first: usize,
    queries: Vec<W>,
    dout: Vec<W>,
    lse: Vec<W>,
    delta: Vec<W>,
}

fn backward_block<W: Float>(
    a: &AttentionGrad,
    rows: &Rows<W>,
    [keys, values]: [&[W]; 2],
    dq: &mut [W],
    made: &mut Grads<W>,
) -> Result<()> {
    let (z, scale, count) = (&a.sizes, from_f64::<W>(a.spec.scale()), rows.lse.len());
    let limit = seen(a.spec.causal, rows.first + count, z.s);
    let (mut scores, mut grads) = (vec![W::ZERO; count * KEYS], vec![W::ZERO; count * KEYS]);
    for first in (0..limit).step_by(KEYS) {
        let n = KEYS.min(limit - first);
        let (k, v) = (&keys[first * z.d..(first + n) * z.d], &values[first * z.e..(first + n) * z.e]);
        gemm(&mut scores, [count, n, z.d], matrix(&rows.queries, z.d), transposed(k, z.d), false, false)?;
        gemm(&mut grads, [count, n, z.e], matrix(&rows.dout, z.e), transposed(v, z.e), false, false)?;
        let (scores, grads) = (&mut scores[..count * n], &mut grads[..count * n]);
        for (r, (score, grad)) in scores.chunks_exact_mut(n).zip(grads.chunks_exact_mut(n)).enumerate() {
            let open = if a.spec.causal { (rows.first + r + 1).saturating_sub(first).min(n) } else { n };
            // A query that saw nothing but -∞ weighs nothing.
            let open = if rows.lse[r] == W::LOWEST { 0 } else { open };
            score[open..].fill(W::ZERO);
            grad[open..].fill(W::ZERO);
            weigh(&mut score[..open], &mut grad[..open], scale, rows.lse[r], rows.delta[r]);
        }
        let (dk, dv) = (&mut made.dk[first * z.d..(first + n) * z.d], &mut made.dv[first * z.e..(first + n) * z.e]);
        gemm(dv, [n, z.e, count], transposed(scores, n), matrix(&rows.dout, z.e), true, false)?;
        gemm(dk, [n, z.d, count], transposed(grads, n), matrix(&rows.queries, z.d), true, false)?;
        gemm(dq, [count, z.d, n], matrix(grads, n), matrix(k, z.d), true, false)?;
    }
    Ok(())
}
