//! What types alone cannot say about the settings.

use std::time::Duration;

use super::{Error, Problem, Provider, Settings};

/// Checks every value that could be of the right type and still be wrong.
pub(super) fn check(settings: &Settings) -> Result<(), Error> {
    let mut problems = Vec::new();
    let server = &settings.server;
    at_least(&mut problems, "server.max_connections", server.max_connections >= 1, "must be at least 1");
    at_least(&mut problems, "server.json_limit", server.json_limit >= 1024, "must be at least 1 KiB");
    let room = server.body_memory >= server.json_limit;
    at_least(&mut problems, "server.body_memory", room, "must be at least json_limit");
    for (key, duration) in [
        ("server.header_timeout", server.header_timeout),
        ("server.body_timeout", server.body_timeout),
        ("routing.deadline", settings.routing.deadline),
        ("fetch.timeout", settings.fetch.timeout),
        ("cache.ttl", settings.cache.ttl),
        ("storage.picture_ttl", settings.storage.picture_ttl),
    ] {
        at_least(&mut problems, key, duration > Duration::ZERO, "must be longer than nothing");
    }
    at_least(&mut problems, "limits.burst", settings.limits.burst >= 1, "must be at least 1");
    at_least(&mut problems, "limits.max_images", settings.limits.max_images >= 1, "must be at least 1");
    at_least(&mut problems, "limits.max_prompt_chars", settings.limits.max_prompt_chars >= 1, "must be at least 1");
    let fetch = &settings.fetch;
    at_least(&mut problems, "fetch.max_bytes", fetch.max_bytes >= 1, "must be at least 1 B");
    at_least(&mut problems, "fetch.max_side", fetch.max_side >= 1, "must be at least 1");
    at_least(&mut problems, "fetch.max_pixels", fetch.max_pixels >= 1, "must be at least 1");
    at_least(&mut problems, "fetch.max_redirects", fetch.max_redirects <= 20, "must be at most 20");
    for (id, provider) in &settings.providers {
        check_provider(&mut problems, id, provider);
    }
    if problems.is_empty() { Ok(()) } else { Err(Error { problems }) }
}

fn check_provider(problems: &mut Vec<Problem>, id: &str, provider: &Provider) {
    let key = format!("providers.{id}");
    let plain = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte));
    if !plain || id.is_empty() || id.len() > 64 {
        problems.push(Problem::new(&key, "an id has 1 to 64 of a-z, 0-9, _ and -"));
    }
    if !provider.enabled {
        return;
    }
    if provider.kind.is_none() {
        problems.push(Problem::new(format!("{key}.kind"), "missing").with_hint("set it, or set enabled = false"));
    }
    let policy = &provider.policy;
    at_least(
        problems,
        &format!("{key}.policy.attempts"),
        (1..=10).contains(&policy.attempts),
        "must be from 1 to 10, the first included",
    );
    at_least(
        problems,
        &format!("{key}.policy.timeout"),
        policy.timeout > Duration::ZERO,
        "must be longer than nothing",
    );
    at_least(
        problems,
        &format!("{key}.policy.deadline"),
        policy.deadline != Some(Duration::ZERO),
        "must be longer than nothing",
    );
    at_least(problems, &format!("{key}.policy.burst"), policy.burst >= 1, "must be at least 1");
    let breaker = &policy.breaker;
    for (name, holds, message) in [
        ("ratio", (0.0..=1.0).contains(&breaker.ratio), "must be from 0 to 1; 0 leaves it to failures alone"),
        ("window", breaker.window > Duration::ZERO, "must be longer than nothing"),
        ("min_requests", breaker.min_requests >= 1, "must be at least 1"),
        ("cooldown", breaker.cooldown > Duration::ZERO, "must be longer than nothing"),
        ("max_cooldown", breaker.max_cooldown >= breaker.cooldown, "must be at least cooldown"),
    ] {
        at_least(problems, &format!("{key}.policy.breaker.{name}"), holds, message);
    }
    if !provider.config.is_object() {
        problems.push(Problem::new(format!("{key}.config"), "must be a table"));
    }
}

fn at_least(problems: &mut Vec<Problem>, key: &str, holds: bool, message: &str) {
    if !holds {
        problems.push(Problem::new(key, message));
    }
}
