// Which of two (value, position) pairs an argmax or argmin keeps: NaN first, then the extreme, then the first.
// "No element yet" is the least extreme value at the largest position.

fn beats_max_f32(b: f32, at_b: i32, a: f32, at_a: i32) -> bool {
    let nan = is_nan(b) & (!is_nan(a) | (at_b < at_a));
    return select((b > a) | ((b == a) & (at_b < at_a)), nan, is_nan(a) | is_nan(b));
}

fn beats_min_f32(b: f32, at_b: i32, a: f32, at_a: i32) -> bool {
    let nan = is_nan(b) & (!is_nan(a) | (at_b < at_a));
    return select((b < a) | ((b == a) & (at_b < at_a)), nan, is_nan(a) | is_nan(b));
}

fn beats_max_i32(b: i32, at_b: i32, a: i32, at_a: i32) -> bool {
    return (b > a) | ((b == a) & (at_b < at_a));
}

fn beats_min_i32(b: i32, at_b: i32, a: i32, at_a: i32) -> bool {
    return (b < a) | ((b == a) & (at_b < at_a));
}

fn beats_max_u32(b: u32, at_b: i32, a: u32, at_a: i32) -> bool {
    return (b > a) | ((b == a) & (at_b < at_a));
}

fn beats_min_u32(b: u32, at_b: i32, a: u32, at_a: i32) -> bool {
    return (b < a) | ((b == a) & (at_b < at_a));
}

// What a sum rounded away (Kahan, 1965); nothing once it is infinite or NaN, so that it stays so. `one` is 1, but the
// compiler must not know: it may simplify (a + b) - a.
fn lost_f32(total: f32, before: f32, added: f32, one: f32) -> f32 {
    return select(0.0, (total - before * one) - added, is_finite(total));
}

fn lost_vec4(total: vec4<f32>, before: vec4<f32>, added: vec4<f32>, one: f32) -> vec4<f32> {
    return vec4(
        lost_f32(total.x, before.x, added.x, one),
        lost_f32(total.y, before.y, added.y, one),
        lost_f32(total.z, before.z, added.z, one),
        lost_f32(total.w, before.w, added.w, one),
    );
}
