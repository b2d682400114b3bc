//! Which batches make an epoch, and who makes them while the device is busy?

use super::dataset::{Dataset, ImageBatch, ImageDataset};
use super::order::permutation;
use crate::error::{Error, Result};
use std::any::Any;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

/// Cuts a dataset into the batches of an epoch. Which examples are in batch `k` of epoch `e` depends on the seed, `e`
/// and `k` alone, so training can go on at any batch as if it had never stopped.
///
/// ```
/// use sunstone::data::{ImageDataset, Loader, strokes};
///
/// let digits = strokes::digits(0, 100, 10);
/// let loader = Loader::images(ImageDataset::new(digits.train)).batch_size(32).shuffle(7).drop_last(true).prefetch(2);
/// for batch in loader.epoch(5).start_at(1) {
///     assert_eq!(batch?.pixels.len(), 32 * 28 * 28);
/// }
/// assert_eq!(loader.epoch(5).start_at(1).count(), 2);
/// # Ok::<(), sunstone::Error>(())
/// ```
pub struct Loader<D: Dataset, B> {
    dataset: Arc<D>,
    collate: Arc<Collate<D, B>>,
    batch_size: usize,
    seed: Option<u64>,
    drop_last: bool,
    depth: usize,
}

type Collate<D, B> = dyn Fn(Vec<<D as Dataset>::Item>) -> B + Send + Sync;

impl<D: Dataset> Loader<D, Vec<D::Item>> {
    /// Batches of one example, in the dataset's order, made when asked for.
    pub fn new(dataset: impl Into<Arc<D>>) -> Self {
        Loader {
            dataset: dataset.into(),
            collate: Arc::new(|items| items),
            batch_size: 1,
            seed: None,
            drop_last: false,
            depth: 0,
        }
    }
}

impl Loader<ImageDataset, ImageBatch> {
    /// As [`Loader::new`], with pictures collated into [`ImageBatch`]es.
    pub fn images(dataset: impl Into<Arc<ImageDataset>>) -> Self {
        Loader::new(dataset).collate(ImageBatch::collate)
    }
}

impl<D: Dataset, B> Loader<D, B> {
    /// Makes each batch by `f` from its examples.
    pub fn collate<C>(self, f: impl Fn(Vec<D::Item>) -> C + Send + Sync + 'static) -> Loader<D, C> {
        let Loader { dataset, batch_size, seed, drop_last, depth, .. } = self;
        Loader { dataset, collate: Arc::new(f), batch_size, seed, drop_last, depth }
    }

    /// Examples in a batch; 0 counts as 1.
    pub fn batch_size(mut self, n: usize) -> Self {
        self.batch_size = n.max(1);
        self
    }

    /// Another order in each epoch: [`permutation`]`(len, seed, epoch)`.
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether to leave out a last batch that is not full.
    pub fn drop_last(mut self, yes: bool) -> Self {
        self.drop_last = yes;
        self
    }

    /// Makes batches on a thread that keeps at most `depth` of them waiting; with 0, the caller's thread makes them.
    pub fn prefetch(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    /// The examples.
    pub fn dataset(&self) -> &Arc<D> {
        &self.dataset
    }

    /// The number of batches in an epoch.
    pub fn batches(&self) -> usize {
        match self.drop_last {
            true => self.dataset.len() / self.batch_size,
            false => self.dataset.len().div_ceil(self.batch_size),
        }
    }

    /// The batches of `epoch`, to be iterated over.
    pub fn epoch(&self, epoch: u64) -> Epoch<'_, D, B> {
        Epoch { loader: self, epoch, start: 0 }
    }

    fn work(&self, epoch: u64, start: usize) -> Work<D, B> {
        let order = self.seed.map(|seed| permutation(self.dataset.len(), seed, epoch));
        let todo = start.min(self.batches())..self.batches();
        let (dataset, collate) = (self.dataset.clone(), self.collate.clone());
        Work { dataset, collate, order, batch_size: self.batch_size, todo }
    }
}

impl<D: Dataset, B> fmt::Debug for Loader<D, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loader")
            .field("examples", &self.dataset.len())
            .field("batch_size", &self.batch_size)
            .field("seed", &self.seed)
            .field("drop_last", &self.drop_last)
            .field("prefetch", &self.depth)
            .finish()
    }
}

/// One epoch of a [`Loader`], before its first batch is made.
pub struct Epoch<'a, D: Dataset, B> {
    loader: &'a Loader<D, B>,
    epoch: u64,
    start: usize,
}

impl<D: Dataset, B> Epoch<'_, D, B> {
    /// Leaves out the batches before number `k`, without making them.
    pub fn start_at(mut self, k: usize) -> Self {
        self.start = k;
        self
    }
}

impl<D: Dataset + 'static, B: Send + 'static> Epoch<'_, D, B> {
    /// How many batches there will be.
    pub fn count(&self) -> usize {
        self.loader.batches().saturating_sub(self.start)
    }
}

impl<D: Dataset + 'static, B: Send + 'static> IntoIterator for Epoch<'_, D, B> {
    type Item = Result<B>;
    type IntoIter = Batches<D, B>;

    fn into_iter(self) -> Batches<D, B> {
        let work = self.loader.work(self.epoch, self.start);
        // A module in a browser has no threads of its own.
        let depth = if cfg!(target_arch = "wasm32") { 0 } else { self.loader.depth };
        Batches(match depth {
            0 => Source::Here(work),
            depth => Source::Thread(Prefetch::new(work, depth)),
        })
    }
}

/// The batches of an epoch. An error means that the thread that makes them failed; it is the last item.
pub struct Batches<D: Dataset, B>(Source<D, B>);

enum Source<D: Dataset, B> {
    Here(Work<D, B>),
    Thread(Prefetch<B>),
}

impl<D: Dataset, B> Iterator for Batches<D, B> {
    type Item = Result<B>;

    fn next(&mut self) -> Option<Result<B>> {
        match &mut self.0 {
            Source::Here(work) => work.next().map(Ok),
            Source::Thread(prefetch) => prefetch.next(),
        }
    }
}

impl<D: Dataset, B> FusedIterator for Batches<D, B> {}

/// What is left to do of an epoch.
struct Work<D: Dataset, B> {
    dataset: Arc<D>,
    collate: Arc<Collate<D, B>>,
    order: Option<Vec<u32>>,
    batch_size: usize,
    todo: Range<usize>,
}

impl<D: Dataset, B> Iterator for Work<D, B> {
    type Item = B;

    fn next(&mut self) -> Option<B> {
        let start = self.todo.next()? * self.batch_size;
        let end = self.dataset.len().min(start + self.batch_size);
        let place = |i: usize| self.order.as_ref().map_or(i, |order| order[i] as usize);
        Some((self.collate)((start..end).map(|i| self.dataset.get(place(i))).collect()))
    }
}

/// Runs an iterator on a thread of its own, a few items ahead. Dropping it stops the thread after at most one more item.
///
/// Where the iterator panics, the panic's message is the last item, an [`Error::Invalid`].
#[derive(Debug)]
pub struct Prefetch<T> {
    /// `None` once the items are over.
    items: Option<Receiver<Result<T>>>,
    worker: Option<JoinHandle<()>>,
    /// Set when no thread could be started.
    failure: Option<Error>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// At most `depth` items wait to be taken (with 0, each waits for its taker).
    pub fn new(source: impl Iterator<Item = T> + Send + 'static, depth: usize) -> Prefetch<T> {
        let (sender, items) = sync_channel(depth);
        let mut source = source;
        let work = move || {
            loop {
                let item = match catch_unwind(AssertUnwindSafe(|| source.next())) {
                    Ok(None) => return,
                    Ok(Some(item)) => Ok(item),
                    Err(panic) => Err(Error::Invalid(format!("the data loader panicked: {}", message(&*panic)))),
                };
                let over = item.is_err();
                // Sending fails when nobody listens any more.
                if sender.send(item).is_err() || over {
                    return;
                }
            }
        };
        match thread::Builder::new().name("sunstone-data".into()).spawn(work) {
            Ok(worker) => Prefetch { items: Some(items), worker: Some(worker), failure: None },
            Err(e) => {
                let failure = Error::Invalid(format!("no thread for the data loader: {e}"));
                Prefetch { items: None, worker: None, failure: Some(failure) }
            }
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)")
}

impl<T> Iterator for Prefetch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        let Some(items) = &self.items else {
            return self.failure.take().map(Err);
        };
        let item = items.recv().ok();
        if item.is_none() {
            self.items = None;
        }
        item
    }
}

impl<T> FusedIterator for Prefetch<T> {}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // The receiver must go first: a worker that waits for room would never end.
        self.items = None;
        if let Some(worker) = self.worker.take() {
            // It catches its own panics, and a panic in this drop could abort the program.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The numbers `0..len`; counts accesses, and panics at `bad`.
    struct Numbers {
        len: usize,
        bad: usize,
        accesses: Arc<AtomicUsize>,
    }

    fn numbers(len: usize) -> Numbers {
        Numbers { len, bad: usize::MAX, accesses: Arc::default() }
    }

    impl Dataset for Numbers {
        type Item = usize;

        fn len(&self) -> usize {
            self.len
        }

        fn get(&self, index: usize) -> usize {
            self.accesses.fetch_add(1, Ordering::Relaxed);
            assert_ne!(index, self.bad, "number {index} is bad");
            index
        }
    }

    type Numbered = Loader<Numbers, Vec<usize>>;

    fn epoch(loader: &Numbered, epoch: u64, start: usize) -> Vec<Vec<usize>> {
        loader.epoch(epoch).start_at(start).into_iter().map(|batch| batch.unwrap()).collect()
    }

    #[test]
    fn batches_come_in_order_and_the_last_is_dropped_on_demand() {
        let loader = Loader::new(numbers(7)).batch_size(3);
        assert_eq!(epoch(&loader, 0, 0), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
        assert_eq!(loader.batches(), 3);
        let loader = loader.drop_last(true);
        assert_eq!(epoch(&loader, 0, 0).len(), 2);
        assert_eq!((loader.batches(), loader.epoch(0).start_at(1).count()), (2, 1));
        assert!(epoch(&Loader::new(numbers(0)).batch_size(3), 0, 0).is_empty());
        assert_eq!(epoch(&Loader::new(numbers(2)).batch_size(0), 0, 0), [[0], [1]]);
    }

    #[test]
    fn the_order_follows_seed_and_epoch_and_not_the_thread() {
        let loader = |seed, depth| Loader::new(numbers(100)).batch_size(8).shuffle(seed).prefetch(depth);
        let base = epoch(&loader(1, 0), 3, 0);
        for depth in [0, 1, 5, 100] {
            assert_eq!(base, epoch(&loader(1, depth), 3, 0), "depth {depth}");
        }
        assert_ne!(base, epoch(&loader(1, 0), 4, 0));
        assert_ne!(base, epoch(&loader(2, 0), 3, 0));
        let mut all = base.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
    }

    #[test]
    fn resuming_gives_what_would_have_come_without_making_what_came() {
        for depth in [0, 2] {
            let loader = Loader::new(numbers(100)).batch_size(8).shuffle(1).prefetch(depth);
            let whole = epoch(&loader, 3, 0);
            for start in [0, 1, 12, 13, 99] {
                let before = loader.dataset().accesses.load(Ordering::Relaxed);
                let rest = epoch(&loader, 3, start);
                assert_eq!(rest, whole[start.min(whole.len())..]);
                let made = loader.dataset().accesses.load(Ordering::Relaxed) - before;
                assert_eq!(made, rest.concat().len());
            }
        }
    }

    #[test]
    fn dropping_in_the_middle_stops_the_thread() {
        let loader = Loader::new(numbers(1_000_000)).prefetch(4);
        let mut batches = loader.epoch(0).into_iter();
        assert_eq!(batches.next().unwrap().unwrap(), [0]);
        drop(batches);
        // The thread is joined, so nothing holds the dataset any more and it was far from done.
        assert_eq!(Arc::strong_count(loader.dataset()), 1);
        assert!(loader.dataset().accesses.load(Ordering::Relaxed) <= 7);
    }

    #[test]
    fn a_panic_on_the_thread_becomes_the_last_item() {
        let mut dataset = numbers(10);
        dataset.bad = 2;
        let mut batches = Loader::new(dataset).prefetch(1).epoch(0).into_iter();
        assert_eq!(batches.next().unwrap().unwrap(), [0]);
        assert_eq!(batches.next().unwrap().unwrap(), [1]);
        let error = batches.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("the data loader panicked") && error.contains("number 2 is bad"), "{error}");
        assert!(batches.next().is_none() && batches.next().is_none());
    }

    #[test]
    fn a_dataset_prefetches_by_itself() {
        let got: Result<Vec<usize>> = numbers(20).skip(5).prefetch(0).collect();
        assert_eq!(got.unwrap(), (5..20).collect::<Vec<_>>());
    }
}
