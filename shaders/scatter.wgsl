// Adds each source element to the element of `out` that its index names; several may name the same one.
// Generated and appended: points(), groups_x(), and add_point(i), which calls `add` at the right place.

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let i = (group.y * groups_x() + group.x) * 256u + id;
    if (i < points()) {
        add_point(i);
    }
}
