//! Matrix products by cuBLASLt: handles, algorithms, and the memory that they work in.

use super::context::Context;
use super::library;
use super::memory::Memory;
use crate::error::Result;
use cudarc::cublaslt::sys::{self, cublasStatus_t as Status};
use cudarc::driver::sys::CUstream;
use rustc_hash::FxHashMap;
use std::ffi::c_void;
use std::sync::{Arc, Mutex};

/// Memory that algorithms may use; NVIDIA's own advice for an H100.
const WORKSPACE: usize = 32 << 20;

/// cuBLASLt on one device. All products share one piece of working memory: they run one after the other.
pub(super) struct Products {
    handle: sys::cublasLtHandle_t,
    workspace: Memory,
    /// The best algorithm for each product that was ever asked for, or that there is none.
    algorithms: Mutex<FxHashMap<Problem, Option<sys::cublasLtMatmulAlgo_t>>>,
    context: Arc<Context>,
}

// SAFETY: cuBLASLt's handle may be used from several threads at once.
unsafe impl Send for Products {}
// SAFETY: as above.
unsafe impl Sync for Products {}

/// A column-major operand, `rows × columns` as it lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Matrix {
    pub rows: usize,
    pub columns: usize,
    /// Elements from one column to the next.
    pub pitch: i64,
    /// Elements from one batch to the next.
    pub batch_stride: i64,
    /// Its columns are the product's rows, or the other way round.
    pub transposed: bool,
    /// The power of two, at most 256, that its address is a multiple of.
    pub alignment: u32,
}

/// `d = a·b (+ bias)`, all f32 and column-major.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Problem {
    pub a: Matrix,
    pub b: Matrix,
    pub d: Matrix,
    pub batches: usize,
    /// Whether a vector is added to each column.
    pub bias: bool,
    pub tf32: bool,
}

/// Addresses of a product's operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    pub a: u64,
    pub b: u64,
    pub d: u64,
    pub bias: Option<u64>,
}

/// A product made ready.
pub(super) struct Product {
    description: sys::cublasLtMatmulDesc_t,
    a: sys::cublasLtMatrixLayout_t,
    b: sys::cublasLtMatrixLayout_t,
    d: sys::cublasLtMatrixLayout_t,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: plain descriptions in host memory with one owner.
unsafe impl Send for Product {}

impl Products {
    /// Fails with words for people when there is no cuBLASLt.
    pub fn open(context: &Arc<Context>) -> std::result::Result<Products, String> {
        library::cublaslt()?;
        let workspace = Memory::new(context, &Arc::default(), WORKSPACE).map_err(|e| e.to_string())?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the context is current; the library writes one handle.
        match unsafe { sys::cublasLtCreate(&mut handle) } {
            Status::CUBLAS_STATUS_SUCCESS => {
                Ok(Products { handle, workspace, algorithms: Mutex::default(), context: context.clone() })
            }
            status => Err(format!("cuBLASLt does not start: {status:?}")),
        }
    }

    fn check(&self, what: &str, status: Status) -> Result<()> {
        match status {
            Status::CUBLAS_STATUS_SUCCESS => Ok(()),
            other => Err(self.context.error(format!("{what} failed: {other:?}"))),
        }
    }

    /// Makes a product ready; none when cuBLASLt has no algorithm for it.
    pub fn prepare(&self, problem: &Problem) -> Result<Option<Product>> {
        let mut product = Product {
            description: std::ptr::null_mut(),
            a: std::ptr::null_mut(),
            b: std::ptr::null_mut(),
            d: std::ptr::null_mut(),
            algorithm: sys::cublasLtMatmulAlgo_t { data: [0; 8] },
        };
        self.describe(&mut product, problem)?;
        product.a = self.layout(&problem.a, problem.batches)?;
        product.b = self.layout(&problem.b, problem.batches)?;
        product.d = self.layout(&problem.d, problem.batches)?;
        let known = self.algorithms.lock().unwrap_or_else(|e| e.into_inner()).get(problem).copied();
        let algorithm = match known {
            Some(known) => known,
            None => {
                let found = self.choose(&product, problem)?;
                self.algorithms.lock().unwrap_or_else(|e| e.into_inner()).insert(*problem, found);
                found
            }
        };
        let Some(algorithm) = algorithm else { return Ok(None) };
        product.algorithm = algorithm;
        Ok(Some(product))
    }

    fn describe(&self, product: &mut Product, problem: &Problem) -> Result<()> {
        use sys::cublasLtMatmulDescAttributes_t as A;
        let compute = match problem.tf32 {
            true => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            false => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        // SAFETY: the library writes one handle.
        let made = unsafe {
            sys::cublasLtMatmulDescCreate(&mut product.description, compute, sys::cudaDataType_t::CUDA_R_32F)
        };
        self.check("cublasLtMatmulDescCreate", made)?;
        let operation = |m: &Matrix| m.transposed as i32;
        self.describe_as(product, A::CUBLASLT_MATMUL_DESC_TRANSA, &operation(&problem.a))?;
        self.describe_as(product, A::CUBLASLT_MATMUL_DESC_TRANSB, &operation(&problem.b))?;
        let epilogue = match problem.bias {
            true => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS,
            false => sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT,
        };
        self.describe_as(product, A::CUBLASLT_MATMUL_DESC_EPILOGUE, &(epilogue as u32))
    }

    fn describe_as<T>(&self, product: &Product, which: sys::cublasLtMatmulDescAttributes_t, value: &T) -> Result<()> {
        let (value, size) = (std::ptr::from_ref(value).cast::<c_void>(), size_of::<T>());
        // SAFETY: the library copies so many bytes.
        let set = unsafe { sys::cublasLtMatmulDescSetAttribute(product.description, which, value, size) };
        self.check("cublasLtMatmulDescSetAttribute", set)
    }

    fn layout(&self, m: &Matrix, batches: usize) -> Result<sys::cublasLtMatrixLayout_t> {
        use sys::cublasLtMatrixLayoutAttribute_t as A;
        let mut layout = std::ptr::null_mut();
        let ty = sys::cudaDataType_t::CUDA_R_32F;
        // SAFETY: the library writes one handle, and copies so many bytes.
        let made =
            unsafe { sys::cublasLtMatrixLayoutCreate(&mut layout, ty, m.rows as u64, m.columns as u64, m.pitch) };
        self.check("cublasLtMatrixLayoutCreate", made)?;
        let set = |which, value: *const c_void, size| {
            // SAFETY: the value lives until the call returns.
            self.check("cublasLtMatrixLayoutSetAttribute", unsafe {
                sys::cublasLtMatrixLayoutSetAttribute(layout, which, value, size)
            })
        };
        let (count, stride) = (batches as i32, m.batch_stride);
        let done = set(A::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, (&raw const count).cast(), 4)
            .and_then(|()| set(A::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, (&raw const stride).cast(), 8));
        if done.is_err() {
            // SAFETY: made above, destroyed once.
            unsafe { sys::cublasLtMatrixLayoutDestroy(layout) };
        }
        done.map(|()| layout)
    }

    /// What the library thinks best, given the operands' alignment.
    fn choose(&self, product: &Product, problem: &Problem) -> Result<Option<sys::cublasLtMatmulAlgo_t>> {
        use sys::cublasLtMatmulPreferenceAttributes_t as A;
        let mut preference = std::ptr::null_mut();
        // SAFETY: the library writes one handle.
        self.check("cublasLtMatmulPreferenceCreate", unsafe { sys::cublasLtMatmulPreferenceCreate(&mut preference) })?;
        let workspace = WORKSPACE;
        let (a, b, d) = (problem.a.alignment, problem.b.alignment, problem.d.alignment);
        let settings: [(_, *const c_void, usize); 5] = [
            (A::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, (&raw const workspace).cast(), size_of::<usize>()),
            (A::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, (&raw const a).cast(), 4),
            (A::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, (&raw const b).cast(), 4),
            (A::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, (&raw const d).cast(), 4),
            (A::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, (&raw const d).cast(), 4),
        ];
        let mut found = 0;
        // SAFETY: a plain structure of numbers, for which zeros are as good as anything.
        let mut best: sys::cublasLtMatmulHeuristicResult_t = unsafe { std::mem::zeroed() };
        // SAFETY: all handles are alive; values are copied; the library writes at most the one result it is asked for.
        let status = unsafe {
            for (which, value, size) in settings {
                sys::cublasLtMatmulPreferenceSetAttribute(preference, which, value, size);
            }
            let Product { description, a, b, d, .. } = *product;
            let status = sys::cublasLtMatmulAlgoGetHeuristic(
                self.handle,
                description,
                a,
                b,
                d,
                d,
                preference,
                1,
                &mut best,
                &mut found,
            );
            sys::cublasLtMatmulPreferenceDestroy(preference);
            status
        };
        let usable = status == Status::CUBLAS_STATUS_SUCCESS && found > 0;
        Ok((usable && best.state == Status::CUBLAS_STATUS_SUCCESS).then_some(best.algo))
    }

    /// Starts a product on a stream.
    pub fn run(&self, product: &Product, places: &Places, stream: CUstream) -> Result<()> {
        if let Some(bias) = places.bias {
            let which = sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER;
            self.describe_as(product, which, &bias)?;
        }
        let (one, zero) = (1f32, 0f32);
        // SAFETY: all handles are alive; the layouts describe memory that lies inside the operands' slots.
        let status = unsafe {
            sys::cublasLtMatmul(
                self.handle,
                product.description,
                (&raw const one).cast(),
                places.a as *const c_void,
                product.a,
                places.b as *const c_void,
                product.b,
                (&raw const zero).cast(),
                places.d as *const c_void,
                product.d,
                places.d as *mut c_void,
                product.d,
                &product.algorithm,
                self.workspace.address as *mut c_void,
                WORKSPACE,
                stream.cast(),
            )
        };
        self.check("cublasLtMatmul", status)
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        self.context.current();
        // SAFETY: destroyed once.
        unsafe { sys::cublasLtDestroy(self.handle) };
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // SAFETY: each was made at most once and is destroyed once; they are host memory only.
        unsafe {
            for layout in [self.a, self.b, self.d].into_iter().filter(|l| !l.is_null()) {
                sys::cublasLtMatrixLayoutDestroy(layout);
            }
            if !self.description.is_null() {
                sys::cublasLtMatmulDescDestroy(self.description);
            }
        }
    }
}
