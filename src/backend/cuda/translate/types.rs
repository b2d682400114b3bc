//! What WGSL's types are called in CUDA C, and where the members of a structure lie.

use super::{Result, Writer, identifier, unsupported};
use naga::proc::TypeResolution;
use naga::{ArraySize, Handle, ScalarKind, Type, TypeInner, VectorSize};
use rustc_hash::FxHashSet;
use std::fmt::Write as _;

/// The name of a scalar type.
pub(super) fn scalar(s: naga::Scalar) -> Result<&'static str> {
    Ok(match (s.kind, s.width) {
        (ScalarKind::Bool, _) => "bool",
        (ScalarKind::Float, 2) => "f16",
        (ScalarKind::Float, 4) => "float",
        (ScalarKind::Float, 8) => "double",
        (ScalarKind::Sint, 2) => "short",
        (ScalarKind::Sint, 4) => "int",
        (ScalarKind::Sint, 8) => "long long",
        (ScalarKind::Uint, 2) => "unsigned short",
        (ScalarKind::Uint, 4) => "unsigned",
        (ScalarKind::Uint, 8) => "unsigned long long",
        (kind, width) => return unsupported(format!("the scalar type {kind:?} of {width} bytes")),
    })
}

fn vector(size: VectorSize, s: naga::Scalar) -> Result<String> {
    Ok(format!("vec{}<{}>", size as u32, scalar(s)?))
}

impl Writer<'_> {
    /// The name of a type; structures are declared when they are first named.
    pub(super) fn ty(&mut self, ty: Handle<Type>) -> Result<String> {
        if let Some(name) = self.types.get(&ty) {
            return Ok(name.clone());
        }
        let name = match self.inner(ty) {
            TypeInner::Struct { members, span } => self.structure(ty, members, *span)?,
            inner => self.plain(inner)?,
        };
        self.types.insert(ty, name.clone());
        Ok(name)
    }

    /// The name of an expression's type.
    pub(super) fn value_type(&mut self, ty: &TypeResolution) -> Result<String> {
        match ty {
            TypeResolution::Handle(handle) => self.ty(*handle),
            TypeResolution::Value(inner) => self.plain(inner),
        }
    }

    fn plain(&mut self, inner: &TypeInner) -> Result<String> {
        Ok(match *inner {
            TypeInner::Scalar(s) | TypeInner::Atomic(s) => scalar(s)?.into(),
            TypeInner::Vector { size, scalar: s } => vector(size, s)?,
            TypeInner::Matrix { columns, rows, scalar: s } => format!("mat<{}, {}>", vector(rows, s)?, columns as u32),
            TypeInner::Array { base, size: ArraySize::Constant(n), .. } => format!("arr<{}, {n}>", self.element(base)?),
            TypeInner::Array { .. } => return unsupported("an array whose size is not known here"),
            TypeInner::CooperativeMatrix { .. } => return unsupported("cooperative matrices"),
            TypeInner::Image { .. } | TypeInner::Sampler { .. } => return unsupported("textures and samplers"),
            ref other => return unsupported(format!("the type {other:?}")),
        })
    }

    /// An array's element: a vec3 lies in a slot of 16 bytes.
    pub(super) fn element(&mut self, base: Handle<Type>) -> Result<String> {
        let name = self.ty(base)?;
        Ok(if self.in_slot(base) { format!("slot<{name}>") } else { name })
    }

    /// True for what lies in a slot inside an array.
    pub(super) fn in_slot(&self, base: Handle<Type>) -> bool {
        matches!(self.inner(base), TypeInner::Vector { size: VectorSize::Tri, .. })
    }

    /// Declares a structure. Members lie where naga says; what is between them is filled.
    fn structure(&mut self, ty: Handle<Type>, members: &[naga::StructMember], span: u32) -> Result<String> {
        let own = self.module.types[ty].name.as_deref().unwrap_or("structure");
        let name = identifier(own, &mut self.names);
        let mut taken = FxHashSet::default();
        let (mut fields, mut names) = (String::new(), Vec::new());
        let (mut at, mut fillers) = (0, 0);
        let mut fill = |fields: &mut String, from: u32, to: u32| {
            if to > from {
                let _ = writeln!(fields, "    char w_fill{fillers}[{}];", to - from);
                fillers += 1;
            }
        };
        for member in members {
            let field = identifier(member.name.as_deref().unwrap_or("member"), &mut taken);
            fill(&mut fields, at, member.offset);
            let runtime = match *self.inner(member.ty) {
                TypeInner::Array { base, size: ArraySize::Dynamic, .. } => Some(base),
                _ => None,
            };
            let _ = match runtime {
                // One element stands for however many there are.
                Some(base) => writeln!(fields, "    {} {field}[1];", self.element(base)?),
                None => writeln!(fields, "    {} {field};", self.ty(member.ty)?),
            };
            let inner = self.inner(member.ty);
            let Some(size) = inner.try_size(self.module.to_ctx()) else {
                return unsupported(format!("the structure '{own}', which is too large"));
            };
            at = if runtime.is_some() { span } else { member.offset + size };
            names.push(field);
        }
        fill(&mut fields, at, span);
        let _ = writeln!(self.out, "struct {name} {{\n{fields}}};");
        let params: Vec<String> = members
            .iter()
            .zip(0..)
            .map(|(m, i)| Ok(format!("{} m{i}", self.ty(m.ty)?)))
            .collect::<Result<_>>()
            .unwrap_or_default();
        if params.len() == members.len() {
            let sets: String = names.iter().zip(0..).map(|(n, i)| format!("    s.{n} = m{i};\n")).collect();
            let _ = writeln!(
                self.out,
                "W {name} w_make_{name}({}) {{\n    {name} s = {{}};\n{sets}    return s;\n}}",
                params.join(", ")
            );
        }
        self.members.insert(ty, names);
        Ok(name)
    }

    /// The name of a structure's member.
    pub(super) fn member(&mut self, ty: Handle<Type>, index: u32) -> Result<String> {
        self.ty(ty)?;
        match self.members.get(&ty).and_then(|names| names.get(index as usize)) {
            Some(name) => Ok(name.clone()),
            None => unsupported(format!("member {index} of what is no structure of so many")),
        }
    }
}
