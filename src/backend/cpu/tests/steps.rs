//! Scatters, custom ops, memory and storages.

use super::*;
use crate::device::{Block, BlockSource, MemoryManager, MemoryStats};
use crate::error::Error;
use crate::graph::custom::{CustomOp, CustomShader};
use crate::graph::{CustomHandle, Meta};
use crate::plan::{Custom, Operand, Scatter};
use crate::shape::{Layout, Shape};

fn contiguous(slot: usize, shape: &[usize]) -> Operand {
    Operand { slot, layout: Layout::contiguous(&Shape::from(shape)) }
}

/// Scatters along `axis` of `shape`, `count` sources; one index per row if `by_row`. Slots: base, index, src, out.
fn scatter(shape: &[usize], axis: usize, count: usize, by_row: bool, out: usize) -> Scatter {
    let mut sizes = shape.to_vec();
    sizes[axis] = count;
    let mut index = contiguous(1, &sizes);
    if by_row {
        let kept: Vec<usize> = sizes[..=axis].to_vec();
        index = contiguous(1, &kept);
        index.layout.strides.resize(shape.len(), 0);
    }
    let (base, src) = (contiguous(0, shape), contiguous(2, &sizes));
    Scatter {
        op: crate::graph::ReduceOp::Sum,
        deterministic: false,
        axis,
        shape: shape.into(),
        count,
        dtype: DType::F32,
        base,
        index,
        src,
        out,
        origin: 0,
    }
}

#[test]
fn scatters_add_in_order() {
    for (shape, axis, count) in [
        (&[7, 5][..], 0, 30),
        (&[7, 5], 1, 9),
        (&[2, 3, 4], 1, 11),
        (&[900], 0, 3000),
        (&[100, 64], 0, 2000),
        (&[300, 20, 10], 1, 40),
        (&[3, 0], 0, 4),
    ] {
        for by_row in [false, true] {
            for out in [0, 3] {
                let rows = shape[axis];
                let (pre, post): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
                let base = noise(pre * rows * post, 1);
                let src = noise(pre * count * post, 2);
                let each = if by_row { 1 } else { post };
                let index: Vec<i32> = (0..pre * count * each).map(|i| (i * 31 % 97 * 7 % rows) as i32).collect();
                let mut want = base.clone();
                for (at, v) in src.iter().enumerate() {
                    let (p, i, q) = (at / post / count, at / post % count, at % post);
                    let row = index[(p * count + i) * each + q % each] as usize;
                    want[(p * rows + row) * post + q] += v;
                }
                let step = Step::Scatter(scatter(shape, axis, count, by_row, out));
                let slots = [bytes(&base), bytes(&index), bytes(&src), vec![0; 4 * base.len()]];
                let got = run(vec![step], &slots, &[]).unwrap();
                assert_eq!(f32::from_bytes(&got[out]), want, "{shape:?} axis {axis}");
            }
        }
    }
}

#[test]
fn scatters_report_indices_out_of_range() {
    for bad in [-1, 4] {
        let step = Step::Scatter(scatter(&[4, 2], 0, 2, true, 3));
        let slots = [vec![0; 32], bytes(&[1, bad]), vec![0; 16], vec![0; 32]];
        let error = run(vec![step], &slots, &[]).unwrap_err();
        assert!(matches!(error, Error::IndexOutOfRange { index, size: 4, .. } if index == bad as i64), "{error}");
    }
}

#[derive(Debug)]
struct Reverse(bool);

impl CustomOp for Reverse {
    fn name(&self) -> &'static str {
        "reverse"
    }
    fn outputs(&self, inputs: &[Meta]) -> Result<Vec<Meta>, String> {
        Ok(inputs.to_vec())
    }
    fn wgsl(&self, _: &[Meta], _: &[Meta]) -> Option<CustomShader> {
        None
    }
    fn cpu(&self, inputs: &[&[u8]], outputs: &mut [Vec<u8>]) -> Option<()> {
        outputs[0] = inputs[0].iter().rev().copied().collect();
        self.0.then_some(())
    }
}

#[test]
fn custom_ops_run_or_say_that_they_cannot() {
    let meta = Meta::new([4], DType::U8);
    let step = |can: bool| {
        let op = CustomHandle(Arc::new(Reverse(can)));
        let metas = vec![meta.clone()];
        Step::Custom(Custom { op, inputs: vec![0], input_metas: metas.clone(), outputs: vec![1], output_metas: metas })
    };
    let slots = [vec![1, 2, 3, 4, 5], vec![0; 4]];
    assert_eq!(run(vec![step(true)], &slots, &[]).unwrap()[1], [4, 3, 2, 1]);
    let error = run(vec![step(false)], &slots, &[]).unwrap_err();
    assert!(matches!(&error, Error::Unsupported { what, .. } if what.contains("reverse")), "{error}");
    let small = [vec![1], vec![0; 4]];
    assert!(matches!(run(vec![step(true)], &small, &[]), Err(Error::Backend { .. })));
}

#[test]
fn memory_that_is_not_there_is_an_error() {
    let backend = CpuBackend::new();
    let error = backend.allocate(isize::MAX as usize - 64).unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
    let storage = backend.allocate(16).unwrap();
    backend.write(&storage, DType::I32, &bytes(&[1, 2, 3, 4])).unwrap();
    assert_eq!(read(&*backend, &storage, DType::I32, 1, 2).unwrap(), bytes(&[2, 3]));
    assert!(read(&*backend, &storage, DType::I32, 3, 2).is_err());
    assert!(read(&*backend, &storage, DType::I32, usize::MAX, 2).is_err());
    assert!(backend.write(&storage, DType::I32, &[0; 17]).is_err());
    backend.write(&storage, DType::Bool, &[0, 2, 255]).unwrap();
    assert_eq!(read(&*backend, &storage, DType::Bool, 0, 3).unwrap(), [0, 1, 1]);
}

/// Hands out memory of some other kind.
#[derive(Debug)]
struct Strange;

impl MemoryManager for Strange {
    fn acquire(&self, bytes: usize, _: &dyn BlockSource) -> Result<Block> {
        Ok(Block { bytes, memory: Box::new(()) })
    }
    fn release(&self, _: Block) {}
    fn trim(&self) {}
    fn stats(&self) -> MemoryStats {
        MemoryStats::default()
    }
}

#[test]
fn storages_of_another_backend_are_refused() {
    let backend = CpuBackend::with_memory(Arc::new(Strange));
    let storage = backend.allocate(16).unwrap();
    assert!(matches!(read(&*backend, &storage, DType::U8, 0, 1), Err(Error::Backend { .. })));
    assert!(matches!(backend.write(&storage, DType::U8, &[1]), Err(Error::Backend { .. })));
}

#[test]
fn the_caps_name_the_machine() {
    let backend = CpuBackend::new();
    let caps = backend.caps();
    assert!(!caps.hardware.is_empty() && caps.driver.starts_with("rayon"), "{caps:?}");
    assert_eq!(caps.dtypes, DType::ALL);
}
