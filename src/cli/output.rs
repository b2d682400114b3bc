//! Lines for programs and lines for people.

use std::io::Write;

/// Prints to standard output; a reader that has gone away ends the program quietly, as it would any Unix filter.
pub fn line(text: &str) {
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}
