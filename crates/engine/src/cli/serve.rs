//! `easel-engine serve`.

use std::process::ExitCode;

use super::args::Serve;
use super::{devices, io_failure, opener, report};
use crate::Result;
use crate::server::{self, Options};
use crate::worker::Worker;

pub(super) fn run(args: &Serve) -> ExitCode {
    serve(args).unwrap_or_else(|error| report(&error))
}

fn serve(args: &Serve) -> Result<ExitCode> {
    let worker = Worker::start(&devices(args.device)?, args.threads, &opener()).map_err(io_failure("device thread"))?;
    let options = Options { socket: args.socket.clone(), exit_with_stdin: args.exit_with_stdin, grace: args.grace };
    server::run(&options, worker)
}
