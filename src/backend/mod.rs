//! What runs plans: the backends, their memory managers, and the registry that opens devices.

mod caching;
pub mod cpu;

pub use caching::CachingManager;
