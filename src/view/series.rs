//! What do thousands of numbers, one a step, look like in a curve of a few hundred points?

/// Points kept at most; when there are more, neighbours become one.
const MOST: usize = 512;

/// A number for each step, averaged as finely as fits.
#[derive(Debug, Clone, Default)]
pub struct Series {
    points: Vec<[f64; 2]>,
    /// Numbers that make a point, less one.
    more: u32,
    /// The point under way: sums of steps and values, and how many.
    open: [f64; 2],
    count: u32,
    last: Option<f64>,
}

impl Series {
    /// Takes in the value at a step, which is later than all before.
    pub fn push(&mut self, step: u64, value: f64) {
        self.last = Some(value);
        self.open[0] += step as f64;
        self.open[1] += value;
        self.count += 1;
        if self.count <= self.more {
            return;
        }
        let n = self.count as f64;
        self.points.push([self.open[0] / n, self.open[1] / n]);
        (self.open, self.count) = ([0.0; 2], 0);
        if self.points.len() == MOST {
            self.points = self.points.chunks_exact(2).map(|p| [0, 1].map(|i| (p[0][i] + p[1][i]) / 2.0)).collect();
            self.more = 2 * self.more + 1;
        }
    }

    /// Steps and values, in order.
    pub fn points(&self) -> &[[f64; 2]] {
        &self.points
    }

    /// The value that came last.
    pub fn last(&self) -> Option<f64> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_keeps_its_shape_in_few_points() {
        let mut series = Series::default();
        (0..100_000).for_each(|step| series.push(step, 2.0 * step as f64));
        assert!(series.points().len() < MOST && series.points().len() > MOST / 4, "{}", series.points().len());
        assert!(series.points().iter().all(|[x, y]| (y - 2.0 * x).abs() < 1e-6));
        assert!(series.points().is_sorted_by(|a, b| a[0] < b[0]));
        assert_eq!(series.last(), Some(2.0 * 99_999.0));
    }
}
