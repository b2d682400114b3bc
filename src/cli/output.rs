//! Lines for programs and lines for people.

use std::io::Write;

/// Prints to standard output; a reader that has gone away ends the program quietly, as it would any Unix filter.
pub fn line(text: &str) {
    stream(&format!("{text}\n"));
}

/// The same without a new line, shown at once.
pub fn stream(text: &str) {
    let mut out = std::io::stdout();
    if write!(out, "{text}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}
