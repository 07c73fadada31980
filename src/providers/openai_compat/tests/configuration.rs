//! Sections that are wrong, and what is said about them.

use serde_json::{Value, json};

use super::{build, environment};
use crate::generation::{Availability, ProviderId, Support};
use crate::providers::openai_compat::Config;
use crate::providers::{BuildError, Kind};

fn problem(config: &Value) -> String {
    let BuildError::Config { key, message } = build(config.clone()).err().unwrap();
    format!("{key}: {message}")
}

fn with(model: &Value) -> Value {
    json!({ "base_url": "http://127.0.0.1:1/v1", "models": { "m": model } })
}

#[test]
fn wrong_sections_are_told_with_their_key() {
    let cases = [
        (json!({ "base_url": "http://x/v1" }), "models: there is no model: declare at least one"),
        (json!({ "base_url": "http://x/v1", "models": {} }), "models: there is no model: declare at least one"),
        (
            with(&json!({ "id": "a", "supports_seeds": true })),
            "models.m.supports_seeds: unknown field `supports_seeds`; the nearest is `supports_seed`",
        ),
        (
            with(&json!({ "id": "a", "limits": { "max_sid": 9 } })),
            "models.m.limits.max_sid: unknown field `max_sid`; the nearest is `max_side`",
        ),
        (with(&json!({ "id": "a", "size": "big" })), "models.m.size: `big` is no size: write it as \"1024x1024\""),
        (with(&json!({ "id": " " })), "models.m: a model's key and id are not blank"),
        (
            with(&json!({ "id": "a", "parameters": { "n": 2 } })),
            "models.m.parameters: `n` is set by each request and cannot be fixed here",
        ),
        (
            with(&json!({ "id": "a", "limits": { "min_side": 9, "max_side": 8 } })),
            "models.m.limits: no size is within min_side, max_side, min_pixels, max_pixels and size_multiple",
        ),
        (
            with(&json!({ "id": "a", "limits": { "max_count": 0 } })),
            "models.m.limits.max_count: invalid value: integer `0`, expected a nonzero u32",
        ),
    ];
    for (config, expected) in cases {
        let said = problem(&config);
        assert!(said.ends_with(expected), "{said}\nwas expected to end with\n{expected}");
    }
}

#[test]
fn addresses_that_are_none_are_refused_and_not_repeated() {
    for address in
        ["", "canary", "ftp://canary/v1", "http://me:canary@x/v1", "http://", "unix:/canary", "file:///canary"]
    {
        let said = problem(&json!({ "base_url": address, "models": { "m": { "id": "a" } } }));
        assert!(said.starts_with("base_url: this is no address of an upstream: "), "{address}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn the_default_model_is_the_named_one_or_the_first() {
    let config = json!({ "base_url": "http://x/v1", "models": { "b": { "id": "1" }, "a": { "id": "2" } } });
    let default = |named: Option<&str>| {
        let built = Kind::of::<Config>().build(&ProviderId::new("p"), config.clone(), &environment(named));
        built.map(|built| built.first.capabilities().default_model.clone().unwrap().as_str().to_owned())
    };
    assert_eq!(default(None).unwrap(), "a");
    assert_eq!(default(Some("b")).unwrap(), "b");
    assert!(default(Some("c")).is_err());
}

#[test]
fn a_key_that_is_not_set_makes_it_unavailable() {
    let config = |key: Value| json!({ "base_url": "http://x/v1", "api_key": key, "models": { "m": { "id": "a" } } });
    let availability = build(config(json!({ "env": "EASEL_TEST_NO_SUCH_KEY" }))).unwrap().is_available();
    let Availability::Unavailable { reason, detail, remedy } = availability else { panic!() };
    assert_eq!(reason, "no_key");
    assert!(detail.contains("EASEL_TEST_NO_SUCH_KEY") && remedy.contains("set EASEL_TEST_NO_SUCH_KEY"), "{remedy}");
    assert_eq!(build(config(json!({ "env": "CARGO_PKG_NAME" }))).unwrap().is_available(), Availability::Available);
    assert_eq!(build(config(Value::Null)).unwrap().is_available(), Availability::Available);
    assert!(build(config(json!("sk-written-down"))).is_err());
}

#[test]
fn several_keys_are_as_many_providers_of_the_same_models() {
    let build = |keys: Value| {
        let config = json!({
            "base_url": "http://x/v1",
            "api_key": { "env": "EASEL_TEST_NO_SUCH_KEY" },
            "api_keys": keys,
            "models": { "m": { "id": "a" } },
        });
        Kind::of::<Config>().build(&ProviderId::new("p"), config, &environment(None))
    };
    let env = |name: &str| json!({ "env": name });
    let several = build(json!([env("CARGO_PKG_NAME"), env("CARGO_PKG_VERSION"), env("EASEL_TEST_UNSET")])).unwrap();
    assert_eq!(several.others.len(), 1);
    for provider in several.others.iter().chain([&several.first]) {
        assert_eq!(provider.is_available(), Availability::Available);
        assert_eq!(provider.capabilities(), several.first.capabilities());
    }
    let unset = build(json!([env("EASEL_TEST_UNSET"), env("EASEL_TEST_UNSET_TOO")])).unwrap();
    assert!(unset.others.is_empty());
    let Availability::Unavailable { remedy, .. } = unset.first.is_available() else { panic!() };
    assert_eq!(remedy, "set one of EASEL_TEST_UNSET, EASEL_TEST_UNSET_TOO to its key and start Easel again");
    assert!(build(json!(["sk-written-down"])).is_err());
    assert!(build(json!([])).is_err());
}

#[test]
fn what_is_not_declared_is_neither_promised_nor_denied() {
    let provider = build(with(&json!({ "id": "a", "supports_seed": false, "supports_steps": true }))).unwrap();
    let supports = provider.capabilities().models[0].supports;
    assert_eq!((supports.size, supports.seed, supports.steps), (Support::Undeclared, Support::No, Support::Yes));
}
