//! The shape and dtype rule of every op: what it gives, or why it cannot take these sources.

use super::{Meta, Op, ReduceOp, ScanOp, UnaryOp};
use crate::dtype::DType;
use crate::random::Distribution;
use crate::shape::Shape;

/// The results of `op` on `srcs`, or the detail of the error. Sizes are those of one device; dtypes are checked here,
/// what the device grants is checked by the scheduler.
pub fn infer(op: &Op, srcs: &[&Meta]) -> Result<Vec<Meta>, String> {
    let one = |shape: Shape, dtype: DType| {
        if shape.checked_numel().is_none() {
            return Err(format!("a result of shape {shape} has more elements than memory can address"));
        }
        Ok(vec![Meta { shape, dtype }])
    };
    match (op, srcs) {
        (Op::Leaf, _) => Err("leaves are made from storages".into()),
        (Op::Scalar { dtype, .. }, []) => one(Shape::scalar(), *dtype),
        (Op::Iota { shape, .. }, []) => one(shape.clone(), DType::I32),
        (Op::Random { shape, distribution, .. }, []) => one(
            shape.clone(),
            match distribution {
                Distribution::Bits => DType::U32,
                Distribution::Uniform | Distribution::Normal => DType::F32,
            },
        ),
        (Op::Unary(op), [x]) => one(x.shape.clone(), unary(*op, x.dtype)?),
        (Op::Binary(op), [a, b]) => {
            same_shape(a, b)?;
            same_dtype(a, b)?;
            one(a.shape.clone(), binary(*op, a.dtype)?)
        }
        (Op::Select, [c, a, b]) => {
            same_shape(c, a)?;
            same_shape(a, b)?;
            same_dtype(a, b)?;
            if c.dtype != DType::Bool {
                return Err(format!("the condition must be bool, not {}", c.dtype));
            }
            one(a.shape.clone(), a.dtype)
        }
        (Op::Cast(dtype), [x]) => one(x.shape.clone(), *dtype),
        (Op::Reshape(shape), [x]) => {
            if shape.checked_numel() != Some(x.shape.numel()) {
                return Err(format!("cannot reshape {} ({} elements) to {shape}", x.shape, x.shape.numel()));
            }
            one(shape.clone(), x.dtype)
        }
        (Op::Permute(axes), [x]) => {
            let mut sorted = axes.clone();
            sorted.sort_unstable();
            if sorted.len() != x.shape.rank() || sorted.iter().enumerate().any(|(i, &a)| a != i) {
                return Err(format!("{axes:?} is no permutation of the axes of {}", x.shape));
            }
            one(axes.iter().map(|&a| x.shape[a]).collect(), x.dtype)
        }
        (Op::Expand(shape), [x]) => {
            let fits =
                shape.rank() == x.shape.rank() && x.shape.iter().zip(shape.iter()).all(|(&s, &d)| s == d || s == 1);
            if !fits {
                return Err(format!("cannot expand {} to {shape}", x.shape));
            }
            one(shape.clone(), x.dtype)
        }
        (Op::Slice { starts, steps, shape }, [x]) => {
            let inside = |i: usize| {
                let (n, size) = (x.shape[i] as i64, shape[i] as i64);
                let last = starts[i] as i64 + (size - 1) * steps[i];
                size == 0 || ((starts[i] as i64) < n && (0..n).contains(&last))
            };
            let rank = x.shape.rank();
            if starts.len() != rank || steps.len() != rank || shape.rank() != rank || !(0..rank).all(inside) {
                return Err(format!("slice {shape} from {starts:?} by {steps:?} leaves {}", x.shape));
            }
            one(shape.clone(), x.dtype)
        }
        (Op::Unfold { axis, size, step, dilation }, [x]) => {
            let n = x.shape.get(*axis).copied().ok_or_else(|| format!("axis {axis} is not in {}", x.shape))?;
            let span = size.checked_sub(1).and_then(|s| s.checked_mul(*dilation)).map(|s| s + 1);
            match span {
                Some(span) if span <= n && *step > 0 => {
                    let mut shape = x.shape.clone();
                    shape.dims_mut()[*axis] = (n - span) / step + 1;
                    shape.dims_mut().push(*size);
                    one(shape, x.dtype)
                }
                _ => Err(format!(
                    "windows of {size} by step {step} and dilation {dilation} do not fit an axis of size {n}"
                )),
            }
        }
        (Op::Pad { lo, hi }, [x, fill]) => {
            same_dtype(x, fill)?;
            if lo.len() != x.shape.rank() || hi.len() != x.shape.rank() || fill.shape.rank() != 0 {
                return Err(format!("padding {lo:?} and {hi:?} does not fit {}", x.shape));
            }
            let sizes: Option<Vec<usize>> =
                (0..lo.len()).map(|i| x.shape[i].checked_add(lo[i])?.checked_add(hi[i])).collect();
            match sizes {
                Some(sizes) => one(sizes.into(), x.dtype),
                None => Err(format!("padding {lo:?} and {hi:?} overflows")),
            }
        }
        (Op::Concat { axis }, [first, rest @ ..]) => {
            let mut shape = first.shape.clone();
            if *axis >= shape.rank() {
                return Err(format!("axis {axis} is not in {shape}"));
            }
            for other in rest {
                same_dtype(first, other)?;
                if other.shape.rank() != shape.rank() || other.shape.without(&[*axis]) != first.shape.without(&[*axis])
                {
                    return Err(format!("shapes {} and {} differ outside axis {axis}", first.shape, other.shape));
                }
                shape.dims_mut()[*axis] = shape[*axis].checked_add(other.shape[*axis]).ok_or("the size overflows")?;
            }
            one(shape, first.dtype)
        }
        (Op::Reduce { op, axes }, [x]) => {
            reduced(*op, axes, x)?;
            one(x.shape.without(axes), x.dtype)
        }
        (Op::ArgReduce { op, axes }, [x]) => {
            reduced(*op, axes, x)?;
            let shape = x.shape.without(axes);
            Ok(vec![Meta { shape: shape.clone(), dtype: x.dtype }, Meta { shape, dtype: DType::I32 }])
        }
        (Op::Matmul, [a, b]) => {
            same_dtype(a, b)?;
            float(a)?;
            let (ra, rb) = (a.shape.rank(), b.shape.rank());
            if ra < 2 || ra != rb || a.shape[..ra - 2] != b.shape[..rb - 2] {
                return Err(format!("cannot multiply {} by {}", a.shape, b.shape));
            }
            if a.shape[ra - 1] != b.shape[rb - 2] {
                return Err(format!(
                    "cannot multiply {} by {}: the inner sizes {} and {} differ",
                    a.shape,
                    b.shape,
                    a.shape[ra - 1],
                    b.shape[rb - 2]
                ));
            }
            let mut shape = a.shape.clone();
            shape.dims_mut()[ra - 1] = b.shape[rb - 1];
            one(shape, a.dtype)
        }
        (Op::Conv(spec), [x, w]) => {
            same_dtype(x, w)?;
            float(x)?;
            let bad = |why: &str| Err(format!("input {} and weight {}: {why}", x.shape, w.shape));
            if x.shape.rank() != 4 || w.shape.rank() != 4 {
                return bad("both need four axes, [n, c, h, w] and [o, c/groups, kh, kw]");
            }
            if spec.groups == 0 || spec.stride.contains(&0) || spec.dilation.contains(&0) {
                return bad("groups, stride and dilation must not be 0");
            }
            if w.shape[1].checked_mul(spec.groups) != Some(x.shape[1]) || w.shape[0] % spec.groups != 0 {
                return bad(&format!("the channels do not fit {} group(s)", spec.groups));
            }
            match (spec.output(0, x.shape[2], w.shape[2]), spec.output(1, x.shape[3], w.shape[3])) {
                (Some(oh), Some(ow)) => one([x.shape[0], w.shape[0], oh, ow].into(), x.dtype),
                _ => bad("the kernel is larger than the padded input"),
            }
        }
        (Op::ConvDataGrad { spec, input }, [dy, w]) => {
            same_dtype(dy, w)?;
            float(dy)?;
            one([dy.shape[0], w.shape[1] * spec.groups, input[0], input[1]].into(), dy.dtype)
        }
        (Op::ConvFilterGrad { spec, kernel }, [x, dy]) => {
            same_dtype(x, dy)?;
            float(x)?;
            one([dy.shape[1], x.shape[1] / spec.groups, kernel[0], kernel[1]].into(), x.dtype)
        }
        (Op::Gather { axis }, [x, index]) => {
            indexed(*axis, x, index)?;
            one(index.shape.clone(), x.dtype)
        }
        (Op::Scatter { op, axis }, [x, index, src]) => {
            indexed(*axis, x, index)?;
            same_dtype(x, src)?;
            same_shape(index, src)?;
            match op {
                ReduceOp::Sum if x.dtype == DType::Bool => Err("bool cannot be added".into()),
                ReduceOp::Max | ReduceOp::Min if !x.dtype.is_int() => Err(format!("is not defined for {}", x.dtype)),
                ReduceOp::Prod => Err("products at indexed places are not defined".into()),
                _ => one(x.shape.clone(), x.dtype),
            }
        }
        (Op::Scan { op: ScanOp::Linear, axis }, [a, b]) => {
            within(*axis, b)?;
            same_shape(a, b)?;
            same_dtype(a, b)?;
            if b.dtype == DType::Bool {
                return Err("is not defined for bool".into());
            }
            one(b.shape.clone(), b.dtype)
        }
        (Op::Scan { op, axis }, [x]) if *op != ScanOp::Linear => {
            within(*axis, x)?;
            match op {
                ScanOp::LogSumExp => float(x)?,
                ScanOp::Sum | ScanOp::Prod if x.dtype == DType::Bool => {
                    return Err("is not defined for bool; cast first".into());
                }
                _ => {}
            }
            let found = op.finds().then(|| Meta { shape: x.shape.clone(), dtype: DType::I32 });
            Ok(std::iter::once((*x).clone()).chain(found).collect())
        }
        (Op::Sort { axis, .. }, [x]) => {
            within(*axis, x)?;
            Ok(vec![(*x).clone(), Meta { shape: x.shape.clone(), dtype: DType::I32 }])
        }
        (Op::Custom(custom), srcs) => {
            let inputs: Vec<Meta> = srcs.iter().map(|&m| m.clone()).collect();
            let outputs = custom.0.outputs(&inputs)?;
            match outputs.iter().find(|m| m.shape.checked_numel().is_none()) {
                _ if outputs.is_empty() => Err("a custom op needs at least one output".into()),
                Some(m) => Err(format!("a result of shape {} has more elements than memory can address", m.shape)),
                None => Ok(outputs),
            }
        }
        (op, srcs) => Err(format!("{} does not take {} operand(s)", op.name(), srcs.len())),
    }
}

fn unary(op: UnaryOp, x: DType) -> Result<DType, String> {
    use UnaryOp::*;
    let ok = match op {
        Neg => x.is_signed(),
        Abs | Sign | Relu | Floor | Ceil | Round | Trunc => x != DType::Bool,
        BitNot => !x.is_float(),
        Not => true,
        _ => x.is_float(),
    };
    match ok {
        true if op.is_predicate() => Ok(DType::Bool),
        true => Ok(x),
        false => Err(format!("is not defined for {x}")),
    }
}

fn binary(op: super::BinaryOp, x: DType) -> Result<DType, String> {
    use super::BinaryOp::*;
    let ok = match op {
        Sub | Div | Rem | FloorDiv | Shl | Shr => x != DType::Bool,
        Pow | Atan2 => x.is_float(),
        And | Or | Xor => !x.is_float(),
        _ => true,
    } && !(matches!(op, Shl | Shr) && x.is_float());
    match ok {
        true if op.is_comparison() => Ok(DType::Bool),
        true => Ok(x),
        false => Err(format!("is not defined for {x}")),
    }
}

fn reduced(op: ReduceOp, axes: &[usize], x: &Meta) -> Result<(), String> {
    if !axes.is_sorted_by(|a, b| a < b) || axes.last().is_some_and(|&a| a >= x.shape.rank()) {
        return Err(format!("axes {axes:?} are not ascending axes of {}", x.shape));
    }
    match op {
        ReduceOp::Max | ReduceOp::Min if axes.iter().any(|&a| x.shape[a] == 0) => {
            Err(format!("the {} over no elements is not defined (shape {}, axes {axes:?})", op.name(), x.shape))
        }
        ReduceOp::Sum | ReduceOp::Prod if x.dtype == DType::Bool => Err("is not defined for bool; cast first".into()),
        _ => Ok(()),
    }
}

fn indexed(axis: usize, x: &Meta, index: &Meta) -> Result<(), String> {
    if index.dtype != DType::I32 {
        return Err(format!("indices must be i32, not {}", index.dtype));
    }
    let same = axis < x.shape.rank()
        && index.shape.rank() == x.shape.rank()
        && x.shape.without(&[axis]) == index.shape.without(&[axis]);
    if !same {
        return Err(format!("index {} does not fit {} along axis {axis}", index.shape, x.shape));
    }
    if x.shape[axis] == 0 && index.shape.numel() > 0 {
        return Err(format!("there is nothing to index along axis {axis} of {}", x.shape));
    }
    Ok(())
}

fn within(axis: usize, x: &Meta) -> Result<(), String> {
    match x.shape.get(axis) {
        None => Err(format!("axis {axis} is not in {}", x.shape)),
        Some(&n) if n > i32::MAX as usize => Err(format!("an axis of size {n} is beyond i32")),
        Some(_) => Ok(()),
    }
}

fn float(x: &Meta) -> Result<(), String> {
    if x.dtype.is_float() { Ok(()) } else { Err(format!("is not defined for {}", x.dtype)) }
}

fn same_shape(a: &Meta, b: &Meta) -> Result<(), String> {
    if a.shape == b.shape { Ok(()) } else { Err(format!("shapes {} and {} differ", a.shape, b.shape)) }
}

fn same_dtype(a: &Meta, b: &Meta) -> Result<(), String> {
    if a.dtype == b.dtype { Ok(()) } else { Err(format!("dtypes {} and {} differ", a.dtype, b.dtype)) }
}
