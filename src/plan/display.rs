//! A plan as people read it, for `SUNSTONE_DEBUG=plan` and for test failures.

use super::*;
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "plan: {} kernels, {} slots, {} outputs", self.kernels(), self.slots.len(), self.outputs.len())?;
        for (i, step) in self.steps.iter().enumerate() {
            write!(f, "{i:>3}  {step}")?;
        }
        for o in &self.outputs {
            writeln!(f, "     node {}.{} in slot {} {:?}", o.node, o.out, o.slot, o.layout)?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Loop(l) => {
                writeln!(f, "loop {l}")?;
                body(f, l)
            }
            Step::Contract(c) => {
                let (a, b) = (&c.a, &c.b);
                writeln!(
                    f,
                    "{:?} {} slot {} {:?} by slot {} {:?}",
                    c.kind, c.dtype, a.slot, a.layout, b.slot, b.layout
                )?;
                body(f, &c.epilogue)
            }
            Step::Scatter(s) => {
                writeln!(
                    f,
                    "scatter {}{} axis {} of {:?}: slot {} with slot {} at slot {} -> slot {}",
                    s.op.name(),
                    if s.deterministic { " in order" } else { "" },
                    s.axis,
                    s.shape,
                    s.base.slot,
                    s.src.slot,
                    s.index.slot,
                    s.out
                )
            }
            Step::Scan(s) => {
                let slots: Vec<usize> = s.srcs.iter().map(|o| o.slot).collect();
                let outs: Vec<usize> = std::iter::once(s.out).chain(s.found).collect();
                writeln!(f, "{} {} axis {} of {:?}: slots {slots:?} -> {outs:?}", s.op.name(), s.dtype, s.axis, s.shape)
            }
            Step::Sort(s) => {
                let order = if s.descending { "descending" } else { "ascending" };
                let outs = [s.values, s.indices];
                let Operand { slot, layout } = &s.src;
                writeln!(
                    f,
                    "sort {order} {} axis {} of {:?}: slot {slot} {layout:?} -> {outs:?}",
                    s.dtype, s.axis, s.shape
                )
            }
            Step::Custom(c) => writeln!(f, "custom {} slots {:?} -> {:?}", c.op.0.name(), c.inputs, c.outputs),
        }
    }
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner.is_empty() {
            true => write!(f, "{:?}", self.outer),
            false => write!(f, "{:?} over {:?}", self.outer, self.inner),
        }
    }
}

fn body(f: &mut fmt::Formatter<'_>, l: &Loop) -> fmt::Result {
    for (r, i) in l.instrs.iter().enumerate() {
        writeln!(f, "       %{r}: {} {:?} = {}", i.dtype, i.level, i.kind)?;
    }
    for s in &l.stores {
        writeln!(f, "       slot {}[{}] = %{}", s.slot, s.at, s.value)?;
    }
    Ok(())
}

impl fmt::Display for Affine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.offset)?;
        for (d, s) in self.strides.iter().enumerate().filter(|(_, s)| **s != 0) {
            write!(f, " + {s}*i{d}")?;
        }
        Ok(())
    }
}

impl fmt::Display for InstrKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guarded = |g: &Option<Reg>| g.map_or(String::new(), |g| format!(" if %{g}"));
        match self {
            InstrKind::Load { slot, at, guard } => write!(f, "slot {slot}[{at}]{}", guarded(guard)),
            InstrKind::Gather { slot, at, index, stride, size, guard, .. } => {
                write!(f, "slot {slot}[{at} + {stride}*%{index}] below {size}{}", guarded(guard))
            }
            InstrKind::Accumulator => write!(f, "accumulator"),
            InstrKind::Param { param } => write!(f, "param {param}"),
            InstrKind::Iota { at } => write!(f, "iota {at}"),
            InstrKind::InBounds { at, size, and } => write!(f, "0 <= {at} < {size}{}", guarded(and)),
            InstrKind::Random { distribution, at, .. } => write!(f, "random {distribution:?} {at}"),
            InstrKind::Unary { op, src } => write!(f, "{} %{src}", op.name()),
            InstrKind::Binary { op, lhs, rhs } => write!(f, "{} %{lhs} %{rhs}", op.name()),
            InstrKind::Select { condition, on_true, on_false } => write!(f, "%{condition} ? %{on_true} : %{on_false}"),
            InstrKind::Cast { src } => write!(f, "cast %{src}"),
            InstrKind::Reduce { op, src } => write!(f, "{} %{src}", op.name()),
            InstrKind::ArgReduce { op, src } => write!(f, "arg{} %{src}", op.name()),
        }
    }
}
