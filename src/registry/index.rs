//! Picking, placing and ordering elements.

use super::{OpInfo, index, mask, one, op, x};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub(super) const OPS: &[OpInfo] = &[
    op("gather", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[2, 3])], |c| one(c.x(0).gather(c.axis("axis"), c.x(1)))),
    op("take_along", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[2, 3])], |c| {
        one(c.x(0).take_along(c.x(1), c.axis("axis")))
    }),
    op("take", "{}", &[x(&[4, 3]), index(&[2, 3])], |c| one(c.x(0).take(c.x(1)))),
    op("index_select", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[5])], |c| {
        one(c.x(0).index_select(c.axis("axis"), c.x(1)))
    }),
    op("embedding", "{}", &[x(&[4, 3]), index(&[2, 3])], |c| one(c.x(0).embedding(c.x(1)))),
    op("index", "{}", &[x(&[4, 3, 2]), index(&[2, 1]), index(&[5])], |c| one(c.x(0).index(&c.all()[1..]))).variadic(),
    op("index_put", r#"{"accumulate": false}"#, &[x(&[4, 3, 2]), x(&[5, 2]), index(&[5]), index(&[5])], |c| {
        one(c.x(0).index_put(&c.all()[2..], c.x(1), c.flag("accumulate")))
    }),
    op("scatter_add", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[2, 3]), x(&[2, 3])], |c| {
        one(c.x(0).scatter_add(c.axis("axis"), c.x(1), c.x(2)))
    }),
    op("scatter", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[2, 3]), x(&[2, 3])], |c| {
        one(c.x(0).scatter(c.axis("axis"), c.x(1), c.x(2)))
    }),
    op("index_add", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[2]), x(&[2, 3])], |c| {
        one(c.x(0).index_add(c.axis("axis"), c.x(1), c.x(2)))
    }),
    op("index_copy", r#"{"axis": 0}"#, &[x(&[4, 3]), index(&[2]), x(&[2, 3])], |c| {
        one(c.x(0).index_copy(c.axis("axis"), c.x(1), c.x(2)))
    }),
    op("index_fill", r#"{"axis": 0, "value": 1.5}"#, &[x(&[4, 3]), index(&[2])], |c| {
        one(c.x(0).index_fill(c.axis("axis"), c.x(1), c.float("value")))
    }),
    op("masked_select", "{}", &[x(&[4, 3]), mask(&[4, 3])], |c| one(at_once(c.x(0).masked_select(c.x(1))))),
    op("nonzero", "{}", &[x(&[4, 3])], |c| one(at_once(c.x(0).nonzero()))),
    op("sort", r#"{"axis": -1, "descending": false}"#, &[x(&[4, 5])], |c| {
        both(c.x(0).sort(c.axis("axis"), c.flag("descending")))
    }),
    op("argsort", r#"{"axis": -1, "descending": false}"#, &[x(&[4, 5])], |c| {
        one(c.x(0).argsort(c.axis("axis"), c.flag("descending")))
    }),
    op("topk", r#"{"k": 2, "axis": -1, "largest": true}"#, &[x(&[4, 5])], |c| {
        both(c.x(0).topk(c.size("k"), c.axis("axis"), c.flag("largest")))
    }),
    op("kthvalue", r#"{"k": 2, "axis": -1}"#, &[x(&[4, 5])], |c| both(c.x(0).kthvalue(c.size("k"), c.axis("axis")))),
    op("median", r#"{"axis": -1}"#, &[x(&[4, 5])], |c| both(c.x(0).median(c.axis("axis")))),
    op("median_all", "{}", &[x(&[4, 5])], |c| one(c.x(0).median_all())),
    op("searchsorted", r#"{"right": false}"#, &[x(&[2, 5]), x(&[2, 3])], |c| {
        one(c.x(0).searchsorted(c.x(1), c.flag("right")))
    }),
    op("bucketize", r#"{"right": false}"#, &[x(&[2, 5]), x(&[4])], |c| one(c.x(0).bucketize(c.x(1), c.flag("right")))),
    op("cumsum", r#"{"axis": -1}"#, &[x(&[4, 5])], |c| one(c.x(0).cumsum(c.axis("axis")))),
    op("cumprod", r#"{"axis": -1}"#, &[x(&[4, 5])], |c| one(c.x(0).cumprod(c.axis("axis")))),
    op("cummax", r#"{"axis": -1}"#, &[x(&[4, 5])], |c| both(c.x(0).cummax(c.axis("axis")))),
    op("cummin", r#"{"axis": -1}"#, &[x(&[4, 5])], |c| both(c.x(0).cummin(c.axis("axis")))),
    op("logcumsumexp", r#"{"axis": -1}"#, &[x(&[4, 5])], |c| one(c.x(0).logcumsumexp(c.axis("axis")))),
    op("linear_scan", r#"{"axis": -1}"#, &[x(&[4, 5]), x(&[5])], |c| one(c.x(0).linear_scan(c.x(1), c.axis("axis")))),
];

fn both((values, indices): (Tensor, Tensor)) -> Vec<Tensor> {
    vec![values, indices]
}

/// What a future gives that is over at once, as those of the tensor are wherever a thread may block.
fn at_once(future: impl Future<Output = Result<Tensor>>) -> Tensor {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => Tensor::from_result(result),
        Poll::Pending => {
            Tensor::failed(Error::Invalid("its size depends on the data: await the function itself".into()))
        }
    }
}
