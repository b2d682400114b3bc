// Tells the host about an index outside its axis. `flags` is [origin, index, size, unused]; the first report wins.
// The exchange may fail for no reason, so it is tried until somebody's report is there.
fn report(origin: u32, index: i32, size: u32) {
    loop {
        let r = atomicCompareExchangeWeak(&flags[0], 0u, origin);
        if (r.exchanged) {
            atomicStore(&flags[1], bitcast<u32>(index));
            atomicStore(&flags[2], size);
        }
        if (r.exchanged || r.old_value != 0u) {
            break;
        }
    }
}
