//! Tensors as text, in NumPy's manner.

use sunstone::prelude::*;

fn show(data: &[f32], shape: &[usize]) -> String {
    Tensor::from_slice(data, shape, &Device::cpu()).to_string()
}

#[test]
fn numbers_are_aligned_and_rounded() {
    assert_eq!(show(&[1.0, -2.5, 0.33333, 10.0], &[2, 2]), "[[ 1.0000, -2.5000],\n [ 0.3333, 10.0000]]");
    assert_eq!(show(&[1.0, 2.0, -30.0], &[3]), "[  1.,   2., -30.]");
    assert_eq!(show(&[0.5], &[]), "0.5000");
    assert_eq!(show(&[f32::NAN, f32::INFINITY, 1.5], &[3]), "[   nan,    inf, 1.5000]");
    assert_eq!(show(&[1e-7, 1.0], &[2]), "[1.0000e-7,  1.0000e0]");
    assert_eq!(show(&[], &[0, 3]), "[]");
}

#[test]
fn blocks_are_set_apart_and_long_axes_abridged() {
    let device = Device::cpu();
    let x = Tensor::arange(8, &device).reshape([2, 2, 2]);
    assert_eq!(x.to_string(), "[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]]");
    let long = Tensor::arange(2000, &device);
    assert_eq!(long.to_string(), "[   0,    1,    2, ..., 1997, 1998, 1999]");
    assert_eq!(x.gt(3).slice((1, 0)).to_string(), "[true, true]");
}

#[test]
fn debug_tells_without_computing_and_errors_are_shown() {
    let device = Device::cpu();
    let x = Tensor::zeros([2, 3], DType::F32, &device);
    assert_eq!(format!("{x:?}"), "Tensor(f32 [2, 3] on cpu)");
    let bad = x.reshape([7]);
    assert!(bad.to_string().starts_with("Tensor(error: reshape: cannot reshape [2, 3]"), "{bad}");
}
