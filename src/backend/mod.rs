//! What runs plans: the backends, their memory managers, and the registry that opens devices.

mod caching;
<<<<<<< HEAD
pub mod cpu;
mod registry;
=======
>>>>>>> gpu
#[cfg(feature = "wgpu")]
pub mod wgpu;

pub use caching::CachingManager;
pub use registry::{DeviceInfo, DeviceState};
