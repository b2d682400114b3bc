//! Attention on the matrix units: which steps the kernels of `kernels-cuda/` take, and what they are given.
//!
//! They take halves, and `f32` where TF32 is allowed, in heads of 64 and 128. Everything else is left to the kernels that
//! every GPU runs.

use super::Core;
use super::kernels::Kernel;
use crate::dtype::DType;
use crate::error::Result;
use crate::graph::{AttentionSizes, AttentionSpec};
use crate::plan::{Attention, AttentionGrad, Operand, Step};
use cudarc::driver::sys;
use std::f64::consts::LOG2_E;
use std::ffi::c_void;

/// The one architecture whose matrix units `kernels-cuda/attention_hopper.cu` is for.
const HOPPER: u32 = 90;

/// Asynchronous copies and bf16 products came with compute capability 8.0.
const ARCHITECTURE: u32 = 80;

/// A kernel of `kernels-cuda/` made ready for its compilation and its launch.
#[derive(Debug, Clone)]
pub(super) struct Native {
    pub entry: &'static str,
    pub source: String,
    grid: [u32; 2],
    pub threads: u32,
    /// Bytes of shared memory.
    pub shared: u32,
    /// The kernel's argument, a structure; addresses are filled in at the launch.
    argument: Vec<u8>,
    /// Where in the argument an address belongs, its slot, and how many bytes further it points.
    addresses: Vec<(usize, usize, i64)>,
}

/// How a block of a kernel is cut; see `kernels-cuda/attention.cu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tile {
    warps: usize,
    tiles: usize,
    columns: usize,
    keep: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Forward,
    Hopper,
    Queries,
    Keys,
}

/// The fastest of those measured on an H100.
fn tile(kind: Kind, wide: bool, head: usize) -> Tile {
    let (warps, tiles, columns, keep) = match (kind, wide, head) {
        (Kind::Hopper, _, 64) => (8, 1, 64, true),
        (Kind::Hopper, _, _) => (8, 1, 128, true),
        (Kind::Forward, false, 64) => (4, 2, 64, true),
        (Kind::Forward, false, _) => (8, 1, 64, true),
        (Kind::Forward, true, 64) => (4, 2, 64, false),
        (Kind::Forward, true, _) => (8, 1, 64, false),
        (Kind::Queries, false, 64) => (4, 1, 64, true),
        (Kind::Queries, false, _) => (4, 1, 64, false),
        (Kind::Queries, true, 64) => (4, 1, 64, false),
        (Kind::Queries, true, _) => (8, 1, 32, false),
        (Kind::Keys, false, 64) => (4, 1, 64, true),
        (Kind::Keys, false, _) => (4, 1, 32, false),
        (Kind::Keys, true, 64) => (4, 1, 32, false),
        (Kind::Keys, true, _) => (8, 1, 16, false),
    };
    Tile { warps, tiles, columns, keep }
}

/// The kernels of a step, or none where they cannot take it.
pub(super) fn lower(step: &Step, architecture: u32) -> Option<Vec<Native>> {
    match step {
        _ if architecture < ARCHITECTURE => None,
        Step::Attention(a) => forward(a, architecture).map(|k| vec![k]),
        Step::AttentionGrad(a) => Some(vec![backward(a, Kind::Queries)?, backward(a, Kind::Keys)?]),
        _ => None,
    }
}

fn forward(a: &Attention, architecture: u32) -> Option<Native> {
    let hopper = architecture == HOPPER && a.dtype.is_half();
    let mut build = Build::new(if hopper { Kind::Hopper } else { Kind::Forward }, a.spec, &a.sizes, a.dtype)?;
    build.view(&a.q, false)?;
    build.view(&a.k, false)?;
    build.view(&a.v, false)?;
    build.address(a.out, 0);
    build.address(a.lse, 0);
    build.sizes()?;
    build.float(a.spec.scale() * LOG2_E);
    build.finish()
}

fn backward(a: &AttentionGrad, kind: Kind) -> Option<Native> {
    let mut build = Build::new(kind, a.spec, &a.sizes, a.dtype)?;
    build.view(&a.q, false)?;
    build.view(&a.k, false)?;
    build.view(&a.v, false)?;
    build.view(&a.dout, true)?;
    build.sums(&a.lse)?;
    build.sums(&a.delta)?;
    for slot in a.writes() {
        build.address(slot, 0);
    }
    build.sizes()?;
    build.float(a.spec.scale());
    build.float(a.spec.scale() * LOG2_E);
    build.finish()
}

/// A kernel's argument being written, member by member.
struct Build<'a> {
    kind: Kind,
    spec: AttentionSpec,
    sizes: &'a AttentionSizes,
    dtype: DType,
    tile: Tile,
    argument: Vec<u8>,
    addresses: Vec<(usize, usize, i64)>,
}

impl<'a> Build<'a> {
    fn new(kind: Kind, spec: AttentionSpec, sizes: &'a AttentionSizes, dtype: DType) -> Option<Build<'a>> {
        let takes = matches!(dtype, DType::F16 | DType::BF16 | DType::F32);
        let head = sizes.d == sizes.e && matches!(sizes.d, 64 | 128);
        // The largest score is looked for before scores are scaled.
        let scale = spec.scale() > 0.0 && spec.scale().is_finite();
        let tile = tile(kind, dtype == DType::F32, sizes.d);
        (takes && head && scale).then(|| Build {
            kind,
            spec,
            sizes,
            dtype,
            tile,
            argument: Vec::new(),
            addresses: Vec::new(),
        })
    }

    fn long(&mut self, n: i64) {
        self.argument.extend(n.to_ne_bytes());
    }

    fn float(&mut self, v: f64) {
        self.argument.extend((v as f32).to_ne_bytes());
    }

    fn address(&mut self, slot: usize, offset: i64) {
        self.addresses.push((self.argument.len(), slot, offset));
        self.long(0);
    }

    /// An operand that is copied 16 bytes at a time; `turned` says that its heads come after its positions.
    fn view(&mut self, o: &Operand, turned: bool) -> Option<()> {
        let (rank, bytes) = (self.sizes.batch.len(), self.dtype.bytes() as i64);
        let strides = &o.layout.strides;
        let (head, row) = if turned { (strides[rank + 1], strides[rank]) } else { (strides[rank], strides[rank + 1]) };
        let batch = self.batch_stride(&strides[..rank])?;
        let whole = [o.layout.offset, batch, head, row].iter().all(|n| n * bytes % 16 == 0);
        if strides[rank + 2] != 1 || !whole {
            return None;
        }
        self.address(o.slot, o.layout.offset * bytes);
        [batch, head, row].into_iter().for_each(|n| self.long(n));
        Some(())
    }

    /// Sums, one for each query.
    fn sums(&mut self, o: &Operand) -> Option<()> {
        let (rank, strides) = (self.sizes.batch.len(), &o.layout.strides);
        let batch = self.batch_stride(&strides[..rank])?;
        self.address(o.slot, o.layout.offset * 4);
        [batch, strides[rank], strides[rank + 1]].into_iter().for_each(|n| self.long(n));
        Some(())
    }

    /// The distance of batches, if all of its axes can be counted as one.
    fn batch_stride(&self, strides: &[i64]) -> Option<i64> {
        let mut axes = self.sizes.batch.iter().zip(strides).rev().filter(|(size, _)| **size != 1);
        let Some((&size, &last)) = axes.next() else { return Some(0) };
        let mut next = last * size as i64;
        for (&size, &stride) in axes {
            if stride != next {
                return None;
            }
            next *= size as i64;
        }
        Some(last)
    }

    fn sizes(&mut self) -> Option<()> {
        let z = self.sizes;
        for n in [z.heads, z.heads / z.groups, z.t, z.s] {
            self.argument.extend(i32::try_from(n).ok().filter(|n| *n < 1 << 30)?.to_ne_bytes());
        }
        Some(())
    }

    fn finish(self) -> Option<Native> {
        let (z, t) = (self.sizes, self.tile);
        let batches: usize = z.batch.iter().product();
        let rows = t.warps * t.tiles * 16;
        let row = z.d * self.dtype.bytes();
        let (heads, positions) = if self.kind == Kind::Keys { (z.groups, z.s) } else { (z.heads, z.t) };
        let (x, y) = (i32::try_from(batches * heads).ok()?, positions.div_ceil(rows));
        let shared = match self.kind {
            Kind::Forward | Kind::Hopper => (rows + 4 * t.columns) * row,
            Kind::Queries => (2 * rows + 4 * t.columns) * row,
            Kind::Keys => (2 * rows + 4 * t.columns) * row + 16 * t.columns,
        };
        let (entry, file) = match self.kind {
            Kind::Forward => ("attention_forward", include_str!("../../../kernels-cuda/attention_forward.cu")),
            Kind::Hopper => ("attention_hopper", include_str!("../../../kernels-cuda/attention_hopper.cu")),
            Kind::Queries => ("attention_queries", include_str!("../../../kernels-cuda/attention_backward.cu")),
            Kind::Keys => ("attention_keys", include_str!("../../../kernels-cuda/attention_backward.cu")),
        };
        let number = match self.dtype {
            DType::F16 => 0,
            DType::BF16 => 1,
            _ => 2,
        };
        let by_query = if self.kind == Kind::Queries { "#define BY_QUERY\n" } else { "" };
        let source = format!(
            "#define TYPE {number}\n#define HEAD {}\n#define CAUSAL {}\n#define WARPS {}\n#define TILES {}\n\
             #define COLUMNS {}\n#define KEEP {}\n{by_query}{}{file}",
            z.d,
            self.spec.causal as u8,
            t.warps,
            t.tiles,
            t.columns,
            t.keep as u8,
            include_str!("../../../kernels-cuda/attention.cu")
        );
        let grid = [x as u32, u32::try_from(y).ok().filter(|y| *y <= 65_535)?];
        let (threads, shared) = (t.warps as u32 * 32, shared as u32);
        let Build { mut argument, addresses, .. } = self;
        // A structure with addresses in it is a multiple of eight bytes.
        argument.resize(argument.len().next_multiple_of(8), 0);
        Some(Native { entry, source, grid, threads, shared, argument, addresses })
    }
}

impl Core {
    pub(super) fn start_native(
        &self,
        native: &Native,
        kernel: &Kernel,
        stream: sys::CUstream,
        slots: &[u64],
    ) -> Result<()> {
        let mut argument = native.argument.clone();
        for &(at, slot, offset) in &native.addresses {
            let address = slots.get(slot).ok_or_else(|| self.context.error("an attention lacks a slot"))?;
            argument[at..at + 8].copy_from_slice(&address.wrapping_add_signed(offset).to_ne_bytes());
        }
        let mut pointers: [*mut c_void; 1] = [argument.as_mut_ptr().cast()];
        let ([x, y], none) = (native.grid, std::ptr::null_mut());
        // SAFETY: the kernel has one parameter, a structure of this size; the driver copies it.
        let code = unsafe {
            let (threads, shared) = (native.threads, native.shared);
            sys::cuLaunchKernel(kernel.function, x, y, 1, threads, 1, 1, shared, stream, pointers.as_mut_ptr(), none)
        };
        self.context.check(native.entry, code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cuda::{library, nvrtc};
    use crate::plan::Operand;
    use crate::shape::Layout;

    fn step(dtype: DType, d: usize, causal: bool) -> [Step; 2] {
        let sizes = AttentionSizes { batch: [2, 3].into_iter().collect(), heads: 4, groups: 2, t: 70, s: 90, d, e: d };
        let of = |slot: usize, shape: [usize; 5]| Operand { slot, layout: Layout::contiguous(&shape.into()) };
        let sums = |slot: usize| Operand { slot, layout: Layout::contiguous(&[2, 3, 4, 70].into()) };
        let spec = AttentionSpec::new(0.125, causal);
        let (q, k, v) = (of(0, [2, 3, 4, 70, d]), of(1, [2, 3, 2, 90, d]), of(2, [2, 3, 2, 90, d]));
        let (dout, lse, delta) = (of(3, [2, 3, 70, 4, d]), sums(4), sums(5));
        let first =
            Attention { spec, sizes: sizes.clone(), dtype, q: q.clone(), k: k.clone(), v: v.clone(), out: 6, lse: 7 };
        let grad = AttentionGrad { spec, sizes, dtype, q, k, v, dout, lse, delta, dq: 6, dk: 7, dv: 8 };
        [Step::Attention(first), Step::AttentionGrad(Box::new(grad))]
    }

    #[test]
    fn every_kernel_compiles() {
        if let Err(why) = library::nvrtc() {
            println!("skipped: {why}");
            return;
        }
        for dtype in [DType::F16, DType::BF16, DType::F32] {
            for (d, causal) in [(64, true), (128, false)] {
                for native in step(dtype, d, causal).iter().flat_map(|s| lower(s, 90).unwrap()) {
                    nvrtc::machine_code(&native.source, nvrtc::Target { architecture: 90, fused: true })
                        .unwrap_or_else(|e| panic!("{}: {e}", native.entry));
                }
            }
        }
    }

    #[test]
    fn what_they_cannot_take_is_left_to_others() {
        let takes = |change: &dyn Fn(&mut Attention)| {
            let [Step::Attention(mut a), _] = step(DType::F16, 64, false) else { return false };
            change(&mut a);
            lower(&Step::Attention(a), 90).is_some()
        };
        assert!(takes(&|_| {}));
        assert!(!takes(&|a| a.spec = AttentionSpec::new(-1.0, false)));
        assert!(!takes(&|a| a.sizes.d = 32));
        assert!(!takes(&|a| a.q.layout.offset = 4), "not on 16 bytes");
        assert!(!takes(&|a| a.k.layout.strides[4] = 2), "not side by side");
        assert!(!takes(&|a| a.v.layout.strides[0] += 8), "batches that are not one");
        assert!(lower(&step(DType::F16, 64, false)[0], 75).is_none());
    }
}
