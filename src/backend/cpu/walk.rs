//! Where the elements of a block lie in memory: linear functions of a point, walked in runs of constant stride.

use crate::shape::Dims;
use std::ops::Range;

/// A linear function of the axes that a block runs along (`vector`) and those that stand still meanwhile (`fixed`).
#[derive(Debug, Clone, Default)]
pub struct Map {
    pub offset: i64,
    pub vector: Dims<i64>,
    pub fixed: Dims<i64>,
}

/// A block: `len` points in row-major order of the vector axes, from `start` on.
#[derive(Debug, Clone)]
pub struct Place<'p> {
    pub sizes: &'p [usize],
    pub start: Dims<usize>,
    pub fixed: Dims<usize>,
    pub len: usize,
}

/// Points `at..at + count` of a block, whose values are `first`, `first + stride`, ….
#[derive(Debug, Clone, Copy)]
pub struct Run {
    pub at: usize,
    pub count: usize,
    pub first: i64,
    pub stride: i64,
}

impl Place<'_> {
    /// True when the block stays within one row of the innermost axis.
    pub fn single(&self) -> bool {
        match (self.start.last(), self.sizes.last()) {
            (Some(&start), Some(&size)) => start + self.len <= size,
            _ => true,
        }
    }
}

fn dot(index: &[usize], strides: &[i64]) -> i64 {
    index.iter().zip(strides).fold(0i64, |sum, (&i, &s)| sum.wrapping_add((i as i64).wrapping_mul(s)))
}

impl Map {
    /// The value at the block's first point.
    pub fn first(&self, place: &Place) -> i64 {
        self.offset.wrapping_add(dot(&place.start, &self.vector)).wrapping_add(dot(&place.fixed, &self.fixed))
    }

    /// The whole block as one run, if it is one.
    pub fn single(&self, place: &Place) -> Option<Run> {
        let constant = place.len == 1 || self.vector.iter().all(|&s| s == 0);
        if !constant && !place.single() {
            return None;
        }
        let stride = if constant { 0 } else { self.vector.last().copied().unwrap_or(0) };
        Some(Run { at: 0, count: place.len, first: self.first(place), stride })
    }

    /// The block's runs in order, until `visit` gives `None`.
    pub fn runs(&self, place: &Place, mut visit: impl FnMut(Run) -> Option<()>) -> Option<()> {
        if let Some(run) = self.single(place) {
            return visit(run);
        }
        let mut first = self.first(place);
        let mut index = place.start.clone();
        let last = index.len() - 1;
        let stride = self.vector[last];
        let mut at = 0;
        while at < place.len {
            let count = (place.sizes[last] - index[last]).min(place.len - at);
            visit(Run { at, count, first, stride })?;
            at += count;
            // On to the start of the next row: the axis that is exhausted returns to 0 and its neighbour advances.
            first = first.wrapping_sub((index[last] as i64).wrapping_mul(stride));
            index[last] = 0;
            for d in (0..last).rev() {
                index[d] += 1;
                first = first.wrapping_add(self.vector[d]);
                if index[d] < place.sizes[d] {
                    break;
                }
                first = first.wrapping_sub((index[d] as i64).wrapping_mul(self.vector[d]));
                index[d] = 0;
            }
        }
        Some(())
    }
}

impl Run {
    /// The element indices as a range, if the run is contiguous and does not start below 0.
    pub fn range(&self) -> Option<Range<usize>> {
        let first = usize::try_from(self.first).ok()?;
        (self.stride == 1 || self.count == 1).then(|| first..first.saturating_add(self.count))
    }

    /// True when every index lies in `0..len`.
    pub fn inside(&self, len: usize) -> bool {
        let last = (self.count as i64 - 1).checked_mul(self.stride).and_then(|span| self.first.checked_add(span));
        let fits = |i: i64| i >= 0 && (i as u64) < len as u64;
        fits(self.first) && last.is_some_and(fits)
    }

    /// The part of the run from `from` (counted within the run), `count` long.
    pub fn part(&self, from: usize, count: usize) -> Run {
        let first = self.first.wrapping_add((from as i64).wrapping_mul(self.stride));
        Run { at: self.at + from, count, first, stride: self.stride }
    }

    /// Which points (counted within the run) have values in `0..size`.
    pub fn within(&self, size: i64) -> Range<usize> {
        let n = self.count as i64;
        let (lo, hi) = match self.stride {
            0 if (0..size).contains(&self.first) => (0, n),
            0 => (0, 0),
            s if s > 0 => (ceil_div(self.first.saturating_neg(), s), ceil_div(size.saturating_sub(self.first), s)),
            // Counting down: below `size` from the first point with first - j·|s| <= size - 1, at least 0 up to j = first/|s|.
            s => {
                let s = s.saturating_neg();
                (ceil_div(self.first.saturating_sub(size - 1), s), self.first.div_euclid(s).saturating_add(1))
            }
        };
        let (lo, hi) = (lo.clamp(0, n), hi.clamp(0, n));
        lo as usize..hi.max(lo) as usize
    }
}

fn ceil_div(a: i64, b: i64) -> i64 {
    a.saturating_neg().div_euclid(b).saturating_neg()
}

/// The multi-index of point number `linear`.
pub fn unravel(sizes: &[usize], mut linear: usize) -> Dims<usize> {
    let mut index: Dims<usize> = Dims::from_elem(0, sizes.len());
    for (i, &size) in index.iter_mut().zip(sizes).rev() {
        *i = linear % size.max(1);
        linear /= size.max(1);
    }
    index
}

/// Moves to the next point in row-major order; after the last comes the first.
pub fn advance(sizes: &[usize], index: &mut [usize]) {
    for (i, &size) in index.iter_mut().zip(sizes).rev() {
        *i += 1;
        if *i < size {
            return;
        }
        *i = 0;
    }
}

/// The smallest and the largest of `Σ strides·index` over the points of a linear range, which must not be empty.
pub fn hull(sizes: &[usize], strides: &[i64], range: Range<usize>) -> (i64, i64) {
    let (Some((_, sizes)), Some((&stride, strides))) = (sizes.split_first(), strides.split_first()) else {
        return (0, 0);
    };
    let row: usize = sizes.iter().product::<usize>().max(1);
    let (first, last) = (range.start / row, (range.end - 1) / row);
    let part = |q: usize, range: Range<usize>| {
        let (lo, hi) = hull(sizes, strides, range);
        let base = (q as i64).saturating_mul(stride);
        (base.saturating_add(lo), base.saturating_add(hi))
    };
    if first == last {
        return part(first, range.start % row..(range.end - 1) % row + 1);
    }
    let head = part(first, range.start % row..row);
    let tail = part(last, 0..(range.end - 1) % row + 1);
    let mut all = (head.0.min(tail.0), head.1.max(tail.1));
    if last - first > 1 {
        for whole in [part(first + 1, 0..row), part(last - 1, 0..row)] {
            all = (all.0.min(whole.0), all.1.max(whole.1));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every point's value, the slow way.
    fn values(map: &Map, place: &Place) -> Vec<i64> {
        let mut index = place.start.clone();
        (0..place.len)
            .map(|_| {
                let v = map.offset + dot(&index, &map.vector) + dot(&place.fixed, &map.fixed);
                advance(place.sizes, &mut index);
                v
            })
            .collect()
    }

    #[test]
    fn runs_visit_every_point_once() {
        let sizes = [3, 4, 5];
        let map = Map { offset: 7, vector: [100, -3, 11].into_iter().collect(), fixed: [1000].into_iter().collect() };
        for (start, len) in [(0, 60), (13, 40), (59, 1), (4, 2), (0, 5)] {
            let fixed = [2].into_iter().collect();
            let place = Place { sizes: &sizes, start: unravel(&sizes, start), fixed, len };
            let mut seen = Vec::new();
            map.runs(&place, |r| {
                assert_eq!(r.at, seen.len());
                seen.extend((0..r.count as i64).map(|j| r.first + j * r.stride));
                Some(())
            });
            let want = values(&map, &place);
            assert_eq!(seen, want);
            let (lo, hi) = hull(&sizes, &map.vector, start..start + len);
            let base = map.offset + 2000;
            assert_eq!((base + lo, base + hi), (*want.iter().min().unwrap(), *want.iter().max().unwrap()));
        }
    }

    #[test]
    fn bounds_along_a_run() {
        for stride in -3..=3 {
            for first in -7..=7 {
                let run = Run { at: 0, count: 6, first, stride };
                let inside = |j: usize| (0..5).contains(&(first + j as i64 * stride));
                let range = run.within(5);
                assert!((0..6).all(|j| range.contains(&j) == inside(j)), "{run:?} {range:?}");
            }
        }
    }
}
