//! A loop that folds rows whose elements lie side by side: whole vectors, and one pass over memory where a row fits.
//!
//! A team of invocations takes the vectors of a row in turn. What several stages read stays in registers, if the team
//! can hold the row; else every stage walks the row again, in turns of a few vectors. What is done with a vector is a
//! function of its own, so that the text stays short and no compiler is asked to unroll anything.

use super::accumulate::{Fold, put_away};
use super::fold::{prologue, stages};
use super::pairs::stores_half;
use super::vector::{self, Element, Scope, Vectors, capitalised, mentioned};
use super::write::{Body, Writer};
use super::{KernelSource, Result, Target, count, spread};
use crate::graph::ReduceOp;
use crate::plan::{Level, Reg, Store};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Invocations that walk a row together, at most: what WebGPU promises.
const LANES: usize = 256;

/// Invocations in a workgroup, at least.
const GROUP: usize = 64;

/// Words of a row that an invocation may hold, and elements that it may sum before anything is put away.
const HELD: usize = 64;

/// Vectors that an invocation should have under way at once.
const TURN: usize = 4;

/// Vectors of four words that are loaded before anything is done with them, beside those that are held.
const AHEAD: usize = 8;

/// Folds that share the workgroup's memory; twice as many arrays (and positions) are what WebGPU promises.
const TOGETHER: usize = 4;

/// Values of a team that everybody reads; more are folded to so many first.
const READ: usize = 16;

/// How the rows are shared out.
struct Team {
    /// Invocations for a row, a power of two.
    lanes: usize,
    /// Rows that a workgroup takes.
    rows: usize,
    /// Vectors that an invocation takes in a turn.
    vectors: usize,
    /// One turn takes the whole row.
    once: bool,
    /// Every turn is a whole one.
    whole: bool,
}

impl Team {
    /// For rows of `length` vectors, of which `held` words an element are used again.
    fn choose(length: usize, width: usize, held: usize) -> Team {
        let most = (HELD / (4 * held.max(1))).clamp(1, 8).min(HELD / width);
        let enough = length.div_ceil(most.min(TURN)).next_power_of_two();
        // Fewer would not read whole lines of memory.
        let lanes = enough.max(length.next_power_of_two().min(8)).min(LANES);
        let each = length.div_ceil(lanes);
        let once = each <= most;
        let vectors = if once { each } else { most.min(TURN) };
        Team { lanes, rows: (GROUP / lanes).max(1), vectors, once, whole: length.is_multiple_of(lanes * vectors) }
    }
}

/// The kernel of a loop that is cut along its last inner axis.
pub fn along(v: Vectors, target: Target) -> Result<KernelSource> {
    let l = &v.l.clone();
    let stage = stages(l);
    let length = l.inner_len() / v.width;
    let held = held(&v, &stage);
    let team = Team::choose(length, v.width, held.iter().map(|&r| v.parts(r)).sum());
    let dispatch = spread(l.outer_len().div_ceil(team.rows))?;
    let mut w = Writer::default();
    w.touch_loop(l, |s| stores_half(l, s) && l.instrs[s.value].level != Level::Inner)?;
    v.declare(&mut w);
    let width = w.count(dispatch[0]);
    let rows = w.count(count(l.outer_len())?);
    let length = w.count(count(length)?);
    let head = prologue(team.lanes, team.rows, false, &width, &rows);
    let outer = w.indices("row", "i", &l.outer, "    ")?;
    let inner = w.indices("j", "j", &l.inner[..l.inner.len() - 1], "    ")?;
    let (body, places) = Body::new(&mut w, l, "    ");
    let held = if team.once { held } else { Vec::new() };
    let scope = vector::scope(&v)?;
    let mut rows = Along {
        body,
        v,
        team,
        length,
        inner,
        scope,
        stage,
        held,
        functions: String::new(),
        scratch: BTreeMap::new(),
        trees: 0,
        subgroup: target.subgroup as usize,
    };
    let text = rows.write()?;
    let size = rows.team.lanes * rows.team.rows;
    let scratch = rows.scratch.iter().map(|(name, t)| format!("var<workgroup> {name}: array<{t}, {size}>;\n"));
    let scratch: String = scratch.collect();
    let text = std::mem::take(&mut rows.functions) + &head + &outer + &places + &text + "}\n";
    Ok(w.finish("fold", &scratch, &text, dispatch))
}

/// The loads whose vectors more than one walk over the row needs.
fn held(v: &Vectors, stage: &[usize]) -> Vec<Reg> {
    let mut uses: BTreeMap<Reg, usize> = BTreeMap::new();
    let stages = stage.iter().max().copied().unwrap_or(0);
    let folds = (1..=stages).map(|s| sources(&folds_of(v, stage, s)));
    for targets in folds.chain([values(v)]) {
        v.needed_vectors(&targets).into_iter().for_each(|r| *uses.entry(r).or_default() += 1);
    }
    uses.into_iter().filter(|(_, uses)| *uses > 1).map(|(r, _)| r).collect()
}

fn folds_of(v: &Vectors, stage: &[usize], of: usize) -> Vec<Fold> {
    (0..stage.len()).filter(|&r| stage[r] == of).filter_map(|r| Fold::of(&v.l, r)).collect()
}

fn sources(folds: &[Fold]) -> Vec<Reg> {
    folds.iter().map(|f| f.src).collect()
}

/// What is stored for every element.
fn values(v: &Vectors) -> Vec<Reg> {
    let each = |s: &&Store| v.l.instrs[s.value].level == Level::Inner;
    v.l.stores.iter().filter(each).map(|s| s.value).collect()
}

struct Along<'a> {
    body: Body<'a>,
    v: Vectors,
    team: Team,
    /// The number of vectors of a row.
    length: String,
    /// The lines that find the indices of vector `j`.
    inner: String,
    scope: Scope,
    stage: Vec<usize>,
    /// The loads whose vectors stay in registers.
    held: Vec<Reg>,
    functions: String,
    /// Arrays in workgroup memory and their element types.
    scratch: BTreeMap<String, &'static str>,
    /// How many times the team's memory was used so far.
    trees: usize,
    /// Invocations that may read each other's values; 0 where none may.
    subgroup: usize,
}

/// A function of one vector.
struct Function {
    name: String,
    own: Vec<Reg>,
    free: Scope,
    position: bool,
}

impl Function {
    /// A call for vector `c` of a turn.
    fn call(&self, v: &Vectors, c: usize) -> String {
        let position = self.position.then(|| format!("at{c}"));
        let own = self.own.iter().flat_map(|&r| v.names(r, &format!("_{c}")));
        let args: Vec<String> = position.into_iter().chain(own).chain(self.free.iter().map(|f| f.0.clone())).collect();
        format!("{}({})", self.name, args.join(", "))
    }
}

impl Along<'_> {
    fn write(&mut self) -> Result<String> {
        let stages = self.stage.iter().max().map_or(0, |s| s + 1);
        let mut text = String::new();
        if self.team.once {
            text += &self.positions("lane", "    ");
            let held = self.held.clone();
            text += &self.loads(&held, 0..self.team.vectors, "    ")?;
        }
        for stage in 0..stages {
            if stage > 0 {
                text += &self.folds(stage)?;
            }
            for r in 0..self.stage.len() {
                let i = &self.body.l.instrs[r];
                if self.stage[r] == stage && i.level != Level::Inner && !i.kind.is_fold() {
                    text += &self.body.instr(r, "    ")?;
                }
            }
        }
        Ok(text + &self.stores()?)
    }

    /// The lines that say which vectors a turn takes, `first` being the first of them.
    fn positions(&self, first: &str, pad: &str) -> String {
        let Team { lanes, vectors, whole, .. } = self.team;
        let each = (0..vectors).map(|c| match (c, whole) {
            (0, true) => format!("{pad}let at0 = {first};\n"),
            (_, true) => format!("{pad}let at{c} = {first} + {}u;\n", c * lanes),
            (0, false) => format!("{pad}let at0 = min({first}, {} - 1u);\n", self.length),
            (_, false) => format!("{pad}let at{c} = min({first} + {}u, {} - 1u);\n", c * lanes, self.length),
        });
        each.collect()
    }

    /// Whether there is a vector `c` in the turn; none where that is certain.
    fn guard(&self, first: &str, c: usize) -> Option<String> {
        let Team { lanes, whole, .. } = self.team;
        let at = if c == 0 { first.to_owned() } else { format!("{first} + {}u", c * lanes) };
        (!whole).then(|| format!("{at} < {}", self.length))
    }

    /// The lines that load these vectors of a turn.
    fn loads(&mut self, regs: &[Reg], vectors: std::ops::Range<usize>, pad: &str) -> Result<String> {
        let mut text = String::new();
        for &r in regs {
            let names = self.v.names(r, "");
            let result = format!("vec4<{}>", self.v.word_type(self.body.w, r));
            let mut functions = Vec::new();
            for (p, line) in self.v.load(&self.body, r, "", "    ").lines().enumerate() {
                let lines = format!("{}\n", line.replace(&format!("let {} =", names[p]), "return"));
                functions.push(self.function(&format!("load_{}", names[p]), &result, &[], &lines)?);
            }
            for c in vectors.clone() {
                for (f, name) in functions.iter().zip(self.v.names(r, &format!("_{c}"))) {
                    let _ = writeln!(text, "{pad}let {name} = {};", f.call(&self.v, c));
                }
            }
        }
        Ok(text)
    }

    /// Adds a function of the vectors of `own` to the module.
    fn function(&mut self, name: &str, result: &str, own: &[Reg], lines: &str) -> Result<Function> {
        let names = mentioned(lines);
        let axes = self.v.l.inner.len() - 1;
        let indices = if (0..axes).any(|d| names.contains(&format!("j{d}")[..])) { &self.inner[..] } else { "" };
        let position = !indices.is_empty() || names.contains("j");
        let index = |name: &str| name.strip_prefix('j').is_some_and(|d| d.parse::<usize>().is_ok());
        let free: Scope = self.scope.iter().filter(|(n, _)| names.contains(&n[..]) && !index(n)).cloned().collect();
        let mut params: Vec<String> = position.then(|| "j: u32".into()).into_iter().collect();
        for &r in own {
            let word = self.v.word_type(self.body.w, r);
            params.extend(self.v.names(r, "").into_iter().map(|n| format!("{n}: vec4<{word}>")));
        }
        params.extend(free.iter().map(|(n, t)| format!("{n}: {t}")));
        let result = if result.is_empty() { String::new() } else { format!(" -> {result}") };
        let text = format!("fn {name}({}){result} {{\n{indices}{lines}}}\n\n", params.join(", "));
        if !self.functions.contains(&text) {
            self.functions += &text;
        }
        Ok(Function { name: name.into(), own: own.to_vec(), free, position })
    }

    /// A turn: loads what is not held, then does `each` with every vector. Not all is loaded at once where that is much.
    /// The second lines of `each` are not for a vector that is not there.
    fn turn(
        &mut self,
        loads: &[Reg],
        first: &str,
        each: impl Fn(usize) -> (String, String),
        pad: &str,
    ) -> Result<String> {
        let loads: Vec<Reg> = loads.iter().copied().filter(|r| !self.held.contains(r)).collect();
        let parts: usize = loads.iter().map(|&r| self.v.parts(r)).sum();
        let ahead = (AHEAD / parts.max(1)).max(1);
        let mut text = String::new();
        let vectors: Vec<usize> = (0..self.team.vectors).collect();
        for some in vectors.chunks(ahead) {
            text += &self.loads(&loads, some[0]..some[0] + some.len(), pad)?;
            for &c in some {
                let (always, lines) = each(c);
                text += &indented(&always, pad);
                text += &match self.guard(first, c) {
                    None => indented(&lines, pad),
                    Some(guard) => {
                        format!("{pad}if ({guard}) {{\n{}{pad}}}\n", indented(&lines, &format!("{pad}    ")))
                    }
                };
            }
        }
        Ok(text)
    }

    /// One walk over the row with all folds of a stage, then what the team makes of it.
    fn folds(&mut self, stage: usize) -> Result<String> {
        let folds = folds_of(&self.v, &self.stage, stage);
        let mut text: String = folds.iter().map(Fold::declare).collect();
        let loads = self.v.needed_vectors(&sources(&folds));
        let carried = self.carried(stage, &folds);
        let function = self.fold(stage, &folds, &loads, &carried)?;
        let sums: Vec<Fold> = folds.iter().copied().filter(|f| f.is_float_sum() && !self.team.once).collect();
        let v = &self.v;
        let names: Vec<String> = carried.iter().flat_map(|&r| carried_names(v, r)).collect();
        let calls: Vec<String> = (0..self.team.vectors).map(|c| function.call(v, c)).collect();
        // Where a walk is one turn with every vector in it, their results are put together at its end, in pairs.
        let vectors = self.team.vectors;
        let together = self.team.once && self.team.whole && vectors > 1;
        let apart = |f: &Fold| together && !f.arg;
        let part = |f: &Fold, c: usize| format!("p{}_{c}", f.r);
        let each = |c: usize| {
            let call = &calls[c];
            let name = |f: &Fold| if sums.iter().any(|s| s.r == f.r) { "p" } else { "f" };
            let take = |f: &Fold, value: &str, at: &str| match apart(f) {
                true => format!("let {} = {value};\n", part(f, c)),
                false => f.take(name(f), value, at, ""),
            };
            match &folds[..] {
                [f] if !f.arg && names.is_empty() => (String::new(), take(f, call, "")),
                _ => {
                    let q = format!("q{stage}_{c}");
                    let take = |f: &Fold| take(f, &format!("{q}.f{}", f.r), &format!("{q}.x{}", f.r));
                    let carried: String = names.iter().map(|n| format!("let {n}_{c} = {q}.{n};\n")).collect();
                    (format!("let {q} = {call};\n{carried}"), folds.iter().map(take).collect())
                }
            }
        };
        if self.team.once {
            text += &self.turn(&loads, "lane", each, "    ")?;
            for f in folds.iter().filter(|f| apart(f)) {
                let parts: Vec<String> = (0..vectors).map(|c| part(f, c)).collect();
                let _ = writeln!(text, "    f{} = {};", f.r, balanced(f, &parts));
            }
        } else {
            let one = self.body.w.count(1.0f32.to_bits());
            let pad = "        ";
            let lost: String = sums.iter().map(|f| format!("    var k{} = 0.0;\n", f.r)).collect();
            let start: String = sums.iter().map(|f| format!("{pad}var p{} = 0.0;\n", f.r)).collect();
            let turn = self.positions("c", pad) + &self.turn(&loads, "c", each, pad)?;
            let step = self.team.lanes * self.team.vectors;
            let put_away = put_away(&sums, &format!("bitcast<f32>({one})"), pad);
            let _ = write!(
                text,
                "{lost}    for (var c = lane; c < {}; c += {step}u) {{\n{start}{turn}{put_away}    }}\n",
                self.length
            );
        }
        for group in folds.chunks(TOGETHER) {
            if self.team.lanes > 1 {
                text += &self.together(group)?;
            }
        }
        text.extend(folds.iter().map(Fold::result));
        for r in carried {
            self.v.carry(r);
            self.held.push(r);
        }
        Ok(text)
    }

    /// What the folds of a stage compute on their way that later stages need, so that it is computed once; if there is
    /// room for it.
    fn carried(&self, stage: usize, folds: &[Fold]) -> Vec<Reg> {
        let last = self.stage.iter().max().copied().unwrap_or(0);
        let mut later: Vec<Reg> =
            (stage + 1..=last).flat_map(|s| sources(&folds_of(&self.v, &self.stage, s))).collect();
        later.extend(values(&self.v));
        let found = self.v.worth_carrying(&sources(folds), &later);
        let words = found.len() * self.v.width * self.team.vectors;
        let load = |r: &Reg| matches!(self.v.l.instrs[*r].kind, crate::plan::InstrKind::Load { .. });
        let new = |r: &Reg| !load(r) && !self.held.contains(r);
        if !self.team.once || words > HELD { Vec::new() } else { found.into_iter().filter(new).collect() }
    }

    /// The function that folds the elements of a vector, and gives what is carried with it.
    fn fold(&mut self, stage: usize, folds: &[Fold], loads: &[Reg], carried: &[Reg]) -> Result<Function> {
        let v = &self.v;
        let targets = [&sources(folds)[..], carried].concat();
        let element = Element::new(&mut self.body, v, &format!("source{stage}"), &targets, &[], &self.scope)?;
        self.functions += &element.text;
        let w = &*self.body.w;
        let own = |r: Reg, k: usize| v.component(w, r, k);
        let mut lines = String::new();
        for k in 0..v.width {
            lines += &element.call(k, own, "    ")?;
        }
        let source = |f: &Fold, k: usize| Ok(f.folded(&element.value(f.src, k, own)?));
        let name = format!("fold{stage}");
        let (result, structure) = match folds {
            [f] if !f.arg && carried.is_empty() => {
                let values = (0..v.width).map(|k| source(f, k)).collect::<Result<Vec<_>>>()?;
                let _ = writeln!(lines, "    return {};", balanced(f, &values));
                (f.of_type()?.to_owned(), String::new())
            }
            several => {
                let of = capitalised(&name);
                let (mut fields, mut results) = (String::new(), Vec::new());
                if several.iter().any(|f| f.arg) {
                    let _ = writeln!(lines, "    let at = i32(j) * {};", v.width);
                }
                for f in several {
                    let (r, t) = (f.r, f.of_type()?);
                    let values = (0..v.width).map(|k| source(f, k)).collect::<Result<Vec<_>>>()?;
                    let _ = writeln!(fields, "    f{r}: {t},");
                    results.push(format!("f{r}"));
                    if !f.arg {
                        let _ = writeln!(lines, "    let f{r} = {};", balanced(f, &values));
                        continue;
                    }
                    let _ = writeln!(fields, "    x{r}: i32,");
                    results.push(format!("x{r}"));
                    let _ = writeln!(lines, "    var f{r}: {t} = {};\n    var x{r} = at;", values[0]);
                    for (k, value) in values.iter().enumerate().skip(1) {
                        lines += &f.take("f", value, &format!("at + {k}"), "    ");
                    }
                }
                for &r in carried {
                    for (p, name) in carried_names(v, r).into_iter().enumerate() {
                        let values =
                            (4 * p..4 * p + 4).map(|k| element.value(r, k, own)).collect::<Result<Vec<_>>>()?;
                        let _ = writeln!(fields, "    {name}: vec4<f32>,");
                        results.push(format!("vec4({})", values.join(", ")));
                    }
                }
                let _ = writeln!(lines, "    return {of}({});", results.join(", "));
                (of.clone(), format!("struct {of} {{\n{fields}}}\n\n"))
            }
        };
        self.functions += &structure;
        self.function(&name, &result, loads, &lines)
    }

    /// Folds the team's accumulators; afterwards each member has them in `f` (and `x`). Two sets of arrays take turns,
    /// so that nobody writes what another may still have to read.
    fn together(&mut self, folds: &[Fold]) -> Result<String> {
        let (lanes, set) = (self.team.lanes, self.trees % 2);
        self.trees += 1;
        if let Some(subgroups) = self.subgroups(folds) {
            return self.together_by_subgroups(folds, set, subgroups);
        }
        let base = if self.team.rows == 1 { String::new() } else { format!("member * {lanes}u + ") };
        let (mut put, mut few, mut all) = (String::new(), String::new(), String::new());
        for (k, f) in folds.iter().enumerate() {
            let (r, stored) = (f.r, f.of_type()?);
            let (t, x) = (format!("team{set}{k}_{stored}"), format!("team{set}{k}_at"));
            let _ = writeln!(put, "    {t}[id] = f{r};");
            let read = lanes.min(READ);
            if f.arg {
                let take = f.take("f", &format!("{t}[{base}s]"), &format!("{x}[{base}s]"), "        ");
                let _ = writeln!(put, "    {x}[id] = x{r};");
                let _ = write!(
                    few,
                    "        for (var s = lane + {READ}u; s < {lanes}u; s += {READ}u) {{\n{}        }}\n",
                    indented(&take, "    ")
                );
                let _ = write!(
                    all,
                    "    f{r} = {t}[{base}0u];\n    x{r} = {x}[{base}0u];\n    for (var s = 1u; s < {read}u; s++) {{\n{take}    }}\n"
                );
                self.scratch.insert(x.clone(), "i32");
            } else {
                let others = (1..lanes / READ).map(|i| format!("{t}[{base}lane + {}u]", i * READ));
                let values: Vec<String> = [format!("f{r}")].into_iter().chain(others).collect();
                let _ = writeln!(few, "        f{r} = {};", balanced(f, &values));
                let values: Vec<String> = (0..read).map(|i| format!("{t}[{base}{i}u]")).collect();
                let _ = writeln!(all, "    f{r} = {};", balanced(f, &values));
            }
            self.scratch.insert(t, stored);
        }
        let mut text = format!("{put}    workgroupBarrier();\n");
        if lanes > READ {
            let _ = write!(
                text,
                "    if (lane < {READ}u) {{\n{few}{}    }}\n    workgroupBarrier();\n",
                indented(&put, "    ")
            );
        }
        Ok(text + &all)
    }

    /// How many subgroups the team is, where they fold. A browser is not asked for them, and what is never asked for
    /// is not downloaded.
    fn subgroups(&self, folds: &[Fold]) -> Option<usize> {
        let subgroups = self.team.lanes.checked_div(self.subgroup)?;
        let suits = self.team.rows == 1 && (1..=READ).contains(&subgroups) && folds.iter().all(|f| !f.arg);
        (cfg!(not(target_arch = "wasm32")) && suits).then_some(subgroups)
    }

    /// The same with one barrier, where a team is so many subgroups: the invocations of each fold their values among
    /// themselves.
    fn together_by_subgroups(&mut self, folds: &[Fold], set: usize, subgroups: usize) -> Result<String> {
        let size = self.subgroup;
        let (mut text, mut put, mut all) = (String::new(), String::new(), String::new());
        for (k, f) in folds.iter().enumerate() {
            let (r, stored) = (f.r, f.of_type()?);
            let t = format!("team{set}{k}_{stored}");
            let distances = std::iter::successors(Some(size / 2), |d| Some(d / 2)).take_while(|&d| d > 0);
            for d in distances {
                let other = format!("subgroupShuffleXor(f{r}, {d}u)");
                let _ = writeln!(text, "    f{r} = {};", f.combine(&format!("f{r}"), &other));
            }
            let _ = writeln!(put, "        {t}[id / {size}u] = f{r};");
            let values: Vec<String> = (0..subgroups).map(|i| format!("{t}[{i}u]")).collect();
            let _ = writeln!(all, "    f{r} = {};", balanced(f, &values));
            self.scratch.insert(t, stored);
        }
        Ok(format!("{text}    if (id % {size}u == 0u) {{\n{put}    }}\n    workgroupBarrier();\n{all}"))
    }

    /// First every element's, then the row's own, by one member, and not before all have read what it may overwrite.
    fn stores(&mut self) -> Result<String> {
        let (v, l) = (&self.v, self.body.l);
        let each = |s: &Store| l.instrs[s.value].level == Level::Inner;
        let mut text = String::new();
        if l.stores.iter().any(each) {
            let (whole, single) = v.stores(each);
            let targets: Vec<Reg> = whole.iter().map(|s| s.value).collect();
            let element = Element::new(&mut self.body, v, "last", &targets, &single, &self.scope)?;
            self.functions += &element.text;
            let w = &*self.body.w;
            let own = |r: Reg, k: usize| v.component(w, r, k);
            let mut lines = String::new();
            for k in 0..v.width {
                lines += &element.call(k, own, "    ")?;
            }
            for s in whole {
                lines += &v.store(&self.body, s, |k| element.value(s.value, k, own), "    ")?;
            }
            let loads = v.needed_vectors(&values(v));
            let function = self.function("store", "", &loads, &lines)?;
            let calls: Vec<String> = (0..self.team.vectors).map(|c| function.call(&self.v, c)).collect();
            let call = |c: usize| (String::new(), format!("{};\n", calls[c]));
            let pad = "        ";
            if self.team.once {
                let turn = self.turn(&loads, "lane", call, pad)?;
                let _ = write!(text, "    if ({}) {{\n{turn}    }}\n", self.live());
            } else {
                let turn = self.positions("c", pad) + &self.turn(&loads, "c", call, pad)?;
                let step = self.team.lanes * self.team.vectors;
                let end = format!("select(0u, {}, {})", self.length, self.live());
                let _ = write!(
                    text,
                    "    let end = {end};\n    for (var c = lane; c < end; c += {step}u) {{\n{turn}    }}\n"
                );
            }
        }
        let once: Vec<&Store> = l.stores.iter().filter(|s| !each(s)).collect();
        if once.is_empty() {
            return Ok(text);
        }
        let read_too = |s: &&Store| l.instrs.iter().any(|i| i.kind.slot() == Some(s.slot));
        if self.team.lanes > 1 && once.iter().any(read_too) {
            text += "    storageBarrier();\n";
        }
        let _ = writeln!(text, "    if ({} && lane == 0u) {{", self.live());
        for s in once {
            text += &self.body.store(s, "        ")?;
        }
        Ok(text + "    }\n")
    }

    /// Whether the row is there, for a team that must stay until the end.
    fn live(&self) -> &'static str {
        if self.team.lanes > 1 { "live" } else { "true" }
    }
}

/// The names of the vectors of a register that is carried.
fn carried_names(v: &Vectors, r: Reg) -> Vec<String> {
    match v.width / 4 {
        1 => vec![format!("v{r}")],
        _ => vec![format!("v{r}a"), format!("v{r}b")],
    }
}

/// One fold of all these values, in pairs, then pairs of pairs.
fn balanced(f: &Fold, values: &[String]) -> String {
    match values {
        [] => f.neutral().into(),
        [one] => one.clone(),
        // 4 or 16 of them: one look for a NaN serves four.
        _ if f.is_float_extreme() && matches!(values.len(), 4 | 16) => {
            let quarters: Vec<String> = values.chunks(values.len() / 4).map(|some| balanced(f, some)).collect();
            format!("{}_of_4_f32(vec4({}))", f.op.name(), quarters.join(", "))
        }
        _ => {
            let (a, b) = values.split_at(values.len() / 2);
            let bracket = |some: &[String]| match (some.len(), f.op) {
                (2.., ReduceOp::Sum | ReduceOp::Prod) => format!("({})", balanced(f, some)),
                _ => balanced(f, some),
            };
            f.combine(&bracket(a), &bracket(b))
        }
    }
}

fn indented(lines: &str, pad: &str) -> String {
    lines.lines().map(|line| format!("{pad}{line}\n")).collect()
}
