// Elementary functions to a few units in the last place. The built-in ones may be far worse: Vulkan allows sin an
// absolute error of 2^-11, exp a relative one that grows with |x|, and tanh may overflow inside.
// Polynomials: Cephes (Moshier) and FreeBSD's msun, except where a line says otherwise.

// 2^n · x in two steps, because 2^n alone may overflow. |n| <= 252.
fn scale_f32(x: f32, n: i32) -> f32 {
    let half = n >> 1u;
    return x * bitcast<f32>(bitcast<u32>(half + 127i) << 23u) * bitcast<f32>(bitcast<u32>(n - half + 127i) << 23u);
}

// e^r - 1 for |r| <= ln(2)/2
fn expm1_small(r: f32) -> f32 {
    var q = fma(1.9875691500e-4, r, 1.3981999507e-3);
    q = fma(q, r, 8.3334519073e-3);
    q = fma(q, r, 4.1665795894e-2);
    q = fma(q, r, 1.6666665459e-1);
    q = fma(q, r, 5.0000001201e-1);
    return fma(q, r * r, r);
}

// 2^n · e^r for |r| <= ln(2)/2 and |n| <= 160: a polynomial that is off by 4e-9 of it at most (fitted here, by reweighted
// least squares), half of n added to its exponent, and the other half in a factor, because 2^n alone may overflow.
fn exp_scaled(r: f32, n: i32) -> f32 {
    var q = fma(1.3814320e-3, r, 8.3688511e-3);
    q = fma(q, r, 4.1668401e-2);
    q = fma(q, r, 1.6666520e-1);
    q = fma(q, r, 4.9999993e-1);
    q = fma(q, r, 1.0);
    q = fma(q, r, 1.0);
    let half = n >> 1u;
    let scaled = bitcast<f32>(bitcast<u32>(q) + (bitcast<u32>(half) << 23u));
    return scaled * bitcast<f32>(bitcast<u32>(n - half + 127i) << 23u);
}

// Without branches, and with one conversion between float and integer, which take a GPU as long as several additions:
// the integer nearest to a small number lies in the low bits of its sum with 1.5 · 2^23. What is left is not written
// with fma: with it the error doubles on Mesa's software driver, whose compiler seems to join the two steps.
fn exp_f32(x: f32) -> f32 {
    let v = clamp(x, -106.0, 90.0);
    let whole = bitcast<i32>(fma(v, 1.4426950408889634, 12582912.0)) - 0x4b400000i;
    let n = f32(whole);
    let rest = (v - n * 0.693359375) - n * -2.12194440e-4;
    return select(exp_scaled(rest, whole), x, is_nan(x));
}

fn exp2_f32(x: f32) -> f32 {
    let v = clamp(x, -152.0, 130.0);
    let whole = bitcast<i32>(v + 12582912.0) - 0x4b400000i;
    let rest = (v - f32(whole)) * 0.6931471805599453;
    return select(exp_scaled(rest, whole), x, is_nan(x));
}

fn expm1_f32(x: f32) -> f32 {
    if (is_nan(x)) {
        return x;
    }
    if (x > 80.0) {
        return exp_f32(x);
    }
    if (x < -18.0) {
        return -1.0;
    }
    let n = round(x * 1.4426950408889634);
    let p = expm1_small((x - n * 0.693359375) - n * -2.12194440e-4);
    if (n == 0.0) {
        return p;
    }
    let s = scale_f32(1.0, i32(n));
    return s * p + (s - 1.0);
}

// ln(1 + f) for 1 + f between √½ and √2
fn log1p_small(f: f32) -> f32 {
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let r = w * (0.40000972152 + w * 0.24279078841) + z * (0.66666662693 + w * 0.28498786688);
    let h = 0.5 * f * f;
    return s * (h + r) - h + f;
}

// x = m · 2^e as (ln m, e), m between √½ and √2, for x that is normal, finite and positive
fn log_parts(x: f32) -> vec2<f32> {
    let bits = bitcast<u32>(x) + (0x3f800000u - 0x3f3504f3u);
    let e = i32(bits >> 23u) - 127i;
    let m = bitcast<f32>((bits & 0x007fffffu) + 0x3f3504f3u);
    return vec2<f32>(log1p_small(m - 1.0), f32(e));
}

// (ln m, e) of any positive finite number: a denormal one is scaled up first.
fn log_split(x: f32) -> vec2<f32> {
    if (bitcast<u32>(x) < 0x00800000u) {
        return log_parts(x * 8388608.0) - vec2<f32>(0.0, 23.0);
    }
    return log_parts(x);
}

// True where a logarithm is no finite number; log_special says what it is.
fn log_is_special(x: f32) -> bool {
    let bits = bitcast<u32>(x);
    return (bits == 0u) | (bits >= 0x7f800000u);
}

fn log_special(x: f32) -> f32 {
    if ((bitcast<u32>(x) & 0x7fffffffu) == 0u) {
        return -inf_f32();
    }
    if (bitcast<u32>(x) > 0x7f800000u) {
        return nan_f32();
    }
    return x;
}

fn log_f32(x: f32) -> f32 {
    if (log_is_special(x)) {
        return log_special(x);
    }
    let p = log_split(x);
    return (p.x + p.y * 9.0580006145e-6) + p.y * 0.69313812256;
}

fn log2_f32(x: f32) -> f32 {
    if (log_is_special(x)) {
        return log_special(x);
    }
    let p = log_split(x);
    return p.x * 1.4426950408889634 + p.y;
}

fn log10_f32(x: f32) -> f32 {
    if (log_is_special(x)) {
        return log_special(x);
    }
    let p = log_split(x);
    return (p.x * 0.4342944819032518 + p.y * 4.605038981e-6) + p.y * 0.301025390625;
}

fn log1p_f32(x: f32) -> f32 {
    if ((x > -0.29) & (x < 0.41)) {
        return select(log1p_small(x), x, abs(x) < 5.9604645e-8);
    }
    let u = 1.0 + x;
    if (log_is_special(u)) {
        return log_special(u);
    }
    // What the sum 1 + x lost.
    let lost = select(x - (u - 1.0), 1.0 - (u - x), x >= 1.0);
    let p = log_split(u);
    return (p.x + (p.y * 9.0580006145e-6 + lost / u)) + p.y * 0.69313812256;
}

// The remainder of |x| > 8192 by π/2 in [-π/4, π/4], and the quadrant, by 192 bits of 2/π (Payne and Hanek, 1983).
fn reduce_large(x: f32) -> vec2<f32> {
    var table = array<u32, 6>(0x3c439041u, 0xdb629599u, 0xf534ddc0u, 0xfc2757d1u, 0x4e441529u, 0xa2f9836eu);
    let bits = bitcast<u32>(x);
    let e = ((bits >> 23u) & 0xffu) - 128u;
    let mantissa = (bits << 8u) | 0x80000000u;
    var product: array<u32, 7>;
    var carry = 0u;
    for (var i = 0u; i < 6u; i++) {
        let p = mul_wide(table[i], mantissa);
        product[i] = p.x + carry;
        carry = p.y + select(0u, 1u, product[i] < carry);
    }
    product[6] = carry;
    let at = 4u - (e >> 5u);
    let shift = e & 31u;
    var high = product[at + 2u];
    var low = product[at + 1u];
    if (shift != 0u) {
        high = (high << shift) | (low >> (32u - shift));
        low = (low << shift) | (product[at] >> (32u - shift));
    }
    var quadrant = high >> 30u;
    high = (high << 2u) | (low >> 30u);
    low = low << 2u;
    // The fraction of a quadrant; above a half, the next quadrant is nearer.
    var sign = 1.0;
    if (high >= 0x80000000u) {
        quadrant += 1u;
        sign = -1.0;
        high = ~high;
        low = 0u - low;
        high += select(0u, 1u, low == 0u);
    }
    let zeros = countLeadingZeros(high);
    if ((zeros != 0u) & (zeros < 32u)) {
        high = (high << zeros) | (low >> (32u - zeros));
    }
    let r = sign * f32(high) * scale_f32(1.5707963267948966 / 4294967296.0, -i32(zeros));
    if (bits >= 0x80000000u) {
        return vec2<f32>(-r, f32((4u - (quadrant & 3u)) & 3u));
    }
    return vec2<f32>(r, f32(quadrant & 3u));
}

// (remainder by π/2 in about [-π/4, π/4], quadrant modulo 4) of a finite x
fn reduce_angle(x: f32) -> vec2<f32> {
    if (abs(x) > 8192.0) {
        return reduce_large(x);
    }
    let n = round(x * 0.6366197723675814);
    let r = ((x - n * 1.5703125) - n * 4.837512969970703125e-4) - n * 7.54978995489188216e-8;
    return vec2<f32>(r, f32(i32(n) & 3i));
}

fn sin_small(x: f32) -> f32 {
    let z = x * x;
    return ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * x + x;
}

fn cos_small(x: f32) -> f32 {
    let z = x * x;
    return ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
}

fn sin_quadrant(r: f32, quadrant: i32) -> f32 {
    let v = select(sin_small(r), cos_small(r), (quadrant & 1i) == 1i);
    return select(v, -v, (quadrant & 2i) == 2i);
}

fn sin_f32(x: f32) -> f32 {
    if (!is_finite(x)) {
        return nan_f32();
    }
    let a = reduce_angle(x);
    return sin_quadrant(a.x, i32(a.y));
}

fn cos_f32(x: f32) -> f32 {
    if (!is_finite(x)) {
        return nan_f32();
    }
    let a = reduce_angle(x);
    return sin_quadrant(a.x, i32(a.y) + 1i);
}

fn tan_f32(x: f32) -> f32 {
    if (!is_finite(x)) {
        return nan_f32();
    }
    let a = reduce_angle(x);
    let q = i32(a.y);
    return sin_quadrant(a.x, q) / sin_quadrant(a.x, q + 1i);
}

// asin for |x| <= ½
fn asin_small(x: f32) -> f32 {
    let z = x * x;
    return ((((4.2163199048e-2 * z + 2.4181311049e-2) * z + 4.5470025998e-2) * z + 7.4953002686e-2) * z
        + 1.6666752422e-1) * z * x + x;
}

fn asin_f32(x: f32) -> f32 {
    let a = abs(x);
    if (is_nan(x) | (a > 1.0)) {
        return nan_f32();
    }
    if (a <= 0.5) {
        return asin_small(x);
    }
    return copysign_f32(1.5707963267948966 - 2.0 * asin_small(sqrt(0.5 * (1.0 - a))), x);
}

fn acos_f32(x: f32) -> f32 {
    if (is_nan(x) | (abs(x) > 1.0)) {
        return nan_f32();
    }
    if (x > 0.5) {
        return 2.0 * asin_small(sqrt(0.5 * (1.0 - x)));
    }
    if (x < -0.5) {
        return 3.141592653589793 - 2.0 * asin_small(sqrt(0.5 * (1.0 + x)));
    }
    return 1.5707963267948966 - asin_small(x);
}

// atan for x >= 0
fn atan_positive(x: f32) -> f32 {
    var v = x;
    var base = 0.0;
    if (x > 2.414213562373095) {
        base = 1.5707963267948966;
        v = -1.0 / x;
    } else if (x > 0.4142135623730950) {
        base = 0.7853981633974483;
        v = (x - 1.0) / (x + 1.0);
    }
    let z = v * v;
    return base + ((((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1) * z * v
        + v);
}

fn atan_f32(x: f32) -> f32 {
    if (is_nan(x)) {
        return x;
    }
    if (is_inf(x)) {
        return copysign_f32(1.5707963267948966, x);
    }
    return copysign_f32(atan_positive(abs(x)), x);
}

fn atan2_f32(y: f32, x: f32) -> f32 {
    if (is_nan(x) | is_nan(y)) {
        return nan_f32();
    }
    let ax = abs(x);
    let ay = abs(y);
    var ratio = 0.0;
    if (is_inf(x) & is_inf(y)) {
        ratio = 1.0;
    } else if (!is_inf(x) & !is_inf(y) & (max(ax, ay) > 0.0)) {
        ratio = div_f32(min(ax, ay), max(ax, ay));
    }
    var angle = atan_positive(ratio);
    if (ay > ax) {
        angle = 1.5707963267948966 - angle;
    }
    if (bitcast<u32>(x) >= 0x80000000u) {
        angle = 3.141592653589793 - angle;
    }
    return copysign_f32(angle, y);
}

fn sinh_f32(x: f32) -> f32 {
    let a = abs(x);
    if (a < 1.0) {
        let z = x * x;
        return ((2.03721912945e-4 * z + 8.33028376239e-3) * z + 1.66667160211e-1) * z * x + x;
    }
    if (a > 80.0) {
        // e^x may overflow where its half does not.
        let t = exp_f32(0.5 * a);
        return copysign_f32(0.5 * t * t, x);
    }
    let e = exp_f32(a);
    return select(copysign_f32(0.5 * e - 0.5 / e, x), x, is_nan(x));
}

fn cosh_f32(x: f32) -> f32 {
    let a = abs(x);
    if (a > 80.0) {
        let t = exp_f32(0.5 * a);
        return 0.5 * t * t;
    }
    let e = exp_f32(a);
    return 0.5 * e + 0.5 / e;
}

fn tanh_f32(x: f32) -> f32 {
    let a = abs(x);
    if (a < 0.625) {
        let z = x * x;
        return ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z
            - 3.33332819422e-1) * z * x + x;
    }
    if (is_nan(x)) {
        return x;
    }
    return copysign_f32(1.0 - 2.0 / (exp_f32(2.0 * min(a, 20.0)) + 1.0), x);
}

// Two minimax fits by N. Juffa (2016), below one unit in the last place each.
fn erf_f32(x: f32) -> f32 {
    let s = x * x;
    var near = fma(-5.96761703e-4, s, 4.99119423e-3);
    near = fma(near, s, -2.67681349e-2);
    near = fma(near, s, 1.12819925e-1);
    near = fma(near, s, -3.76125336e-1);
    near = fma(near, s, 1.28379166e-1);
    near = fma(near, x, x);
    let t = min(abs(x), 4.0);
    let high = fma(-1.72853470e-5, t, 3.83197126e-4);
    let low = fma(-3.88396438e-3, t, 2.42546219e-2);
    var far = fma(high, t * t, low);
    far = fma(far, t, -1.06777877e-1);
    far = fma(far, t, -6.34846687e-1);
    far = fma(far, t, -1.28717512e-1);
    // At most 0.2 is taken from 1, so that the built-in function will do: a relative error of (3 + 2|y|) · 2^-24.
    far = copysign_f32(1.0 - exp(fma(far, t, -t)), x);
    return select(select(far, near, t <= 0.927734375), x, is_nan(x));
}

fn sigmoid_f32(x: f32) -> f32 {
    return 1.0 / (1.0 + exp_f32(-x));
}

fn upper_f32(x: f32) -> f32 {
    return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

// a^b for normal a > 0 and |b| < 2^34: log2(a) in two words after FreeBSD's e_powf.c, times b in two words.
fn pow_positive(a: f32, b: f32) -> f32 {
    let bits = bitcast<u32>(a);
    var n = i32(bits >> 23u) - 127i;
    let j = bits & 0x007fffffu;
    var m = bitcast<f32>(j | 0x3f800000u);
    var k = 0u;
    if (j > 0x1cc471u) {
        if (j < 0x5db3d7u) {
            k = 1u;
        } else {
            n += 1i;
            m = 0.5 * m;
        }
    }
    let centre = select(1.0, 1.5, k == 1u);
    let u = m - centre;
    let v = 1.0 / (m + centre);
    let s = u * v;
    let s_high = upper_f32(s);
    let t_high = upper_f32(m + centre);
    let t_low = m - (t_high - centre);
    let s_low = v * ((u - s_high * t_high) - s_high * t_low);
    let q = s * s;
    let r = q * q * (6.0000002384e-1 + q * (4.2857143283e-1 + q * (3.3333334327e-1 + q * (2.7272811532e-1
        + q * (2.3066075146e-1 + q * 2.0697501302e-1))))) + s_low * (s_high + s);
    let q_high = s_high * s_high;
    let c_high = upper_f32(3.0 + q_high + r);
    let c_low = r - ((c_high - 3.0) - q_high);
    let w = s_high * c_high;
    let x = s_low * c_high + c_low * s;
    let p_high = upper_f32(w + x);
    let p_low = x - (p_high - w);
    let z_high = 9.6191406250e-1 * p_high;
    let z_low = -1.1736857402e-4 * p_high + p_low * 9.6179670095e-1 + select(0.0, 1.56322085e-6, k == 1u);
    let shift = select(0.0, 5.84960938e-1, k == 1u);
    let e = f32(n);
    let l_high = upper_f32(((z_high + z_low) + shift) + e);
    let l_low = z_low - (((l_high - e) - shift) - z_high);
    let b_high = upper_f32(b);
    let y_low = (b - b_high) * l_high + b * l_low;
    let y_high = b_high * l_high;
    let total = y_high + y_low;
    let tame = clamp(total, -152.0, 130.0);
    let high = select(tame, y_high, tame == total);
    let low = select(0.0, y_low, tame == total);
    let whole = round(tame);
    return exp_scaled(((high - whole) + low) * 0.6931471805599453, i32(whole));
}

// C's pow: pow(x, 0) = pow(1, y) = 1; a negative base takes whole exponents only. One way through, with one return:
// compilers copy it into every place that calls it, and what returns early costs some of them minutes.
fn pow_f32(a: f32, b: f32) -> f32 {
    let magnitude = abs(a);
    let denormal = bitcast<u32>(magnitude) < 0x00800000u;
    var base = magnitude;
    if (denormal) {
        // The square of its square root's power, whose argument is normal.
        base = sqrt(magnitude * 16777216.0) * 2.44140625e-4;
    }
    var result = pow_positive(base, clamp(b, -1.0e10, 1.0e10));
    result = select(result, result * result, denormal);
    let whole = trunc(b) == b;
    let odd = whole & (abs(b) < 16777216.0) & ((i32(clamp(b, -16777216.0, 16777216.0)) & 1i) == 1i);
    let negative = bitcast<u32>(a) >= 0x80000000u;
    let edge = (magnitude == 0.0) | is_inf(a);
    result = select(result, nan_f32(), negative & !whole & !edge);
    result = select(result, select(0.0, inf_f32(), (magnitude == 0.0) == (b < 0.0)), edge);
    result = select(result, -result, negative & odd);
    let far = select(select(0.0, inf_f32(), (magnitude > 1.0) == (b > 0.0)), 1.0, magnitude == 1.0);
    result = select(result, far, is_inf(b));
    result = select(result, nan_f32(), is_nan(a) | is_nan(b));
    return select(result, 1.0, (b == 0.0) | (a == 1.0));
}

// The exact remainder with a's sign: long division of the mantissas, eight bits at a time.
fn fmod_f32(a: f32, b: f32) -> f32 {
    let ua = bitcast<u32>(a) & 0x7fffffffu;
    let ub = bitcast<u32>(b) & 0x7fffffffu;
    if ((ua >= 0x7f800000u) | (ub > 0x7f800000u) | (ub == 0u)) {
        return nan_f32();
    }
    if (ua < ub) {
        return a;
    }
    let ea = max(ua >> 23u, 1u);
    let eb = max(ub >> 23u, 1u);
    let ma = (ua & 0x007fffffu) | select(0u, 0x00800000u, ua >= 0x00800000u);
    let mb = (ub & 0x007fffffu) | select(0u, 0x00800000u, ub >= 0x00800000u);
    var r = ma % mb;
    var left = ea - eb;
    while (left > 0u) {
        let step = min(left, 8u);
        r = (r << step) % mb;
        left -= step;
    }
    return copysign_f32(scale_f32(f32(r), i32(eb) - 150i), a);
}

// The sign is b's.
fn rem_f32(a: f32, b: f32) -> f32 {
    let r = fmod_f32(a, b);
    if (r == 0.0) {
        return copysign_f32(0.0, b);
    }
    if (!is_nan(r) & ((r < 0.0) != (b < 0.0))) {
        return r + b;
    }
    return r;
}

// PyTorch's rule: what the exact remainder leaves is a whole multiple of b, so that an inexact division does no harm.
fn floor_div_f32(a: f32, b: f32) -> f32 {
    if (b == 0.0) {
        return div_f32(a, b);
    }
    let r = fmod_f32(a, b);
    if (is_nan(r)) {
        return r;
    }
    var q = round(div_f32(a - r, b));
    if ((r != 0.0) & ((r < 0.0) != (b < 0.0))) {
        q -= 1.0;
    }
    return select(q, copysign_f32(0.0, div_f32(a, b)), q == 0.0);
}

// ln(e^a + e^b)
fn log_add_f32(a: f32, b: f32) -> f32 {
    let largest = max_f32(a, b);
    if (is_inf(largest)) {
        return largest;
    }
    return largest + log1p_f32(exp_f32(-abs(a - b)));
}
