// What floats are: special values, comparisons and conversions, all decided on bits.
// WGSL lets a compiler assume that there is no NaN and no infinity; integer tests leave it nothing to assume.

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn is_inf(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u;
}

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}

// A variable, because a constant NaN or infinity is an error in WGSL.
fn nan_f32() -> f32 {
    var bits = 0x7fc00000u;
    return bitcast<f32>(bits);
}

fn inf_f32() -> f32 {
    var bits = 0x7f800000u;
    return bitcast<f32>(bits);
}

// A device may answer 0 where the divisor is past 2^126 (WGSL promises nothing there, and NVIDIA's driver does);
// a quarter of both has the same quotient.
fn div_f32(a: f32, b: f32) -> f32 {
    let scale = select(1.0, 0.25, abs(b) > 8.507059e37);
    return (a * scale) / (b * scale);
}

fn copysign_f32(magnitude: f32, sign: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(magnitude) & 0x7fffffffu) | (bitcast<u32>(sign) & 0x80000000u));
}

fn eq_f32(a: f32, b: f32) -> bool {
    return a == b && !is_nan(a) && !is_nan(b);
}

fn lt_f32(a: f32, b: f32) -> bool {
    return a < b && !is_nan(a) && !is_nan(b);
}

fn le_f32(a: f32, b: f32) -> bool {
    return a <= b && !is_nan(a) && !is_nan(b);
}

fn max_f32(a: f32, b: f32) -> f32 {
    return select(select(max(a, b), b, is_nan(b)), a, is_nan(a));
}

fn min_f32(a: f32, b: f32) -> f32 {
    return select(select(min(a, b), b, is_nan(b)), a, is_nan(a));
}

// The largest and the smallest of four; a sum that is no NaN has no NaN among its terms.
fn max_of_4_f32(v: vec4<f32>) -> f32 {
    if (is_nan((v.x + v.y) + (v.z + v.w))) {
        return max_f32(max_f32(v.x, v.y), max_f32(v.z, v.w));
    }
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn min_of_4_f32(v: vec4<f32>) -> f32 {
    if (is_nan((v.x + v.y) + (v.z + v.w))) {
        return min_f32(min_f32(v.x, v.y), min_f32(v.z, v.w));
    }
    return min(min(v.x, v.y), min(v.z, v.w));
}

fn relu_f32(x: f32) -> f32 {
    return select(max(x, 0.0), x, is_nan(x));
}

fn sign_f32(x: f32) -> f32 {
    return select(sign(x), x, is_nan(x));
}

// True for NaN, as for every value that is not zero.
fn nonzero_f32(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) != 0u;
}

// Conversions truncate and saturate; NaN gives 0.
fn i32_from_f32(x: f32) -> i32 {
    if (is_nan(x)) {
        return 0i;
    }
    if (x >= 2147483648.0) {
        return 2147483647i;
    }
    if (x < -2147483648.0) {
        return -2147483647i - 1i;
    }
    return i32(x);
}

fn u32_from_f32(x: f32) -> u32 {
    if (is_nan(x) || x <= 0.0) {
        return 0u;
    }
    if (x >= 4294967296.0) {
        return 0xffffffffu;
    }
    return u32(x);
}

fn u8_from_f32(x: f32) -> u32 {
    return min(u32_from_f32(x), 255u);
}

// A number that is ordered as the float is: both zeros alike, NaN above all.
fn key_f32(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (is_nan(x)) {
        return 0xffffffffu;
    }
    if ((bits & 0x7fffffffu) == 0u) {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}
