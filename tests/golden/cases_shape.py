"""Views and layout."""

import torch
import torch.nn.functional as F

from golden import case, int32_data, integers, randn, special

int32_data("tril", "triu", "pad", "pad_mode", "cat", "diag_embed")

reshape = lambda v, shape: v[0].reshape(shape)
case("reshape", reshape, [randn(4, 6)], smooth=True, shape=[3, -1])
case("reshape", reshape, [randn(2, 0, 3)], shape=[0, 7])
case("reshape", reshape, [randn(1)], shape=[])
flatten = lambda v, start_dim, end_dim: v[0].flatten(start_dim, end_dim)
case("flatten", flatten, [randn(2, 3, 1, 4)], smooth=True, start_dim=1, end_dim=-2)
case("flatten", flatten, [randn()], start_dim=0, end_dim=-1)
case("flatten", flatten, [randn(2, 0, 3)], start_dim=0, end_dim=1)
unflatten = lambda v, axis, sizes: v[0].unflatten(axis, sizes)
case("unflatten", unflatten, [randn(2, 12)], smooth=True, axis=-1, sizes=[3, -1, 2])
case("unflatten", unflatten, [randn(0, 5)], axis=1, sizes=[5, 1])
case("squeeze", lambda v: v[0].squeeze(), [randn(1, 3, 1, 2)], smooth=True)
case("squeeze", lambda v, axes: v[0].squeeze(tuple(axes)), [randn(1, 3, 1, 2)], axes=[0, 1])
case("unsqueeze", lambda v, axis: v[0].unsqueeze(axis), [randn(3, 2)], smooth=True, axis=-1)
case("unsqueeze", lambda v, axis: v[0].unsqueeze(axis), [randn()], axis=0)
permute = lambda v, axes: v[0].permute(axes)
case("permute", permute, [randn(2, 3, 1, 4)], smooth=True, axes=[2, 0, -1, 1])
case("permute", permute, [randn(0, 3)], axes=[1, 0])
case("transpose", lambda v, dim0, dim1: v[0].transpose(dim0, dim1), [randn(3, 1, 5)], smooth=True, dim0=0, dim1=-1)
case("t", lambda v: v[0].t(), [randn(3, 5)], smooth=True)
case("t", lambda v: v[0].t(), [randn(4)])
moveaxis = lambda v, source, destination: v[0].moveaxis(source, destination)
case("moveaxis", moveaxis, [randn(2, 3, 4)], smooth=True, source=[0], destination=[-1])
case("moveaxis", moveaxis, [randn(2, 3, 1, 5)], source=[3, 0], destination=[1, 2])
expand = lambda v, sizes: v[0].expand(sizes)
case("expand", expand, [randn(3, 1)], smooth=True, sizes=[2, -1, 4])
case("expand", expand, [randn(1, 3)], sizes=[0, 3])
case("expand", expand, [randn()], sizes=[2, 2])
case("broadcast_tensors", lambda v: torch.broadcast_tensors(*v), [randn(3, 1), randn(4), randn(2, 1, 1)], smooth=True)
repeat = lambda v, times: v[0].repeat(times)
case("repeat", repeat, [randn(3, 2)], smooth=True, times=[2, 1, 3])
case("repeat", repeat, [randn(3, 2)], times=[0, 2])
case("repeat", repeat, [randn()], times=[3])
case("repeat", repeat, [integers(-5, 5, 2, 1, 3)], times=[1, 4, 2])
tile = lambda v, times: v[0].tile(times)
case("tile", tile, [randn(3, 2)], smooth=True, times=[2])
case("tile", tile, [randn(3)], times=[2, 2])
repeat_interleave = lambda v, times, axis: v[0].repeat_interleave(times, axis)
case("repeat_interleave", repeat_interleave, [randn(2, 3)], smooth=True, times=2, axis=-1)
case("repeat_interleave", repeat_interleave, [randn(2, 3)], times=0, axis=0)
repeat_each = lambda v, counts, axis: v[0].repeat_interleave(torch.tensor(counts), axis)
case("repeat_interleave_each", repeat_each, [randn(3, 2)], smooth=True, counts=[2, 0, 3], axis=0)
case("repeat_interleave_each", repeat_each, [randn(2, 4)], counts=[1, 1, 0, 2], axis=-1)
case("flip", lambda v, axes: v[0].flip(axes), [randn(3, 1, 4)], smooth=True, axes=[0, -1])
case("flip", lambda v, axes: v[0].flip(axes), [randn(3, 0)], axes=[0])
roll = lambda v, shifts, axes: v[0].roll(shifts, axes) if axes else v[0].roll(shifts[0])
case("roll", roll, [randn(3, 4)], smooth=True, shifts=[1, -2], axes=[0, 1])
case("roll", roll, [randn(3, 4)], shifts=[5], axes=[])
case("roll", roll, [randn(3, 4)], shifts=[-1001, 1], axes=[1, 1])
case("roll", roll, [randn(0, 4)], shifts=[3], axes=[0])
narrow = lambda v, axis, start, length: v[0].narrow(axis, start, length)
case("narrow", narrow, [randn(5, 3)], smooth=True, axis=0, start=1, length=3)
case("narrow", narrow, [randn(5, 3)], axis=-1, start=3, length=0)
select = lambda v, axis, index: v[0].select(axis, index)
case("select", select, [randn(3, 4)], smooth=True, axis=1, index=-2)
case("select", select, [randn(3, 4, 0)], axis=0, index=2)


def slice_(v, steps, starts=None, ends=None):
    x = v[0].detach().numpy()
    index = tuple(
        slice(starts[i] if starts else None, ends[i] if ends else None, s) for i, s in enumerate(steps)
    )
    # PyTorch has no negative steps: positions come from NumPy, the gradient from indexing.
    at = torch.arange(x.size).reshape(x.shape).numpy()[index].copy()
    return v[0].flatten()[torch.from_numpy(at)]


case("slice", slice_, [randn(6, 7)], smooth=True, steps=[2, -3])
case("slice", slice_, [randn(6, 7)], smooth=True, starts=[-2, 1], ends=[0, 6], steps=[-1, 2])
case("slice", slice_, [randn(6, 7)], starts=[4, -100], ends=[1, 100], steps=[1, 1])
case("slice", slice_, [randn(5)], starts=[100], ends=[-100], steps=[-2])
split = lambda v, size, axis: v[0].split(size, axis)
case("split", split, [randn(7, 2)], smooth=True, size=3, axis=0)
case("split", split, [randn(2, 4)], size=2, axis=-1)
case("split", split, [randn(2, 0)], size=2, axis=1)
case("split_with_sizes", lambda v, sizes, axis: v[0].split(sizes, axis), [randn(2, 6)], smooth=True, sizes=[1, 0, 5], axis=1)
chunk = lambda v, chunks, axis: v[0].chunk(chunks, axis)
case("chunk", chunk, [randn(7, 2)], smooth=True, chunks=3, axis=0)
case("chunk", chunk, [randn(5)], chunks=4, axis=0)
case("chunk", chunk, [randn(2)], chunks=5, axis=0)
case("chunk", chunk, [randn(0, 2)], chunks=3, axis=0)
case("unbind", lambda v, axis: v[0].unbind(axis), [randn(2, 3, 2)], smooth=True, axis=1)
unfold = lambda v, axis, size, step: v[0].unfold(axis, size, step)
case("unfold", unfold, [randn(2, 9)], smooth=True, axis=1, size=3, step=2)
case("unfold", unfold, [randn(8, 2)], smooth=True, axis=0, size=2, step=3)
case("unfold", unfold, [randn(8)], axis=0, size=8, step=100)
case("cat", lambda v, axis: torch.cat(v, axis), [randn(3, 2), randn(3, 0), randn(3, 5)], smooth=True, axis=1)
case("cat", lambda v, axis: torch.cat(v, axis), [integers(-3, 3, 2), integers(-3, 3, 1)], axis=0)
stack = lambda v, axis: torch.stack(v, axis)
case("stack", stack, [randn(3, 2), randn(3, 2), randn(3, 2)], smooth=True, axis=-1)
case("stack", stack, [randn(), randn()], axis=0)
meshgrid = lambda v, indexing: torch.meshgrid(*v, indexing=indexing)
case("meshgrid", meshgrid, [randn(3), randn(2)], smooth=True, indexing="ij")
case("meshgrid", meshgrid, [randn(3), randn(2), randn(4)], indexing="xy")
case("meshgrid", meshgrid, [randn(3), randn(1), randn()], indexing="ij")


def pad(v, before, after, value):
    flat = [p for pair in zip(reversed(before), reversed(after)) for p in pair]
    return F.pad(v[0], flat, value=value)


case("pad", pad, [randn(3, 4)], smooth=True, before=[1, 0], after=[0, 2], value=1.5)
case("pad", pad, [randn(3, 4)], smooth=True, before=[-1, 2], after=[1, -3], value=-2.0)
case("pad", pad, [randn(2, 3)], before=[1, 0], after=[0, 2], value=float("-inf"))
case("pad", pad, [randn(0, 3)], before=[1, 0], after=[1, 0], value=0.5)
case("pad", pad, [integers(-5, 5, 4)], before=[1], after=[2], value=7)
MODES = {"edge": "replicate", "reflect": "reflect", "circular": "circular"}


def pad_mode(v, before, after, mode):
    x = v[0]
    if mode == "symmetric":
        for axis, (lo, hi) in enumerate(zip(before, after)):
            n = x.shape[axis]
            x = torch.cat([x.narrow(axis, 0, lo).flip(axis), x, x.narrow(axis, n - hi, hi).flip(axis)], axis)
        return x
    # PyTorch wants the padding of the last axes only, and a batch with channels in front.
    flat = [p for pair in zip(reversed(before), reversed(after)) for p in pair]
    while flat[-2:] == [0, 0]:
        flat = flat[:-2]
    while x.ndim < len(flat) // 2 + 2:
        x = x.unsqueeze(0)
    return F.pad(x, flat, mode=MODES[mode]).reshape([n + lo + hi for n, lo, hi in zip(v[0].shape, before, after)])


for mode in ["edge", "reflect", "symmetric", "circular"]:
    case("pad_mode", pad_mode, [randn(4)], smooth=True, before=[2], after=[3], mode=mode)
    case("pad_mode", pad_mode, [randn(3, 4)] if mode == "symmetric" else [randn(1, 2, 3, 4)], smooth=True,
         **({"before": [2, 1], "after": [1, 4]} if mode == "symmetric" else
            {"before": [0, 0, 2, 1], "after": [0, 0, 1, 3]}), mode=mode)
case("pad_mode", pad_mode, [randn(2, 5)], before=[0, -1], after=[0, 2], mode="edge")
for name in ["tril", "triu"]:
    tri = lambda v, diagonal, name=name: getattr(torch, name)(v[0], diagonal)
    case(name, tri, [randn(3, 4)], smooth=True, diagonal=0)
    case(name, tri, [randn(2, 3, 3)], smooth=True, diagonal=-1)
    case(name, tri, [randn(4, 2)], diagonal=1)
    case(name, tri, [randn(2, 3)], diagonal=-9)
    case(name, tri, [randn(2, 3)], diagonal=9)
    case(name, tri, [special().reshape(5, 7)], diagonal=0)
    case(name, tri, [integers(1, 9, 3, 3)], diagonal=0)
    case(name, tri, [randn(0, 3)], diagonal=0)
diagonal = lambda v, offset, dim1, dim2: v[0].diagonal(offset, dim1, dim2)
case("diagonal", diagonal, [randn(3, 4)], smooth=True, offset=0, dim1=0, dim2=1)
case("diagonal", diagonal, [randn(3, 2, 4)], smooth=True, offset=1, dim1=0, dim2=2)
case("diagonal", diagonal, [randn(3, 2, 4)], smooth=True, offset=-1, dim1=-1, dim2=0)
case("diagonal", diagonal, [randn(3, 4)], offset=7, dim1=0, dim2=1)
case("diagonal", diagonal, [randn(3, 3)], offset=-2, dim1=0, dim2=1)
diag_embed = lambda v, offset, dim1, dim2: torch.diag_embed(v[0], offset, dim1, dim2)
case("diag_embed", diag_embed, [randn(2, 3)], smooth=True, offset=0, dim1=-2, dim2=-1)
case("diag_embed", diag_embed, [randn(2, 3)], smooth=True, offset=1, dim1=0, dim2=2)
case("diag_embed", diag_embed, [randn(3)], offset=-2, dim1=0, dim2=1)
case("diag_embed", diag_embed, [integers(1, 9, 2)], offset=0, dim1=1, dim2=0)
case("diag", lambda v, diagonal: v[0].diag(diagonal), [randn(3)], smooth=True, diagonal=1)
case("diag", lambda v, diagonal: v[0].diag(diagonal), [randn(3, 4)], smooth=True, diagonal=-1)
case("trace", lambda v: v[0].trace(), [randn(3, 4)], smooth=True)
case("trace", lambda v: v[0].trace(), [randn(0, 4)])
case("pixel_shuffle", lambda v, upscale_factor: F.pixel_shuffle(v[0], upscale_factor), [randn(1, 8, 2, 3)], smooth=True, upscale_factor=2)
case("pixel_shuffle", lambda v, upscale_factor: F.pixel_shuffle(v[0], upscale_factor), [randn(9, 1, 2)], upscale_factor=3)
case("pixel_unshuffle", lambda v, downscale_factor: F.pixel_unshuffle(v[0], downscale_factor), [randn(2, 2, 4, 6)], smooth=True, downscale_factor=2)


def relative_shift(v):
    n, m = v[0].shape[-2:]
    rows = [torch.nn.functional.pad(v[0][..., i, :], (i, n - 1 - i)) for i in range(n)]
    return torch.stack(rows, -2)


case("relative_shift", relative_shift, [randn(2, 3, 4)], smooth=True)
case("relative_shift", relative_shift, [randn(1, 1)])
case("expand_as", lambda v: v[0].expand_as(v[1]), [randn(3, 1), randn(2, 3, 4)], smooth=True)
