// out = softmax(q·kᵀ·scale)·v, one block of 128 queries of one head for each workgroup (FlashAttention-2; Dao, 2023).
//
// The workgroup walks over the keys in blocks of 64. Scores, weights and results stay in registers: an invocation has
// eight queries (8·row..) beside four keys (4·column..) of a block of scores, and beside the widths 4·column.. (and 64
// more) of the results. Whatever a product needs goes through workgroup memory in slices of 16, as vec4s along the axis
// that invocations divide between them. The sum of a row's exponentials is taken relative to the largest score so far,
// and what was summed before is scaled down when a larger one comes.
//
// The operands are reached through functions that are generated and appended: place(head) finds a head in all of them,
// load_q(at, row, d), load_k, load_v with all indices in range, put(at, row, d, four) and put_lse(at, row, value); the
// numbers heads(), queries(), keys(), width(), value_width(), groups_x(), and scale_log2(), the scale times log2(e).
// CAUSAL says that query i sees keys 0..=i only; WIDE that values have more than 64 numbers.

var<workgroup> tile: array<vec4<f32>, 1024>;

// Below every score that counts, and so far below that that its exponential is 0.
const FLOOR = -1e38;
const HIDDEN = -3e38;
const LN2 = 0.6931471805599453;

// Where slices begin in the tile, and how far apart their rows are: one more than they are long, to spread the memory banks,
// if there is room.
const K_AT = 528u;
const P_PITCH = select(33u, 32u, WIDE);
const V_AT = 16u * P_PITCH;
const V_PITCH = select(17u, 32u, WIDE);

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

fn largest(s: vec4<f32>) -> f32 {
    return max(max(s.x, s.y), max(s.z, s.w));
}

fn total(s: vec4<f32>) -> f32 {
    return (s.x + s.y) + (s.z + s.w);
}

// The scores of a query beside four keys, those that it does not see far below all others.
fn visible(s: vec4<f32>, row: u32, key: u32) -> vec4<f32> {
    var end = keys();
    if (CAUSAL) {
        end = min(end, row + 1u);
    }
    return select(vec4<f32>(HIDDEN), s, vec4<u32>(key, key + 1u, key + 2u, key + 3u) < vec4<u32>(end));
}

fn finish(at: Head, row: u32, column: u32, near: vec4<f32>, far: vec4<f32>, top: f32, sum: f32) {
    if (row >= queries()) {
        return;
    }
    // A query that sees nothing but -inf gets zeros.
    let whole = select(1.0 / sum, 0.0, sum == 0.0);
    put(at, row, column * 4u, near * whole);
    if (WIDE) {
        put(at, row, column * 4u + 64u, far * whole);
    }
    if (column == 0u) {
        put_lse(at, row, select(top * LN2 + log_f32(sum), -inf_f32(), sum == 0.0));
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let blocks = (queries() + 127u) / 128u;
    let number = group.y * groups_x() + group.x;
    let head = number / blocks;
    if (head >= heads()) {
        return;
    }
    // Where later queries see more keys, they begin first.
    let row0 = (blocks - 1u - number % blocks) * 128u;
    let at = place(head);
    let row = id / 16u;
    let column = id % 16u;
    let first = row0 + row * 8u;

    var o0 = vec4<f32>();
    var o1 = vec4<f32>();
    var o2 = vec4<f32>();
    var o3 = vec4<f32>();
    var o4 = vec4<f32>();
    var o5 = vec4<f32>();
    var o6 = vec4<f32>();
    var o7 = vec4<f32>();
    var w0 = vec4<f32>();
    var w1 = vec4<f32>();
    var w2 = vec4<f32>();
    var w3 = vec4<f32>();
    var w4 = vec4<f32>();
    var w5 = vec4<f32>();
    var w6 = vec4<f32>();
    var w7 = vec4<f32>();
    var top_a = vec4<f32>(FLOOR);
    var top_b = vec4<f32>(FLOOR);
    var sum_a = vec4<f32>();
    var sum_b = vec4<f32>();
    var end = keys();
    if (CAUSAL) {
        end = min(end, row0 + 128u);
    }
    for (var key0 = 0u; key0 < end; key0 += 64u) {
        var s0 = vec4<f32>();
        var s1 = vec4<f32>();
        var s2 = vec4<f32>();
        var s3 = vec4<f32>();
        var s4 = vec4<f32>();
        var s5 = vec4<f32>();
        var s6 = vec4<f32>();
        var s7 = vec4<f32>();
        for (var d0 = 0u; d0 < width(); d0 += 16u) {
            let d = d0 + column;
            let q = row0 + row * 4u;
            let k = key0 + row * 4u;
            tile[column * 33u + row] = vec4<f32>(q_at(at, q, d), q_at(at, q + 1u, d), q_at(at, q + 2u, d),
                q_at(at, q + 3u, d));
            tile[column * 33u + row + 16u] = vec4<f32>(q_at(at, q + 64u, d), q_at(at, q + 65u, d),
                q_at(at, q + 66u, d), q_at(at, q + 67u, d));
            tile[K_AT + column * 17u + row] = vec4<f32>(k_at(at, k, d), k_at(at, k + 1u, d), k_at(at, k + 2u, d),
                k_at(at, k + 3u, d));
            workgroupBarrier();
            for (var i = 0u; i < 16u; i++) {
                let a = tile[i * 33u + row * 2u];
                let b = tile[i * 33u + row * 2u + 1u];
                let k = tile[K_AT + i * 17u + column];
                s0 += a.x * k;
                s1 += a.y * k;
                s2 += a.z * k;
                s3 += a.w * k;
                s4 += b.x * k;
                s5 += b.y * k;
                s6 += b.z * k;
                s7 += b.w * k;
            }
            workgroupBarrier();
        }
        let scale = scale_log2();
        s0 *= scale;
        s1 *= scale;
        s2 *= scale;
        s3 *= scale;
        s4 *= scale;
        s5 *= scale;
        s6 *= scale;
        s7 *= scale;
        if (key0 + 64u > keys() || (CAUSAL && key0 + 63u > row0)) {
            let key = key0 + column * 4u;
            s0 = visible(s0, first, key);
            s1 = visible(s1, first + 1u, key);
            s2 = visible(s2, first + 2u, key);
            s3 = visible(s3, first + 3u, key);
            s4 = visible(s4, first + 4u, key);
            s5 = visible(s5, first + 5u, key);
            s6 = visible(s6, first + 6u, key);
            s7 = visible(s7, first + 7u, key);
        }

        // The largest score of each query, over all who share it.
        tile[row * 32u + column] = vec4<f32>(largest(s0), largest(s1), largest(s2), largest(s3));
        tile[row * 32u + 16u + column] = vec4<f32>(largest(s4), largest(s5), largest(s6), largest(s7));
        workgroupBarrier();
        let old_a = top_a;
        let old_b = top_b;
        for (var i = 0u; i < 16u; i++) {
            top_a = max(top_a, tile[row * 32u + i]);
            top_b = max(top_b, tile[row * 32u + 16u + i]);
        }
        workgroupBarrier();
        s0 = exp2(s0 - top_a.x);
        s1 = exp2(s1 - top_a.y);
        s2 = exp2(s2 - top_a.z);
        s3 = exp2(s3 - top_a.w);
        s4 = exp2(s4 - top_b.x);
        s5 = exp2(s5 - top_b.y);
        s6 = exp2(s6 - top_b.z);
        s7 = exp2(s7 - top_b.w);
        let fade_a = exp2(old_a - top_a);
        let fade_b = exp2(old_b - top_b);
        sum_a = sum_a * fade_a + vec4<f32>(total(s0), total(s1), total(s2), total(s3));
        sum_b = sum_b * fade_b + vec4<f32>(total(s4), total(s5), total(s6), total(s7));
        o0 *= fade_a.x;
        o1 *= fade_a.y;
        o2 *= fade_a.z;
        o3 *= fade_a.w;
        o4 *= fade_b.x;
        o5 *= fade_b.y;
        o6 *= fade_b.z;
        o7 *= fade_b.w;
        if (WIDE) {
            w0 *= fade_a.x;
            w1 *= fade_a.y;
            w2 *= fade_a.z;
            w3 *= fade_a.w;
            w4 *= fade_b.x;
            w5 *= fade_b.y;
            w6 *= fade_b.z;
            w7 *= fade_b.w;
        }

        for (var slice = 0u; slice < 4u; slice++) {
            if (column / 4u == slice) {
                let p = (column % 4u) * 4u * P_PITCH + row * 2u;
                tile[p] = vec4<f32>(s0.x, s1.x, s2.x, s3.x);
                tile[p + 1u] = vec4<f32>(s4.x, s5.x, s6.x, s7.x);
                tile[p + P_PITCH] = vec4<f32>(s0.y, s1.y, s2.y, s3.y);
                tile[p + P_PITCH + 1u] = vec4<f32>(s4.y, s5.y, s6.y, s7.y);
                tile[p + 2u * P_PITCH] = vec4<f32>(s0.z, s1.z, s2.z, s3.z);
                tile[p + 2u * P_PITCH + 1u] = vec4<f32>(s4.z, s5.z, s6.z, s7.z);
                tile[p + 3u * P_PITCH] = vec4<f32>(s0.w, s1.w, s2.w, s3.w);
                tile[p + 3u * P_PITCH + 1u] = vec4<f32>(s4.w, s5.w, s6.w, s7.w);
            }
            let key = key0 + slice * 16u + row;
            let d = column * 4u;
            tile[V_AT + row * V_PITCH + column] = vec4<f32>(v_at(at, key, d), v_at(at, key, d + 1u),
                v_at(at, key, d + 2u), v_at(at, key, d + 3u));
            if (WIDE) {
                tile[V_AT + row * V_PITCH + column + 16u] = vec4<f32>(v_at(at, key, d + 64u),
                    v_at(at, key, d + 65u), v_at(at, key, d + 66u), v_at(at, key, d + 67u));
            }
            workgroupBarrier();
            for (var i = 0u; i < 16u; i++) {
                let a = tile[i * P_PITCH + row * 2u];
                let b = tile[i * P_PITCH + row * 2u + 1u];
                let v = tile[V_AT + i * V_PITCH + column];
                o0 += a.x * v;
                o1 += a.y * v;
                o2 += a.z * v;
                o3 += a.w * v;
                o4 += b.x * v;
                o5 += b.y * v;
                o6 += b.z * v;
                o7 += b.w * v;
                if (WIDE) {
                    let w = tile[V_AT + i * V_PITCH + column + 16u];
                    w0 += a.x * w;
                    w1 += a.y * w;
                    w2 += a.z * w;
                    w3 += a.w * w;
                    w4 += b.x * w;
                    w5 += b.y * w;
                    w6 += b.z * w;
                    w7 += b.w * w;
                }
            }
            workgroupBarrier();
        }
    }

    // Each invocation has summed its own keys.
    tile[row * 32u + column] = sum_a;
    tile[row * 32u + 16u + column] = sum_b;
    workgroupBarrier();
    sum_a = vec4<f32>();
    sum_b = vec4<f32>();
    for (var i = 0u; i < 16u; i++) {
        sum_a += tile[row * 32u + i];
        sum_b += tile[row * 32u + 16u + i];
    }
    finish(at, first, column, o0, w0, top_a.x, sum_a.x);
    finish(at, first + 1u, column, o1, w1, top_a.y, sum_a.y);
    finish(at, first + 2u, column, o2, w2, top_a.z, sum_a.z);
    finish(at, first + 3u, column, o3, w3, top_a.w, sum_a.w);
    finish(at, first + 4u, column, o4, w4, top_b.x, sum_b.x);
    finish(at, first + 5u, column, o5, w5, top_b.y, sum_b.y);
    finish(at, first + 6u, column, o6, w6, top_b.z, sum_b.z);
    finish(at, first + 7u, column, o7, w7, top_b.w, sum_b.w);
}
