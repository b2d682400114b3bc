//! A loop that folds its rows: several stages over a row, each with the folds that need only those before them.
//!
//! A *team* of invocations walks a row together, side by side, and folds its parts in a tree in workgroup memory; then
//! every member knows the result and the next stage may use it. Teams of one need neither memory nor barriers.
//! Everything that decides whether a barrier is reached is the same for the whole workgroup.

use super::accumulate::{Fold, put_away};
use super::across::{across, is_simple};
use super::along::along;
use super::domain::merge_axes;
use super::pairs::{Pairs, is_paired, stores_half};
use super::vector::Vectors;
use super::write::{Body, Writer};
use super::{KernelSource, Result, Target, count, spread};
use crate::plan::{Level, Loop, Reg, Store};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Elements after which a lane's running sum of floats is put away, so that small addends meet no large sum.
const CHUNK: usize = 32;

/// Elements that a turn of the loop over a long row takes.
const UNROLL: usize = 4;

/// Folds that share one walk down the tree; more would need more workgroup memory than WebGPU promises.
const TREE: usize = 4;

/// How a workgroup is shared out.
struct Team {
    /// Invocations for a row, a power of two.
    lanes: usize,
    /// Rows that a workgroup takes.
    rows: usize,
    /// Neighbouring invocations take neighbouring rows, not neighbouring elements of a row.
    across: bool,
}

impl Team {
    /// Short rows need no team. Otherwise neighbours should read neighbours in memory: along the row, or across rows
    /// where those lie side by side (the sum of each column of a matrix).
    fn choose(l: &Loop) -> Team {
        let (rows, length) = (l.outer_len(), l.inner_len());
        match (reads_across(l), length) {
            (_, 0..=32) => Team { lanes: 1, rows: 64, across: true },
            (true, _) if rows >= 1 << 16 => Team { lanes: 1, rows: 64, across: true },
            (true, _) => Team { lanes: 8, rows: 32, across: true },
            (false, 0..=1024) => Team { lanes: 64, rows: 1, across: false },
            (false, _) => Team { lanes: 256, rows: 1, across: false },
        }
    }

    /// Distance in the workgroup between two neighbours of a team.
    fn step(&self) -> usize {
        if self.across { self.rows } else { 1 }
    }
}

/// Whether more of what is read lies side by side across rows than along them.
fn reads_across(l: &Loop) -> bool {
    let beside = |at: &crate::plan::Affine, outer: bool| {
        let (kept, folded) = at.strides.split_at(l.outer.len());
        if outer { kept.last() == Some(&1) && folded.last() != Some(&1) } else { folded.last() == Some(&1) }
    };
    let loads = || l.instrs.iter().filter(|i| i.level == Level::Inner && i.kind.slot().is_some());
    let reads = |outer| loads().filter_map(|i| i.kind.affine()).filter(|at| beside(at, outer)).count();
    reads(true) > reads(false)
}

/// The kernel of a loop with an inner domain.
pub fn fold(l: &Loop, target: Target) -> Result<KernelSource> {
    let l = merge_axes(l);
    let columns = reads_across(&l);
    if !l.inner.is_empty()
        && !columns
        && let Some(v) = Vectors::cut(&l, l.outer.len() + l.inner.len() - 1)
    {
        return along(v, target);
    }
    if columns
        && is_simple(&l)
        && let Some(v) = Vectors::cut(&l, l.outer.len() - 1)
    {
        return across(&v);
    }
    let team = Team::choose(&l);
    let dispatch = spread(l.outer_len().div_ceil(team.rows))?;
    let mut w = Writer::default();
    let split = l.outer.len();
    let inner = |s: &&Store| l.instrs[s.value].level == Level::Inner;
    let paired = l.stores.iter().filter(inner).filter(|s| stores_half(&l, s)).all(|s| is_paired(&l, s, split));
    w.touch_loop(&l, |s| stores_half(&l, s) && !(paired && inner(&s)))?;
    let width = w.count(dispatch[0]);
    let rows = w.count(count(l.outer_len())?);
    let length = w.count(count(l.inner_len())?);
    let head = prologue(team.lanes, team.rows, team.across, &width, &rows);
    let outer = w.indices("row", "i", &l.outer, "    ")?;
    let inner = w.indices("j", "j", &l.inner, "            ")?;
    let (body, places) = Body::new(&mut w, &l, "    ");
    let mut rows = Rows { body, team, length, inner, paired, stage: stages(&l), scratch: BTreeMap::new() };
    let text = head + &outer + &places + &rows.write()? + "}\n";
    let scratch = rows.declarations();
    Ok(w.finish("fold", &scratch, &text, dispatch))
}

/// Who this invocation is. A workgroup past the last row does that row again and stores nothing.
/// Neighbours in the workgroup are members of one team, unless their rows are `across`.
pub fn prologue(lanes: usize, per_group: usize, across: bool, width: &str, rows: &str) -> String {
    let (lane, member) = match (lanes, per_group) {
        (1, _) => ("0u".into(), "id".into()),
        (_, 1) => ("id".into(), "0u".into()),
        _ if across => (format!("id / {per_group}u"), format!("id % {per_group}u")),
        _ => (format!("id % {lanes}u"), format!("id / {lanes}u")),
    };
    let bounds = match lanes {
        1 => format!("    let row = first;\n    if (row >= {rows}) {{\n        return;\n    }}\n"),
        _ => format!("    let live = first < {rows};\n    let row = min(first, {rows} - 1u);\n"),
    };
    format!(
        "@compute @workgroup_size({})\n\
         fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {{\n    \
         let lane = {lane};\n    let member = {member};\n    \
         let first = (group.y * {width} + group.x) * {per_group}u + member;\n{bounds}",
        lanes * per_group
    )
}

/// For each instruction, how many stages must be over before it can be evaluated.
pub fn stages(l: &Loop) -> Vec<usize> {
    let mut stage: Vec<usize> = Vec::with_capacity(l.instrs.len());
    for instr in &l.instrs {
        let before = instr.kind.operands().iter().map(|&r| stage[r]).max().unwrap_or(0);
        stage.push(before + instr.kind.is_fold() as usize);
    }
    stage
}

struct Rows<'a> {
    body: Body<'a>,
    team: Team,
    /// The number of elements of a row.
    length: String,
    /// The lines that find an element's indices.
    inner: String,
    /// Halves stored along the row are the two of a word.
    paired: bool,
    stage: Vec<usize>,
    /// Arrays in workgroup memory and their element types.
    scratch: BTreeMap<String, &'static str>,
}

impl Rows<'_> {
    fn write(&mut self) -> Result<String> {
        let stages = self.stage.iter().max().map_or(0, |s| s + 1);
        let mut text = String::new();
        for stage in 0..stages {
            if stage > 0 {
                text += &self.folds(stage)?;
            }
            for r in self.registers(|_, i| i.level != Level::Inner && !i.kind.is_fold()) {
                if self.stage[r] == stage {
                    text += &self.body.instr(r, "    ")?;
                }
            }
        }
        Ok(text + &self.stores()?)
    }

    fn registers(&self, wanted: impl Fn(Reg, &crate::plan::Instr) -> bool) -> Vec<Reg> {
        let instrs = &self.body.l.instrs;
        (0..instrs.len()).filter(|&r| wanted(r, &instrs[r])).collect()
    }

    /// One pass over the row with all folds of `stage`, then the trees.
    fn folds(&mut self, stage: usize) -> Result<String> {
        let folds: Vec<Fold> = self
            .registers(|r, _| self.stage[r] == stage)
            .into_iter()
            .filter_map(|r| Fold::of(self.body.l, r))
            .collect();
        let sources: Vec<Reg> = folds.iter().map(|f| f.src).collect();
        let mut text: String = folds.iter().map(Fold::declare).collect();
        let lanes = self.team.lanes;
        let each = self.inner.clone() + &self.elements(&sources, "            ")?;
        let length = self.length.clone();
        if self.body.l.inner_len() > lanes * CHUNK {
            let one = self.body.w.count(1.0f32.to_bits());
            text += &self.long_walk(&folds, &each, &format!("bitcast<f32>({one})"));
        } else {
            let steps: String = folds.iter().map(|f| accumulate(f, "f")).collect();
            let _ = write!(
                text,
                "    for (var j = lane; j < {length}; j += {lanes}u) {{\n        {{\n{each}{steps}        }}\n    }}\n"
            );
        }
        for group in folds.chunks(TREE) {
            if lanes > 1 {
                text += &self.tree(group)?;
            }
            text.extend(group.iter().map(Fold::result));
        }
        Ok(text)
    }

    /// The walk over a long row, `each` being the lines for an element: in chunks, whose sums of floats are put away with
    /// what rounding lost (`one` is 1), and several elements a turn. A software driver may stop after 65,535 turns.
    fn long_walk(&self, folds: &[Fold], each: &str, one: &str) -> String {
        let (lanes, length) = (self.team.lanes, &self.length);
        let (chunk, turn) = (lanes * CHUNK, lanes * UNROLL);
        let sums: Vec<Fold> = folds.iter().copied().filter(Fold::is_float_sum).collect();
        let lines = |line: &dyn Fn(Reg) -> String| sums.iter().map(|f| line(f.r)).collect::<String>();
        let steps: String = folds.iter().map(|f| accumulate(f, if f.is_float_sum() { "p" } else { "f" })).collect();
        let mut turns = String::new();
        for u in 0..UNROLL {
            let _ = write!(
                turns,
                "        if (t + {}u < end) {{\n            let j = t + {}u;\n{each}{steps}        }}\n",
                u * lanes,
                u * lanes
            );
        }
        let lost = lines(&|r| format!("    var k{r} = 0.0;\n"));
        let start = lines(&|r| format!("        var p{r} = 0.0;\n"));
        let put_away = put_away(&sums, one, "        ");
        format!(
            "{lost}    for (var c = lane; c < {length}; c += {chunk}u) {{\n{start}        \
             let end = min({length}, c + {chunk}u);\n        \
             for (var t = c; t < end; t += {turn}u) {{\n{turns}        }}\n{put_away}    }}\n"
        )
    }

    /// The inner instructions that `targets` need, in order.
    fn elements(&mut self, targets: &[Reg], pad: &str) -> Result<String> {
        let instrs = &self.body.l.instrs;
        let mut needed = vec![false; instrs.len()];
        let mut open: Vec<Reg> = targets.to_vec();
        while let Some(r) = open.pop() {
            if instrs[r].level == Level::Inner && !std::mem::replace(&mut needed[r], true) {
                open.extend(instrs[r].kind.operands());
            }
        }
        let mut text = String::new();
        for r in (0..needed.len()).filter(|&r| needed[r]) {
            text += &self.body.instr(r, pad)?;
        }
        Ok(text)
    }

    /// Folds the team's accumulators together; afterwards each member has them in `f` (and `x`).
    fn tree(&mut self, folds: &[Fold]) -> Result<String> {
        let (mut put, mut join, mut get) = (String::new(), String::new(), String::new());
        let base = if self.team.across { "member" } else { "0u" };
        for (k, fold) in folds.iter().enumerate() {
            let (r, stored) = (fold.r, fold.of_type()?);
            let t = format!("team{k}_{stored}");
            self.scratch.insert(t.clone(), stored);
            let _ = writeln!(put, "    {t}[id] = f{r};");
            let _ = writeln!(get, "    f{r} = {t}[{base}];");
            if fold.arg {
                let x = format!("team{k}_at");
                self.scratch.insert(x.clone(), "i32");
                let _ = writeln!(put, "    {x}[id] = x{r};");
                let _ = writeln!(get, "    x{r} = {x}[{base}];");
                let beats = fold.beats(
                    &format!("{t}[other]"),
                    &format!("{x}[other]"),
                    &format!("{t}[id]"),
                    &format!("{x}[id]"),
                );
                let _ = write!(
                    join,
                    "            if ({beats}) {{\n                {t}[id] = {t}[other];\n                \
                     {x}[id] = {x}[other];\n            }}\n"
                );
            } else {
                let sum = fold.combine(&format!("{t}[id]"), &format!("{t}[other]"));
                let _ = writeln!(join, "            {t}[id] = {sum};");
            }
        }
        let step = match self.team.step() {
            1 => "s".into(),
            step => format!("s * {step}u"),
        };
        let half = self.team.lanes / 2;
        Ok(format!(
            "{put}    workgroupBarrier();\n    for (var s = {half}u; s > 0u; s = s >> 1u) {{\n        if (lane < s) {{\n            \
             let other = id + {step};\n{join}        }}\n        workgroupBarrier();\n    }}\n{get}    workgroupBarrier();\n"
        ))
    }

    /// First every element's, then the row's own, by one member, and not before all have read what it may overwrite.
    fn stores(&mut self) -> Result<String> {
        let l = self.body.l;
        let (each, once): (Vec<_>, Vec<_>) = l.stores.iter().partition(|s| l.instrs[s.value].level == Level::Inner);
        let (lanes, length) = (self.team.lanes, self.length.clone());
        let mut text = String::new();
        if !each.is_empty() {
            let values: Vec<Reg> = each.iter().map(|s| s.value).collect();
            let mut lines = self.inner.clone() + &self.elements(&values, "            ")?;
            let live = if lanes > 1 { "if (live) " } else { "" };
            let (halves, whole): (Vec<&Store>, Vec<_>) =
                each.into_iter().partition(|s| self.paired && stores_half(l, s));
            for s in whole {
                lines += &self.body.store(s, "            ")?;
            }
            let _ = match halves.is_empty() {
                true => write!(
                    text,
                    "    for (var j = lane; j < {length}; j += {lanes}u) {{\n        {live}{{\n{lines}        }}\n    }}\n"
                ),
                false => {
                    let split = l.outer.len();
                    let Pairs { before, each, after } =
                        Pairs::new(self.body.w, l, &halves, split, "pair", "            ");
                    let turn = 2 * lanes;
                    write!(
                        text,
                        "    for (var pair = lane * 2u; pair < {length}; pair += {turn}u) {{\n        {live}{{\n\
                         {before}            for (var k = 0u; k < 2u; k++) {{\n            \
                         let j = pair + k;\n            if (j >= {length}) {{\n                break;\n            }}\n\
                         {lines}{each}            }}\n{after}        }}\n    }}\n"
                    )
                }
            };
        }
        if once.is_empty() {
            return Ok(text);
        }
        let read_too = |slot| l.instrs.iter().any(|i| i.kind.slot() == Some(slot));
        if lanes == 1 {
            for s in once {
                text += &self.body.store(s, "    ")?;
            }
            return Ok(text);
        }
        if once.iter().any(|s| read_too(s.slot)) {
            text += "    storageBarrier();\n";
        }
        text += "    if (live && lane == 0u) {\n";
        for s in once {
            text += &self.body.store(s, "        ")?;
        }
        Ok(text + "    }\n")
    }

    fn declarations(&self) -> String {
        let size = self.team.lanes * self.team.rows;
        self.scratch.iter().map(|(name, t)| format!("var<workgroup> {name}: array<{t}, {size}>;\n")).collect()
    }
}

/// The lines that take an element's value into a fold.
fn accumulate(fold: &Fold, name: &str) -> String {
    fold.take(name, &fold.folded(&format!("r{}", fold.src)), "i32(j)", "            ")
}
