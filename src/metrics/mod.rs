//! How good are the predictions, and what do the pictures behind them look like?

use std::fmt;

/// How often each class was taken for which: rows are the truth, columns the prediction.
///
/// ```
/// let mut confusion = sunstone::metrics::Confusion::new(3);
/// for (truth, prediction) in [(0, 0), (1, 2), (1, 2), (2, 2)] {
///     confusion.add(truth, prediction);
/// }
/// assert_eq!(confusion.accuracy(), 0.5);
/// assert_eq!(confusion.most_confused(5), [(1, 2, 2)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Nothing counted yet, for the classes `0..classes`.
    pub fn new(classes: usize) -> Confusion {
        Confusion { classes, counts: vec![0; classes * classes] }
    }

    /// Counts one prediction.
    ///
    /// # Panics
    /// When either is not below the number of classes.
    pub fn add(&mut self, truth: usize, prediction: usize) {
        assert!(truth < self.classes && prediction < self.classes, "class {truth} or {prediction} of {}", self.classes);
        self.counts[truth * self.classes + prediction] += 1;
    }

    /// How often `truth` was taken for `prediction`.
    pub fn count(&self, truth: usize, prediction: usize) -> u64 {
        self.counts[truth * self.classes + prediction]
    }

    /// The number of predictions counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The share of predictions that were right, 0 to 1; NaN before the first.
    pub fn accuracy(&self) -> f64 {
        let right: u64 = (0..self.classes).map(|class| self.count(class, class)).sum();
        right as f64 / self.total() as f64
    }

    /// The `k` commonest mistakes as `(truth, prediction, count)`, the commonest first; fewer when fewer were made.
    pub fn most_confused(&self, k: usize) -> Vec<(usize, usize, u64)> {
        let mut mistakes: Vec<_> = (0..self.classes)
            .flat_map(|truth| (0..self.classes).map(move |prediction| (truth, prediction)))
            .map(|(truth, prediction)| (truth, prediction, self.count(truth, prediction)))
            .filter(|&(truth, prediction, count)| truth != prediction && count > 0)
            .collect();
        mistakes.sort_by_key(|&(.., count)| std::cmp::Reverse(count));
        mistakes.truncate(k);
        mistakes
    }
}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let largest = self.counts.iter().copied().max().unwrap_or(0).max(self.classes as u64);
        let width = largest.to_string().len().max(2);
        write!(f, "truth \\ predicted")?;
        for row in 0..=self.classes {
            write!(f, "\n{:>width$} |", if row == 0 { String::new() } else { (row - 1).to_string() })?;
            for column in 0..self.classes {
                match row {
                    0 => write!(f, " {column:>width$}")?,
                    _ => match self.count(row - 1, column) {
                        // Mistakes should stand out, so what never happened is a dot.
                        0 => write!(f, " {:>width$}", ".")?,
                        count => write!(f, " {count:>width$}")?,
                    },
                }
            }
        }
        Ok(())
    }
}

/// A running mean.
///
/// ```
/// let mut loss = sunstone::metrics::Mean::default();
/// loss.add(1.0, 3.0);
/// loss.add(5.0, 1.0);
/// assert_eq!(loss.mean(), 2.0);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    /// Takes in `value`, which counts `weight` times: the batch's size, where it is itself a batch's mean.
    pub fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    /// The mean so far; NaN before the first value.
    pub fn mean(&self) -> f64 {
        self.sum / self.weight
    }
}

/// A grey picture as text, white on black: one line for two rows of pixels, as letters are twice as tall as wide.
///
/// `pixels` holds rows of `width` grey values; a last row that is not full is dropped. Each line ends with a newline.
pub fn ascii(pixels: &[u8], width: usize) -> String {
    const SHADES: &[u8; 10] = b" .:-=+*#%@";
    let rows: Vec<&[u8]> = pixels.chunks_exact(width.max(1)).collect();
    let mut text = String::new();
    for pair in rows.chunks(2) {
        for column in 0..pair[0].len() {
            let sum: usize = pair.iter().map(|row| row[column] as usize).sum();
            text.push(SHADES[sum * SHADES.len() / (256 * pair.len())] as char);
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_ranked_and_right_ones_are_none() {
        let mut confusion = Confusion::new(10);
        let mut add = |truth, prediction, times| (0..times).for_each(|_| confusion.add(truth, prediction));
        add(4, 9, 7);
        add(9, 4, 3);
        add(5, 3, 9);
        add(8, 8, 81);
        assert_eq!(confusion.most_confused(2), [(5, 3, 9), (4, 9, 7)]);
        assert_eq!(confusion.most_confused(99).len(), 3);
        assert_eq!((confusion.total(), confusion.accuracy()), (100, 0.81));
        assert!(Confusion::new(2).accuracy().is_nan());
    }

    #[test]
    fn the_grid_lines_up() {
        let mut confusion = Confusion::new(3);
        (0..120).for_each(|_| confusion.add(0, 0));
        confusion.add(2, 1);
        let expected = "truth \\ predicted\n    |   0   1   2\n  0 | 120   .   .\n  1 |   .   .   .\n  2 |   .   1   .";
        assert_eq!(confusion.to_string(), expected);
    }

    #[test]
    fn a_mean_of_nothing_is_nan() {
        assert!(Mean::default().mean().is_nan());
    }

    #[test]
    fn pictures_become_shades() {
        assert_eq!(ascii(&[0, 255, 0, 255], 2), " @\n");
        assert_eq!(ascii(&[0, 255, 255, 0, 128, 0], 2), "==\n+ \n");
        assert_eq!(ascii(&[1, 2, 3], 0).lines().count(), 2);
        assert_eq!(ascii(&[], 28), "");
    }
}
