//! Which nodes this thread has made and not yet computed, so that the end of a step can compute them all.

use crate::device::Device;
use crate::graph::Node;
use std::cell::RefCell;
use std::sync::{Arc, OnceLock, Weak};

thread_local! {
    static PENDING: RefCell<Vec<Weak<Node>>> = const { RefCell::new(Vec::new()) };
    static SWEEP_AT: RefCell<usize> = const { RefCell::new(4096) };
}

/// Remembers a new node. Returns how many this thread may have pending now.
pub fn register(node: &Arc<Node>) -> usize {
    PENDING.with_borrow_mut(|pending| {
        pending.push(Arc::downgrade(node));
        SWEEP_AT.with_borrow_mut(|at| {
            if pending.len() >= *at {
                pending.retain(|w| w.upgrade().is_some_and(|n| !n.is_realized()));
                *at = (2 * pending.len()).max(4096);
            }
        });
        pending.len()
    })
}

/// The pending length at which the graph is computed of itself: `SUNSTONE_FLUSH`, 200,000 nodes by default, far above
/// any real step, so that it never moves a plan's boundary in normal use.
pub fn flush_limit() -> usize {
    static LIMIT: OnceLock<usize> = OnceLock::new();
    *LIMIT.get_or_init(|| std::env::var("SUNSTONE_FLUSH").ok().and_then(|v| v.parse().ok()).unwrap_or(200_000))
}

/// Takes this thread's uncomputed nodes on `device` that a user's handle holds, in order of creation.
pub fn take_held(device: &Device) -> Vec<Arc<Node>> {
    PENDING.with_borrow_mut(|pending| {
        let mut held = Vec::new();
        pending.retain(|weak| {
            let Some(node) = weak.upgrade() else { return false };
            if node.device != *device {
                return !node.is_realized();
            }
            if node.all_handles() > 0 && !node.is_realized() {
                held.push(node);
            }
            // Whatever is left uncomputed has no handle, and is reached from what has one.
            false
        });
        held
    })
}
