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
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return (bits >> 16u) | 0x40u;
    }
    return (bits + 0x7fffu + ((bits >> 16u) & 1u)) >> 16u;
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

fn f16_from_f32(x: f32) -> u32 {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    let sign = (bitcast<u32>(x) >> 16u) & 0x8000u;
    if (bits > 0x7f800000u) {
        return sign | 0x7e00u | ((bits >> 13u) & 0x3ffu);
    }
    // 65,520 is halfway to what would be the next number.
    if (bits >= 0x477ff000u) {
        return sign | 0x7c00u;
    }
    if (bits >= 0x38800000u) {
        return sign | ((bits - 0x38000000u + 0xfffu + ((bits >> 13u) & 1u)) >> 13u);
    }
    // Below 2^-14: the mantissa in units of 2^-24, of which there is not even half a one below 2^-25.
    if (bits < 0x33000000u) {
        return sign;
    }
    let shift = 126u - (bits >> 23u);
    let mantissa = (bits & 0x7fffffu) | 0x800000u;
    return sign | ((mantissa + (1u << (shift - 1u)) - 1u + ((mantissa >> shift) & 1u)) >> shift);
}

fn round_f16(x: f32) -> f32 {
    return f32_from_f16(f16_from_f32(x));
}
