//! A naga backend: a validated compute module as CUDA C that NVRTC compiles without any header.
//!
//! It is usable on its own, with any module that naga's front ends make:
//!
//! ```
//! use sunstone::backend::cuda::translate::{Options, translate};
//! let wgsl = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;
//!     @compute @workgroup_size(64) fn double(@builtin(global_invocation_id) at: vec3<u32>) {
//!         if (at.x < arrayLength(&x)) { x[at.x] = 2.0 * x[at.x]; }
//!     }";
//! let module = naga::front::wgsl::parse_str(wgsl).unwrap();
//! let mut validator = naga::valid::Validator::new(Default::default(), Default::default());
//! let info = validator.validate(&module).unwrap();
//! let cuda = translate(&module, &info, "double", &Options::default()).unwrap();
//! assert!(cuda.source.contains("__global__ void __launch_bounds__(64) double_("));
//! assert_eq!(cuda.params.len(), 2, "the buffer and its length");
//! ```
//!
//! The text is C++17 with CUDA's built-ins, and keeps what WGSL promises: signed integers wrap, shift distances are
//! taken modulo the width, conversions saturate, types have WGSL's layout. Untrusted modules also get indices held
//! inside their arrays, workgroup memory that starts as zeros, and a division by zero that has a value. Compile it
//! with `--fmad=false` where sums and products must round one by one, as WGSL lets a compiler fuse them or not.
//!
//! What CUDA has no counterpart for (textures, ray queries, cooperative matrices, overrides that were not resolved)
//! is refused with an error that names it.

mod entry;
mod expr;
mod math;
mod prelude;
mod stmt;
#[cfg(test)]
mod tests;
mod types;

use naga::proc::TypeResolution;
use naga::{AddressSpace, Function, GlobalVariable, Handle, Module, ShaderStage, Type, TypeInner};
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Why a module has no translation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// It uses what CUDA C has no counterpart for, or this backend has not learnt.
    #[error("CUDA C has no translation of {0}")]
    Unsupported(String),
    /// It has no compute entry point of that name.
    #[error("the module has no compute entry point '{0}'")]
    NoEntryPoint(String),
}

type Result<T> = std::result::Result<T, TranslateError>;

fn unsupported<T>(what: impl Into<String>) -> Result<T> {
    Err(TranslateError::Unsupported(what.into()))
}

/// How a module is translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Options {
    /// True for modules that stay inside their arrays, write workgroup memory before they read it and never divide
    /// integers by zero; they are spared the checks.
    pub trusted: bool,
    /// How uniform blocks reach the kernel.
    pub uniforms: Uniforms,
}

/// How uniform blocks reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Uniforms {
    /// As pointers to device memory.
    #[default]
    Pointer,
    /// As kernel arguments, whole: the fastest to read, at most 4 KiB of all arguments.
    Value,
}

/// A translated entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// CUDA C.
    pub source: String,
    /// The kernel's name in it.
    pub entry: String,
    /// The kernel's arguments, in order: resources by group and binding, then lengths in the same order.
    pub params: Vec<Param>,
    /// Threads of a block.
    pub workgroup: [u32; 3],
}

/// An argument of a translated kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Param {
    /// A pointer to a storage buffer.
    Buffer { group: u32, binding: u32, writes: bool },
    /// A uniform block of so many bytes: the block itself, or a pointer to it.
    Uniform { group: u32, binding: u32, bytes: u32, value: bool },
    /// A `u32`, the number of elements in the runtime-sized array of a buffer: `(bytes - offset) / stride`.
    Length { group: u32, binding: u32, offset: u32, stride: u32 },
}

/// Translates one compute entry point.
///
/// # Errors
/// [`TranslateError::NoEntryPoint`], and [`TranslateError::Unsupported`] with the name of what cannot be said in CUDA C.
pub fn translate(
    module: &Module,
    info: &naga::valid::ModuleInfo,
    entry: &str,
    options: &Options,
) -> Result<Translated> {
    let missing = || TranslateError::NoEntryPoint(entry.into());
    let is = |e: &naga::EntryPoint| e.name == entry && e.stage == ShaderStage::Compute;
    let index = module.entry_points.iter().position(is).ok_or_else(missing)?;
    if !module.overrides.is_empty() {
        return unsupported("pipeline overrides that were not resolved");
    }
    let mut writer = Writer {
        module,
        info,
        options: *options,
        names: FxHashSet::default(),
        types: FxHashMap::default(),
        members: FxHashMap::default(),
        globals: FxHashMap::default(),
        constants: FxHashMap::default(),
        functions: FxHashMap::default(),
        out: String::new(),
    };
    writer.entry_point(index)
}

/// A module being written.
struct Writer<'a> {
    module: &'a Module,
    info: &'a naga::valid::ModuleInfo,
    options: Options,
    /// All names given at file scope.
    names: FxHashSet<String>,
    types: FxHashMap<Handle<Type>, String>,
    /// The names of each structure's members.
    members: FxHashMap<Handle<Type>, Vec<String>>,
    globals: FxHashMap<Handle<GlobalVariable>, Global>,
    constants: FxHashMap<Handle<naga::Constant>, String>,
    functions: FxHashMap<Handle<Function>, String>,
    out: String,
}

/// A global variable that the entry point uses.
struct Global {
    /// Its name, or the name of the pointer to it.
    name: String,
    /// An expression for the variable itself.
    place: String,
    /// The parameter by which functions get it; none for what they all see.
    param: Option<String>,
    /// The name of the number of elements of its runtime-sized array, where that is passed.
    length: Option<String>,
}

/// A name that is no keyword, no built-in and none of the prelude's: an identifier that ends in an underscore.
fn identifier(name: &str, taken: &mut FxHashSet<String>) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let plain = plain.trim_matches('_');
    let plain = if plain.is_empty() || plain.starts_with(|c: char| c.is_ascii_digit()) {
        format!("v{plain}")
    } else {
        plain.to_owned()
    };
    let mut unique = format!("{plain}_");
    let mut count = 1;
    while !taken.insert(unique.clone()) {
        count += 1;
        unique = format!("{plain}{count}_");
    }
    unique
}

impl<'a> Writer<'a> {
    fn inner(&self, ty: Handle<Type>) -> &'a TypeInner {
        &self.module.types[ty].inner
    }

    fn resolved<'b>(&self, ty: &'b TypeResolution) -> &'b TypeInner
    where
        'a: 'b,
    {
        ty.inner_with(&self.module.types)
    }

    /// Names and declares a global variable of the entry point.
    fn global(&mut self, handle: Handle<GlobalVariable>) -> Result<()> {
        let var = &self.module.global_variables[handle];
        let name = identifier(var.name.as_deref().unwrap_or("global"), &mut self.names);
        let inner = self.inner(var.ty);
        let runtime = matches!(inner, TypeInner::Array { size: naga::ArraySize::Dynamic, .. });
        let pointed = match inner {
            TypeInner::Array { base, .. } if runtime => self.element(*base)?,
            _ => self.ty(var.ty)?,
        };
        let mut length = None;
        let (place, param) = match var.space {
            AddressSpace::Storage { access } => {
                if self.runtime_array(var.ty).is_some() {
                    length = Some(identifier(&format!("{name}length"), &mut self.names));
                }
                let constant = if access.contains(naga::StorageAccess::STORE) { "" } else { "const " };
                let place = if runtime { name.clone() } else { format!("(*{name})") };
                (place, Some(format!("{constant}{pointed}* __restrict__ {name}")))
            }
            AddressSpace::Uniform => match self.options.uniforms {
                Uniforms::Pointer => (format!("(*{name})"), Some(format!("const {pointed}* __restrict__ {name}"))),
                Uniforms::Value => (name.clone(), Some(format!("const {pointed}& {name}"))),
            },
            AddressSpace::WorkGroup => {
                let _ = writeln!(self.out, "__shared__ {pointed} {name};");
                (name.clone(), None)
            }
            AddressSpace::Private => (name.clone(), Some(format!("{pointed}& {name}"))),
            other => return unsupported(format!("a variable ('{name}') in the address space {other:?}")),
        };
        self.globals.insert(handle, Global { name, place, param, length });
        Ok(())
    }

    /// Offset and stride of the runtime-sized array that a type is or ends in.
    fn runtime_array(&self, ty: Handle<Type>) -> Option<(u32, u32)> {
        match self.inner(ty) {
            TypeInner::Array { size: naga::ArraySize::Dynamic, stride, .. } => Some((0, *stride)),
            TypeInner::Struct { members, .. } => {
                let last = members.last()?;
                self.runtime_array(last.ty).map(|(_, stride)| (last.offset, stride))
            }
            _ => None,
        }
    }

    /// The globals that a function uses and has to be given, as (parameters, arguments). Ordered by handle.
    fn passed(&self, info: &naga::valid::FunctionInfo) -> (Vec<String>, Vec<String>) {
        let (mut params, mut args) = (Vec::new(), Vec::new());
        for (handle, _) in self.module.global_variables.iter() {
            let Some(global) = self.globals.get(&handle).filter(|_| !info[handle].is_empty()) else { continue };
            if let Some(param) = &global.param {
                params.push(param.clone());
                args.push(global.name.clone());
            }
            if let Some(length) = &global.length {
                params.push(format!("unsigned {length}"));
                args.push(length.clone());
            }
        }
        (params, args)
    }

    /// Writes a function that the entry point calls.
    fn function(&mut self, handle: Handle<Function>) -> Result<()> {
        let function = &self.module.functions[handle];
        let info = &self.info[handle];
        let name = identifier(function.name.as_deref().unwrap_or("function"), &mut self.names);
        let result = match &function.result {
            Some(result) => self.ty(result.ty)?,
            None => "void".into(),
        };
        let mut local = self.names.clone();
        let mut params = Vec::new();
        let mut arguments = Vec::new();
        for arg in &function.arguments {
            let name = identifier(arg.name.as_deref().unwrap_or("arg"), &mut local);
            params.push(self.parameter(arg.ty, &name)?);
            arguments.push(name);
        }
        params.extend(self.passed(info).0);
        let body = stmt::Body::write(self, function, info, arguments, local, String::new())?;
        let _ = write!(self.out, "\nW {result} {name}({}) {{\n{body}}}\n", params.join(", "));
        self.functions.insert(handle, name);
        Ok(())
    }

    /// How a function takes an argument: values by value, pointers as references.
    fn parameter(&mut self, ty: Handle<Type>, name: &str) -> Result<String> {
        Ok(match *self.inner(ty) {
            TypeInner::Pointer { base, .. } => format!("{}& {name}", self.ty(base)?),
            TypeInner::ValuePointer { size, scalar, .. } => {
                let scalar = types::scalar(scalar)?;
                match size {
                    Some(n) => format!("vec{}<{scalar}>& {name}", n as u32),
                    None => format!("{scalar}& {name}"),
                }
            }
            _ => format!("{} {name}", self.ty(ty)?),
        })
    }
}

/// The functions that a block calls.
fn calls(block: &naga::Block, found: &mut BTreeSet<Handle<Function>>) {
    use naga::Statement as S;
    for statement in block.iter() {
        match statement {
            S::Block(b) => calls(b, found),
            S::If { accept, reject, .. } => {
                calls(accept, found);
                calls(reject, found);
            }
            S::Switch { cases, .. } => cases.iter().for_each(|c| calls(&c.body, found)),
            S::Loop { body, continuing, .. } => {
                calls(body, found);
                calls(continuing, found);
            }
            S::Call { function, .. } => {
                found.insert(*function);
            }
            _ => {}
        }
    }
}
