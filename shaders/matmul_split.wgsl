// Numbers of f32 as sums of two halves, so that cooperative matrices multiply them: x = high + low, high being x rounded to eleven
// bits and low the rest rounded to as many, and x·y = high·high + high·low + low·high, of which low·low, 2^-22 of it at most,
// is left out. After Ootomo and Yokota, "Recovering single precision accuracy from Tensor Cores while surpassing the FP32
// theoretical peak performance" (2022), from which it differs in how numbers are kept within a half's range.
//
// A half has numbers from 2^-24 to 65,504, so each row of a and each column of b is multiplied by a power of two that brings
// its largest number to 2^14 or above. What is a 2^16th of that or more keeps 22 bits; of what is less, what is lost is at
// most a 2^38th of the largest. Rows and columns with an infinity or a NaN, or with nothing but zeros, are multiplied
// by anything; an element of a row or column with a NaN is one, and one of those with an infinity is summed again.
//
// The matrices round sums toward zero on NVIDIA, so those of 16 terms are made apart and then added up as f32 are.
//
// Generated: largest_a(batch, row) and largest_b(batch, column), the largest magnitudes; plain(own, m, n), which sums an
// element up in f32.

// What the tile's rows and then its columns are to be multiplied by in the end; 0 where there is an infinity, -1 where there is
// a NaN.
var<workgroup> units: array<f32, 128u + COLUMNS>;

// The exponent as it lies in a number's bits.
fn exponent_of(x: f32) -> u32 {
    return clamp(bitcast<u32>(x) >> 23u & 0xffu, 15u, 254u);
}

// What brings a row to the range of halves, its largest number being that: 2^(14 - exponent), or 2^126 if that is less.
fn scale_of(largest: f32) -> f32 {
    return bitcast<f32>((268u - exponent_of(largest)) << 23u);
}

fn unit_of(largest: f32) -> f32 {
    let none = select(0.0, -1.0, bitcast<u32>(largest) > 0x7f800000u);
    return select(none, bitcast<f32>((exponent_of(largest) - 14u) << 23u), is_finite(largest));
}

// Rounded to eleven bits. A compiler may take a conversion to f16 and back for nothing, but not this.
fn high(x: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>((bitcast<vec4<u32>>(x) + vec4(0x1000u)) & vec4(0xffffe000u));
}

fn find_units(batch: u32, tile: Tile, id: u32) {
    for (var at = id; at < 128u + COLUMNS; at += 128u) {
        var largest: f32;
        if (at < 128u) {
            largest = largest_a(batch, min(tile.m0 + at, size_m() - 1u));
        } else {
            largest = largest_b(batch, min(tile.n0 + at - 128u, size_n() - 1u));
        }
        units[at] = unit_of(largest);
    }
}

// Whether the sums of these two neighbours are good.
fn is_split(tile: Tile, row: u32, column: u32) -> bool {
    let at = 128u + column - tile.n0;
    return (units[row - tile.m0] > 0.0) & (units[at] > 0.0) & (units[at + 1u] > 0.0);
}

// Both units together may be more or less than a number can be, unless one is above 1 and the other below; one after the other
// they make a result so only where it has to be.
fn unscaled(tile: Tile, row: u32, column: u32, sums: vec2<f32>) -> vec2<f32> {
    let at = 128u + column - tile.n0;
    let of_row = vec2(units[row - tile.m0]);
    let of_columns = vec2(units[at], units[at + 1u]);
    let less = min(of_row, of_columns);
    let more = max(of_row, of_columns);
    return select(sums * less * more, sums * (less * more), (less < vec2(1.0)) & (more > vec2(1.0)));
}

// An element as its terms have it.
fn summed(tile: Tile, m: u32, n: u32) -> f32 {
    if ((units[m - tile.m0] < 0.0) | (units[128u + n - tile.n0] < 0.0)) {
        return nan_f32();
    }
    return plain(tile.own, m, n);
}

// Makes what is_split does not hold of, among an invocation's elements of its subgroup's part of the tile, which begins at (row, column).
fn sum_again(tile: Tile, row: u32, column: u32, lane: u32) {
    let own_row = row + lane / 8u;
    let own_column = column + lane % 8u * 2u;
    var all = true;
    for (var r = 0u; r < 64u; r += 4u) {
        all &= units[own_row + r] > 0.0;
    }
    for (var c = 128u; c < 128u + COLUMNS / 2u; c += 16u) {
        all &= (units[own_column + c] > 0.0) & (units[own_column + c + 1u] > 0.0);
    }
    if (all) {
        return;
    }
    for (var r = 0u; r < 64u; r += 4u) {
        for (var c = 0u; c < COLUMNS / 2u; c += 16u) {
            let m = tile.m0 + own_row + r;
            let n = tile.n0 + own_column + c;
            if ((m >= tile.m) & (m < size_m()) & (n >= tile.n) & (n < size_n())) {
                if (!is_split(tile, m, n)) {
                    store_two(tile.own, m, n, summed(tile, m, n), summed(tile, m, n + 1u));
                }
            }
        }
    }
}
