//! Cooperative matrices for devices that have none, so that the kernels on them are tested everywhere: a module's matrices
//! become arrays, of which each of 32 invocations has its part. It is slow, and rounds as `f32` does.

use std::fmt::Write as _;

/// What a matrix is for: rows of the first factor, columns of the second, or sums. An invocation has row `lane / 2`, and
/// the eight columns from `lane % 2 * 8` on.
const FRAME: &str = "
var<private> lane: u32;

alias MatrixA = array<f32, 16>;
alias MatrixB = array<f32, 128>;
alias MatrixC = array<f32, 8>;

fn multiply_add(a: MatrixA, b: MatrixB, c: MatrixC) -> MatrixC {
    var left = a;
    var right = b;
    var sums = c;
    for (var k = 0u; k < 16u; k++) {
        for (var n = 0u; n < 8u; n++) {
            sums[n] += left[k] * right[k * 8u + n];
        }
    }
    return sums;
}

fn add(a: MatrixC, b: MatrixC) -> MatrixC {
    var sums = a;
    for (var n = 0u; n < 8u; n++) {
        sums[n] += b[n];
    }
    return sums;
}
";

/// The module without them.
pub fn emulated(wgsl: &str) -> String {
    let mut text = wgsl.replace("enable wgpu_cooperative_matrix;\n", "");
    for (role, kind) in [("A", "f16"), ("B", "f16"), ("C", "f32")] {
        for (load, turned) in [("coopLoad", 0), ("coopLoadT", 1)] {
            text = text.replace(&format!("{load}<coop_mat16x16<{kind}, {role}>>(&"), &format!("load_{role}_{turned}_"));
        }
    }
    text = text.replace("coop_mat16x16<f32, C>()", "MatrixC()").replace("coopMultiplyAdd(", "multiply_add(");
    text = text.lines().map(|line| with_sum(line) + "\n").collect();
    // The place in memory becomes an argument, its array a part of the function's name.
    for call in ["load_A_0_", "load_A_1_", "load_B_0_", "load_B_1_", "load_C_1_", "coopStoreT("] {
        text = with_places(&text, call);
    }
    for (name, kind) in arrays(&text) {
        let element = |row: &str, column: &str, turned: bool| {
            let (major, minor) = if turned { (row, column) } else { (column, row) };
            format!("f32({name}[place + ({major}) * pitch + ({minor}) / 4u][({minor}) % 4u])")
        };
        for (turned, number) in [(false, 0), (true, 1)] {
            let bodies = [
                ("A", 16, element("lane / 2u", "i", turned)),
                ("B", 128, element("i / 8u", "lane % 2u * 8u + i % 8u", turned)),
                ("C", 8, element("lane / 2u", "lane % 2u * 8u + i", turned)),
            ];
            for (role, count, value) in bodies {
                let _ = write!(
                    text,
                    "fn load_{role}_{number}_{name}(place: u32, pitch: u32) -> Matrix{role} {{\n    var m: Matrix{role};\n    \
                     for (var i = 0u; i < {count}u; i++) {{\n        m[i] = {value};\n    }}\n    return m;\n}}\n"
                );
            }
        }
        let _ = write!(
            text,
            "fn store_1_{name}(m: MatrixC, place: u32, pitch: u32) {{\n    var own = m;\n    \
             for (var i = 0u; i < 8u; i++) {{\n        \
             let c = lane % 2u * 8u + i;\n        {name}[place + lane / 2u * pitch + c / 4u][c % 4u] = {kind}(own[i]);\n    }}\n}}\n"
        );
    }
    let start = text.find("fn main(").and_then(|at| text[at..].find("{\n").map(|length| at + length + 2));
    text.insert_str(start.expect("a module has a main function"), "    lane = id % 32u;\n");
    text + FRAME
}

/// A sum of matrices, as `c01 = c01 + t01;`, by a call.
fn with_sum(line: &str) -> String {
    let matrix = |name: &str, c: char| name.strip_prefix(c).is_some_and(|n| n.parse::<u32>().is_ok());
    let sum = line.strip_suffix(';').and_then(|line| line.split_once(" = ")?.1.split_once(" + "));
    match sum {
        Some((c, t)) if matrix(c, 'c') && matrix(t, 't') => format!("{c} = add({c}, {t});"),
        _ => line.to_owned(),
    }
}

/// `load_A_0_name[place], pitch)` as `load_A_0_name(place, pitch)`, `coopStoreT(m, &name[place], pitch)` as
/// `store_1_name(m, place, pitch)`.
fn with_places(text: &str, call: &str) -> String {
    let mut parts = text.split(call);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (before, rest) = part.split_once('[').expect("a place is an element of an array");
        let mut depth = 1;
        let end = rest.find(|c| {
            depth += (c == '[') as i32 - (c == ']') as i32;
            depth == 0
        });
        let (place, rest) = rest.split_at(end.expect("brackets are closed"));
        let _ = match before.split_once(", &") {
            Some((matrix, name)) => write!(out, "store_1_{name}({matrix}, {place}{}", &rest[1..]),
            None => write!(out, "{call}{before}({place}{}", &rest[1..]),
        };
    }
    out
}

/// Names of the arrays of vectors in workgroup memory, and what their numbers are.
fn arrays(text: &str) -> Vec<(String, String)> {
    let declared = text.lines().filter_map(|line| line.strip_prefix("var<workgroup> "));
    let array = declared.filter_map(|rest| rest.split_once(": array<vec4<"));
    array.filter_map(|(name, rest)| Some((name.to_owned(), rest.split_once('>')?.0.to_owned()))).collect()
}
