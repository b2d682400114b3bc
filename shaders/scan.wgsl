// Running folds of rows: a workgroup walks its row in blocks of 1,024 elements and hands what it has from one to the next.
// In a block each invocation folds four neighbours; their totals are folded in workgroup memory (Hillis and Steele, 1986).
// Generated and appended: Item, Row, neutral, combine, rows, length, groups_x, place, fetch, put.

var<workgroup> totals: array<Item, 256>;

fn fold_back(id: u32, distance: u32) {
    var item = totals[id];
    if (id >= distance) {
        item = combine(totals[id - distance], item);
    }
    workgroupBarrier();
    totals[id] = item;
    workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let first = group.y * groups_x() + group.x;
    let live = first < rows();
    let row = place(min(first, rows() - 1u));
    var carry = neutral();
    for (var start = 0u; start < length(); start += 1024u) {
        let j = start + id * 4u;
        let a = fetch(row, j);
        let b = combine(a, fetch(row, j + 1u));
        let c = combine(b, fetch(row, j + 2u));
        let d = combine(c, fetch(row, j + 3u));
        totals[id] = d;
        workgroupBarrier();
        // No loop: a software driver may stop after 65,535 turns.
        fold_back(id, 1u);
        fold_back(id, 2u);
        fold_back(id, 4u);
        fold_back(id, 8u);
        fold_back(id, 16u);
        fold_back(id, 32u);
        fold_back(id, 64u);
        fold_back(id, 128u);
        var before = carry;
        if (id > 0u) {
            before = combine(carry, totals[id - 1u]);
        }
        if (live) {
            put(row, j, combine(before, a));
            put(row, j + 1u, combine(before, b));
            put(row, j + 2u, combine(before, c));
            put(row, j + 3u, combine(before, d));
        }
        carry = combine(carry, totals[255]);
        workgroupBarrier();
    }
}
