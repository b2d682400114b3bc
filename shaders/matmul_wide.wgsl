// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch, for results of many tiles: a workgroup of 128 makes a tile of 128×128, an
// invocation 8×16 of it, or of 64×128, an invocation 8×8.
//
// For every 16 of k both operands' tiles go through workgroup memory, as vec4s along m and n: of four neighbours, or, where
// A_SPREAD or B_SPREAD say so, of four that are a quarter of the tile apart. Rows are padded by one vec4. Then a step of k costs an
// invocation six vector reads for 128 products, or four for 64. The result goes the same way back, a row of each invocation's at a
// time: neighbours store neighbours, and what is done with an element stands in the module once.
//
// Sums may be cut in parts: what `batches` counts are then parts, those of a batch in order.
//
// Generated and appended, besides size_m(), size_n(), size_k(), groups_x() and batches(): parts(), how many there are of each batch,
// and part(), their terms, of which the last may have fewer. hold_a(batch, m, id) and hold_b(batch, n, id) give what an invocation
// knows of its rows all the time, and stage_a(held, k, end, id) and stage_b fill the tiles from there and k on, with zeros for terms
// from `end` on and anything for rows and columns past the last. If TABLES says so, terms_a(k, end, id) and terms_b prepare them for
// the next 128 terms. Sums, step(&sums, row, column, k), which adds a term to them, and lay(&sums, i, at), which lays row i of them
// down at a_tile[at..]. find(n), what an element's place takes from its column, and store(batch, cut, m, column, value).

const A_PITCH = TILE_M / 4u + 1u;
const B_PITCH = 33u;

// Where a row or a term lies: an element does where both add up to. It is there if one has all the bits that the other needs.
struct At {
    place: i32,
    bits: u32,
}

var<workgroup> a_tile: array<vec4<f32>, 16u * A_PITCH>;
var<workgroup> b_tile: array<vec4<f32>, 16u * B_PITCH>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let tiles_n = (size_n() + 127u) / 128u;
    let tiles_m = (size_m() + TILE_M - 1u) / TILE_M;
    let tile = group.y * groups_x() + group.x;
    let own = tile / (tiles_n * tiles_m);
    if (own >= batches()) {
        return;
    }
    let m0 = (tile / tiles_n % tiles_m) * TILE_M;
    let n0 = (tile % tiles_n) * 128u;
    // A subgroup of 32 makes 4 by 8 invocations' parts, so that each of its reads is one row of memory banks.
    let column = id % 8u + id / 32u % (ACROSS / 8u) * 8u;
    let row = id / 8u % 4u + id / 32u / (ACROSS / 8u) * 4u;
    let batch = own / parts();
    let cut = own % parts();
    let first = cut * part();
    let end = min(first + part(), size_k());

    let held_a = hold_a(batch, m0, id);
    let held_b = hold_b(batch, n0, id);
    var sums = Sums();
    for (var k0 = first; k0 < end; k0 += 16u) {
        if (TABLES && (k0 - first) % 128u == 0u) {
            terms_a(k0, end, id);
            terms_b(k0, end, id);
            workgroupBarrier();
        }
        stage_a(held_a, k0, end, id);
        stage_b(held_b, k0, end, id);
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
    let found = find(min(n, size_n() - 1u));
    let quad = select(id / 4u, id % 32u, B_SPREAD);
    let component = select(id % 4u, id / 32u, B_SPREAD);
    for (var i = 0u; i < 8u; i++) {
        lay(&sums, i, row * B_PITCH + column);
        workgroupBarrier();
        for (var r = 0u; r < TILE_M / 8u; r++) {
            let q = i / 4u * (TILE_M / 8u) + r;
            let m = m0 + select(q * 4u + i % 4u, q + i % 4u * (TILE_M / 4u), A_SPREAD);
            if (m < size_m() && n < size_n()) {
                store(batch, cut, m, found, a_tile[r * B_PITCH + quad][component]);
            }
        }
        workgroupBarrier();
    }
}
