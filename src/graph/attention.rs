//! What is fixed about an attention, and the shape rules of it and of its gradient.

use super::Meta;
use crate::dtype::DType;
use crate::shape::{Dims, Shape};

/// What is fixed about an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionSpec {
    /// Whether query `i` sees keys `0..=i` only.
    pub causal: bool,
    /// The bits of the scale, so that specs can be compared.
    scale: u64,
}

impl AttentionSpec {
    /// Scores are multiplied by `scale`.
    pub fn new(scale: f64, causal: bool) -> AttentionSpec {
        AttentionSpec { causal, scale: scale.to_bits() }
    }

    /// What scores are multiplied by.
    pub fn scale(&self) -> f64 {
        f64::from_bits(self.scale)
    }
}

/// The sizes of an attention: queries `[batch.., heads, t, d]`, keys `[batch.., groups, s, d]`, values
/// `[batch.., groups, s, e]`; head `i` of the queries looks at head `i·groups/heads` of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct AttentionSizes {
    pub batch: Dims<usize>,
    pub heads: usize,
    pub groups: usize,
    pub t: usize,
    pub s: usize,
    pub d: usize,
    pub e: usize,
}

impl AttentionSizes {
    /// Those of queries, keys and values of these shapes, or why they do not fit.
    pub fn new(q: &Shape, k: &Shape, v: &Shape) -> Result<AttentionSizes, String> {
        let bad = |why: &str| Err(format!("query {q}, key {k} and value {v}: {why}"));
        let rank = q.rank();
        if rank < 3 || k.rank() != rank || v.rank() != rank {
            return bad("all need [.., heads, length, width]");
        }
        let batch = &q[..rank - 3];
        if *batch != k[..rank - 3] || k[..rank - 1] != v[..rank - 1] || q[rank - 1] != k[rank - 1] {
            return bad("batches, widths of query and key, and heads and lengths of key and value, must be equal");
        }
        let (heads, groups) = (q[rank - 3], k[rank - 3]);
        if heads.checked_rem(groups).is_none_or(|rest| rest != 0) {
            return bad("the heads of the keys do not divide those of the queries");
        }
        let [t, s, d, e] = [q[rank - 2], k[rank - 2], q[rank - 1], v[rank - 1]];
        Ok(AttentionSizes { batch: batch.into(), heads, groups, t, s, d, e })
    }

    /// `[batch.., positions, heads, width]`: how results lie, so that heads side by side are one row of a projection.
    fn rows(&self, positions: usize, heads: usize, width: usize) -> Shape {
        self.batch.iter().copied().chain([positions, heads, width]).collect()
    }

    /// The result: `[batch.., t, heads, e]`.
    pub fn out(&self) -> Shape {
        self.rows(self.t, self.heads, self.e)
    }

    /// Sums of exponentials: `[batch.., heads, t]`.
    pub fn sums(&self) -> Shape {
        self.batch.iter().copied().chain([self.heads, self.t]).collect()
    }
}

/// The type of the sums of exponentials.
fn wide(dtype: DType) -> DType {
    if dtype == DType::F64 { dtype } else { DType::F32 }
}

fn floats(metas: &[&Meta]) -> Result<DType, String> {
    let dtype = metas[0].dtype;
    match metas.iter().all(|m| m.dtype == dtype) && dtype.is_float() {
        true => Ok(dtype),
        false => Err("needs floats of one type".into()),
    }
}

fn checked(metas: Vec<Meta>) -> Result<Vec<Meta>, String> {
    match metas.iter().find(|m| m.shape.checked_numel().is_none()) {
        Some(m) => Err(format!("a result of shape {} has more elements than memory can address", m.shape)),
        None => Ok(metas),
    }
}

/// The results of an attention.
pub(super) fn infer(q: &Meta, k: &Meta, v: &Meta) -> Result<Vec<Meta>, String> {
    let dtype = floats(&[q, k, v])?;
    let sizes = AttentionSizes::new(&q.shape, &k.shape, &v.shape)?;
    checked(vec![Meta { shape: sizes.out(), dtype }, Meta { shape: sizes.sums(), dtype: wide(dtype) }])
}

/// The results of its gradient.
pub(super) fn infer_grad([q, k, v, dout, lse, delta]: [&Meta; 6]) -> Result<Vec<Meta>, String> {
    let dtype = floats(&[q, k, v, dout])?;
    let sizes = AttentionSizes::new(&q.shape, &k.shape, &v.shape)?;
    let sums = Meta { shape: sizes.sums(), dtype: wide(dtype) };
    if dout.shape != sizes.out() || *lse != sums || *delta != sums {
        return Err(format!("gradient {} and sums {}, {} do not fit", dout.shape, lse.shape, delta.shape));
    }
    let AttentionSizes { heads, groups, t, s, d, e, .. } = sizes;
    let made = [(t, heads, d), (s, groups, d), (s, groups, e)];
    checked(made.map(|(n, heads, width)| Meta { shape: sizes.rows(n, heads, width), dtype }).into())
}
