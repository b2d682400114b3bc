//! Convolutions by cuDNN: a handle, descriptions, algorithms.

use super::context::Context;
use super::library;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::plan::ConvSizes;
use cudarc::cudnn::sys::{self, cudnnStatus_t as Status};
use cudarc::driver::sys::CUstream;
use rustc_hash::FxHashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex};

/// Working memory that an algorithm may ask for.
const WORKSPACE: usize = 256 << 20;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Pass {
    /// x and weight to y
    Forward,
    /// dy and weight to dx
    Data,
    /// x and dy to dw
    Filter,
}

/// A convolution as cuDNN sees it. The weight is contiguous.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Problem {
    pub pass: Pass,
    pub dtype: DType,
    pub sizes: ConvSizes,
    /// Strides of x (or dx) and of y (or dy), in elements.
    pub x: [c_int; 4],
    pub y: [c_int; 4],
    /// Whether f32 operands may be rounded to TF32.
    pub tf32: bool,
    /// Whether every run must give the same bits.
    pub deterministic: bool,
}

/// Addresses of the operands and of the working memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub x: u64,
    pub w: u64,
    pub y: u64,
    pub workspace: u64,
}

/// An algorithm of cuDNN's, as its own lists have it.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Offer {
    algorithm: u32,
    status: u32,
    time: f32,
    memory: usize,
    deterministic: u32,
    math: u32,
    reserved: [c_int; 3],
}

// The library fills in its own structures through pointers to these.
const _: () = assert!(size_of::<Offer>() == size_of::<sys::cudnnConvolutionFwdAlgoPerf_t>());
const _: () = assert!(size_of::<Offer>() == size_of::<sys::cudnnConvolutionBwdDataAlgoPerf_t>());
const _: () = assert!(size_of::<Offer>() == size_of::<sys::cudnnConvolutionBwdFilterAlgoPerf_t>());

/// Offers that are asked for: more than any pass has algorithms.
const OFFERS: usize = 16;

/// cuDNN on one device.
pub(super) struct Convolutions {
    handle: Mutex<Handle>,
    /// The offer taken for each convolution that was ever asked for, or that there is none.
    offers: Mutex<FxHashMap<(Problem, usize), Option<Offer>>>,
    context: Arc<Context>,
}

struct Handle(sys::cudnnHandle_t);

// SAFETY: a handle may be used from any thread, by one at a time.
unsafe impl Send for Handle {}

/// A convolution made ready.
pub(super) struct Convolution {
    pass: Pass,
    x: sys::cudnnTensorDescriptor_t,
    y: sys::cudnnTensorDescriptor_t,
    w: sys::cudnnFilterDescriptor_t,
    description: sys::cudnnConvolutionDescriptor_t,
    offer: Offer,
}

// SAFETY: plain descriptions in host memory with one owner.
unsafe impl Send for Convolution {}

impl Convolution {
    /// Bytes of working memory that it needs.
    pub fn workspace(&self) -> usize {
        self.offer.memory
    }
}

impl Convolutions {
    /// Fails with words for people when there is no cuDNN.
    pub fn open(context: &Arc<Context>) -> std::result::Result<Convolutions, String> {
        library::cudnn()?;
        context.enter().map_err(|e| e.to_string())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the context is current; the library writes one handle.
        match unsafe { sys::cudnnCreate(&mut handle) } {
            Status::CUDNN_STATUS_SUCCESS => Ok(Convolutions {
                handle: Mutex::new(Handle(handle)),
                offers: Mutex::default(),
                context: context.clone(),
            }),
            status => Err(format!("cuDNN does not start: {status:?}")),
        }
    }

    fn check(&self, what: &str, status: Status) -> Result<()> {
        match status {
            Status::CUDNN_STATUS_SUCCESS => Ok(()),
            other => Err(self.failed(what, other)),
        }
    }

    fn failed(&self, what: &str, status: Status) -> Error {
        self.context.error(format!("{what} failed: {status:?}"))
    }

    /// Makes a convolution ready that needs at most `workspace` bytes (some bound of this module's where none is given);
    /// none when cuDNN has no algorithm for it.
    pub fn prepare(&self, problem: &Problem, workspace: Option<usize>) -> Result<Option<Convolution>> {
        let handle = self.handle.lock().unwrap_or_else(|e| e.into_inner());
        let Some(mut convolution) = self.describe(problem)? else { return Ok(None) };
        let key = (*problem, workspace.unwrap_or(WORKSPACE));
        let known = self.offers.lock().unwrap_or_else(|e| e.into_inner()).get(&key).copied();
        let offer = match known {
            Some(known) => known,
            None => {
                let found = offers(&handle, &convolution).into_iter().find(|o| {
                    let deterministic = o.deterministic == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC as u32;
                    o.status == 0 && (deterministic || !problem.deterministic) && o.memory <= key.1
                });
                self.offers.lock().unwrap_or_else(|e| e.into_inner()).insert(key, found);
                found
            }
        };
        let Some(offer) = offer else { return Ok(None) };
        self.set_math(&convolution, math_type(offer.math))?;
        convolution.offer = offer;
        Ok(Some(convolution))
    }

    /// The descriptions; none when cuDNN refuses one.
    fn describe(&self, p: &Problem) -> Result<Option<Convolution>> {
        let mut c = Convolution {
            pass: p.pass,
            x: std::ptr::null_mut(),
            y: std::ptr::null_mut(),
            w: std::ptr::null_mut(),
            description: std::ptr::null_mut(),
            offer: Offer::default(),
        };
        // SAFETY: each call writes one handle.
        unsafe {
            self.check("cudnnCreateTensorDescriptor", sys::cudnnCreateTensorDescriptor(&mut c.x))?;
            self.check("cudnnCreateTensorDescriptor", sys::cudnnCreateTensorDescriptor(&mut c.y))?;
            self.check("cudnnCreateFilterDescriptor", sys::cudnnCreateFilterDescriptor(&mut c.w))?;
            self.check("cudnnCreateConvolutionDescriptor", sys::cudnnCreateConvolutionDescriptor(&mut c.description))?;
        }
        let (s, spec) = (&p.sizes, &p.sizes.spec);
        let numbers = [s.n, s.c, s.h, s.w, s.o, s.kh, s.kw, s.oh, s.ow, s.c / spec.groups, spec.groups];
        let numbers = numbers.into_iter().chain(spec.padding).chain(spec.stride).chain(spec.dilation);
        let Ok(numbers) = numbers.map(c_int::try_from).collect::<std::result::Result<Vec<c_int>, _>>() else {
            return Ok(None);
        };
        let &[n, ch, h, w, o, kh, kw, oh, ow, ck, groups, ph, pw, sh, sw, dh, dw] = &numbers[..] else {
            return Ok(None);
        };
        let (float, cross) =
            (sys::cudnnDataType_t::CUDNN_DATA_FLOAT, sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION);
        let (ty, nchw) = (data_type(p.dtype), sys::cudnnTensorFormat_t::CUDNN_TENSOR_NCHW);
        let ([xn, xc, xh, xw], [yn, yc, yh, yw]) = (p.x, p.y);
        // SAFETY: all handles are alive; the calls take numbers.
        let set = unsafe {
            [
                sys::cudnnSetTensor4dDescriptorEx(c.x, ty, n, ch, h, w, xn, xc, xh, xw),
                sys::cudnnSetTensor4dDescriptorEx(c.y, ty, n, o, oh, ow, yn, yc, yh, yw),
                sys::cudnnSetFilter4dDescriptor(c.w, ty, nchw, o, ck, kh, kw),
                sys::cudnnSetConvolution2dDescriptor(c.description, ph, pw, sh, sw, dh, dw, cross, float),
                sys::cudnnSetConvolutionGroupCount(c.description, groups),
            ]
        };
        if set.iter().any(|s| *s != Status::CUDNN_STATUS_SUCCESS) {
            return Ok(None);
        }
        let math = match (p.dtype, p.tf32) {
            (DType::F32, false) => sys::cudnnMathType_t::CUDNN_FMA_MATH,
            (DType::F32, true) => sys::cudnnMathType_t::CUDNN_DEFAULT_MATH,
            _ => sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH,
        };
        self.set_math(&c, math)?;
        Ok(Some(c))
    }

    fn set_math(&self, c: &Convolution, math: sys::cudnnMathType_t) -> Result<()> {
        // SAFETY: the handle is alive.
        let set = unsafe { sys::cudnnSetConvolutionMathType(c.description, math) };
        self.check("cudnnSetConvolutionMathType", set)
    }

    /// Starts a convolution on a stream.
    pub fn run(&self, c: &Convolution, places: &Places, stream: CUstream) -> Result<()> {
        let handle = self.handle.lock().unwrap_or_else(|e| e.into_inner());
        let (one, zero) = (1f32, 0f32);
        let (one, zero) = ((&raw const one).cast::<c_void>(), (&raw const zero).cast::<c_void>());
        let (x, w, y) = (places.x as *mut c_void, places.w as *mut c_void, places.y as *mut c_void);
        let (memory, bytes) = (places.workspace as *mut c_void, c.offer.memory);
        let lost = || self.context.error("cuDNN offered an algorithm that it does not have");
        // SAFETY: all handles are alive; the descriptions tell of memory that lies inside the operands' slots, and the
        // working memory has the bytes that the algorithm asked for; the library has read the factors when it returns.
        let status = unsafe {
            self.check("cudnnSetStream", sys::cudnnSetStream(handle.0, stream.cast()))?;
            match c.pass {
                Pass::Forward => {
                    let algorithm = forward_algorithm(c.offer.algorithm).ok_or_else(lost)?;
                    let d = c.description;
                    sys::cudnnConvolutionForward(
                        handle.0, one, c.x, x, c.w, w, d, algorithm, memory, bytes, zero, c.y, y,
                    )
                }
                Pass::Data => {
                    let algorithm = data_algorithm(c.offer.algorithm).ok_or_else(lost)?;
                    let d = c.description;
                    sys::cudnnConvolutionBackwardData(
                        handle.0, one, c.w, w, c.y, y, d, algorithm, memory, bytes, zero, c.x, x,
                    )
                }
                Pass::Filter => {
                    let algorithm = filter_algorithm(c.offer.algorithm).ok_or_else(lost)?;
                    let d = c.description;
                    sys::cudnnConvolutionBackwardFilter(
                        handle.0, one, c.x, x, c.y, y, d, algorithm, memory, bytes, zero, c.w, w,
                    )
                }
            }
        };
        self.check("cuDNN's convolution", status)
    }
}

/// What cuDNN thinks of its algorithms, best first; empty when it refuses.
fn offers(handle: &Handle, c: &Convolution) -> Vec<Offer> {
    let mut offers = [Offer::default(); OFFERS];
    let (mut count, most) = (0, OFFERS as c_int);
    let list = offers.as_mut_ptr();
    // SAFETY: all handles are alive; the library writes one number and at most so many offers, whose layout is checked
    // above; all their fields are plain numbers here.
    let status = unsafe {
        match c.pass {
            Pass::Forward => sys::cudnnGetConvolutionForwardAlgorithm_v7(
                handle.0,
                c.x,
                c.w,
                c.description,
                c.y,
                most,
                &mut count,
                list.cast(),
            ),
            Pass::Data => sys::cudnnGetConvolutionBackwardDataAlgorithm_v7(
                handle.0,
                c.w,
                c.y,
                c.description,
                c.x,
                most,
                &mut count,
                list.cast(),
            ),
            Pass::Filter => sys::cudnnGetConvolutionBackwardFilterAlgorithm_v7(
                handle.0,
                c.x,
                c.y,
                c.description,
                c.w,
                most,
                &mut count,
                list.cast(),
            ),
        }
    };
    match status {
        Status::CUDNN_STATUS_SUCCESS => offers[..count.clamp(0, most) as usize].to_vec(),
        _ => Vec::new(),
    }
}

fn data_type(dtype: DType) -> sys::cudnnDataType_t {
    match dtype {
        DType::F16 => sys::cudnnDataType_t::CUDNN_DATA_HALF,
        DType::BF16 => sys::cudnnDataType_t::CUDNN_DATA_BFLOAT16,
        _ => sys::cudnnDataType_t::CUDNN_DATA_FLOAT,
    }
}

fn math_type(number: u32) -> sys::cudnnMathType_t {
    use sys::cudnnMathType_t::*;
    match number {
        1 => CUDNN_TENSOR_OP_MATH,
        2 => CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION,
        3 => CUDNN_FMA_MATH,
        _ => CUDNN_DEFAULT_MATH,
    }
}

fn forward_algorithm(number: u32) -> Option<sys::cudnnConvolutionFwdAlgo_t> {
    use sys::cudnnConvolutionFwdAlgo_t::*;
    let all = [
        CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM,
        CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM,
        CUDNN_CONVOLUTION_FWD_ALGO_GEMM,
        CUDNN_CONVOLUTION_FWD_ALGO_DIRECT,
        CUDNN_CONVOLUTION_FWD_ALGO_FFT,
        CUDNN_CONVOLUTION_FWD_ALGO_FFT_TILING,
        CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD,
        CUDNN_CONVOLUTION_FWD_ALGO_WINOGRAD_NONFUSED,
    ];
    all.into_iter().find(|a| *a as u32 == number)
}

fn data_algorithm(number: u32) -> Option<sys::cudnnConvolutionBwdDataAlgo_t> {
    use sys::cudnnConvolutionBwdDataAlgo_t::*;
    let all = [
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_0,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_1,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_FFT_TILING,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD,
        CUDNN_CONVOLUTION_BWD_DATA_ALGO_WINOGRAD_NONFUSED,
    ];
    all.into_iter().find(|a| *a as u32 == number)
}

fn filter_algorithm(number: u32) -> Option<sys::cudnnConvolutionBwdFilterAlgo_t> {
    use sys::cudnnConvolutionBwdFilterAlgo_t::*;
    let all = [
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_0,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_3,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_WINOGRAD_NONFUSED,
        CUDNN_CONVOLUTION_BWD_FILTER_ALGO_FFT_TILING,
    ];
    all.into_iter().find(|a| *a as u32 == number)
}

impl Drop for Convolutions {
    fn drop(&mut self) {
        self.context.current();
        let handle = self.handle.get_mut().unwrap_or_else(|e| e.into_inner());
        // SAFETY: destroyed once.
        unsafe { sys::cudnnDestroy(handle.0) };
    }
}

impl Drop for Convolution {
    fn drop(&mut self) {
        // SAFETY: each was made at most once and is destroyed once; they are host memory only.
        unsafe {
            for tensor in [self.x, self.y].into_iter().filter(|d| !d.is_null()) {
                sys::cudnnDestroyTensorDescriptor(tensor);
            }
            if !self.w.is_null() {
                sys::cudnnDestroyFilterDescriptor(self.w);
            }
            if !self.description.is_null() {
                sys::cudnnDestroyConvolutionDescriptor(self.description);
            }
        }
    }
}
