// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch: a workgroup makes one element, for few elements of long sums.
// The generated functions are those of matmul.wgsl.

var<workgroup> partial: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let element = group.y * groups_x() + group.x;
    let batch = element / (size_m() * size_n());
    if (batch >= batches()) {
        return;
    }
    let m = element / size_n() % size_m();
    let n = element % size_n();
    var sum = 0.0;
    for (var k = id; k < size_k(); k += 64u) {
        sum += load_a(batch, m, k) * load_b(batch, k, n);
    }
    partial[id] = sum;
    workgroupBarrier();
    for (var s = 32u; s > 0u; s = s >> 1u) {
        if (id < s) {
            partial[id] += partial[id + s];
        }
        workgroupBarrier();
    }
    if (id == 0u) {
        store(batch, m, n, partial[0]);
    }
}
