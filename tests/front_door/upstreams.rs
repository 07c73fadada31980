//! Configurations with the stand-in as provider.

use std::fmt::Write as _;

use provider_sim::Simulator;

/// No provider but those that a test adds.
pub const NO_DEFAULTS: &str = "providers.gemini.enabled = false\nproviders.local.enabled = false
providers.openai.enabled = false\nproviders.runware.enabled = false\n";

/// No other provider than the local one.
pub const NO_CLOUDS: &str = "providers.gemini.enabled = false
providers.openai.enabled = false
providers.runware.enabled = false";

/// What a request may be tried with.
pub const PROMPT: &str = "a small red circle";

/// Sections of `openai_compat` providers named `first`, `second`, …, in this order of priority, each with one model
/// `any`; `policy` is the first one's. The others have no breaker.
pub fn in_order(upstreams: &[&Simulator], policy: &str) -> String {
    let mut config = NO_DEFAULTS.to_owned();
    for (place, upstream) in upstreams.iter().enumerate() {
        let name = ["first", "second", "third"].get(place).unwrap();
        let policy = if place == 0 { policy } else { r#"timeout = "10s", breaker = { failures = 0 }"# };
        write!(
            config,
            r#"
[providers.{name}]
kind = "openai_compat"
priority = {}
default_model = "any"
policy = {{ {policy} }}

[providers.{name}.config]
base_url = "{}"

[providers.{name}.config.models.any]
id = "sim-any"
name = "The stand-in called {name}"
"#,
            place + 1,
            upstream.base_url()
        )
        .unwrap();
    }
    config
}
