//! The library's face in a browser: JavaScript classes whose every wait is a `Promise`.
//!
//! Nothing here blocks and nothing is read back unless asked for. Errors are JavaScript `Error`s with the library's
//! message, and a `name` that tells their kind: `DeviceLostError`, `OutOfMemoryError`, …

mod bench;
mod digits;
mod pause;
mod tensor;
mod text;

pub use bench::bench;
pub use digits::DigitsSession;
pub use tensor::{WebTensor, op, ops};
pub use text::TextSession;

use crate::device::Device;
use crate::error::Error;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

/// What everything here fails with.
pub type JsResult<T> = std::result::Result<T, JsValue>;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What a device is and grants, or why it does not open. */
export interface DeviceInfo {
  name: string;
  caps?: {
    hardware: string; driver: string; software: boolean; dtypes: string[];
    max_buffers_per_kernel: number; max_buffer_bytes: number; notes: [string, string][];
  };
  error?: string;
}

/** What happened on a device since it was opened. */
export interface Stats {
  plans_built: number; plans_replayed: number; kernels_launched: number;
  bytes_reserved: number; bytes_in_use: number; bytes_high_water: number;
}
"#;

/// Every device: the CPU in WebAssembly, and WebGPU where the browser offers it. Opens them.
#[wasm_bindgen(unchecked_return_type = "DeviceInfo[]")]
pub async fn devices() -> JsResult<JsValue> {
    let gpu = Device::open_async("wgpu:0").await;
    let mut all = Device::list();
    if let Err(error) = gpu {
        let state = crate::backend::DeviceState::Error(error.to_string());
        all.push(crate::backend::DeviceInfo { name: "wgpu:0".into(), state });
    }
    to_js(&all)
}

/// Counts and memory of a device that is open.
#[wasm_bindgen(unchecked_return_type = "Stats")]
pub async fn stats(device: String) -> JsResult<JsValue> {
    to_js(&open(&device).await?.stats())
}

/// The version of the library.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").into()
}

/// Bytes of WebAssembly memory in use by this module.
#[wasm_bindgen(js_name = heapBytes)]
pub fn heap_bytes() -> f64 {
    (core::arch::wasm32::memory_size::<0>() * 65536) as f64
}

/// A panic is a fault of the library; its message goes to the console, because the browser tells only `unreachable`.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| wasm_bindgen::throw_str(&format!("sunstone panicked: {info}"))));
}

async fn open(name: &str) -> JsResult<Device> {
    Device::open_async(name).await.map_err(fail)
}

/// The library's error as JavaScript's.
fn fail(error: Error) -> JsValue {
    let kind = match &error {
        Error::Op { .. } => "OpError",
        Error::IndexOutOfRange { .. } => "IndexOutOfRangeError",
        Error::UnknownDevice { .. } => "UnknownDeviceError",
        Error::Unsupported { .. } => "UnsupportedError",
        Error::OutOfMemory { .. } => "OutOfMemoryError",
        Error::DeviceLost { .. } => "DeviceLostError",
        Error::Shader { .. } => "ShaderError",
        Error::Malformed { .. } => "MalformedError",
        Error::NotFinite { .. } => "NotFiniteError",
        _ => "SunstoneError",
    };
    let thrown = js_sys::Error::new(&error.to_string());
    thrown.set_name(kind);
    thrown.into()
}

fn invalid(detail: impl Into<String>) -> JsValue {
    fail(Error::Invalid(detail.into()))
}

/// A plain JavaScript object of it.
fn to_js<T: Serialize + ?Sized>(value: &T) -> JsResult<JsValue> {
    let plain = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&plain).map_err(|e| invalid(e.to_string()))
}

/// The options of a call; what is left out has its default.
fn from_js<T: DeserializeOwned + Default>(value: JsValue) -> JsResult<T> {
    match value.is_undefined() || value.is_null() {
        true => Ok(T::default()),
        false => serde_wasm_bindgen::from_value(value).map_err(|e| invalid(format!("the options: {e}"))),
    }
}
