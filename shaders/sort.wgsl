// Puts blocks of up to 1,024 elements in order with a bitonic network (Batcher, 1968). Of its two kinds of step both put
// the smaller element first, so what lies past the end of a row, greater than all, never moves and needs no memory.
// SORTED says that each block is a bitonic run already, of which only the last merge is left.
// Generated and appended: SORTED, Row, rows, length, groups_x, blocks, block, place, key_at, source_at, put.

var<workgroup> keys: array<u32, 1024>;
var<workgroup> sources: array<u32, 1024>;

fn order_pair(a: u32, b: u32) {
    let key = keys[a];
    let source = sources[a];
    // Of equal keys the one that came first is smaller: that makes the sort stable.
    if (keys[b] < key || (keys[b] == key && sources[b] < source)) {
        keys[a] = keys[b];
        sources[a] = sources[b];
        keys[b] = key;
        sources[b] = source;
    }
}

// Compares elements whose numbers differ by all bits of `mask`, whose highest is `half`.
fn order_pairs(id: u32, half: u32, mask: u32) {
    let a = (id / half) * 2u * half + id % half;
    order_pair(a, a ^ mask);
    let other = id + 256u;
    let b = (other / half) * 2u * half + other % half;
    order_pair(b, b ^ mask);
    workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let per_group = 1024u / block();
    let first = (group.y * groups_x() + group.x) * per_group;
    for (var e = id; e < 1024u; e += 256u) {
        let unit = first + e / block();
        let j = unit % blocks() * block() + e % block();
        keys[e] = 0xffffffffu;
        sources[e] = j;
        if (unit / blocks() < rows() && j < length()) {
            let row = place(unit / blocks());
            keys[e] = key_at(row, j);
            sources[e] = source_at(row, j);
        }
    }
    workgroupBarrier();
    if (!SORTED) {
        for (var run = 2u; run <= block(); run = run << 1u) {
            order_pairs(id, run >> 1u, run - 1u);
            for (var half = run >> 2u; half > 0u; half = half >> 1u) {
                order_pairs(id, half, half);
            }
        }
    } else {
        for (var half = block() >> 1u; half > 0u; half = half >> 1u) {
            order_pairs(id, half, half);
        }
    }
    for (var e = id; e < 1024u; e += 256u) {
        let unit = first + e / block();
        let j = unit % blocks() * block() + e % block();
        if (unit / blocks() < rows() && j < length()) {
            put(place(unit / blocks()), j, sources[e]);
        }
    }
}
