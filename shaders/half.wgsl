// The floats of 16 bits: two lie in a word, the first in the low bits. They are f32 in every computation, rounded to
// nearest, ties to even, after each op. Decided on bits, because pack2x16float and unpack2x16float may round as they like
// and lose what is subnormal.

// Element i of its word.
fn half_of(word: u32, i: i32) -> u32 {
    return (word >> ((bitcast<u32>(i) & 1u) * 16u)) & 0xffffu;
}

// What must change in a word (by exclusive or) so that element i of it becomes `bits`.
fn half_change(word: u32, i: i32, bits: u32) -> u32 {
    return (half_of(word, i) ^ bits) << ((bitcast<u32>(i) & 1u) * 16u);
}

fn f32_from_bf16(bits: u32) -> f32 {
    return bitcast<f32>(bits << 16u);
}

fn bf16_from_f32(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    let nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return select(bits + 0x7fffu + ((bits >> 16u) & 1u), bits | 0x400000u, nan) >> 16u;
}

// Two as the word that they lie in.
fn bf16_pair(first: f32, second: f32) -> u32 {
    return bf16_from_f32(first) | (bf16_from_f32(second) << 16u);
}

fn round_bf16(x: f32) -> f32 {
    return f32_from_bf16(bf16_from_f32(x));
}

// The exponent's bias is 15 there and 127 here; what is subnormal counts units of 2^-24.
fn f32_from_f16(bits: u32) -> f32 {
    let magnitude = bits & 0x7fffu;
    var value = (magnitude << 13u) + 0x38000000u;
    if (magnitude >= 0x7c00u) {
        value = (magnitude << 13u) + 0x70000000u;
    }
    if (magnitude < 0x400u) {
        value = bitcast<u32>(f32(magnitude) * 5.9604644775390625e-8);
    }
    return bitcast<f32>(value | ((bits & 0x8000u) << 16u));
}

// No branches: what is below 2^-14 counts units of 2^-24, and 65,520 is halfway to what would be the next number.
fn f16_from_f32(x: f32) -> u32 {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    let normal = (bits - 0x38000000u + 0xfffu + ((bits >> 13u) & 1u)) >> 13u;
    let small = u32(round(min(abs(x), 1.0) * 16777216.0));
    var half = select(normal, small, bits < 0x38800000u);
    half = select(half, 0x7c00u, bits >= 0x477ff000u);
    half = select(half, 0x7e00u | ((bits >> 13u) & 0x3ffu), bits > 0x7f800000u);
    return half | ((bitcast<u32>(x) >> 16u) & 0x8000u);
}

fn f16_pair(first: f32, second: f32) -> u32 {
    return f16_from_f32(first) | (f16_from_f32(second) << 16u);
}

// The same, without going through the sixteen bits.
fn round_f16(x: f32) -> f32 {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    let normal = (bits + 0xfffu + ((bits >> 13u) & 1u)) & 0xffffe000u;
    let small = bitcast<u32>(round(min(abs(x), 1.0) * 16777216.0) * 5.9604644775390625e-8);
    var half = select(normal, small, bits < 0x38800000u);
    half = select(half, 0x7f800000u, bits >= 0x477ff000u);
    half = select(half, 0x7fc00000u, bits > 0x7f800000u);
    return bitcast<f32>(half | (bitcast<u32>(x) & 0x80000000u));
}

// What rounds to 11 bits need not be known to 24. The built-in function's error is (3 + 2|x|) · 2^-24.
fn exp_half(x: f32) -> f32 {
    return select(exp(clamp(x, -106.0, 90.0)), x, is_nan(x));
}

// 1 - 2^(t·p(t)), p being fitted for the least absolute error (1.5e-7), which is a small relative one from 0.02 on. Half of
// what erf_f32 computes.
fn erf_half(x: f32) -> f32 {
    let t = min(abs(x), 4.0);
    var p = fma(1.0021038e-4, t, -4.6151323e-4);
    p = fma(p, t, -2.3023628e-3);
    p = fma(p, t, 2.9452637e-2);
    p = fma(p, t, -1.4896372e-1);
    p = fma(p, t, -9.1832864e-1);
    p = fma(p, t, -1.6279137);
    let far = copysign_f32(1.0 - exp2(p * t), x);
    return select(select(far, x * 1.1283792, t < 0.02), x, is_nan(x));
}

// By way of the reciprocal, which is found once where many are divided by the same.
fn div_half(a: f32, b: f32) -> f32 {
    var scale = select(1.0, 0.25, abs(b) > 8.507059e37);
    scale = select(scale, 16777216.0, abs(b) < 1.1754944e-38);
    return (a * scale) * (1.0 / (b * scale));
}
