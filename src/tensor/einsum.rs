//! Which sums of products does a formula over named axes stand for, and which matrix products are they?

use super::Tensor;
use super::axes::resolve;
use crate::error::Caller;
use crate::graph::{BinaryOp, Op, ReduceOp};
use crate::shape::{Dims, Shape};

/// An axis' name: the letter's code, or, for the axes behind an ellipsis, [`DOTS`] plus the place from the right.
type Label = u32;
const DOTS: Label = 1 << 16;

/// A tensor whose axes have names, all different.
#[derive(Clone)]
struct Named {
    tensor: Tensor,
    labels: Vec<Label>,
}

impl Tensor {
    /// The sum of products that an Einstein formula describes, in PyTorch's notation: letters name axes, an ellipsis the
    /// axes that broadcast, a repeated letter in one operand is its diagonal, and letters missing behind `->` are summed
    /// over. Without `->` the result has the letters that occur once, in alphabetical order, behind the ellipsis.
    ///
    /// Operands are contracted from left to right; each pair becomes one matrix product.
    ///
    /// ```
    /// # use sunstone::prelude::*;
    /// let a = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [2, 2], &Device::cpu());
    /// assert_eq!(Tensor::einsum("ij,jk->ik", &[&a, &a]).to_vec::<f32>()?, a.matmul(&a).to_vec::<f32>()?);
    /// assert_eq!(Tensor::einsum("ii", &[&a]).item::<f32>()?, 5.0);
    /// # Ok::<(), sunstone::Error>(())
    /// ```
    #[track_caller]
    pub fn einsum(equation: &str, operands: &[&Tensor]) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("einsum", at, operands, || {
            let ranks: Vec<usize> = operands.iter().map(|t| t.rank()).collect();
            let (inputs, output) = parse(equation, &ranks)?;
            let mut named = Vec::new();
            for (tensor, labels) in operands.iter().zip(inputs) {
                named.push(distinct((*tensor).clone(), labels, at)?);
            }
            let sizes = agree(&mut named, at)?;
            if let Some(label) = output.iter().find(|l| !sizes.iter().any(|(known, _)| known == *l)) {
                return Err(format!("'{equation}': the result's axis {} is in no operand", name(*label)));
            }
            contract_all(named, &output, at)
        })
    }

    /// The sum of products over pairs of axes: `axes[i]` of `self` with `others[i]` of `other`. The rest of both follows in
    /// order (PyTorch's `tensordot` with two lists).
    #[track_caller]
    pub fn tensordot(&self, other: &Tensor, axes: &[isize], others: &[isize]) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("tensordot", at, &[self, other], || {
            let (ra, rb) = (self.rank(), other.rank());
            let mut left: Vec<Label> = (0..ra as Label).collect();
            let mut right: Vec<Label> = (0..rb as Label).map(|i| DOTS + i).collect();
            if axes.len() != others.len() {
                return Err(format!("{} axes cannot be paired with {}", axes.len(), others.len()));
            }
            for (k, (&a, &b)) in axes.iter().zip(others).enumerate() {
                let (a, b) = (resolve(a as i64, ra)?, resolve(b as i64, rb)?);
                if left[a] >= 2 * DOTS || right[b] >= 2 * DOTS {
                    return Err(format!("an axis is named twice in {axes:?} and {others:?}"));
                }
                if self.shape()[a] != other.shape()[b] {
                    return Err(format!("axis {a} of {} does not fit axis {b} of {}", self.shape(), other.shape()));
                }
                (left[a], right[b]) = (2 * DOTS + k as Label, 2 * DOTS + k as Label);
            }
            let keep: Vec<Label> = left.iter().chain(&right).copied().filter(|&l| l < 2 * DOTS).collect();
            let pair = [(self, left), (other, right)].map(|(t, labels)| Named { tensor: t.clone(), labels });
            contract_all(pair.into(), &keep, at)
        })
    }

    /// `self[i] · other[j]` of two vectors: `[n]` and `[m]` to `[n, m]`.
    #[track_caller]
    pub fn outer(&self, other: &Tensor) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("outer", at, &[self, other], || match (self.rank(), other.rank()) {
            (1, 1) => Ok(self.insert_axis(1, at).binary(BinaryOp::Mul, other.into(), at)),
            _ => Err(format!("needs two vectors, not {} and {}", self.shape(), other.shape())),
        })
    }

    /// `Σ self[i] · other[i]` of two vectors of one length.
    #[track_caller]
    pub fn dot(&self, other: &Tensor) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("dot", at, &[self, other], || {
            if self.rank() != 1 || self.shape() != other.shape() {
                return Err(format!("needs two vectors of one length, not {} and {}", self.shape(), other.shape()));
            }
            Ok(self.matmul(other))
        })
    }

    /// The products of two batches of matrices, `[b, m, k] × [b, k, n]`; nothing broadcasts.
    #[track_caller]
    pub fn bmm(&self, other: &Tensor) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("bmm", at, &[self, other], || {
            let (a, b) = (self.shape(), other.shape());
            if a.rank() != 3 || b.rank() != 3 || a[0] != b[0] || a[2] != b[1] {
                return Err(format!("needs [b, m, k] and [b, k, n], not {a} and {b}"));
            }
            Ok(self.matmul(other))
        })
    }

    /// `beta · self + alpha · a · b` for matrices `a [m, k]` and `b [k, n]`; `self` broadcasts to `[m, n]`. With `beta` 0,
    /// NaN and infinities in `self` do not matter, as in BLAS.
    #[track_caller]
    pub fn addmm(&self, a: &Tensor, b: &Tensor, beta: f64, alpha: f64) -> Tensor {
        let at = Caller::here();
        Tensor::attempt("addmm", at, &[self, a, b], || {
            if a.rank() != 2 || b.rank() != 2 || a.shape()[1] != b.shape()[0] {
                return Err(format!("needs matrices [m, k] and [k, n], not {} and {}", a.shape(), b.shape()));
            }
            let shape = Shape::from([a.shape()[0], b.shape()[1]]);
            if self.shape().broadcast(&shape).as_ref() != Some(&shape) {
                return Err(format!("{} does not broadcast to {shape}", self.shape()));
            }
            let scaled = |t: Tensor, by: f64| if by == 1.0 { t } else { t.binary(BinaryOp::Mul, by.into(), at) };
            let product = scaled(a.matmul(b), alpha);
            Ok(match beta {
                0.0 => product,
                _ => product.binary(BinaryOp::Add, scaled(self.clone(), beta).into(), at),
            })
        })
    }

    /// `x · weightᵀ + bias`: `[.., inputs]`, `weight [outputs, inputs]` and `bias [outputs]` to `[.., outputs]`.
    #[track_caller]
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
        let at = Caller::here();
        let operands: Vec<&Tensor> = [self, weight].into_iter().chain(bias).collect();
        Tensor::attempt("linear", at, &operands, || {
            let fits = self.rank() > 0 && weight.rank() == 2 && self.shape()[self.rank() - 1] == weight.shape()[1];
            let bias_fits = bias.is_none_or(|b| b.rank() == 1 && Some(&b.shape()[0]) == weight.shape().first());
            if !fits || !bias_fits {
                let bias = bias.map_or(String::new(), |b| format!(" and bias {}", b.shape()));
                return Err(format!("weight {}{bias} do not fit {}", weight.shape(), self.shape()));
            }
            let y = self.matmul(&weight.t());
            Ok(match bias {
                Some(bias) => y.binary(BinaryOp::Add, bias.into(), at),
                None => y,
            })
        })
    }
}

/// The labels of each operand and of the result.
fn parse(equation: &str, ranks: &[usize]) -> Result<(Vec<Vec<Label>>, Vec<Label>), String> {
    let bad = |why: String| Err(format!("'{equation}': {why}"));
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (left, right) = match text.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (&text[..], None),
    };
    let terms: Vec<&str> = left.split(',').collect();
    if terms.len() != ranks.len() {
        return bad(format!("{} terms for {} operands", terms.len(), ranks.len()));
    }
    let mut inputs = Vec::new();
    let mut widest = 0;
    for (term, &rank) in terms.iter().zip(ranks) {
        let letters = letters(term).map_err(|why| format!("'{equation}': {why}"))?;
        let named = letters.iter().flatten().count();
        let dots = rank.checked_sub(named).filter(|&d| d == 0 || letters.contains(&None));
        let Some(dots) = dots else { return bad(format!("'{term}' does not name the {rank} axes of its operand")) };
        widest = widest.max(dots);
        inputs.push(spell(&letters, dots));
    }
    let all = || inputs.iter().flatten();
    let output = match right {
        Some(term) => spell(&letters(term).map_err(|why| format!("'{equation}': {why}"))?, widest),
        None => {
            let mut once: Vec<Label> =
                all().copied().filter(|l| *l < DOTS && all().filter(|o| *o == l).count() == 1).collect();
            once.sort_unstable();
            spell(&[None], widest).into_iter().chain(once).collect()
        }
    };
    if let Some((_, label)) = output.iter().enumerate().find(|(i, l)| output[..*i].contains(l)) {
        return bad(format!("the result names axis {} twice", name(*label)));
    }
    Ok((inputs, output))
}

/// The letters of a term, `None` for an ellipsis.
fn letters(term: &str) -> Result<Vec<Option<char>>, String> {
    let mut found = Vec::new();
    for (i, part) in term.split("...").enumerate() {
        if i > 1 {
            return Err(format!("more than one ellipsis in '{term}'"));
        }
        if i == 1 {
            found.push(None);
        }
        for c in part.chars() {
            if !c.is_ascii_alphabetic() {
                return Err(format!("'{c}' is no name of an axis"));
            }
            found.push(Some(c));
        }
    }
    Ok(found)
}

fn spell(letters: &[Option<char>], dots: usize) -> Vec<Label> {
    let behind = || (0..dots as Label).rev().map(|i| DOTS + i);
    letters.iter().flat_map(|l| l.map_or_else(|| behind().collect(), |c| vec![c as Label])).collect()
}

fn name(label: Label) -> String {
    char::from_u32(label).filter(|_| label < DOTS).map_or("behind the ellipsis".into(), |c| format!("'{c}'"))
}

/// Axes of one name replaced by their diagonal.
fn distinct(mut tensor: Tensor, mut labels: Vec<Label>, at: Caller) -> Result<Named, String> {
    while let Some((a, b)) =
        (0..labels.len()).find_map(|b| labels[..b].iter().position(|l| *l == labels[b]).map(|a| (a, b)))
    {
        let shape = tensor.shape();
        if shape[a] != shape[b] {
            return Err(format!("axis {} is repeated with sizes {} and {}", name(labels[a]), shape[a], shape[b]));
        }
        tensor = tensor.diagonal_of(a, b, 0, at);
        labels.remove(b);
        let label = labels.remove(a);
        labels.push(label);
    }
    Ok(Named { tensor, labels })
}

/// The size of each axis. Axes of size 1 that broadcast are dropped from their operand.
fn agree(operands: &mut [Named], at: Caller) -> Result<Vec<(Label, usize)>, String> {
    let mut sizes: Vec<(Label, usize)> = Vec::new();
    for operand in operands.iter() {
        for (&label, &size) in operand.labels.iter().zip(operand.tensor.shape().iter()) {
            match sizes.iter_mut().find(|(known, _)| *known == label) {
                Some((_, known)) if *known == 1 => *known = size,
                Some((_, known)) if size != 1 && *known != size => {
                    return Err(format!("axis {} has sizes {known} and {size}", name(label)));
                }
                Some(_) => {}
                None => sizes.push((label, size)),
            }
        }
    }
    for operand in operands {
        for i in (0..operand.labels.len()).rev() {
            let size = sizes.iter().find(|(known, _)| *known == operand.labels[i]).map_or(1, |s| s.1);
            if size != 1 && operand.tensor.shape()[i] == 1 {
                operand.tensor = operand.tensor.drop_axis(i, at);
                operand.labels.remove(i);
            }
        }
    }
    Ok(sizes)
}

/// The operands contracted from left to right, with the axes of the result in the given order.
fn contract_all(operands: Vec<Named>, output: &[Label], at: Caller) -> Result<Tensor, String> {
    let mut rest = operands.into_iter();
    let Some(mut result) = rest.next() else { return Err("needs at least one operand".into()) };
    while let Some(next) = rest.next() {
        let later = rest.as_slice().iter().flat_map(|n| &n.labels);
        let keep: Vec<Label> = output.iter().chain(later).copied().collect();
        result = contract(result, next, &keep, at);
        if result.tensor.error().is_some() {
            return Ok(result.tensor);
        }
    }
    let result = result.summed(|l| output.contains(&l), at);
    // Every name is there, and once.
    let order = output.iter().filter_map(|l| result.labels.iter().position(|k| k == l)).collect();
    Ok(result.tensor.order_axes(order, at))
}

impl Named {
    /// Summed over the axes that `keep` does not want.
    fn summed(self, keep: impl Fn(Label) -> bool, at: Caller) -> Named {
        let axes: Dims<usize> = (0..self.labels.len()).filter(|&i| !keep(self.labels[i])).collect();
        let labels = self.labels.into_iter().filter(|&l| keep(l)).collect();
        Named { tensor: self.tensor.reduce_axes(ReduceOp::Sum, axes, false, at), labels }
    }

    /// The product of the sizes of some of its axes.
    fn size(&self, labels: &[Label]) -> usize {
        labels.iter().filter_map(|l| self.labels.iter().position(|k| k == l)).map(|i| self.tensor.shape()[i]).product()
    }

    /// With its axes in the order of `labels`, of size 1 where it has none.
    fn laid(&self, labels: &[Label], at: Caller) -> Tensor {
        let places: Vec<Option<usize>> = labels.iter().map(|l| self.labels.iter().position(|k| k == l)).collect();
        let ordered = self.tensor.order_axes(places.iter().flatten().copied().collect(), at);
        let shape = places.iter().map(|p| p.map_or(1, |i| self.tensor.shape()[i])).collect();
        ordered.reshape_to(shape, at)
    }
}

/// One matrix product: names of both that are kept are batches, the others of both are summed over.
fn contract(a: Named, b: Named, keep: &[Label], at: Caller) -> Named {
    let kept = |l: Label| keep.contains(&l);
    let (in_a, in_b) = (a.labels.clone(), b.labels.clone());
    let a = a.summed(|l| kept(l) || in_b.contains(&l), at);
    let b = b.summed(|l| kept(l) || in_a.contains(&l), at);
    let dtype = a.tensor.dtype().promote(b.tensor.dtype());
    let shared = |l: &&Label| b.labels.contains(l);
    let of = |list: &[Label], f: &dyn Fn(&&Label) -> bool| -> Vec<Label> { list.iter().filter(f).copied().collect() };
    let batch = of(&a.labels, &|l| shared(l) && kept(**l));
    let inner = of(&a.labels, &|l| shared(l) && !kept(**l));
    let rows = of(&a.labels, &|l| !shared(l));
    let columns = of(&b.labels, &|l| !a.labels.contains(l));
    let labels: Vec<Label> = batch.iter().chain(&rows).chain(&columns).copied().collect();
    if inner.is_empty() || !dtype.is_float() {
        // Products alone need no matrix; integers are summed exactly.
        let all: Vec<Label> = labels.iter().chain(&inner).copied().collect();
        let tensor = a.laid(&all, at).binary(BinaryOp::Mul, (&b.laid(&all, at)).into(), at);
        return Named { tensor, labels: all }.summed(|l| !inner.contains(&l), at);
    }
    let sizes = |n: &Named, of: &[Label]| -> Vec<usize> { of.iter().map(|l| n.size(&[*l])).collect() };
    let batches = sizes(&a, &batch);
    let matrix = |n: &Named, first: &[Label], second: &[Label]| {
        let order: Vec<Label> = batch.iter().chain(first).chain(second).copied().collect();
        let shape = batches.iter().copied().chain([n.size(first), n.size(second)]).collect();
        n.laid(&order, at).reshape_to(shape, at).cast_at(dtype, at)
    };
    let product = Tensor::apply(Op::Matmul, &[&matrix(&a, &rows, &inner), &matrix(&b, &inner, &columns)], at);
    let shape = batches.iter().copied().chain(sizes(&a, &rows)).chain(sizes(&b, &columns)).collect();
    Named { tensor: product.reshape_to(shape, at), labels }
}
