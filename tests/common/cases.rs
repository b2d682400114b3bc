//! One table of ops: each case is run on every device against the CPU, and its gradient against differences in f64.

use sunstone::prelude::*;
use sunstone::tensor::PoolOptions;

/// Which numbers an op wants.
#[derive(Clone, Copy, Debug)]
pub enum Domain {
    /// [-2, 2)
    Any,
    /// [0.2, 2.2)
    Positive,
    /// (-0.9, 0.9)
    Unit,
}
use Domain::*;

pub struct Case {
    pub name: &'static str,
    pub inputs: Vec<(Vec<usize>, Domain)>,
    pub f: fn(&[Tensor]) -> Tensor,
    /// Smooth at the given numbers, so that differences mean something.
    pub smooth: bool,
}

impl Case {
    /// The inputs' numbers, in f64.
    pub fn data(&self) -> Vec<Vec<f64>> {
        let make = |(k, (shape, domain)): (usize, &(Vec<usize>, Domain))| {
            let n = shape.iter().product();
            let numbers = crate::common::numbers(n, k as u64 + 11);
            let fit = |v: f32| match domain {
                Any => v as f64,
                Positive => v.abs() as f64 + 0.2,
                Unit => v as f64 * 0.45,
            };
            numbers.into_iter().map(fit).collect()
        };
        self.inputs.iter().enumerate().map(make).collect()
    }
}

fn index(values: &[i32], like: &Tensor) -> Tensor {
    Tensor::from_slice(values, [values.len()], &like.device())
}

macro_rules! case {
    ($list:ident, $name:literal, [$($shape:expr => $domain:expr),*], $f:expr) => {
        $list.push(Case { name: $name, inputs: vec![$(($shape.to_vec(), $domain)),*], f: $f, smooth: true })
    };
    ($list:ident, $name:literal, [$($shape:expr => $domain:expr),*], $f:expr, rough) => {
        $list.push(Case { name: $name, inputs: vec![$(($shape.to_vec(), $domain)),*], f: $f, smooth: false })
    };
}

/// Shapes are odd on purpose: primes, ones, more rows than a workgroup, transposed and sliced operands.
pub fn cases() -> Vec<Case> {
    let mut c: Vec<Case> = Vec::new();
    let s = [3usize, 7];
    // ---- maps
    case!(c, "neg", [s => Any], |v| -&v[0]);
    case!(c, "abs", [s => Any], |v| v[0].abs());
    case!(c, "sign", [s => Any], |v| v[0].sign());
    case!(c, "sqrt", [s => Positive], |v| v[0].sqrt());
    case!(c, "rsqrt", [s => Positive], |v| v[0].rsqrt());
    case!(c, "recip", [s => Positive], |v| v[0].recip());
    case!(c, "exp", [s => Any], |v| v[0].exp());
    case!(c, "exp2", [s => Any], |v| v[0].exp2());
    case!(c, "expm1", [s => Any], |v| v[0].expm1());
    case!(c, "log", [s => Positive], |v| v[0].log());
    case!(c, "log2", [s => Positive], |v| v[0].log2());
    case!(c, "log10", [s => Positive], |v| v[0].log10());
    case!(c, "log1p", [s => Unit], |v| v[0].log1p());
    case!(c, "sin", [s => Any], |v| v[0].sin());
    case!(c, "cos", [s => Any], |v| v[0].cos());
    case!(c, "tan", [s => Unit], |v| v[0].tan());
    case!(c, "asin", [s => Unit], |v| v[0].asin());
    case!(c, "acos", [s => Unit], |v| v[0].acos());
    case!(c, "atan", [s => Any], |v| v[0].atan());
    case!(c, "sinh", [s => Any], |v| v[0].sinh());
    case!(c, "cosh", [s => Any], |v| v[0].cosh());
    case!(c, "tanh", [s => Any], |v| v[0].tanh());
    case!(c, "erf", [s => Any], |v| v[0].erf());
    case!(c, "sigmoid", [s => Any], |v| v[0].sigmoid());
    case!(c, "relu", [s => Any], |v| v[0].relu());
    case!(c, "silu", [s => Any], |v| v[0].silu());
    case!(c, "gelu", [s => Any], |v| v[0].gelu());
    case!(c, "square", [s => Any], |v| v[0].square());
    case!(c, "powf", [s => Positive], |v| v[0].powf(2.7));
    case!(c, "floor", [s => Any], |v| v[0].floor());
    case!(c, "ceil", [s => Any], |v| v[0].ceil());
    case!(c, "round", [s => Any], |v| v[0].round());
    case!(c, "trunc", [s => Any], |v| v[0].trunc());
    case!(c, "clamp", [s => Any], |v| v[0].clamp(-0.7, 1.1));
    case!(c, "add broadcast", [[3, 1, 7] => Any, [5, 1] => Any], |v| &v[0] + &v[1]);
    case!(c, "sub broadcast", [[7] => Any, [3, 7] => Any], |v| &v[0] - &v[1]);
    case!(c, "mul", [s => Any, s => Any], |v| &v[0] * &v[1]);
    case!(c, "mul self", [s => Any], |v| &v[0] * &v[0]);
    case!(c, "div", [s => Any, s => Positive], |v| &v[0] / &v[1]);
    case!(c, "scalar left", [s => Positive], |v| 2.0 - 3.0 / &v[0]);
    case!(c, "pow", [s => Positive, s => Any], |v| v[0].pow(&v[1]));
    case!(c, "remainder", [s => Any, s => Positive], |v| v[0].remainder(&v[1]));
    case!(c, "floor_divide", [s => Any, s => Positive], |v| v[0].floor_divide(&v[1]));
    case!(c, "maximum", [s => Any, s => Any], |v| v[0].maximum(&v[1]));
    case!(c, "minimum", [s => Any, s => Any], |v| v[0].minimum(&v[1]));
    case!(c, "atan2", [s => Any, s => Positive], |v| v[0].atan2(&v[1]));
    case!(c, "where", [s => Any, s => Any, [7] => Any], |v| v[0].where_(&v[1].gt(0.0), &v[2]));
    case!(c, "masked_fill", [s => Any], |v| v[0].masked_fill(&v[0].lt(0.3), 5.0));
    case!(c, "comparisons", [s => Any, s => Any], |v| {
        let (a, b) = (&v[0], &v[1].round());
        let a = &a.round();
        [a.eq(b), a.ne(b), a.lt(b), a.le(b), a.gt(b), a.ge(b)].iter().enumerate()
            .fold(a.zeros_like(), |sum, (i, m)| sum + m.cast(a.dtype()) * (1 << i))
    }, rough);
    case!(c, "logic", [s => Any, s => Any], |v| {
        let (p, q) = (v[0].gt(0.0), v[1].gt(0.0));
        [p.bitwise_and(&q), p.bitwise_or(&q), p.bitwise_xor(&q), p.logical_not(), q.bitwise_not()].iter().enumerate()
            .fold(v[0].zeros_like(), |sum, (i, m)| sum + m.cast(v[0].dtype()) * (1 << i))
    }, rough);
    case!(c, "integers", [s => Any, s => Any], |v| {
        let (a, b) = ((&v[0] * 100.0).cast(DType::I32), (&v[1] * 3.0).cast(DType::I32));
        let sum = a.remainder(&b) + a.floor_divide(&b) * 7 + a.bitwise_and(&b) - a.bitwise_xor(&b);
        (sum + a.shl(b.abs()) + a.shr(b.abs()) + a.maximum(&b) + a.bitwise_not() - a.neg().sign()).cast(v[0].dtype())
    }, rough);
    // ---- views and layout
    case!(c, "transpose", [[5, 3] => Any], |v| v[0].t() * 2.0);
    case!(c, "permute", [[2, 3, 5] => Any], |v| v[0].permute(&[2, 0, 1]).exp());
    case!(c, "reshape of a transpose", [[4, 6] => Any], |v| v[0].t().reshape([3, -1]) * 2.0);
    case!(c, "reshape through a map", [[4, 6] => Any], |v| v[0].exp().reshape([2, 2, 6]).permute(&[0, 2, 1]).sin());
    case!(c, "reshape that must copy", [[4, 6] => Any], |v| (v[0].t() * 2.0).reshape([8, 3]).permute(&[1, 0]).exp());
    case!(c, "flatten and squeeze", [[2, 1, 3, 1] => Any], |v| v[0].squeeze(..).flatten(0, 1).unsqueeze(0).exp());
    case!(c, "slices", [[6, 7] => Any], |v| v[0].slice((1..5, step(.., 2))) * v[0].slice((step(.., -1), 3)).slice(..4).unsqueeze(1));
    case!(c, "flip", [[3, 4] => Any], |v| v[0].flip(..) + v[0].flip(0));
    case!(c, "narrow of narrow", [[9] => Any], |v| v[0].narrow(0, 2, 6).narrow(0, 1, 3) * 3.0);
    case!(c, "expand", [[3, 1] => Any], |v| v[0].expand([2, 3, 4]).sin());
    case!(c, "pad", [[3, 4] => Any], |v| v[0].pad(&[(1, 0), (2, 3)], 1.5).square());
    case!(c, "pad of a map", [[3, 4] => Any], |v| v[0].exp().pad(&[(0, 2), (1, 1)], -1.0).slice((1.., ..)));
    case!(c, "cat", [[2, 3] => Any, [4, 3] => Any, [1, 3] => Any], |v| Tensor::cat(&[&v[0].exp(), &v[1], &v[2]], 0).sin());
    case!(c, "cat of many", [[2, 3] => Any], |v| {
        let parts: Vec<Tensor> = (0..11).map(|i| &v[0] * i as f64).collect();
        Tensor::cat(&parts.iter().collect::<Vec<_>>(), 1)
    });
    case!(c, "stack", [[2, 3] => Any, [2, 3] => Any], |v| Tensor::stack(&[&v[0], &v[1]], 1) * 2.0);
    case!(c, "split", [[7, 2] => Any], |v| v[0].split(3, 0).iter().map(|p| p.sum(0)).reduce(|a, b| a * b).unwrap());
    case!(c, "unfold", [[2, 9] => Any], |v| v[0].unfold(1, 3, 2).square());
    case!(c, "unfold overlapping by one", [[8] => Any], |v| v[0].unfold(0, 4, 1).exp());
    case!(c, "unfold apart", [[11] => Any], |v| v[0].unfold(0, 2, 3).exp());
    // ---- folds
    case!(c, "sum all", [[5, 7] => Any], |v| v[0].sum(..));
    case!(c, "sum rows", [[5, 7] => Any], |v| v[0].exp().sum(-1).log());
    case!(c, "sum columns", [[300, 5] => Any], |v| v[0].sum(0));
    case!(c, "sum middle", [[3, 5, 4] => Any], |v| v[0].sum_keepdim(1) * 2.0);
    case!(c, "sum outer axes", [[3, 5, 4] => Any], |v| v[0].sum([0, 2]));
    case!(c, "sum long rows", [[3, 1100] => Any], |v| (&v[0] * &v[0]).sum(1));
    case!(c, "sum of a transpose", [[6, 5] => Any], |v| v[0].t().sum(0));
    case!(c, "sum of one", [[4, 1, 3] => Any], |v| v[0].sum(1).exp());
    case!(c, "sum of a broadcast", [[3, 1] => Any], |v| v[0].expand([3, 4]).sum(..));
    case!(c, "prod", [[3, 5] => Positive], |v| v[0].prod(1));
    case!(c, "mean", [[3, 5] => Any], |v| v[0].mean(0));
    case!(c, "var", [[3, 5] => Any], |v| v[0].var(1, 1.0));
    case!(c, "std", [[3, 5] => Any], |v| v[0].std(.., 0.0));
    case!(c, "max", [[3, 5] => Any], |v| v[0].max(1));
    case!(c, "min all", [[3, 5] => Any], |v| v[0].min(..));
    case!(c, "max with indices", [[3, 5] => Any], |v| {
        let (m, i) = v[0].max_with_indices(1);
        m * (i.cast(v[0].dtype()) + 1.0)
    });
    case!(c, "min with indices over two axes", [[3, 5, 2] => Any], |v| {
        let (m, i) = v[0].min_with_indices([0, 2]);
        m.exp() + i.cast(v[0].dtype())
    });
    case!(c, "argmax argmin", [[4, 9] => Any], |v| (v[0].argmax(1) * 10 + v[0].argmin(-1)).cast(v[0].dtype()), rough);
    case!(c, "any all", [[4, 3] => Any], |v| {
        let m = v[0].gt(0.5);
        m.any(1).cast(v[0].dtype()) + m.all(1).cast(v[0].dtype()) * 2.0 + m.sum(1).cast(v[0].dtype()) * 4.0
    }, rough);
    case!(c, "two folds of one operand", [[5, 7] => Any], |v| v[0].sum(1) * v[0].square().sum(1));
    case!(c, "fold of a fold", [[5, 7] => Any], |v| v[0].square().sum(1).exp().sum(0));
    case!(c, "folds along both axes", [[5, 7] => Any], |v| v[0].sum_keepdim(1) * v[0].sum_keepdim(0));
    case!(c, "few long rows", [[2, 3000] => Any], |v| &v[0] / v[0].square().sum_keepdim(1));
    // ---- rows
    case!(c, "softmax", [[5, 7] => Any], |v| v[0].softmax(-1));
    case!(c, "softmax along columns", [[5, 7] => Any], |v| v[0].softmax(0));
    case!(c, "log_softmax", [[5, 7] => Any], |v| v[0].log_softmax(1));
    case!(c, "logsumexp", [[5, 7] => Any], |v| v[0].logsumexp(1));
    case!(c, "layer_norm", [[5, 7] => Any], |v| v[0].layer_norm(1, 1e-5));
    case!(c, "layer_norm over two axes", [[4, 3, 5] => Any], |v| v[0].layer_norm(2, 1e-5));
    case!(c, "cross_entropy", [[4, 5] => Any], |v| v[0].cross_entropy(&index(&[1, 0, 4, 4], &v[0])));
    case!(c, "mse_loss", [[4, 5] => Any, [4, 5] => Any], |v| v[0].mse_loss(&v[1]));
    // ---- indices
    case!(c, "gather", [[4, 3] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 1, 2, 0], [2, 3], &v[0].device());
        v[0].gather(0, &i).exp()
    });
    case!(c, "gather with a computed index", [[4, 5] => Any], |v| v[0].gather(1, &v[0].argmax(1).unsqueeze(1)));
    case!(c, "gather from a transpose", [[3, 4] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 1, 2, 0], [2, 3], &v[0].device());
        v[0].t().gather(0, &i)
    });
    case!(c, "index_select", [[5, 3] => Any], |v| v[0].index_select(0, &index(&[4, 4, 0], &v[0])) * 2.0);
    case!(c, "embedding", [[5, 3] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 1, 2, 0], [2, 3], &v[0].device());
        v[0].embedding(&i).sin()
    });
    case!(c, "scatter_add", [[4, 3] => Any, [2, 3] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 0, 2, 3], [2, 3], &v[0].device());
        v[0].scatter_add(0, &i, &v[1]).square()
    });
    case!(c, "gather of a part", [[4, 5] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 1, 2, 0], [2, 3], &v[0].device());
        v[0].gather(0, &i).exp()
    });
    case!(c, "scatter_add of a part", [[4, 5] => Any, [3, 4] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 0, 2, 3], [2, 3], &v[0].device());
        v[0].scatter_add(0, &i, &v[1]).square()
    });
    case!(c, "scatter", [[4, 3] => Any, [3, 3] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 0, 2, 3, 0, 1, 3], [3, 3], &v[0].device());
        v[0].scatter(0, &i, &v[1]).square()
    });
    case!(c, "scatter of a part", [[3, 2, 4] => Any, [3, 2, 5] => Any], |v| {
        let i = Tensor::from_slice(&[3, 0, 1, 1, 1, 2], [2, 1, 3], &v[0].device());
        v[0].scatter(-1, &i, &v[1]).exp()
    });
    case!(c, "take_along", [[4, 1, 3] => Any], |v| {
        let i = Tensor::from_slice(&[0, 3, 3, 1, 2, 0], [3, 2, 1], &v[0].device());
        v[0].take_along(&i, 0).sin()
    });
    case!(c, "take", [[4, 3] => Any], |v| {
        v[0].take(&Tensor::from_slice(&[0, 11, 11, 5], [2, 2], &v[0].device())).exp()
    });
    case!(c, "index", [[4, 3, 2] => Any], |v| {
        let i = Tensor::from_slice(&[0, -1, 3], [3, 1], &v[0].device());
        let j = Tensor::from_slice(&[0, 2], [2], &v[0].device());
        v[0].index(&[&i, &j]).exp()
    });
    case!(c, "index_put", [[4, 3, 2] => Any, [2, 1] => Any], |v| {
        let i = Tensor::from_slice(&[0, -1, 3], [3, 1], &v[0].device());
        let j = Tensor::from_slice(&[0, 2], [2], &v[0].device());
        v[0].index_put(&[&i, &j], &v[1], false).square()
    });
    case!(c, "index_put that accumulates", [[4, 3] => Any, [3, 3] => Any], |v| {
        v[0].index_put(&[&index(&[0, -1, 3], &v[0])], &v[1], true).square()
    });
    case!(c, "index_add", [[4, 3] => Any, [4, 2] => Any], |v| v[0].index_add(1, &index(&[2, 2], &v[0]), &v[1]).sin());
    case!(c, "index_copy", [[4, 3] => Any, [2, 3] => Any], |v| v[0].index_copy(0, &index(&[2, 0], &v[0]), &v[1]).sin());
    case!(c, "index_fill", [[4, 3] => Any], |v| v[0].index_fill(1, &index(&[2, 0], &v[0]), 7.0).sin());
    // ---- order
    case!(c, "cumsum", [[3, 5] => Any], |v| v[0].cumsum(1).sin());
    case!(c, "cumsum of columns", [[5, 2, 3] => Any], |v| v[0].cumsum(0).sin());
    case!(c, "cumsum of long rows", [[2, 1500] => Any], |v| v[0].cumsum(-1));
    case!(c, "cumsum of many columns", [[70, 4100] => Any], |v| v[0].cumsum(0));
    case!(c, "cumprod", [[3, 5] => Any], |v| v[0].cumprod(1).sin());
    case!(c, "cumprod with zeros", [[2, 5] => Any], |v| {
        let some = index(&[1, 0, 1, 0, 1], &v[0]).cast(v[0].dtype());
        (&v[0] * some).cumprod(1).sin()
    });
    case!(c, "cumprod of long rows", [[2, 70] => Positive], |v| (&v[0] * 0.75).cumprod(1));
    case!(c, "cummax", [[3, 5] => Any], |v| {
        let (m, i) = v[0].cummax(1);
        m.exp() * (i.cast(v[0].dtype()) + 1.0)
    });
    case!(c, "cummin of long rows", [[2, 1100] => Any], |v| {
        let (m, i) = v[0].cummin(1);
        m + i.cast(v[0].dtype()) * 0.125
    });
    case!(c, "logcumsumexp", [[3, 5] => Any], |v| v[0].logcumsumexp(1).sin());
    case!(c, "logcumsumexp of long rows", [[2, 100] => Any], |v| (&v[0] * 9.0).logcumsumexp(1));
    case!(c, "linear_scan", [[3, 5] => Any, [3, 5] => Any], |v| v[0].linear_scan(&v[1], 1).sin());
    case!(c, "linear_scan of long rows", [[2, 100] => Any, [100] => Unit], |v| v[0].linear_scan(&v[1], -1));
    case!(c, "scans of integers", [[3, 90] => Any], |v| {
        let x = (&v[0] * 10.0).cast(DType::I32);
        let small = x.abs().cast(DType::U8);
        let (m, i) = small.cummin(1);
        let (t, j) = x.gt(12).cummax(1);
        let odd = (&small * 2u8 + 1u8).cumprod(1);
        [x.cumsum(1), small.cumsum(1), m, i, t.cast(DType::I32), j, odd, x.gt(0).cumsum(1), x.cummax(1).0]
            .iter().enumerate().fold(v[0].zeros_like(), |sum, (k, y)| sum + y.cast(v[0].dtype()) * (k + 1) as f64)
    }, rough);
    case!(c, "sort", [[3, 5] => Any], |v| {
        let (x, i) = v[0].sort(1, false);
        x.exp() * (i.cast(v[0].dtype()) + 1.0)
    });
    case!(c, "sort of columns, descending", [[5, 3] => Any], |v| v[0].sort(0, true).0.exp().cumsum(0));
    case!(c, "sort of long rows", [[2, 2500] => Any], |v| {
        let (x, i) = v[0].sort(1, false);
        x + i.cast(v[0].dtype()) * 0.125
    });
    case!(c, "sort of long columns", [[1100, 2] => Any], |v| v[0].sort(0, true).0);
    case!(c, "sort of integers", [[3, 90] => Any], |v| {
        let x = (&v[0] * 10.0).cast(DType::I32);
        let small = x.abs().cast(DType::U8);
        let (a, i) = x.sort(1, true);
        let (b, j) = small.sort(1, false);
        let (t, k) = x.gt(0).sort(1, true);
        [a, i, b, j, t.cast(DType::I32), k, small.cast(DType::U32).argsort(1, false)].iter().enumerate()
            .fold(v[0].zeros_like(), |sum, (k, y)| sum + y.cast(v[0].dtype()) * (k + 1) as f64)
    }, rough);
    case!(c, "topk", [[3, 7] => Any], |v| v[0].topk(3, 1, true).0.exp() * v[0].topk(3, 1, false).0);
    case!(c, "kthvalue and median", [[3, 7] => Any], |v| v[0].kthvalue(2, 1).0.exp() * v[0].median(1).0 + v[0].median_all());
    case!(c, "searchsorted", [[3, 7] => Any, [3, 5] => Any], |v| {
        let sorted = v[0].sort(1, false).0;
        let (a, b) = (sorted.searchsorted(&v[1], false), v[1].bucketize(&sorted.narrow(0, 1, 1).squeeze(0), true));
        (a * 10 + b).cast(v[0].dtype())
    }, rough);
    case!(c, "one_hot", [[4] => Any], |v| {
        v[0].abs().cast(DType::I32).one_hot(3).cast(v[0].dtype()) * v[0].unsqueeze(1)
    });
    // ---- contractions
    case!(c, "matmul", [[5, 3] => Any, [3, 7] => Any], |v| v[0].matmul(&v[1]));
    case!(c, "matmul of transposes", [[3, 5] => Any, [7, 3] => Any], |v| v[0].t().matmul(&v[1].t()));
    case!(c, "matmul of slices", [[6, 8] => Any, [9, 4] => Any], |v| {
        v[0].slice((1..4, step(.., 2))).matmul(&v[1].slice((step(.., -2), ..)).slice(..4))
    });
    case!(c, "matmul with epilogue", [[5, 3] => Any, [3, 7] => Any, [7] => Any], |v| (v[0].matmul(&v[1]) + &v[2]).tanh() * 2.0);
    case!(c, "matmul with residual", [[5, 3] => Any, [3, 3] => Any], |v| v[0].matmul(&v[1]).sigmoid() + &v[0]);
    case!(c, "matmul of maps", [[5, 3] => Any, [3, 7] => Any], |v| v[0].exp().matmul(&v[1].sin()));
    case!(c, "matmul larger than a tile", [[70, 33] => Unit, [33, 67] => Unit], |v| v[0].matmul(&v[1]));
    case!(c, "batched matmul", [[2, 3, 4] => Any, [2, 4, 5] => Any], |v| v[0].matmul(&v[1]));
    case!(c, "broadcast matmul", [[2, 1, 3, 4] => Any, [3, 4, 2] => Any], |v| v[0].matmul(&v[1]));
    case!(c, "matmul of rows", [[2, 3, 4] => Any, [4, 5] => Any, [5] => Any], |v| (v[0].matmul(&v[1]) + &v[2]).relu());
    case!(c, "matrix and vector", [[3, 4] => Any, [4] => Any], |v| v[0].matmul(&v[1]) * 2.0);
    case!(c, "vector and vector", [[4] => Any, [4] => Any], |v| v[0].matmul(&v[1]));
    case!(c, "matmul of one", [[1, 1] => Any, [1, 1] => Any], |v| v[0].matmul(&v[1]));
    case!(c, "conv2d", [[2, 3, 5, 6] => Any, [4, 3, 3, 2] => Any], |v| v[0].conv2d(&v[1], ConvSpec::default()));
    case!(c, "conv2d strided", [[2, 2, 7, 6] => Any, [4, 2, 3, 3] => Any], |v| {
        v[0].conv2d(&v[1], ConvSpec { stride: [2, 3], padding: [1, 2], ..ConvSpec::default() })
    });
    case!(c, "conv2d dilated groups", [[1, 4, 7, 7] => Any, [6, 2, 3, 3] => Any], |v| {
        v[0].conv2d(&v[1], ConvSpec { dilation: [2, 1], padding: [2, 0], groups: 2, ..ConvSpec::default() })
    });
    case!(c, "conv2d with epilogue", [[2, 1, 6, 6] => Any, [3, 1, 3, 3] => Any, [3, 1, 1] => Any], |v| {
        (v[0].conv2d(&v[1], ConvSpec { padding: [1, 1], ..ConvSpec::default() }) + &v[2]).tanh()
    });
    case!(c, "conv2d of a transpose", [[2, 5, 6, 3] => Any, [4, 3, 3, 2] => Any], |v| {
        v[0].permute(&[0, 3, 1, 2]).conv2d(&v[1], ConvSpec::default())
    });
    case!(c, "max_pool2d", [[2, 3, 4, 6] => Any], |v| v[0].max_pool2d(PoolOptions::new([2, 2]).stride([2, 2]).padding([0, 0])));
    case!(c, "max_pool2d overlapping", [[1, 2, 7, 6] => Any], |v| v[0].max_pool2d(PoolOptions::new([3, 3]).stride([2, 2]).padding([1, 1])));
    case!(c, "max_pool2d with a rest", [[1, 2, 5, 7] => Any], |v| v[0].max_pool2d(PoolOptions::new([2, 2]).stride([2, 2]).padding([0, 0])));
    case!(c, "avg_pool2d", [[2, 3, 4, 6] => Any], |v| v[0].avg_pool2d(PoolOptions::new([2, 2]).stride([2, 2]).padding([0, 0])).exp());
    case!(c, "avg_pool2d overlapping", [[1, 2, 5, 5] => Any], |v| v[0].avg_pool2d(PoolOptions::new([3, 3]).stride([1, 1]).padding([1, 1])));
    // ---- together
    case!(c, "normalised by a batch", [[4, 3, 2, 2] => Any], |v| {
        let mean = v[0].mean_keepdim([0, 2, 3]);
        let var = v[0].var_keepdim([0, 2, 3], 0.0);
        (&v[0] - mean) * (var + 1e-5).rsqrt()
    });
    case!(c, "attention by hand", [[2, 5, 4] => Any, [2, 5, 4] => Any, [2, 5, 4] => Any], |v| {
        (v[0].matmul(&v[1].t()) * 0.5).softmax(-1).matmul(&v[2])
    });
    c
}
