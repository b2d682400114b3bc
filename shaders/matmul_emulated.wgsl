// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch, for a CPU that emulates a GPU.
//
// Such a CPU runs neighbouring invocations as the lanes of its vector registers, and a barrier is a switch of coroutines:
// so there is no workgroup memory, an invocation makes 8×4 elements in registers, and the lanes lie along n, where all
// read the same element of a and neighbours of b. Rows and columns past the end repeat the last one and are not stored,
// so that nothing is checked within the loop. The generated functions are those of matmul.wgsl.

fn store_row(batch: u32, m: u32, n: vec4<u32>, row: vec4<f32>) {
    if (m >= size_m()) {
        return;
    }
    for (var j = 0u; j < 4u; j++) {
        if (n[j] < size_n()) {
            store(batch, m, n[j], row[j]);
        }
    }
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let tiles_n = (size_n() + 15u) / 16u;
    let tiles_m = (size_m() + 63u) / 64u;
    let tile = group.y * groups_x() + group.x;
    let batch = tile / (tiles_n * tiles_m);
    let m = (tile / tiles_n % tiles_m) * 64u + id / 4u * 8u;
    if (batch >= batches() || m >= size_m()) {
        return;
    }
    let n = (tile % tiles_n) * 16u + id % 4u + vec4<u32>(0u, 4u, 8u, 12u);
    let column = min(n, vec4<u32>(size_n() - 1u));
    let row = min(m + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(size_m() - 1u));
    let next = min(m + vec4<u32>(4u, 5u, 6u, 7u), vec4<u32>(size_m() - 1u));

    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    var c4 = vec4<f32>();
    var c5 = vec4<f32>();
    var c6 = vec4<f32>();
    var c7 = vec4<f32>();
    for (var k = 0u; k < size_k(); k++) {
        let b = vec4<f32>(load_b(batch, k, column.x), load_b(batch, k, column.y), load_b(batch, k, column.z),
            load_b(batch, k, column.w));
        c0 += load_a(batch, row.x, k) * b;
        c1 += load_a(batch, row.y, k) * b;
        c2 += load_a(batch, row.z, k) * b;
        c3 += load_a(batch, row.w, k) * b;
        c4 += load_a(batch, next.x, k) * b;
        c5 += load_a(batch, next.y, k) * b;
        c6 += load_a(batch, next.z, k) * b;
        c7 += load_a(batch, next.w, k) * b;
    }

    store_row(batch, m, n, c0);
    store_row(batch, m + 1u, n, c1);
    store_row(batch, m + 2u, n, c2);
    store_row(batch, m + 3u, n, c3);
    store_row(batch, m + 4u, n, c4);
    store_row(batch, m + 5u, n, c5);
    store_row(batch, m + 6u, n, c6);
    store_row(batch, m + 7u, n, c7);
}
