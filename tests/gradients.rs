//! Gradients and second gradients of every op against central differences in f64, and the walk itself.

mod common;
#[path = "common/cases.rs"]
mod cases;

use sunstone::autograd::{GradCheck, gradcheck};
use sunstone::prelude::*;

fn inputs(case: &cases::Case) -> Vec<Tensor> {
    let data = case.data();
    case.inputs.iter().zip(&data).map(|((shape, _), d)| Tensor::from_slice(d, &shape[..], &Device::cpu())).collect()
}

#[test]
fn every_gradient_agrees_with_differences() {
    for case in cases::cases().iter().filter(|c| c.smooth && c.inputs.iter().all(|(s, _)| s.iter().product::<usize>() < 400)) {
        gradcheck(case.f, &inputs(case), GradCheck::default()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}

#[test]
fn every_second_gradient_agrees_with_differences() {
    let small = |c: &&cases::Case| c.smooth && c.inputs.iter().map(|(s, _)| s.iter().product::<usize>()).sum::<usize>() < 80;
    for case in cases::cases().iter().filter(small) {
        let options = GradCheck { second: true, ..GradCheck::default() };
        gradcheck(case.f, &inputs(case), options).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
}

#[test]
fn a_wrong_gradient_is_caught() {
    struct Wrong;
    impl sunstone::autograd::Function for Wrong {
        fn name(&self) -> &'static str {
            "wrong"
        }
        fn forward(&self, v: &[Tensor]) -> Result<Vec<Tensor>> {
            Ok(vec![v[0].square()])
        }
        fn backward(&self, v: &[Tensor], _: &[Tensor], g: &[Option<Tensor>]) -> Vec<Option<Tensor>> {
            vec![g[0].as_ref().map(|g| g * &v[0] * 2.001)]
        }
    }
    let x = Tensor::from_slice(&[0.5f64, 2.0], [2], &Device::cpu());
    let error = gradcheck(|v| sunstone::autograd::apply(Wrong, &[&v[0]]).remove(0), &[x], GradCheck::default());
    assert!(error.unwrap_err().to_string().contains("gradient of input 0 at element 0"));
}

#[test]
fn gradients_end_at_variables_and_detach() -> Result<()> {
    let device = Device::cpu();
    let x = Tensor::from_slice(&[1.0f32, 2.0], [2], &device).requires_grad();
    let y = Tensor::from_slice(&[3.0f32, 4.0], [2], &device);
    let grads = (&x * &y + x.detach() * 100.0 + no_grad(|| &x * 10.0)).sum(..).backward()?;
    assert_eq!(grads.len(), 1);
    assert_eq!(grads.get(&x).unwrap().to_vec::<f32>()?, [3.0, 4.0]);
    assert!(grads.get(&y).is_none());
    Ok(())
}

#[test]
fn a_variable_made_beside_other_handles_leaves_them_alone() -> Result<()> {
    let x = Tensor::ones([2], DType::F32, &Device::cpu());
    let v = x.clone().requires_grad();
    assert!(!x.tracks_grad() && v.tracks_grad());
    assert_eq!((&v * 3.0).sum(..).backward()?.get(&v).unwrap().to_vec::<f32>()?, [3.0, 3.0]);
    Ok(())
}

#[test]
fn a_history_is_used_up_by_backward_but_not_by_backward_graph() -> Result<()> {
    let x = Tensor::ones([2], DType::F32, &Device::cpu()).requires_grad();
    let h = x.exp();
    let (a, b) = (h.sum(..), h.square().sum(..));
    a.backward_graph()?;
    a.backward()?;
    let error = b.backward().unwrap_err().to_string();
    assert!(error.contains("used up"), "{error}");
    let error = Tensor::ones([1], DType::F32, &Device::cpu()).backward().unwrap_err().to_string();
    assert!(error.contains("no variable"), "{error}");
    let error = x.exp().backward().unwrap_err().to_string();
    assert!(error.contains("exactly one element"), "{error}");
    Ok(())
}

#[test]
fn gradients_accumulate_scale_and_clip() -> Result<()> {
    for device in common::devices() {
        let x = Tensor::from_slice(&[3.0f32, 4.0], [2], &device).requires_grad();
        let once = || (&x * &x).sum(..).backward();
        let sum = once()?.accumulate(once()?).scale(0.25);
        assert_eq!(sum.get(&x).unwrap().to_vec::<f32>()?, [3.0, 4.0]);
        let (clipped, norm) = sum.clip_norm(1.0);
        assert!((norm.unwrap().item::<f32>()? - 5.0).abs() < 1e-6);
        common::assert_close("clipped", &clipped.get(&x).unwrap().to_vec::<f32>()?, &[0.6, 0.8], 1e-5);
    }
    Ok(())
}
