// dv = pᵀ·g and dk = dsᵀ·q·scale, a block of 64 keys of one head for each workgroup, which walks over the queries; with
// p = exp(q·kᵀ·scale - lse), ds = p·(g·vᵀ - delta). The blocks of p and ds have keys along their rows. See
// attention_tile.wgsl; also put_k(at, key, d, four), put_v and groups(), the heads of keys.

fn finish(at: Head, key: u32, column: u32, k: vec4<f32>, wide_k: vec4<f32>, v: vec4<f32>, wide_v: vec4<f32>) {
    if (key >= keys()) {
        return;
    }
    put_k(at, key, column * 4u, k * scale());
    if (WIDE) {
        put_k(at, key, column * 4u + 64u, wide_k * scale());
    }
    put_v(at, key, column * 4u, v);
    if (WIDE_VALUES) {
        put_v(at, key, column * 4u + 64u, wide_v);
    }
}

// Beside four queries, those that see this key.
fn sees(key: u32, query: u32) -> vec4<bool> {
    let query4 = vec4<u32>(query, query + 1u, query + 2u, query + 3u);
    let inside = query4 < vec4<u32>(queries());
    let seen = (query4 >= vec4<u32>(key)) | vec4<bool>(!CAUSAL);
    return inside & seen & vec4<bool>(key < keys());
}

fn lse_at(at: Head, row: u32) -> f32 {
    if (row < queries()) {
        return lse(at, row);
    }
    return 0.0;
}

fn delta_at(at: Head, row: u32) -> f32 {
    if (row < queries()) {
        return delta(at, row);
    }
    return 0.0;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let blocks = (keys() + 63u) / 64u;
    let number = group.y * groups_x() + group.x;
    let head = number / blocks;
    if (head >= groups()) {
        return;
    }
    let key0 = (number % blocks) * 64u;
    let row = id / 16u;
    let column = id % 16u;
    let first = key0 + row * 4u;
    var dk = Block();
    var dv = Block();
    var wide_k = Block();
    var wide_v = Block();
    var begin = 0u;
    if (CAUSAL) {
        begin = key0;
    }
    for (var i = 0u; i < share(); i++) {
        let at = place(head * share() + i);
        for (var query0 = begin; query0 < queries(); query0 += 64u) {
            var p = Block();
            var ds = Block();
            for (var d0 = 0u; d0 < width(); d0 += 16u) {
                tile[column * 17u + row] = some_k(at, first, d0 + column);
                tile[COLUMNS + column * 17u + row] = some_q(at, query0 + row * 4u, d0 + column);
                workgroupBarrier();
                p = product(p, row, column, COLUMNS);
                workgroupBarrier();
            }
            for (var d0 = 0u; d0 < value_width(); d0 += 16u) {
                tile[column * 17u + row] = some_v(at, first, d0 + column);
                tile[COLUMNS + column * 17u + row] = some_g(at, query0 + row * 4u, d0 + column);
                workgroupBarrier();
                ds = product(ds, row, column, COLUMNS);
                workgroupBarrier();
            }
            let query = query0 + column * 4u;
            let sums = vec4<f32>(lse_at(at, query), lse_at(at, query + 1u), lse_at(at, query + 2u),
                lse_at(at, query + 3u));
            let less = vec4<f32>(delta_at(at, query), delta_at(at, query + 1u), delta_at(at, query + 2u),
                delta_at(at, query + 3u));
            p.a = weight(p.a, sums, sees(first, query));
            p.b = weight(p.b, sums, sees(first + 1u, query));
            p.c = weight(p.c, sums, sees(first + 2u, query));
            p.d = weight(p.d, sums, sees(first + 3u, query));
            ds.a = slope(p.a, ds.a - less);
            ds.b = slope(p.b, ds.b - less);
            ds.c = slope(p.c, ds.c - less);
            ds.d = slope(p.d, ds.d - less);
            for (var slice = 0u; slice < 4u; slice++) {
                let query = query0 + slice * 16u + row;
                spread(p, row, column, slice);
                tile[COLUMNS + row * 17u + column] = four_g(at, query, column * 4u);
                if (WIDE_VALUES) {
                    tile[COLUMNS + 272u + row * 17u + column] = four_g(at, query, column * 4u + 64u);
                }
                workgroupBarrier();
                dv = product(dv, row, column, COLUMNS);
                if (WIDE_VALUES) {
                    wide_v = product(wide_v, row, column, COLUMNS + 272u);
                }
                workgroupBarrier();
                spread(ds, row, column, slice);
                tile[COLUMNS + row * 17u + column] = four_q(at, query, column * 4u);
                if (WIDE) {
                    tile[COLUMNS + 272u + row * 17u + column] = four_q(at, query, column * 4u + 64u);
                }
                workgroupBarrier();
                dk = product(dk, row, column, COLUMNS);
                if (WIDE) {
                    wide_k = product(wide_k, row, column, COLUMNS + 272u);
                }
                workgroupBarrier();
            }
        }
    }
    let at = place(head * share());
    finish(at, first, column, dk.a, wide_k.a, dv.a, wide_v.a);
    finish(at, first + 1u, column, dk.b, wide_k.b, dv.b, wide_v.b);
    finish(at, first + 2u, column, dk.c, wide_k.c, dv.c, wide_v.c);
    finish(at, first + 3u, column, dk.d, wide_k.d, dv.d, wide_v.d);
}
