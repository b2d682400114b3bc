//! What compilers gave, kept on disk for the next start: a file for each key, whole or not used.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// Larger files are not ours.
const MAX_BYTES: u64 = 1 << 30;

/// The file for a key of this kind: in `SUNSTONE_CACHE`, else in the user's folder for such things.
pub fn path(kind: &str, key: &str) -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let user = || var("XDG_CACHE_HOME").or_else(|| var("LOCALAPPDATA")).or_else(|| Some(var("HOME")?.join(".cache")));
    let folder = var("SUNSTONE_CACHE").or_else(|| Some(user()?.join("sunstone")))?;
    Some(folder.join(kind).join(file_name(key)))
}

fn file_name(key: &str) -> String {
    format!("{:016x}{:016x}.bin", hash(&(0u8, key)), hash(&(1u8, key)))
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// The content of a file, if the file is whole and of this key: both lengths, the content's hash, the key, the content.
pub fn stored(path: &Path, key: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MAX_BYTES).read_to_end(&mut bytes).ok()?;
    let (head, rest) = bytes.split_first_chunk::<24>()?;
    let (own, content) = rest.split_at_checked(key.len())?;
    (*head == header(key, content) && own == key.as_bytes()).then(|| content.to_vec())
}

fn header(key: &str, content: &[u8]) -> [u8; 24] {
    let words = [key.len() as u64, content.len() as u64, hash(&content)];
    std::array::from_fn(|i| words[i / 8].to_le_bytes()[i % 8])
}

/// Under another name first, so that no other process sees half a file.
pub fn store(path: &Path, key: &str, content: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    for part in [&header(key, content)[..], key.as_bytes(), content] {
        file.write_all(part)?;
    }
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_found_by_its_own_key_only_and_only_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep").join(file_name("key"));
        store(&path, "key", b"code").unwrap();
        assert_eq!(stored(&path, "key").as_deref(), Some(&b"code"[..]));
        assert_eq!(stored(&path, "kez"), None);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(stored(&path, "key"), None, "cut off");
        let mut other = bytes.clone();
        *other.last_mut().unwrap() ^= 1;
        std::fs::write(&path, other).unwrap();
        assert_eq!(stored(&path, "key"), None, "a bit has turned");
        std::fs::write(&path, bytes).unwrap();
        assert!(stored(&path, "key").is_some());
    }
}
