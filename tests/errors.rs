//! Bad input to the library: a clear error, at the first fallible call, and nothing stale.

mod common;

use sunstone::prelude::*;
use sunstone::tensor::{
    AttentionOptions, ConvOptions, ConvTransposeOptions, InterpolateMode, InterpolateOptions, PadMode, Padding,
    PoolOptions,
};

#[test]
fn a_bad_matmul_names_op_shapes_file_and_line() {
    for device in common::devices() {
        let a = Tensor::zeros([2, 3], DType::F32, &device);
        let b = Tensor::zeros([4, 5], DType::F32, &device);
        let line = line!() + 1;
        let product = a.matmul(&b);
        let error = ((product + 1.0).relu().sum(..) * 2.0).item::<f32>().unwrap_err().to_string();
        for part in ["matmul", "[2, 3]", "[4, 5]", "errors.rs", &format!(":{line}:")] {
            assert!(error.contains(part), "'{part}' is missing in: {error}");
        }
    }
}

#[test]
fn every_kind_of_misuse_is_an_error_and_none_panics() {
    let d = &Device::cpu();
    let x = &Tensor::zeros([2, 3], DType::F32, d);
    let i = &Tensor::arange(6, d).reshape([2, 3]);
    let flat = &Tensor::arange(3, d);
    let bad: Vec<(&str, Tensor)> = vec![
        ("add", x + Tensor::zeros([4], DType::F32, d)),
        ("from_slice", Tensor::from_slice(&[1.0f32], [2], d)),
        ("from_slice", Tensor::from_slice(&[1.0f32], [usize::MAX, 8], d)),
        ("elements", Tensor::zeros([usize::MAX, 2], DType::F32, d)),
        ("reshape", x.reshape([4, -1])),
        ("reshape", x.reshape([-1, -1])),
        ("reshape", x.reshape([i64::MAX, i64::MAX])),
        ("reshape", Tensor::zeros([0], DType::F32, d).reshape([0, -1])),
        ("permute", x.permute(&[0, 0])),
        ("permute", x.permute(&[0, 5])),
        ("transpose", x.transpose(0, 2)),
        ("expand", x.expand([3, 3])),
        ("expand", x.expand([3])),
        ("narrow", x.narrow(1, 2, 2)),
        ("narrow", x.narrow(0, usize::MAX, 2)),
        ("narrow", x.narrow(7, 0, 1)),
        ("slice", x.slice(5)),
        ("slice", x.slice((0, 0, 0))),
        ("slice", x.slice(step(.., 0))),
        ("sum", x.sum(2)),
        ("sum", x.sum([0, 0])),
        ("max", Tensor::zeros([0], DType::F32, d).max(0)),
        ("argmax", Tensor::zeros([0, 2], DType::F32, d).argmax(0)),
        ("cat", Tensor::cat(&[], 0)),
        ("cat", Tensor::cat(&[x, flat], 0)),
        ("cat", Tensor::cat(&[x, i], 0)),
        ("unfold", x.unfold(1, 4, 1)),
        ("unfold", x.unfold(1, 0, 1)),
        ("unfold", x.unfold(1, 1, 0)),
        ("pad", x.pad(&[(1, 1)], 0.0)),
        ("pad", x.pad(&[(usize::MAX, 1), (0, 0)], 0.0)),
        ("bitwise_not", x.bitwise_not()),
        ("gather", x.gather(0, x)),
        ("gather", x.gather(0, flat)),
        ("scatter_add", x.scatter_add(0, i, flat)),
        ("index_select", x.index_select(0, i)),
        ("embedding", flat.embedding(flat)),
        ("matmul", Tensor::scalar(1.0f32, d).matmul(x)),
        ("matmul", Tensor::zeros([2, 2, 3], DType::F32, d).matmul(&Tensor::zeros([3, 3, 2], DType::F32, d))),
        ("conv2d", x.conv2d(x, ConvSpec::default())),
        (
            "conv2d",
            Tensor::zeros([1, 1, 2, 2], DType::F32, d)
                .conv2d(&Tensor::zeros([1, 1, 3, 3], DType::F32, d), ConvSpec::default()),
        ),
        (
            "conv2d",
            Tensor::zeros([1, 1, 4, 4], DType::F32, d).conv2d(
                &Tensor::zeros([1, 1, 3, 3], DType::F32, d),
                ConvSpec { stride: [0, 1], ..ConvSpec::default() },
            ),
        ),
        (
            "conv2d",
            Tensor::zeros([1, 3, 4, 4], DType::F32, d)
                .conv2d(&Tensor::zeros([4, 1, 3, 3], DType::F32, d), ConvSpec { groups: 2, ..ConvSpec::default() }),
        ),
        ("max_pool2d", x.max_pool2d(PoolOptions::new([0, 1]).stride([1, 1]).padding([0, 0]))),
        ("max_pool2d", x.max_pool2d(PoolOptions::new([2, 2]).stride([2, 2]).padding([2, 2]))),
        ("max_pool1d", x.max_pool1d(PoolOptions::new(4))),
        ("max_pool3d", x.max_pool3d(PoolOptions::new(1))),
        ("avg_pool2d", x.avg_pool2d(PoolOptions::new(2).divisor_override(0))),
        ("avg_pool2d", x.avg_pool2d(PoolOptions::new(1).stride(0))),
        ("adaptive_avg_pool2d", x.adaptive_avg_pool2d([usize::MAX, 1])),
        ("adaptive_max_pool1d", flat.expand([0, 3]).t().adaptive_max_pool1d([1])),
        ("interpolate", x.interpolate(&InterpolateOptions::size([4]))),
        ("interpolate", x.unsqueeze(0).interpolate(&InterpolateOptions::size([0]))),
        ("interpolate", x.unsqueeze(0).interpolate(&InterpolateOptions::scale_factor([f64::NAN]))),
        ("interpolate", i.unsqueeze(0).interpolate(&InterpolateOptions::size([2]).mode(InterpolateMode::Linear))),
        ("conv1d", x.conv1d(x, ConvOptions::new())),
        ("conv1d", x.conv1d(&Tensor::zeros([1, 2, 4], DType::F32, d), ConvOptions::new())),
        (
            "conv1d",
            x.conv1d(&Tensor::zeros([1, 2, 2], DType::F32, d), ConvOptions::new().stride(2).padding(Padding::Same)),
        ),
        ("conv1d", x.conv1d(&Tensor::zeros([1, 2, 2], DType::F32, d), ConvOptions::new().bias(x))),
        ("conv1d", x.conv1d(&Tensor::zeros([1, 2, 2], DType::F32, d), ConvOptions::new().padding(usize::MAX))),
        (
            "conv_transpose1d",
            x.conv_transpose1d(&Tensor::zeros([2, 1, 2], DType::F32, d), ConvTransposeOptions::new().output_padding(1)),
        ),
        (
            "conv_transpose1d",
            x.conv_transpose1d(&Tensor::zeros([2, 1, 2], DType::F32, d), ConvTransposeOptions::new().padding(9)),
        ),
        (
            "conv_transpose1d",
            x.conv_transpose1d(
                &Tensor::zeros([2, 1, 2], DType::F32, d),
                ConvTransposeOptions::new().stride(usize::MAX),
            ),
        ),
        ("pixel_shuffle", x.pixel_shuffle(2)),
        ("pixel_unshuffle", x.unsqueeze(0).pixel_unshuffle(0)),
        ("scaled_dot_product_attention", x.scaled_dot_product_attention(x, &x.t(), AttentionOptions::new())),
        ("scaled_dot_product_attention", x.scaled_dot_product_attention(x, x, AttentionOptions::new().mask(x))),
        (
            "scaled_dot_product_attention",
            x.scaled_dot_product_attention(x, x, AttentionOptions::new().enable_gqa(true)),
        ),
        ("einsum", Tensor::einsum("ij,jk", &[x])),
        ("einsum", Tensor::einsum("i", &[x])),
        ("einsum", Tensor::einsum("ii", &[x])),
        ("einsum", Tensor::einsum("ij->k", &[x])),
        ("einsum", Tensor::einsum("ij->ii", &[x])),
        ("einsum", Tensor::einsum("ij,ij->", &[x, &x.t()])),
        ("einsum", Tensor::einsum("i1", &[x])),
        ("einsum", Tensor::einsum("......", &[x])),
        ("tensordot", x.tensordot(x, &[0], &[1])),
        ("tensordot", x.tensordot(x, &[0, 0], &[0, 0])),
        ("bmm", x.bmm(x)),
        ("addmm", x.addmm(x, x, 1.0, 1.0)),
        ("linear", x.linear(x, Some(x))),
        ("dot", x.dot(x)),
        ("outer", x.outer(x)),
        ("repeat", x.repeat(&[2])),
        ("repeat", x.repeat(&[usize::MAX, usize::MAX])),
        ("tile", x.tile(&[usize::MAX])),
        ("repeat_interleave", x.repeat_interleave(usize::MAX, 0)),
        ("repeat_interleave", x.repeat_interleave_each(&[1], 0)),
        ("roll", x.roll(&[1], &[0, 1])),
        ("select", x.select(0, 2)),
        ("split", x.split(0, 0).remove(0)),
        ("split_with_sizes", x.split_with_sizes(&[1, 2], 0).remove(0)),
        ("chunk", x.chunk(0, 0).remove(0)),
        ("chunk", x.expand([0, 2, 3]).chunk(usize::MAX, 0).remove(0)),
        ("unbind", flat.unsqueeze(0).expand([1i64 << 40, 3]).unbind(0).remove(0)),
        ("moveaxis", x.moveaxis(&[0, 0], &[0, 1])),
        ("moveaxis", x.moveaxis(&[0], &[0, 1])),
        ("unflatten", x.unflatten(0, [3, -1])),
        ("broadcast_tensors", Tensor::broadcast_tensors(&[x, &x.t()]).remove(0)),
        ("meshgrid", Tensor::meshgrid(&[x], sunstone::tensor::Indexing::Ij).remove(0)),
        ("pad", x.pad(&[(-2, 0), (-2, -2)], 0.0)),
        ("pad_mode", x.pad_mode(&[(2, 0), (0, 0)], PadMode::Reflect)),
        ("pad_mode", x.pad_mode(&[(3, 0), (0, 0)], PadMode::Circular)),
        ("expand", x.expand([-1, 2, 3])),
        ("tril", flat.tril(0)),
        ("diagonal", x.diagonal(0, 0, 0)),
        ("diag_embed", flat.diag_embed(isize::MIN, 0, 1)),
        ("trace", flat.trace()),
        ("diag", x.unsqueeze(0).diag(0)),
        ("softmax", x.softmax(3)),
        ("softmax", i.softmax(0)),
        ("cross_entropy", x.cross_entropy(&x.unsqueeze(0))),
        ("cross_entropy", x.cross_entropy(flat)),
        ("dropout", x.dropout(1.5, &Generator::new(0))),
        ("where", x.where_(x, 0.0)),
        ("requires_grad", i.clone().requires_grad()),
        ("arange", Tensor::arange(usize::MAX, d)),
    ];
    for (k, (name, t)) in bad.iter().enumerate() {
        let error = t.to_vec::<f32>().expect_err(&format!("case {k} ({name}) must fail")).to_string();
        assert!(error.contains(name), "case {k}: '{name}' is missing in: {error}");
        assert!(error.contains("errors.rs"), "case {k}: the caller is missing in: {error}");
        assert!(t.shape().is_empty() && t.error().is_some() && t.backward().is_err() && t.dims::<2>().is_err());
    }
}

#[test]
fn reading_the_wrong_type_or_count_is_an_error() {
    let x = Tensor::zeros([2], DType::F32, &Device::cpu());
    assert!(x.to_vec::<i32>().unwrap_err().to_string().contains("the tensor is f32, not i32"));
    assert!(x.item::<f32>().unwrap_err().to_string().contains("exactly one element"));
    assert!(x.dims::<2>().unwrap_err().to_string().contains("expected 2 axes, found shape [2]"));
}

#[test]
fn an_index_out_of_range_inside_a_kernel() -> Result<()> {
    for device in common::devices() {
        let x = Tensor::from_slice(&common::numbers(12, 1), [4, 3], &device);
        for bad in [4, -1, i32::MAX] {
            let rows = Tensor::from_slice(&[0, bad], [2], &device);
            let error = x.index_select(0, &rows).to_vec::<f32>().unwrap_err();
            let Error::IndexOutOfRange { op, index, size, at } = &error else { panic!("{error}") };
            assert_eq!((*op, *index, *size), ("gather", bad as i64, 4), "{device}");
            assert!(at.file().ends_with("errors.rs"));
            // The device works on.
            assert_eq!(x.index_select(0, &rows.zeros_like()).to_vec::<f32>()?[..3], common::numbers(12, 1)[..3]);
            let target = Tensor::from_slice(&[0, bad, 0], [1, 3], &device);
            let error =
                x.scatter_add(0, &target, &Tensor::ones([1, 3], DType::F32, &device)).to_vec::<f32>().unwrap_err();
            assert!(matches!(error, Error::IndexOutOfRange { .. }), "{error}");
            let error = x.cross_entropy(&Tensor::from_slice(&[0, 1, bad, 0], [4], &device)).item::<f32>().unwrap_err();
            assert!(matches!(error, Error::IndexOutOfRange { .. }), "{error}");
        }
    }
    Ok(())
}

#[test]
fn operands_on_different_devices() {
    let Some(gpu) = common::gpu() else { return };
    let a = Tensor::ones([2], DType::F32, &Device::cpu());
    let b = Tensor::ones([2], DType::F32, &gpu);
    let error = (&a + &b).to_vec::<f32>().unwrap_err().to_string();
    assert!(error.contains(&format!("different devices, cpu and {gpu}")), "{error}");
}

#[test]
fn a_dtype_that_the_device_lacks() {
    let Some(gpu) = common::gpu() else { return };
    let error = Tensor::from_slice(&[1.0f64], [1], &gpu).to_vec::<f64>().unwrap_err().to_string();
    assert!(error.contains("does not support f64; cast to f32 first"), "{error}");
    let error = Tensor::ones([1], DType::F32, &gpu).cast(DType::F64).realize().unwrap_err().to_string();
    assert!(error.contains("f64"), "{error}");
}

#[test]
fn a_tensor_larger_than_the_device_allows() -> Result<()> {
    for device in common::devices() {
        let limit = device.caps().max_buffer_bytes.min(1 << 50) as usize;
        let x = Tensor::zeros([limit / 4 + 1024], DType::F32, &device) + 1.0;
        let error = x.realize().unwrap_err();
        assert!(matches!(error, Error::OutOfMemory { .. }), "{device}: {error}");
        assert_eq!(Tensor::ones([2], DType::F32, &device).to_vec::<f32>()?, [1.0; 2], "{device} works on");
    }
    Ok(())
}

#[test]
#[cfg(feature = "wgpu")]
fn a_device_lost_in_the_middle() -> Result<()> {
    use sunstone::backend::wgpu::WgpuBackend;
    if common::devices_of("wgpu").is_empty() {
        return Ok(());
    }
    let backend = WgpuBackend::open(0)?;
    lose(&Device::new("doomed", backend.clone()), || backend.destroy())
}

#[test]
#[cfg(feature = "cuda")]
fn a_cuda_device_lost_in_the_middle() -> Result<()> {
    use sunstone::backend::cuda::CudaBackend;
    if common::devices_of("cuda").is_empty() {
        return Ok(());
    }
    let backend = CudaBackend::open(0)?;
    lose(&Device::new("doomed", backend.clone()), || backend.destroy())
}

#[allow(dead_code)]
fn lose(device: &Device, destroy: impl FnOnce()) -> Result<()> {
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2], device);
    let before = &x * 2.0;
    before.realize()?;
    let pending = &x + 1.0;
    destroy();
    for error in [pending.to_vec::<f32>(), before.to_vec::<f32>(), (&x * 3.0).to_vec::<f32>()] {
        assert!(matches!(error, Err(Error::DeviceLost { .. })), "{error:?}");
    }
    assert!(device.synchronize().is_err());
    assert!(Tensor::from_slice(&[1.0f32], [1], device).realize().is_err());
    Ok(())
}

#[test]
fn unknown_devices_are_listed_against_known_ones() {
    for name in ["gpu", "wgpu:99", "wgpu:x", "", "cuda:99"] {
        let error = Device::open(name).unwrap_err().to_string();
        assert!(error.contains(&format!("unknown device '{name}'")) && error.contains("cpu"), "{error}");
    }
}
