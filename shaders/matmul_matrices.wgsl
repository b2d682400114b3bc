// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch, on cooperative matrices: f16 operands, f32 sums. A workgroup of four
// subgroups of 32 makes a tile of 128×128, a subgroup 64×64 of it in 4×4 matrices of 16×16.
//
// For every 32 of k both operands' tiles go through workgroup memory, as they lie in memory: along k (a row of the tile has 32
// halves) or along m and n (128). Rows are padded by 16 bytes, which spreads them over the memory banks. The sums come back
// through workgroup memory too, a matrix at a time, because only there it is known which invocation has which element.
//
// Everything in workgroup memory is a multiple of 16 bytes: a matrix that begins elsewhere is read wrong on NVIDIA.
//
// Generated and appended: stage_a(batch, m, k, id) and stage_b(batch, n, k, id) fill the tiles from there on, with zeros for
// terms past the end and anything for rows and columns past it; store_two(batch, m, n, first, second) stores two neighbours;
// size_m(), size_n(), size_k(), groups_x(), batches() as in matmul.wgsl. multiply() stands for lines that are generated in its
// place, and sums() and finish_all() too: no function can be handed a matrix.

const ALONG_TERMS = 10u;
const ALONG_ROWS = 34u;
const RESULT_PITCH = 20u;

var<workgroup> a_tile: array<vec4<f16>, 1280>;
var<workgroup> b_tile: array<vec4<f16>, 1280>;
var<workgroup> result: array<f32, 1280>;

// Stores the matrix that lies from `own` on in `result`, its first element being (m, n).
fn finish(batch: u32, m: u32, n: u32, own: u32, lane: u32) {
    workgroupBarrier();
    let row = m + lane / 2u;
    let column = n + lane % 2u * 8u;
    let at = own + lane / 2u * RESULT_PITCH + lane % 2u * 8u;
    if (row < size_m()) {
        for (var i = 0u; i < 8u; i += 2u) {
            if (column + i < size_n()) {
                store_two(batch, row, column + i, result[at + i], result[at + i + 1u]);
            }
        }
    }
    workgroupBarrier();
}

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
    let subgroup = id / 32u;
    let row = subgroup / 2u * 64u;
    let column = subgroup % 2u * 64u;

    sums();
    for (var k0 = 0u; k0 < size_k(); k0 += 32u) {
        stage_a(batch, m0, k0, id);
        stage_b(batch, n0, k0, id);
        workgroupBarrier();
        multiply();
        workgroupBarrier();
    }

    let own = subgroup * 16u * RESULT_PITCH;
    finish_all();
}
