//! The engine's process.

use std::process::ExitCode;

fn main() -> ExitCode {
    easel_engine::cli::run()
}
