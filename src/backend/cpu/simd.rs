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

/// Elements per strip: what a kernel's innermost loop runs over, its length known to the compiler.
pub const STRIP: usize = 64;

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

/// The strip at `lo` of a source that is either as long as the block or a single element that stands for all.
/// `tail` backs the last, partial strip.
#[inline(always)]
pub fn strip<'a, T: Copy>(
    src: &'a [T],
    splat: &'a [T; STRIP],
    tail: &'a mut [T; STRIP],
    lo: usize,
    count: usize,
) -> &'a [T; STRIP] {
    if src.len() == 1 {
        splat
    } else if let Some(whole) = src[lo..].first_chunk::<STRIP>() {
        whole
    } else {
        tail[..count].copy_from_slice(&src[lo..lo + count]);
        tail
    }
}

/// `dst[i] = expression of src[i]…` over blocks. Written out in the caller, strip by strip, so that the compiler
/// sees a loop of fixed length whatever the operands' lengths are.
macro_rules! map {
    ($dst:ident; $($src:ident),+; $value:expr) => {{
        let total = $dst.len();
        $(let mut $src = ($src, [$src[0]; STRIP], [$src[0]; STRIP]);)+
        let mut spare = [bytemuck::Zeroable::zeroed(); STRIP];
        let mut lo = 0;
        while lo < total {
            let count = (total - lo).min(STRIP);
            $(let $src = strip($src.0, &$src.1, &mut $src.2, lo, count);)+
            let whole = count == STRIP;
            let out: &mut [_; STRIP] = match $dst[lo..].first_chunk_mut::<STRIP>() {
                Some(strip) => strip,
                None => &mut spare,
            };
            for i in 0..STRIP {
                $(let $src = $src[i];)+
                out[i] = $value;
            }
            if !whole {
                $dst[lo..lo + count].copy_from_slice(&spare[..count]);
            }
            lo += STRIP;
        }
    }};
}

pub(super) use {map, vectorised};
