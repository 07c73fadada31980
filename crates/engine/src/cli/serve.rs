//! `easel-engine serve`.

use std::process::ExitCode;

use super::args::Serve;
use super::{devices, io_failure, opener, report};
use easel_engine_protocol::EngineErrorKind;

use crate::server::{self, Options};
use crate::worker::{Settings, Worker};
use crate::{Error, Result};

pub(super) fn run(args: &Serve) -> ExitCode {
    serve(args).unwrap_or_else(|error| report(&error))
}

fn serve(args: &Serve) -> Result<ExitCode> {
    let devices = devices(args.device)?;
    if let Some((absent, _)) = args.memory.iter().find(|(device, _)| !devices.contains(device)) {
        let names: Vec<_> = devices.iter().map(ToString::to_string).collect();
        let what = format!("--memory names {absent}, which is not there");
        return Err(Error::new(EngineErrorKind::DeviceUnavailable, what)
            .with_hint(format!("this machine has: {}", names.join(", "))));
    }
    let settings = Settings {
        threads: args.threads,
        memory: args.memory.iter().copied().collect(),
        cache: args.cache.clone(),
        max_batch: usize::from(args.max_batch),
    };
    let worker = Worker::start_with(&devices, &settings, &opener()).map_err(io_failure("device thread"))?;
    let options = Options { socket: args.socket.clone(), exit_with_stdin: args.exit_with_stdin, grace: args.grace };
    server::run(&options, worker)
}
