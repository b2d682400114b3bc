// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch: the tiled product, for large results.
//
// A workgroup of 16×16 invocations makes a tile of 64×64, each invocation 4×4 of it. For every 16 of k both operands'
// tiles go through workgroup memory, as vec4s along m and n: then a step of k costs an invocation two vector reads for
// sixteen multiplications. Rows are padded by one vec4 to spread them over the memory banks.
//
// The operands and the result are reached through functions that are generated and appended (implicit GEMM: for a
// convolution they decode m, n and k): load_a(batch, m, k) and load_b(batch, k, n) with all three in range,
// store(batch, m, n, value), size_m(), size_n(), size_k(), groups_x(), batches(). A_ALONG_K says that a's neighbours in
// memory are neighbours in k, B_ALONG_K the same of b: neighbouring invocations then load them.

var<workgroup> a_tile: array<vec4<f32>, 16 * 17>;
var<workgroup> b_tile: array<vec4<f32>, 16 * 17>;

fn checked_a(batch: u32, m: u32, k: u32) -> f32 {
    if (m < size_m() && k < size_k()) {
        return load_a(batch, m, k);
    }
    return 0.0;
}

fn checked_b(batch: u32, k: u32, n: u32) -> f32 {
    if (k < size_k() && n < size_n()) {
        return load_b(batch, k, n);
    }
    return 0.0;
}

fn store_row(batch: u32, m: u32, n: u32, row: vec4<f32>) {
    if (m >= size_m()) {
        return;
    }
    if (n < size_n()) {
        store(batch, m, n, row.x);
    }
    if (n + 1u < size_n()) {
        store(batch, m, n + 1u, row.y);
    }
    if (n + 2u < size_n()) {
        store(batch, m, n + 2u, row.z);
    }
    if (n + 3u < size_n()) {
        store(batch, m, n + 3u, row.w);
    }
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let tiles_n = (size_n() + 63u) / 64u;
    let tiles_m = (size_m() + 63u) / 64u;
    let tile = group.y * groups_x() + group.x;
    let batch = tile / (tiles_n * tiles_m);
    if (batch >= batches()) {
        return;
    }
    let m0 = (tile / tiles_n % tiles_m) * 64u;
    let n0 = (tile % tiles_n) * 64u;

    // Which vec4 of each tile this invocation loads: four neighbours in m (or n) at one k.
    let a_k = select(id / 16u, id % 16u, A_ALONG_K);
    let a_m = select(id % 16u, id / 16u, A_ALONG_K);
    let b_k = select(id / 16u, id % 16u, B_ALONG_K);
    let b_n = select(id % 16u, id / 16u, B_ALONG_K);
    // Which 4×4 of the result it makes.
    let row = id / 16u;
    let col = id % 16u;

    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    for (var k0 = 0u; k0 < size_k(); k0 += 16u) {
        let m = m0 + a_m * 4u;
        let n = n0 + b_n * 4u;
        let ka = k0 + a_k;
        let kb = k0 + b_k;
        a_tile[a_k * 17u + a_m] = vec4<f32>(checked_a(batch, m, ka), checked_a(batch, m + 1u, ka),
            checked_a(batch, m + 2u, ka), checked_a(batch, m + 3u, ka));
        b_tile[b_k * 17u + b_n] = vec4<f32>(checked_b(batch, kb, n), checked_b(batch, kb, n + 1u),
            checked_b(batch, kb, n + 2u), checked_b(batch, kb, n + 3u));
        workgroupBarrier();
        for (var k = 0u; k < 16u; k++) {
            let a = a_tile[k * 17u + row];
            let b = b_tile[k * 17u + col];
            c0 += a.x * b;
            c1 += a.y * b;
            c2 += a.z * b;
            c3 += a.w * b;
        }
        workgroupBarrier();
    }

    let m = m0 + row * 4u;
    let n = n0 + col * 4u;
    store_row(batch, m, n, c0);
    store_row(batch, m + 1u, n, c1);
    store_row(batch, m + 2u, n, c2);
    store_row(batch, m + 3u, n, c3);
}
