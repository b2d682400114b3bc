//! Elements as they lie on devices whose kernels have no type of fewer than 32 bits: bytes become words.

use crate::dtype::DType;
use std::borrow::Cow;

/// Host elements as the device holds them.
pub fn widened(dtype: DType, bytes: &[u8]) -> Cow<'_, [u8]> {
    match dtype {
        DType::U8 => bytes.iter().flat_map(|&b| [b, 0, 0, 0]).collect::<Vec<u8>>().into(),
        DType::Bool => bytes.iter().flat_map(|&b| [(b != 0) as u8, 0, 0, 0]).collect::<Vec<u8>>().into(),
        _ => bytes.into(),
    }
}

#[cfg(feature = "wgpu")]
/// Filled up with zeros to whole words: what is not of 32 bits may end in the middle of one.
pub fn whole_words(bytes: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    if bytes.len().is_multiple_of(4) {
        return bytes;
    }
    let mut bytes = bytes.into_owned();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.into()
}

/// And back: as many elements as `out` has room for, which are all or fewer.
pub fn narrow(dtype: DType, words: &[u8], out: &mut [u8]) {
    match dtype {
        DType::U8 => out.iter_mut().zip(words.iter().step_by(4)).for_each(|(to, &from)| *to = from),
        DType::Bool => out.iter_mut().zip(words.as_chunks().0).for_each(|(to, from)| *to = (*from != [0; 4]) as u8),
        _ => out.copy_from_slice(&words[..out.len()]),
    }
}
