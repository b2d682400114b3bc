// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch, for results of many tiles: a workgroup of 128 makes a tile of 128×128, an
// invocation 8×16 of it: rows 4·row.. and 64 + 4·row.., columns 4·column.. of each 32.
//
// For every 16 of k both operands' tiles go through workgroup memory, as vec4s along m and n, rows padded by one vec4: then
// a step of k costs an invocation six vector reads for 128 products. A subgroup of 32 makes 4 by 8 invocations' parts, so that
// each of its reads is one row of memory banks. The result goes the same way back, a row of each invocation's at a time:
// neighbours store neighbours, and what is done with an element stands in the module once.
//
// Generated and appended, besides the functions that matmul.wgsl tells of: stage_a(batch, m, k, id) and stage_b(batch, n, k, id)
// fill the tiles from there on, with zeros for terms past the end and anything for rows and columns past it; Sums, step(&sums,
// row, column, k), which adds a term to them, and strip(&sums, i), the sixteen of row i.

const PITCH = 33u;

var<workgroup> a_tile: array<vec4<f32>, 528>;
var<workgroup> b_tile: array<vec4<f32>, 528>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let tiles_n = (size_n() + 127u) / 128u;
    let tiles_m = (size_m() + 127u) / 128u;
    let tile = group.y * groups_x() + group.x;
    let batch = tile / (tiles_n * tiles_m);
    if (batch >= batches()) {
        return;
    }
    let m0 = (tile / tiles_n % tiles_m) * 128u;
    let n0 = (tile % tiles_n) * 128u;
    let column = id % 8u;
    let row = id / 8u;

    var sums = Sums();
    for (var k0 = 0u; k0 < size_k(); k0 += 16u) {
        stage_a(batch, m0, k0, id);
        stage_b(batch, n0, k0, id);
        workgroupBarrier();
        step(&sums, row, column, 0u);
        step(&sums, row, column, 1u);
        step(&sums, row, column, 2u);
        step(&sums, row, column, 3u);
        step(&sums, row, column, 4u);
        step(&sums, row, column, 5u);
        step(&sums, row, column, 6u);
        step(&sums, row, column, 7u);
        step(&sums, row, column, 8u);
        step(&sums, row, column, 9u);
        step(&sums, row, column, 10u);
        step(&sums, row, column, 11u);
        step(&sums, row, column, 12u);
        step(&sums, row, column, 13u);
        step(&sums, row, column, 14u);
        step(&sums, row, column, 15u);
        workgroupBarrier();
    }

    let n = n0 + id;
    for (var i = 0u; i < 8u; i++) {
        let own = strip(&sums, i);
        a_tile[row * PITCH + column] = own[0];
        a_tile[row * PITCH + column + 8u] = own[1];
        a_tile[row * PITCH + column + 16u] = own[2];
        a_tile[row * PITCH + column + 24u] = own[3];
        workgroupBarrier();
        let first = m0 + i / 4u * 64u + i % 4u;
        for (var r = 0u; r < 16u; r++) {
            let m = first + r * 4u;
            if (m < size_m() && n < size_n()) {
                store(batch, m, n, a_tile[r * PITCH + id / 4u][id % 4u]);
            }
        }
        workgroupBarrier();
    }
}
