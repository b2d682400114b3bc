//! What is in an idx file, MNIST's format (LeCun, Cortes, Burges, 1998), and is it what it says it is?
//!
//! A file is a magic number (two zero bytes, the element type, the number of axes), the sizes as big-endian `u32`, and
//! the elements. Nothing is believed before it is read: no buffer is larger than the bytes that are really there.

use super::images::{DigitsSplit, Images};
use super::order::permutation;
use crate::error::{Error, Result};
use flate2::bufread::GzDecoder;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Deflate makes at most 258 bytes of two bits: no honest gzip holds more than this many times its own size.
const DEFLATE_MAX_RATIO: u64 = 1032;
const UNSIGNED_BYTE: u8 = 0x08;
const DIGIT_SIDE: usize = 28;
/// Which tenth of a lone t10k pair is held out must not change with the user's seed.
const SPLIT_SEED: u64 = 10_000;

/// An array of unsigned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdxArray {
    /// The sizes of its axes, outermost first.
    pub dims: Vec<usize>,
    /// Its elements in row-major order; as many as the product of `dims`.
    pub data: Vec<u8>,
}

/// Reads an idx file of unsigned bytes, plain or gzip (told apart by content, not by name).
///
/// [`Error::Io`] when the file cannot be opened or read; [`Error::Malformed`] when it is truncated, is no idx file, or
/// holds another number of bytes than its header declares.
pub fn read(path: impl AsRef<Path>) -> Result<IdxArray> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let metadata = file.metadata().map_err(|e| Error::io(path, e))?;
    // A pipe has no size to check a claim against.
    let size = if metadata.is_file() { metadata.len() } else { u64::MAX };
    let mut reader = BufReader::new(file);
    let start = reader.fill_buf().map_err(|e| Error::io(path, e))?;
    if start.starts_with(&GZIP_MAGIC) {
        parse(GzDecoder::new(reader), size.saturating_mul(DEFLATE_MAX_RATIO)).map_err(|e| e.at(path, true))
    } else {
        parse(reader, size).map_err(|e| e.at(path, false))
    }
}

/// [`read`] from memory; `path` is the name that errors tell.
///
/// # Errors
/// [`Error::Malformed`] as for [`read`].
pub fn from_bytes(bytes: &[u8], path: impl AsRef<Path>) -> Result<IdxArray> {
    let (path, size) = (path.as_ref(), bytes.len() as u64);
    if bytes.starts_with(&GZIP_MAGIC) {
        parse(GzDecoder::new(bytes), size.saturating_mul(DEFLATE_MAX_RATIO)).map_err(|e| e.at(path, true))
    } else {
        parse(bytes, size).map_err(|e| e.at(path, false))
    }
}

/// Why [`parse`] stopped, before it is known for which file.
enum Fault {
    Read(io::Error),
    Content(String),
}

impl Fault {
    fn at(self, path: &Path, gzip: bool) -> Error {
        match self {
            Fault::Content(detail) => Error::malformed(path, detail),
            Fault::Read(e) => match e.kind() {
                ErrorKind::UnexpectedEof if gzip => Error::malformed(path, "truncated gzip: the file ends too early"),
                ErrorKind::UnexpectedEof => Error::malformed(path, "truncated: the file ends inside its header"),
                ErrorKind::InvalidData | ErrorKind::InvalidInput => {
                    Error::malformed(path, format!("corrupt gzip: {e}"))
                }
                _ => Error::io(path, e),
            },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(e: io::Error) -> Fault {
        Fault::Read(e)
    }
}

/// `ceiling` is a number of bytes that `reader` cannot exceed.
fn parse(mut reader: impl Read, ceiling: u64) -> Result<IdxArray, Fault> {
    let mut magic = [0; 4];
    reader.read_exact(&mut magic)?;
    let [0, 0, kind, rank] = magic else {
        return Err(Fault::Content(format!("no idx file: it starts with {magic:02x?}, not with two zero bytes")));
    };
    if kind != UNSIGNED_BYTE {
        return Err(Fault::Content(format!(
            "its elements are of type {kind:#04x}; only unsigned bytes (0x08) are read"
        )));
    }
    if rank == 0 {
        return Err(Fault::Content("its header declares no axes".into()));
    }
    let mut dims = Vec::new();
    for _ in 0..rank {
        let mut size = [0; 4];
        reader.read_exact(&mut size)?;
        dims.push(u32::from_be_bytes(size) as usize);
    }
    let data = read_elements(reader, &dims, ceiling)?;
    Ok(IdxArray { dims, data })
}

/// Reads as many bytes as `dims` declare, or says how many there are instead.
fn read_elements(mut reader: impl Read, dims: &[usize], ceiling: u64) -> Result<Vec<u8>, Fault> {
    let declared = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64));
    let lie = |found: &str| {
        let sizes: Vec<String> = dims.iter().map(usize::to_string).collect();
        let total = declared.map_or("more than 2^64".to_owned(), |n| n.to_string());
        let sizes = sizes.join("×");
        Fault::Content(format!("its header declares {sizes} elements ({total} bytes), but {found} bytes follow it"))
    };
    let Some(size) = declared.filter(|&n| n <= ceiling) else {
        // The claim cannot be true: count what is there without keeping it.
        let found = io::copy(&mut reader, &mut io::sink())?;
        return Err(lie(&found.to_string()));
    };
    let mut data = Vec::new();
    // One byte more than declared shows whether there is more, and makes gzip check its checksum.
    reader.take(size.saturating_add(1)).read_to_end(&mut data)?;
    match (data.len() as u64).cmp(&size) {
        std::cmp::Ordering::Less => Err(lie(&data.len().to_string())),
        std::cmp::Ordering::Equal => Ok(data),
        std::cmp::Ordering::Greater => Err(lie("more")),
    }
}

/// Reads MNIST from a folder with its four files, plain or with `.gz` behind their names. Where only the `t10k` pair is
/// there, nine tenths of it, chosen once and for all, become the training set.
///
/// [`Error::Io`] names a folder or file that is missing; [`Error::Malformed`] names a file that is not what MNIST's
/// should be (28×28 pictures, as many labels, each 0 to 9).
pub fn mnist(dir: &Path) -> Result<DigitsSplit> {
    fs::read_dir(dir).map_err(|e| Error::io(dir, e))?;
    let has_train = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"].map(|name| find(dir, name).is_ok());
    if has_train.contains(&true) {
        let (_, train) = pair(dir, "train")?;
        let (_, test) = pair(dir, "t10k")?;
        return Ok(DigitsSplit { train, test, source: format!("MNIST in {}", dir.display()) });
    }
    let (path, all) = pair(dir, "t10k")?;
    hold_out(&path, &all, &format!("MNIST's t10k in {}", dir.display()))
}

/// MNIST from files in memory, with their names, in any order. Shapes tell pictures from labels, and `train` in its name
/// a file to learn from. Where there is only one pair, nine tenths of it become the training set.
///
/// # Errors
/// [`Error::Malformed`] names a file that is not what MNIST's should be; [`Error::Invalid`] says which is missing.
pub fn mnist_files(files: &[(String, Vec<u8>)]) -> Result<DigitsSplit> {
    let mut found: [[Option<(PathBuf, IdxArray)>; 2]; 2] = Default::default();
    for (name, bytes) in files {
        let array = from_bytes(bytes, name)?;
        let (role, kind) = (usize::from(!name.contains("train")), usize::from(array.dims.len() == 1));
        found[role][kind] = Some((name.into(), array));
    }
    let join = |[images, labels]: [Option<(PathBuf, IdxArray)>; 2]| match (images, labels) {
        (None, None) => Ok(None),
        (Some((image_path, images)), Some((label_path, labels))) => {
            let all = labelled(&image_path, images, &label_path, labels)?;
            Ok(Some((image_path, all)))
        }
        (Some((path, _)), None) => Err(Error::Invalid(format!("the labels of {} are missing", path.display()))),
        (None, Some((path, _))) => Err(Error::Invalid(format!("the pictures of {} are missing", path.display()))),
    };
    let [train, test] = found;
    match (join(train)?, join(test)?) {
        (Some((_, train)), Some((_, test))) => Ok(DigitsSplit { train, test, source: "MNIST".into() }),
        (Some((path, all)), None) | (None, Some((path, all))) => hold_out(&path, &all, &path.display().to_string()),
        (None, None) => Err(Error::Invalid("no files".into())),
    }
}

/// Nine tenths of `all` to learn from, chosen once and for all.
fn hold_out(path: &Path, all: &Images, source: &str) -> Result<DigitsSplit> {
    if all.len() < 2 {
        return Err(Error::malformed(path, "holds one picture; two are needed to train and to test"));
    }
    let order = permutation(all.len(), SPLIT_SEED, 0);
    let (train, test) = order.split_at(all.len() * 9 / 10);
    let source = format!("{source}, split {} to {}", train.len(), test.len());
    Ok(DigitsSplit { train: all.select(train), test: all.select(test), source })
}

/// The path of `name` in `dir`, or of `name.gz`.
fn find(dir: &Path, name: &str) -> Result<PathBuf> {
    let plain = dir.join(name);
    let candidates = [plain.clone(), dir.join(format!("{name}.gz"))];
    let missing = || Error::io(plain, io::Error::new(ErrorKind::NotFound, "missing, and so is the same with .gz"));
    candidates.into_iter().find(|path| path.is_file()).ok_or_else(missing)
}

/// The pictures and labels whose files start with `prefix`, and the path of the pictures.
fn pair(dir: &Path, prefix: &str) -> Result<(PathBuf, Images)> {
    let image_path = find(dir, &format!("{prefix}-images-idx3-ubyte"))?;
    let label_path = find(dir, &format!("{prefix}-labels-idx1-ubyte"))?;
    let all = labelled(&image_path, read(&image_path)?, &label_path, read(&label_path)?)?;
    Ok((image_path, all))
}

/// Pictures with their labels.
fn labelled(image_path: &Path, images: IdxArray, label_path: &Path, labels: IdxArray) -> Result<Images> {
    let &[count, DIGIT_SIDE, DIGIT_SIDE] = &images.dims[..] else {
        let detail = format!("holds an array of shape {:?}, not of [N, 28, 28]", images.dims);
        return Err(Error::malformed(image_path, detail));
    };
    if labels.dims != [count] {
        let detail = format!("holds labels of shape {:?}, but there are {count} pictures", labels.dims);
        return Err(Error::malformed(label_path, detail));
    }
    if count == 0 {
        return Err(Error::malformed(image_path, "holds no pictures"));
    }
    if let Some(i) = labels.data.iter().position(|&label| label > 9) {
        let detail = format!("label {i} is {}, not a digit from 0 to 9", labels.data[i]);
        return Err(Error::malformed(label_path, detail));
    }
    Ok(Images { height: DIGIT_SIDE, width: DIGIT_SIDE, pixels: images.data, labels: labels.data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    fn encode(dims: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, UNSIGNED_BYTE, dims.len() as u8];
        dims.iter().for_each(|d| bytes.extend(d.to_be_bytes()));
        bytes.extend_from_slice(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read_bytes(bytes: &[u8]) -> Result<IdxArray> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        read(file.path())
    }

    /// The detail of the `Malformed` error that reading `bytes` must give.
    fn complaint(bytes: &[u8]) -> String {
        match read_bytes(bytes) {
            Err(Error::Malformed { detail, .. }) => detail,
            other => panic!("expected Malformed, got {other:?}"),
        }
    }

    /// A folder with a pair of `count` pictures under `prefix`.
    fn write_pair(dir: &Path, prefix: &str, count: usize, labels: &[u8]) {
        let pixels: Vec<u8> = (0..count * 784).map(|i| (i / 784) as u8).collect();
        let images = encode(&[count as u32, 28, 28], &pixels);
        fs::write(dir.join(format!("{prefix}-images-idx3-ubyte.gz")), gzip(&images)).unwrap();
        fs::write(dir.join(format!("{prefix}-labels-idx1-ubyte")), encode(&[labels.len() as u32], labels)).unwrap();
    }

    #[test]
    fn plain_and_gzip_read_the_same() {
        let bytes = encode(&[2, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = IdxArray { dims: vec![2, 3], data: vec![1, 2, 3, 4, 5, 6] };
        assert_eq!(read_bytes(&bytes).unwrap(), expected);
        assert_eq!(read_bytes(&gzip(&bytes)).unwrap(), expected);
        assert!(read_bytes(&encode(&[0, 3], &[])).unwrap().data.is_empty());
    }

    #[test]
    fn a_gzip_cut_anywhere_is_called_truncated() {
        let noise: Vec<u8> = (0..500u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let whole = gzip(&encode(&[500], &noise));
        for cut in 2..whole.len() {
            let detail = complaint(&whole[..cut]);
            assert!(detail.contains("truncated gzip"), "cut at {cut} of {}: {detail}", whole.len());
        }
    }

    #[test]
    fn a_damaged_gzip_is_seen() {
        let mut bytes = gzip(&encode(&[500], &[7; 500]));
        let crc = bytes.len() - 8;
        bytes[crc] ^= 1;
        assert!(complaint(&bytes).contains("corrupt gzip"));
    }

    #[test]
    fn a_plain_file_cut_in_its_header_is_called_truncated() {
        let bytes = encode(&[2, 3], &[]);
        for cut in 0..bytes.len() {
            assert!(complaint(&bytes[..cut]).contains("truncated"), "cut at {cut}");
        }
    }

    #[test]
    fn lying_headers_name_both_sizes() {
        for wrap in [|b: &[u8]| b.to_vec(), gzip as fn(&[u8]) -> Vec<u8>] {
            let short = complaint(&wrap(&encode(&[10, 2], &[0; 13])));
            assert!(short.contains("10×2 elements (20 bytes), but 13 bytes follow"), "{short}");
            let huge = complaint(&wrap(&encode(&[u32::MAX, 28, 28], &[0; 13])));
            assert!(huge.contains("(3367254359280 bytes), but 13 bytes follow"), "{huge}");
            let overflow = complaint(&wrap(&encode(&[u32::MAX; 5], &[0; 13])));
            assert!(overflow.contains("more than 2^64") && overflow.contains("but 13 bytes follow"), "{overflow}");
            let long = complaint(&wrap(&encode(&[4], &[0; 5])));
            assert!(long.contains("(4 bytes), but more bytes follow"), "{long}");
        }
    }

    #[test]
    fn other_magic_numbers_are_refused() {
        assert!(complaint(b"\x89PNG\r\n").contains("no idx file"));
        assert!(complaint(&[0, 0, 0x0d, 1, 0, 0, 0, 0]).contains("type 0x0d"));
        assert!(complaint(&[0, 0, 8, 0]).contains("no axes"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = |result: Result<DigitsSplit>, name: &str| match result {
            Err(Error::Io { path, source }) => {
                assert_eq!(source.kind(), ErrorKind::NotFound);
                assert_eq!(path, dir.path().join(name));
            }
            other => panic!("expected Io, got {other:?}"),
        };
        missing(mnist(&dir.path().join("absent")), "absent");
        missing(mnist(dir.path()), "t10k-images-idx3-ubyte");
        write_pair(dir.path(), "t10k", 2, &[0, 1]);
        fs::write(dir.path().join("train-images-idx3-ubyte"), b"").unwrap();
        missing(mnist(dir.path()), "train-labels-idx1-ubyte");
        assert!(matches!(read(dir.path().join("absent")), Err(Error::Io { .. })));
        assert!(matches!(mnist(&dir.path().join("train-images-idx3-ubyte")), Err(Error::Io { .. })));
    }

    #[test]
    fn labels_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let detail = || match mnist(dir.path()) {
            Err(Error::Malformed { path, detail }) => {
                assert_eq!(path, dir.path().join("t10k-labels-idx1-ubyte"));
                detail
            }
            other => panic!("expected Malformed, got {other:?}"),
        };
        write_pair(dir.path(), "t10k", 3, &[0, 10, 2]);
        assert_eq!(detail(), "label 1 is 10, not a digit from 0 to 9");
        write_pair(dir.path(), "t10k", 3, &[0, 1]);
        assert!(detail().contains("but there are 3 pictures"));
    }

    #[test]
    fn a_lone_pair_is_split_nine_to_one_and_a_full_set_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let labels: Vec<u8> = (0..50).map(|i| i % 10).collect();
        write_pair(dir.path(), "t10k", 50, &labels);
        let split = mnist(dir.path()).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (45, 5));
        assert_eq!(split, mnist(dir.path()).unwrap());
        let mut numbers: Vec<u8> = [&split.train, &split.test]
            .iter()
            .flat_map(|images| (0..images.len()).map(|i| (images.image(i)[783], images.labels[i])))
            .map(|(number, label)| {
                assert_eq!(number % 10, label, "a picture lost its label");
                number
            })
            .collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..50));

        write_pair(dir.path(), "train", 20, &labels[..20]);
        let split = mnist(dir.path()).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (20, 50));
        assert_eq!(split.test.labels, labels);
    }

    #[test]
    fn real_mnist() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/mnist");
        if !dir.join("t10k-images-idx3-ubyte.gz").is_file() || dir.join("train-images-idx3-ubyte.gz").is_file() {
            return println!("skipped: the lone t10k pair in {} is missing", dir.display());
        }
        let split = mnist(&dir).unwrap();
        assert_eq!((split.train.len(), split.test.len()), (9_000, 1_000));
        let mut counts = [0; 10];
        split.train.labels.iter().chain(&split.test.labels).for_each(|&label| counts[label as usize] += 1);
        assert_eq!(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);

        let whole = fs::read(dir.join("t10k-images-idx3-ubyte.gz")).unwrap();
        for cut in [2, 11, 1_000, whole.len() / 2, whole.len() - 1] {
            assert!(complaint(&whole[..cut]).contains("truncated gzip"), "cut at {cut}");
        }
    }
}
