//! Which functions of `shaders/` a module needs: those it calls, and those that they call.

use std::sync::LazyLock;

const FILES: &[&str] = &[
    include_str!("../../shaders/conv.wgsl"),
    include_str!("../../shaders/float.wgsl"),
    include_str!("../../shaders/half.wgsl"),
    include_str!("../../shaders/int.wgsl"),
    include_str!("../../shaders/math.wgsl"),
    include_str!("../../shaders/random.wgsl"),
    include_str!("../../shaders/fold.wgsl"),
    include_str!("../../shaders/report.wgsl"),
];

struct Function {
    name: &'static str,
    text: String,
    /// Indices of the functions it calls.
    calls: Vec<usize>,
}

static LIBRARY: LazyLock<Vec<Function>> = LazyLock::new(|| {
    let mut functions: Vec<Function> = FILES.iter().flat_map(|file| split(file)).collect();
    let calls: Vec<Vec<usize>> = functions.iter().map(|f| called(&functions, &f.text)).collect();
    for (function, calls) in functions.iter_mut().zip(calls) {
        function.calls = calls;
    }
    functions
});

/// The functions of a file: each starts with `fn` at the start of a line and ends with a line that is one brace.
fn split(file: &'static str) -> Vec<Function> {
    let mut functions: Vec<Function> = Vec::new();
    let mut inside = false;
    for line in file.lines() {
        if let Some(rest) = line.strip_prefix("fn ") {
            let name = rest.split('(').next().unwrap_or(rest);
            functions.push(Function { name, text: String::new(), calls: Vec::new() });
            inside = true;
        }
        if let Some(function) = functions.last_mut().filter(|_| inside) {
            function.text += line;
            function.text.push('\n');
        }
        inside &= line != "}";
    }
    functions
}

/// Indices of the functions whose name stands before a bracket in `text`, in ascending order.
fn called(functions: &[Function], text: &str) -> Vec<usize> {
    let mut found = vec![false; functions.len()];
    for (bracket, _) in text.match_indices('(') {
        let name = text[..bracket].rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
        if let Some(i) = functions.iter().position(|f| Some(f.name) == name) {
            found[i] = true;
        }
    }
    (0..found.len()).filter(|&i| found[i]).collect()
}

/// How a device rounds to `f16` within a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// By packing and unpacking.
    Packing,
    /// By additions, where a compiler takes packing and unpacking for nothing.
    Adding,
}

/// A generated module with the device's own conversions between `f16` and `f32`: for those devices only that are known to
/// round to nearest, ties to even, and to keep what is subnormal.
pub fn with_native_halves(module: &str, rounding: Rounding) -> String {
    let mut functions = split(include_str!("../../shaders/half_native.wgsl"));
    if rounding == Rounding::Adding {
        functions.retain(|f| !matches!(f.name, "f16_from_f32" | "round_f16"));
        functions.extend(split(include_str!("../../shaders/half_adding.wgsl")));
    }
    replaced(module, &functions)
}

/// A generated module with `exp_f32` by the device's own power of two: for those devices only where that is known to be
/// right to two units of the last place.
pub fn with_native_exp(module: &str) -> String {
    replaced(module, &split(include_str!("../../shaders/exp_native.wgsl")))
}

/// The module with these functions in place of its own of the same names.
fn replaced(module: &str, functions: &[Function]) -> String {
    let mut module = module.to_owned();
    for function in functions {
        let start = module.find(&format!("\nfn {}(", function.name)).map(|at| at + 1);
        if let Some(start) = start
            && let Some(length) = module[start..].find("\n}\n")
        {
            module.replace_range(start..start + length + 3, &function.text);
        }
    }
    // What one of them calls the module may not have had.
    for function in called(functions, &module).into_iter().map(|i| &functions[i]) {
        if !module.contains(&format!("fn {}(", function.name)) {
            module += &format!("\n{}", function.text);
        }
    }
    module
}

/// The text of every library function that `text` needs, each once, always in the same order.
pub fn functions_for(text: &str) -> String {
    let mut needed = vec![false; LIBRARY.len()];
    let mut open = called(&LIBRARY, text);
    while let Some(i) = open.pop() {
        if !std::mem::replace(&mut needed[i], true) {
            open.extend(&LIBRARY[i].calls);
        }
    }
    LIBRARY.iter().zip(needed).filter(|(_, needed)| *needed).map(|(f, _)| format!("{}\n", f.text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_conversions_stand_in_for_those_on_bits() {
        let plain =
            functions_for("let x = round_f16(f32_from_f16(y)); let h = f16_from_f32(x); let z = bf16_pair(x, x);");
        let module = format!("// kernel\n{plain}@compute @workgroup_size(1)\nfn main() {{\n}}\n");
        let native = with_native_halves(&module, Rounding::Packing);
        assert!(native.contains("return unpack2x16float(bits).x;") && native.contains("pack2x16float(vec2(x, 0.0))"));
        assert!(native.contains("fn bf16_pair(") && native.ends_with("fn main() {\n}\n"));
        for name in ["fn round_f16(", "fn f32_from_f16(", "fn f16_from_f32("] {
            assert_eq!(native.matches(name).count(), 1, "{name}");
        }
        assert!(!native.contains("0x477ff000u"), "{native}");
        let native = with_native_halves(&module, Rounding::Adding);
        assert!(native.contains("return unpack2x16float(bits).x;") && native.contains("- bitcast<f32>(large);"));
        assert!(!native.contains("0x477ff000u"), "{native}");
        // A module that only stores halves has no rounding of its own.
        let stores = format!("// kernel\n{}", functions_for("let h = f16_from_f32(x);"));
        assert!(!stores.contains("fn round_f16("));
        assert_eq!(with_native_halves(&stores, Rounding::Adding).matches("fn round_f16(").count(), 1);
        assert_eq!(with_native_halves(&stores, Rounding::Packing).matches("fn round_f16(").count(), 0);
    }

    #[test]
    fn a_native_exp_stands_in_for_the_polynomial() {
        let module = functions_for("let x = sigmoid_f32(y);");
        let native = with_native_exp(&module);
        assert_eq!(native.matches("fn exp_f32(").count(), 1);
        assert!(native.contains("exp2(high)") && native.contains("fn sigmoid_f32("), "{native}");
    }

    #[test]
    fn a_call_brings_what_it_calls_and_nothing_else() {
        let text = functions_for("let x = sigmoid_f32(y);");
        for name in ["fn sigmoid_f32(", "fn exp_f32(", "fn exp_scaled(", "fn is_nan("] {
            assert_eq!(text.matches(name).count(), 1, "{name}");
        }
        assert!(!text.contains("fn log_f32("));
        assert_eq!(functions_for("let x = exp(y);"), "");
    }
}
