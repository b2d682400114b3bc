//! Steps that NVIDIA's libraries do: made ready with a plan, started on a stream.

use super::Core;
use super::cudnn::{Convolution, Convolutions};
use super::outcome::{Outcome, Place};
use super::product::Product;
use super::{conv, cudnn, matmul, product};
use crate::dtype::DType;
use crate::error::Result;
use crate::plan::{Contract, ContractKind};
use cudarc::driver::sys::CUstream;
use std::sync::{Mutex, MutexGuard};

/// A library's part of a step.
pub(super) enum Call {
    Product(matmul::Lowered, Both<Product>),
    Convolution(conv::Lowered, Both<Convolution>),
}

/// In strict f32 (or halves), and in TF32 when that was first asked for. Locked, because a start changes the description.
pub(super) struct Both<T>(Mutex<(T, Option<T>)>);

impl<T> Both<T> {
    fn new(strict: T) -> Both<T> {
        Both(Mutex::new((strict, None)))
    }

    fn lock(&self) -> MutexGuard<'_, (T, Option<T>)> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl Call {
    /// What becomes of its result.
    pub fn outcome(&self) -> &Outcome {
        match self {
            Call::Product(lowered, _) => &lowered.outcome,
            Call::Convolution(lowered, _) => &lowered.outcome,
        }
    }

    /// Bytes that it works in.
    pub fn workspace(&self) -> usize {
        match self {
            Call::Product(..) => 0,
            Call::Convolution(_, both) => both.lock().0.workspace(),
        }
    }

    /// Its name in a profile.
    pub fn name(&self) -> &'static str {
        match self {
            Call::Product(..) => "cublasLt matmul",
            Call::Convolution(lowered, _) => match lowered.problem.pass {
                cudnn::Pass::Forward => "cudnn conv",
                cudnn::Pass::Data => "cudnn conv data grad",
                cudnn::Pass::Filter => "cudnn conv filter grad",
            },
        }
    }

    /// For people who look at a plan's kernels.
    pub fn describe(&self) -> String {
        match self {
            Call::Product(lowered, _) => format!("// cuBLASLt: {:?}\n", lowered.problem),
            Call::Convolution(lowered, _) => format!("// cuDNN: {:?}\n", lowered.problem),
        }
    }
}

/// Where a plan's calls find their memory, and how exact they shall be.
pub(super) struct Setting<'a> {
    /// Where each slot begins.
    pub addresses: &'a [u64],
    /// Where the working memory begins, and its bytes.
    pub workspace: (u64, usize),
    pub tf32: bool,
}

impl Core {
    /// The call that does a contraction; none where the libraries cannot, or are not there. `scratch` is the number of a
    /// slot that is nobody's.
    pub(super) fn call(&self, c: &Contract, scratch: usize, deterministic: bool) -> Result<Option<Call>> {
        if let ContractKind::Matmul { .. } = c.kind {
            let (Some(products), Some(lowered)) = (&self.products, matmul::lower(c, scratch)) else { return Ok(None) };
            let ready = products.prepare(&lowered.problem)?;
            return Ok(ready.map(|strict| Call::Product(lowered, Both::new(strict))));
        }
        let (Some(lowered), Some(convolutions)) = (conv::lower(c, scratch, deterministic), self.convolutions()) else {
            return Ok(None);
        };
        let ready = convolutions.prepare(&lowered.problem, None)?;
        Ok(ready.map(|strict| Call::Convolution(lowered, Both::new(strict))))
    }

    /// cuDNN, opened when it is first wanted: it is large, and many programs have no convolutions.
    fn convolutions(&self) -> Option<&Convolutions> {
        let open = || match Convolutions::open(&self.context) {
            Ok(convolutions) => Some(convolutions),
            Err(why) => {
                eprintln!("note: {} convolves with generated kernels, slower: {why}", self.context.name);
                None
            }
        };
        self.convolutions.get_or_init(open).as_ref()
    }

    /// Starts a call on a stream.
    pub(super) fn start_call(&self, call: &Call, stream: CUstream, setting: &Setting) -> Result<()> {
        let at = |(slot, start): Place, more: i64, dtype: DType| match setting.addresses.get(slot) {
            Some(address) => Ok(address.wrapping_add_signed((start + more) * dtype.bytes() as i64)),
            None => Err(self.context.error("a library's call lacks a slot")),
        };
        let lost = |library: &str| self.context.error(format!("{library} was lost"));
        match call {
            Call::Product(lowered, both) => {
                let products = self.products.as_ref().ok_or_else(|| lost("cuBLASLt"))?;
                let (strict, other) = &mut *both.lock();
                let tf32 = setting.tf32 && lowered.problem.dtype == DType::F32;
                if tf32 && other.is_none() {
                    *other = products.prepare(&product::Problem { tf32, ..lowered.problem })?;
                }
                let ready = other.as_ref().filter(|_| tf32).unwrap_or(strict);
                let dtype = lowered.problem.dtype;
                let bias = lowered.bias.map(|bias| at(bias, 0, dtype)).transpose()?;
                for [a, b, d] in &lowered.calls {
                    let (a, b) = (at(lowered.a, *a, dtype)?, at(lowered.b, *b, dtype)?);
                    let d = at(lowered.outcome.place, *d, dtype)?;
                    products.run(ready, &product::Places { a, b, d, bias }, stream)?;
                }
                Ok(())
            }
            Call::Convolution(lowered, both) => {
                let convolutions = self.convolutions().ok_or_else(|| lost("cuDNN"))?;
                let (strict, other) = &mut *both.lock();
                let tf32 = setting.tf32 && lowered.problem.dtype == DType::F32;
                let (workspace, bytes) = setting.workspace;
                if tf32 && other.is_none() {
                    *other = convolutions.prepare(&cudnn::Problem { tf32, ..lowered.problem }, Some(bytes))?;
                }
                let ready = other.as_ref().filter(|_| tf32).unwrap_or(strict);
                let dtype = lowered.problem.dtype;
                let [x, w, y] = [lowered.x, lowered.w, lowered.y].map(|place| at(place, 0, dtype));
                convolutions.run(ready, &cudnn::Places { x: x?, w: w?, y: y?, workspace }, stream)
            }
        }
    }
}
