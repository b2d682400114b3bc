// What stands in for functions of half.wgsl on a device whose own conversions round to nearest, ties to even, and keep
// what is subnormal: WGSL promises neither. Their exp is right at infinities and gives a NaN for a NaN, too.

fn f32_from_f16(bits: u32) -> f32 {
    return unpack2x16float(bits).x;
}

fn f16_from_f32(x: f32) -> u32 {
    return pack2x16float(vec2(x, 0.0));
}

fn f16_pair(first: f32, second: f32) -> u32 {
    return pack2x16float(vec2(first, second));
}

fn round_f16(x: f32) -> f32 {
    return unpack2x16float(pack2x16float(vec2(x, 0.0))).x;
}

fn exp_half(x: f32) -> f32 {
    return exp(x);
}
