//! A loop cut into vectors: which loads and stores move several neighbouring elements at once, and the function that
//! computes one of them.
//!
//! The last inner axis of a cut loop counts the elements of a vector. What differs from one to the next is computed by
//! a function that is called for each; everything else is computed once.

use super::pairs::stores_half;
use super::write::{Body, Writer};
use super::{Result, ops};
use crate::dtype::DType;
use crate::plan::{Affine, InstrKind, Level, Loop, Reg, Store};
use rustc_hash::FxHashSet;
use std::fmt::Write as _;

/// Longer loops are not worth the time that their compilation would take once for each element.
const LONGEST: usize = 96;

/// What WGSL calls a vector's components.
pub const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// Names and types of what is in scope.
pub type Scope = Vec<(String, &'static str)>;

/// A loop whose elements are taken several at a time.
pub struct Vectors {
    /// The loop, with an inner axis more; where whole vectors are moved, places count vectors of four words.
    pub l: Loop,
    /// Elements of a vector: 4 words, or 8 where halves are among them.
    pub width: usize,
    /// For each instruction, whether it loads whole vectors.
    loads: Vec<bool>,
    /// For each store, whether it stores them.
    stores: Vec<bool>,
    /// For each instruction, whether the function for one element must compute it.
    varies: Vec<bool>,
    /// For each instruction, whether it was computed before and its vectors are at hand.
    carried: Vec<bool>,
}

impl Vectors {
    /// Cuts an axis (counted over `outer`, then `inner`) of a loop whose axes are merged. None where that is not
    /// possible, or would not pay.
    pub fn cut(l: &Loop, axis: usize) -> Option<Vectors> {
        let split = l.outer.len();
        let along = axis >= split;
        let size = *l.outer.iter().chain(&l.inner).nth(axis)?;
        let random = l.instrs.iter().any(|i| matches!(i.kind, InstrKind::Random { .. }));
        if l.instrs.len() > LONGEST || random || l.instrs.iter().any(|i| i.kind == InstrKind::Accumulator) {
            return None;
        }
        let each = |s: &Store| !along || l.instrs[s.value].level == Level::Inner;
        let near = |at: &Affine| at.strides.get(axis) == Some(&1);
        let halves =
            l.instrs.iter().any(|i| i.dtype.is_half() && i.kind.slot().is_some() && i.kind.affine().is_some_and(near))
                || l.stores.iter().any(|s| stores_half(l, s) && near(&s.at));
        let width = if halves { 8 } else { 4 };
        let fits = |at: &Affine| {
            let others = at.strides.iter().enumerate().all(|(d, s)| d == axis || s % width as i64 == 0);
            near(at) && at.offset % width as i64 == 0 && others
        };
        let loads: Vec<bool> =
            l.instrs.iter().map(|i| matches!(&i.kind, InstrKind::Load { at, guard: None, .. } if fits(at))).collect();
        let stores: Vec<bool> = l.stores.iter().map(|s| each(s) && fits(&s.at)).collect();
        let single = |(s, whole): (&Store, &bool)| each(s) && !whole;
        let singles = || l.stores.iter().zip(&stores).filter(|&(s, w)| single((s, w))).map(|(s, _)| s);
        if size == 0 || !size.is_multiple_of(width) || singles().any(|s| stores_half(l, s)) {
            return None;
        }
        let moves = |whole: &[bool]| whole.iter().filter(|w| **w).count();
        let strided = l.instrs.iter().zip(&loads).filter(|(i, whole)| {
            let at = i.kind.affine().filter(|_| i.kind.slot().is_some());
            !**whole && at.is_some_and(|at| at.strides[axis] != 0)
        });
        if moves(&loads) + moves(&stores) <= strided.count() + singles().count() {
            return None;
        }
        let carried = vec![false; l.instrs.len()];
        let mut cut = Vectors { l: l.clone(), width, loads, stores, varies: Vec::new(), carried };
        cut.divide(axis);
        cut.mark(along);
        Some(cut)
    }

    /// Makes two axes of one.
    fn divide(&mut self, axis: usize) {
        let (width, split) = (self.width, self.l.outer.len());
        match axis.checked_sub(split) {
            Some(d) => self.l.inner[d] /= width,
            None => self.l.outer[axis] /= width,
        }
        self.l.inner.push(width);
        let divide = |at: &mut Affine, unit: i64| {
            let step = at.strides[axis];
            at.strides[axis] *= width as i64;
            at.strides.push(step);
            if unit > 1 {
                // Every stride but that within a vector is a multiple of the vector's size.
                at.strides.iter_mut().for_each(|s| *s /= unit);
                at.offset /= unit;
            }
        };
        let unit = |dtype: DType, whole: bool| match whole {
            true if dtype.is_half() => 8,
            true => 4,
            false => 1,
        };
        for (i, whole) in self.l.instrs.iter_mut().zip(&self.loads) {
            let unit = unit(i.dtype, *whole);
            if let Some(at) = i.kind.affine_mut() {
                divide(at, unit);
            }
        }
        for (s, whole) in self.l.stores.iter_mut().zip(&self.stores) {
            divide(&mut s.at, unit(self.l.instrs[s.value].dtype, *whole));
        }
    }

    fn mark(&mut self, along: bool) {
        for (r, i) in self.l.instrs.iter().enumerate() {
            let moves = i.kind.affine().and_then(|at| at.strides.last()).is_some_and(|s| *s != 0);
            let varies = match i.kind.is_fold() {
                true => !along,
                false => {
                    let operands = i.kind.operands();
                    self.loads[r] || moves || i.level == Level::Inner || operands.iter().any(|&o| self.varies[o])
                }
            };
            self.varies.push(varies);
        }
    }

    /// Tells the writer which slots hold vectors; after [`Writer::touch_loop`].
    pub fn declare(&self, w: &mut Writer) {
        for (i, _) in self.l.instrs.iter().zip(&self.loads).filter(|(_, whole)| **whole) {
            i.kind.slot().into_iter().for_each(|slot| w.hold_vectors(slot));
        }
        self.l.stores.iter().zip(&self.stores).filter(|(_, whole)| **whole).for_each(|(s, _)| w.hold_vectors(s.slot));
    }

    /// Whether the function for one element must compute an instruction.
    pub fn varies(&self, r: Reg) -> bool {
        self.varies[r]
    }

    /// The stores that are done for each element: of whole vectors, and one by one.
    pub fn stores(&self, wanted: impl Fn(&Store) -> bool) -> (Vec<&Store>, Vec<&Store>) {
        let of = |whole: bool| {
            let all = self.l.stores.iter().zip(&self.stores);
            all.filter(|(s, w)| **w == whole && wanted(s)).map(|(s, _)| s).collect()
        };
        (of(true), of(false))
    }

    /// Vectors of four words that hold a vector of an instruction's or a store's dtype.
    pub fn parts(&self, r: Reg) -> usize {
        if self.l.instrs[r].dtype.is_half() && !self.carried[r] { self.width / 8 } else { self.width / 4 }
    }

    /// The vectors at hand that `targets` need: loads, and what was carried.
    pub fn needed_vectors(&self, targets: &[Reg]) -> Vec<Reg> {
        let needed = self.needed(targets, &[]);
        (0..needed.len()).filter(|&r| needed[r] && (self.loads[r] || self.carried[r])).collect()
    }

    /// The varying instructions that `targets` need, and that those of `known` do not hide.
    fn needed(&self, targets: &[Reg], known: &[bool]) -> Vec<bool> {
        let mut needed = vec![false; self.l.instrs.len()];
        let mut open: Vec<Reg> = targets.to_vec();
        while let Some(r) = open.pop() {
            let last = self.carried[r] || self.l.instrs[r].kind.is_fold() || known.get(r) == Some(&true);
            if self.varies[r] && !std::mem::replace(&mut needed[r], true) && !last {
                open.extend(self.l.instrs[r].kind.operands());
            }
        }
        needed
    }

    /// What the computation of `now` finds that that of `later` can begin with; none where that is what is at hand.
    pub fn worth_carrying(&self, now: &[Reg], later: &[Reg]) -> Vec<Reg> {
        let known = self.needed(now, &[]);
        let needed = self.needed(later, &known);
        let found: Vec<Reg> = (0..known.len()).filter(|&r| known[r] && needed[r]).collect();
        let computed = |r: &Reg| !self.loads[*r] && !self.carried[*r];
        let plain = |r: &Reg| !computed(r) || ops::register_type(self.l.instrs[*r].dtype).is_ok_and(|t| t == "f32");
        if found.iter().any(computed) && found.iter().all(plain) { found } else { Vec::new() }
    }

    /// Says that the vectors of `r` are at hand from now on.
    pub fn carry(&mut self, r: Reg) {
        self.carried[r] = !self.loads[r];
    }

    /// The type of the words of the vectors that `r` lies in.
    pub fn word_type(&self, w: &Writer, r: Reg) -> &'static str {
        match self.l.instrs[r].kind {
            InstrKind::Load { slot, .. } => w.word_type(slot),
            _ => "f32",
        }
    }

    /// The names of the vectors that a load gives, `tail` being part of each.
    pub fn names(&self, r: Reg, tail: &str) -> Vec<String> {
        match self.parts(r) {
            1 => vec![format!("v{r}{tail}")],
            n => (0..n).map(|p| format!("v{r}{}{tail}", ["a", "b"][p])).collect(),
        }
    }

    /// The lines that load the vectors of `r`.
    pub fn load(&self, body: &Body, r: Reg, tail: &str, pad: &str) -> String {
        let InstrKind::Load { slot, at, .. } = &self.l.instrs[r].kind else { return String::new() };
        let (buffer, place) = (body.w.buffer(*slot), body.place(at));
        let names = self.names(r, tail).into_iter().enumerate();
        names.map(|(p, name)| format!("{pad}let {name} = {buffer}[{place}{}];\n", plus(p))).collect()
    }

    /// Element `k` of the vectors of load `r`, as a register's value.
    pub fn component(&self, w: &Writer, r: Reg, k: usize) -> Result<String> {
        let names = self.names(r, "");
        let word = |i: usize| format!("{}.{}", names[i / 4], COMPONENTS[i % 4]);
        match self.l.instrs[r].kind {
            InstrKind::Load { slot, .. } => w.component(slot, self.l.instrs[r].dtype, word, k),
            _ => Ok(word(k)),
        }
    }

    /// The line that stores vectors, `value(k)` being element `k`.
    pub fn store(&self, body: &Body, s: &Store, value: impl Fn(usize) -> Result<String>, pad: &str) -> Result<String> {
        let dtype = self.l.instrs[s.value].dtype;
        let (buffer, place) = (body.w.buffer(s.slot), body.place(&s.at));
        let mut text = String::new();
        for p in 0..self.parts(s.value) {
            let word = |i: usize| match dtype.is_half() {
                true => {
                    let k = 8 * p + 2 * i;
                    Ok(format!("{dtype}_pair({}, {})", value(k)?, value(k + 1)?))
                }
                false => body.w.stored(s.slot, dtype, &value(4 * p + i)?),
            };
            let words = (0..4).map(word).collect::<Result<Vec<_>>>()?;
            let _ = writeln!(text, "{pad}{buffer}[{place}{}] = vec4({});", plus(p), words.join(", "));
        }
        Ok(text)
    }
}

fn plus(part: usize) -> String {
    if part == 0 { String::new() } else { format!(" + {part}") }
}

/// The function that computes some values of one element.
pub struct Element {
    name: String,
    /// Its text; none where there is nothing to compute.
    pub text: String,
    /// Registers that it is given: elements of vectors.
    pub own: Vec<Reg>,
    /// What else it is given.
    pub free: Scope,
    targets: Vec<Reg>,
    /// The name of the index within a vector.
    index: String,
}

impl Element {
    /// The function `name` that computes `targets` and does `stores`, which are of single elements.
    pub fn new(
        body: &mut Body,
        v: &Vectors,
        name: &str,
        targets: &[Reg],
        stores: &[&Store],
        scope: &Scope,
    ) -> Result<Element> {
        let mut targets: Vec<Reg> = targets.to_vec();
        targets.sort_unstable();
        targets.dedup();
        let stored: Vec<Reg> = stores.iter().map(|s| s.value).collect();
        let needed = v.needed(&[&targets[..], &stored].concat(), &[]);
        let given = |r: Reg| v.loads[r] || v.carried[r] || v.l.instrs[r].kind.is_fold();
        let (mut lines, mut own) = (String::new(), Vec::new());
        for r in (0..needed.len()).filter(|&r| needed[r]) {
            match given(r) {
                true => own.push(r),
                false => lines += &body.instr(r, "    ")?,
            }
        }
        for s in stores {
            lines += &body.store(s, "    ")?;
        }
        let index = format!("j{}", v.l.inner.len() - 1);
        let mut element = Element { name: name.into(), text: String::new(), own, free: Vec::new(), targets, index };
        if lines.is_empty() {
            return Ok(element);
        }
        let mut result = String::new();
        let mut structure = String::new();
        let typed = |r: Reg| Ok(format!("r{r}: {}", ops::register_type(v.l.instrs[r].dtype)?));
        match &element.targets[..] {
            [] => {}
            [r] => {
                result = format!(" -> {}", ops::register_type(v.l.instrs[*r].dtype)?);
                let _ = writeln!(lines, "    return r{r};");
            }
            several => {
                let of = capitalised(name);
                let fields =
                    several.iter().map(|&r| Ok(format!("    {},\n", typed(r)?))).collect::<Result<String>>()?;
                structure = format!("struct {of} {{\n{fields}}}\n\n");
                result = format!(" -> {of}");
                let values: Vec<String> = several.iter().map(|r| format!("r{r}")).collect();
                let _ = writeln!(lines, "    return {of}({});", values.join(", "));
            }
        }
        // Uniform values that are asked for need no parameter twice.
        let names = mentioned(&lines);
        let is_own = |name: &String| element.own.iter().any(|r| *name == format!("r{r}"));
        let free = scope.iter().filter(|(n, _)| names.contains(&n[..]) && !is_own(n));
        element.free = free.cloned().collect();
        let own = element.own.iter().map(|&r| typed(r)).collect::<Result<Vec<_>>>()?;
        let free = element.free.iter().map(|(n, t)| format!("{n}: {t}"));
        let index = names.contains(&element.index[..]).then(|| format!("{}: i32", element.index));
        element.index = if index.is_some() { element.index } else { String::new() };
        let params: Vec<String> = own.into_iter().chain(free).chain(index).collect();
        element.text = format!("{structure}fn {name}({}){result} {{\n{lines}}}\n\n", params.join(", "));
        Ok(element)
    }

    /// The line that calls it for element `k`, whose registers `own` gives.
    pub fn call(&self, k: usize, own: impl Fn(Reg, usize) -> Result<String>, pad: &str) -> Result<String> {
        if self.text.is_empty() {
            return Ok(String::new());
        }
        let index = (!self.index.is_empty()).then(|| k.to_string());
        let mut args = self.own.iter().map(|&r| own(r, k)).collect::<Result<Vec<_>>>()?;
        args.extend(self.free.iter().map(|(n, _)| n.clone()).chain(index));
        let result = if self.targets.is_empty() { String::new() } else { format!("let e{k} = ") };
        Ok(format!("{pad}{result}{}({});\n", self.name, args.join(", ")))
    }

    /// Target `r` of element `k`, after the call.
    pub fn value(&self, r: Reg, k: usize, own: impl Fn(Reg, usize) -> Result<String>) -> Result<String> {
        Ok(match (self.text.is_empty(), self.targets.len()) {
            (true, _) if self.own.contains(&r) => own(r, k)?,
            (true, _) => format!("r{r}"),
            (false, 1) => format!("e{k}"),
            (false, _) => format!("e{k}.r{r}"),
        })
    }
}

pub fn capitalised(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_uppercase() + rest
}

/// The identifiers in a text.
pub fn mentioned(text: &str) -> FxHashSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect()
}

/// What is known before the vectors: places, indices, and the registers that do not vary.
pub fn scope(v: &Vectors) -> Result<Scope> {
    let l = &v.l;
    let mut scope = Scope::new();
    for d in 0..l.outer.len() {
        scope.push((format!("i{d}"), "i32"));
    }
    for d in 0..l.inner.len() - 1 {
        scope.push((format!("j{d}"), "i32"));
    }
    for a in 0..l.instrs.len() + l.stores.len() {
        scope.push((format!("a{a}"), "i32"));
    }
    for (r, i) in l.instrs.iter().enumerate().filter(|(r, _)| !v.varies[*r]) {
        scope.push((format!("r{r}"), ops::register_type(i.dtype)?));
    }
    Ok(scope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Instr;

    /// `y[i, j] = x[..]` over `outer`, read at `from` and written contiguously.
    fn copy(outer: &[usize], dtype: DType, offset: i64, from: &[i64]) -> Loop {
        let (rows, columns) = (outer[0], outer[1]);
        assert!(rows > 0);
        let to = Affine { offset: 0, strides: [columns as i64, 1][..].into() };
        let at = Affine { offset, strides: from.into() };
        let kind = InstrKind::Load { slot: 0, at, guard: None };
        Loop {
            outer: outer.into(),
            instrs: vec![Instr { kind, dtype, level: Level::Outer }],
            stores: vec![Store { slot: 1, at: to, value: 0 }],
            ..Loop::default()
        }
    }

    #[test]
    fn only_what_is_aligned_and_contiguous_is_moved_in_vectors() {
        let cut = |l: &Loop| Vectors::cut(l, 1).map(|v| (v.width, v.loads[0], v.l.outer[1]));
        assert_eq!(cut(&copy(&[3, 8], DType::F32, 4, &[8, 1])), Some((4, true, 2)));
        assert_eq!(cut(&copy(&[3, 8], DType::F16, 8, &[8, 1])), Some((8, true, 1)));
        assert_eq!(cut(&copy(&[3, 8], DType::U8, 0, &[0, 1])), Some((4, true, 2)));
        // A number for every row is read once; what is strided, flipped or begins elsewhere, one by one.
        assert_eq!(cut(&copy(&[3, 8], DType::F32, 0, &[1, 0])), Some((4, false, 2)));
        for (offset, strides) in [(0, [1, 3]), (7, [8, -1]), (1, [8, 1]), (0, [9, 1])] {
            assert_eq!(cut(&copy(&[3, 8], DType::F32, offset, &strides)), None);
        }
        assert_eq!(cut(&copy(&[3, 6], DType::F32, 0, &[6, 1])), None);
        assert_eq!(cut(&copy(&[3, 12], DType::F16, 0, &[12, 1])), None);
    }

    #[test]
    fn places_of_vectors_count_vectors() {
        let v = Vectors::cut(&copy(&[3, 8], DType::F16, 16, &[8, 1]), 1).unwrap();
        assert_eq!(v.l.instrs[0].kind.affine(), Some(&Affine { offset: 2, strides: [1, 1, 0][..].into() }));
        let v = Vectors::cut(&copy(&[3, 8], DType::I32, 16, &[8, 1]), 1).unwrap();
        assert_eq!(v.l.instrs[0].kind.affine(), Some(&Affine { offset: 4, strides: [2, 1, 0][..].into() }));
    }

    #[test]
    fn a_kernel_that_would_mostly_move_single_elements_stays_as_it_is() {
        let mut l = copy(&[3, 8], DType::F32, 0, &[1, 3]);
        l.instrs.push(Instr {
            kind: InstrKind::Load { slot: 2, at: Affine { offset: 0, strides: [8, 1][..].into() }, guard: None },
            dtype: DType::F32,
            level: Level::Outer,
        });
        assert!(Vectors::cut(&l, 1).is_some_and(|v| v.loads == [false, true]));
        l.stores[0].at.strides = [1, 3][..].into();
        assert!(Vectors::cut(&l, 1).is_none());
    }
}
