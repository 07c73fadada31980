//! Builds everything once, binds, serves, drains and ends. Tests start this very app.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App as HttpApp, HttpServer, web};
use tokio::runtime::Runtime;

use crate::api::{self, Admin, Answers, BodyMemory, Bounds, Hosts, InFlight, Pictures, RateLimit, State};
use crate::fetch::{Fetcher, Origin, Rules};
use crate::gateway::{CacheLimits, Gateway, Registered, Registry, Routing};
use crate::generation::{FallbackPolicy, OnDisconnect, ProviderId};
use crate::metrics::Metrics;
use crate::nearest::nearest;
use crate::providers::{BreakerPolicy, BuildError, Environment, KINDS, Kind, Policy, Prices, layers};
use crate::settings::{self, Fallback, Problem, Settings};
use crate::state::StateDb;

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
        let fetcher = Arc::new(fetcher(&settings)?);
        let metrics = Metrics::new();
        let gateway = gateway(&settings, &fetcher, &metrics)?;
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
            admin: admin(&server),
            hosts: Hosts::new(address, &server.allowed_hosts),
            rate_limit: RateLimit::new(settings.limits.requests_per_minute, settings.limits.burst),
            body_memory: BodyMemory::new(server.body_memory),
            answers: Answers::new(&settings.storage.data_dir, settings.storage.answers_max as u64),
            pictures: pictures(&server, &settings.storage),
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
        let house = House::build()?;
        house.take_in(&state.gateway);
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
        // Sent at once; the server is driven below.
        let graceful = handle.stop(true);
        tokio::select! {
            () = async {
                tokio::select! {
                    _ = async { tokio::join!(graceful, &mut http) } => {}
                    () = async { state.in_flight.idle().await; tokio::time::sleep(CLOSING).await } => {}
                }
                // What is to be finished although its client has left.
                state.gateway.flights_idle().await;
            } => {}
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

/// Where providers are asked: threads that outlive those of the HTTP server, which end with their last connection.
struct House {
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl House {
    fn build() -> std::io::Result<Self> {
        // Half the cores: with as many threads as cores, each piece of an answer wakes another one, which costs more
        // than reading it.
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / 2).clamp(1, MAX_WORKERS);
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime
            .worker_threads(threads)
            .thread_name("providers")
            .enable_all()
            .build()
            .map(|runtime| Self { runtime: Some(runtime) })
    }

    fn take_in(&self, gateway: &Gateway) {
        if let Some(runtime) = &self.runtime {
            gateway.run_on(runtime.handle().clone());
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for it would block the thread that serves.
            runtime.shutdown_background();
        }
    }
}

/// Everything that `App::build` would refuse, without binding.
pub fn check(settings: &Settings) -> Result<Vec<String>, settings::Error> {
    let fetcher = Arc::new(fetcher(settings)?);
    Ok(gateway(settings, &fetcher, &Metrics::new())?.routing_problems())
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

fn pictures(server: &settings::Server, storage: &settings::Storage) -> Pictures {
    let public_url = server.public_url.as_ref().map(|url| url.as_str().to_owned());
    Pictures::new(&storage.data_dir, storage.pictures_max as u64, storage.picture_ttl, public_url)
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

fn admin(server: &settings::Server) -> Admin {
    let Some(token) = &server.admin_token else {
        if server.address.ip().is_loopback() {
            return Admin::Loopback;
        }
        return Admin::Nobody("set [server] admin_token = { env = \"EASEL_ADMIN_TOKEN\" }".to_owned());
    };
    token.resolve().map_or_else(
        || {
            tracing::warn!(variable = token.env, "[server] admin_token is not set: no one is an administrator");
            Admin::Nobody(format!("set {} in the environment of Easel", token.env))
        },
        Admin::Token,
    )
}

fn fetcher(settings: &Settings) -> Result<Fetcher, settings::Error> {
    let fetch = &settings.fetch;
    let mut allowed_origins = Vec::new();
    let mut problems = Vec::new();
    for (index, text) in fetch.allowed_origins.iter().enumerate() {
        match text.parse::<Origin>() {
            Ok(origin) => allowed_origins.push(origin),
            // Not repeated: what is no origin may carry a password.
            Err(error) => {
                let problem = Problem::new("fetch.allowed_origins", format!("entry {} is no origin", index + 1));
                problems.push(problem.with_hint(error.to_string()));
            }
        }
    }
    if !problems.is_empty() {
        return Err(settings::Error { problems });
    }
    Ok(Fetcher::new(Rules {
        allow_http: fetch.allow_http,
        allowed_origins,
        max_bytes: fetch.max_bytes,
        timeout: fetch.timeout,
        max_side: fetch.max_side,
        max_pixels: fetch.max_pixels,
        max_redirects: fetch.max_redirects,
    }))
}

fn gateway(settings: &Settings, fetcher: &Arc<Fetcher>, metrics: &Metrics) -> Result<Gateway, settings::Error> {
    let mut problems = Vec::new();
    let mut providers = Vec::new();
    let prices = prices(settings)?;
    for (id, section) in settings.providers.iter().filter(|(_, section)| section.enabled) {
        match register(settings, id, section, fetcher, &prices, metrics) {
            Ok(provider) => providers.push(provider),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(settings::Error { problems });
    }
    let routing = &settings.routing;
    let named = |name: &Option<String>| name.clone().filter(|name| !name.trim().is_empty());
    let routing = Routing {
        default_provider: named(&routing.default_provider),
        default_model: named(&routing.default_model),
        fallback: routing.fallback.map(|fallback| match fallback {
            Fallback::Auto => FallbackPolicy::Auto,
            Fallback::Never => FallbackPolicy::Never,
        }),
        strict: routing.strict,
        deadline: routing.deadline,
    };
    let cache = CacheLimits {
        max_bytes: settings.cache.max_bytes as u64,
        max_entry: settings.cache.max_entry as u64,
        ttl: settings.cache.ttl,
    };
    let store = Box::new(StateDb::new(&settings.storage.data_dir));
    Ok(Gateway::new(Registry::new(providers), routing, cache, metrics.clone(), store))
}

/// The compiled-in prices and over them the owner's.
fn prices(settings: &Settings) -> Result<Prices, Problem> {
    Prices::read(&settings.costs.tables()?).map_err(|error| Problem::new("costs.prices", error.to_string()))
}

fn register(
    settings: &Settings,
    id: &str,
    section: &settings::Provider,
    fetcher: &Arc<Fetcher>,
    prices: &Prices,
    metrics: &Metrics,
) -> Result<Registered, Problem> {
    let kind = kind(id, section.kind.as_deref().unwrap_or_default())?;
    let environment = Environment {
        default_model: section.default_model.clone(),
        library_roots: settings.library.roots.clone(),
        hub_cache: settings::hub_cache(),
        executable_dirs: settings::executable_dirs(),
        data_dir: settings.storage.data_dir.clone(),
        fetcher: Arc::clone(fetcher),
    };
    let provider_id = ProviderId::new(id);
    let built = kind.build(&provider_id, section.config.clone(), &environment).map_err(|error| match error {
        BuildError::Config { key, message } => {
            let separator = if key.is_empty() { "" } else { "." };
            Problem::new(format!("providers.{id}.config{separator}{key}"), message)
        }
    })?;
    let prices = prices.of(&provider_id, kind.name);
    let wrapped = layers::wrap(&provider_id, built, &policy(&section.policy), prices, &metrics.provider(id));
    Ok(Registered {
        id: provider_id,
        kind: kind.name,
        display_name: section.display_name.clone().unwrap_or_else(|| id.to_owned()),
        description: section.description.clone(),
        aliases: section.aliases.clone(),
        priority: section.priority,
        on_disconnect: match section.policy.on_disconnect {
            None => kind.on_disconnect,
            Some(settings::OnDisconnect::Cancel) => OnDisconnect::Cancel,
            Some(settings::OnDisconnect::Finish) => OnDisconnect::Finish,
        },
        provider: wrapped.provider,
        gauges: wrapped.gauges,
    })
}

fn policy(policy: &settings::Policy) -> Policy {
    let breaker = &policy.breaker;
    Policy {
        timeout: policy.timeout,
        attempts: policy.attempts,
        backoff: policy.backoff,
        requests_per_minute: policy.requests_per_minute,
        burst: policy.burst,
        max_concurrent: policy.max_concurrent,
        max_wait: policy.max_wait,
        breaker: BreakerPolicy {
            failures: breaker.failures,
            ratio: breaker.ratio,
            window: breaker.window,
            min_requests: breaker.min_requests,
            cooldown: breaker.cooldown,
            max_cooldown: breaker.max_cooldown,
        },
    }
}

fn kind(id: &str, name: &str) -> Result<&'static Kind, Problem> {
    KINDS.iter().find(|kind| kind.name == name).ok_or_else(|| {
        let known = || KINDS.iter().map(|kind| kind.name);
        let hint = nearest(name, known()).map_or_else(
            || format!("known kinds: {}", known().collect::<Vec<_>>().join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Problem::new(format!("providers.{id}.kind"), format!("there is no kind `{name}`")).with_hint(hint)
    })
}
