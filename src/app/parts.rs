//! The parts of the app out of the settings. Nothing here serves, connects or starts anything.

use std::sync::Arc;

use crate::api::{Admin, Pictures};
use crate::fetch::{Fetcher, Origin, Rules};
use crate::gateway::{CacheLimits, Gateway, Registered, Registry, Routing};
use crate::generation::{FallbackPolicy, OnDisconnect, ProviderId};
use crate::metrics::Metrics;
use crate::nearest::nearest;
use crate::providers::{BreakerPolicy, BuildError, Environment, KINDS, Kind, Policy, Prices, layers};
use crate::settings::{self, Fallback, Problem, Settings};
use crate::state::StateDb;

pub(super) fn pictures(server: &settings::Server, storage: &settings::Storage) -> Pictures {
    let public_url = server.public_url.as_ref().map(|url| url.as_str().to_owned());
    Pictures::new(&storage.data_dir, storage.pictures_max as u64, storage.picture_ttl, public_url)
}

pub(super) fn admin(server: &settings::Server) -> Admin {
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

pub(super) fn fetcher(settings: &Settings) -> Result<Fetcher, settings::Error> {
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

pub(super) fn gateway(
    settings: &Settings,
    fetcher: &Arc<Fetcher>,
    metrics: &Metrics,
) -> Result<Gateway, settings::Error> {
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
    let policy = policy(&section.policy);
    let wrapped = layers::wrap(&provider_id, built, &policy, prices, &metrics.provider(id));
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
        deadline: section.policy.deadline.or_else(|| kind.takes_its_time.then(|| policy.longest())),
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
