//! What is example number `i`?

use super::images::Images;
use super::loader::Prefetch;
use super::order::permutation;
use std::sync::Arc;

/// A fixed number of examples, each reachable by its index, from any thread, in any order.
///
/// ```
/// use sunstone::data::Dataset;
///
/// struct Squares;
/// impl Dataset for Squares {
///     type Item = usize;
///     fn len(&self) -> usize {
///         10
///     }
///     fn get(&self, index: usize) -> usize {
///         index * index
///     }
/// }
/// let (train, test) = Squares.shuffle(7).split(8);
/// assert_eq!((train.len(), test.len()), (8, 2));
/// let sums = Squares.skip(1).batch(3).map(|batch| batch.iter().sum::<usize>());
/// assert_eq!((sums.get(0), sums.get(2)), (1 + 4 + 9, 49 + 64 + 81));
/// ```
pub trait Dataset: Send + Sync {
    /// One example.
    type Item: Send;

    /// The number of examples.
    fn len(&self) -> usize;

    /// Example `index`; the same on every call. May panic when `index` is not below [`Dataset::len`].
    fn get(&self, index: usize) -> Self::Item;

    /// True when there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same examples after `f`, which runs on each access.
    fn map<F, T>(self, f: F) -> Map<Self, F>
    where
        Self: Sized,
        F: Fn(Self::Item) -> T + Send + Sync,
        T: Send,
    {
        Map { dataset: self, f }
    }

    /// The same examples in the order that `seed` gives to epoch 0.
    fn shuffle(self, seed: u64) -> Shuffled<Self>
    where
        Self: Sized,
    {
        self.shuffled(seed, 0)
    }

    /// The same examples in the order that `seed` gives to `epoch`: [`permutation`]`(len, seed, epoch)`.
    fn shuffled(self, seed: u64, epoch: u64) -> Shuffled<Self>
    where
        Self: Sized,
    {
        Shuffled { order: permutation(self.len(), seed, epoch), dataset: self }
    }

    /// The first `n` examples, or all where there are fewer.
    fn take(self, n: usize) -> Slice<Self>
    where
        Self: Sized,
    {
        Slice { start: 0, len: n.min(self.len()), dataset: self }
    }

    /// All but the first `n` examples.
    fn skip(self, n: usize) -> Slice<Self>
    where
        Self: Sized,
    {
        let start = n.min(self.len());
        Slice { start, len: self.len() - start, dataset: self }
    }

    /// The first `n` examples and the rest, for instance to train and to test.
    fn split(self, n: usize) -> (Slice<Arc<Self>>, Slice<Arc<Self>>)
    where
        Self: Sized,
    {
        let shared = Arc::new(self);
        (shared.clone().take(n), shared.skip(n))
    }

    /// Groups of `n` examples (0 counts as 1); the last is shorter where `n` does not divide their number.
    fn batch(self, n: usize) -> Batched<Self>
    where
        Self: Sized,
    {
        Batched { dataset: self, size: n.max(1) }
    }

    /// All examples in order, made on a thread that keeps at most `depth` of them waiting.
    fn prefetch(self, depth: usize) -> Prefetch<Self::Item>
    where
        Self: Sized + 'static,
        Self::Item: 'static,
    {
        Prefetch::new((0..self.len()).map(move |i| self.get(i)), depth)
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> D::Item {
        (**self).get(index)
    }
}

/// See [`Dataset::map`].
#[derive(Debug, Clone)]
pub struct Map<D, F> {
    dataset: D,
    f: F,
}

impl<D: Dataset, T: Send, F: Fn(D::Item) -> T + Send + Sync> Dataset for Map<D, F> {
    type Item = T;

    fn len(&self) -> usize {
        self.dataset.len()
    }

    fn get(&self, index: usize) -> T {
        (self.f)(self.dataset.get(index))
    }
}

/// See [`Dataset::shuffled`].
#[derive(Debug, Clone)]
pub struct Shuffled<D> {
    dataset: D,
    order: Vec<u32>,
}

impl<D: Dataset> Dataset for Shuffled<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.order.len()
    }

    fn get(&self, index: usize) -> D::Item {
        self.dataset.get(self.order[index] as usize)
    }
}

/// See [`Dataset::take`], [`Dataset::skip`] and [`Dataset::split`].
#[derive(Debug, Clone)]
pub struct Slice<D> {
    dataset: D,
    start: usize,
    len: usize,
}

impl<D: Dataset> Dataset for Slice<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> D::Item {
        assert!(index < self.len, "example {index} of {}", self.len);
        self.dataset.get(self.start + index)
    }
}

/// See [`Dataset::batch`].
#[derive(Debug, Clone)]
pub struct Batched<D> {
    dataset: D,
    size: usize,
}

impl<D: Dataset> Dataset for Batched<D> {
    type Item = Vec<D::Item>;

    fn len(&self) -> usize {
        self.dataset.len().div_ceil(self.size)
    }

    fn get(&self, index: usize) -> Vec<D::Item> {
        let start = index * self.size;
        (start..self.dataset.len().min(start + self.size)).map(|i| self.dataset.get(i)).collect()
    }
}

/// [`Images`] as floats that a network likes: `(grey / 255 - mean) / std`.
#[derive(Debug, Clone)]
pub struct ImageDataset {
    images: Arc<Images>,
    normalized: [f32; 256],
}

impl ImageDataset {
    /// Normalised by the mean and standard deviation of MNIST's training pictures.
    pub fn new(images: impl Into<Arc<Images>>) -> ImageDataset {
        ImageDataset { images: images.into(), normalized: [0.0; 256] }.normalize(0.1307, 0.3081)
    }

    /// Normalised by another mean and standard deviation, of grey values between 0 and 1.
    pub fn normalize(mut self, mean: f32, std: f32) -> ImageDataset {
        self.normalized = std::array::from_fn(|grey| (grey as f32 / 255.0 - mean) / std);
        self
    }

    /// The pictures as they are.
    pub fn images(&self) -> &Arc<Images> {
        &self.images
    }
}

impl Dataset for ImageDataset {
    type Item = ImageItem;

    fn len(&self) -> usize {
        self.images.len()
    }

    fn get(&self, index: usize) -> ImageItem {
        let pixels = self.images.image(index).iter().map(|&grey| self.normalized[grey as usize]).collect();
        ImageItem { pixels, label: self.images.labels[index] as i32 }
    }
}

/// One normalised picture.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageItem {
    /// `[height * width]`, row by row.
    pub pixels: Vec<f32>,
    /// Its class.
    pub label: i32,
}

/// Some normalised pictures, ready to become a tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageBatch {
    /// `[len * height * width]`, picture by picture.
    pub pixels: Vec<f32>,
    /// `[len]`: the class of each.
    pub labels: Vec<i32>,
    /// The number of pictures.
    pub len: usize,
}

impl ImageBatch {
    /// Puts pictures one behind the other.
    pub fn collate(items: Vec<ImageItem>) -> ImageBatch {
        let len = items.len();
        let labels = items.iter().map(|item| item.label).collect();
        let mut pixels = Vec::with_capacity(items.iter().map(|item| item.pixels.len()).sum());
        items.iter().for_each(|item| pixels.extend_from_slice(&item.pixels));
        ImageBatch { pixels, labels, len }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Range(usize);

    impl Dataset for Range {
        type Item = usize;

        fn len(&self) -> usize {
            self.0
        }

        fn get(&self, index: usize) -> usize {
            index
        }
    }

    fn all<D: Dataset>(dataset: D) -> Vec<D::Item> {
        (0..dataset.len()).map(|i| dataset.get(i)).collect()
    }

    #[test]
    fn take_skip_and_split_cut_where_they_say() {
        assert_eq!(all(Range(5).take(2)), [0, 1]);
        assert_eq!(all(Range(5).take(9)), [0, 1, 2, 3, 4]);
        assert_eq!(all(Range(5).skip(2)), [2, 3, 4]);
        assert!(Range(5).skip(9).is_empty());
        let (a, b) = Range(5).split(3);
        assert_eq!((all(a), all(b)), (vec![0, 1, 2], vec![3, 4]));
    }

    #[test]
    fn shuffling_follows_seed_and_epoch() {
        let order = all(Range(50).shuffled(3, 4));
        assert_eq!(order, permutation(50, 3, 4).into_iter().map(|i| i as usize).collect::<Vec<_>>());
        assert_ne!(order, all(Range(50).shuffle(3)));
        assert_eq!(all(Range(50).shuffle(3)), all(Range(50).shuffled(3, 0)));
    }

    #[test]
    fn batches_hold_every_example_once() {
        assert_eq!(all(Range(5).batch(2)), [vec![0, 1], vec![2, 3], vec![4]]);
        assert_eq!(all(Range(4).batch(2)).len(), 2);
        assert_eq!(all(Range(2).batch(0)).len(), 2);
        assert!(Range(0).batch(3).is_empty());
    }

    #[test]
    fn images_are_normalised_and_collated() {
        let images = Images { height: 1, width: 2, pixels: vec![0, 255, 51, 102], labels: vec![3, 9] };
        let dataset = ImageDataset::new(images).normalize(0.2, 0.5);
        let batch = ImageBatch::collate(all(dataset.clone()));
        assert_eq!((batch.len, batch.labels), (2, vec![3, 9]));
        for (got, want) in batch.pixels.iter().zip([-0.4, 1.6, 0.0, 0.4]) {
            assert!((got - want).abs() < 1e-6, "{got} is not {want}");
        }
        let mnist = ImageDataset::new(dataset.images().clone()).get(0).pixels;
        assert!((mnist[0] + 0.424_213).abs() < 1e-5 && (mnist[1] - 2.821_487).abs() < 1e-5, "{mnist:?}");
    }
}
