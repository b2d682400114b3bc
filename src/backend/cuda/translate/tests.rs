//! Translations as they are, and that NVRTC takes them where there is an NVRTC.

use super::*;
use crate::backend::cuda::{library, nvrtc};
use naga::valid::{Capabilities, ValidationFlags, Validator};

fn translated(wgsl: &str, options: &Options) -> Result<Translated> {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    let info = validator.validate(&module).unwrap_or_else(|e| panic!("{}", e.emit_to_string(wgsl)));
    translate(&module, &info, "main", options)
}

/// Translates in every way that there is, and compiles what comes out if NVRTC is there.
fn compiles(wgsl: &str) {
    for trusted in [false, true] {
        for uniforms in [Uniforms::Pointer, Uniforms::Value] {
            let cuda = translated(wgsl, &Options { trusted, uniforms }).unwrap();
            if let Err(why) = library::nvrtc() {
                println!("not compiled: {why}");
                continue;
            }
            let target = nvrtc::Target { architecture: 90, fused: trusted };
            nvrtc::machine_code(&cuda.source, target).unwrap_or_else(|e| panic!("{e}\n{}", cuda.source));
        }
    }
}

/// The text without the prelude.
fn own_text(wgsl: &str) -> String {
    let options = Options { trusted: true, uniforms: Uniforms::Value };
    let cuda = translated(wgsl, &options).unwrap();
    // The prelude is closed under mention, so it needs no more than the whole text does.
    let start = prelude::prelude_for(&cuda.source).len();
    let own = &cuda.source[start..];
    format!("{}\n{:?}\n{:?}\n", own.trim(), cuda.params, cuda.workgroup)
}

/// A compute module whose body is `body`, over a few buffers.
fn with_body(body: &str) -> String {
    format!(
        "enable f16;
         struct Inner {{ a: vec3<f32>, b: f32, c: vec2<u32>, m: mat3x3<f32> }}
         struct Tail {{ count: u32, at: vec3<f32>, rest: array<vec3<f32>> }}
         @group(0) @binding(0) var<storage, read_write> f: array<f32>;
         @group(0) @binding(1) var<storage, read_write> u: array<u32>;
         @group(0) @binding(2) var<storage, read_write> i: array<i32>;
         @group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
         @group(0) @binding(4) var<storage, read_write> h: array<vec2<f16>>;
         @group(0) @binding(5) var<storage, read_write> counts: array<atomic<u32>, 4>;
         @group(0) @binding(6) var<storage, read_write> signed_count: atomic<i32>;
         @group(0) @binding(7) var<storage, read> inner: array<Inner, 3>;
         @group(0) @binding(8) var<storage, read_write> tail: Tail;
         @group(1) @binding(0) var<uniform> num: array<vec4<u32>, 2>;
         var<workgroup> shared_words: array<vec3<f32>, 64>;
         var<workgroup> shared_count: atomic<u32>;
         var<private> own: vec2<f32> = vec2<f32>(1.0, 2.0);
         const TABLE = array<u32, 3>(5u, 6u, 7u);
         const SCALE = 1.5;
         @compute @workgroup_size(8, 4, 2)
         fn main(@builtin(global_invocation_id) gid: vec3<u32>, @builtin(local_invocation_index) id: u32,
                 @builtin(num_workgroups) groups: vec3<u32>, @builtin(workgroup_id) group: vec3<u32>,
                 @builtin(local_invocation_id) lid: vec3<u32>) {{
             let g = gid.x + gid.y * groups.x + lid.z + group.y;
             {body}
         }}"
    )
}

#[test]
fn integers_follow_wgsl() {
    compiles(&with_body(
        "let a = i[g]; let b = i[g + 1u]; let c = u[g]; let d = u[g + 1u];
         i[0] = a + b; i[1] = a - b; i[2] = a * b; i[3] = a / b; i[4] = a % b; i[5] = -a; i[6] = ~a; i[7] = a << d;
         i[8] = a >> d; i[9] = a & b; i[10] = a | b; i[11] = a ^ b; i[12] = abs(a); i[13] = min(a, b); i[14] = max(a, b);
         i[15] = clamp(a, b, 7); i[16] = sign(a); i[17] = countOneBits(a); i[18] = reverseBits(a);
         i[19] = extractBits(a, c, d); i[20] = insertBits(a, b, c, d); i[21] = firstLeadingBit(a);
         i[22] = firstTrailingBit(a); i[23] = countLeadingZeros(a) + countTrailingZeros(a); i[24] = -2147483647 - 1;
         u[0] = c + d; u[1] = c / d; u[2] = c % d; u[3] = c << d; u[4] = c >> d; u[5] = ~c; u[6] = min(c, d);
         u[7] = firstLeadingBit(c) + firstTrailingBit(c); u[8] = dot(vec3<u32>(c), vec3<u32>(d, c, 1u));
         i[25] = dot(vec2<i32>(a, b), vec2<i32>(b)); let w = vec4<i32>(a, b, a, 1) / vec4<i32>(b); i[26] = w.x + w.w;
         let s = vec2<u32>(c, d) << vec2<u32>(1u, d); u[9] = s.x ^ s.y; let x = vec3<i32>(a) % 3; i[27] = x.z;
         u[10] = u32(a) + u32(f[0]) + u32(a < b) + u32(bool(c)); i[28] = i32(f[1]) + i32(c); u[11] = TABLE[g % 3u];
         let e = extractBits(vec2<u32>(c, d), 3u, 4u); u[12] = e.y; f[3] = f32(a) + f32(c) + f32(a == b);",
    ));
}

#[test]
fn floats_vectors_and_matrices() {
    compiles(&with_body(
        "let a = f[g]; let b = f[g + 1u]; let x = v[g]; let y = v[g + 1u]; var z = x.zyx; z[g % 3u] = a;
         f[0] = a + b * SCALE - a / b; f[1] = a % b; f[2] = select(a, b, a < b); f[3] = -a; f[4] = fma(a, b, 1.0);
         f[5] = dot(x, y) + length(x) + distance(z, z.yxz) + length(a); f[6] = cross(z, z.zxy).x; f[7] = normalize(x).w;
         f[8] = mix(a, b, 0.5) + smoothstep(0.0, 1.0, a) + step(a, b) + saturate(a) + fract(a) + trunc(a) + round(b);
         f[9] = sin(a) + cos(a) + tan(a) + asin(a) + acos(a) + atan(a) + atan2(a, b) + sinh(a) + cosh(a) + tanh(a);
         f[10] = asinh(a) + acosh(a) + atanh(a) + exp(a) + exp2(a) + log(a) + log2(a) + pow(a, b) + sqrt(a);
         f[11] = inverseSqrt(a) + floor(a) + ceil(a) + sign(a) + radians(a) + degrees(a) + quantizeToF16(a);
         let m = modf(a); f[12] = m.fract + m.whole; let e = frexp(a); f[13] = e.fract; i[0] = e.exp;
         let m3 = modf(x); f[14] = m3.fract.x; let e2 = frexp(x.xy); i[1] = e2.exp.y; f[15] = ldexp(a, 3);
         let p = mat2x3<f32>(z, z.zyx); let q = transpose(p); f[16] = (p * q)[1][g % 3u] + (q * z).x + (z * p).y;
         f[17] = determinant(p * q) + (p * 2.0)[0].x + (2.0 * p + p - p)[1].z; own += x.xy; f[18] = own.x;
         let r = reflect(z, z) + refract(z, z, 0.5) + faceForward(z, z, z); f[19] = r.x; let t = max(x, vec4(0.0)) * 2.0;
         f[20] = t.x + min(x, y).y + clamp(x, vec4(0.0), y).z; let k = select(x, y, x < y); f[21] = k.w;
         f[22] = f32(all(x < y)) + f32(any(x == y)) + mix(x, y, 0.25).x; let n = vec4<f32>(x.xy, z.zy); f[23] = n[g & 3u];
         u[0] = bitcast<u32>(a) + bitcast<vec4<u32>>(x).y; f[24] = bitcast<f32>(u[1]);
         u[2] = pack4x8snorm(x) ^ pack4x8unorm(x) ^ pack2x16snorm(x.xy) ^ pack2x16unorm(x.xy) ^ pack2x16float(x.xy);
         u[3] = pack4xI8(vec4<i32>(i[0])) ^ pack4xU8(vec4<u32>(u[0])) ^ pack4xI8Clamp(vec4<i32>(i[1]));
         f[25] = unpack4x8snorm(u[0]).x + unpack4x8unorm(u[0]).y + unpack2x16snorm(u[0]).x + unpack2x16unorm(u[0]).y;
         f[26] = unpack2x16float(u[0]).x + f32(unpack4xI8(u[0]).x) + f32(unpack4xU8(u[0]).y);
         u[4] = dot4U8Packed(u[0], u[1]); i[2] = dot4I8Packed(u[0], u[1]); f[27] = 1e-30 + 3.4028235e38;",
    ));
}

#[test]
fn halves() {
    compiles(&with_body(
        "let a = h[g]; let b = a.x * a.y + 1.5h; h[0] = vec2<f16>(b, -b) / a; h[1] = max(a, vec2<f16>(0.0h));
         f[0] = f32(exp(b)) + f32(a.y); h[2] = vec2<f16>(f16(f[1]), select(a.x, a.y, a.x < a.y)); h[3] = fma(a, a, a);
         i[0] = i32(b); h[5] = vec2<f16>(f16(i[1]), abs(b));
         let p = sqrt(a) + mix(a, a, 0.5h); h[6] = p; f[1] = vec2<f32>(p).x; h[7] = sign(a) + floor(a) + dot(a, a);",
    ));
}

#[test]
fn memory_atomics_and_structures() {
    compiles(&with_body(
        "let before = atomicAdd(&counts[g & 3u], 2u); atomicSub(&counts[0], 1u); atomicMax(&counts[1], before);
         atomicMin(&signed_count, -3); atomicAnd(&counts[2], 7u); atomicOr(&counts[2], 8u); atomicXor(&counts[2], 9u);
         atomicStore(&shared_count, 0u); workgroupBarrier(); let was = atomicExchange(&shared_count, 5u);
         let r = atomicCompareExchangeWeak(&counts[3], was, before); if (r.exchanged) { u[0] = r.old_value; }
         let s = atomicCompareExchangeWeak(&signed_count, 1, 2); i[0] = s.old_value + atomicLoad(&signed_count);
         shared_words[id] = vec3<f32>(f32(g), 1.0, 2.0); workgroupBarrier(); storageBarrier();
         let w = shared_words[id ^ 1u]; var one = inner[g % 3u]; one.a = w; one.m[1] = w; one.b = one.m[g % 3u][2];
         f[0] = one.a.x + one.b + inner[1].m[2].y + f32(inner[g % 3u].c.x); tail.rest[g] = w; tail.at.y = 3.0;
         tail.count = arrayLength(&tail.rest) + arrayLength(&f); let all = one; f[1] = all.m[0].x + all.a.z;
         u[2] = num[1].y + num[g & 1u][g & 3u]; var list = array<vec3<f32>, 2>(w, w.zyx); list[g & 1u].x = 4.0;
         f[2] = list[0].x + list[g & 1u].y; let copy = Inner(w, 1.0, vec2<u32>(1u), mat3x3<f32>(w, w, w)); f[3] = copy.b;
         let uniform_word = workgroupUniformLoad(&shared_words[3]); f[4] = uniform_word.z;",
    ));
}

#[test]
fn control_flow() {
    compiles(
        &(with_body(
            "var total = 0u; for (var k = 0u; k < g; k++) { if (k == 3u) { continue; } let twice = 2u * k;
                 for (var j = 0u; j < twice; j += 2u) { if (j == u[k]) { break; } total += j; } }
             loop { total += 1u; if (total > 9u) { break; } if (total == 5u) { continue; } let next = total * 2u;
                 continuing { total = next - 1u; break if total > 100u; } }
             while (total > 7u) { total /= 2u; }
             switch (total) { case 1u, 2u: { u[0] = 1u; } case 3u: { if (g == 0u) { break; } u[0] = 3u; }
                 default: { u[0] = 9u; } }
             for (var k = 0; k < 4; k++) { switch (k) { case 1: { continue; } default: { i[k] = k; } } }
             var local = f[0]; bump(&local, 2.0); f[1] = local + helper(g) + helper_of_own(); if (g > 3u) { return; } u[3] = total;",
        ) + "fn bump(x: ptr<function, f32>, by: f32) { *x += by; own.x = *x; }
             fn helper(at: u32) -> f32 { if (at < arrayLength(&f)) { return f[at]; } return 0.0; }
             fn helper_of_own() -> f32 { own.y += 1.0; return own.x + helper(2u); }"),
    );
}

#[test]
fn subgroups() {
    compiles(
        "
         @group(0) @binding(0) var<storage, read_write> f: array<f32>;
         @group(0) @binding(1) var<storage, read_write> u: array<vec4<u32>>;
         @compute @workgroup_size(64)
         fn main(@builtin(local_invocation_index) id: u32, @builtin(subgroup_size) size: u32,
                 @builtin(subgroup_invocation_id) lane: u32, @builtin(subgroup_id) which: u32,
                 @builtin(num_subgroups) count: u32) {
             let x = f[id];
             f[0] = subgroupAdd(x) + subgroupMul(x) + subgroupMax(x) + subgroupMin(x) + subgroupInclusiveAdd(x);
             f[1] = subgroupExclusiveAdd(x) + subgroupExclusiveMul(x) + subgroupBroadcast(x, 3u) + subgroupBroadcastFirst(x);
             f[2] = subgroupShuffle(x, lane) + subgroupShuffleXor(x, 1u) + subgroupShuffleUp(x, 1u) + subgroupShuffleDown(x, 2u);
             f[3] = quadSwapX(x) + quadSwapDiagonal(x) + quadBroadcast(x, 2u); u[0] = subgroupBallot(x > 0.0);
             u[1] = subgroupAnd(u[2]) | subgroupOr(u[3]) ^ subgroupXor(u[4]); subgroupBarrier();
             if (subgroupAll(x > 0.0) || subgroupAny(x < 1.0)) { f[4] = f32(size + which + count); }
         }",
    );
}

#[test]
fn a_translation_as_it_is() {
    let text = own_text(
        "struct Pair { at: vec3<f32>, weight: f32 }
         @group(0) @binding(1) var<storage, read> pairs: array<Pair>;
         @group(0) @binding(0) var<storage, read_write> out: array<f32>;
         @group(0) @binding(2) var<uniform> num: array<vec4<u32>, 1>;
         var<workgroup> partial: array<f32, 64>;
         fn weighed(p: Pair, by: i32) -> f32 { return dot(p.at, vec3<f32>(1.0)) * p.weight + f32(by * 3 << 2u); }
         @compute @workgroup_size(64)
         fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) id: u32) {
             var sum = 0.0;
             for (var i = id; i < num[0].x; i += 64u) {
                 sum += weighed(pairs[i], i32(i) - 1);
             }
             partial[id] = sum;
             workgroupBarrier();
             if (id == 0u) { out[group.x] = partial[0] + partial[1] + f32(arrayLength(&pairs)); }
         }",
    );
    insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!("weighed_sum", text);
    });
}

#[test]
fn what_cuda_lacks_is_named() {
    let wgsl = "@group(0) @binding(0) var t: texture_2d<f32>;
        @group(0) @binding(1) var<storage, read_write> f: array<f32>;
        @compute @workgroup_size(1) fn main() { f[0] = textureLoad(t, vec2<i32>(0), 0).x; }";
    let message = translated(wgsl, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("textures"), "{message}");
    let wgsl = "override N = 3u; @group(0) @binding(0) var<storage, read_write> u: array<u32>;
        @compute @workgroup_size(1) fn main() { u[0] = N; }";
    let message = translated(wgsl, &Options::default()).unwrap_err().to_string();
    assert!(message.contains("overrides"), "{message}");
    let wgsl = "@compute @workgroup_size(1) fn other() {}";
    assert_eq!(translated(wgsl, &Options::default()), Err(TranslateError::NoEntryPoint("main".into())));
}
