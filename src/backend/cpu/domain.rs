//! How a loop's domain is walked: which axes are one, which way blocks run, and where it is cut into tasks.

use super::program::{BLOCK, Code, Entry, Program, Source, Task};
use super::walk::hull;
use crate::plan::{Level, Loop};
use crate::shape::Dims;

/// Points per task, about.
const TASK: usize = 1 << 16;
/// Points times instructions below which threads are not worth waking.
const SMALL: usize = 1 << 14;

/// All linear functions of a loop: those of instructions, then those of stores.
pub struct Affines {
    pub offsets: Vec<i64>,
    pub outer: Vec<Dims<i64>>,
    pub inner: Vec<Dims<i64>>,
}

impl Program {
    /// Divides the domain into tasks. Where the cuts lie depends on sizes alone, never on the number of threads, so
    /// that results are the same bits everywhere.
    pub fn divide(&mut self, affines: &Affines, first_store: usize, instrs: usize) {
        let points = |sizes: &[usize]| sizes.iter().product::<usize>();
        let (outer, inner) = (points(&self.outer), points(&self.inner));
        let total = outer.saturating_mul(inner.max(1));
        let worthwhile = total.saturating_mul(instrs) >= SMALL;
        self.split = !self.outer_blocks && outer < 16 && inner >= 2 * TASK;
        let rows = match (worthwhile, self.outer_blocks) {
            (false, _) => outer,
            // Short blocks waste time on every point of `inner`, long ones leave threads without work.
            (true, true) => (TASK / inner.max(1)).max((outer / 8).clamp(256, BLOCK)).next_multiple_of(64),
            (true, false) => TASK / inner.max(1),
        };
        let rows = if self.split { 1 } else { rows.max(outer / 1024).max(1) };
        let part = if self.split { TASK } else { inner.max(1) };
        for first in (0..outer).step_by(rows) {
            for from in (0..inner.max(1)).step_by(part) {
                let (outer, inner) = (first..outer.min(first + rows), from..inner.min(from + part));
                let span = |k: usize| {
                    let i = first_store + k;
                    let (a, b) = hull(&self.outer, &affines.outer[i], outer.clone());
                    let (c, d) =
                        if inner.is_empty() { (0, 0) } else { hull(&self.inner, &affines.inner[i], inner.clone()) };
                    let base = affines.offsets[i].saturating_add(a).saturating_add(c);
                    (base, base.saturating_add(b.saturating_sub(a)).saturating_add(d.saturating_sub(c)))
                };
                let spans = (0..self.stores.len()).map(span).collect();
                self.tasks.push(Task { outer, inner, spans });
            }
        }
        // Outer values of split rows are stored, all at once, when all parts are done.
        let late = |k: &usize| self.split && self.outer_stores.contains(k);
        let cut: Vec<usize> = (0..self.stores.len()).filter(|k| !late(k)).collect();
        let disjoint = |pair: &[Task]| cut.iter().all(|&k| pair[0].spans[k].1 < pair[1].spans[k].0);
        let reads_late = |e: &Entry| matches!(&e.code, Code::Load { source: Source::Store(k), .. } if late(k));
        self.parallel = worthwhile
            && inner > 0
            && self.tasks.len() > 1
            && self.tasks.windows(2).all(disjoint)
            && !self.uniform.iter().chain(self.before.iter().flatten()).any(reads_late);
    }
}

/// Drops axes of size 1, orders the kept axes as the first store does, and merges neighbours that every linear
/// function walks as one.
pub fn simplify(l: &Loop) -> (Dims<usize>, Dims<usize>, Affines) {
    let rank = l.outer.len();
    let of_instrs = l.instrs.iter().map(|i| i.kind.affine());
    let all = of_instrs.chain(l.stores.iter().map(|s| Some(&s.at)));
    let mut affines = Affines { offsets: Vec::new(), outer: Vec::new(), inner: Vec::new() };
    for affine in all {
        let zeros = || Dims::from_elem(0, 0);
        let (outer, inner) = match affine {
            Some(a) => (a.strides[..rank].into(), a.strides[rank..].into()),
            None => (zeros(), zeros()),
        };
        affines.offsets.push(affine.map_or(0, |a| a.offset));
        affines.outer.push(outer);
        affines.inner.push(inner);
    }
    let mut order: Vec<usize> = (0..rank).filter(|&d| l.outer[d] != 1).collect();
    if let Some(first) = l.stores.first() {
        order.sort_by_key(|&d| std::cmp::Reverse(first.at.strides[d].unsigned_abs()));
    }
    let inner_order: Vec<usize> = (0..l.inner.len()).filter(|&d| l.inner[d] != 1).collect();
    let outer = merge(&l.outer, &order, &mut affines.outer);
    let inner = merge(&l.inner, &inner_order, &mut affines.inner);
    (outer, inner, affines)
}

/// The sizes of the axes in `order`, neighbours merged; `strides` follow.
fn merge(sizes: &[usize], order: &[usize], strides: &mut [Dims<i64>]) -> Dims<usize> {
    let mut groups: Vec<(usize, usize)> = Vec::new();
    for &d in order {
        let joins = groups.last().is_some_and(|&(before, _)| {
            let one = |s: &Dims<i64>| s.is_empty() || Some(s[before]) == s[d].checked_mul(sizes[d] as i64);
            strides.iter().all(one)
        });
        match groups.last_mut() {
            Some(group) if joins => *group = (d, group.1 * sizes[d]),
            _ => groups.push((d, sizes[d])),
        }
    }
    for s in strides.iter_mut().filter(|s| !s.is_empty()) {
        *s = groups.iter().map(|&(d, _)| s[d]).collect();
    }
    for s in strides.iter_mut().filter(|s| s.is_empty()) {
        *s = Dims::from_elem(0, groups.len());
    }
    groups.iter().map(|&(_, size)| size).collect()
}

/// Whether blocks along the kept axes cost less than blocks along the folded ones: each block has a fixed cost worth some
/// 64 elements, and elements that are not neighbours in memory cost several times those that are.
pub fn prefer_outer_blocks(l: &Loop, outer: &[usize], inner: &[usize], affines: &Affines, live: &[bool]) -> bool {
    if l.inner.is_empty() {
        return true;
    }
    let inner_level = |r: &usize| live[*r] && l.instrs[*r].level == Level::Inner;
    let points = |sizes: &[usize]| sizes.iter().product::<usize>() as f64;
    let cost = |along: &[usize], across: &[usize], strides: &[Dims<i64>]| {
        let blocks = points(across) * (points(along) / BLOCK as f64).ceil();
        let reads = |r: usize| l.instrs[r].kind.slot().is_some();
        let far = |r: usize| reads(r) && strides[r].last().is_some_and(|&s| s != 0 && s != 1);
        let element = |r: usize| if far(r) { 8.0 } else { 1.0 };
        let one = |r: usize| blocks * 64.0 + points(across) * points(along) * element(r);
        (0..l.instrs.len()).filter(inner_level).map(one).sum::<f64>()
    };
    // Row by row, all that is not inner is evaluated for each row by itself.
    let rows = points(outer) * 64.0 * l.instrs.len() as f64;
    cost(outer, inner, &affines.outer) < cost(inner, outer, &affines.inner) + rows
}
