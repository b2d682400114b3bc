// Which places of a convolution's kernel, its taps, meet an element that is there: along one axis, a bit for each of up to 15.

// Tap j lies over `first` + j · `dilation`.
fn taps_over(first: i32, dilation: i32, taps: i32, size: i32) -> u32 {
    let begin = max(dilation - 1i - first, 0i) / dilation;
    let end = min(max(size - first + dilation - 1i, 0i) / dilation, taps);
    return (1u << u32(end)) - (1u << u32(min(begin, end)));
}

// Tap j came from (`last` - j · `dilation`) / `stride`, where that is a whole number.
fn taps_from(last: i32, dilation: i32, stride: i32, taps: i32, size: i32) -> u32 {
    var bits = 0u;
    for (var j = 0i; j < taps; j++) {
        let at = last - j * dilation;
        if (at >= 0i && at % stride == 0i && at / stride < size) {
            bits |= 1u << u32(j);
        }
    }
    return bits;
}
