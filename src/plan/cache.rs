//! The plan cache: a bounded map from a graph's key to its compiled plan; the least recently used one goes first.

use super::Plan;
use crate::device::Executable;
use rustc_hash::FxHashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A graph written out whole. Two graphs are the same plan only when these are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(pub Vec<u64>);

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in &self.0 {
            state.write_u64(*word);
        }
    }
}

struct Entry {
    executable: Arc<dyn Executable>,
    used: u64,
}

/// See the module.
pub struct PlanCache {
    entries: FxHashMap<Key, Entry>,
    capacity: usize,
    clock: u64,
    last: Option<Arc<Plan>>,
}

impl PlanCache {
    /// An empty cache of as many plans as `SUNSTONE_PLAN_CACHE` says, 256 by default.
    pub fn from_env() -> PlanCache {
        let capacity = std::env::var("SUNSTONE_PLAN_CACHE").ok().and_then(|v| v.parse().ok()).unwrap_or(256);
        PlanCache::new(capacity)
    }

    /// An empty cache for `capacity` plans, at least one.
    pub fn new(capacity: usize) -> PlanCache {
        PlanCache { entries: FxHashMap::default(), capacity: capacity.max(1), clock: 0, last: None }
    }

    /// The plan for this very graph.
    pub fn get(&mut self, key: &Key) -> Option<Arc<dyn Executable>> {
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.clock;
        Some(entry.executable.clone())
    }

    /// Remembers a plan, at the expense of the one that was not used for longest.
    pub fn insert(&mut self, key: Key, executable: Arc<dyn Executable>) {
        if self.entries.len() >= self.capacity
            && let Some(oldest) = self.entries.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| k.clone())
        {
            self.entries.remove(&oldest);
        }
        self.clock += 1;
        self.entries.insert(key, Entry { executable, used: self.clock });
    }

    /// Notes which plan ran.
    pub fn ran(&mut self, plan: &Arc<Plan>) {
        self.last = Some(plan.clone());
    }

    /// The plan that ran last.
    pub fn last(&self) -> Option<Arc<Plan>> {
        self.last.clone()
    }

    /// How many plans it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when it holds none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Scalar;

    struct Nothing(Arc<Plan>);
    impl Executable for Nothing {
        fn plan(&self) -> &Arc<Plan> {
            &self.0
        }
        fn run(&self, _: &[Arc<crate::device::Storage>], _: &[Scalar]) -> crate::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_least_recently_used_plan_goes_first() {
        let plan = Plan {
            slots: vec![],
            steps: vec![],
            params: vec![],
            outputs: vec![],
            origins: vec![],
            deterministic: false,
        };
        let nothing = || Arc::new(Nothing(Arc::new(plan.clone())));
        let mut cache = PlanCache::new(2);
        cache.insert(Key(vec![1]), nothing());
        cache.insert(Key(vec![2]), nothing());
        assert!(cache.get(&Key(vec![1])).is_some());
        cache.insert(Key(vec![3]), nothing());
        assert_eq!(cache.len(), 2);
        assert!(cache.get(&Key(vec![2])).is_none());
        assert!(cache.get(&Key(vec![1])).is_some());
    }
}
