// The gradient of attention on cooperative matrices, for f16 and heads of up to 64 numbers: one block of 64 rows of one head for
// each workgroup of four subgroups of 32, a subgroup having 16 of them, which walks over the other rows in blocks of 32. The rows are
// queries, and keys are walked over, which gives dq; or BY_KEYS the other way around, which gives dk and dv. With
// p = exp(q·kᵀ·scale - lse) and ds = p·(g·vᵀ - delta):
//
//     dq = ds·k·scale        dk = dsᵀ·q·scale        dv = pᵀ·g
//
// Own rows stay in matrices, x being q or k, and y being g or v. Both products of a block go through workgroup memory,
// because only there it is known which invocation has which element: two share a row, and lay p and ds down as f16 for the
// products that follow, as is usual: a ds below 6e-8 is lost. See attention_matrices.wgsl for what lies where in workgroup
// memory, and why.
//
// Generated and appended: place(head), which finds a head of queries in all operands and the keys that it looks at; four_own_x(at,
// row, four), four_own_y, four_walked_x and four_walked_y, all indices in range; lse(at, row) and delta(at, row), see
// Op::AttentionGrad; put_x(at, row, d, four) and, BY_KEYS, put_y. The numbers are queries(), keys(), width(), value_width(), heads(),
// groups(), share() (heads of queries for each of keys), groups_x(), scale() and scale_log2(), the scale times log2(e). TURNS is how
// many blocks are walked at a time; WHOLE_ROWS says that each has 32 rows, WHOLE_WIDTH and WHOLE_VALUES that heads have 64 numbers.

const LOG2_E = 1.4426950408889634;

// In vec4s.
const HEAD_PITCH = 18u;
const SCORE_PITCH = 9u;
const WEIGHT_PITCH = 10u;

// Own rows first; then the walked ones of x, and of y.
var<workgroup> tiles: array<vec4<f16>, 1152>;
const Y_TILE = 576u;
var<workgroup> scores: array<vec4<f32>, 576>;
var<workgroup> grads: array<vec4<f32>, 576>;
var<workgroup> weights: array<vec4<f16>, 640>;
var<workgroup> slopes: array<vec4<f16>, 640>;
// What is known of walked queries.
var<workgroup> sums: array<vec4<f32>, 8>;
var<workgroup> deltas: array<vec4<f32>, 8>;

fn own_rows() -> u32 {
    return select(queries(), keys(), BY_KEYS);
}

fn walked_rows() -> u32 {
    return select(keys(), queries(), BY_KEYS);
}

// Loads have no branches, so that all of a block are under way at once. `four` counts the fours of a row.
fn own_x_at(at: Head, row: u32, four: u32) -> vec4<f16> {
    let value = four_own_x(at, min(row, own_rows() - 1u), min(four, width() / 4u - 1u));
    return select(vec4<f16>(), value, (row < own_rows()) & (four < width() / 4u));
}

fn own_y_at(at: Head, row: u32, four: u32) -> vec4<f16> {
    let value = four_own_y(at, min(row, own_rows() - 1u), min(four, value_width() / 4u - 1u));
    return select(vec4<f16>(), value, (row < own_rows()) & (four < value_width() / 4u));
}

fn walked_x_at(at: Head, row: u32, four: u32) -> vec4<f16> {
    let inside = select(min(row, walked_rows() - 1u), row, WHOLE_ROWS);
    let value = four_walked_x(at, inside, select(min(four, width() / 4u - 1u), four, WHOLE_WIDTH));
    return select(vec4<f16>(), value, (WHOLE_ROWS | (row < walked_rows())) & (WHOLE_WIDTH | (four < width() / 4u)));
}

fn walked_y_at(at: Head, row: u32, four: u32) -> vec4<f16> {
    let inside = select(min(row, walked_rows() - 1u), row, WHOLE_ROWS);
    let value = four_walked_y(at, inside, select(min(four, value_width() / 4u - 1u), four, WHOLE_VALUES));
    return select(vec4<f16>(), value, (WHOLE_ROWS | (row < walked_rows())) & (WHOLE_VALUES | (four < value_width() / 4u)));
}

fn lse_at(at: Head, row: u32) -> f32 {
    return lse(at, min(row, queries() - 1u));
}

fn delta_at(at: Head, row: u32) -> f32 {
    return delta(at, min(row, queries() - 1u));
}

// Which of four walked rows an own row sees, or is seen by.
fn sees(own: u32, walked: u32) -> vec4<bool> {
    let four = vec4<u32>(walked, walked + 1u, walked + 2u, walked + 3u);
    let inside = four < vec4<u32>(walked_rows());
    if (BY_KEYS) {
        return inside & (vec4<bool>(!CAUSAL) | (four >= vec4<u32>(own)));
    }
    return inside & (vec4<bool>(!CAUSAL) | (four <= vec4<u32>(own)));
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let blocks = (own_rows() + 63u) / 64u;
    let number = group.y * groups_x() + group.x;
    let head = number / blocks;
    if (head >= select(heads(), groups(), BY_KEYS)) {
        return;
    }
    let members = select(1u, share(), BY_KEYS);
    let own = place(head * members);
    // Where later queries see more keys, they begin first.
    let block = select(blocks - 1u - number % blocks, number % blocks, BY_KEYS);
    let row0 = block * 64u;
    // The first row of this subgroup; this invocation's, of which it has one half of each block.
    let first = id / 32u * 16u;
    let row = id / 2u;
    let side = id % 2u * 4u;
    let own_lse = vec4<f32>(lse_at(own, row0 + row));
    let own_delta = vec4<f32>(delta_at(own, row0 + row));

    for (var i = 0u; i < 8u; i++) {
        let e = i * 128u + id;
        tiles[e / 16u * HEAD_PITCH + e % 16u] = own_x_at(own, row0 + e / 16u, e % 16u);
    }
    workgroupBarrier();
    let own_x0 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 0u], HEAD_PITCH);
    let own_x1 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 4u], HEAD_PITCH);
    let own_x2 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 8u], HEAD_PITCH);
    let own_x3 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 12u], HEAD_PITCH);
    workgroupBarrier();
    for (var i = 0u; i < 8u; i++) {
        let e = i * 128u + id;
        tiles[e / 16u * HEAD_PITCH + e % 16u] = own_y_at(own, row0 + e / 16u, e % 16u);
    }
    workgroupBarrier();
    let own_y0 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 0u], HEAD_PITCH);
    let own_y1 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 4u], HEAD_PITCH);
    let own_y2 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 8u], HEAD_PITCH);
    let own_y3 = coopLoadT<coop_mat16x16<f16, A>>(&tiles[first * HEAD_PITCH + 12u], HEAD_PITCH);
    workgroupBarrier();

    var dx0 = coop_mat16x16<f32, C>();
    var dx1 = coop_mat16x16<f32, C>();
    var dx2 = coop_mat16x16<f32, C>();
    var dx3 = coop_mat16x16<f32, C>();
    var dy0 = coop_mat16x16<f32, C>();
    var dy1 = coop_mat16x16<f32, C>();
    var dy2 = coop_mat16x16<f32, C>();
    var dy3 = coop_mat16x16<f32, C>();
    var begin = 0u;
    var end = walked_rows();
    if (CAUSAL) {
        if (BY_KEYS) {
            begin = row0;
        } else {
            end = min(end, row0 + 64u);
        }
    }
    for (var member = 0u; member < members; member++) {
        let at = place(head * members + member);
        for (var turn = begin; turn < end; turn += 32u * TURNS) {
            // So many times as the compiler can see: it then loads the next block early.
            for (var step = 0u; step < TURNS; step++) {
                let walked0 = turn + step * 32u;
                // All loads before the first store.
                let to = id / 16u * HEAD_PITCH + id % 16u;
                let four = id % 16u;
                let walked = walked0 + id / 16u;
                let x_value0 = walked_x_at(at, walked + 0u, four);
                let x_value1 = walked_x_at(at, walked + 8u, four);
                let x_value2 = walked_x_at(at, walked + 16u, four);
                let x_value3 = walked_x_at(at, walked + 24u, four);
                let y_value0 = walked_y_at(at, walked + 0u, four);
                let y_value1 = walked_y_at(at, walked + 8u, four);
                let y_value2 = walked_y_at(at, walked + 16u, four);
                let y_value3 = walked_y_at(at, walked + 24u, four);
                tiles[to + 0u * HEAD_PITCH] = x_value0;
                tiles[to + 8u * HEAD_PITCH] = x_value1;
                tiles[to + 16u * HEAD_PITCH] = x_value2;
                tiles[to + 24u * HEAD_PITCH] = x_value3;
                tiles[Y_TILE + to + 0u * HEAD_PITCH] = y_value0;
                tiles[Y_TILE + to + 8u * HEAD_PITCH] = y_value1;
                tiles[Y_TILE + to + 16u * HEAD_PITCH] = y_value2;
                tiles[Y_TILE + to + 24u * HEAD_PITCH] = y_value3;
                if (BY_KEYS & (id < 8u)) {
                    let query = walked0 + id * 4u;
                    sums[id] = vec4<f32>(lse_at(at, query), lse_at(at, query + 1u), lse_at(at, query + 2u),
                        lse_at(at, query + 3u));
                    deltas[id] = vec4<f32>(delta_at(at, query), delta_at(at, query + 1u), delta_at(at, query + 2u),
                        delta_at(at, query + 3u));
                }
                workgroupBarrier();

                var sx0 = coop_mat16x16<f32, C>();
                let x0_0 = coopLoad<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 0u], HEAD_PITCH);
                sx0 = coopMultiplyAdd(own_x0, x0_0, sx0);
                let x0_1 = coopLoad<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 4u], HEAD_PITCH);
                sx0 = coopMultiplyAdd(own_x1, x0_1, sx0);
                let x0_2 = coopLoad<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 8u], HEAD_PITCH);
                sx0 = coopMultiplyAdd(own_x2, x0_2, sx0);
                let x0_3 = coopLoad<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 12u], HEAD_PITCH);
                sx0 = coopMultiplyAdd(own_x3, x0_3, sx0);
                coopStoreT(sx0, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
                var sx1 = coop_mat16x16<f32, C>();
                let x1_0 = coopLoad<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 0u], HEAD_PITCH);
                sx1 = coopMultiplyAdd(own_x0, x1_0, sx1);
                let x1_1 = coopLoad<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 4u], HEAD_PITCH);
                sx1 = coopMultiplyAdd(own_x1, x1_1, sx1);
                let x1_2 = coopLoad<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 8u], HEAD_PITCH);
                sx1 = coopMultiplyAdd(own_x2, x1_2, sx1);
                let x1_3 = coopLoad<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 12u], HEAD_PITCH);
                sx1 = coopMultiplyAdd(own_x3, x1_3, sx1);
                coopStoreT(sx1, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
                var sy0 = coop_mat16x16<f32, C>();
                let y0_0 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 0u], HEAD_PITCH);
                sy0 = coopMultiplyAdd(own_y0, y0_0, sy0);
                let y0_1 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 4u], HEAD_PITCH);
                sy0 = coopMultiplyAdd(own_y1, y0_1, sy0);
                let y0_2 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 8u], HEAD_PITCH);
                sy0 = coopMultiplyAdd(own_y2, y0_2, sy0);
                let y0_3 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 12u], HEAD_PITCH);
                sy0 = coopMultiplyAdd(own_y3, y0_3, sy0);
                coopStoreT(sy0, &grads[first * SCORE_PITCH + 0u], SCORE_PITCH);
                var sy1 = coop_mat16x16<f32, C>();
                let y1_0 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 0u], HEAD_PITCH);
                sy1 = coopMultiplyAdd(own_y0, y1_0, sy1);
                let y1_1 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 4u], HEAD_PITCH);
                sy1 = coopMultiplyAdd(own_y1, y1_1, sy1);
                let y1_2 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 8u], HEAD_PITCH);
                sy1 = coopMultiplyAdd(own_y2, y1_2, sy1);
                let y1_3 = coopLoad<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 12u], HEAD_PITCH);
                sy1 = coopMultiplyAdd(own_y3, y1_3, sy1);
                coopStoreT(sy1, &grads[first * SCORE_PITCH + 4u], SCORE_PITCH);
                workgroupBarrier();

                let edge = (!WHOLE_ROWS & (walked0 + 32u > walked_rows()))
                    | (CAUSAL & select(walked0 + 31u > row0, walked0 < row0 + 63u, BY_KEYS));
                for (var i = 0u; i < 4u; i++) {
                    let scale = scale_log2();
                    let column = side + i;
                    let log_sum = select(own_lse, sums[column], BY_KEYS);
                    let less = select(own_delta, deltas[column], BY_KEYS);
                    // What saw nothing but -inf has weighed nothing.
                    var seen = (log_sum > vec4<f32>(-3e38)) | (log_sum != log_sum);
                    if (edge) {
                        seen = seen & sees(row0 + row, walked0 + column * 4u);
                    }
                    let score = scores[row * SCORE_PITCH + column];
                    let p = select(vec4<f32>(), exp2(score * scale - log_sum * LOG2_E), seen);
                    if (BY_KEYS) {
                        weights[row * WEIGHT_PITCH + column] = vec4<f16>(p);
                    }
                    // What is not seen has no gradient, whatever is not a number there.
                    let ds = select(vec4<f32>(), p * (grads[row * SCORE_PITCH + column] - less), p != vec4<f32>());
                    slopes[row * WEIGHT_PITCH + column] = vec4<f16>(ds);
                }
                workgroupBarrier();

                let ds0 = coopLoadT<coop_mat16x16<f16, A>>(&slopes[first * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
                let x00 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 0u], HEAD_PITCH);
                dx0 = coopMultiplyAdd(ds0, x00, dx0);
                let x01 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 4u], HEAD_PITCH);
                dx1 = coopMultiplyAdd(ds0, x01, dx1);
                let x02 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 8u], HEAD_PITCH);
                dx2 = coopMultiplyAdd(ds0, x02, dx2);
                let x03 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[0u * HEAD_PITCH + 12u], HEAD_PITCH);
                dx3 = coopMultiplyAdd(ds0, x03, dx3);
                let ds1 = coopLoadT<coop_mat16x16<f16, A>>(&slopes[first * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
                let x10 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 0u], HEAD_PITCH);
                dx0 = coopMultiplyAdd(ds1, x10, dx0);
                let x11 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 4u], HEAD_PITCH);
                dx1 = coopMultiplyAdd(ds1, x11, dx1);
                let x12 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 8u], HEAD_PITCH);
                dx2 = coopMultiplyAdd(ds1, x12, dx2);
                let x13 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[16u * HEAD_PITCH + 12u], HEAD_PITCH);
                dx3 = coopMultiplyAdd(ds1, x13, dx3);
                if (BY_KEYS) {
                    let p0 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 0u], WEIGHT_PITCH);
                    let y00 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 0u], HEAD_PITCH);
                    dy0 = coopMultiplyAdd(p0, y00, dy0);
                    let y01 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 4u], HEAD_PITCH);
                    dy1 = coopMultiplyAdd(p0, y01, dy1);
                    let y02 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 8u], HEAD_PITCH);
                    dy2 = coopMultiplyAdd(p0, y02, dy2);
                    let y03 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 0u * HEAD_PITCH + 12u], HEAD_PITCH);
                    dy3 = coopMultiplyAdd(p0, y03, dy3);
                    let p1 = coopLoadT<coop_mat16x16<f16, A>>(&weights[first * WEIGHT_PITCH + 4u], WEIGHT_PITCH);
                    let y10 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 0u], HEAD_PITCH);
                    dy0 = coopMultiplyAdd(p1, y10, dy0);
                    let y11 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 4u], HEAD_PITCH);
                    dy1 = coopMultiplyAdd(p1, y11, dy1);
                    let y12 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 8u], HEAD_PITCH);
                    dy2 = coopMultiplyAdd(p1, y12, dy2);
                    let y13 = coopLoadT<coop_mat16x16<f16, B>>(&tiles[Y_TILE + 16u * HEAD_PITCH + 12u], HEAD_PITCH);
                    dy3 = coopMultiplyAdd(p1, y13, dy3);
                }
                workgroupBarrier();
            }
        }
    }

    coopStoreT(dx0, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
    coopStoreT(dx1, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
    coopStoreT(dx2, &grads[first * SCORE_PITCH + 0u], SCORE_PITCH);
    coopStoreT(dx3, &grads[first * SCORE_PITCH + 4u], SCORE_PITCH);
    workgroupBarrier();
    if (row0 + row < own_rows()) {
        for (var i = 0u; i < 4u; i++) {
            let at = row * SCORE_PITCH + side + i;
            put_x(own, row0 + row, (side + i) * 4u, scores[at] * scale());
            put_x(own, row0 + row, (side + i) * 4u + 32u, grads[at] * scale());
        }
    }
    if (BY_KEYS) {
        workgroupBarrier();
        coopStoreT(dy0, &scores[first * SCORE_PITCH + 0u], SCORE_PITCH);
        coopStoreT(dy1, &scores[first * SCORE_PITCH + 4u], SCORE_PITCH);
        coopStoreT(dy2, &grads[first * SCORE_PITCH + 0u], SCORE_PITCH);
        coopStoreT(dy3, &grads[first * SCORE_PITCH + 4u], SCORE_PITCH);
        workgroupBarrier();
        if (row0 + row < own_rows()) {
            for (var i = 0u; i < 4u; i++) {
                let at = row * SCORE_PITCH + side + i;
                put_y(own, row0 + row, (side + i) * 4u, scores[at]);
                put_y(own, row0 + row, (side + i) * 4u + 32u, grads[at]);
            }
        }
    }
}
