// Rounding within a kernel, for a device that half_native.wgsl is for and whose compiler takes packing and unpacking for
// nothing, and a conversion to the type f16 and back too (NVIDIA's for Vulkan). Half as many instructions as half.wgsl has.

// The nearest half: what is added has that half's last place as its own, and a sum is rounded to nearest, ties to even. No
// compiler may take the difference for the number that was added: it does not know that a maximum of bits changes nothing.
// From 65,520 on the half is infinite, which the product is too.
fn round_f16(x: f32) -> f32 {
    let bits = bitcast<u32>(x);
    let large = max(bits & 0x7f800000u, 0x38800000u) + 0x06800000u;
    let sum = bitcast<u32>(abs(x) + bitcast<f32>(large));
    let near = bitcast<f32>(max(sum, large)) - bitcast<f32>(large);
    let signed = bitcast<f32>(bitcast<u32>(near) | (bits & 0x80000000u));
    return select(x * 1e38, signed, abs(x) < 65520.0);
}

fn f16_from_f32(x: f32) -> u32 {
    return pack2x16float(vec2(round_f16(x), 0.0));
}
