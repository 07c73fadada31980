//! Sections that are wrong, and what is said about them.

use serde_json::{Value, json};

use super::{KEY_VARIABLE, build, environment};
use crate::generation::{Availability, ImageSize, ProviderId, Ratios, Support};
use crate::providers::gemini::Config;
use crate::providers::{BuildError, Kind};

fn problem(config: &Value) -> String {
    let BuildError::Config { key, message } = build(config.clone()).err().unwrap();
    format!("{key}: {message}")
}

fn with(model: &Value) -> Value {
    json!({ "api_key": { "env": KEY_VARIABLE }, "models": { "m": model } })
}

#[test]
fn wrong_sections_are_told_with_their_key() {
    let fixed = |parameters: Value| with(&json!({ "id": "a", "parameters": parameters }));
    let cases = [
        (json!({ "models": { "m": { "id": "a" } } }), "api_key: missing: write { env = \"NAME\" }"),
        (json!({ "api_key": { "env": "A" } }), "missing field `models`"),
        (json!({ "api_key": { "env": "A" }, "models": {} }), "models: there is no model: declare at least one"),
        (
            with(&json!({ "id": "a", "supports_seeds": true })),
            "models.m.supports_seeds: unknown field `supports_seeds`; the nearest is `supports_seed`",
        ),
        (with(&json!({ "id": " " })), "models.m: a model's key and id are not blank"),
        (
            with(&json!({ "id": "a", "image_sizes": ["2k"] })),
            "models.m.image_sizes[0]: unknown variant `2k`, expected one of `512`, `1K`, `2K`, `4K`",
        ),
        (
            with(&json!({ "id": "a", "aspect_ratios": { "wide": "1024x512" } })),
            "models.m.aspect_ratios: `wide` is no ratio: write it as \"16:9\"",
        ),
        (
            with(&json!({ "id": "a", "aspect_ratios": { "1:1": "1024x512", "2:1": "1024x512" } })),
            "models.m.aspect_ratios: 1024x512 can be asked for in two ways",
        ),
        (
            with(&json!({ "id": "a", "size": "1000x1000" })),
            "models.m.size: 1000x1000 is no size that comes of aspect_ratios and image_sizes",
        ),
        (
            with(&json!({ "id": "a", "limits": { "sizes": ["9x9"] } })),
            "models.m.limits.sizes: unknown field `sizes`, expected `max_reference_images`",
        ),
        (
            fixed(json!({ "contents": [] })),
            "models.m.parameters: `contents` is set by each request and cannot be fixed here",
        ),
        (
            fixed(json!({ "generationConfig": { "candidateCount": 4 } })),
            "models.m.parameters: `generationConfig.candidateCount` is set by each request and cannot be fixed here",
        ),
        (
            fixed(json!({ "generationConfig": { "imageConfig": { "imageSize": "2K" } } })),
            "models.m.parameters: `generationConfig.imageConfig.imageSize` is set by each request and cannot be fixed here",
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
        ["", "canary", "ftp://canary/v1", "http://me:canary@x/v1", "https://x/v1beta?key=canary", "file:///canary"]
    {
        let mut config = with(&json!({ "id": "a" }));
        config["base_url"] = json!(address);
        let said = problem(&config);
        assert!(said.starts_with("base_url: this is no address of an upstream: "), "{address}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn a_key_that_is_not_set_makes_it_unavailable() {
    let config = |key: Value| json!({ "api_key": key, "models": { "m": { "id": "a" } } });
    let availability = build(config(json!({ "env": "EASEL_TEST_NO_SUCH_KEY" }))).unwrap().is_available();
    let Availability::Unavailable { reason, detail, remedy } = availability else { panic!() };
    assert_eq!(reason, "no_key");
    assert!(detail.contains("EASEL_TEST_NO_SUCH_KEY") && remedy.contains("set EASEL_TEST_NO_SUCH_KEY"), "{remedy}");
    assert_eq!(build(config(json!({ "env": KEY_VARIABLE }))).unwrap().is_available(), Availability::Available);
    assert!(build(config(json!("AIza-written-down"))).is_err());
}

#[test]
fn what_a_model_can_do_follows_from_what_is_declared() {
    let provider = build(with(&json!({ "id": "a", "image_sizes": ["1K", "4K"], "size": "1024x1024" }))).unwrap();
    let capabilities = provider.capabilities();
    let model = &capabilities.models[0];
    assert_eq!(model.limits.max_count.unwrap().get(), 1);
    assert_eq!(model.limits.sizes.len(), 20);
    assert_eq!(model.limits.ratios, Ratios::Passed);
    for (width, height) in [(1024, 1024), (4096, 4096), (6336, 2688), (3392, 5056)] {
        assert!(model.limits.sizes.contains(&ImageSize::new(width, height).unwrap()), "{width}x{height}");
    }
    assert_eq!(model.defaults.size, ImageSize::new(1024, 1024));
    assert_eq!(model.price_key.as_deref(), Some("a"));
    let supports = model.supports;
    assert_eq!((supports.size, supports.image, supports.reference_images), (Support::Yes, Support::Yes, Support::Yes));
    assert_eq!(supports.seed, Support::Undeclared);
    for never in [supports.negative_prompt, supports.steps, supports.guidance_scale, supports.scheduler, supports.mask]
    {
        assert_eq!(never, Support::No);
    }
    assert_eq!((supports.strength, supports.loras), (Support::No, Support::No));

    let without = build(with(&json!({ "id": "a", "aspect_ratios": {}, "supports_image": false }))).unwrap();
    let supports = without.capabilities().models[0].supports;
    assert_eq!((supports.size, supports.image), (Support::No, Support::No));
}

#[test]
fn the_default_model_is_the_named_one_or_the_first() {
    let config = json!({ "api_key": { "env": "A" }, "models": { "b": { "id": "1" }, "a": { "id": "2" } } });
    let default = |named: Option<&str>| {
        let built = Kind::of::<Config>().build(&ProviderId::new("p"), config.clone(), &environment(named));
        built.map(|built| built.first.capabilities().default_model.clone().unwrap().as_str().to_owned())
    };
    assert_eq!(default(None).unwrap(), "a");
    assert_eq!(default(Some("b")).unwrap(), "b");
    assert!(default(Some("c")).is_err());
}
