// dq = ds·k·scale, a block of 64 queries of one head for each workgroup, which walks over the keys; with
// p = exp(q·kᵀ·scale - lse), ds = p·(g·vᵀ - delta). See attention_tile.wgsl; also put_q(at, row, d, four) and heads().

fn finish(at: Head, query: u32, column: u32, near: vec4<f32>, far: vec4<f32>) {
    if (query >= queries()) {
        return;
    }
    put_q(at, query, column * 4u, near * scale());
    if (WIDE) {
        put_q(at, query, column * 4u + 64u, far * scale());
    }
}

// A row of weights' gradients made into one of scores' gradients.
fn slopes(at: Head, query: u32, key: u32, score: vec4<f32>, grad: vec4<f32>) -> vec4<f32> {
    if (query >= queries()) {
        return vec4<f32>();
    }
    var end = keys();
    if (CAUSAL) {
        end = min(end, query + 1u);
    }
    let seen = vec4<u32>(key, key + 1u, key + 2u, key + 3u) < vec4<u32>(end);
    return slope(weight(score, vec4<f32>(lse(at, query)), seen), grad - delta(at, query));
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let blocks = (queries() + 63u) / 64u;
    let number = group.y * groups_x() + group.x;
    let head = number / blocks;
    if (head >= heads()) {
        return;
    }
    // Where later queries see more keys, they begin first.
    let query0 = (blocks - 1u - number % blocks) * 64u;
    let at = place(head);
    let row = id / 16u;
    let column = id % 16u;
    let first = query0 + row * 4u;
    var dq = Block();
    var wide_q = Block();
    var end = keys();
    if (CAUSAL) {
        end = min(end, query0 + 64u);
    }
    for (var key0 = 0u; key0 < end; key0 += 64u) {
        var p = Block();
        var ds = Block();
        for (var d0 = 0u; d0 < width(); d0 += 16u) {
            tile[column * 17u + row] = some_q(at, first, d0 + column);
            tile[COLUMNS + column * 17u + row] = some_k(at, key0 + row * 4u, d0 + column);
            workgroupBarrier();
            p = product(p, row, column, COLUMNS);
            workgroupBarrier();
        }
        for (var d0 = 0u; d0 < value_width(); d0 += 16u) {
            tile[column * 17u + row] = some_g(at, first, d0 + column);
            tile[COLUMNS + column * 17u + row] = some_v(at, key0 + row * 4u, d0 + column);
            workgroupBarrier();
            ds = product(ds, row, column, COLUMNS);
            workgroupBarrier();
        }
        let key = key0 + column * 4u;
        ds.a = slopes(at, first, key, p.a, ds.a);
        ds.b = slopes(at, first + 1u, key, p.b, ds.b);
        ds.c = slopes(at, first + 2u, key, p.c, ds.c);
        ds.d = slopes(at, first + 3u, key, p.d, ds.d);
        for (var slice = 0u; slice < 4u; slice++) {
            let key = key0 + slice * 16u + row;
            spread(ds, row, column, slice);
            tile[COLUMNS + row * 17u + column] = four_k(at, key, column * 4u);
            if (WIDE) {
                tile[COLUMNS + 272u + row * 17u + column] = four_k(at, key, column * 4u + 64u);
            }
            workgroupBarrier();
            dq = product(dq, row, column, COLUMNS);
            if (WIDE) {
                wide_q = product(wide_q, row, column, COLUMNS + 272u);
            }
            workgroupBarrier();
        }
    }
    finish(at, first, column, dq.a, wide_q.a);
    finish(at, first + 1u, column, dq.b, wide_q.b);
    finish(at, first + 2u, column, dq.c, wide_q.c);
    finish(at, first + 3u, column, dq.d, wide_q.d);
}
