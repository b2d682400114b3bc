//! Attention and its gradient in the frames of `shaders/attention*.wgsl`: where a head begins in each operand, and how
//! elements are read and written.

use super::rows::{contiguous, number};
use super::write::Writer;
use super::{KernelSource, Number, Result, Target, count, spread, unsupported};
use crate::dtype::DType;
use crate::graph::{AttentionSizes, AttentionSpec};
use crate::plan::{Attention, AttentionGrad, Operand};
use crate::shape::{Dims, Layout};
use std::f64::consts::LOG2_E;
use std::fmt::Write as _;

/// Numbers of a head that an invocation's registers are made for, and twice that.
const NARROW: usize = 64;

/// Workgroup memory of `attention_grad_matrices.wgsl`, in bytes.
const GRAD_MEMORY: u32 = 38_144;

/// The kernel of an attention.
pub fn attention(a: &Attention, target: Target) -> Result<KernelSource> {
    let z = &a.sizes;
    let mut frame = Frame::new(a.spec, z, a.dtype)?;
    let matrices = target.multiplies_matrices() && suits_matrices(z, a.dtype, &[&a.q, &a.k, &a.v]);
    for operand in [&a.q, &a.k, &a.v] {
        frame.w.touch(operand.slot, a.dtype, false)?;
        if matrices {
            frame.w.hold_halves(operand.slot);
        }
    }
    frame.w.touch(a.out, a.dtype, true)?;
    frame.w.touch(a.lse, DType::F32, true)?;
    for (name, o, of) in [("q", &a.q, Of::Queries), ("k", &a.k, Of::Keys), ("v", &a.v, Of::Keys)] {
        if matrices {
            frame.reads_fours(name, o.slot, &o.layout, of);
        } else {
            frame.reads(name, o.slot, &o.layout, of)?;
        }
    }
    frame.writes("put", "out", a.out, z.t, Of::Queries, z.e)?;
    let lse = frame.member("lse", &contiguous(&z.sums()), Of::Queries);
    let store = frame.w.store(a.lse, DType::F32, &format!("{lse} + i32(row)"), "value")?;
    let _ = write!(frame.text, "fn put_lse(at: Head, row: u32, value: f32) {{\n    {store}\n}}\n\n");
    if matrices {
        let (turns, whole) = (if z.s.is_multiple_of(128) { 4 } else { 1 }, z.s.is_multiple_of(32));
        let _ = write!(frame.text, "const TURNS = {turns}u;\nconst WHOLE_KEYS = {whole};\n\n");
    }
    let (name, file) = match matrices {
        true => ("attention_matrices", include_str!("../../shaders/attention_matrices.wgsl")),
        false => ("attention", include_str!("../../shaders/attention.wgsl")),
    };
    frame.finish(name, file, "", z.t.div_ceil(128))
}

/// Whether the kernels on cooperative matrices can make it: heads that fit their tiles, all of f16, in fours.
fn suits_matrices(z: &AttentionSizes, dtype: DType, operands: &[&Operand]) -> bool {
    let by_fours = |o: &&Operand| {
        let (along, others) = o.layout.strides.split_last().unwrap_or((&0, &[]));
        *along == 1 && o.layout.offset % 4 == 0 && others.iter().all(|s| s % 4 == 0)
    };
    dtype == DType::F16
        && [z.d, z.e].iter().all(|&width| width <= NARROW && width.is_multiple_of(4))
        && operands.iter().all(by_fours)
}

/// The kernels of its gradient: one over blocks of queries, one over blocks of keys, so that every sum has its order.
pub fn attention_grad(a: &AttentionGrad, target: Target) -> Result<Vec<KernelSource>> {
    let z = &a.sizes;
    let on_matrices = target.multiplies_matrices() && target.workgroup_memory >= GRAD_MEMORY;
    if on_matrices && suits_matrices(z, a.dtype, &[&a.q, &a.k, &a.v, &a.dout]) {
        return [Of::Queries, Of::Keys].into_iter().map(|rows| grad_on_matrices(a, rows)).collect();
    }
    let mut queries = grad_frame(a, &[a.dq])?;
    queries.writes("put_q", "dq", a.dq, z.t, Of::Queries, z.d)?;
    let mut keys = grad_frame(a, &[a.dk, a.dv])?;
    keys.writes("put_k", "dk", a.dk, z.s, Of::Keys, z.d)?;
    keys.writes("put_v", "dv", a.dv, z.s, Of::Keys, z.e)?;
    for frame in [&mut queries, &mut keys] {
        frame.reads("q", a.q.slot, &a.q.layout, Of::Queries)?;
        frame.reads("k", a.k.slot, &a.k.layout, Of::Keys)?;
        frame.reads("v", a.v.slot, &a.v.layout, Of::Keys)?;
        frame.reads("g", a.dout.slot, &heads_first(&a.dout.layout), Of::Queries)?;
    }
    let tile = include_str!("../../shaders/attention_tile.wgsl");
    let by_query = include_str!("../../shaders/attention_grad_queries.wgsl");
    let by_key = include_str!("../../shaders/attention_grad_keys.wgsl");
    Ok(vec![
        queries.finish("attention_grad_queries", tile, by_query, z.t.div_ceil(64))?,
        keys.finish("attention_grad_keys", tile, by_key, z.s.div_ceil(64))?,
    ])
}

/// The one of both kernels whose blocks are of these rows, on cooperative matrices.
fn grad_on_matrices(a: &AttentionGrad, rows: Of) -> Result<KernelSource> {
    let z = &a.sizes;
    let by_keys = rows == Of::Keys;
    let results: &[usize] = if by_keys { &[a.dk, a.dv] } else { &[a.dq] };
    let mut frame = grad_frame(a, results)?;
    let dout = heads_first(&a.dout.layout);
    let of_queries = [(a.q.slot, &a.q.layout), (a.dout.slot, &dout)];
    let of_keys = [(a.k.slot, &a.k.layout), (a.v.slot, &a.v.layout)];
    let roles = |by_keys: bool| if by_keys { (of_keys, Of::Keys) } else { (of_queries, Of::Queries) };
    for (role, (operands, of)) in [("own", roles(by_keys)), ("walked", roles(!by_keys))] {
        for (letter, (slot, layout)) in ["x", "y"].into_iter().zip(operands) {
            frame.w.hold_halves(slot);
            frame.reads_fours(&format!("{role}_{letter}"), slot, layout, of);
        }
    }
    let (name, own, walked) = match by_keys {
        true => {
            frame.writes("put_x", "dk", a.dk, z.s, Of::Keys, z.d)?;
            frame.writes("put_y", "dv", a.dv, z.s, Of::Keys, z.e)?;
            ("attention_grad_keys_matrices", z.s, z.t)
        }
        false => {
            frame.writes("put_x", "dq", a.dq, z.t, Of::Queries, z.d)?;
            frame.text +=
                "// Queries have one gradient.\nfn put_y(at: Head, row: u32, d: u32, four: vec4<f32>) {\n}\n\n";
            ("attention_grad_queries_matrices", z.t, z.s)
        }
    };
    let _ = write!(
        frame.text,
        "const BY_KEYS = {by_keys};\nconst TURNS = {}u;\nconst WHOLE_ROWS = {};\n\n",
        if walked.is_multiple_of(64) { 2 } else { 1 },
        walked.is_multiple_of(32)
    );
    frame.finish(name, include_str!("../../shaders/attention_grad_matrices.wgsl"), "", own.div_ceil(64))
}

/// A layout of the result, or of its gradient, whose heads come after its positions, with them before.
fn heads_first(layout: &Layout) -> Layout {
    let mut layout = layout.clone();
    let rank = layout.strides.len();
    layout.strides.swap(rank - 3, rank - 2);
    layout
}

fn grad_frame<'a>(a: &'a AttentionGrad, results: &[usize]) -> Result<Frame<'a>> {
    let mut frame = Frame::new(a.spec, &a.sizes, a.dtype)?;
    for operand in [&a.q, &a.k, &a.v, &a.dout] {
        frame.w.touch(operand.slot, a.dtype, false)?;
    }
    for operand in [&a.lse, &a.delta] {
        frame.w.touch(operand.slot, DType::F32, false)?;
    }
    for &slot in results {
        frame.w.touch(slot, a.dtype, true)?;
    }
    for (name, operand) in [("lse", &a.lse), ("delta", &a.delta)] {
        let (stride, others) = operand.layout.strides.split_last().ok_or_else(|| unsupported("sums of rank 0"))?;
        let layout = Layout { offset: operand.layout.offset, strides: others.into() };
        let place = frame.member(name, &layout, Of::Queries);
        let step = frame.w.int(*stride);
        let value = frame.w.load(operand.slot, DType::F32, &format!("{place} + i32(row) * {step}"))?;
        let _ = write!(frame.text, "fn {name}(at: Head, row: u32) -> f32 {{\n    return {value};\n}}\n\n");
    }
    let scale = frame.w.number(Number::Word((a.spec.scale() as f32).to_bits()));
    let _ = write!(frame.text, "fn scale() -> f32 {{\n    return bitcast<f32>({scale});\n}}\n\n");
    Ok(frame)
}

/// Whose heads an operand's are.
#[derive(Clone, Copy, PartialEq)]
enum Of {
    Queries,
    Keys,
}

/// A module being written around one of the files.
struct Frame<'a> {
    w: Writer,
    spec: AttentionSpec,
    sizes: &'a AttentionSizes,
    dtype: DType,
    /// The functions so far.
    text: String,
    /// Members of `Head`, and where each begins.
    heads: Vec<(String, String)>,
}

impl<'a> Frame<'a> {
    fn new(spec: AttentionSpec, sizes: &'a AttentionSizes, dtype: DType) -> Result<Frame<'a>> {
        if sizes.d > 2 * NARROW || sizes.e > 2 * NARROW {
            return Err(unsupported(format!("attention with heads of {}", sizes.d.max(sizes.e))));
        }
        Ok(Frame { w: Writer::default(), spec, sizes, dtype, text: String::new(), heads: Vec::new() })
    }

    /// Makes a head's first element in a layout a member of `Head`; an expression for it. The layout's axes are the batch's
    /// and the heads', and perhaps others.
    fn member(&mut self, name: &str, layout: &Layout, of: Of) -> String {
        let rank = self.sizes.batch.len();
        let strides: Dims<i64> = match of {
            Of::Queries => layout.strides[..=rank].into(),
            Of::Keys => layout.strides[..rank].into(),
        };
        let mut start = self.w.linear(layout.offset, &strides, "i");
        if of == Of::Keys {
            let plus = if start.is_empty() { "" } else { " + " };
            let _ = write!(start, "{plus}group * {}", self.w.int(layout.strides[rank]));
        }
        self.heads.push((name.into(), if start.is_empty() { "0i".into() } else { start }));
        format!("at.{name}")
    }

    /// A function `load_{name}(at, row, d)`.
    fn reads(&mut self, name: &str, slot: usize, layout: &Layout, of: Of) -> Result<()> {
        let rank = self.sizes.batch.len();
        let start = self.member(name, layout, of);
        let row = self.w.int(layout.strides[rank + 1]);
        let step = match layout.strides[rank + 2] {
            1 => String::new(),
            stride => format!(" * {}", self.w.int(stride)),
        };
        let value = self.w.load(slot, self.dtype, &format!("{start} + i32(row) * {row} + i32(d){step}"))?;
        let _ = write!(self.text, "fn load_{name}(at: Head, row: u32, d: u32) -> f32 {{\n    return {value};\n}}\n\n");
        Ok(())
    }

    /// A function `four_{name}(at, row, four)` of an operand whose width lies along memory, in fours.
    fn reads_fours(&mut self, name: &str, slot: usize, layout: &Layout, of: Of) {
        let layout = Layout { offset: layout.offset / 4, strides: layout.strides.iter().map(|s| s / 4).collect() };
        let start = self.member(name, &layout, of);
        let row = self.w.int(layout.strides[self.sizes.batch.len() + 1]);
        let buffer = self.w.buffer(slot);
        let _ = write!(
            self.text,
            "fn four_{name}(at: Head, row: u32, four: u32) -> vec4<f16> {{\n    \
             return {buffer}[{start} + i32(row) * {row} + i32(four)];\n}}\n\n"
        );
    }

    /// A function `{function}(at, row, d, four)` that stores four neighbours of a result `[batch.., positions, heads, width]`,
    /// as far as there are so many; `d` is a multiple of four.
    fn writes(
        &mut self,
        function: &str,
        name: &str,
        slot: usize,
        positions: usize,
        of: Of,
        width: usize,
    ) -> Result<()> {
        let heads = if of == Of::Queries { self.sizes.heads } else { self.sizes.groups };
        let sizes: Dims<usize> = self.sizes.batch.iter().copied().chain([positions, heads, width]).collect();
        let mut layout = contiguous(&sizes);
        let rank = self.sizes.batch.len();
        layout.strides.swap(rank, rank + 1);
        let start = self.member(name, &layout, of);
        let row = self.w.int(layout.strides[rank + 1]);
        let end = self.w.count(count(width)?);
        let mut lines = format!("    let place = {start} + i32(row) * {row} + i32(d);\n");
        if self.dtype.is_half() && width.is_multiple_of(2) {
            // Both halves of a word are this invocation's.
            let buffer = self.w.buffer(slot);
            for (first, second, more) in [("x", "y", 0), ("z", "w", 2)] {
                let [low, high] = [first, second].map(|c| format!("{}_from_f32(four.{c})", self.dtype));
                let _ = write!(
                    lines,
                    "    if (d + {more}u < {end}) {{\n        {buffer}[(place + {more}i) >> 1u] = {low} | ({high} << 16u);\n    }}\n"
                );
            }
        } else {
            for (i, c) in ["x", "y", "z", "w"].into_iter().enumerate() {
                let store = self.w.store(slot, self.dtype, &format!("place + {i}i"), &format!("four.{c}"))?;
                let _ = write!(lines, "    if (d + {i}u < {end}) {{\n        {store}\n    }}\n");
            }
        }
        let _ = write!(self.text, "fn {function}(at: Head, row: u32, d: u32, four: vec4<f32>) {{\n{lines}}}\n\n");
        Ok(())
    }

    /// The module; a head takes `blocks` workgroups.
    fn finish(mut self, name: &'static str, file: &str, second: &str, blocks: usize) -> Result<KernelSource> {
        let z = self.sizes;
        let batches: usize = z.batch.iter().product();
        let heads = batches * if name.starts_with("attention_grad_keys") { z.groups } else { z.heads };
        let dispatch = spread(heads * blocks)?;
        let w = &mut self.w;
        let mut text = format!("{file}\n{second}\n");
        let _ = writeln!(text, "const CAUSAL = {};", self.spec.causal);
        let (wide, wide_values) = (z.d > NARROW, z.e > NARROW);
        let _ = match name {
            "attention" => writeln!(text, "const WIDE = {wide_values};\n"),
            "attention_grad_queries" | "attention_grad_keys" => {
                writeln!(text, "const WIDE = {wide};\nconst WIDE_VALUES = {wide_values};\n")
            }
            _ => writeln!(text, "const WHOLE_WIDTH = {};\nconst WHOLE_VALUES = {};\n", z.d == NARROW, z.e == NARROW),
        };
        let numbers = [
            ("heads", batches * z.heads),
            ("groups", batches * z.groups),
            ("share", z.heads / z.groups),
            ("queries", z.t),
            ("keys", z.s),
            ("width", z.d),
            ("value_width", z.e),
            ("groups_x", dispatch[0] as usize),
        ];
        for (name, n) in numbers {
            text += &number(w, name, count(n)?);
        }
        let scale = w.number(Number::Word(((self.spec.scale() * LOG2_E) as f32).to_bits()));
        let _ = write!(text, "fn scale_log2() -> f32 {{\n    return bitcast<f32>({scale});\n}}\n\n");
        let all: Dims<usize> = z.batch.iter().copied().chain([z.heads]).collect();
        let decode = w.indices("head", "i", &all, "    ")?;
        let members: String = self.heads.iter().map(|(name, _)| format!("    {name}: i32,\n")).collect();
        let starts: Vec<&str> = self.heads.iter().map(|(_, start)| &start[..]).collect();
        let _ = write!(
            text,
            "struct Head {{\n{members}}}\n\nfn place(head: u32) -> Head {{\n{decode}    \
             let group = i{} / i32(share());\n    return Head({});\n}}\n\n",
            z.batch.len(),
            starts.join(", ")
        );
        text += &self.text;
        Ok(self.w.finish(name, "", &text, dispatch))
    }
}
