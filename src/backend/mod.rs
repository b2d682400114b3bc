//! What runs plans: the backends, their memory managers, and the registry that opens devices.

mod caching;
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(all(any(feature = "cuda", feature = "wgpu"), not(target_arch = "wasm32")))]
mod disk;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod origins;
mod registry;
#[cfg(feature = "wgpu")]
pub mod wgpu;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod words;

#[cfg(test)]
mod testing;

pub use caching::CachingManager;
pub use registry::{DeviceInfo, DeviceState};
