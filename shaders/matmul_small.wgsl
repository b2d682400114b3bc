// c[m, n] = Σ_k a[m, k] · b[k, n] for each batch: one invocation makes one element, for results too small for tiles.
// The generated functions are those of matmul.wgsl.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let element = (group.y * groups_x() + group.x) * 64u + id;
    let batch = element / (size_m() * size_n());
    if (batch >= batches()) {
        return;
    }
    let m = element / size_n() % size_m();
    let n = element % size_n();
    // Four sums, so that no addition waits for the one before it.
    var sums = vec4<f32>();
    let whole = size_k() & ~3u;
    for (var k = 0u; k < whole; k += 4u) {
        sums += vec4<f32>(load_a(batch, m, k), load_a(batch, m, k + 1u), load_a(batch, m, k + 2u),
            load_a(batch, m, k + 3u)) * vec4<f32>(load_b(batch, k, n), load_b(batch, k + 1u, n),
            load_b(batch, k + 2u, n), load_b(batch, k + 3u, n));
    }
    var sum = (sums.x + sums.y) + (sums.z + sums.w);
    for (var k = whole; k < size_k(); k++) {
        sum += load_a(batch, m, k) * load_b(batch, k, n);
    }
    store(batch, m, n, sum);
}
