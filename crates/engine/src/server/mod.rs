//! The engine's HTTP on a Unix socket: takes jobs, streams their events, stops when told. No computing here, and no tensors.

mod answer;
mod routes;
mod socket;
mod stop;
mod stream;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use actix_web::rt::System;
use actix_web::{App, HttpServer, web};

use crate::worker::Worker;
use crate::{Error, Result};
use stream::OpenStreams;

/// The longest body: two prompts of the longest kind, every byte escaped.
const MAX_BODY_BYTES: usize = 1 << 20;

/// How to serve.
#[derive(Debug, Clone)]
pub struct Options {
    /// The socket's path.
    pub socket: PathBuf,
    /// Stop when standard input ends.
    pub exit_with_stdin: bool,
    /// How long a running job may take to end once the process is told to stop.
    pub grace: Duration,
}

/// Serves until told to stop. Exit code 0 then, 1 when a device was lost and a new process is needed.
pub fn run(options: &Options, worker: Worker) -> Result<ExitCode> {
    System::new().block_on(serve(options, worker))
}

async fn serve(options: &Options, worker: Worker) -> Result<ExitCode> {
    let stop =
        stop::Signals::listen(options.exit_with_stdin).map_err(|error| Error::internal(format!("signals: {error}")))?;
    let listener = socket::listen(&options.socket)?;
    let streams = OpenStreams::default();
    let (app_worker, app_streams) = (worker.clone(), streams.clone());
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(app_worker.clone()))
            .app_data(web::Data::new(app_streams.clone()))
            .app_data(web::JsonConfig::default().limit(MAX_BODY_BYTES).error_handler(answer::json_error))
            .service(routes::status)
            .service(routes::generate)
            .service(routes::unload)
            .default_service(web::to(routes::unknown))
    })
    .workers(1)
    // Without this a client that leaves is noticed only when its job is done.
    .h1_allow_half_closed(false)
    .disable_signals()
    .listen_uds(listener)
    .map_err(|error| Error::internal(format!("socket {}: {error}", options.socket.display())))?
    .run();
    let handle = server.handle();
    tracing::info!(socket = %options.socket.display(), "engine ready");

    tokio::pin!(server);
    let reason = tokio::select! {
        result = &mut server => {
            return Err(Error::internal(format!("the server ended by itself: {result:?}")));
        }
        reason = stop.wait(&worker) => reason,
    };
    tracing::info!(%reason, "engine stopping");
    let stopping = async {
        let rested = worker.close(reason.grace(options.grace)).await;
        // The last events are written before the connections are cut.
        streams.wait_until_closed(Duration::from_secs(1)).await;
        handle.stop(false).await;
        rested
    };
    let (rested, _) = tokio::join!(stopping, server);
    socket::remove(&options.socket);
    if !rested {
        tracing::warn!("a job did not end in time and was cut off");
    }
    Ok(reason.exit_code())
}
