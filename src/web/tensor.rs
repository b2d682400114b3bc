//! Tensors with typed arrays going in and out, and every op of the registry by its name.

use super::{JsResult, fail, invalid, open};
use crate::device::Device;
use crate::dtype::DType;
use crate::registry::{self, Args};
use crate::shape::Shape;
use crate::tensor::Tensor;
use js_sys::{Array, Float32Array, Int32Array, JsString, Uint8Array, Uint32Array};
use wasm_bindgen::prelude::*;

/// An n-dimensional array on a device; see the Rust type of that name. Freed by `free()` or with its last reference.
#[wasm_bindgen(js_name = Tensor)]
#[derive(Clone)]
pub struct WebTensor(Tensor);

#[wasm_bindgen]
extern "C" {
    /// A tensor that JavaScript keeps: as an argument, a [`WebTensor`] itself would be taken from it.
    #[wasm_bindgen(typescript_type = "Tensor")]
    pub type Kept;

    #[wasm_bindgen(method, catch, js_name = clone)]
    fn handle(this: &Kept) -> JsResult<WebTensor>;
}

#[wasm_bindgen(js_class = Tensor)]
impl WebTensor {
    /// A tensor of a typed array (`Float32Array`, `Int32Array`, `Uint32Array`, `Uint8Array`) on a device (`cpu`, `wgpu:0`).
    #[wasm_bindgen(js_name = from)]
    pub async fn from_array(
        #[wasm_bindgen(unchecked_param_type = "Float32Array | Int32Array | Uint32Array | Uint8Array")] data: JsValue,
        shape: Vec<u32>,
        device: String,
    ) -> JsResult<WebTensor> {
        let device = open(&device).await?;
        let shape = Shape::from(shape.iter().map(|&n| n as usize).collect::<Vec<_>>());
        let tensor = if let Some(a) = data.dyn_ref::<Float32Array>() {
            Tensor::from_slice(&a.to_vec(), shape, &device)
        } else if let Some(a) = data.dyn_ref::<Int32Array>() {
            Tensor::from_slice(&a.to_vec(), shape, &device)
        } else if let Some(a) = data.dyn_ref::<Uint32Array>() {
            Tensor::from_slice(&a.to_vec(), shape, &device)
        } else if let Some(a) = data.dyn_ref::<Uint8Array>() {
            Tensor::from_slice(&a.to_vec(), shape, &device)
        } else {
            return Err(invalid("a tensor is made of a Float32Array, Int32Array, Uint32Array or Uint8Array"));
        };
        WebTensor(tensor).checked()
    }

    /// Another handle on the same tensor.
    #[wasm_bindgen(js_name = clone)]
    pub fn handle(&self) -> WebTensor {
        self.clone()
    }

    /// The sizes of its axes.
    #[wasm_bindgen(getter)]
    pub fn shape(&self) -> Vec<u32> {
        self.0.shape().iter().map(|&n| n as u32).collect()
    }

    /// The element type by name.
    #[wasm_bindgen(getter)]
    pub fn dtype(&self) -> String {
        self.0.dtype().to_string()
    }

    /// The device by name.
    #[wasm_bindgen(getter)]
    pub fn device(&self) -> String {
        self.0.device().name().into()
    }

    /// The elements in row-major order: a `Float32Array`, `Int32Array`, `Uint32Array`, or `Uint8Array` for `bool` and `u8`.
    #[wasm_bindgen(unchecked_return_type = "Float32Array | Int32Array | Uint32Array | Uint8Array")]
    pub async fn data(&self) -> JsResult<JsValue> {
        let x = self.0.clone();
        Ok(match x.dtype() {
            DType::F32 => Float32Array::from(&x.to_vec_async::<f32>().await.map_err(fail)?[..]).into(),
            DType::I32 => Int32Array::from(&x.to_vec_async::<i32>().await.map_err(fail)?[..]).into(),
            DType::U32 => Uint32Array::from(&x.to_vec_async::<u32>().await.map_err(fail)?[..]).into(),
            DType::U8 => Uint8Array::from(&x.to_vec_async::<u8>().await.map_err(fail)?[..]).into(),
            DType::Bool => {
                let bytes: Vec<u8> = x.to_vec_async::<bool>().await.map_err(fail)?.into_iter().map(u8::from).collect();
                Uint8Array::from(&bytes[..]).into()
            }
            other => {
                let near = if other.is_float() { DType::F32 } else { DType::I32 };
                return Err(invalid(format!("JavaScript has no typed array of {other}; cast to {near} first")));
            }
        })
    }

    /// The places of the elements that are not 0, `i32[n, rank]`. How many there are depends on the data, so unlike by `op`
    /// it is waited for.
    pub async fn nonzero(&self) -> JsResult<WebTensor> {
        self.0.nonzero().await.map(WebTensor).map_err(fail)
    }

    /// The elements where `mask` holds, in order; waited for as for `nonzero`.
    #[wasm_bindgen(js_name = maskedSelect)]
    pub async fn masked_select(&self, mask: &WebTensor) -> JsResult<WebTensor> {
        let chosen = self.0.masked_select(&mask.0);
        chosen.await.map(WebTensor).map_err(fail)
    }

    /// Makes it a variable that `backward` gives a gradient for.
    #[wasm_bindgen(js_name = requiresGrad)]
    pub fn requires_grad(&self) -> JsResult<WebTensor> {
        WebTensor(self.0.clone().requires_grad()).checked()
    }

    /// The gradient of this scalar for each of `variables`; `undefined` for one that it does not depend on.
    #[wasm_bindgen(unchecked_return_type = "(Tensor | undefined)[]")]
    pub fn backward(&self, variables: Vec<Kept>) -> JsResult<Array> {
        let variables = tensors(&variables)?;
        let grads = self.0.backward().map_err(fail)?;
        let of = |v: &Tensor| grads.get(v).map_or(JsValue::UNDEFINED, |g| WebTensor(g).into());
        Ok(variables.iter().map(of).collect())
    }

    fn checked(self) -> JsResult<WebTensor> {
        match self.0.error() {
            Some(error) => Err(fail(error.clone())),
            None => Ok(self),
        }
    }
}

fn tensors(kept: &[Kept]) -> JsResult<Vec<Tensor>> {
    kept.iter().map(|tensor| tensor.handle().map(|t| t.0)).collect()
}

/// Calls an op of the registry: `op("softmax", [x], {axis: -1})`. A new tensor needs a device: `op("zeros", [], {...}, "cpu")`.
#[wasm_bindgen]
pub fn op(
    name: &str,
    inputs: Vec<Kept>,
    #[wasm_bindgen(unchecked_param_type = "Record<string, unknown> | undefined")] args: JsValue,
    device: Option<String>,
) -> JsResult<Vec<WebTensor>> {
    let info = registry::find(name).ok_or_else(|| invalid(format!("no op is called '{name}'; see ops()")))?;
    let args = match args.is_undefined() || args.is_null() {
        true => Args::default(),
        false => {
            let text = js_sys::JSON::stringify(&args).map(|t: JsString| String::from(t))?;
            Args::parse(&text).map_err(fail)?
        }
    };
    let inputs = tensors(&inputs)?;
    let device = match (&device, inputs.first()) {
        (Some(name), _) => Device::open(name).map_err(fail)?,
        (None, Some(x)) => x.device(),
        (None, None) => Device::cpu(),
    };
    let results = info.call(&device, &inputs, &args).map_err(fail)?;
    results.into_iter().map(|t| WebTensor(t).checked()).collect()
}

/// The names of all ops.
#[wasm_bindgen]
pub fn ops() -> Vec<String> {
    registry::all().map(|op| op.name.to_owned()).collect()
}
