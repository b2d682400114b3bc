//! What runs plans: the backends, their memory managers, and the registry that opens devices.

mod caching;
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use caching::CachingManager;
