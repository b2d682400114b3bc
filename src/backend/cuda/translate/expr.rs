//! Expressions: values, and the places that pointers stand for.

use super::stmt::Body;
use super::{Result, Writer, types, unsupported};
use naga::proc::TypeResolution;
use naga::{
    ArraySize, BinaryOperator, Expression, Handle, Literal, RelationalFunction, Scalar, ScalarKind, Type, TypeInner,
    UnaryOperator,
};

const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// A literal.
fn literal(l: Literal) -> Result<String> {
    Ok(match l {
        Literal::F64(v) => format!("{v:?}"),
        Literal::F32(v) => format!("{v:?}f"),
        Literal::F16(v) => format!("f16(0x{:04x}, 0)", v.to_bits()),
        Literal::U16(v) => format!("(unsigned short){v}"),
        Literal::I16(v) => format!("(short)({v})"),
        Literal::U32(v) => format!("{v}u"),
        Literal::I32(i32::MIN) => "(-2147483647 - 1)".into(),
        Literal::I32(v) => format!("{v}"),
        Literal::U64(v) => format!("{v}ull"),
        Literal::I64(i64::MIN) => "(-9223372036854775807ll - 1)".into(),
        Literal::I64(v) => format!("{v}ll"),
        Literal::Bool(v) => format!("{v}"),
        Literal::AbstractInt(_) | Literal::AbstractFloat(_) => return unsupported("a literal without a type"),
    })
}

impl Writer<'_> {
    /// A constant expression, written out.
    pub(super) fn constant_expression(&mut self, handle: Handle<Expression>) -> Result<String> {
        let (module, info) = (self.module, self.info);
        match &module.global_expressions[handle] {
            Expression::Literal(l) => literal(*l),
            Expression::Constant(c) => self.constant(*c),
            Expression::ZeroValue(ty) => Ok(format!("{}{{}}", self.ty(*ty)?)),
            Expression::Compose { ty, components } => {
                let values = components.iter().map(|c| self.constant_expression(*c)).collect::<Result<Vec<_>>>()?;
                let flat =
                    components.iter().all(|c| !matches!(info[*c].inner_with(&module.types), TypeInner::Vector { .. }));
                self.compose(*ty, &values, flat)
            }
            Expression::Splat { size, value } => {
                Ok(format!("w_splat{}({})", *size as u32, self.constant_expression(*value)?))
            }
            other => unsupported(format!("the constant expression {other:?}")),
        }
    }

    /// A constant: an array is declared once, anything else is written out.
    fn constant(&mut self, handle: Handle<naga::Constant>) -> Result<String> {
        if let Some(name) = self.constants.get(&handle) {
            return Ok(name.clone());
        }
        let constant = &self.module.constants[handle];
        let value = self.constant_expression(constant.init)?;
        let text = match self.inner(constant.ty) {
            TypeInner::Array { .. } => {
                let name = super::identifier(constant.name.as_deref().unwrap_or("constant"), &mut self.names);
                let ty = self.ty(constant.ty)?;
                self.out += &format!("static __device__ const {ty} {name} = {value};\n");
                name
            }
            _ => value,
        };
        self.constants.insert(handle, text.clone());
        Ok(text)
    }

    /// A composite of these values. `flat` says that there is no vector among them.
    fn compose(&mut self, ty: Handle<Type>, values: &[String], flat: bool) -> Result<String> {
        let name = self.ty(ty)?;
        let list = values.join(", ");
        Ok(match *self.inner(ty) {
            TypeInner::Vector { .. } if flat => format!("{name}{{{list}}}"),
            TypeInner::Vector { .. } => format!("w_compose<{name}>({list})"),
            TypeInner::Matrix { rows, scalar, .. } => {
                format!("w_mat<vec{}<{}>>({list})", rows as u32, types::scalar(scalar)?)
            }
            TypeInner::Array { base, .. } if self.in_slot(base) => {
                format!("{name}{{{{{{{}}}}}}}", values.join("}, {"))
            }
            TypeInner::Array { .. } => format!("{name}{{{{{list}}}}}"),
            TypeInner::Struct { .. } => format!("w_make_{name}({list})"),
            ref other => return unsupported(format!("a composite of the type {other:?}")),
        })
    }
}

impl<'a> Body<'_, 'a> {
    /// The type of an expression.
    pub(super) fn inner(&self, handle: Handle<Expression>) -> &'a TypeInner {
        let info = self.info;
        info[handle].ty.inner_with(&self.w.module.types)
    }

    /// What a pointer points to, or the type itself.
    fn pointed(&self, handle: Handle<Expression>) -> (TypeInner, Option<Handle<Type>>) {
        let info = self.info;
        match *self.inner(handle) {
            TypeInner::Pointer { base, .. } => (self.w.inner(base).clone(), Some(base)),
            TypeInner::ValuePointer { size: Some(size), scalar, .. } => (TypeInner::Vector { size, scalar }, None),
            TypeInner::ValuePointer { size: None, scalar, .. } => (TypeInner::Scalar(scalar), None),
            ref inner => (inner.clone(), info[handle].ty.handle()),
        }
    }

    /// The text of an expression: its value, or for a pointer the place it stands for.
    pub(super) fn text(&mut self, handle: Handle<Expression>) -> Result<String> {
        if let Some(name) = self.baked.get(&handle) {
            return Ok(name.clone());
        }
        let (function, info) = (self.function, self.info);
        Ok(match function.expressions[handle] {
            Expression::Literal(l) => literal(l)?,
            Expression::Constant(c) => self.w.constant(c)?,
            Expression::ZeroValue(ty) => format!("{}{{}}", self.w.ty(ty)?),
            Expression::Compose { ty, ref components } => {
                let values = components.iter().map(|c| self.text(*c)).collect::<Result<Vec<_>>>()?;
                let flat = components.iter().all(|c| !matches!(self.inner(*c), TypeInner::Vector { .. }));
                self.w.compose(ty, &values, flat)?
            }
            Expression::Access { base, index } => {
                let at = self.text(index)?;
                self.access(base, at)?
            }
            Expression::AccessIndex { base, index } => self.access_index(base, index)?,
            Expression::Splat { size, value } => format!("w_splat{}({})", size as u32, self.text(value)?),
            Expression::Swizzle { size, vector, pattern } => {
                let v = self.text(vector)?;
                let parts: Vec<String> =
                    pattern[..size as usize].iter().map(|c| format!("{v}.{}", COMPONENTS[*c as usize])).collect();
                let ty = self.w.value_type(&info[handle].ty)?;
                format!("{ty}{{{}}}", parts.join(", "))
            }
            Expression::FunctionArgument(i) => match self.arguments.get(i as usize) {
                Some(name) => name.clone(),
                None => return unsupported("an argument that the function does not have"),
            },
            Expression::GlobalVariable(var) => match self.w.globals.get(&var) {
                Some(global) => global.place.clone(),
                None => return unsupported("a variable that the entry point does not use"),
            },
            Expression::LocalVariable(var) => self.locals.get(&var).cloned().unwrap_or_default(),
            Expression::Load { pointer } => {
                let place = self.text(pointer)?;
                if self.is_atomic(pointer) { format!("w_atomic_load({place})") } else { place }
            }
            Expression::Unary { op, expr } => self.unary(op, expr)?,
            Expression::Binary { op, left, right } => self.binary(op, left, right)?,
            Expression::Select { condition, accept, reject } => {
                let (c, a, r) = (self.text(condition)?, self.text(accept)?, self.text(reject)?);
                match self.inner(condition) {
                    TypeInner::Vector { .. } => format!("w_select({r}, {a}, {c})"),
                    _ => format!("({c} ? {a} : {r})"),
                }
            }
            Expression::Relational { fun, argument } => {
                let x = self.text(argument)?;
                match fun {
                    RelationalFunction::All => format!("w_all({x})"),
                    RelationalFunction::Any => format!("w_any({x})"),
                    other => return unsupported(format!("the function {other:?}")),
                }
            }
            Expression::Math { fun, arg, arg1, arg2, arg3 } => self.math(handle, fun, [Some(arg), arg1, arg2, arg3])?,
            Expression::As { expr, kind, convert } => self.conversion(handle, expr, kind, convert)?,
            Expression::ArrayLength(pointer) => self.length(pointer)?,
            ref other => return unsupported(format!("the expression {}", variant(other))),
        })
    }

    /// An element that an index finds.
    fn access(&mut self, base: Handle<Expression>, index: String) -> Result<String> {
        let is_pointer = self.inner(base).pointer_space().is_some();
        let text = self.text(base)?;
        let (inner, _) = self.pointed(base);
        let trusted = self.w.options.trusted;
        let bound = |length: String| match trusted {
            true => index.clone(),
            false => format!("w_bound((unsigned){index}, {length})"),
        };
        Ok(match inner {
            TypeInner::Vector { size, .. } => {
                let at = bound(format!("{}u", size as u32));
                if is_pointer { format!("(&{text}.x)[{at}]") } else { format!("w_component({text}, (unsigned){at})") }
            }
            TypeInner::Matrix { columns, .. } => format!("{text}.c[{}].v", bound(format!("{}u", columns as u32))),
            TypeInner::Array { base: element, size: ArraySize::Constant(n), .. } => {
                let slot = if self.w.in_slot(element) { ".v" } else { "" };
                format!("{text}.e[{}]{slot}", bound(format!("{n}u")))
            }
            TypeInner::Array { base: element, .. } => {
                let slot = if self.w.in_slot(element) { ".v" } else { "" };
                let length = if trusted { String::new() } else { self.length(base)? };
                format!("{text}[{}]{slot}", bound(length))
            }
            other => return unsupported(format!("an index into the type {other:?}")),
        })
    }

    /// A member, component or element known by number.
    fn access_index(&mut self, base: Handle<Expression>, index: u32) -> Result<String> {
        let (inner, ty) = self.pointed(base);
        match (inner, ty) {
            (TypeInner::Struct { .. }, Some(ty)) => {
                let member = self.w.member(ty, index)?;
                Ok(format!("{}.{member}", self.text(base)?))
            }
            (TypeInner::Vector { .. }, _) => {
                let component = COMPONENTS[index as usize & 3];
                Ok(format!("{}.{component}", self.text(base)?))
            }
            // Fixed sizes were checked by the validator.
            (TypeInner::Matrix { .. }, _) => Ok(format!("{}.c[{index}].v", self.text(base)?)),
            (TypeInner::Array { base: element, size: ArraySize::Constant(_), .. }, _) => {
                let slot = if self.w.in_slot(element) { ".v" } else { "" };
                Ok(format!("{}.e[{index}]{slot}", self.text(base)?))
            }
            _ => self.access(base, format!("{index}u")),
        }
    }

    /// The number of elements of the runtime-sized array that a pointer points to.
    fn length(&mut self, pointer: Handle<Expression>) -> Result<String> {
        let var = match self.function.expressions[pointer] {
            Expression::GlobalVariable(var) => Some(var),
            Expression::AccessIndex { base, .. } => match self.function.expressions[base] {
                Expression::GlobalVariable(var) => Some(var),
                _ => None,
            },
            _ => None,
        };
        match var.and_then(|var| self.w.globals.get(&var)).and_then(|global| global.length.clone()) {
            Some(name) => Ok(name),
            None => unsupported("the length of an array behind a pointer that was passed on"),
        }
    }

    fn unary(&mut self, op: UnaryOperator, expr: Handle<Expression>) -> Result<String> {
        let x = self.text(expr)?;
        let scalar = matches!(self.inner(expr), TypeInner::Scalar(s) if s.kind != ScalarKind::Sint);
        Ok(match op {
            UnaryOperator::Negate if scalar => format!("(-{x})"),
            UnaryOperator::Negate => match self.inner(expr) {
                TypeInner::Matrix { .. } => return unsupported("the negation of a matrix"),
                _ => format!("w_neg({x})"),
            },
            UnaryOperator::LogicalNot if scalar => format!("(!{x})"),
            UnaryOperator::BitwiseNot if matches!(self.inner(expr), TypeInner::Scalar(_)) => format!("(~{x})"),
            UnaryOperator::LogicalNot | UnaryOperator::BitwiseNot => format!("w_not({x})"),
        })
    }

    fn binary(&mut self, op: BinaryOperator, left: Handle<Expression>, right: Handle<Expression>) -> Result<String> {
        use BinaryOperator as B;
        let (mut l, mut r) = (self.text(left)?, self.text(right)?);
        let (left, right) = (self.inner(left), self.inner(right));
        if let Some(text) = matrix_product(op, left, right, &l, &r) {
            return Ok(text);
        }
        // A vector and a scalar: the scalar stands for a vector of it.
        match (left, right) {
            (TypeInner::Vector { size, .. }, TypeInner::Scalar(_)) => r = format!("w_splat{}({r})", *size as u32),
            (TypeInner::Scalar(_), TypeInner::Vector { size, .. }) => l = format!("w_splat{}({l})", *size as u32),
            _ => {}
        }
        let infix = naga::back::binary_operation_str(op);
        let plain = |text: &str| Ok(format!("({l} {text} {r})"));
        let (TypeInner::Scalar(s), TypeInner::Scalar(_)) = (left, right) else {
            return Ok(format!("{}({l}, {r})", function(op)));
        };
        let signed = s.kind == ScalarKind::Sint || s.width == 2 && s.kind == ScalarKind::Uint;
        let integer = signed || s.kind == ScalarKind::Uint;
        match op {
            B::Add | B::Subtract | B::Multiply if signed => Ok(format!("{}({l}, {r})", function(op))),
            B::Divide | B::Modulo if integer && !self.w.options.trusted => Ok(format!("{}({l}, {r})", function(op))),
            B::Modulo if !integer => Ok(format!("w_mod({l}, {r})")),
            B::ShiftLeft | B::ShiftRight => Ok(format!("{}({l}, {r})", function(op))),
            B::And | B::InclusiveOr | B::ExclusiveOr if s.kind == ScalarKind::Bool => {
                Ok(format!("{}({l}, {r})", function(op)))
            }
            _ => plain(infix),
        }
    }

    fn conversion(
        &mut self,
        handle: Handle<Expression>,
        expr: Handle<Expression>,
        kind: ScalarKind,
        convert: Option<u8>,
    ) -> Result<String> {
        let info = self.info;
        let x = self.text(expr)?;
        let Some(width) = convert else {
            let ty = self.w.value_type(&info[handle].ty)?;
            return Ok(format!("w_bitcast<{ty}>({x})"));
        };
        if matches!(self.inner(expr), TypeInner::Matrix { .. }) {
            return unsupported("the conversion of a matrix");
        }
        let to = match types::scalar(Scalar { kind, width })? {
            "float" => "w_f32",
            "double" => "w_f64",
            "f16" => "w_f16",
            "int" => "w_i32",
            "unsigned" => "w_u32",
            "long long" => "w_i64",
            "unsigned long long" => "w_u64",
            "short" => "w_i16",
            "unsigned short" => "w_u16",
            _ => "w_bool",
        };
        Ok(format!("{to}({x})"))
    }

    /// A small integer as a value of a scalar or vector type.
    pub(super) fn splat(&mut self, ty: &TypeResolution, number: &str) -> Result<String> {
        let (size, scalar) = match *ty.inner_with(&self.w.module.types) {
            TypeInner::Scalar(s) => (None, s),
            TypeInner::Vector { size, scalar } => (Some(size), scalar),
            ref other => return unsupported(format!("a fold of the type {other:?}")),
        };
        let one = format!("({})({number})", types::scalar(scalar)?);
        Ok(match size {
            Some(n) => format!("w_splat{}({one})", n as u32),
            None => one,
        })
    }
}

fn matrix_product(op: BinaryOperator, left: &TypeInner, right: &TypeInner, l: &str, r: &str) -> Option<String> {
    use TypeInner::{Matrix, Scalar, Vector};
    Some(match (op, left, right) {
        (BinaryOperator::Add, Matrix { .. }, _) => format!("w_mat_add({l}, {r})"),
        (BinaryOperator::Subtract, Matrix { .. }, _) => format!("w_mat_sub({l}, {r})"),
        (BinaryOperator::Multiply, Matrix { .. }, Matrix { .. }) => format!("w_mat_mul({l}, {r})"),
        (BinaryOperator::Multiply, Matrix { .. }, Vector { .. }) => format!("w_mat_vec({l}, {r})"),
        (BinaryOperator::Multiply, Vector { .. }, Matrix { .. }) => format!("w_vec_mat({l}, {r})"),
        (BinaryOperator::Multiply, Matrix { .. }, Scalar(_)) => format!("w_mat_scale({l}, {r})"),
        (BinaryOperator::Multiply, Scalar(_), Matrix { .. }) => format!("w_mat_scale({r}, {l})"),
        _ => return None,
    })
}

/// The prelude's function for an operator.
fn function(op: BinaryOperator) -> &'static str {
    use BinaryOperator as B;
    match op {
        B::Add => "w_add",
        B::Subtract => "w_sub",
        B::Multiply => "w_mul",
        B::Divide => "w_div",
        B::Modulo => "w_mod",
        B::Equal => "w_eq",
        B::NotEqual => "w_ne",
        B::Less => "w_lt",
        B::LessEqual => "w_le",
        B::Greater => "w_gt",
        B::GreaterEqual => "w_ge",
        B::And | B::LogicalAnd => "w_and",
        B::ExclusiveOr => "w_xor",
        B::InclusiveOr | B::LogicalOr => "w_or",
        B::ShiftLeft => "w_shl",
        B::ShiftRight => "w_shr",
    }
}

/// The name of an expression's kind.
fn variant(e: &Expression) -> String {
    let text = format!("{e:?}");
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default().to_owned()
}
