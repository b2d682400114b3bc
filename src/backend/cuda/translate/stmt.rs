//! Function bodies: statements, and which expressions get a name.

use super::{Result, Writer, identifier, unsupported};
use naga::valid::FunctionInfo;
use naga::{
    AtomicFunction, Barrier, Block, CollectiveOperation, Expression, Function, GatherMode, Handle, LocalVariable,
    Statement, SubgroupOperation, SwitchValue, TypeInner,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::fmt::Write as _;

/// A function body being written.
pub(super) struct Body<'w, 'a> {
    pub w: &'w mut Writer<'a>,
    pub function: &'a Function,
    pub info: &'a FunctionInfo,
    pub arguments: Vec<String>,
    pub locals: FxHashMap<Handle<LocalVariable>, String>,
    /// Expressions that have a name.
    pub baked: FxHashMap<Handle<Expression>, String>,
    names: FxHashSet<String>,
    /// Temporaries that had to be declared at the top.
    declarations: String,
    /// For each enclosing loop, where `continue` goes; none when that is its start.
    loops: Vec<Option<String>>,
    /// How many enclosing loops have such a label. No jump may pass a declaration.
    hoisting: usize,
    labels: usize,
    out: String,
    indent: usize,
}

impl<'w, 'a> Body<'w, 'a> {
    /// The text of a function's body, after `start`.
    pub fn write(
        w: &'w mut Writer<'a>,
        function: &'a Function,
        info: &'a FunctionInfo,
        arguments: Vec<String>,
        names: FxHashSet<String>,
        start: String,
    ) -> Result<String> {
        let mut body = Body {
            w,
            function,
            info,
            arguments,
            locals: FxHashMap::default(),
            baked: FxHashMap::default(),
            names,
            declarations: start,
            loops: Vec::new(),
            hoisting: 0,
            labels: 0,
            out: String::new(),
            indent: 1,
        };
        body.local_variables()?;
        body.block(&function.body)?;
        Ok(body.declarations + &body.out)
    }

    fn local_variables(&mut self) -> Result<()> {
        let function = self.function;
        for (handle, var) in function.local_variables.iter() {
            let name = identifier(var.name.as_deref().unwrap_or("local"), &mut self.names);
            let ty = self.w.ty(var.ty)?;
            let init = match var.init {
                Some(init) => format!(" = {}", self.text(init)?),
                None => "{}".into(),
            };
            let _ = writeln!(self.declarations, "    {ty} {name}{init};");
            self.locals.insert(handle, name);
        }
        Ok(())
    }

    fn line(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.out, "{:width$}{}", "", text.as_ref(), width = 4 * self.indent);
    }

    /// Gives an expression's value a name.
    fn bind(&mut self, handle: Handle<Expression>, value: &str) -> Result<()> {
        let info = self.info;
        let ty = self.w.value_type(&info[handle].ty)?;
        let name = match self.function.named_expressions.get(&handle) {
            Some(name) => identifier(name, &mut self.names),
            None => format!("e{}", handle.index()),
        };
        if self.hoisting > 0 {
            let _ = writeln!(self.declarations, "    {ty} {name};");
            self.line(format!("{name} = {value};"));
        } else {
            self.line(format!("const {ty} {name} = {value};"));
        }
        self.baked.insert(handle, name);
        Ok(())
    }

    /// Evaluates an expression now, unless it can as well be written where it is used.
    fn emit(&mut self, handle: Handle<Expression>) -> Result<()> {
        let info = &self.info[handle];
        if self.w.resolved(&info.ty).pointer_space().is_some() {
            return Ok(());
        }
        let named = self.function.named_expressions.contains_key(&handle);
        let enough = match self.function.expressions[handle] {
            Expression::Load { .. } => 1,
            Expression::Access { .. } | Expression::AccessIndex { .. } => usize::MAX,
            _ => 2,
        };
        if named || info.ref_count >= enough {
            let value = self.text(handle)?;
            self.bind(handle, &value)?;
        }
        Ok(())
    }

    fn block(&mut self, block: &'a Block) -> Result<()> {
        block.iter().try_for_each(|statement| self.statement(statement))
    }

    fn nested(&mut self, block: &'a Block) -> Result<()> {
        self.indent += 1;
        self.block(block)?;
        self.indent -= 1;
        Ok(())
    }

    fn statement(&mut self, statement: &'a Statement) -> Result<()> {
        match *statement {
            Statement::Emit(ref range) => range.clone().try_for_each(|handle| self.emit(handle))?,
            Statement::Block(ref block) => {
                self.line("{");
                self.nested(block)?;
                self.line("}");
            }
            Statement::If { condition, ref accept, ref reject } => self.branch(condition, accept, reject)?,
            Statement::Switch { selector, ref cases } => self.switch(selector, cases)?,
            Statement::Loop { ref body, ref continuing, break_if } => self.cycle(body, continuing, break_if)?,
            Statement::Break => self.line("break;"),
            Statement::Continue => {
                let text = match self.loops.last() {
                    Some(Some(label)) => format!("goto {label};"),
                    _ => "continue;".into(),
                };
                self.line(text);
            }
            Statement::Return { value: None } => self.line("return;"),
            Statement::Return { value: Some(value) } => {
                let value = self.text(value)?;
                self.line(format!("return {value};"));
            }
            Statement::ControlBarrier(kind) => self.barrier(kind),
            Statement::MemoryBarrier(_) => self.line("__threadfence();"),
            Statement::Store { pointer, value } => {
                let (place, value) = (self.text(pointer)?, self.text(value)?);
                let text = match self.is_atomic(pointer) {
                    true => format!("w_atomic_store({place}, {value});"),
                    false => format!("{place} = {value};"),
                };
                self.line(text);
            }
            Statement::Atomic { pointer, fun, value, result } => self.atomic(pointer, fun, value, result)?,
            Statement::WorkGroupUniformLoad { pointer, result } => {
                let value = self.text(pointer)?;
                self.line("__syncthreads();");
                self.bind(result, &value)?;
                self.line("__syncthreads();");
            }
            Statement::Call { function, ref arguments, result } => {
                let mut args = arguments.iter().map(|a| self.text(*a)).collect::<Result<Vec<_>>>()?;
                let all = self.w.info;
                args.extend(self.w.passed(&all[function]).1);
                let Some(name) = self.w.functions.get(&function) else {
                    return unsupported("a call of a function that comes later");
                };
                let call = format!("{name}({})", args.join(", "));
                match result {
                    Some(result) => self.bind(result, &call)?,
                    None => self.line(format!("{call};")),
                }
            }
            Statement::SubgroupBallot { result, predicate } => {
                let predicate = predicate.map_or(Ok("true".into()), |p| self.text(p))?;
                self.bind(result, &format!("w_ballot({predicate})"))?;
            }
            Statement::SubgroupGather { mode, argument, result } => {
                let from = match mode {
                    GatherMode::BroadcastFirst => "(unsigned)__ffs((int)__activemask()) - 1u".into(),
                    GatherMode::Broadcast(i) | GatherMode::Shuffle(i) => format!("(unsigned){}", self.text(i)?),
                    GatherMode::ShuffleDown(d) => format!("w_lane() + (unsigned){}", self.text(d)?),
                    GatherMode::ShuffleUp(d) => format!("w_lane() - (unsigned){}", self.text(d)?),
                    GatherMode::ShuffleXor(m) => format!("w_lane() ^ (unsigned){}", self.text(m)?),
                    GatherMode::QuadBroadcast(i) => format!("(w_lane() & ~3u) + (unsigned){}", self.text(i)?),
                    GatherMode::QuadSwap(direction) => format!("w_lane() ^ {}u", direction as u32 + 1),
                };
                let argument = self.text(argument)?;
                self.bind(result, &format!("w_from({argument}, {from})"))?;
            }
            Statement::SubgroupCollectiveOperation { op, collective_op, argument, result } => {
                self.collective(op, collective_op, argument, result)?;
            }
            Statement::Kill => return unsupported("the statement Kill"),
            Statement::ImageStore { .. } | Statement::ImageAtomic { .. } => return unsupported("writes to textures"),
            Statement::RayQuery { .. } | Statement::RayPipelineFunction(_) => return unsupported("ray queries"),
            Statement::CooperativeStore { .. } => return unsupported("cooperative matrices"),
        }
        Ok(())
    }

    fn branch(&mut self, condition: Handle<Expression>, accept: &'a Block, reject: &'a Block) -> Result<()> {
        let condition = self.text(condition)?;
        if accept.is_empty() {
            self.line(format!("if (!({condition})) {{"));
            self.nested(reject)?;
        } else {
            self.line(format!("if ({condition}) {{"));
            self.nested(accept)?;
            if !reject.is_empty() {
                self.line("} else {");
                self.nested(reject)?;
            }
        }
        self.line("}");
        Ok(())
    }

    fn switch(&mut self, selector: Handle<Expression>, cases: &'a [naga::SwitchCase]) -> Result<()> {
        let selector = self.text(selector)?;
        self.line(format!("switch ({selector}) {{"));
        for case in cases {
            let label = match case.value {
                SwitchValue::I32(v) => format!("case {v}:"),
                SwitchValue::U32(v) => format!("case {v}u:"),
                SwitchValue::Default => "default:".into(),
            };
            if case.fall_through && case.body.is_empty() {
                self.line(label);
                continue;
            }
            self.line(format!("{label} {{"));
            self.nested(&case.body)?;
            if !case.fall_through {
                self.line("    break;");
            }
            self.line("}");
        }
        self.line("}");
        Ok(())
    }

    /// `continuing` follows the body, and sees what it names. Where the body continues early, it jumps there.
    fn cycle(&mut self, body: &'a Block, continuing: &'a Block, break_if: Option<Handle<Expression>>) -> Result<()> {
        let jumps = continues(body) && (!continuing.is_empty() || break_if.is_some());
        let label = jumps.then(|| {
            self.labels += 1;
            format!("next{}", self.labels)
        });
        self.line("while (true) {");
        self.hoisting += jumps as usize;
        self.loops.push(label.clone());
        self.nested(body)?;
        if let Some(label) = label {
            self.line(format!("{label}:;"));
        }
        self.nested(continuing)?;
        if let Some(condition) = break_if {
            let condition = self.text(condition)?;
            self.line(format!("    if ({condition}) break;"));
        }
        self.loops.pop();
        self.hoisting -= jumps as usize;
        self.line("}");
        Ok(())
    }

    fn barrier(&mut self, kind: Barrier) {
        // A barrier of the block orders storage and workgroup memory alike.
        let block = kind.intersects(Barrier::WORK_GROUP | Barrier::STORAGE | Barrier::TEXTURE);
        self.line(if block { "__syncthreads();" } else { "__syncwarp();" });
    }

    /// True for a pointer to an atomic.
    pub fn is_atomic(&self, pointer: Handle<Expression>) -> bool {
        match self.w.resolved(&self.info[pointer].ty) {
            TypeInner::Pointer { base, .. } => matches!(self.w.inner(*base), TypeInner::Atomic(_)),
            _ => false,
        }
    }

    fn atomic(
        &mut self,
        pointer: Handle<Expression>,
        fun: AtomicFunction,
        value: Handle<Expression>,
        result: Option<Handle<Expression>>,
    ) -> Result<()> {
        let info = self.info;
        let ty = self.w.value_type(&info[value].ty)?;
        if !matches!(&ty[..], "int" | "unsigned" | "float") {
            return unsupported(format!("atomics of {ty}"));
        }
        let (place, value) = (self.text(pointer)?, self.text(value)?);
        let call = match fun {
            AtomicFunction::Add => format!("atomicAdd(&{place}, {value})"),
            AtomicFunction::Subtract => format!("atomicAdd(&{place}, w_neg({value}))"),
            AtomicFunction::And => format!("atomicAnd(&{place}, {value})"),
            AtomicFunction::ExclusiveOr => format!("atomicXor(&{place}, {value})"),
            AtomicFunction::InclusiveOr => format!("atomicOr(&{place}, {value})"),
            AtomicFunction::Min => format!("atomicMin(&{place}, {value})"),
            AtomicFunction::Max => format!("atomicMax(&{place}, {value})"),
            AtomicFunction::Exchange { compare: None } => format!("atomicExch(&{place}, {value})"),
            AtomicFunction::Exchange { compare: Some(compare) } => {
                let compare = self.text(compare)?;
                let call = format!("atomicCAS(&{place}, {compare}, {value})");
                let Some(result) = result else {
                    self.line(format!("{call};"));
                    return Ok(());
                };
                let pair = self.w.value_type(&info[result].ty)?;
                let old = format!("old{}", result.index());
                let _ = writeln!(self.declarations, "    {ty} {old};");
                self.line(format!("{old} = {call};"));
                return self.bind(result, &format!("w_make_{pair}({old}, {old} == {compare})"));
            }
        };
        match result {
            Some(result) => self.bind(result, &call),
            None => {
                self.line(format!("{call};"));
                Ok(())
            }
        }
    }

    fn collective(
        &mut self,
        op: SubgroupOperation,
        collective: CollectiveOperation,
        argument: Handle<Expression>,
        result: Handle<Expression>,
    ) -> Result<()> {
        let info = self.info;
        let ty = self.w.value_type(&info[argument].ty)?;
        let value = self.text(argument)?;
        let function = match op {
            SubgroupOperation::All => return self.bind(result, &format!("w_subgroup_all({value})")),
            SubgroupOperation::Any => return self.bind(result, &format!("w_subgroup_any({value})")),
            SubgroupOperation::Add => "w_add",
            SubgroupOperation::Mul => "w_mul",
            SubgroupOperation::Min => "w_min",
            SubgroupOperation::Max => "w_max",
            SubgroupOperation::And => "w_and",
            SubgroupOperation::Or => "w_or",
            SubgroupOperation::Xor => "w_xor",
        };
        let fold = format!("[]({ty} a, {ty} b) {{ return {function}(a, b); }}");
        let mut scan = |inclusive: bool| {
            // WGSL scans sums and products only.
            let start = match op {
                SubgroupOperation::Mul => self.splat(&info[argument].ty, "1"),
                SubgroupOperation::Add => self.splat(&info[argument].ty, "0"),
                _ => unsupported(format!("a subgroup scan of {op:?}")),
            };
            Ok(format!("w_scan({value}, {}, {inclusive}, {fold})", start?))
        };
        let call = match collective {
            CollectiveOperation::Reduce => format!("w_reduce({value}, {fold})"),
            CollectiveOperation::InclusiveScan => scan(true)?,
            CollectiveOperation::ExclusiveScan => scan(false)?,
        };
        self.bind(result, &call)
    }
}

/// True when a block continues the loop that it is the body of.
fn continues(block: &Block) -> bool {
    block.iter().any(|statement| match statement {
        Statement::Continue => true,
        Statement::Block(b) => continues(b),
        Statement::If { accept, reject, .. } => continues(accept) || continues(reject),
        Statement::Switch { cases, .. } => cases.iter().any(|c| continues(&c.body)),
        _ => false,
    })
}
