//! What runs plans: the backends, their memory managers, and the registry that opens devices.

mod caching;
pub mod cpu;
mod registry;
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use caching::CachingManager;
pub use registry::{DeviceInfo, DeviceState};
