//! The safetensors format: named tensors and string metadata in one file that any framework reads.
//!
//! ```
//! use sunstone::prelude::*;
//! use sunstone::io;
//! let folder = tempfile::tempdir().unwrap();
//! let path = folder.path().join("model.safetensors");
//! let device = Device::cpu();
//! io::save(&path, &[("w".into(), Tensor::arange(3, &device))], &[("made by".into(), "hand".into())].into())?;
//! let (tensors, metadata) = io::load(&path, &device)?;
//! assert_eq!((tensors[0].0.as_str(), tensors[0].1.to_vec::<i32>()?), ("w", vec![0, 1, 2]));
//! assert_eq!(metadata["made by"], "hand");
//! # Ok::<(), sunstone::Error>(())
//! ```

use super::atomic;
use crate::device::{Device, at_once};
use crate::dtype::DType;
use crate::error::{Caller, Error, Result};
use crate::graph::Meta;
use crate::nn::StateDict;
use crate::tensor::Tensor;
use ::safetensors::tensor::{Dtype, SafeTensorError, TensorView};
use ::safetensors::{SafeTensors, serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the format allows a header to be at most.
const MAX_HEADER: u64 = 100_000_000;

/// Writes tensors under their names. The file appears whole or not at all.
///
/// # Errors
/// The error that a tensor carries or meets when it is computed; [`Error::Invalid`] for a name that occurs twice or is
/// `__metadata__`; [`Error::Io`] when the system refuses.
pub fn save(path: impl AsRef<Path>, tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let bytes = at_once(to_bytes(tensors, metadata))?;
    atomic::write(path.as_ref(), &[&bytes])
}

/// What [`save`] writes; in a browser it must be awaited, elsewhere it is there at once.
///
/// # Errors
/// Those of [`save`].
pub async fn to_bytes(tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    let mut seen = BTreeSet::new();
    for (name, _) in tensors {
        if name == "__metadata__" || !seen.insert(name) {
            return Err(Error::Invalid(format!("cannot save two tensors, or metadata and a tensor, as '{name}'")));
        }
    }
    let mut contents = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        contents.push((name, tensor.dtype(), tensor.shape().to_vec(), tensor.bits_async().await?));
    }
    let fail = |error: SafeTensorError| Error::Invalid(format!("cannot save these tensors: {error}"));
    let views = (contents.iter())
        .map(|(name, dtype, shape, bytes)| Ok((name, TensorView::new(stored_as(*dtype), shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, SafeTensorError>>()
        .map_err(fail)?;
    let metadata = (!metadata.is_empty()).then(|| metadata.clone().into_iter().collect());
    serialize(views.iter().map(|(name, view)| (name, view)), metadata).map_err(fail)
}

/// Reads all tensors, in the order of their data, to `device`, and the metadata.
///
/// # Errors
/// [`Error::Io`] when the file cannot be read; [`Error::Malformed`] when the header is absurd, tensors overlap, leave
/// gaps or bytes are missing, or a dtype is none of this crate's; what the device says when it cannot hold them.
#[track_caller]
pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<(StateDict, BTreeMap<String, String>)> {
    let path = path.as_ref();
    from_bytes(&read(path)?, path, device)
}

/// [`load`] from memory; `path` is the name that errors tell.
///
/// # Errors
/// Those of [`load`].
#[track_caller]
pub fn from_bytes(
    bytes: &[u8],
    path: impl AsRef<Path>,
    device: &Device,
) -> Result<(StateDict, BTreeMap<String, String>)> {
    let path = path.as_ref();
    check_header(bytes.first_chunk(), bytes.len() as u64, path)?;
    let malformed = |error| Error::malformed(path, explain(error));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(malformed)?;
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let mut tensors = Vec::with_capacity(file.len());
    for name in header.offset_keys() {
        let view = file.tensor(&name).map_err(malformed)?;
        let Some(dtype) = read_as(view.dtype()) else {
            return Err(Error::malformed(path, format!("'{name}' has dtype {}, which is not supported", view.dtype())));
        };
        let meta = Meta::new(view.shape(), dtype);
        let tensor = Tensor::from_bytes(view.data(), meta, device, Caller::here());
        tensor.realize()?;
        tensors.push((name, tensor));
    }
    Ok((tensors, header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect()))
}

/// The whole file, once its first eight bytes are plausible.
fn read(path: &Path) -> Result<Vec<u8>> {
    let fail = |source| Error::io(path, source);
    let mut file = File::open(path).map_err(fail)?;
    let about = file.metadata().map_err(fail)?;
    if !about.is_file() {
        return Err(Error::malformed(path, "is not a file"));
    }
    let size = about.len();
    let mut length = [0; 8];
    if size >= 8 {
        file.read_exact(&mut length).map_err(fail)?;
    }
    check_header((size >= 8).then_some(&length), size, path)?;
    let mut bytes = length.to_vec();
    file.take(size - 8).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// An error unless the first eight bytes of a file of `size` are plausible.
fn check_header(length: Option<&[u8; 8]>, size: u64, path: &Path) -> Result<()> {
    let Some(header) = length.map(|l| u64::from_le_bytes(*l)) else {
        return Err(Error::malformed(path, format!("has {size} bytes, too few for a safetensors header")));
    };
    if header > MAX_HEADER || header > size - 8 {
        let detail = format!("announces a header of {header} bytes, the file has {size} in all");
        return Err(Error::malformed(path, detail));
    }
    Ok(())
}

fn explain(error: SafeTensorError) -> String {
    match error {
        SafeTensorError::MetadataIncompleteBuffer => "is truncated, or has bytes that belong to no tensor".into(),
        SafeTensorError::InvalidOffset(name) => format!("the data of '{name}' overlaps other data or leaves a gap"),
        other => other.to_string(),
    }
}

macro_rules! formats {
    ($($dtype:ident $stored:ident;)*) => {
        fn stored_as(dtype: DType) -> Dtype {
            match dtype { $(DType::$dtype => Dtype::$stored,)* }
        }

        fn read_as(dtype: Dtype) -> Option<DType> {
            match dtype { $(Dtype::$stored => Some(DType::$dtype),)* _ => None }
        }
    };
}

formats! {
    Bool BOOL;
    U8 U8;
    U32 U32;
    I32 I32;
    I64 I64;
    F16 F16;
    BF16 BF16;
    F32 F32;
    F64 F64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn file(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("t.safetensors")
    }

    fn refused(bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(file(&folder), bytes).unwrap();
        match load(file(&folder), &Device::cpu()) {
            Err(Error::Malformed { detail, .. }) => detail,
            other => panic!("{other:?}"),
        }
    }

    fn with_header(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend(std::iter::repeat_n(0, data));
        bytes
    }

    #[test]
    fn every_dtype_comes_back() {
        let (device, folder) = (Device::cpu(), tempfile::tempdir().unwrap());
        let tensors = vec![
            ("floats".into(), Tensor::from_slice(&[1.5f32, f32::NAN, -0.0, f32::INFINITY], [2, 2], &device)),
            ("halves".into(), Tensor::from_slice(&[1.5f32, f32::NAN, 6e-8], [3], &device).cast(DType::F16)),
            ("brains".into(), Tensor::from_slice(&[1.5f32, 3e38, 0.1], [3, 1], &device).cast(DType::BF16)),
            ("doubles".into(), Tensor::from_slice(&[1e300f64], [1, 1], &device)),
            ("ints".into(), Tensor::from_slice(&[i32::MIN, 7], [2], &device)),
            ("longs".into(), Tensor::from_slice(&[i64::MIN], [1], &device)),
            ("words".into(), Tensor::from_slice(&[u32::MAX], [1], &device)),
            ("bytes".into(), Tensor::from_slice(&[1u8, 255, 3], [3], &device)),
            ("truths".into(), Tensor::from_slice(&[true, false, true], [3], &device)),
            ("none".into(), Tensor::zeros([0, 4], DType::F32, &device)),
            ("number".into(), Tensor::full([], 2.5f32, DType::F32, &device)),
        ];
        let metadata = BTreeMap::from([("a".to_string(), "ü \" \\".to_string()), ("b".to_string(), String::new())]);
        save(file(&folder), &tensors, &metadata).unwrap();
        let (loaded, read_metadata) = load(file(&folder), &device).unwrap();
        assert_eq!(read_metadata, metadata);
        assert_eq!(loaded.len(), tensors.len());
        for (name, tensor) in &tensors {
            let (_, back) = loaded.iter().find(|(n, _)| n == name).unwrap();
            assert_eq!((back.shape(), back.dtype()), (tensor.shape(), tensor.dtype()), "{name}");
            let bytes = |t: &Tensor| at_once(t.bits_async::<u8>()).unwrap();
            assert_eq!(bytes(back), bytes(tensor), "{name}");
        }
    }

    #[test]
    fn a_transposed_view_is_saved_in_its_own_order() {
        let (device, folder) = (Device::cpu(), tempfile::tempdir().unwrap());
        let t = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &device).t();
        save(file(&folder), &[("t".into(), t)], &BTreeMap::new()).unwrap();
        let (loaded, _) = load(file(&folder), &device).unwrap();
        assert_eq!(loaded[0].1.to_vec::<f32>().unwrap(), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn lies_in_the_header_are_found() {
        assert!(refused(b"abc").contains("3 bytes"));
        assert!(refused(&u64::MAX.to_le_bytes()).contains("18446744073709551615 bytes"));
        assert!(refused(&[&1000u64.to_le_bytes()[..], b"{}"].concat()).contains("1000 bytes"));
        assert!(refused(&with_header("not json", 0)).contains("JSON"));
        let one = |dtype: &str, shape: &str, end: usize| {
            format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
        };
        assert!(refused(&with_header(&one("F32", "[2]", 8), 7)).contains("truncated"));
        assert!(refused(&with_header(&one("F32", "[2]", 8), 9)).contains("truncated, or has bytes"));
        assert!(refused(&with_header(&one("F32", "[3]", 8), 8)).contains("shape"));
        assert!(refused(&with_header(&one("I16", "[4]", 8), 8)).contains("'w' has dtype I16"));
        assert!(refused(&with_header(&one("X7", "[4]", 8), 8)).contains("JSON"));
        assert!(refused(&with_header(&one("F32", "[4294967296,4294967296,4294967296]", 8), 8)).contains("overflow"));
        let overlap = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#;
        assert!(refused(&with_header(overlap, 3)).contains("'b' overlaps"));
        let twice = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#;
        assert!(refused(&with_header(twice, 4)).contains("gap"));
    }

    #[test]
    fn what_cannot_be_saved_leaves_no_file() {
        let (device, folder) = (Device::cpu(), tempfile::tempdir().unwrap());
        let good = Tensor::ones([2], DType::F32, &device);
        let errored = good.reshape([3]);
        let none = BTreeMap::new();
        assert!(save(file(&folder), &[("a".into(), good.clone()), ("b".into(), errored)], &none).is_err());
        assert!(save(file(&folder), &[("a".into(), good.clone()), ("a".into(), good.clone())], &none).is_err());
        assert!(save(file(&folder), &[("__metadata__".into(), good)], &none).is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(matches!(load(file(&folder), &device), Err(Error::Io { .. })));
        assert!(matches!(load(folder.path(), &device), Err(Error::Malformed { .. })));
    }
}
