//! Builds everything once, binds, serves, drains and ends. Tests start this very app.

mod door;
mod parts;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App as HttpApp, HttpServer, web};

use crate::api::{self, Answers, BodyMemory, Bounds, Hosts, InFlight, RateLimit, State};
use crate::metrics::Metrics;
use crate::settings::{self, Settings};
use door::Door;

/// How often idle callers are forgotten.
const FORGET_EVERY: Duration = Duration::from_mins(1);

/// How long the connections that are left get once nothing runs any more.
const CLOSING: Duration = Duration::from_millis(200);

/// How long a client that is still sending gets to read why it was refused.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Workers beyond this gain nothing: pictures wait for providers, not for us.
const MAX_WORKERS: usize = 4;

/// Everything, bound to its address and not yet serving.
pub struct App {
    listener: TcpListener,
    state: web::Data<State>,
    server: settings::Server,
}

/// Why the app cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings contradict themselves or the kinds.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
}

impl App {
    /// Builds the app and binds its address. Nothing is connected, started or read from the network.
    pub fn build(settings: Settings) -> Result<Self, Error> {
        let fetcher = Arc::new(parts::fetcher(&settings)?);
        let metrics = Metrics::new();
        let gateway = parts::gateway(&settings, &fetcher, &metrics)?;
        for problem in gateway.routing_problems() {
            tracing::warn!(problem, "[routing] names something that is not there");
        }
        let server = settings.server;
        let address = server.address;
        let listener = listen(address).map_err(|source| Error::Bind { address, source })?;
        let bounds = Bounds {
            json_limit: server.json_limit,
            body_timeout: server.body_timeout,
            max_images: settings.limits.max_images,
            max_reference_images: settings.limits.max_reference_images,
            max_prompt_chars: settings.limits.max_prompt_chars,
            log_prompts: settings.log.prompts,
        };
        let state = State {
            instance: uuid::Uuid::new_v4().to_string(),
            gateway,
            fetcher,
            bounds,
            admin: parts::admin(&server),
            hosts: Hosts::new(address, &server.allowed_hosts),
            rate_limit: RateLimit::new(settings.limits.requests_per_minute, settings.limits.burst),
            body_memory: BodyMemory::new(server.body_memory),
            answers: Answers::new(&settings.storage.data_dir, settings.storage.answers_max as u64),
            pictures: parts::pictures(&server, &settings.storage),
            in_flight: Arc::new(InFlight::default()),
            metrics,
        };
        Ok(Self { listener, state: web::Data::new(state), server })
    }

    /// The address that it is bound to, with the port that the system chose for port 0.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is done, then finishes what runs within `[server] drain`, or until `stop_now` is done.
    pub async fn run(self, stop: impl Future<Output = ()>, stop_now: impl Future<Output = ()>) -> std::io::Result<()> {
        let address = self.address()?;
        let Self { listener, state, server } = self;
        let door = Door::of(&listener)?;
        let shared = state.clone();
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_WORKERS);
        let http = HttpServer::new(move || {
            HttpApp::new()
                .app_data(shared.clone())
                .configure(routes)
                .configure(api::pages)
                .wrap(from_fn(api::limit_caller))
                .wrap(from_fn(api::check_host))
                .wrap(from_fn(api::edge))
        })
        .workers(workers)
        // actix counts for each worker by itself.
        .max_connections(server.max_connections.div_ceil(workers))
        .client_request_timeout(server.header_timeout)
        .client_disconnect_timeout(CLOSE_WITHIN)
        .keep_alive(server.keep_alive)
        // Otherwise the end of an answer may wait 40 ms for the client's system to acknowledge what came before it.
        .tcp_nodelay(true)
        // Otherwise a handler goes on for a client that has left.
        .h1_allow_half_closed(false)
        .shutdown_timeout(server.drain.as_secs() + 1)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = http.handle();
        announce(address, &server);
        let mut http = std::pin::pin!(http);
        tokio::select! {
            ended = &mut http => return ended,
            () = stop => {}
            () = keep_tidy(&state) => {}
        }
        tracing::info!(running = state.in_flight.running().len(), "shutting down");
        state.in_flight.drain();
        let running = async {
            door.close(&handle).await;
            // A request that runs may still begin work, so it is looked at only afterwards.
            state.in_flight.idle().await;
            // Also what is to be finished although its client has left. A thread of the server ends with its last
            // connection, and would take along the work and the upstream connections that others may wait for: so
            // no thread ends before all work has.
            state.gateway.flights_idle().await;
        };
        tokio::select! {
            () = running => {
                let _ = tokio::time::timeout(CLOSING, async { tokio::join!(handle.stop(true), &mut http) }).await;
            }
            _ = &mut http => {}
            () = tokio::time::sleep(server.drain) => {}
            () = stop_now => {}
        }
        for cut in state.in_flight.running() {
            tracing::warn!(
                method = %cut.method,
                path = %cut.path,
                request_id = %cut.request_id,
                running_ms = u64::try_from(cut.since.elapsed().as_millis()).unwrap_or(u64::MAX),
                "cut off by the shutdown"
            );
        }
        let unclaimed = state.gateway.flights();
        if unclaimed > 0 {
            tracing::warn!(pictures = unclaimed, "work at providers cut off by the shutdown");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Everything that `App::build` would refuse, without binding.
pub fn check(settings: &Settings) -> Result<Vec<String>, settings::Error> {
    let fetcher = Arc::new(parts::fetcher(settings)?);
    Ok(parts::gateway(settings, &fetcher, &Metrics::new())?.routing_problems())
}

fn routes(config: &mut web::ServiceConfig) {
    api::routes(&mut utoipa_actix_web::service_config::ServiceConfig::new(config));
}

async fn keep_tidy(state: &State) {
    loop {
        state.rate_limit.forget_idle();
        state.answers.tidy().await;
        state.pictures.tidy().await;
        tokio::time::sleep(FORGET_EVERY).await;
    }
}

/// A listener that a restarted process can have at once.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR on Unix and a backlog that the system caps.
    TcpListener::bind(address)
}

fn announce(address: SocketAddr, server: &settings::Server) {
    tracing::info!(address = %address, "serving on http://{address}");
    if !server.address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "not a loopback address: everyone who can reach it can make pictures at your cost, for there are no keys yet"
        );
    }
}
