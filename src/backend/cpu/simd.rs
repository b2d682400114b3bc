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
