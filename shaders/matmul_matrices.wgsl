// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch, on cooperative matrices: operands of halves, f32 sums. A workgroup of four
// subgroups of 32 makes a tile of 128×128, a subgroup 64×64 of it in 4×4 matrices of 16×16. Operands of f32 are split in two
// halves each (matmul_split.wgsl), which lie in a tile as two terms would that are 16 apart; such a tile is 128×64.
//
// For every 32 halves of a row both operands' tiles go through workgroup memory, as they lie in memory: along k (a row of the
// tile has 32 halves) or along m and n (128, or 64 columns of numbers that are split). Rows are padded by 16 bytes, which
// spreads them over the memory banks. The sums come back through workgroup memory too, a matrix at a time, because only there it
// is known which invocation has which element. All of it together is 24 KiB at most: with 25, fewer workgroups share a core of
// an H100, and it makes 152 TFLOP/s instead of 254.
//
// Everything in workgroup memory is a multiple of 16 bytes: a matrix that begins elsewhere is read wrong on NVIDIA.
//
// A tile that would reach past the last row or column begins earlier and stores only what the one before it does not.
//
// Generated: a_tile and b_tile; store_two(batch, m, n, first, second), which stores two neighbours; size_m(), size_n(), size_k(), groups_x(),
// batches() as in matmul.wgsl; COLUMNS of a tile, STEP, the terms that it has, and the pitches A_ALONG_ROWS and B_ALONG_ROWS.
// Lines stand in the place of terms(), which tells the batch, the terms (start, end) of this workgroup's part and where its
// vectors lie; of stage(), which loads those of both tiles and then stores them; of unscale(), which finishes sums of numbers
// that were split; and of sums(), multiply() and finish_all(), because no function can be handed a matrix.

// In vectors of four.
const ALONG_TERMS = 10u;
const RESULT_PITCH = 4u;

var<workgroup> result: array<vec4<f32>, 256>;

struct Tile {
    // What a batch is, or a part of one.
    own: u32,
    // The first row and column that it stores, and that it makes.
    m: u32,
    n: u32,
    m0: u32,
    n0: u32,
}

fn finish_two(tile: Tile, row: u32, column: u32, sums: vec2<f32>) {
    if ((row < tile.m) | (row >= size_m()) | (column < tile.n) | (column >= size_n())) {
        return;
    }
    var two = sums;
    unscale();
    store_two(tile.own, row, column, two.x, two.y);
}

// Stores the matrix that lies from `place` on in `result`, its first element being (m, n): eight neighbours, two elements
// each, store those of a row, so that they write whole sectors of memory.
fn finish(tile: Tile, m: u32, n: u32, place: u32, lane: u32) {
    workgroupBarrier();
    for (var r = lane / 8u; r < 16u; r += 4u) {
        let four = result[place + r * RESULT_PITCH + lane % 8u / 2u];
        finish_two(tile, m + r, n + lane % 8u * 2u, select(four.xy, four.zw, lane % 2u == 1u));
    }
    workgroupBarrier();
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let tiles_n = (size_n() + COLUMNS - 1u) / COLUMNS;
    let tiles_m = (size_m() + 127u) / 128u;
    let number = group.y * groups_x() + group.x;
    let own = number / (tiles_n * tiles_m);
    if (own >= batches()) {
        return;
    }
    // In bands of eight rows of tiles, each walked column by column, so that what is in the cache is used again.
    let place = number % (tiles_n * tiles_m);
    let band = place / (tiles_n * 8u) * 8u;
    let rows = min(8u, tiles_m - band);
    let m = (band + place % (tiles_n * 8u) % rows) * 128u;
    let n = place % (tiles_n * 8u) / rows * COLUMNS;
    let m0 = min(m, max(size_m(), 128u) - 128u);
    let n0 = min(n, max(size_n(), COLUMNS) - COLUMNS);
    let tile = Tile(own, m, n, m0, n0);
    let subgroup = id / 32u;
    let row = subgroup / 2u * 64u;
    let column = subgroup % 2u * (COLUMNS / 2u);

    terms();
    sums();
    for (var turn = start; turn < end; turn += 2u * STEP) {
        // Twice, as the compiler can see: it then loads the second tiles early. Without, 230 TFLOP/s instead of 262.
        for (var step = 0u; step < 2u; step++) {
            let k0 = turn + step * STEP;
            stage();
            workgroupBarrier();
            multiply();
            workgroupBarrier();
        }
    }

    let own_result = subgroup * 16u * RESULT_PITCH;
    finish_all();
}
