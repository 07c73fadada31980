//! The command `easel`: arguments become settings, settings become the app, and the app runs.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("easel: {error}");
            ExitCode::FAILURE
        }
    }
}
