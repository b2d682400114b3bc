//! Which buffer each value goes to: few, so that they stay in the first-level cache.

use super::program::{Entry, Program};
use crate::plan::{Loop, Reg};
use crate::shape::Dims;

impl Program {
    /// Linear scan: a buffer is free again after the last use of the value in it, except that what a stage uses and
    /// did not compute itself must outlive the stage, which runs many times.
    pub fn allocate_buffers(&mut self, l: &Loop) {
        let mut pool = Pool::default();
        for e in &mut self.uniform {
            e.buffer = pool.take();
        }
        // Uses of outer values: each list before a stage and each stage counts as one moment.
        let mut last = vec![0; l.instrs.len()];
        let operands = |reg: Reg| l.instrs[reg].kind.operands();
        for stage in 0..self.before.len() {
            for e in &self.before[stage] {
                operands(e.reg).iter().for_each(|&r| last[r] = 2 * stage);
            }
            if let Some(s) = self.stages.get(stage) {
                let folded = self.folds[s.folds.clone()].iter().map(|f| f.src);
                let stored = s.stores.iter().map(|&k| l.stores[k].value);
                let used = s.entries.iter().flat_map(|e| operands(e.reg)).chain(folded).chain(stored);
                used.for_each(|r| last[r] = 2 * stage + 1);
            }
        }
        for &k in &self.outer_stores {
            last[l.stores[k].value] = usize::MAX;
        }
        let mut held: Vec<(Reg, usize)> = Vec::new();
        for stage in 0..self.before.len() {
            // Within a straight list, values used for the last time here are freed at that very entry.
            let list = &mut self.before[stage];
            let ends = last_uses(list, &operands);
            for (i, e) in list.iter_mut().enumerate() {
                e.buffer = pool.take();
                held.push((e.reg, e.buffer));
                held.retain(|&(r, b)| {
                    let done = last[r] <= 2 * stage && ends.get(r, i) && r != e.reg;
                    if done {
                        pool.give(b);
                    }
                    !done
                });
            }
            let Some(s) = self.stages.get_mut(stage) else { continue };
            let mut ends = last_uses(&s.entries, &operands);
            let after = self.folds[s.folds.clone()].iter().map(|f| f.src);
            after.chain(s.stores.iter().map(|&k| l.stores[k].value)).for_each(|r| ends.keep(r));
            let mut inside: Vec<(Reg, usize)> = Vec::new();
            for (i, e) in s.entries.iter_mut().enumerate() {
                e.buffer = pool.take();
                inside.push((e.reg, e.buffer));
                inside.retain(|&(r, b)| {
                    let done = ends.get(r, i) && r != e.reg;
                    if done {
                        pool.give(b);
                    }
                    !done
                });
            }
            inside.into_iter().for_each(|(_, b)| pool.give(b));
            for f in &mut self.folds[s.folds.clone()] {
                f.buffer = pool.take();
                held.push((f.reg, f.buffer));
            }
            held.retain(|&(r, b)| {
                let done = last[r] <= 2 * stage + 1;
                if done {
                    pool.give(b);
                }
                !done
            });
        }
        self.buffers = pool.count;
    }
}

/// Numbers of free buffers.
#[derive(Default)]
struct Pool {
    free: Vec<usize>,
    count: usize,
}

impl Pool {
    fn take(&mut self) -> usize {
        self.free.pop().unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        })
    }

    fn give(&mut self, buffer: usize) {
        self.free.push(buffer);
    }
}

/// The entry of a list after which a value is not used any more within that list.
struct Ends(rustc_hash::FxHashMap<Reg, usize>);

impl Ends {
    /// True when `reg` is used last at entry `i` or before (never, if it is not used).
    fn get(&self, reg: Reg, i: usize) -> bool {
        self.0.get(&reg).is_none_or(|&end| end <= i)
    }

    fn keep(&mut self, reg: Reg) {
        self.0.insert(reg, usize::MAX);
    }
}

fn last_uses(list: &[Entry], operands: &dyn Fn(Reg) -> Dims<Reg>) -> Ends {
    let mut ends = rustc_hash::FxHashMap::default();
    let mut chain = 0;
    for (i, e) in list.iter().enumerate() {
        // A chain reads all of its operands while it writes its last value.
        chain = chain.max(i + e.chain.saturating_sub(1));
        operands(e.reg).iter().for_each(|&r| {
            ends.insert(r, chain);
        });
        chain = chain.max(i + 1);
    }
    Ends(ends)
}
