//! How loops over blocks become vector instructions: each kernel is compiled twice, and the machine picks one.

/// True when the machine has AVX2.
#[inline]
pub fn wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Copies past the caches. A result that does not fit them anyway is written a third faster so: memory need not be
/// read before it is overwritten. Others may look at `dst` only after a [`fence`].
pub fn stream(src: &[u8], dst: &mut [u8]) {
    #[cfg(target_arch = "x86_64")]
    if wide() {
        // SAFETY: `wide` has just seen the features that the function is compiled for.
        return unsafe { stream_avx2(src, dst) };
    }
    dst.copy_from_slice(src);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn stream_avx2(src: &[u8], dst: &mut [u8]) {
    use std::arch::x86_64::{_mm256_loadu_si256, _mm256_stream_si256};
    let head = dst.as_ptr().align_offset(32).min(dst.len());
    let (first, dst) = dst.split_at_mut(head);
    let (before, src) = src.split_at(head);
    first.copy_from_slice(before);
    let (wide, last) = dst.as_chunks_mut::<32>();
    let (from, after) = src.as_chunks::<32>();
    for (d, s) in wide.iter_mut().zip(from) {
        // SAFETY: both are 32 bytes that belong to us; `d` is aligned to 32 because what lies before it was split off.
        unsafe { _mm256_stream_si256(d.as_mut_ptr().cast(), _mm256_loadu_si256(s.as_ptr().cast())) };
    }
    last.copy_from_slice(after);
}

/// Makes what this thread streamed visible before anything that it does afterwards.
pub fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is part of every x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    };
}

/// Defines a function whose body is compiled for AVX2 as well, and chosen by [`wide`] at each call.
macro_rules! vectorised {
    ($(#[$meta:meta])* pub fn $name:ident$(<$($g:ident: $bound:path),*>)?($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        pub fn $name$(<$($g: $bound),*>)?($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body$(<$($g: $bound),*>)?($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2$(<$($g: $bound),*>)?($($arg: $ty),*) $(-> $ret)? {
                body$(::<$($g),*>)?($($arg),*)
            }

            #[cfg(target_arch = "x86_64")]
            if $crate::backend::cpu::simd::wide() {
                // SAFETY: `wide` has just seen the features that the function is compiled for.
                return unsafe { avx2$(::<$($g),*>)?($($arg),*) };
            }
            body$(::<$($g),*>)?($($arg),*)
        }
    };
}

/// `dst[i] = value of x[i]`, as a loop that the compiler sees whole.
macro_rules! map1 {
    ($dst:ident, |$x:ident| $value:expr) => {
        for (out, &$x) in $dst.iter_mut().zip($x) {
            *out = $value;
        }
    };
}

/// `dst[i] = value of a[i] and b[i]`, either of which may be one element that stands for all.
macro_rules! map2 {
    ($dst:ident, |$a:ident, $b:ident| $value:expr) => {
        if $b.len() == 1 {
            let $b = $b[0];
            map1!($dst, |$a| $value)
        } else if $a.len() == 1 {
            let $a = $a[0];
            map1!($dst, |$b| $value)
        } else {
            for ((out, &$a), &$b) in $dst.iter_mut().zip($a).zip($b) {
                *out = $value;
            }
        }
    };
}

pub(super) use {map1, map2, vectorised};
