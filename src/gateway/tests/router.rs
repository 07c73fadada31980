//! The order of the candidates, case by case.

use super::{caching, gateway, registered, routing, target};
use crate::gateway::router::Router;
use crate::gateway::{CurrentStore, Error, Gateway, MemoryStore, Registry, Routing};
use crate::generation::{FallbackPolicy, Installed, Model, ModelId, ModelKey, ProviderId, Target};
use crate::metrics::Metrics;
use crate::providers::scripted::{Scripted, model, request};

fn order(
    registry: &Registry,
    routing: &Routing,
    chosen: Option<&str>,
    named: &Target,
    policy: FallbackPolicy,
) -> Vec<String> {
    let chosen = chosen.map(|id| {
        let (provider, key) = id.split_once('/').unwrap();
        ModelId { provider: ProviderId::new(provider), key: ModelKey::new(key) }
    });
    let router = Router { registry, routing, chosen };
    let candidates = router.candidates(named, policy).unwrap();
    candidates.iter().map(|candidate| candidate.model.to_string()).collect()
}

/// `b` and `c` share a model, `c` has one whose key looks like `a/x`, and `d` cannot be used.
fn house() -> Registry {
    let aliased = Model { aliases: vec!["fast".to_owned()], ..model("x") };
    let a = Scripted::new(vec![aliased, model("big")], []);
    let b = Scripted::new(vec![model("y"), model("org/shared")], []);
    let c = Scripted::new(vec![model("z"), model("org/shared"), model("a/x")], []);
    let d = Scripted::new(vec![model("w")], []).unavailable("no_key");
    Registry::new(vec![registered("c", 3, &c), registered("a", 1, &a), registered("d", 2, &d), registered("b", 2, &b)])
}

#[test]
fn nothing_named_is_ascending_priority_and_then_id() {
    let usual = order(&house(), &routing(), None, &target(None, None), FallbackPolicy::Auto);
    assert_eq!(usual, ["a/x", "b/y", "d/w", "c/z"]);
    let never = order(&house(), &routing(), None, &target(None, None), FallbackPolicy::Never);
    assert_eq!(never, ["a/x"]);
}

#[test]
fn the_current_model_leads_while_its_provider_is_available() {
    let nothing = target(None, None);
    let lead = order(&house(), &routing(), Some("c/org/shared"), &nothing, FallbackPolicy::Auto);
    assert_eq!(lead, ["c/org/shared", "a/x", "b/y", "d/w"]);
    let gone = order(&house(), &routing(), Some("d/w"), &nothing, FallbackPolicy::Auto);
    assert_eq!(gone, ["a/x", "b/y", "d/w", "c/z"]);
    let unknown = order(&house(), &routing(), Some("c/no-more"), &nothing, FallbackPolicy::Auto);
    assert_eq!(unknown, ["a/x", "b/y", "d/w", "c/z"]);
}

#[test]
fn configured_defaults_lead_after_the_current_model() {
    let nothing = target(None, None);
    let by_provider = Routing { default_provider: Some("c_alias".to_owned()), ..routing() };
    assert_eq!(order(&house(), &by_provider, None, &nothing, FallbackPolicy::Auto), ["c/z", "a/x", "b/y", "d/w"]);
    let by_model = Routing { default_model: Some("b/org/shared".to_owned()), ..routing() };
    assert_eq!(order(&house(), &by_model, None, &nothing, FallbackPolicy::Auto), ["b/org/shared", "a/x", "d/w", "c/z"]);
    let by_both = Routing { default_model: Some("org/shared".to_owned()), ..by_provider };
    let lead = order(&house(), &by_both, None, &nothing, FallbackPolicy::Auto);
    assert_eq!(lead, ["c/org/shared", "a/x", "b/y", "d/w"]);
    let current = order(&house(), &by_both, Some("a/big"), &nothing, FallbackPolicy::Auto);
    assert_eq!(current, ["a/big", "c/org/shared", "b/y", "d/w"]);
}

#[test]
fn a_named_model_is_sought_at_every_provider_that_serves_it() {
    let named = |model| order(&house(), &routing(), None, &target(None, Some(model)), FallbackPolicy::Never);
    assert_eq!(named("org/shared"), ["b/org/shared", "c/org/shared"]);
    assert_eq!(named("c/org/shared"), ["c/org/shared"]);
    assert_eq!(named("c_alias/org/shared"), ["c/org/shared"]);
    assert_eq!(named("fast"), ["a/x"]);
    assert_eq!(named("a/fast"), ["a/x"]);
    // `provider/key` wins over a key that reads the same; that one has its own provider's prefix.
    assert_eq!(named("a/x"), ["a/x"]);
    assert_eq!(named("c/a/x"), ["c/a/x"]);
}

#[test]
fn a_named_provider_is_the_only_one() {
    let named = |provider, model| {
        order(&house(), &routing(), Some("a/big"), &target(Some(provider), model), FallbackPolicy::Never)
    };
    assert_eq!(named("b", None), ["b/y"]);
    assert_eq!(named("b_alias", Some("org/shared")), ["b/org/shared"]);
    assert_eq!(named("b", Some("b/org/shared")), ["b/org/shared"]);
    assert_eq!(named("c", Some("a/x")), ["c/a/x"]);
}

#[test]
fn an_explicit_auto_puts_what_was_named_first() {
    let auto = |named: &Target| order(&house(), &routing(), Some("c/z"), named, FallbackPolicy::Auto);
    assert_eq!(auto(&target(Some("d"), None)), ["d/w", "c/z", "a/x", "b/y"]);
    assert_eq!(auto(&target(None, Some("big"))), ["a/big", "c/z", "a/x", "b/y", "d/w"]);
    assert_eq!(auto(&target(Some("c"), None)), ["c/z", "a/x", "b/y", "d/w"]);
}

#[test]
fn unknown_names_offer_the_closest_first() {
    let (registry, routing) = (house(), routing());
    let router = Router { registry: &registry, routing: &routing, chosen: None };
    let error = |named: &Target| router.candidates(named, FallbackPolicy::Never).err().unwrap();
    let Error::UnknownModel { name, candidates } = error(&target(None, Some("org/shred"))) else { panic!() };
    assert_eq!((name.as_str(), candidates[0].as_str()), ("org/shred", "b/org/shared"));
    let Error::UnknownModel { candidates, .. } = error(&target(Some("a"), Some("y"))) else { panic!() };
    assert_eq!(candidates, ["a/x", "a/big"]);
    let Error::UnknownProvider { candidates, .. } = error(&target(Some("b_alas"), None)) else { panic!() };
    assert_eq!(candidates[0], "b_alias");
}

#[test]
fn the_callers_word_on_falling_back_wins_over_the_configuration() {
    let registry = house();
    let mut asked = request();
    let policy =
        |routing: Routing, request: &_| Router { registry: &registry, routing: &routing, chosen: None }.policy(request);
    assert_eq!(policy(routing(), &asked), FallbackPolicy::Auto);
    asked.target = target(None, Some("x"));
    assert_eq!(policy(routing(), &asked), FallbackPolicy::Never);
    let configured = Routing { fallback: Some(FallbackPolicy::Auto), ..routing() };
    assert_eq!(policy(configured.clone(), &asked), FallbackPolicy::Auto);
    asked.fallback = Some(FallbackPolicy::Never);
    assert_eq!(policy(configured, &asked), FallbackPolicy::Never);
}

#[test]
fn current_is_what_a_request_that_names_nothing_uses() {
    let dear = Scripted::new(vec![model("x")], []).unavailable("no_key");
    let near = Scripted::new(vec![model("y"), model("z")], []);
    let gateway = gateway(&[("dear", &dear), ("near", &near)], routing());
    assert_eq!(gateway.current().unwrap().to_string(), "near/y");
    assert_eq!(gateway.set_current("z").unwrap().to_string(), "near/z");
    assert_eq!(gateway.current().unwrap().to_string(), "near/z");
    assert!(matches!(gateway.set_current("zz"), Err(Error::UnknownModel { .. })));
    let none = super::gateway(&[("dear", &dear)], routing());
    assert_eq!(none.current(), None);
}

#[test]
fn the_current_model_is_remembered_if_it_exists() {
    let absent = Installed::No { detail: "it is not here".to_owned(), remedy: "fetch it".to_owned() };
    let provider = Scripted::new(vec![model("x"), model("y"), Model { installed: absent, ..model("w") }], []);
    let started = |stored: &str| {
        let store = MemoryStore::default();
        store.save(stored).unwrap();
        Gateway::new(
            Registry::new(vec![registered("p", 1, &provider)]),
            routing(),
            caching(),
            Metrics::new(),
            Box::new(store),
        )
    };
    assert_eq!(started("p/y").current().unwrap().to_string(), "p/y");
    assert_eq!(started("p/gone").current().unwrap().to_string(), "p/x");
    assert!(matches!(started("p/y").set_current("w"), Err(Error::NotInstalled { .. })));
}

#[test]
fn names_in_routing_that_nothing_answers_to_are_told() {
    let near = Scripted::new(vec![model("y")], []);
    let sound =
        Routing { default_provider: Some("near".to_owned()), default_model: Some("near/y".to_owned()), ..routing() };
    assert!(gateway(&[("near", &near)], sound).routing_problems().is_empty());
    let wrong = Routing { default_provider: Some("far".to_owned()), default_model: Some("v".to_owned()), ..routing() };
    assert_eq!(gateway(&[("near", &near)], wrong).routing_problems().len(), 2);
}
