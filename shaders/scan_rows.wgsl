// Running folds of short rows, or of many that lie side by side: one invocation for each.
// Generated and appended: Item, Row, neutral, combine, rows, length, groups_x, place, fetch, put.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let first = (group.y * groups_x() + group.x) * 64u + id;
    if (first >= rows()) {
        return;
    }
    let row = place(first);
    var item = neutral();
    for (var j = 0u; j < length(); j += 4u) {
        item = combine(item, fetch(row, j));
        put(row, j, item);
        item = combine(item, fetch(row, j + 1u));
        put(row, j + 1u, item);
        item = combine(item, fetch(row, j + 2u));
        put(row, j + 2u, item);
        item = combine(item, fetch(row, j + 3u));
        put(row, j + 3u, item);
    }
}
