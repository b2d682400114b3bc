//! How is work spread over threads? By rayon; in a browser, where a module has one thread, by plain iterators under
//! rayon's names, because rayon's own code would be a sixth of what the page downloads.

#[cfg(not(target_arch = "wasm32"))]
pub use rayon::prelude::*;

/// How many threads work is spread over.
#[cfg(not(target_arch = "wasm32"))]
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// How one large matrix product is spread.
#[cfg(not(target_arch = "wasm32"))]
pub const PRODUCT: gemm::Parallelism = gemm::Parallelism::Rayon(0);

#[cfg(target_arch = "wasm32")]
pub use serial::*;

#[cfg(target_arch = "wasm32")]
mod serial {
    use std::slice::{Chunks, ChunksExactMut, ChunksMut};

    pub use std::iter::Iterator as IndexedParallelIterator;

    pub const PRODUCT: gemm::Parallelism = gemm::Parallelism::None;

    pub fn threads() -> usize {
        1
    }

    pub trait ParallelSlice<T> {
        fn par_chunks(&self, size: usize) -> Chunks<'_, T>;
        fn par_chunks_mut(&mut self, size: usize) -> ChunksMut<'_, T>;
        fn par_chunks_exact_mut(&mut self, size: usize) -> ChunksExactMut<'_, T>;
        fn par_sort_unstable(&mut self)
        where
            T: Ord;
    }

    impl<T> ParallelSlice<T> for [T] {
        fn par_chunks(&self, size: usize) -> Chunks<'_, T> {
            self.chunks(size)
        }

        fn par_chunks_mut(&mut self, size: usize) -> ChunksMut<'_, T> {
            self.chunks_mut(size)
        }

        fn par_chunks_exact_mut(&mut self, size: usize) -> ChunksExactMut<'_, T> {
            self.chunks_exact_mut(size)
        }

        fn par_sort_unstable(&mut self)
        where
            T: Ord,
        {
            self.sort_unstable();
        }
    }

    pub trait IntoParallelIterator: IntoIterator + Sized {
        fn into_par_iter(self) -> Self::IntoIter {
            self.into_iter()
        }
    }

    impl<I: IntoIterator> IntoParallelIterator for I {}

    pub trait ParallelIterator: Iterator + Sized {
        fn find_map_first<R>(mut self, f: impl Fn(Self::Item) -> Option<R>) -> Option<R> {
            self.find_map(f)
        }

        fn map_init<S, R>(self, init: impl Fn() -> S, f: impl Fn(&mut S, Self::Item) -> R) -> impl Iterator<Item = R> {
            let mut state = init();
            self.map(move |item| f(&mut state, item))
        }
    }

    impl<I: Iterator> ParallelIterator for I {}
}
