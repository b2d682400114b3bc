//! Writing a file so that it is there whole or not at all.

use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use std::io::Write;
use std::path::Path;

/// Writes `parts` one after the other to a new file beside `path`, waits until they are on the disk, and puts the file
/// in the place of `path`. Whatever fails, `path` is as it was and nothing else is left.
///
/// # Errors
/// [`Error::Io`] with `path`.
#[cfg(not(target_arch = "wasm32"))]
pub fn write(path: &Path, parts: &[&[u8]]) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let fail = |source| Error::io(path, source);
    let mut file = builder().tempfile_in(folder).map_err(fail)?;
    for part in parts {
        file.write_all(part).map_err(fail)?;
    }
    file.as_file().sync_all().map_err(fail)?;
    file.persist(path).map_err(|e| fail(e.error))?;
    // The new name lies in the folder; where a folder cannot be opened as a file, the system looks after it.
    match std::fs::File::open(folder) {
        Ok(folder) if cfg!(unix) => folder.sync_all().map_err(fail),
        _ => Ok(()),
    }
}

/// In a browser there are no files.
#[cfg(target_arch = "wasm32")]
pub fn write(path: &Path, _: &[&[u8]]) -> Result<()> {
    Err(Error::io(path, std::io::ErrorKind::Unsupported.into()))
}

/// Temporary files are private by default; a saved model gets the permissions of any new file.
#[cfg(not(target_arch = "wasm32"))]
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".sunstone-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, &[b"one"]).unwrap();
        write(&path, &[b"tw", b"o"]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_names_the_path_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("folder");
        std::fs::create_dir(&occupied).unwrap();
        for path in [occupied.clone(), folder.path().join("missing/a")] {
            let message = write(&path, &[b"x"]).unwrap_err().to_string();
            assert!(message.contains(path.to_str().unwrap()), "{message}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
