//! The `sunstone` command.

mod cli;
#[cfg(feature = "view")]
mod view;

fn main() -> std::process::ExitCode {
    cli::run()
}
