//! The one error type of the crate.
//!
//! Tensor ops do not return `Result`: a failed op gives a tensor that carries its [`Error`], and the first fallible
//! call (`to_vec`, `item`, `realize`, `backward`, …) returns it. Everything else returns [`Result`] directly.

use std::cell::RefCell;
use std::fmt;
use std::panic::Location;
use std::path::PathBuf;
use std::sync::Arc;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Cheap to clone, because an errored tensor hands it on to every tensor made from it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op was given shapes, dtypes, devices or arguments that it cannot take.
    #[error("{op}: {detail} ({at})")]
    Op { op: &'static str, detail: String, at: Caller },
    /// An index read by a kernel lay outside its axis.
    #[error("{op}: index {index} is out of range for an axis of size {size} ({at})")]
    IndexOutOfRange { op: &'static str, index: i64, size: usize, at: Caller },
    /// No device of that name.
    #[error("unknown device '{name}'; this machine has: {known}")]
    UnknownDevice { name: String, known: String },
    /// The device lacks something that was asked of it.
    #[error("{device} does not support {what}")]
    Unsupported { device: String, what: String },
    /// The device has no room left, or grants no buffer of this size.
    #[error("{device} is out of memory: {requested} bytes requested, {reserved} bytes reserved; {detail}")]
    OutOfMemory { device: String, requested: u64, reserved: u64, detail: String },
    /// The device is gone; what it held is lost.
    #[error("{device} was lost: {reason}")]
    DeviceLost { device: String, reason: String },
    /// A shader did not validate or compile.
    #[error("shader '{name}' is invalid: {message}")]
    Shader { name: String, message: String },
    /// A backend failed in a way that is no fault of the user's.
    #[error("{device}: {detail}")]
    Backend { device: String, detail: String },
    /// A file was read but its content is not what it should be.
    #[error("{}: {detail}", path.display())]
    Malformed { path: PathBuf, detail: String },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: Arc<std::io::Error> },
    /// A value (an option, a state dict, an environment variable) is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// Training met a loss that is NaN or infinite.
    #[error("the loss became {value} at step {step}; lower the learning rate or look at the data")]
    NotFinite { step: u64, value: f64 },
}

impl Error {
    /// An [`Error::Op`] for `op` at the caller's line, inside the current module [`scope`].
    pub(crate) fn op(op: &'static str, at: Caller, detail: impl Into<String>) -> Error {
        Error::Op { op, detail: detail.into(), at }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Error {
        Error::Io { path: path.into(), source: Arc::new(source) }
    }

    pub(crate) fn malformed(path: impl Into<PathBuf>, detail: impl Into<String>) -> Error {
        Error::Malformed { path: path.into(), detail: detail.into() }
    }
}

/// Where the user called an op: file and line, and the path of the `nn` module that was running, if any.
#[derive(Clone, Copy)]
pub struct Caller {
    location: &'static Location<'static>,
    scope: Option<&'static str>,
}

impl Caller {
    /// The caller of the function that calls this one, when every function between is `#[track_caller]`.
    #[track_caller]
    pub(crate) fn here() -> Caller {
        Caller { location: Location::caller(), scope: SCOPE.with_borrow(|s| s.joined) }
    }

    /// The file of the call.
    pub fn file(&self) -> &'static str {
        self.location.file()
    }

    /// The line of the call, counted from 1.
    pub fn line(&self) -> u32 {
        self.location.line()
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}:{}:{}", self.location.file(), self.location.line(), self.location.column())?;
        match self.scope {
            Some(path) => write!(f, " in module {path}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Default)]
struct Scope {
    names: Vec<String>,
    joined: Option<&'static str>,
}

thread_local! {
    static SCOPE: RefCell<Scope> = RefCell::default();
    static INTERNED: RefCell<std::collections::BTreeSet<&'static str>> = RefCell::default();
}

/// Runs `body` with `name` appended to the module path that errors report.
///
/// ```
/// use sunstone::prelude::*;
/// let y = sunstone::error::scope("encoder", || Tensor::zeros([2, 3], DType::F32, &Device::cpu()).reshape([7]));
/// assert!(y.to_vec::<f32>().unwrap_err().to_string().contains("in module encoder"));
/// ```
pub fn scope<T>(name: &str, body: impl FnOnce() -> T) -> T {
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            SCOPE.with_borrow_mut(|s| {
                s.names.pop();
                s.joined = intern(&s.names);
            });
        }
    }
    SCOPE.with_borrow_mut(|s| {
        s.names.push(name.to_owned());
        s.joined = intern(&s.names);
    });
    let _leave = Leave;
    body()
}

/// Module paths are few and live as long as the program, so that a [`Caller`] stays `Copy`.
fn intern(names: &[String]) -> Option<&'static str> {
    if names.is_empty() {
        return None;
    }
    let joined = names.join(".");
    INTERNED.with_borrow_mut(|set| match set.get(joined.as_str()) {
        Some(known) => Some(*known),
        None => {
            let leaked: &'static str = Box::leak(joined.into_boxed_str());
            set.insert(leaked);
            Some(leaked)
        }
    })
}
