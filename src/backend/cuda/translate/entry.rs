//! The kernel itself: its arguments, its built-in values, its globals.

use super::{Global, Param, Result, Translated, Uniforms, Writer, calls, identifier, prelude, stmt, unsupported};
use naga::{AddressSpace, Binding, BuiltIn, GlobalVariable, Handle, TypeInner};
use std::collections::BTreeSet;
use std::fmt::Write as _;

impl Writer<'_> {
    /// Writes everything that the entry point needs, and it.
    pub(super) fn entry_point(&mut self, index: usize) -> Result<Translated> {
        let point = &self.module.entry_points[index];
        let info = self.info.get_entry_point(index);
        for (handle, _) in self.module.global_variables.iter().filter(|(h, _)| !info[*h].is_empty()) {
            self.global(handle)?;
        }
        for function in self.reachable(&point.function.body) {
            self.function(function)?;
        }
        let name = identifier(&point.name, &mut self.names);
        let mut local = self.names.clone();
        let mut start = String::new();
        let arguments = self.built_ins(point, &mut local, &mut start)?;
        self.clear_workgroup(point, &mut start);
        self.private_variables(&mut start)?;
        let (signature, params) = self.signature()?;
        let body = stmt::Body::write(self, &point.function, info, arguments, local, start)?;
        let threads: u32 = point.workgroup_size.iter().product();
        let _ = write!(
            self.out,
            "\nextern \"C\" __global__ void __launch_bounds__({threads}) {name}({}) {{\n{body}}}\n",
            signature.join(", ")
        );
        let source = format!("{}\n{}", prelude::prelude_for(&self.out), self.out);
        Ok(Translated { source, entry: name, params, workgroup: point.workgroup_size })
    }

    /// The functions that the entry point calls, each after those that it calls.
    fn reachable(&self, body: &naga::Block) -> BTreeSet<Handle<naga::Function>> {
        let mut found = BTreeSet::new();
        calls(body, &mut found);
        let mut open: Vec<_> = found.iter().copied().collect();
        while let Some(function) = open.pop() {
            let mut more = BTreeSet::new();
            calls(&self.module.functions[function].body, &mut more);
            open.extend(more.into_iter().filter(|f| found.insert(*f)));
        }
        found
    }

    /// The variables behind the kernel's arguments, in the order of their bindings.
    fn bound(&self) -> Vec<(naga::ResourceBinding, Handle<GlobalVariable>)> {
        let vars = self.globals.keys().filter_map(|h| Some((self.module.global_variables[*h].binding?, *h)));
        let mut vars: Vec<_> = vars.collect();
        vars.sort_by_key(|(b, _)| (b.group, b.binding));
        vars
    }

    /// The kernel's parameters as text, and what they are.
    fn signature(&self) -> Result<(Vec<String>, Vec<Param>)> {
        let (mut text, mut params) = (Vec::new(), Vec::new());
        let (mut length_text, mut lengths) = (Vec::new(), Vec::new());
        for (naga::ResourceBinding { group, binding }, handle) in self.bound() {
            let (Some(Global { name, param: Some(param), length, .. }), var) =
                (self.globals.get(&handle), &self.module.global_variables[handle])
            else {
                continue;
            };
            match var.space {
                AddressSpace::Uniform => {
                    let value = self.options.uniforms == Uniforms::Value;
                    let Some(bytes) = self.inner(var.ty).try_size(self.module.to_ctx()) else {
                        return unsupported(format!("the uniform block '{name}', which is too large"));
                    };
                    // By value, what functions take as a reference is the kernel's own argument.
                    text.push(match value {
                        true => param.replacen("const ", "const __grid_constant__ ", 1).replacen('&', "", 1),
                        false => param.clone(),
                    });
                    params.push(Param::Uniform { group, binding, bytes, value });
                }
                _ => {
                    text.push(param.clone());
                    params.push(Param::Buffer { group, binding, writes: !param.starts_with("const ") });
                }
            }
            if let (Some(length), Some((offset, stride))) = (length, self.runtime_array(var.ty)) {
                length_text.push(format!("unsigned {length}"));
                lengths.push(Param::Length { group, binding, offset, stride });
            }
        }
        text.extend(length_text);
        params.extend(lengths);
        Ok((text, params))
    }

    /// Declares the entry point's arguments; gives their names.
    fn built_ins(
        &mut self,
        point: &naga::EntryPoint,
        names: &mut rustc_hash::FxHashSet<String>,
        start: &mut String,
    ) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        for arg in &point.function.arguments {
            let name = identifier(arg.name.as_deref().unwrap_or("arg"), names);
            let ty = self.ty(arg.ty)?;
            let value = match (&arg.binding, self.inner(arg.ty)) {
                (Some(binding), _) => built_in(binding, point.workgroup_size)?,
                (None, TypeInner::Struct { members, .. }) => {
                    let values: Vec<String> = members
                        .iter()
                        .map(|m| match &m.binding {
                            Some(binding) => built_in(binding, point.workgroup_size),
                            None => unsupported("an entry point's argument that is no built-in value"),
                        })
                        .collect::<Result<_>>()?;
                    format!("w_make_{ty}({})", values.join(", "))
                }
                _ => return unsupported("an entry point's argument that is no built-in value"),
            };
            let _ = writeln!(start, "    const {ty} {name} = {value};");
            arguments.push(name);
        }
        Ok(arguments)
    }

    /// WebGPU promises zeroed workgroup memory.
    fn clear_workgroup(&self, point: &naga::EntryPoint, start: &mut String) {
        if self.options.trusted {
            return;
        }
        let mut any = false;
        let threads: u32 = point.workgroup_size.iter().product();
        for (handle, var) in self.module.global_variables.iter() {
            if let Some(global) = self.globals.get(&handle).filter(|_| var.space == AddressSpace::WorkGroup) {
                let _ =
                    writeln!(start, "    w_zero({}, {}, {threads}u);", global.place, local_index(point.workgroup_size));
                any = true;
            }
        }
        if any {
            *start += "    __syncthreads();\n";
        }
    }

    fn private_variables(&mut self, start: &mut String) -> Result<()> {
        for (handle, var) in self.module.global_variables.iter() {
            if var.space != AddressSpace::Private || !self.globals.contains_key(&handle) {
                continue;
            }
            let ty = self.ty(var.ty)?;
            let init = match var.init {
                Some(init) => format!(" = {}", self.constant_expression(init)?),
                None => "{}".into(),
            };
            if let Some(global) = self.globals.get(&handle) {
                let _ = writeln!(start, "    {ty} {}{init};", global.name);
            }
        }
        Ok(())
    }
}

/// The place of a thread in its block, counted along x first.
fn local_index(size: [u32; 3]) -> String {
    match size {
        [_, 1, 1] => "threadIdx.x".into(),
        [x, _, 1] => format!("(threadIdx.y * {x}u + threadIdx.x)"),
        [x, y, _] => format!("((threadIdx.z * {y}u + threadIdx.y) * {x}u + threadIdx.x)"),
    }
}

fn built_in(binding: &Binding, size: [u32; 3]) -> Result<String> {
    let Binding::BuiltIn(built_in) = binding else {
        return unsupported("an entry point's argument that is no built-in value");
    };
    let [x, y, z] = size;
    let index = local_index(size);
    let threads = x * y * z;
    Ok(match built_in {
        BuiltIn::GlobalInvocationId => format!(
            "{{blockIdx.x * {x}u + threadIdx.x, blockIdx.y * {y}u + threadIdx.y, blockIdx.z * {z}u + threadIdx.z}}"
        ),
        BuiltIn::LocalInvocationId => "{threadIdx.x, threadIdx.y, threadIdx.z}".into(),
        BuiltIn::LocalInvocationIndex => index,
        BuiltIn::WorkGroupId => "{blockIdx.x, blockIdx.y, blockIdx.z}".into(),
        BuiltIn::WorkGroupSize => format!("{{{x}u, {y}u, {z}u}}"),
        BuiltIn::NumWorkGroups => "{gridDim.x, gridDim.y, gridDim.z}".into(),
        BuiltIn::NumSubgroups => format!("{}u", threads.div_ceil(32)),
        BuiltIn::SubgroupId => format!("{index} / 32u"),
        BuiltIn::SubgroupSize => "32u".into(),
        BuiltIn::SubgroupInvocationId => format!("{index} % 32u"),
        other => return unsupported(format!("the built-in value {other:?}")),
    })
}
