// One step of the network of sort.wgsl between elements of different blocks, in memory.
// Generated and appended: Row, pairs, total, half, mask, length, groups_x, place, key_at, source_at, exchange.

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let i = (group.y * groups_x() + group.x) * 256u + id;
    if (i >= total()) {
        return;
    }
    let pair = i % pairs();
    let a = (pair / half()) * 2u * half() + pair % half();
    let b = a ^ mask();
    if (b >= length()) {
        return;
    }
    let row = place(i / pairs());
    let key_a = key_at(row, a);
    let key_b = key_at(row, b);
    if (key_b < key_a || (key_b == key_a && source_at(row, b) < source_at(row, a))) {
        exchange(row, a, b);
    }
}
