// Integer arithmetic with every case defined: nothing divides by zero, overflows or shifts too far.

fn div_i32(a: i32, b: i32) -> i32 {
    if (b == 0i) {
        return 0i;
    }
    if (b == -1i) {
        return bitcast<i32>(0u - bitcast<u32>(a));
    }
    return a / b;
}

fn div_u32(a: u32, b: u32) -> u32 {
    if (b == 0u) {
        return 0u;
    }
    return a / b;
}

// The sign is b's.
fn rem_i32(a: i32, b: i32) -> i32 {
    if ((b == 0i) | (b == -1i)) {
        return 0i;
    }
    let r = a % b;
    if ((r != 0i) & ((r < 0i) != (b < 0i))) {
        return r + b;
    }
    return r;
}

fn rem_u32(a: u32, b: u32) -> u32 {
    if (b == 0u) {
        return 0u;
    }
    return a % b;
}

fn floor_div_i32(a: i32, b: i32) -> i32 {
    let q = div_i32(a, b);
    if ((rem_i32(a, b) != 0i) & ((a < 0i) != (b < 0i))) {
        return q - 1i;
    }
    return q;
}

fn shl_u32(a: u32, b: u32) -> u32 {
    if (b >= 32u) {
        return 0u;
    }
    return a << b;
}

fn shr_u32(a: u32, b: u32) -> u32 {
    if (b >= 32u) {
        return 0u;
    }
    return a >> b;
}

// A negative distance counts as too far.
fn shl_i32(a: i32, b: i32) -> i32 {
    return bitcast<i32>(shl_u32(bitcast<u32>(a), bitcast<u32>(b)));
}

fn shr_i32(a: i32, b: i32) -> i32 {
    return a >> min(bitcast<u32>(b), 31u);
}

// The product of two words as (low, high), from halves: WGSL has no 64-bit integers.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let carry = a0 * b1 + (middle & 0xffffu);
    return vec2<u32>(a * b, a1 * b1 + (middle >> 16u) + (carry >> 16u));
}
