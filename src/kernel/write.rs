//! Collects what a module is made of while its text is written: slots, numbers, and the instructions of a loop.

use super::ops;
use super::{Binding, KernelSource, Number, Result, library};
use crate::dtype::DType;
use crate::plan::{Affine, InstrKind, Loop, Reg, Store};
use crate::random::Distribution;
use rustc_hash::FxHashMap;
use std::fmt::Write as _;

/// How a module begins that works on cooperative matrices.
const EXTENSIONS: &str = "enable f16;\nenable wgpu_cooperative_matrix;\n";

/// A module being written.
#[derive(Default)]
pub struct Writer {
    numbers: Vec<Number>,
    slots: Vec<SlotUse>,
    reports: bool,
    matrices: bool,
}

struct SlotUse {
    slot: usize,
    /// The element type it is declared with: `u32`, to be reinterpreted, when it is used as several.
    stored: &'static str,
    writes: bool,
    /// Its words are written by more than one invocation.
    shared: bool,
    /// It is declared as vectors of four words.
    vectors: bool,
    /// It is declared as vectors of four halves, and read by its buffer's name only.
    halves: bool,
}

impl Writer {
    /// Says that a slot is used as elements of `dtype`. All uses must be known before the first [`Writer::load`].
    pub fn touch(&mut self, slot: usize, dtype: DType, writes: bool) -> Result<()> {
        self.touch_shared(slot, dtype, writes, false)
    }

    fn touch_shared(&mut self, slot: usize, dtype: DType, writes: bool, shared: bool) -> Result<()> {
        let stored = ops::stored_type(dtype)?;
        match self.slots.iter_mut().find(|s| s.slot == slot) {
            Some(known) => {
                known.writes |= writes;
                known.shared |= shared;
                if known.stored != stored {
                    known.stored = "u32";
                }
            }
            None => self.slots.push(SlotUse { slot, stored, writes, shared, vectors: false, halves: false }),
        }
        Ok(())
    }

    /// Says so of all that a loop loads and stores, and checks its dtypes. Where `shared` holds of a store of halves,
    /// another invocation may be writing the word's other half, and the word is changed atomically.
    pub fn touch_loop(&mut self, l: &Loop, shared: impl Fn(&Store) -> bool) -> Result<()> {
        for instr in &l.instrs {
            ops::register_type(instr.dtype)?;
            if let Some(slot) = instr.kind.slot() {
                self.touch(slot, instr.dtype, false)?;
            }
            self.reports |= matches!(instr.kind, InstrKind::Gather { .. });
        }
        for s in &l.stores {
            self.touch_shared(s.slot, l.instrs[s.value].dtype, true, shared(s))?;
        }
        Ok(())
    }

    /// Says that a slot shall be declared as vectors of four words. No shared one can be.
    pub fn hold_vectors(&mut self, slot: usize) {
        self.slots.iter_mut().filter(|s| s.slot == slot).for_each(|s| s.vectors = true);
    }

    /// Says that the module is one for cooperative matrices.
    pub fn multiplies_matrices(&mut self) {
        self.matrices = true;
    }

    /// Says that a slot shall be declared as vectors of four `f16`, which makes the module one for cooperative matrices.
    pub fn hold_halves(&mut self, slot: usize) {
        self.multiplies_matrices();
        self.slots.iter_mut().filter(|s| s.slot == slot).for_each(|s| s.halves = true);
    }

    /// Says that the module calls `report`.
    pub fn reports(&mut self) {
        self.reports = true;
    }

    /// A `u32` expression for a number.
    pub fn number(&mut self, n: Number) -> String {
        self.numbers.push(n);
        let i = self.numbers.len() - 1;
        format!("num[{}].{}", i / 4, ["x", "y", "z", "w"][i % 4])
    }

    /// A `u32` expression for a count.
    pub fn count(&mut self, n: u32) -> String {
        self.number(Number::Word(n))
    }

    /// An `i32` expression for an offset or a stride, which wraps as `i32` arithmetic does.
    pub fn int(&mut self, n: i64) -> String {
        format!("i32({})", self.number(Number::Word(n as u32)))
    }

    fn slot(&self, slot: usize) -> (usize, &'static str) {
        let i = self.slots.iter().position(|s| s.slot == slot).unwrap_or_default();
        (i, self.slots.get(i).map_or("u32", |s| s.stored))
    }

    /// An expression for word `index` of a slot, as it is declared.
    fn word(&self, i: usize, index: &str) -> String {
        match self.slots.get(i) {
            Some(s) if s.shared => format!("atomicLoad(&b{i}[{index}])"),
            Some(s) if s.vectors => format!("b{i}[({index}) >> 2u][({index}) & 3i]"),
            _ => format!("b{i}[{index}]"),
        }
    }

    /// The name that a slot's buffer has in the module.
    pub fn buffer(&self, slot: usize) -> String {
        format!("b{}", self.slot(slot).0)
    }

    /// An expression for element `index` of a slot, as a register value.
    pub fn load(&self, slot: usize, dtype: DType, index: &str) -> Result<String> {
        let (i, stored) = self.slot(slot);
        let wanted = ops::stored_type(dtype)?;
        if dtype.is_half() {
            let word = self.word(i, &format!("({index}) >> 1u"));
            return Ok(format!("f32_from_{dtype}(half_of({word}, {index}))"));
        }
        let mut value = self.word(i, index);
        if stored != wanted {
            value = format!("bitcast<{wanted}>({value})");
        }
        Ok(if dtype == DType::Bool { format!("({value} != 0u)") } else { value })
    }

    /// The same of element `k` of vectors that were loaded, `word` giving their words.
    pub fn component(&self, slot: usize, dtype: DType, word: impl Fn(usize) -> String, k: usize) -> Result<String> {
        let (_, stored) = self.slot(slot);
        let wanted = ops::stored_type(dtype)?;
        if dtype.is_half() {
            let half = if k.is_multiple_of(2) { "& 0xffffu" } else { ">> 16u" };
            return Ok(format!("f32_from_{dtype}({} {half})", word(k / 2)));
        }
        let mut value = word(k);
        if stored != wanted {
            value = format!("bitcast<{wanted}>({value})");
        }
        Ok(if dtype == DType::Bool { format!("({value} != 0u)") } else { value })
    }

    /// The type of the words that a slot is declared with.
    pub fn word_type(&self, slot: usize) -> &'static str {
        self.slot(slot).1
    }

    /// A value that is not a half, as the word that a slot is declared with.
    pub fn stored(&self, slot: usize, dtype: DType, value: &str) -> Result<String> {
        let (_, stored) = self.slot(slot);
        let value = if dtype == DType::Bool { format!("select(0u, 1u, {value})") } else { value.to_owned() };
        Ok(if stored == ops::stored_type(dtype)? { value } else { format!("bitcast<{stored}>({value})") })
    }

    /// A statement that sets it. A half is set on its own, which leaves the word's other half to others.
    pub fn store(&self, slot: usize, dtype: DType, index: &str, value: &str) -> Result<String> {
        let (i, _) = self.slot(slot);
        if dtype.is_half() {
            let word = format!("&b{i}[at >> 1u]");
            let change = format!("half_change(atomicLoad({word}), at, {dtype}_from_f32({value}))");
            return Ok(format!("{{ let at = {index}; atomicXor({word}, {change}); }}"));
        }
        Ok(format!("{} = {};", self.word(i, index), self.stored(slot, dtype, value)?))
    }

    /// The module: bindings, `globals`, the library functions that are called, `body`.
    pub fn finish(self, name: &'static str, globals: &str, body: &str, dispatch: [u32; 3]) -> KernelSource {
        let atomic = |slot: usize| body.contains(&format!("&b{slot}["));
        let mut wgsl = String::from(if self.matrices { EXTENSIONS } else { "" });
        for (i, s) in self.slots.iter().enumerate() {
            let access = if s.writes { "read_write" } else { "read" };
            let element = match atomic(i) {
                true => format!("atomic<{}>", s.stored),
                false if s.halves => "vec4<f16>".into(),
                false if s.vectors => format!("vec4<{}>", s.stored),
                false => s.stored.into(),
            };
            let _ = writeln!(wgsl, "@group(0) @binding({i}) var<storage, {access}> b{i}: array<{element}>;");
        }
        let mut next = self.slots.len();
        if self.reports {
            let _ = writeln!(wgsl, "@group(0) @binding({next}) var<storage, read_write> flags: array<atomic<u32>, 4>;");
            next += 1;
        }
        if !self.numbers.is_empty() {
            let n = self.numbers.len().div_ceil(4);
            let _ = writeln!(wgsl, "@group(0) @binding({next}) var<uniform> num: array<vec4<u32>, {n}>;");
        }
        wgsl += globals;
        wgsl.push('\n');
        wgsl += &library::functions_for(body);
        wgsl += body;
        KernelSource {
            name,
            wgsl,
            entry: "main".into(),
            bindings: self.slots.iter().map(|s| Binding { slot: s.slot, writes: s.writes }).collect(),
            flags: self.reports,
            numbers: self.numbers,
            dispatch,
            trusted: true,
            matrices: self.matrices,
        }
    }

    /// A sum of terms `name · stride`, `offset` first; empty when there are none.
    pub fn linear(&mut self, offset: i64, strides: &[i64], prefix: &str) -> String {
        let mut terms = Vec::new();
        if offset != 0 {
            terms.push(self.int(offset));
        }
        for (d, &stride) in strides.iter().enumerate().filter(|(_, s)| **s != 0) {
            terms.push(if stride == 1 {
                format!("{prefix}{d}")
            } else {
                format!("{prefix}{d} * {}", self.int(stride))
            });
        }
        terms.join(" + ")
    }

    /// Lines that split the `u32` expression `linear` into `i32` indices `{prefix}0`, `{prefix}1`, … over `sizes`.
    pub fn indices(&mut self, linear: &str, prefix: &str, sizes: &[usize], pad: &str) -> Result<String> {
        let mut text = String::new();
        let mut rest = linear.to_owned();
        for (d, &size) in sizes.iter().enumerate().skip(1).rev() {
            let size = self.count(super::count(size)?);
            let _ = writeln!(text, "{pad}let {prefix}{d} = i32({rest} % {size});");
            let _ = writeln!(text, "{pad}let {prefix}q{d} = {rest} / {size};");
            rest = format!("{prefix}q{d}");
        }
        if !sizes.is_empty() {
            let _ = writeln!(text, "{pad}let {prefix}0 = i32({rest});");
        }
        Ok(text)
    }
}

/// Writes the instructions of a loop, given its indices `i0..` of `outer` and `j0..` of `inner`.
pub struct Body<'a> {
    pub w: &'a mut Writer,
    pub l: &'a Loop,
    places: FxHashMap<&'a Affine, String>,
    /// Nothing but halves goes in and comes out, of what is a float.
    halves: bool,
}

impl<'a> Body<'a> {
    /// Also gives the lines that compute the part of each place that depends on `outer` alone.
    pub fn new(w: &'a mut Writer, l: &'a Loop, pad: &str) -> (Body<'a>, String) {
        let mut places = FxHashMap::default();
        let mut text = String::new();
        let split = l.outer.len();
        for at in l.instrs.iter().filter_map(|i| i.kind.affine()).chain(l.stores.iter().map(|s| &s.at)) {
            if places.contains_key(at) {
                continue;
            }
            let name = format!("a{}", places.len());
            let outer = w.linear(at.offset, &at.strides[..split], "i");
            let inner = w.linear(0, &at.strides[split..], "j");
            if !outer.is_empty() {
                let _ = writeln!(text, "{pad}let {name} = {outer};");
            }
            let place = match (outer.is_empty(), inner.is_empty()) {
                (true, true) => "0i".into(),
                (false, true) => name,
                (true, false) => inner,
                (false, false) => format!("{name} + {inner}"),
            };
            places.insert(at, place);
        }
        (Body { w, l, places, halves: all_halves(l) }, text)
    }

    /// An expression for the value of a linear function.
    pub fn place(&self, at: &Affine) -> &str {
        self.places.get(at).map_or("0i", |place| place)
    }

    /// The lines that give register `r` its value. Folds are not for here.
    pub fn instr(&mut self, r: Reg, pad: &str) -> Result<String> {
        let instr = &self.l.instrs[r];
        let dtype = instr.dtype;
        let simple = |value: String| format!("{pad}let r{r} = {value};\n");
        Ok(match &instr.kind {
            InstrKind::Load { slot, at, guard } => {
                let value = self.w.load(*slot, dtype, &self.places[at])?;
                match guard {
                    None => simple(value),
                    Some(g) => {
                        let zero = ops::zero(dtype);
                        format!("{pad}var r{r} = {zero};\n{pad}if (r{g}) {{\n{pad}    r{r} = {value};\n{pad}}}\n")
                    }
                }
            }
            InstrKind::Gather { slot, at, index, stride, size: axis, guard, origin } => {
                let size = self.w.count(super::count(*axis)?);
                let origin = self.w.number(Number::Origin(*origin));
                let step = if *stride == 1 { String::new() } else { format!(" * {}", self.w.int(*stride)) };
                let (zero, poison) = (ops::zero(dtype), ops::poison(dtype));
                if guard.is_none() && *axis > 0 {
                    // Loaded without a branch, which would have everything after it wait for the load.
                    let inside = format!("inside{r}");
                    let place = format!("{} + select(0i, r{index}, {inside}){step}", self.places[at]);
                    let value = self.w.load(*slot, dtype, &place)?;
                    return Ok(format!(
                        "{pad}let {inside} = (r{index} >= 0i) & (r{index} < i32({size}));\n\
                         {pad}let r{r} = select({poison}, {value}, {inside});\n\
                         {pad}if (!{inside}) {{\n{pad}    report({origin}, r{index}, {size});\n{pad}}}\n"
                    ));
                }
                let value = self.w.load(*slot, dtype, &format!("{} + r{index}{step}", self.places[at]))?;
                let inside = format!("r{index} >= 0i && r{index} < i32({size})");
                let guarded = guard.map_or(String::new(), |g| format!("if (r{g}) "));
                format!(
                    "{pad}var r{r} = {zero};\n{pad}{guarded}{{\n\
                     {pad}    if ({inside}) {{\n{pad}        r{r} = {value};\n{pad}    }} else {{\n\
                     {pad}        r{r} = {poison};\n{pad}        report({origin}, r{index}, {size});\n{pad}    }}\n{pad}}}\n"
                )
            }
            InstrKind::Accumulator => simple(ops::rounded(dtype, "value".into())),
            InstrKind::Param { param } => {
                let word = self.w.number(Number::Param { param: *param, dtype });
                simple(match ops::computed(dtype) {
                    DType::F32 => format!("bitcast<f32>({word})"),
                    DType::I32 => format!("bitcast<i32>({word})"),
                    DType::Bool => format!("({word} != 0u)"),
                    _ => word,
                })
            }
            InstrKind::Iota { at } => simple(self.places[at].clone()),
            InstrKind::InBounds { at, size, and } => {
                let place = &self.places[at];
                let size = self.w.int(super::count(*size)? as i64);
                let and = and.map_or(String::new(), |g| format!("r{g} && "));
                simple(format!("{and}({place}) >= 0i && ({place}) < {size}"))
            }
            InstrKind::Random { distribution, at, params } => {
                let words = params.map(|param| self.w.number(Number::Param { param, dtype: DType::U32 }));
                let name = match distribution {
                    Distribution::Bits => "random_bits",
                    Distribution::Uniform => "random_uniform",
                    Distribution::Normal => "random_normal",
                };
                // An element number that the text itself gave would have a compiler fold the rounds; one took minutes over it.
                let place = match at.strides.iter().all(|&s| s == 0) {
                    true => self.w.int(at.offset),
                    false => self.places[at].clone(),
                };
                simple(format!("{name}(u32({place}), {})", words.join(", ")))
            }
            InstrKind::Unary { op, src } => {
                simple(ops::unary(*op, self.l.instrs[*src].dtype, &format!("r{src}"), self.halves))
            }
            InstrKind::Binary { op, lhs, rhs } => {
                let (a, b) = (format!("r{lhs}"), format!("r{rhs}"));
                simple(ops::binary(*op, self.l.instrs[*lhs].dtype, &a, &b, self.halves))
            }
            InstrKind::Select { condition, on_true, on_false } => {
                simple(format!("select(r{on_false}, r{on_true}, r{condition})"))
            }
            InstrKind::Cast { src } => simple(ops::cast(self.l.instrs[*src].dtype, dtype, &format!("r{src}"))),
            InstrKind::Reduce { .. } | InstrKind::ArgReduce { .. } => {
                return Err(super::unsupported("a fold outside a row"));
            }
        })
    }

    /// The line that stores a value.
    pub fn store(&mut self, s: &Store, pad: &str) -> Result<String> {
        let dtype = self.l.instrs[s.value].dtype;
        let line = self.w.store(s.slot, dtype, &self.places[&s.at], &format!("r{}", s.value))?;
        Ok(format!("{pad}{line}\n"))
    }
}

fn all_halves(l: &Loop) -> bool {
    let stored = |s: &Store| l.instrs[s.value].dtype.is_half();
    let mut loads = l.instrs.iter().filter(|i| i.kind.slot().is_some());
    l.stores.iter().all(stored) && loads.all(|i| i.dtype.is_half() || !i.dtype.is_float())
}
