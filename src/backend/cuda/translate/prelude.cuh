// What WGSL has and CUDA C has not. NVRTC finds no header on a user's machine, so nothing is included.
// A comment with a colon opens a part and names it. A translated module carries the parts that it mentions, and those that they
// mention in turn, in this order. Everything here begins with w_ or W_, or is a type; a module's own names end in _.

//: always
#define W static __device__ __forceinline__

//: f16
// IEEE binary16. Sums, products, quotients and roots of halves, taken in f32 and rounded, are correctly rounded.
struct f16 {
    unsigned short bits;
    f16() = default;
    constexpr __device__ f16(unsigned short b, int) : bits(b) {}
    explicit __device__ __forceinline__ f16(float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); }
    explicit __device__ __forceinline__ operator float() const {
        float x;
        asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
        return x;
    }
};
W f16 operator+(f16 a, f16 b) { return f16(float(a) + float(b)); }
W f16 operator-(f16 a, f16 b) { return f16(float(a) - float(b)); }
W f16 operator*(f16 a, f16 b) { return f16(float(a) * float(b)); }
W f16 operator/(f16 a, f16 b) { return f16(float(a) / float(b)); }
W f16 operator-(f16 a) { return f16((unsigned short)(a.bits ^ 0x8000), 0); }
W bool operator==(f16 a, f16 b) { return float(a) == float(b); }
W bool operator!=(f16 a, f16 b) { return float(a) != float(b); }
W bool operator<(f16 a, f16 b) { return float(a) < float(b); }
W bool operator<=(f16 a, f16 b) { return float(a) <= float(b); }
W bool operator>(f16 a, f16 b) { return float(a) > float(b); }
W bool operator>=(f16 a, f16 b) { return float(a) >= float(b); }

//: vec2 vec3 vec4
// A vec3 takes 12 bytes and leaves the rest of its 16 to whatever follows it in a structure; `slot` is its place in
// arrays and matrices.
template <class T> struct alignas(2 * sizeof(T)) vec2 { T x, y; };
template <class T> struct vec3 { T x, y, z; };
template <class T> struct alignas(4 * sizeof(T)) vec4 { T x, y, z, w; };

//: slot
template <class V> struct slot { V v; };
template <class T> struct slot<vec3<T>> { vec3<T> v; T pad; };

//: arr
template <class T, unsigned N> struct arr { T e[N]; };

//: mat
template <class V, unsigned N> struct mat { slot<V> c[N]; };

//: w_splat2
template <class T> W vec2<T> w_splat2(T x) { return {x, x}; }
//: w_splat3
template <class T> W vec3<T> w_splat3(T x) { return {x, x, x}; }
//: w_splat4
template <class T> W vec4<T> w_splat4(T x) { return {x, x, x, x}; }

//: w_component
template <class T> W T w_component(vec2<T> v, unsigned i) { return i == 0 ? v.x : v.y; }
template <class T> W T w_component(vec3<T> v, unsigned i) { return i == 0 ? v.x : i == 1 ? v.y : v.z; }
template <class T> W T w_component(vec4<T> v, unsigned i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

//: w_compose
// A vector from scalars and shorter vectors.
template <class T> W void w_put(T* to, int& i, T x) { to[i++] = x; }
template <class T> W void w_put(T* to, int& i, vec2<T> v) { to[i++] = v.x; to[i++] = v.y; }
template <class T> W void w_put(T* to, int& i, vec3<T> v) { to[i++] = v.x; to[i++] = v.y; to[i++] = v.z; }
template <class V, class... A> W V w_compose(A... a) {
    V v;
    int i = 0;
    (w_put(&v.x, i, a), ...);
    return v;
}

//: w_mat
template <class V, class... A> W mat<V, sizeof...(A)> w_mat(A... columns) { return {{{columns}...}}; }

//: w_bitcast
template <class To, class From> W To w_bitcast(From from) {
    static_assert(sizeof(To) == sizeof(From), "a bitcast between types of different sizes");
    union { From from; To to; } u;
    u.from = from;
    return u.to;
}
//: w_bound
W unsigned w_bound(unsigned i, unsigned length) { return i < length ? i : length - 1u; }

//: W_MAP1
#define W_MAP1(f) \
    template <class T> W auto f(vec2<T> a)->vec2<decltype(f(a.x))> { return {f(a.x), f(a.y)}; } \
    template <class T> W auto f(vec3<T> a)->vec3<decltype(f(a.x))> { return {f(a.x), f(a.y), f(a.z)}; } \
    template <class T> W auto f(vec4<T> a)->vec4<decltype(f(a.x))> { return {f(a.x), f(a.y), f(a.z), f(a.w)}; }
//: W_MAP2
#define W_MAP2(f) \
    template <class T> W auto f(vec2<T> a, vec2<T> b)->vec2<decltype(f(a.x, b.x))> { return {f(a.x, b.x), f(a.y, b.y)}; } \
    template <class T> W auto f(vec3<T> a, vec3<T> b)->vec3<decltype(f(a.x, b.x))> { \
        return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z)}; \
    } \
    template <class T> W auto f(vec4<T> a, vec4<T> b)->vec4<decltype(f(a.x, b.x))> { \
        return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w)}; \
    }
//: W_MAP2_WITH
// The second operand's components are of another type.
#define W_MAP2_WITH(f, U) \
    template <class T> W vec2<T> f(vec2<T> a, vec2<U> b) { return {f(a.x, b.x), f(a.y, b.y)}; } \
    template <class T> W vec3<T> f(vec3<T> a, vec3<U> b) { return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z)}; } \
    template <class T> W vec4<T> f(vec4<T> a, vec4<U> b) { return {f(a.x, b.x), f(a.y, b.y), f(a.z, b.z), f(a.w, b.w)}; }
//: W_MAP3
#define W_MAP3(f) \
    template <class T> W vec2<T> f(vec2<T> a, vec2<T> b, vec2<T> c) { return {f(a.x, b.x, c.x), f(a.y, b.y, c.y)}; } \
    template <class T> W vec3<T> f(vec3<T> a, vec3<T> b, vec3<T> c) { \
        return {f(a.x, b.x, c.x), f(a.y, b.y, c.y), f(a.z, b.z, c.z)}; \
    } \
    template <class T> W vec4<T> f(vec4<T> a, vec4<T> b, vec4<T> c) { \
        return {f(a.x, b.x, c.x), f(a.y, b.y, c.y), f(a.z, b.z, c.z), f(a.w, b.w, c.w)}; \
    }

//: w_add
// Signed integers wrap in WGSL; in C++ their overflow is undefined.
template <class T> W T w_add(T a, T b) { return a + b; }
W int w_add(int a, int b) { return (int)((unsigned)a + (unsigned)b); }
W long long w_add(long long a, long long b) { return (long long)((unsigned long long)a + (unsigned long long)b); }
W_MAP2(w_add)
//: w_sub
template <class T> W T w_sub(T a, T b) { return a - b; }
W int w_sub(int a, int b) { return (int)((unsigned)a - (unsigned)b); }
W long long w_sub(long long a, long long b) { return (long long)((unsigned long long)a - (unsigned long long)b); }
W_MAP2(w_sub)
//: w_mul
template <class T> W T w_mul(T a, T b) { return a * b; }
W int w_mul(int a, int b) { return (int)((unsigned)a * (unsigned)b); }
W long long w_mul(long long a, long long b) { return (long long)((unsigned long long)a * (unsigned long long)b); }
W_MAP2(w_mul)
//: w_neg
template <class T> W T w_neg(T a) { return -a; }
W int w_neg(int a) { return (int)(0u - (unsigned)a); }
W long long w_neg(long long a) { return (long long)(0ull - (unsigned long long)a); }
W_MAP1(w_neg)
//: w_div
// x / 0 is x, and so is the least integer by -1.
template <class T> W T w_div(T a, T b) { return a / b; }
W int w_div(int a, int b) { return a / ((b == 0 || (b == -1 && a == (int)0x80000000u)) ? 1 : b); }
W unsigned w_div(unsigned a, unsigned b) { return a / (b == 0u ? 1u : b); }
W long long w_div(long long a, long long b) {
    return a / ((b == 0 || (b == -1 && a == (long long)0x8000000000000000ull)) ? 1 : b);
}
W unsigned long long w_div(unsigned long long a, unsigned long long b) { return a / (b == 0 ? 1 : b); }
W_MAP2(w_div)
//: w_mod
// x % 0 is 0, and so is the least integer by -1. Of floats it is the exact remainder with x's sign.
W float w_mod(float a, float b) { return fmodf(a, b); }
W double w_mod(double a, double b) { return fmod(a, b); }
template <class T> W T w_mod(T a, T b) { return T(fmodf(float(a), float(b))); }
W int w_mod(int a, int b) { return a % ((b == 0 || (b == -1 && a == (int)0x80000000u)) ? 1 : b); }
W unsigned w_mod(unsigned a, unsigned b) { return a % (b == 0u ? 1u : b); }
W long long w_mod(long long a, long long b) {
    return a % ((b == 0 || (b == -1 && a == (long long)0x8000000000000000ull)) ? 1 : b);
}
W unsigned long long w_mod(unsigned long long a, unsigned long long b) { return a % (b == 0 ? 1 : b); }
W_MAP2(w_mod)
//: w_and
template <class T> W T w_and(T a, T b) { return a & b; }
W_MAP2(w_and)
//: w_or
template <class T> W T w_or(T a, T b) { return a | b; }
W_MAP2(w_or)
//: w_xor
template <class T> W T w_xor(T a, T b) { return a ^ b; }
W_MAP2(w_xor)
//: w_not
template <class T> W T w_not(T a) { return ~a; }
W bool w_not(bool a) { return !a; }
W_MAP1(w_not)
//: w_shl
// Distances are taken modulo the width.
template <class T> W T w_shl(T a, unsigned b) { return a << (b & (8 * sizeof(T) - 1)); }
W int w_shl(int a, unsigned b) { return (int)((unsigned)a << (b & 31u)); }
W_MAP2_WITH(w_shl, unsigned)
//: w_shr
template <class T> W T w_shr(T a, unsigned b) { return a >> (b & (8 * sizeof(T) - 1)); }
W_MAP2_WITH(w_shr, unsigned)
//: w_eq
template <class T> W bool w_eq(T a, T b) { return a == b; }
W_MAP2(w_eq)
//: w_ne
template <class T> W bool w_ne(T a, T b) { return a != b; }
W_MAP2(w_ne)
//: w_lt
template <class T> W bool w_lt(T a, T b) { return a < b; }
W_MAP2(w_lt)
//: w_le
template <class T> W bool w_le(T a, T b) { return a <= b; }
W_MAP2(w_le)
//: w_gt
template <class T> W bool w_gt(T a, T b) { return a > b; }
W_MAP2(w_gt)
//: w_ge
template <class T> W bool w_ge(T a, T b) { return a >= b; }
W_MAP2(w_ge)
//: w_select
template <class T> W vec2<T> w_select(vec2<T> f, vec2<T> t, vec2<bool> c) { return {c.x ? t.x : f.x, c.y ? t.y : f.y}; }
template <class T> W vec3<T> w_select(vec3<T> f, vec3<T> t, vec3<bool> c) {
    return {c.x ? t.x : f.x, c.y ? t.y : f.y, c.z ? t.z : f.z};
}
template <class T> W vec4<T> w_select(vec4<T> f, vec4<T> t, vec4<bool> c) {
    return {c.x ? t.x : f.x, c.y ? t.y : f.y, c.z ? t.z : f.z, c.w ? t.w : f.w};
}
//: w_all
W bool w_all(bool a) { return a; }
W bool w_all(vec2<bool> a) { return a.x && a.y; }
W bool w_all(vec3<bool> a) { return a.x && a.y && a.z; }
W bool w_all(vec4<bool> a) { return a.x && a.y && a.z && a.w; }
//: w_any
W bool w_any(bool a) { return a; }
W bool w_any(vec2<bool> a) { return a.x || a.y; }
W bool w_any(vec3<bool> a) { return a.x || a.y || a.z; }
W bool w_any(vec4<bool> a) { return a.x || a.y || a.z || a.w; }

//: w_f32
template <class T> W float w_f32(T x) { return (float)x; }
W_MAP1(w_f32)
//: w_f64
template <class T> W double w_f64(T x) { return (double)x; }
W_MAP1(w_f64)
//: w_f16
template <class T> W f16 w_f16(T x) { return f16((float)x); }
W_MAP1(w_f16)
//: w_i32
// Conversions of floats to integers truncate and saturate.
template <class T> W int w_i32(T x) { return (int)x; }
W int w_i32(float x) { return __float2int_rz(x); }
W int w_i32(double x) { return __double2int_rz(x); }
W int w_i32(f16 x) { return __float2int_rz((float)x); }
W_MAP1(w_i32)
//: w_u32
template <class T> W unsigned w_u32(T x) { return (unsigned)x; }
W unsigned w_u32(float x) { return __float2uint_rz(x); }
W unsigned w_u32(double x) { return __double2uint_rz(x); }
W unsigned w_u32(f16 x) { return __float2uint_rz((float)x); }
W_MAP1(w_u32)
//: w_i64
template <class T> W long long w_i64(T x) { return (long long)x; }
W long long w_i64(float x) { return __float2ll_rz(x); }
W long long w_i64(double x) { return __double2ll_rz(x); }
W long long w_i64(f16 x) { return __float2ll_rz((float)x); }
W_MAP1(w_i64)
//: w_u64
template <class T> W unsigned long long w_u64(T x) { return (unsigned long long)x; }
W unsigned long long w_u64(float x) { return __float2ull_rz(x); }
W unsigned long long w_u64(double x) { return __double2ull_rz(x); }
W unsigned long long w_u64(f16 x) { return __float2ull_rz((float)x); }
W_MAP1(w_u64)
//: w_i16
template <class T> W short w_i16(T x) { return (short)x; }
W_MAP1(w_i16)
//: w_u16
template <class T> W unsigned short w_u16(T x) { return (unsigned short)x; }
W_MAP1(w_u16)
//: w_bool
template <class T> W bool w_bool(T x) { return x != T(0); }
W_MAP1(w_bool)

//: w_abs
template <class T> W T w_abs(T x) { return T(fabsf(float(x))); }
W float w_abs(float x) { return fabsf(x); }
W double w_abs(double x) { return fabs(x); }
W int w_abs(int x) { return x < 0 ? (int)(0u - (unsigned)x) : x; }
W unsigned w_abs(unsigned x) { return x; }
W_MAP1(w_abs)
//: w_min
// Of a number and a NaN: the number.
template <class T> W T w_min(T a, T b) { return b < a ? b : a; }
W float w_min(float a, float b) { return fminf(a, b); }
W double w_min(double a, double b) { return fmin(a, b); }
W f16 w_min(f16 a, f16 b) { return f16(fminf(float(a), float(b))); }
W_MAP2(w_min)
//: w_max
template <class T> W T w_max(T a, T b) { return a < b ? b : a; }
W float w_max(float a, float b) { return fmaxf(a, b); }
W double w_max(double a, double b) { return fmax(a, b); }
W f16 w_max(f16 a, f16 b) { return f16(fmaxf(float(a), float(b))); }
W_MAP2(w_max)
//: w_clamp
template <class T> W T w_clamp(T x, T low, T high) { return w_min(w_max(x, low), high); }
//: w_saturate
template <class T> W T w_saturate(T x) { return w_min(w_max(x, T(0.0f)), T(1.0f)); }
W_MAP1(w_saturate)
//: w_sign
template <class T> W T w_sign(T x) { return T(float(x > T(0.0f)) - float(x < T(0.0f))); }
W int w_sign(int x) { return (x > 0) - (x < 0); }
W_MAP1(w_sign)

//: W_REAL1
// A function of one real: in f32, in f64, and in f16 through f32.
#define W_REAL1(name, f, d) \
    W float name(float x) { return f(x); } \
    W double name(double x) { return d(x); } \
    template <class T> W T name(T x) { return T(f(float(x))); } \
    W_MAP1(name)
//: w_cos
W_REAL1(w_cos, cosf, cos)
//: w_cosh
W_REAL1(w_cosh, coshf, cosh)
//: w_sin
W_REAL1(w_sin, sinf, sin)
//: w_sinh
W_REAL1(w_sinh, sinhf, sinh)
//: w_tan
W_REAL1(w_tan, tanf, tan)
//: w_tanh
W_REAL1(w_tanh, tanhf, tanh)
//: w_acos
W_REAL1(w_acos, acosf, acos)
//: w_asin
W_REAL1(w_asin, asinf, asin)
//: w_atan
W_REAL1(w_atan, atanf, atan)
//: w_asinh
W_REAL1(w_asinh, asinhf, asinh)
//: w_acosh
W_REAL1(w_acosh, acoshf, acosh)
//: w_atanh
W_REAL1(w_atanh, atanhf, atanh)
//: w_ceil
W_REAL1(w_ceil, ceilf, ceil)
//: w_floor
W_REAL1(w_floor, floorf, floor)
//: w_round
// Halves go to the even neighbour.
W_REAL1(w_round, rintf, rint)
//: w_trunc
W_REAL1(w_trunc, truncf, trunc)
//: w_ex2
// The device's own instruction. What is less than 2^-126 becomes 0, as WGSL allows.
W float w_ex2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
//: w_exp
// A relative error of (3 + 2|x|) · 2^-24 at most is what WGSL asks for.
W float w_exp_near(float x) { return w_ex2(x * 1.4426950408889634f); }
W_REAL1(w_exp, w_exp_near, exp)
//: w_exp2
W_REAL1(w_exp2, w_ex2, exp2)
//: w_log
W_REAL1(w_log, logf, log)
//: w_log2
W_REAL1(w_log2, log2f, log2)
//: w_sqrt
W_REAL1(w_sqrt, sqrtf, sqrt)
//: w_rsqrt
W_REAL1(w_rsqrt, rsqrtf, rsqrt)
//: w_radians
template <class T> W T w_radians(T x) { return x * T(0.017453292519943295f); }
W_MAP1(w_radians)
//: w_degrees
template <class T> W T w_degrees(T x) { return x * T(57.29577951308232f); }
W_MAP1(w_degrees)
//: w_fract
template <class T> W T w_fract(T x) { return x - w_floor(x); }
W_MAP1(w_fract)
//: w_quantize
W float w_quantize(float x) { return float(f16(x)); }
W_MAP1(w_quantize)
//: W_REAL2
#define W_REAL2(name, f, d) \
    W float name(float a, float b) { return f(a, b); } \
    W double name(double a, double b) { return d(a, b); } \
    template <class T> W T name(T a, T b) { return T(f(float(a), float(b))); } \
    W_MAP2(name)
//: w_atan2
W_REAL2(w_atan2, atan2f, atan2)
//: w_pow
W_REAL2(w_pow, powf, pow)
//: w_step
template <class T> W T w_step(T edge, T x) { return x >= edge ? T(1.0f) : T(0.0f); }
W_MAP2(w_step)
//: w_ldexp
template <class T> W T w_ldexp(T x, int e) { return T(ldexpf(float(x), e)); }
W_MAP2_WITH(w_ldexp, int)
//: w_fma
W float w_fma(float a, float b, float c) { return fmaf(a, b, c); }
W double w_fma(double a, double b, double c) { return fma(a, b, c); }
W f16 w_fma(f16 a, f16 b, f16 c) {
    f16 r;
    asm("fma.rn.f16 %0, %1, %2, %3;" : "=h"(r.bits) : "h"(a.bits), "h"(b.bits), "h"(c.bits));
    return r;
}
W_MAP3(w_fma)
//: w_mix
template <class T> W T w_mix(T a, T b, T t) { return a * (T(1.0f) - t) + b * t; }
W_MAP3(w_mix)
//: w_smoothstep
template <class T> W T w_smoothstep(T low, T high, T x) {
    T t = w_saturate((x - low) / (high - low));
    return t * t * (T(3.0f) - T(2.0f) * t);
}
W_MAP3(w_smoothstep)
//: w_frexp_fract
// The fraction in [0.5, 1) and the exponent; numbers that are zero or not finite are their own fraction.
template <class T> W T w_frexp_fract(T x) { int e; return T(frexpf(float(x), &e)); }
W_MAP1(w_frexp_fract)
//: w_frexp_exp
template <class T> W int w_frexp_exp(T x) { int e = 0; frexpf(float(x), &e); return e; }
W_MAP1(w_frexp_exp)

//: w_dot
template <class T> W T w_dot(vec2<T> a, vec2<T> b) { return w_add(w_mul(a.x, b.x), w_mul(a.y, b.y)); }
template <class T> W T w_dot(vec3<T> a, vec3<T> b) {
    return w_add(w_add(w_mul(a.x, b.x), w_mul(a.y, b.y)), w_mul(a.z, b.z));
}
template <class T> W T w_dot(vec4<T> a, vec4<T> b) {
    return w_add(w_add(w_add(w_mul(a.x, b.x), w_mul(a.y, b.y)), w_mul(a.z, b.z)), w_mul(a.w, b.w));
}
//: w_cross
template <class T> W vec3<T> w_cross(vec3<T> a, vec3<T> b) {
    return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}
//: w_length
W float w_length(float x) { return fabsf(x); }
template <class V> W auto w_length(V v)->decltype(w_dot(v, v)) { return w_sqrt(w_dot(v, v)); }
//: w_distance
template <class V> W auto w_distance(V a, V b)->decltype(w_length(a)) { return w_length(w_sub(a, b)); }
//: w_normalize
template <class T> W vec2<T> w_normalize(vec2<T> v) { T n = w_length(v); return {v.x / n, v.y / n}; }
template <class T> W vec3<T> w_normalize(vec3<T> v) { T n = w_length(v); return {v.x / n, v.y / n, v.z / n}; }
template <class T> W vec4<T> w_normalize(vec4<T> v) { T n = w_length(v); return {v.x / n, v.y / n, v.z / n, v.w / n}; }
//: w_scale
template <class T> W vec2<T> w_scale(vec2<T> v, T s) { return {w_mul(v.x, s), w_mul(v.y, s)}; }
template <class T> W vec3<T> w_scale(vec3<T> v, T s) { return {w_mul(v.x, s), w_mul(v.y, s), w_mul(v.z, s)}; }
template <class T> W vec4<T> w_scale(vec4<T> v, T s) {
    return {w_mul(v.x, s), w_mul(v.y, s), w_mul(v.z, s), w_mul(v.w, s)};
}
//: w_faceforward
template <class V> W V w_faceforward(V a, V b, V c) { return float(w_dot(b, c)) < 0.0f ? a : w_neg(a); }
//: w_reflect
template <class V> W V w_reflect(V a, V b) { auto d = w_dot(b, a); return w_sub(a, w_scale(b, w_add(d, d))); }
//: w_refract
template <class V, class T> W V w_refract(V a, V b, T eta) {
    T d = w_dot(b, a), k = T(1.0f) - eta * eta * (T(1.0f) - d * d);
    return k < T(0.0f) ? V{} : w_sub(w_scale(a, eta), w_scale(b, T(eta * d + w_sqrt(k))));
}

//: w_mat_add
template <class V, unsigned N> W mat<V, N> w_mat_add(mat<V, N> a, mat<V, N> b) {
    for (unsigned i = 0; i < N; i++) a.c[i].v = w_add(a.c[i].v, b.c[i].v);
    return a;
}
//: w_mat_sub
template <class V, unsigned N> W mat<V, N> w_mat_sub(mat<V, N> a, mat<V, N> b) {
    for (unsigned i = 0; i < N; i++) a.c[i].v = w_sub(a.c[i].v, b.c[i].v);
    return a;
}
//: w_mat_scale
template <class V, unsigned N, class T> W mat<V, N> w_mat_scale(mat<V, N> a, T s) {
    for (unsigned i = 0; i < N; i++) a.c[i].v = w_scale(a.c[i].v, s);
    return a;
}
//: w_mat_vec
template <class V, class T> W V w_mat_vec(mat<V, 2> m, vec2<T> v) {
    return w_add(w_scale(m.c[0].v, v.x), w_scale(m.c[1].v, v.y));
}
template <class V, class T> W V w_mat_vec(mat<V, 3> m, vec3<T> v) {
    return w_add(w_add(w_scale(m.c[0].v, v.x), w_scale(m.c[1].v, v.y)), w_scale(m.c[2].v, v.z));
}
template <class V, class T> W V w_mat_vec(mat<V, 4> m, vec4<T> v) {
    return w_add(w_add(w_add(w_scale(m.c[0].v, v.x), w_scale(m.c[1].v, v.y)), w_scale(m.c[2].v, v.z)),
                 w_scale(m.c[3].v, v.w));
}
//: w_vec_mat
template <class V> W auto w_vec_mat(V v, mat<V, 2> m)->vec2<decltype(w_dot(v, v))> {
    return {w_dot(v, m.c[0].v), w_dot(v, m.c[1].v)};
}
template <class V> W auto w_vec_mat(V v, mat<V, 3> m)->vec3<decltype(w_dot(v, v))> {
    return {w_dot(v, m.c[0].v), w_dot(v, m.c[1].v), w_dot(v, m.c[2].v)};
}
template <class V> W auto w_vec_mat(V v, mat<V, 4> m)->vec4<decltype(w_dot(v, v))> {
    return {w_dot(v, m.c[0].v), w_dot(v, m.c[1].v), w_dot(v, m.c[2].v), w_dot(v, m.c[3].v)};
}
//: w_mat_mul
template <class V, unsigned K, class U, unsigned N> W mat<V, N> w_mat_mul(mat<V, K> a, mat<U, N> b) {
    mat<V, N> r = {};
    for (unsigned i = 0; i < N; i++) r.c[i].v = w_mat_vec(a, b.c[i].v);
    return r;
}
//: w_transpose
template <class T> W mat<vec2<T>, 2> w_transpose(mat<vec2<T>, 2> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x}}, {{m.c[0].v.y, m.c[1].v.y}}}};
}
template <class T> W mat<vec2<T>, 3> w_transpose(mat<vec3<T>, 2> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x}}, {{m.c[0].v.y, m.c[1].v.y}}, {{m.c[0].v.z, m.c[1].v.z}}}};
}
template <class T> W mat<vec2<T>, 4> w_transpose(mat<vec4<T>, 2> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x}}, {{m.c[0].v.y, m.c[1].v.y}}, {{m.c[0].v.z, m.c[1].v.z}}, {{m.c[0].v.w, m.c[1].v.w}}}};
}
template <class T> W mat<vec3<T>, 2> w_transpose(mat<vec2<T>, 3> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x, m.c[2].v.x}}, {{m.c[0].v.y, m.c[1].v.y, m.c[2].v.y}}}};
}
template <class T> W mat<vec3<T>, 3> w_transpose(mat<vec3<T>, 3> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x, m.c[2].v.x}}, {{m.c[0].v.y, m.c[1].v.y, m.c[2].v.y}}, {{m.c[0].v.z, m.c[1].v.z, m.c[2].v.z}}}};
}
template <class T> W mat<vec3<T>, 4> w_transpose(mat<vec4<T>, 3> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x, m.c[2].v.x}}, {{m.c[0].v.y, m.c[1].v.y, m.c[2].v.y}}, {{m.c[0].v.z, m.c[1].v.z, m.c[2].v.z}}, {{m.c[0].v.w, m.c[1].v.w, m.c[2].v.w}}}};
}
template <class T> W mat<vec4<T>, 2> w_transpose(mat<vec2<T>, 4> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x, m.c[2].v.x, m.c[3].v.x}}, {{m.c[0].v.y, m.c[1].v.y, m.c[2].v.y, m.c[3].v.y}}}};
}
template <class T> W mat<vec4<T>, 3> w_transpose(mat<vec3<T>, 4> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x, m.c[2].v.x, m.c[3].v.x}}, {{m.c[0].v.y, m.c[1].v.y, m.c[2].v.y, m.c[3].v.y}}, {{m.c[0].v.z, m.c[1].v.z, m.c[2].v.z, m.c[3].v.z}}}};
}
template <class T> W mat<vec4<T>, 4> w_transpose(mat<vec4<T>, 4> m) {
    return {{{{m.c[0].v.x, m.c[1].v.x, m.c[2].v.x, m.c[3].v.x}}, {{m.c[0].v.y, m.c[1].v.y, m.c[2].v.y, m.c[3].v.y}}, {{m.c[0].v.z, m.c[1].v.z, m.c[2].v.z, m.c[3].v.z}}, {{m.c[0].v.w, m.c[1].v.w, m.c[2].v.w, m.c[3].v.w}}}};
}
//: w_determinant
template <class T> W T w_determinant(mat<vec2<T>, 2> m) { return m.c[0].v.x * m.c[1].v.y - m.c[1].v.x * m.c[0].v.y; }
template <class T> W T w_determinant(mat<vec3<T>, 3> m) { return w_dot(m.c[0].v, w_cross(m.c[1].v, m.c[2].v)); }
template <class T> W T w_determinant(mat<vec4<T>, 4> m) {
    vec4<T> a = m.c[0].v, b = m.c[1].v, c = m.c[2].v, d = m.c[3].v;
    T s0 = a.x * b.y - b.x * a.y, s1 = a.x * b.z - b.x * a.z, s2 = a.x * b.w - b.x * a.w;
    T s3 = a.y * b.z - b.y * a.z, s4 = a.y * b.w - b.y * a.w, s5 = a.z * b.w - b.z * a.w;
    T c5 = c.z * d.w - d.z * c.w, c4 = c.y * d.w - d.y * c.w, c3 = c.y * d.z - d.y * c.z;
    T c2 = c.x * d.w - d.x * c.w, c1 = c.x * d.z - d.x * c.z, c0 = c.x * d.y - d.x * c.y;
    return s0 * c5 - s1 * c4 + s2 * c3 + s3 * c2 - s4 * c1 + s5 * c0;
}

//: w_ctz
W unsigned w_ctz(unsigned x) { return x == 0u ? 32u : (unsigned)(__ffs((int)x) - 1); }
W int w_ctz(int x) { return (int)w_ctz((unsigned)x); }
W_MAP1(w_ctz)
//: w_clz
W unsigned w_clz(unsigned x) { return (unsigned)__clz((int)x); }
W int w_clz(int x) { return __clz(x); }
W_MAP1(w_clz)
//: w_popcount
W unsigned w_popcount(unsigned x) { return (unsigned)__popc(x); }
W int w_popcount(int x) { return __popc((unsigned)x); }
W_MAP1(w_popcount)
//: w_reverse
W unsigned w_reverse(unsigned x) { return __brev(x); }
W int w_reverse(int x) { return (int)__brev((unsigned)x); }
W_MAP1(w_reverse)
//: w_first_trailing
W unsigned w_first_trailing(unsigned x) { return (unsigned)(__ffs((int)x) - 1); }
W int w_first_trailing(int x) { return __ffs(x) - 1; }
W_MAP1(w_first_trailing)
//: w_first_leading
W unsigned w_first_leading(unsigned x) { return (unsigned)(31 - __clz((int)x)); }
W int w_first_leading(int x) { return 31 - __clz(x < 0 ? ~x : x); }
W_MAP1(w_first_leading)
//: w_extract
W unsigned w_extract(unsigned e, unsigned offset, unsigned count) {
    unsigned o = offset < 32u ? offset : 32u, c = count < 32u - o ? count : 32u - o;
    return c == 0u ? 0u : (e << (32u - c - o)) >> (32u - c);
}
W int w_extract(int e, unsigned offset, unsigned count) {
    unsigned o = offset < 32u ? offset : 32u, c = count < 32u - o ? count : 32u - o;
    return c == 0u ? 0 : (int)((unsigned)e << (32u - c - o)) >> (32u - c);
}
template <class T> W vec2<T> w_extract(vec2<T> e, unsigned o, unsigned c) { return {w_extract(e.x, o, c), w_extract(e.y, o, c)}; }
template <class T> W vec3<T> w_extract(vec3<T> e, unsigned o, unsigned c) {
    return {w_extract(e.x, o, c), w_extract(e.y, o, c), w_extract(e.z, o, c)};
}
template <class T> W vec4<T> w_extract(vec4<T> e, unsigned o, unsigned c) {
    return {w_extract(e.x, o, c), w_extract(e.y, o, c), w_extract(e.z, o, c), w_extract(e.w, o, c)};
}
//: w_insert
template <class T> W T w_insert(T e, T bits, unsigned offset, unsigned count) {
    unsigned o = offset < 32u ? offset : 32u, c = count < 32u - o ? count : 32u - o;
    unsigned mask = c == 0u ? 0u : (0xffffffffu >> (32u - c)) << o;
    return (T)(((unsigned)e & ~mask) | ((c == 0u ? 0u : (unsigned)bits << o) & mask));
}
template <class T> W vec2<T> w_insert(vec2<T> e, vec2<T> b, unsigned o, unsigned c) {
    return {w_insert(e.x, b.x, o, c), w_insert(e.y, b.y, o, c)};
}
template <class T> W vec3<T> w_insert(vec3<T> e, vec3<T> b, unsigned o, unsigned c) {
    return {w_insert(e.x, b.x, o, c), w_insert(e.y, b.y, o, c), w_insert(e.z, b.z, o, c)};
}
template <class T> W vec4<T> w_insert(vec4<T> e, vec4<T> b, unsigned o, unsigned c) {
    return {w_insert(e.x, b.x, o, c), w_insert(e.y, b.y, o, c), w_insert(e.z, b.z, o, c), w_insert(e.w, b.w, o, c)};
}

//: w_norm
// A float in [-1, 1] or [0, 1] as an integer of so many steps.
W unsigned w_norm(float x, float low, float steps) {
    return (unsigned)__float2int_rz(floorf(0.5f + steps * fminf(fmaxf(x, low), 1.0f)));
}
//: w_pack4x8snorm
W unsigned w_pack4x8snorm(vec4<float> v) {
    return (w_norm(v.x, -1.0f, 127.0f) & 255u) | (w_norm(v.y, -1.0f, 127.0f) & 255u) << 8 |
           (w_norm(v.z, -1.0f, 127.0f) & 255u) << 16 | w_norm(v.w, -1.0f, 127.0f) << 24;
}
//: w_pack4x8unorm
W unsigned w_pack4x8unorm(vec4<float> v) {
    return w_norm(v.x, 0.0f, 255.0f) | w_norm(v.y, 0.0f, 255.0f) << 8 | w_norm(v.z, 0.0f, 255.0f) << 16 |
           w_norm(v.w, 0.0f, 255.0f) << 24;
}
//: w_pack2x16snorm
W unsigned w_pack2x16snorm(vec2<float> v) {
    return (w_norm(v.x, -1.0f, 32767.0f) & 65535u) | w_norm(v.y, -1.0f, 32767.0f) << 16;
}
//: w_pack2x16unorm
W unsigned w_pack2x16unorm(vec2<float> v) { return w_norm(v.x, 0.0f, 65535.0f) | w_norm(v.y, 0.0f, 65535.0f) << 16; }
//: w_pack2x16float
W unsigned w_pack2x16float(vec2<float> v) { return (unsigned)f16(v.x).bits | (unsigned)f16(v.y).bits << 16; }
//: w_pack4x8
W unsigned w_pack4x8(vec4<unsigned> v) {
    return (v.x & 255u) | (v.y & 255u) << 8 | (v.z & 255u) << 16 | v.w << 24;
}
W unsigned w_pack4x8(vec4<int> v) {
    return ((unsigned)v.x & 255u) | ((unsigned)v.y & 255u) << 8 | ((unsigned)v.z & 255u) << 16 | (unsigned)v.w << 24;
}
//: w_pack4x8clamp
W unsigned w_pack4x8clamp(vec4<unsigned> v) { return w_pack4x8(w_min(v, vec4<unsigned>{255u, 255u, 255u, 255u})); }
W unsigned w_pack4x8clamp(vec4<int> v) {
    return w_pack4x8(w_min(w_max(v, vec4<int>{-128, -128, -128, -128}), vec4<int>{127, 127, 127, 127}));
}
//: w_unpack4xu8
W vec4<unsigned> w_unpack4xu8(unsigned x) { return {x & 255u, x >> 8 & 255u, x >> 16 & 255u, x >> 24}; }
//: w_unpack4xi8
W vec4<int> w_unpack4xi8(unsigned x) {
    return {(int)(x << 24) >> 24, (int)(x << 16) >> 24, (int)(x << 8) >> 24, (int)x >> 24};
}
//: w_unpack4x8unorm
W vec4<float> w_unpack4x8unorm(unsigned x) {
    return {(x & 255u) / 255.0f, (x >> 8 & 255u) / 255.0f, (x >> 16 & 255u) / 255.0f, (x >> 24) / 255.0f};
}
//: w_unpack4x8snorm
W vec4<float> w_unpack4x8snorm(unsigned x) {
    vec4<int> v = w_unpack4xi8(x);
    return {fmaxf(v.x / 127.0f, -1.0f), fmaxf(v.y / 127.0f, -1.0f), fmaxf(v.z / 127.0f, -1.0f), fmaxf(v.w / 127.0f, -1.0f)};
}
//: w_unpack2x16unorm
W vec2<float> w_unpack2x16unorm(unsigned x) { return {(x & 65535u) / 65535.0f, (x >> 16) / 65535.0f}; }
//: w_unpack2x16snorm
W vec2<float> w_unpack2x16snorm(unsigned x) {
    return {fmaxf(((int)(x << 16) >> 16) / 32767.0f, -1.0f), fmaxf(((int)x >> 16) / 32767.0f, -1.0f)};
}
//: w_unpack2x16float
W vec2<float> w_unpack2x16float(unsigned x) {
    return {float(f16((unsigned short)(x & 65535u), 0)), float(f16((unsigned short)(x >> 16), 0))};
}
//: w_dot4u8
W unsigned w_dot4u8(unsigned a, unsigned b) { return w_dot(w_unpack4xu8(a), w_unpack4xu8(b)); }
//: w_dot4i8
W int w_dot4i8(unsigned a, unsigned b) { return w_dot(w_unpack4xi8(a), w_unpack4xi8(b)); }

//: w_atomic_load
template <class T> W T w_atomic_load(T& place) { return *(volatile T*)&place; }
//: w_atomic_store
template <class T> W void w_atomic_store(T& place, T value) { *(volatile T*)&place = value; }
//: w_zero
// All threads of a block clear its memory.
template <class T> W void w_zero(T& place, unsigned thread, unsigned threads) {
    for (unsigned i = thread; i < sizeof(T); i += threads) ((volatile unsigned char*)&place)[i] = 0;
}

//: w_shuffle
// A lane's value, read from lane `from` of those in `mask`.
W int w_shuffle(unsigned mask, int x, unsigned from) { return __shfl_sync(mask, x, (int)from); }
W unsigned w_shuffle(unsigned mask, unsigned x, unsigned from) { return __shfl_sync(mask, x, (int)from); }
W float w_shuffle(unsigned mask, float x, unsigned from) { return __shfl_sync(mask, x, (int)from); }
W double w_shuffle(unsigned mask, double x, unsigned from) { return __shfl_sync(mask, x, (int)from); }
W long long w_shuffle(unsigned mask, long long x, unsigned from) { return __shfl_sync(mask, x, (int)from); }
W bool w_shuffle(unsigned mask, bool x, unsigned from) { return __shfl_sync(mask, (int)x, (int)from) != 0; }
W f16 w_shuffle(unsigned mask, f16 x, unsigned from) {
    return f16((unsigned short)__shfl_sync(mask, (unsigned)x.bits, (int)from), 0);
}
template <class T> W vec2<T> w_shuffle(unsigned mask, vec2<T> v, unsigned from) {
    return {w_shuffle(mask, v.x, from), w_shuffle(mask, v.y, from)};
}
template <class T> W vec3<T> w_shuffle(unsigned mask, vec3<T> v, unsigned from) {
    return {w_shuffle(mask, v.x, from), w_shuffle(mask, v.y, from), w_shuffle(mask, v.z, from)};
}
template <class T> W vec4<T> w_shuffle(unsigned mask, vec4<T> v, unsigned from) {
    return {w_shuffle(mask, v.x, from), w_shuffle(mask, v.y, from), w_shuffle(mask, v.z, from), w_shuffle(mask, v.w, from)};
}
//: w_lane
W unsigned w_lane() {
    unsigned lane;
    asm("mov.u32 %0, %%laneid;" : "=r"(lane));
    return lane;
}
//: w_from
// Reads of another lane: by number, at a distance, across a mask.
template <class T> W T w_from(T x, unsigned from) { return w_shuffle(__activemask(), x, from); }
//: w_ballot
W vec4<unsigned> w_ballot(bool x) { return {__ballot_sync(__activemask(), x), 0u, 0u, 0u}; }
//: w_subgroup_all
W bool w_subgroup_all(bool x) { return __all_sync(__activemask(), x) != 0; }
//: w_subgroup_any
W bool w_subgroup_any(bool x) { return __any_sync(__activemask(), x) != 0; }
//: w_reduce
// The fold of the active lanes' values: a butterfly when all are active, else one after the other.
template <class T, class F> W T w_reduce(T x, F f) {
    unsigned mask = __activemask();
    if (mask == 0xffffffffu) {
        for (unsigned d = 16; d > 0; d /= 2) x = f(x, w_shuffle(mask, x, w_lane() ^ d));
        return x;
    }
    unsigned rest = mask;
    T r = w_shuffle(mask, x, (unsigned)__ffs((int)rest) - 1u);
    for (rest &= rest - 1u; rest != 0u; rest &= rest - 1u) r = f(r, w_shuffle(mask, x, (unsigned)__ffs((int)rest) - 1u));
    return r;
}
//: w_scan
// The folds of the active lanes up to this one; `start` is what a fold of none gives.
template <class T, class F> W T w_scan(T x, T start, bool inclusive, F f) {
    unsigned mask = __activemask(), lane = w_lane();
    T r = start;
    for (unsigned rest = mask; rest != 0u; rest &= rest - 1u) {
        unsigned from = (unsigned)__ffs((int)rest) - 1u;
        T y = w_shuffle(mask, x, from);
        if (from < lane || (inclusive && from == lane)) r = f(r, y);
    }
    return r;
}
