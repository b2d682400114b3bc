// What stands in for a function of math.wgsl on a device whose own power of two is known to be right to two units of the last
// place: WGSL promises less, the more the larger the number. Nine instructions instead of some twenty-three.

// The product with log2(e) in two parts, of which the second is small: 2^low is 1 + low·ln(2).
fn exp_f32(x: f32) -> f32 {
    let high = x * 1.4426950408889634;
    let low = fma(x, 1.925963033500011e-8, fma(x, 1.4426950408889634, -high));
    let e = exp2(high);
    // Neither 0, nor infinite, nor a NaN: at infinities there is no low part.
    return select(e, fma(e * 0.6931471805599453, low, e), bitcast<u32>(e) - 1u < 0x7f7fffffu);
}
