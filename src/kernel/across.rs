//! A loop that folds columns which lie side by side: an invocation folds as many of them as a vector has elements, and
//! several share the length of the same columns.

use super::accumulate::Fold;
use super::fold::{prologue, stages};
use super::vector::{self, Element, Scope, Vectors, mentioned};
use super::write::{Body, Writer};
use super::{KernelSource, Result, count, ops, spread};
use crate::plan::{InstrKind, Level, Loop, Reg};
use std::fmt::Write as _;

/// Vectors that an invocation loads at once, fewer where much is done with them: that text comes once for each element.
const TURN: usize = 8;

/// Instructions for which it does.
const HEAVY: usize = 12;

/// Invocations that share a column, at most.
const LANES: usize = 32;

/// Neighbouring vectors that a workgroup takes, at least: a line of memory.
const NEIGHBOURS: usize = 8;

/// Invocations that a device can keep under way.
const BUSY: usize = 1 << 16;

/// Vectors of accumulators that a workgroup has memory for at once.
const TOGETHER: usize = 2;

/// True for what this kernel does: one walk, no positions, nothing stored along it.
pub fn is_simple(l: &Loop) -> bool {
    let folds: Vec<Fold> = (0..l.instrs.len()).filter_map(|r| Fold::of(l, r)).collect();
    let one_type = folds.windows(2).all(|f| f[0].of_type().ok() == f[1].of_type().ok());
    let simple = !folds.is_empty() && folds.iter().all(|f| !f.arg) && stages(l).iter().all(|&s| s < 2);
    simple && one_type && l.stores.iter().all(|s| l.instrs[s.value].level != Level::Inner)
}

/// The kernel of a loop that is cut along its last outer axis.
pub fn across(v: &Vectors) -> Result<KernelSource> {
    let l = &v.l;
    let (columns, length) = (l.outer_len(), l.inner_len() / v.width);
    let turn = if l.instrs.len() > HEAVY { TURN / 2 } else { TURN };
    let share = (BUSY / columns.max(1)).clamp(1, LANES).min(length.div_ceil(turn));
    let lanes = share.next_power_of_two();
    let neighbours = NEIGHBOURS.max(64 / lanes);
    let dispatch = spread(columns.div_ceil(neighbours))?;
    let mut w = Writer::default();
    w.touch_loop(l, |_| false)?;
    v.declare(&mut w);
    let width = w.count(dispatch[0]);
    let rows = w.count(count(columns)?);
    let size = w.count(count(length)?);
    let head = prologue(lanes, neighbours, true, &width, &rows);
    let outer = w.indices("row", "i", &l.outer, "    ")?;
    let inner = w.indices("j", "j", &l.inner[..l.inner.len() - 1], "    ")?;
    let (body, places) = Body::new(&mut w, l, "    ");
    let folds = (0..l.instrs.len()).filter_map(|r| Fold::of(l, r)).collect();
    let whole = length.is_multiple_of(lanes * turn);
    let scope = vector::scope(v)?;
    let mut a =
        Across { body, v, folds, lanes, turn, neighbours, length, size, inner, whole, scope, functions: String::new() };
    let text = a.write()?;
    let text = std::mem::take(&mut a.functions) + &head + &outer + &places + &text + "}\n";
    let scratch = a.scratch()?;
    Ok(w.finish("fold", &scratch, &text, dispatch))
}

struct Across<'a> {
    body: Body<'a>,
    v: &'a Vectors,
    folds: Vec<Fold>,
    lanes: usize,
    /// Vectors that an invocation takes in a turn.
    turn: usize,
    neighbours: usize,
    length: usize,
    /// The length, as the kernel knows it.
    size: String,
    /// The lines that find the indices of element `j` of a column.
    inner: String,
    /// Every turn is a whole one.
    whole: bool,
    scope: Scope,
    functions: String,
}

impl Across<'_> {
    /// The accumulators' names and their folds: one vector, or two, for each fold.
    fn accumulators(&self, name: &str) -> Vec<(String, Fold)> {
        let parts = self.v.width / 4;
        let names =
            |f: &Fold| (0..parts).map(|p| (format!("{name}{}{}", f.r, suffix(p, parts)), *f)).collect::<Vec<_>>();
        self.folds.iter().flat_map(names).collect()
    }

    fn write(&mut self) -> Result<String> {
        let (v, l) = (self.v, &self.v.l);
        let mut text = String::new();
        for r in (0..l.instrs.len()).filter(|&r| !v.varies(r)) {
            text += &self.body.instr(r, "    ")?;
        }
        let sources: Vec<Reg> = self.folds.iter().map(|f| f.src).collect();
        let (whole, single) = v.stores(|_| true);
        let targets: Vec<Reg> = whole.iter().map(|s| s.value).collect();
        let element = Element::new(&mut self.body, v, "source", &sources, &[], &self.scope)?;
        let after = Element::new(&mut self.body, v, "after", &targets, &single, &self.scope)?;
        // What is loaded once, for all elements of a column and for what becomes of the fold.
        let is_inner = |r: &Reg| l.instrs[*r].level == Level::Inner;
        let is_load = |r: &Reg| matches!(l.instrs[*r].kind, InstrKind::Load { .. });
        let mut once: Vec<Reg> =
            element.own.iter().chain(&after.own).copied().filter(|r| is_load(r) && !is_inner(r)).collect();
        once.sort_unstable();
        once.dedup();
        for &r in &once {
            text += &v.load(&self.body, r, "", "    ");
        }
        text += &self.walk(&element)?;
        text += &self.tree()?;
        let read_too = |slot| l.instrs.iter().any(|i| i.kind.slot() == Some(slot));
        if self.lanes > 1 && l.stores.iter().any(|s| read_too(s.slot)) {
            text += "    storageBarrier();\n";
        }
        let pad = if self.lanes > 1 { "        " } else { "    " };
        if self.lanes > 1 {
            text += "    if (live && lane == 0u) {\n";
        }
        let parts = v.width / 4;
        let own = |r: Reg, k: usize| match Fold::of(l, r) {
            Some(f) => {
                let component = format!("f{r}{}.{}", suffix(k / 4, parts), vector::COMPONENTS[k % 4]);
                Ok(ops::folded(f.op, f.dtype, &component))
            }
            None => v.component(self.body.w, r, k),
        };
        for k in 0..v.width {
            text += &after.call(k, own, pad)?;
        }
        for s in whole {
            text += &v.store(&self.body, s, |k| after.value(s.value, k, own), pad)?;
        }
        if self.lanes > 1 {
            text += "    }\n";
        }
        self.functions += &after.text;
        Ok(text)
    }

    /// The lines that fold what falls to an invocation.
    fn walk(&mut self, element: &Element) -> Result<String> {
        let (v, lanes) = (self.v, self.lanes);
        let long = self.length > lanes * self.turn;
        let summed = |f: &Fold| long && f.is_float_sum();
        let zero = |f: &Fold| Ok(format!("vec4<{0}>({1}, {1}, {1}, {1})", f.of_type()?, f.neutral()));
        let mut text = String::new();
        let (mut start, mut put_away) = (String::new(), String::new());
        let one = match self.folds.iter().any(summed) {
            true => self.body.w.count(1.0f32.to_bits()),
            false => String::new(),
        };
        for ((name, f), (partial, _)) in self.accumulators("f").iter().zip(self.accumulators("p")) {
            let _ = writeln!(text, "    var {name} = {};", zero(f)?);
            if summed(f) {
                let n = &name[1..];
                let _ = writeln!(text, "    var k{n} = vec4<f32>();");
                let _ = writeln!(start, "        var {partial} = vec4<f32>();");
                let _ = write!(
                    put_away,
                    "        let y{n} = p{n} - k{n};\n        let t{n} = f{n} + y{n};\n        \
                     k{n} = lost_vec4(t{n}, f{n}, y{n}, bitcast<f32>({one}));\n        f{n} = t{n};\n"
                );
            }
        }
        let names: Vec<String> = self
            .accumulators("f")
            .iter()
            .map(|(name, f)| if summed(f) { name.replacen('f', "p", 1) } else { name.clone() })
            .collect();
        let loads: Vec<Reg> = element.own.iter().copied().filter(|&r| v.l.instrs[r].level == Level::Inner).collect();
        let free = self.fold(element)?;
        let (mut turn, first) = (String::new(), "c");
        for u in 0..self.turn {
            let at = if u == 0 { first.to_owned() } else { format!("{first} + {}u", u * lanes) };
            let at = if self.whole || u == 0 { at } else { format!("min({at}, {} - 1u)", self.size) };
            let _ = writeln!(turn, "        let at{u} = {at};");
        }
        for &r in &loads {
            let functions = self.load(r)?;
            for u in 0..self.turn {
                for ((name, args), variable) in functions.iter().zip(v.names(r, &format!("_{u}"))) {
                    let _ = writeln!(turn, "        let {variable} = {name}(at{u}{args});");
                }
            }
        }
        for u in 0..self.turn {
            let own = element.own.iter().flat_map(|&r| match loads.contains(&r) {
                true => v.names(r, &format!("_{u}")),
                false => v.names(r, ""),
            });
            let position = free.0.then(|| format!("at{u}"));
            let args: Vec<String> =
                names.iter().cloned().chain(position).chain(own).chain(free.1.iter().cloned()).collect();
            let call = format!("fold({})", args.join(", "));
            let lines = match &names[..] {
                [name] => format!("{name} = {call};"),
                _ => {
                    let fields = self.accumulators("f").into_iter().zip(&names);
                    let sets: String = fields.map(|((field, _), name)| format!(" {name} = q{u}.{field};")).collect();
                    format!("let q{u} = {call};{sets}")
                }
            };
            let _ = match self.whole || u == 0 {
                true => writeln!(turn, "        {lines}"),
                false => writeln!(turn, "        if (c + {}u < {}) {{ {lines} }}", u * lanes, self.size),
            };
        }
        let step = lanes * self.turn;
        let _ =
            write!(text, "    for (var c = lane; c < {}; c += {step}u) {{\n{start}{turn}{put_away}    }}\n", self.size);
        Ok(text)
    }

    /// The functions that load the vectors of `r`, with the arguments that follow the position.
    fn load(&mut self, r: Reg) -> Result<Vec<(String, String)>> {
        let InstrKind::Load { slot, .. } = self.v.l.instrs[r].kind else { return Ok(Vec::new()) };
        let word = self.body.w.word_type(slot);
        let names = self.v.names(r, "");
        let mut all = Vec::new();
        for (line, name) in self.v.load(&self.body, r, "", "    ").lines().zip(&names) {
            let line = line.replace(&format!("let {name} ="), "return");
            let (params, args) = self.free(&line);
            let _ = write!(
                self.functions,
                "fn load_{name}(j: u32{params}) -> vec4<{word}> {{\n{}{line}\n}}\n\n",
                self.inner
            );
            all.push((format!("load_{name}"), args.iter().map(|a| format!(", {a}")).collect()));
        }
        Ok(all)
    }

    /// What a text mentions of what is in scope but for indices along the columns: as parameters, and as arguments.
    fn free(&self, text: &str) -> (String, Vec<String>) {
        let names = mentioned(text);
        let index = |n: &str| n.starts_with('j');
        let free: Vec<_> = self.scope.iter().filter(|(n, _)| names.contains(&n[..]) && !index(n)).collect();
        let params = free.iter().map(|(n, t)| format!(", {n}: {t}")).collect();
        (params, free.into_iter().map(|(n, _)| n.clone()).collect())
    }

    /// The functions that join accumulators, and that which folds an element of each column. Gives whether it takes the
    /// position, and which arguments come last.
    fn fold(&mut self, element: &Element) -> Result<(bool, Vec<String>)> {
        let v = self.v;
        self.functions += &element.text;
        let w = &*self.body.w;
        let own = |r: Reg, k: usize| v.component(w, r, k);
        let (mut lines, mut joins, mut params, mut results, mut fields) =
            (String::new(), String::new(), Vec::new(), Vec::new(), String::new());
        for k in 0..v.width {
            lines += &element.call(k, own, "    ")?;
        }
        let mut result = String::new();
        for (i, (name, f)) in self.accumulators("f").into_iter().enumerate() {
            let (part, t) = (i % (v.width / 4), f.of_type()?);
            if part == 0 {
                let both = vector::COMPONENTS.map(|c| f.combine(&format!("a.{c}"), &format!("b.{c}"))).join(", ");
                let _ = write!(
                    joins,
                    "fn join{}(a: vec4<{t}>, b: vec4<{t}>) -> vec4<{t}> {{\n    return vec4({both});\n}}\n\n",
                    f.r
                );
            }
            let value = |k: usize| Ok(f.folded(&element.value(f.src, 4 * part + k, own)?));
            let values = (0..4).map(value).collect::<Result<Vec<_>>>()?.join(", ");
            params.push(format!("{name}: vec4<{t}>"));
            results.push(format!("join{}({name}, vec4({values}))", f.r));
            let _ = writeln!(fields, "    {name}: vec4<{t}>,");
            result = format!("vec4<{t}>");
        }
        let mut structure = String::new();
        let value = match &results[..] {
            [one] => one.clone(),
            several => {
                structure = format!("struct Folded {{\n{fields}}}\n\n");
                result = "Folded".into();
                format!("Folded({})", several.join(", "))
            }
        };
        let _ = writeln!(lines, "    return {value};");
        let names = mentioned(&lines);
        let axes = v.l.inner.len() - 1;
        let indices = if (0..axes).any(|d| names.contains(&format!("j{d}")[..])) { &self.inner[..] } else { "" };
        if !indices.is_empty() {
            params.push("j: u32".into());
        }
        for &r in &element.own {
            let InstrKind::Load { slot, .. } = v.l.instrs[r].kind else { continue };
            let word = w.word_type(slot);
            params.extend(v.names(r, "").into_iter().map(|n| format!("{n}: vec4<{word}>")));
        }
        let (free, args) = self.free(&lines);
        let position = !indices.is_empty();
        let text =
            format!("{structure}{joins}fn fold({}{free}) -> {result} {{\n{indices}{lines}}}\n\n", params.join(", "));
        self.functions += &text;
        Ok((position, args))
    }

    /// Folds what the invocations found; the first of each column has it then.
    fn tree(&self) -> Result<String> {
        let mut text = String::new();
        if self.lanes == 1 {
            return Ok(text);
        }
        for (g, group) in self.accumulators("f").chunks(TOGETHER).enumerate() {
            if g > 0 {
                text += "    workgroupBarrier();\n";
            }
            let (mut put, mut join) = (String::new(), String::new());
            for (k, (name, f)) in group.iter().enumerate() {
                let _ = writeln!(put, "    team{k}[id] = {name};");
                let _ = writeln!(join, "            {name} = join{}({name}, team{k}[other]);", f.r);
                let _ = writeln!(join, "            team{k}[id] = {name};");
            }
            let _ = write!(
                text,
                "{put}    workgroupBarrier();\n    for (var s = {}u; s > 0u; s = s >> 1u) {{\n        if (lane < s) {{\n            \
                 let other = id + s * {}u;\n{join}        }}\n        workgroupBarrier();\n    }}\n",
                self.lanes / 2,
                self.neighbours
            );
        }
        Ok(text)
    }

    fn scratch(&self) -> Result<String> {
        let count = if self.lanes == 1 { 0 } else { self.accumulators("f").len().min(TOGETHER) };
        let of = self.folds.first().map_or(Ok("f32"), Fold::of_type)?;
        let size = self.lanes * self.neighbours;
        Ok((0..count).map(|k| format!("var<workgroup> team{k}: array<vec4<{of}>, {size}>;\n")).collect())
    }
}

fn suffix(part: usize, parts: usize) -> &'static str {
    match (part, parts) {
        (_, 1) => "",
        (0, _) => "a",
        _ => "b",
    }
}
