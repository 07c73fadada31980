//! The command line of `easel-engine`: reads arguments, hands over to the worker or the server, prints. No computing here.

mod args;
mod generate;
mod logs;
mod serve;
mod spins;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use easel_engine_protocol::EngineErrorKind;

use crate::worker::{DeviceName, Open, open_model};
use crate::{Error, Result};
use args::{Args, Command};

/// Reads the arguments, does what they say, and gives the exit code: 0 done, 1 failed, 2 asked for what cannot be.
pub fn run() -> ExitCode {
    let args = Args::parse();
    if let Err(error) = logs::start(args.log()) {
        eprintln!("error: --log: {error}");
        return ExitCode::from(2);
    }
    spins::limit();
    match args.command {
        Command::Generate(args) => generate::run(&args),
        Command::Serve(args) => serve::run(&args),
    }
}

/// The devices to start, the one asked for first.
fn devices(wanted: Option<DeviceName>) -> Result<Vec<DeviceName>> {
    let mut devices = DeviceName::all();
    let Some(wanted) = wanted else {
        return Ok(devices);
    };
    let Some(place) = devices.iter().position(|device| *device == wanted) else {
        let names: Vec<_> = devices.iter().map(DeviceName::to_string).collect();
        return Err(Error::new(EngineErrorKind::DeviceUnavailable, format!("there is no device `{wanted}`"))
            .with_hint(format!("this machine has: {}", names.join(", "))));
    };
    if let Some(slice) = devices.get_mut(..=place) {
        slice.rotate_right(1);
    }
    Ok(devices)
}

fn opener() -> Open {
    Arc::new(open_model)
}

/// Prints a failure for people and gives its exit code.
fn report(error: &Error) -> ExitCode {
    eprintln!("error: {error}");
    if let Some(hint) = error.hint() {
        eprintln!("hint: {hint}");
    }
    exit_code(error)
}

fn exit_code(error: &Error) -> ExitCode {
    match error.kind() {
        EngineErrorKind::InvalidRequest => ExitCode::from(2),
        EngineErrorKind::ModelNotFound
        | EngineErrorKind::ModelBroken
        | EngineErrorKind::DeviceUnavailable
        | EngineErrorKind::OutOfMemory
        | EngineErrorKind::Overloaded
        | EngineErrorKind::Cancelled
        | EngineErrorKind::Internal => ExitCode::FAILURE,
    }
}

fn io_failure(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |error| Error::internal(format!("{what}: {error}"))
}
