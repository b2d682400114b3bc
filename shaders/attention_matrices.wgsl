// out = softmax(q·kᵀ·scale)·v on cooperative matrices, for f16 and heads of up to 64 numbers: one block of 128 queries of one
// head for each workgroup of four subgroups of 32, a subgroup having 32 queries (FlashAttention-2; Dao, 2023).
//
// The workgroup walks over the keys in blocks of 32. Queries and results stay in matrices. Scores go through workgroup
// memory, because only there it is known which invocation has which: an invocation takes the 32 scores of one query and lays
// their weights down as f16 for the product with the values. A row's exponentials are taken relative to a score that was once
// the largest; results are scaled down, which takes them through workgroup memory too, only when some query of the block finds
// one that is larger by 8 (as an exponent of 2, so that weights stay below 256).
//
// Everything in workgroup memory is a multiple of 16 bytes: a matrix that begins elsewhere is read wrong on NVIDIA. Rows are
// padded by 16 bytes, which spreads them over the memory banks.
//
// The generated functions are those of attention.wgsl, but four_q(at, row, four), four_k and four_v give four neighbours, all
// indices in range. TURNS is how many blocks are walked at a time; WHOLE_KEYS says that all of them have 32 keys, WHOLE_WIDTH
// and WHOLE_VALUES that heads have 64 numbers: then nothing has to be kept inside.

const FLOOR = -1e38;
const HIDDEN = -3e38;
const LN2 = 0.6931471805599453;
const RISE = 8.0;

// In vec4s.
const HEAD_PITCH = 18u;
const SCORE_PITCH = 9u;
const WEIGHT_PITCH = 10u;

var<workgroup> k_tile: array<vec4<f16>, 576>;
var<workgroup> v_tile: array<vec4<f16>, 576>;
var<workgroup> scores: array<vec4<f32>, 1152>;
var<workgroup> weights: array<vec4<f16>, 1280>;
// Whether some query needs its results scaled down; one number would not fill 16 bytes.
var<workgroup> rises: vec4<u32>;

// Loads have no branches, so that all of a block are under way at once. `four` counts the fours of a row.
fn q_at(at: Head, row: u32, four: u32) -> vec4<f16> {
    let value = four_q(at, min(row, queries() - 1u), min(four, width() / 4u - 1u));
    return select(vec4<f16>(), value, (row < queries()) & (four < width() / 4u));
}

fn k_at(at: Head, key: u32, four: u32) -> vec4<f16> {
    let row = select(min(key, keys() - 1u), key, WHOLE_KEYS);
    let value = four_k(at, row, select(min(four, width() / 4u - 1u), four, WHOLE_WIDTH));
    return select(vec4<f16>(), value, (WHOLE_KEYS | (key < keys())) & (WHOLE_WIDTH | (four < width() / 4u)));
}

fn v_at(at: Head, key: u32, four: u32) -> vec4<f16> {
    let row = select(min(key, keys() - 1u), key, WHOLE_KEYS);
    let value = four_v(at, row, select(min(four, value_width() / 4u - 1u), four, WHOLE_VALUES));
    return select(vec4<f16>(), value, (WHOLE_KEYS | (key < keys())) & (WHOLE_VALUES | (four < value_width() / 4u)));
}

// Four scores of a query, those of keys that it does not see far below all others.
fn visible(s: vec4<f32>, key: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(HIDDEN), s, vec4<u32>(key, key + 1u, key + 2u, key + 3u) < vec4<u32>(end));
}

fn largest(s: vec4<f32>) -> f32 {
    return max(max(s.x, s.y), max(s.z, s.w));
}

fn total(s: vec4<f32>) -> f32 {
    return (s.x + s.y) + (s.z + s.w);
}

// Lays a query's weights of four keys down; gives them.
fn weigh(s: vec4<f32>, top: f32, place: u32) -> vec4<f32> {
    let p = exp2(s - top);
    weights[place] = vec4<f16>(p);
    return p;
}

@compute @workgroup_size(128)
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
    // The rows of this subgroup in workgroup memory, and this invocation's.
    let first = id / 32u * 32u;
    let second = first + 16u;
    let own_scores = id * SCORE_PITCH;
    let own_weights = id * WEIGHT_PITCH;

    // Queries come by way of the weights' memory, half of their width at a time.
    for (var i = 0u; i < 8u; i++) {
        let e = i * 128u + id;
        weights[e / 8u * WEIGHT_PITCH + e % 8u] = q_at(at, row0 + e / 8u, e % 8u);
    }
    workgroupBarrier();
    let q00 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
    let q10 = coopLoadT<coop_mat16x16<f16, A>>(&weights[second * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
    let q01 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
    let q11 = coopLoadT<coop_mat16x16<f16, A>>(&weights[second * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) {
        let e = i * 128u + id;
        weights[e / 8u * WEIGHT_PITCH + e % 8u] = q_at(at, row0 + e / 8u, 8u + e % 8u);
    }
    workgroupBarrier();
    let q02 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
    let q12 = coopLoadT<coop_mat16x16<f16, A>>(&weights[second * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
    let q03 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
    let q13 = coopLoadT<coop_mat16x16<f16, A>>(&weights[second * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
    rises = vec4<u32>();
    workgroupBarrier();

    var o00 = coop_mat16x16<f32, C>();
    var o01 = coop_mat16x16<f32, C>();
    var o02 = coop_mat16x16<f32, C>();
    var o03 = coop_mat16x16<f32, C>();
    var o10 = coop_mat16x16<f32, C>();
    var o11 = coop_mat16x16<f32, C>();
    var o12 = coop_mat16x16<f32, C>();
    var o13 = coop_mat16x16<f32, C>();
    var top = FLOOR;
    var sum = 0.0;
    var end = keys();
    var own_end = keys();
    if (CAUSAL) {
        end = min(end, row0 + 128u);
        own_end = min(own_end, row0 + id + 1u);
    }
    for (var turn = 0u; turn < end; turn += 32u * TURNS) {
        // So many times as the compiler can see: it then loads the next block early. Four: 111 TFLOP/s; one: 89.
        for (var step = 0u; step < TURNS; step++) {
            let key0 = turn + step * 32u;
            // All loads before the first store.
            let to = id / 16u * HEAD_PITCH + id % 16u;
            let four = id % 16u;
            let key = key0 + id / 16u;
            let k0 = k_at(at, key + 0u, four);
            let k1 = k_at(at, key + 8u, four);
            let k2 = k_at(at, key + 16u, four);
            let k3 = k_at(at, key + 24u, four);
            let v0 = v_at(at, key + 0u, four);
            let v1 = v_at(at, key + 8u, four);
            let v2 = v_at(at, key + 16u, four);
            let v3 = v_at(at, key + 24u, four);
            k_tile[to + 0u * HEAD_PITCH] = k0;
            k_tile[to + 8u * HEAD_PITCH] = k1;
            k_tile[to + 16u * HEAD_PITCH] = k2;
            k_tile[to + 24u * HEAD_PITCH] = k3;
            v_tile[to + 0u * HEAD_PITCH] = v0;
            v_tile[to + 8u * HEAD_PITCH] = v1;
            v_tile[to + 16u * HEAD_PITCH] = v2;
            v_tile[to + 24u * HEAD_PITCH] = v3;
            workgroupBarrier();

            var s00 = coop_mat16x16<f32, C>();
            var s10 = coop_mat16x16<f32, C>();
            let k0_0 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[0u * HEAD_PITCH + 0u], HEAD_PITCH);
            s00 = coopMultiplyAdd(q00, k0_0, s00);
            s10 = coopMultiplyAdd(q10, k0_0, s10);
            let k0_1 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[0u * HEAD_PITCH + 4u], HEAD_PITCH);
            s00 = coopMultiplyAdd(q01, k0_1, s00);
            s10 = coopMultiplyAdd(q11, k0_1, s10);
            let k0_2 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[0u * HEAD_PITCH + 8u], HEAD_PITCH);
            s00 = coopMultiplyAdd(q02, k0_2, s00);
            s10 = coopMultiplyAdd(q12, k0_2, s10);
            let k0_3 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[0u * HEAD_PITCH + 12u], HEAD_PITCH);
            s00 = coopMultiplyAdd(q03, k0_3, s00);
            s10 = coopMultiplyAdd(q13, k0_3, s10);
            coopStoreT(s00, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
            coopStoreT(s10, &scores[second * SCORE_PITCH + 0u], SCORE_PITCH);
            var s01 = coop_mat16x16<f32, C>();
            var s11 = coop_mat16x16<f32, C>();
            let k1_0 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[16u * HEAD_PITCH + 0u], HEAD_PITCH);
            s01 = coopMultiplyAdd(q00, k1_0, s01);
            s11 = coopMultiplyAdd(q10, k1_0, s11);
            let k1_1 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[16u * HEAD_PITCH + 4u], HEAD_PITCH);
            s01 = coopMultiplyAdd(q01, k1_1, s01);
            s11 = coopMultiplyAdd(q11, k1_1, s11);
            let k1_2 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[16u * HEAD_PITCH + 8u], HEAD_PITCH);
            s01 = coopMultiplyAdd(q02, k1_2, s01);
            s11 = coopMultiplyAdd(q12, k1_2, s11);
            let k1_3 = coopLoad<coop_mat16x16<f16, B>>(&k_tile[16u * HEAD_PITCH + 12u], HEAD_PITCH);
            s01 = coopMultiplyAdd(q03, k1_3, s01);
            s11 = coopMultiplyAdd(q13, k1_3, s11);
            coopStoreT(s01, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
            coopStoreT(s11, &scores[second * SCORE_PITCH + 4u], SCORE_PITCH);
            workgroupBarrier();

            let scale = scale_log2();
            var x0 = scores[own_scores + 0u] * scale;
            var x1 = scores[own_scores + 1u] * scale;
            var x2 = scores[own_scores + 2u] * scale;
            var x3 = scores[own_scores + 3u] * scale;
            var x4 = scores[own_scores + 4u] * scale;
            var x5 = scores[own_scores + 5u] * scale;
            var x6 = scores[own_scores + 6u] * scale;
            var x7 = scores[own_scores + 7u] * scale;
            if ((!WHOLE_KEYS & (key0 + 32u > keys())) | (CAUSAL & (key0 + 31u > row0 + first))) {
                x0 = visible(x0, key0 + 0u, own_end);
                x1 = visible(x1, key0 + 4u, own_end);
                x2 = visible(x2, key0 + 8u, own_end);
                x3 = visible(x3, key0 + 12u, own_end);
                x4 = visible(x4, key0 + 16u, own_end);
                x5 = visible(x5, key0 + 20u, own_end);
                x6 = visible(x6, key0 + 24u, own_end);
                x7 = visible(x7, key0 + 28u, own_end);
            }
            let highest = largest(max(max(max(x0, x1), max(x2, x3)), max(max(x4, x5), max(x6, x7))));
            if (highest > top + RISE) {
                rises = vec4<u32>(1u);
            }
            let rise = workgroupUniformLoad(&rises).x;
            rises = vec4<u32>();
            if (rise != 0u) {
                let now = max(top, highest);
                let fade = exp2(top - now);
                sum *= fade;
                top = now;
                coopStoreT(o00, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
                coopStoreT(o01, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
                coopStoreT(o10, &scores[second * SCORE_PITCH + 0u], SCORE_PITCH);
                coopStoreT(o11, &scores[second * SCORE_PITCH + 4u], SCORE_PITCH);
                workgroupBarrier();
                for (var i = 0u; i < 8u; i++) {
                    scores[own_scores + i] *= fade;
                }
                workgroupBarrier();
                o00 = coopLoadT<coop_mat16x16<f32, C>>(&scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
                o01 = coopLoadT<coop_mat16x16<f32, C>>(&scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
                o10 = coopLoadT<coop_mat16x16<f32, C>>(&scores[second * SCORE_PITCH + 0u], SCORE_PITCH);
                o11 = coopLoadT<coop_mat16x16<f32, C>>(&scores[second * SCORE_PITCH + 4u], SCORE_PITCH);
                workgroupBarrier();
                coopStoreT(o02, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
                coopStoreT(o03, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
                coopStoreT(o12, &scores[second * SCORE_PITCH + 0u], SCORE_PITCH);
                coopStoreT(o13, &scores[second * SCORE_PITCH + 4u], SCORE_PITCH);
                workgroupBarrier();
                for (var i = 0u; i < 8u; i++) {
                    scores[own_scores + i] *= fade;
                }
                workgroupBarrier();
                o02 = coopLoadT<coop_mat16x16<f32, C>>(&scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
                o03 = coopLoadT<coop_mat16x16<f32, C>>(&scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
                o12 = coopLoadT<coop_mat16x16<f32, C>>(&scores[second * SCORE_PITCH + 0u], SCORE_PITCH);
                o13 = coopLoadT<coop_mat16x16<f32, C>>(&scores[second * SCORE_PITCH + 4u], SCORE_PITCH);
            }
            var part = weigh(x0, top, own_weights);
            part += weigh(x1, top, own_weights + 1u);
            part += weigh(x2, top, own_weights + 2u);
            part += weigh(x3, top, own_weights + 3u);
            part += weigh(x4, top, own_weights + 4u);
            part += weigh(x5, top, own_weights + 5u);
            part += weigh(x6, top, own_weights + 6u);
            part += weigh(x7, top, own_weights + 7u);
            sum += total(part);
            workgroupBarrier();

            let p00 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
            let p10 = coopLoadT<coop_mat16x16<f16, A>>(&weights[second * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
            let v0_0 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[0u * HEAD_PITCH + 0u], HEAD_PITCH);
            o00 = coopMultiplyAdd(p00, v0_0, o00);
            o10 = coopMultiplyAdd(p10, v0_0, o10);
            let v0_1 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[0u * HEAD_PITCH + 4u], HEAD_PITCH);
            o01 = coopMultiplyAdd(p00, v0_1, o01);
            o11 = coopMultiplyAdd(p10, v0_1, o11);
            let v0_2 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[0u * HEAD_PITCH + 8u], HEAD_PITCH);
            o02 = coopMultiplyAdd(p00, v0_2, o02);
            o12 = coopMultiplyAdd(p10, v0_2, o12);
            let v0_3 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[0u * HEAD_PITCH + 12u], HEAD_PITCH);
            o03 = coopMultiplyAdd(p00, v0_3, o03);
            o13 = coopMultiplyAdd(p10, v0_3, o13);
            let p01 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
            let p11 = coopLoadT<coop_mat16x16<f16, A>>(&weights[second * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
            let v1_0 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[16u * HEAD_PITCH + 0u], HEAD_PITCH);
            o00 = coopMultiplyAdd(p01, v1_0, o00);
            o10 = coopMultiplyAdd(p11, v1_0, o10);
            let v1_1 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[16u * HEAD_PITCH + 4u], HEAD_PITCH);
            o01 = coopMultiplyAdd(p01, v1_1, o01);
            o11 = coopMultiplyAdd(p11, v1_1, o11);
            let v1_2 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[16u * HEAD_PITCH + 8u], HEAD_PITCH);
            o02 = coopMultiplyAdd(p01, v1_2, o02);
            o12 = coopMultiplyAdd(p11, v1_2, o12);
            let v1_3 = coopLoadT<coop_mat16x16<f16, B>>(&v_tile[16u * HEAD_PITCH + 12u], HEAD_PITCH);
            o03 = coopMultiplyAdd(p01, v1_3, o03);
            o13 = coopMultiplyAdd(p11, v1_3, o13);
            workgroupBarrier();
        }
    }

    let row = row0 + id;
    // A query that sees nothing but -inf gets zeros.
    let whole = select(1.0 / sum, 0.0, sum == 0.0);
    coopStoreT(o00, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
    coopStoreT(o01, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
    coopStoreT(o10, &scores[second * SCORE_PITCH + 0u], SCORE_PITCH);
    coopStoreT(o11, &scores[second * SCORE_PITCH + 4u], SCORE_PITCH);
    workgroupBarrier();
    if (row < queries()) {
        for (var i = 0u; i < 8u; i++) {
            put(at, row, 0u + i * 4u, scores[own_scores + i] * whole);
        }
    }
    workgroupBarrier();
    coopStoreT(o02, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
    coopStoreT(o03, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
    coopStoreT(o12, &scores[second * SCORE_PITCH + 0u], SCORE_PITCH);
    coopStoreT(o13, &scores[second * SCORE_PITCH + 4u], SCORE_PITCH);
    workgroupBarrier();
    if (row < queries()) {
        for (var i = 0u; i < 8u; i++) {
            put(at, row, 32u + i * 4u, scores[own_scores + i] * whole);
        }
    }
    if (row < queries()) {
        put_lse(at, row, select(top * LN2 + log_f32(sum), -inf_f32(), sum == 0.0));
    }
}
