// What the two kernels of attention's gradient share: products of blocks of 64×64, of which an invocation (of 256) makes
// four rows (4·row..) beside four columns (4·column..). For every 16 terms both operands go through workgroup memory, rows
// at 0 and columns at COLUMNS, as vec4s along rows and along columns.
//
// The operands are reached through functions that are generated and appended: place(head) finds a head of queries, and the
// keys that it looks at, in all of them; load_q(at, row, d), load_k, load_v, load_g (the result's gradient), with all
// indices in range; lse(at, row) and delta(at, row), see Op::AttentionGrad. The numbers are queries(), keys(), width(),
// value_width(), share() (heads of queries for each of keys), groups_x(), scale() and scale_log2(), the scale times log2(e).
// CAUSAL says that query i sees keys 0..=i only; WIDE and WIDE_VALUES that queries and values have more than 64 numbers.

struct Block {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
    d: vec4<f32>,
}

const COLUMNS = 272u;
const LOG2_E = 1.4426950408889634;

var<workgroup> tile: array<vec4<f32>, 816>;

fn q_at(at: Head, row: u32, d: u32) -> f32 {
    if (row < queries() && d < width()) {
        return load_q(at, row, d);
    }
    return 0.0;
}

fn k_at(at: Head, key: u32, d: u32) -> f32 {
    if (key < keys() && d < width()) {
        return load_k(at, key, d);
    }
    return 0.0;
}

fn v_at(at: Head, key: u32, d: u32) -> f32 {
    if (key < keys() && d < value_width()) {
        return load_v(at, key, d);
    }
    return 0.0;
}

fn g_at(at: Head, row: u32, d: u32) -> f32 {
    if (row < queries() && d < value_width()) {
        return load_g(at, row, d);
    }
    return 0.0;
}

// Four neighbours along the width.
fn four_q(at: Head, row: u32, d: u32) -> vec4<f32> {
    return vec4<f32>(q_at(at, row, d), q_at(at, row, d + 1u), q_at(at, row, d + 2u), q_at(at, row, d + 3u));
}

fn four_k(at: Head, key: u32, d: u32) -> vec4<f32> {
    return vec4<f32>(k_at(at, key, d), k_at(at, key, d + 1u), k_at(at, key, d + 2u), k_at(at, key, d + 3u));
}

fn four_g(at: Head, row: u32, d: u32) -> vec4<f32> {
    return vec4<f32>(g_at(at, row, d), g_at(at, row, d + 1u), g_at(at, row, d + 2u), g_at(at, row, d + 3u));
}

// Four neighbours among queries or keys.
fn some_q(at: Head, row: u32, d: u32) -> vec4<f32> {
    return vec4<f32>(q_at(at, row, d), q_at(at, row + 1u, d), q_at(at, row + 2u, d), q_at(at, row + 3u, d));
}

fn some_k(at: Head, key: u32, d: u32) -> vec4<f32> {
    return vec4<f32>(k_at(at, key, d), k_at(at, key + 1u, d), k_at(at, key + 2u, d), k_at(at, key + 3u, d));
}

fn some_v(at: Head, key: u32, d: u32) -> vec4<f32> {
    return vec4<f32>(v_at(at, key, d), v_at(at, key + 1u, d), v_at(at, key + 2u, d), v_at(at, key + 3u, d));
}

fn some_g(at: Head, row: u32, d: u32) -> vec4<f32> {
    return vec4<f32>(g_at(at, row, d), g_at(at, row + 1u, d), g_at(at, row + 2u, d), g_at(at, row + 3u, d));
}

// `sum` and 16 terms of the product that lies in the tile, its columns beginning at `begin`.
fn product(sum: Block, row: u32, column: u32, begin: u32) -> Block {
    var next = sum;
    for (var i = 0u; i < 16u; i++) {
        let left = tile[i * 17u + row];
        let right = tile[begin + i * 17u + column];
        next.a += left.x * right;
        next.b += left.y * right;
        next.c += left.z * right;
        next.d += left.w * right;
    }
    return next;
}

// Lays columns 16·slice.. of a block that is in registers where the next product has its rows.
fn spread(block: Block, row: u32, column: u32, slice: u32) {
    if (column / 4u == slice) {
        let to = (column % 4u) * 68u + row;
        tile[to] = vec4<f32>(block.a.x, block.b.x, block.c.x, block.d.x);
        tile[to + 17u] = vec4<f32>(block.a.y, block.b.y, block.c.y, block.d.y);
        tile[to + 34u] = vec4<f32>(block.a.z, block.b.z, block.c.z, block.d.z);
        tile[to + 51u] = vec4<f32>(block.a.w, block.b.w, block.c.w, block.d.w);
    }
}

// The weight of a score that is seen. What saw nothing but -inf has weighed nothing.
fn weight(score: vec4<f32>, lse: vec4<f32>, seen: vec4<bool>) -> vec4<f32> {
    let some = lse > vec4<f32>(-3e38);
    return select(vec4<f32>(), exp2(score * scale_log2() - lse * LOG2_E), seen & (some | (lse != lse)));
}

// A score's gradient. What is not seen has none, whatever is not a number there.
fn slope(weight: vec4<f32>, grad: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(), weight * grad, weight != vec4<f32>());
}
