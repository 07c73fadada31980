//! Sections that are wrong, and what is said about them.

use serde_json::{Value, json};

use super::{KEY, build, environment, section};
use crate::generation::{Availability, OnDisconnect, ProviderId, Support};
use crate::providers::runware::Config;
use crate::providers::{BuildError, Kind, KindConfig};

const URL: &str = "http://127.0.0.1:1/v1";

fn problem(config: Value) -> String {
    let BuildError::Config { key, message } = build(config).err().unwrap();
    format!("{key}: {message}")
}

fn with(model: &Value) -> Value {
    section(URL, model, &json!({}))
}

#[test]
fn wrong_sections_are_told_with_their_key() {
    let air = "runware:100@1";
    let cases = [
        (json!({ "api_key": { "env": KEY } }), "missing field `models`"),
        (json!({ "api_key": { "env": KEY }, "models": {} }), "models: there is no model: declare at least one"),
        (json!({ "models": { "m": { "air": air } } }), "api_key: missing: write { env = \"NAME\" }"),
        (
            section(URL, &json!({ "air": air }), &json!({ "opens": true })),
            "opens: unknown field `opens`; the nearest is `open`",
        ),
        (
            section(URL, &json!({ "air": air }), &json!({ "output_type": "URL" })),
            "output_type: unknown variant `URL`; the nearest is `url`",
        ),
        (
            section(URL, &json!({ "air": air }), &json!({ "safety": { "on_flags": "pass" } })),
            "safety.on_flags: unknown field `on_flags`; the nearest is `on_flag`",
        ),
        (
            with(&json!({ "air": air, "supports_seeds": true })),
            "models.m.supports_seeds: unknown field `supports_seeds`; the nearest is `supports_seed`",
        ),
        (
            with(&json!({ "air": air, "image_input": "seedimage" })),
            "models.m.image_input: unknown variant `seedimage`; the nearest is `seed_image`",
        ),
        (
            with(&json!({ "air": "flux" })),
            "models.m.air: `flux` is no name of a model: write it as in \"runware:100@1\"",
        ),
        (
            with(&json!({ "air": air, "scheduler": "quantum" })),
            "models.m.scheduler: the vendor has no scheduler called `quantum`",
        ),
        (
            with(&json!({ "air": air, "limits": { "max_count": 21 } })),
            "models.m.limits.max_count: it is at most 20: the vendor makes no more at once",
        ),
        (
            with(&json!({ "air": air, "parameters": { "taskUUID": "x" } })),
            "models.m.parameters: `taskUUID` is set by each request and cannot be fixed here",
        ),
        (
            with(&json!({ "air": air, "parameters": { "webhookURL": "https://x" } })),
            "models.m.parameters: `webhookURL` would send the pictures elsewhere",
        ),
        (
            with(&json!({ "air": air, "image_input": "inputs", "supports_mask": true })),
            "models.m.supports_mask: there is no picture to start from with this image_input: only \"seed_image\" and \
             \"inputs_seed_image\" have one",
        ),
    ];
    for (config, expected) in cases {
        let said = problem(config);
        assert!(said.ends_with(expected), "{said}\nwas expected to end with\n{expected}");
    }
}

#[test]
fn addresses_that_are_none_are_refused_and_not_repeated() {
    for address in ["", "canary", "ftp://canary/v1", "http://me:canary@x/v1", "http://", "file:///canary"] {
        let said = problem(section(address, &json!({ "air": "runware:100@1" }), &json!({})));
        assert!(said.starts_with("base_url: this is no address of an upstream: "), "{address}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn the_vendors_own_address_is_the_usual_one() {
    let config = json!({ "api_key": { "env": KEY }, "models": { "m": { "air": "runware:100@1" } } });
    assert!(build(config).is_ok());
}

#[test]
fn a_key_that_is_not_set_makes_it_unavailable() {
    let keys = json!({ "api_key": { "env": "EASEL_TEST_NO_SUCH_KEY" } });
    let provider = build(section(URL, &json!({ "air": "runware:100@1" }), &keys)).unwrap().first;
    let Availability::Unavailable { reason, remedy, .. } = provider.is_available() else { panic!() };
    assert_eq!(reason, "no_key");
    assert!(remedy.contains("set EASEL_TEST_NO_SUCH_KEY"), "{remedy}");
    assert_eq!(build(with(&json!({ "air": "runware:100@1" }))).unwrap().first.is_available(), Availability::Available);
}

#[test]
fn several_keys_are_as_many_providers() {
    let keys = json!({ "api_keys": [{ "env": KEY }, { "env": "CARGO_PKG_VERSION" }] });
    assert_eq!(build(section(URL, &json!({ "air": "runware:100@1" }), &keys)).unwrap().others.len(), 1);
}

#[test]
fn leaving_does_not_end_the_work_because_it_would_not_end_the_bill() {
    assert_eq!(Config::ON_DISCONNECT, OnDisconnect::Finish);
}

#[test]
fn the_default_model_is_the_named_one_or_the_first() {
    let default = |named: Option<&str>, open: bool| {
        let models = json!({ "b": { "air": "runware:100@1" }, "a": { "air": "runware:101@1" } });
        let config = json!({ "base_url": URL, "api_key": { "env": KEY }, "open": open, "models": models });
        let built = Kind::of::<Config>().build(&ProviderId::new("p"), config, &environment(named));
        built.map(|built| built.first.capabilities().default_model.clone().unwrap().as_str().to_owned())
    };
    assert_eq!(default(None, false).unwrap(), "a");
    assert_eq!(default(Some("b"), false).unwrap(), "b");
    assert!(default(Some("c"), true).is_err());
    assert!(default(Some("civitai:1@2"), false).is_err());
    assert_eq!(default(Some("civitai:1@2"), true).unwrap(), "civitai:1@2");
}

#[test]
fn what_is_not_declared_is_neither_promised_nor_denied() {
    let of = |model: Value| build(with(&model)).unwrap().first.capabilities().models[0].clone();
    let model = of(json!({ "air": "runware:100@1", "supports_seed": false, "supports_steps": true }));
    let supports = model.supports;
    assert_eq!((supports.size, supports.seed, supports.steps), (Support::Undeclared, Support::No, Support::Yes));
    assert_eq!((supports.mask, supports.strength), (Support::Undeclared, Support::Undeclared));
    assert_eq!((model.price_key.as_deref(), model.limits.max_count.map(u32::from)), (Some("runware:100@1"), Some(4)));
    assert_eq!(model.defaults.size.map(|size| size.to_string()).as_deref(), Some("1024x1024"));
    let references = of(json!({ "air": "runware:106@1", "image_input": "reference_images" })).supports;
    assert_eq!(
        (references.image, references.mask, references.strength),
        (Support::Undeclared, Support::No, Support::No)
    );
}

#[test]
fn an_open_model_has_the_limits_that_most_have_in_common() {
    let provider = build(section(URL, &json!({ "air": "runware:100@1" }), &json!({ "open": true }))).unwrap().first;
    let capabilities = provider.capabilities();
    let model = capabilities.find("civitai:101055@128078").unwrap();
    assert_eq!((model.limits.min_side, model.limits.max_side), (Some(128), Some(2048)));
    assert_eq!(model.limits.size_multiple.map(u32::from), Some(64));
    assert_eq!(model.supports.negative_prompt, Support::Undeclared);
    assert!(capabilities.find("civitai:101055").is_none());
}
