// Philox4x32-10 (Salmon et al., SC 2011), one word at a time: the same numbers as on the CPU, bit for bit.

fn philox(start: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var counter = start;
    var key = seed;
    for (var i = 0u; i < 10u; i++) {
        let p0 = mul_wide(counter.x, 0xd2511f53u);
        let p1 = mul_wide(counter.z, 0xcd9e8d57u);
        counter = vec4<u32>(p1.y ^ counter.y ^ key.x, p1.x, p0.y ^ counter.w ^ key.y, p0.x);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return counter;
}

// Element i of a stream: word i % 4 of the block i / 4.
fn random_bits(i: u32, seed_low: u32, seed_high: u32, stream: u32) -> u32 {
    let words = philox(vec4<u32>(i >> 2u, 0u, stream, 0u), vec2<u32>(seed_low, seed_high));
    let pair = select(words.xy, words.zw, (i & 2u) == 2u);
    return select(pair.x, pair.y, (i & 1u) == 1u);
}

fn unit_interval(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

fn random_uniform(i: u32, seed_low: u32, seed_high: u32, stream: u32) -> f32 {
    return unit_interval(random_bits(i, seed_low, seed_high, stream));
}

// Box and Muller (1958) on the words (0, 1) or (2, 3). The logarithm's operand lies in (0, 1] and the angle in [0, 2π),
// so neither needs the special cases of log_f32 and sin_f32, over which drivers' compilers can take very long.
fn random_normal(i: u32, seed_low: u32, seed_high: u32, stream: u32) -> f32 {
    let words = philox(vec4<u32>(i >> 2u, 0u, stream, 0u), vec2<u32>(seed_low, seed_high));
    let pair = select(words.xy, words.zw, (i & 2u) == 2u);
    let p = log_parts(1.0 - unit_interval(pair.x));
    let radius = sqrt(-2.0 * ((p.x + p.y * 9.0580006145e-6) + p.y * 0.69313812256));
    let angle = 6.283185307179586 * unit_interval(pair.y);
    let n = round(angle * 0.6366197723675814);
    let r = ((angle - n * 1.5703125) - n * 4.837512969970703125e-4) - n * 7.54978995489188216e-8;
    return radius * sin_quadrant(r, i32(n) + select(1i, 0i, (i & 1u) == 1u));
}
