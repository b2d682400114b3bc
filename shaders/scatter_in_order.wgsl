// Folds into each element of `out` the source elements whose index names it, in their order: an invocation owns an element.
// Generated and appended: points(), groups_x(), and fold_into(i), which does one element.

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
    let i = (group.y * groups_x() + group.x) * 256u + id;
    if (i < points()) {
        fold_into(i);
    }
}
