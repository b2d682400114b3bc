//! Matrix products through the `gemm` crate, and what follows every contraction: its epilogue.

use super::copy::{elements, elements_mut};
use super::eval::{Job, Target};
use super::half::Half;
use super::memory::{Uses, allocate, of};
use super::num::Num;
use super::program::Program;
use super::steps::loop_uses;
use super::walk::{hull, unravel};
use super::{broken, conv, run};
use crate::device::{MemoryManager, Storage};
use crate::dtype::{DType, Scalar};
use crate::error::Result;
use crate::parallel::*;
use crate::plan::{Affine, Contract, ContractKind, Instr, InstrKind, Level, Loop, Operand, Origin, Store};
use crate::shape::{Dims, Layout, Shape};
use ::half::{bf16, f16};
use bytemuck::Pod;
use gemm::Parallelism;
use smallvec::SmallVec;
use std::sync::Arc;

/// Multiplications below which threads are not worth waking.
const SMALL: usize = 1 << 18;

/// A contraction made ready.
pub struct ContractStep {
    uses: Uses,
    /// The store into whose slot the contraction itself writes, and the first element there; else it goes to memory
    /// taken for the run.
    place: Option<(usize, usize)>,
    /// What is left to do afterwards.
    epilogue: Option<Program>,
    stores: Vec<usize>,
    len: usize,
}

/// The shape of a contraction's result.
fn result(kind: &ContractKind) -> Shape {
    match kind {
        ContractKind::Matmul { batch, m, n, .. } => batch.iter().copied().chain([*m, *n]).collect(),
        ContractKind::Conv(s) => [s.n, s.o, s.oh, s.ow].into(),
        ContractKind::ConvDataGrad(s) => [s.n, s.c, s.h, s.w].into(),
        ContractKind::ConvFilterGrad(s) => [s.o, s.c / s.spec.groups.max(1), s.kh, s.kw].into(),
    }
}

impl ContractStep {
    /// Decides where the result goes and prepares the epilogue.
    pub fn new(c: &Contract) -> Result<ContractStep> {
        let e = &c.epilogue;
        // The result in row-major order, under the sizes that the epilogue counts it by.
        let shape = Shape::from(&e.outer[..]);
        let len = shape.checked_numel().ok_or_else(|| broken("a contraction with too large a result"))?;
        let ranks = e.stores.iter().map(|s| &s.at).chain(e.instrs.iter().filter_map(|i| i.kind.affine()));
        let other = |i: &Instr| i.kind == InstrKind::Accumulator && i.dtype != c.dtype;
        if e.instrs.iter().any(other) {
            return Err(broken("an epilogue that takes the result for another dtype"));
        }
        if result(&c.kind).checked_numel() != Some(len) || !e.inner.is_empty() || !c.dtype.is_float() {
            return Err(broken("an epilogue that does not fit its contraction"));
        }
        if ranks.into_iter().any(|a| a.strides.len() != shape.rank()) {
            return Err(broken("an epilogue whose maps do not fit its domain"));
        }
        let uses = loop_uses(e, [c.a.slot, c.b.slot]);
        let store = e.stores.iter().position(|s| in_place(c, &shape, s));
        let place = store.map(|k| (k, e.stores[k].at.offset as usize));
        let slot = store.map_or(usize::MAX, |k| e.stores[k].slot);
        let offset = store.map_or(0, |k| e.stores[k].at.offset);
        let rest = with_loads(e, slot, &Affine { offset, strides: shape.strides() });
        // Nothing is left to do where the result is all that is stored.
        let alone = store.is_some() && e.stores.len() == 1 && is_accumulator(&e.instrs, e.stores[0].value);
        let program = match alone {
            true => None,
            false => Some(Program::new(&rest, &|slot| uses.local(slot))?),
        };
        let stores = e.stores.iter().map(|s| uses.local(s.slot)).collect();
        Ok(ContractStep { uses, place, epilogue: program, stores, len })
    }

    /// Contracts, then runs the epilogue.
    pub fn run(
        &self,
        c: &Contract,
        slots: &[Arc<Storage>],
        scalars: &[Scalar],
        origins: &[Origin],
        manager: &Arc<dyn MemoryManager>,
    ) -> Result<()> {
        let mut held = self.uses.hold(slots)?;
        let mut views = held.views();
        let mut targets: SmallVec<[Target; 2]> = SmallVec::new();
        for &local in &self.stores {
            targets.push(Target { bytes: views.take(local)?, first: 0 });
        }
        let (a, b) = (views.shared(self.uses.local(c.a.slot)), views.shared(self.uses.local(c.b.slot)));
        let width = c.dtype.bytes();
        let temporary = match self.place {
            Some((k, first)) => {
                let range = first.saturating_mul(width)..first.saturating_add(self.len).saturating_mul(width);
                let dst = targets[k].bytes.get_mut(range);
                contract(c, a, b, dst.ok_or_else(|| broken("a contraction's result that is larger than its slot"))?)?;
                None
            }
            None => {
                let storage = allocate(self.len * width, manager)?;
                let mut lines = of(&storage)?.write();
                contract(c, a, b, &mut bytemuck::cast_slice_mut(&mut lines)[..self.len * width])?;
                drop(lines);
                Some(storage)
            }
        };
        let Some(program) = &self.epilogue else { return Ok(()) };
        let lines = temporary.as_ref().map(|s| of(s).map(|m| m.read())).transpose()?;
        let mut reads: SmallVec<[&[u8]; 8]> = (0..self.uses.len()).map(|i| views.shared(i)).collect();
        reads.extend(lines.as_ref().map(|lines| bytemuck::cast_slice(lines)));
        run::run(&Job { program, reads: &reads, scalars, origins }, targets)
    }
}

/// True when the contraction may write its result where `s` will: the same elements in the same order, and nobody
/// needs what lies there.
fn in_place(c: &Contract, shape: &Shape, s: &Store) -> bool {
    let e = &c.epilogue;
    let contiguous = Layout { offset: 0, strides: s.at.strides.clone() }.is_contiguous(shape);
    let read = e.instrs.iter().any(|i| i.kind.slot() == Some(s.slot)) || s.slot == c.a.slot || s.slot == c.b.slot;
    let width = e.instrs.get(s.value).map(|v| v.dtype.bytes());
    contiguous && s.at.offset >= 0 && !read && width == Some(c.dtype.bytes())
}

fn is_accumulator(instrs: &[Instr], reg: usize) -> bool {
    instrs.get(reg).is_some_and(|i| i.kind == InstrKind::Accumulator)
}

/// The epilogue as a plain loop, which loads the result from `slot`.
fn with_loads(e: &Loop, slot: usize, at: &Affine) -> Loop {
    let mut e = e.clone();
    for i in e.instrs.iter_mut().filter(|i| i.kind == InstrKind::Accumulator) {
        i.kind = InstrKind::Load { slot, at: at.clone(), guard: None };
        i.level = Level::Outer;
    }
    e
}

fn contract(c: &Contract, a: &[u8], b: &[u8], dst: &mut [u8]) -> Result<()> {
    match c.dtype {
        DType::F16 => contract_halves::<f16>(c, a, b, dst),
        DType::BF16 => contract_halves::<bf16>(c, a, b, dst),
        DType::F64 => contract_typed::<f64>(c, elements(a), elements(b), elements_mut(dst)),
        _ => contract_typed::<f32>(c, elements(a), elements(b), elements_mut(dst)),
    }
}

/// Halves are contracted as `f32`; only the result is rounded.
fn contract_halves<T: Half + Pod>(c: &Contract, a: &[u8], b: &[u8], dst: &mut [u8]) -> Result<()> {
    let wide = |bytes: &[u8]| elements::<T>(bytes).iter().map(|h| h.value()).collect::<Vec<f32>>();
    let a_wide = wide(a);
    let b_wide = if c.a.slot == c.b.slot { None } else { Some(wide(b)) };
    let dst = elements_mut::<T>(dst);
    let mut result = vec![0.0; dst.len()];
    contract_typed(c, &a_wide, b_wide.as_deref().unwrap_or(&a_wide), &mut result)?;
    dst.iter_mut().zip(result).for_each(|(d, v)| *d = T::round(v));
    Ok(())
}

fn contract_typed<T: Num>(c: &Contract, a: &[T], b: &[T], dst: &mut [T]) -> Result<()> {
    match &c.kind {
        ContractKind::Matmul { batch, m, n, k } => matmul(batch, [*m, *n, *k], (a, &c.a), (b, &c.b), dst),
        ContractKind::Conv(s) => conv::forward(s, (a, &c.a.layout), (b, &c.b.layout), dst),
        ContractKind::ConvDataGrad(s) => conv::data_grad(s, (a, &c.a.layout), (b, &c.b.layout), dst),
        ContractKind::ConvFilterGrad(s) => conv::filter_grad(s, (a, &c.a.layout), (b, &c.b.layout), dst),
    }
}

/// A strided matrix within `data`.
#[derive(Clone, Copy)]
pub struct Matrix<'d, T> {
    pub data: &'d [T],
    pub offset: i64,
    pub row: i64,
    pub column: i64,
}

impl<T> Matrix<'_, T> {
    /// A pointer to the first element of a `rows × columns` matrix, if all of it lies within the data.
    fn pointer(&self, rows: usize, columns: usize) -> Option<*const T> {
        let (lo, hi) = hull(&[rows, columns], &[self.row, self.column], 0..rows.checked_mul(columns)?);
        let fits = |i: i64| i >= 0 && (i as u64) < self.data.len() as u64;
        let inside = fits(self.offset.checked_add(lo)?) && fits(self.offset.checked_add(hi)?);
        inside.then(|| self.data.as_ptr().wrapping_offset(self.offset as isize))
    }
}

/// `dst = a·b`, or `dst += a·b`; `dst` is row-major. `[m, n, k]` are the sizes.
pub fn gemm<T: Num>(
    dst: &mut [T],
    [m, n, k]: [usize; 3],
    a: Matrix<T>,
    b: Matrix<T>,
    add: bool,
    threads: bool,
) -> Result<()> {
    let outside = || broken("a matrix reaches outside of its slot");
    if m == 0 || n == 0 {
        return Ok(());
    }
    let dst = m.checked_mul(n).and_then(|len| dst.get_mut(..len)).ok_or_else(outside)?;
    if k == 0 {
        if !add {
            dst.fill(T::ZERO);
        }
        return Ok(());
    }
    let (pa, pb) = (a.pointer(m, k).ok_or_else(outside)?, b.pointer(k, n).ok_or_else(outside)?);
    let parallelism = if threads { PRODUCT } else { Parallelism::None };
    // SAFETY: `dst` holds m·n elements, one row after another; `pointer` has checked that every element of both
    // operands lies within borrowed data, which cannot overlap the exclusively borrowed `dst`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            dst.as_mut_ptr(),
            1,
            n as isize,
            add,
            pa,
            a.column as isize,
            a.row as isize,
            pb,
            b.column as isize,
            b.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
    Ok(())
}

/// Work worth several threads?
pub fn large(sizes: &[usize]) -> bool {
    sizes.iter().fold(1usize, |n, &s| n.saturating_mul(s)) >= SMALL
}

fn matmul<T: Num>(
    batch: &[usize],
    [mut m, n, k]: [usize; 3],
    (a, left): (&[T], &Operand),
    (b, right): (&[T], &Operand),
    dst: &mut [T],
) -> Result<()> {
    let mut batch: Dims<usize> = batch.into();
    let rank = batch.len() + 2;
    let (sa, sb) = (&left.layout.strides, &right.layout.strides);
    if sa.len() != rank || sb.len() != rank {
        return Err(broken("a matrix operand of the wrong rank"));
    }
    // A batch axis along which `b` stands still only makes `a` taller.
    while let (Some(&size), d) = (batch.last(), batch.len().wrapping_sub(1)) {
        if size != 1 && !(sb[d] == 0 && Some(sa[d]) == sa[rank - 2].checked_mul(m as i64)) {
            break;
        }
        m *= size;
        batch.pop();
    }
    if dst.is_empty() {
        return Ok(());
    }
    let one = |item: usize, dst: &mut [T], threads: bool| {
        let index = unravel(&batch, item);
        let at = |offset: i64, strides: &[i64]| {
            index.iter().zip(strides).fold(offset, |at, (&i, &s)| at.wrapping_add((i as i64).wrapping_mul(s)))
        };
        let a = Matrix { data: a, offset: at(left.layout.offset, sa), row: sa[rank - 2], column: sa[rank - 1] };
        let b = Matrix { data: b, offset: at(right.layout.offset, sb), row: sb[rank - 2], column: sb[rank - 1] };
        gemm(dst, [m, n, k], a, b, false, threads)
    };
    let count: usize = batch.iter().product();
    match count {
        1 => one(0, dst, large(&[m, n, k])),
        _ if large(&[count, m, n, k]) => {
            let items = dst.par_chunks_mut(m * n).enumerate().map(|(i, dst)| one(i, dst, false).err());
            items.find_map_first(|e| e).map_or(Ok(()), Err)
        }
        _ => dst.chunks_mut(m * n).enumerate().try_for_each(|(i, dst)| one(i, dst, false)),
    }
}
