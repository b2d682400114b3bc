//! The golden files: what is in a case, read from safetensors.

use safetensors::SafeTensors;
use serde_json::Value;
use std::fmt;
use sunstone::dtype::{bf16, f16};
use sunstone::prelude::*;
use sunstone::registry::Args;

/// A call and what PyTorch made of it. All tensors are on the CPU.
pub struct Case {
    pub op: String,
    pub args: Args,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
    pub grads: Vec<Option<Tensor>>,
    pub smooth: bool,
    pub factor: f64,
}

impl Case {
    pub fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.inputs.iter().chain(&self.outputs)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shapes: Vec<String> = self.inputs.iter().map(|t| format!("{} {}", t.dtype(), t.shape())).collect();
        let args: Vec<String> = self.args.iter().map(|(k, v)| format!("{k}={v}")).collect();
        write!(f, "{}({}; {})", self.op, shapes.join(", "), args.join(", "))
    }
}

macro_rules! files {
    ($($group:literal)*) => {
        &[$(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/", $group, ".safetensors"))),*]
    };
}

const FILES: &[&[u8]] = files!("create" "map" "shape" "reduce" "index" "contract" "rows");

/// All cases of all groups.
pub fn cases() -> Vec<Case> {
    FILES.iter().flat_map(|bytes| read(bytes)).collect()
}

fn read(bytes: &[u8]) -> Vec<Case> {
    let (_, header) = SafeTensors::read_metadata(bytes).expect("a golden file");
    let text = &header.metadata().as_ref().expect("metadata")["cases"];
    let file = SafeTensors::deserialize(bytes).expect("a golden file");
    let entries: Vec<Value> = serde_json::from_str(text).expect("a list of cases");
    entries.iter().map(|entry| case(entry, &file)).collect()
}

fn case(entry: &Value, file: &SafeTensors) -> Case {
    let list = |key: &str| entry[key].as_array().expect("a list");
    let load = |name: &Value| tensor(file, name.as_str().expect("a name"));
    Case {
        op: entry["op"].as_str().expect("an op").into(),
        args: Args::from(entry["args"].as_object().expect("arguments").clone()),
        inputs: list("inputs").iter().map(load).collect(),
        outputs: list("outputs").iter().map(load).collect(),
        grads: list("grads").iter().map(|g| (!g.is_null()).then(|| load(g))).collect(),
        smooth: entry["smooth"].as_bool().expect("a truth value"),
        factor: entry["factor"].as_f64().expect("a number"),
    }
}

fn tensor(file: &SafeTensors, name: &str) -> Tensor {
    use safetensors::Dtype;
    let view = file.tensor(name).expect("a tensor of the file");
    let make = |dtype: DType| {
        macro_rules! of {
            ($($d:ident $t:ty),*) => {
                match dtype {
                    $(DType::$d => Tensor::from_slice(&<$t>::from_bytes(view.data()), view.shape(), &Device::cpu()),)*
                    other => panic!("no golden file holds {other}"),
                }
            };
        }
        of!(Bool bool, U8 u8, U32 u32, I32 i32, I64 i64, F32 f32, F64 f64, F16 f16, BF16 bf16)
    };
    match view.dtype() {
        Dtype::BOOL => make(DType::Bool),
        Dtype::U8 => make(DType::U8),
        Dtype::U32 => make(DType::U32),
        Dtype::I32 => make(DType::I32),
        Dtype::I64 => make(DType::I64),
        Dtype::F32 => make(DType::F32),
        Dtype::F64 => make(DType::F64),
        Dtype::F16 => make(DType::F16),
        Dtype::BF16 => make(DType::BF16),
        other => panic!("no golden file holds {other:?}"),
    }
}

/// The elements as f64, whatever they are.
pub async fn numbers(t: &Tensor) -> Result<Vec<f64>> {
    async fn widen<T: Element>(t: &Tensor) -> Result<Vec<f64>> {
        Ok(t.to_vec_async::<T>().await?.into_iter().map(Element::to_f64).collect())
    }
    match t.dtype() {
        DType::Bool => widen::<bool>(t).await,
        DType::U8 => widen::<u8>(t).await,
        DType::U32 => widen::<u32>(t).await,
        DType::I32 => widen::<i32>(t).await,
        DType::I64 => widen::<i64>(t).await,
        DType::F32 => widen::<f32>(t).await,
        DType::F64 => widen::<f64>(t).await,
        DType::F16 => widen::<f16>(t).await,
        DType::BF16 => widen::<bf16>(t).await,
        other => panic!("no golden case has {other}"),
    }
}
