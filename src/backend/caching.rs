//! The default memory manager: released blocks wait in buckets for the next request of their size.
//!
//! Blocks of a bucket are taken in an order of their own, whatever the order in which they came back: when a plan runs again with
//! the same memory free, each of its slots gets the same block again, and what a backend has recorded with addresses holds.

use crate::device::{Block, BlockSource, MemoryManager, MemoryStats};
use crate::error::{Error, Result};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Keeps released blocks in buckets by size. Sizes are rounded up (to 256 bytes below 4 KiB, else to an eighth of the
/// next lower power of two), so that a block serves requests that differ a little: at most an eighth is wasted.
#[derive(Debug, Default)]
pub struct CachingManager(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    /// By size, then by name.
    free: FxHashMap<usize, BTreeMap<Name, Block>>,
    released: u64,
    stats: MemoryStats,
}

impl CachingManager {
    /// An empty cache.
    pub fn new() -> CachingManager {
        CachingManager::default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Where the block's owner lies on the heap, which tells blocks apart for as long as they live; and a number, for owners
/// without a place.
type Name = (usize, u64);

/// The bucket that serves a request.
fn bucket(bytes: usize) -> usize {
    let step = if bytes <= 4096 { 256 } else { 1 << (bytes.ilog2() - 3) };
    bytes.max(1).checked_next_multiple_of(step).unwrap_or(bytes)
}

impl Cache {
    /// Takes all free blocks out, so that they are given back to the device outside the lock.
    fn drain(&mut self) -> Vec<Block> {
        let blocks: Vec<Block> = self.free.drain().flat_map(|(_, blocks)| blocks.into_values()).collect();
        self.stats.reserved -= blocks.iter().map(|b| b.bytes as u64).sum::<u64>();
        blocks
    }
}

impl MemoryManager for CachingManager {
    fn acquire(&self, bytes: usize, source: &dyn BlockSource) -> Result<Block> {
        let size = bucket(bytes);
        {
            let mut cache = self.lock();
            if let Some((_, block)) = cache.free.get_mut(&size).and_then(BTreeMap::pop_first) {
                cache.stats.in_use += block.bytes as u64;
                return Ok(block);
            }
        }
        let block = match source.allocate(size) {
            Err(Error::OutOfMemory { .. }) => {
                // What waits in the buckets may be just what the device lacks.
                self.trim();
                source.allocate(size)?
            }
            other => other?,
        };
        let mut cache = self.lock();
        cache.stats.reserved += block.bytes as u64;
        cache.stats.in_use += block.bytes as u64;
        cache.stats.high_water = cache.stats.high_water.max(cache.stats.reserved);
        Ok(block)
    }

    fn release(&self, block: Block) {
        let mut cache = self.lock();
        cache.stats.in_use -= block.bytes as u64;
        cache.released += 1;
        let name = (std::ptr::from_ref(&*block.memory).addr(), cache.released);
        cache.free.entry(block.bytes).or_default().insert(name, block);
    }

    fn trim(&self) {
        let blocks = self.lock().drain();
        drop(blocks);
    }

    fn stats(&self) -> MemoryStats {
        self.lock().stats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Heap;
    impl BlockSource for Heap {
        fn allocate(&self, bytes: usize) -> Result<Block> {
            Ok(Block { bytes, memory: Box::new(()) })
        }
    }

    #[test]
    fn buckets_waste_at_most_an_eighth() {
        for bytes in [1, 255, 256, 257, 4096, 4097, 5000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let size = bucket(bytes);
            assert!(size >= bytes && (bytes <= 4096 || size - bytes <= bytes / 8), "{bytes} -> {size}");
            assert_eq!(bucket(size), size, "a bucket's own size must map to itself");
        }
    }

    #[test]
    fn a_released_block_is_reused_and_trim_gives_it_back() {
        let m = CachingManager::new();
        let a = m.acquire(1000, &Heap).unwrap();
        assert_eq!(m.stats(), MemoryStats { reserved: 1024, in_use: 1024, high_water: 1024 });
        m.release(a);
        let b = m.acquire(900, &Heap).unwrap();
        assert_eq!(m.stats().reserved, 1024);
        m.release(b);
        m.trim();
        assert_eq!(m.stats(), MemoryStats { reserved: 0, in_use: 0, high_water: 1024 });
    }
}
