//! The order of the candidates, whatever the configuration and the state.

use std::collections::HashSet;

use proptest::prelude::*;

use super::registered;
use crate::gateway::router::Router;
use crate::gateway::{Registered, Registry, Routing};
use crate::generation::{FallbackPolicy, Installed, Model, ModelId, ModelKey, ProviderId, Target};
use crate::providers::scripted::{Scripted, model};

/// One provider: its number, priority, models (key and whether it is installed) and whether it is available.
type Plan = (u8, i32, Vec<(u8, bool)>, bool);

#[derive(Debug, Clone)]
struct Case {
    plans: Vec<Plan>,
    chosen: Option<(u8, u8)>,
    default_provider: Option<u8>,
    default_model: Option<u8>,
    provider: Option<u8>,
    model: Option<u8>,
    policy: FallbackPolicy,
}

fn case() -> impl Strategy<Value = Case> {
    let plan = (0..6_u8, -2..3_i32, prop::collection::vec((0..5_u8, any::<bool>()), 1..4), any::<bool>());
    let name = || prop::option::of(0..6_u8);
    let policy = prop::sample::select(vec![FallbackPolicy::Auto, FallbackPolicy::Never]);
    (prop::collection::vec(plan, 0..6), prop::option::of((0..6_u8, 0..5_u8)), name(), name(), name(), name(), policy)
        .prop_map(|(mut plans, chosen, default_provider, default_model, provider, model, policy)| {
            plans.sort_by_key(|plan| plan.0);
            plans.dedup_by_key(|plan| plan.0);
            for plan in &mut plans {
                plan.2.sort_unstable();
                plan.2.dedup_by_key(|model| model.0);
            }
            Case { plans, chosen, default_provider, default_model, provider, model, policy }
        })
}

fn id(number: u8) -> String {
    format!("p{number}")
}

fn key(number: u8) -> String {
    // Some keys have slashes, one of them in the guise of a provider.
    ["k0", "org/k1", "k2", "p0/k3", "k4", "k5"][usize::from(number)].to_owned()
}

fn build(plans: &[Plan]) -> Vec<Registered> {
    let provider = |(number, priority, models, is_available): &Plan| {
        let models = models.iter().map(|(number, is_installed)| {
            let absent = Installed::No { detail: String::new(), remedy: String::new() };
            Model { installed: if *is_installed { Installed::Yes } else { absent }, ..model(&key(*number)) }
        });
        let provider = Scripted::new(models.collect(), []);
        let provider = if *is_available { provider } else { provider.unavailable("no_key") };
        registered(&id(*number), *priority, &provider)
    };
    plans.iter().map(provider).collect()
}

fn order(case: &Case, reversed: bool) -> Option<Vec<ModelId>> {
    let mut providers = build(&case.plans);
    if reversed {
        providers.reverse();
    }
    let registry = Registry::new(providers);
    let routing = Routing {
        default_provider: case.default_provider.map(id),
        default_model: case.default_model.map(key),
        ..super::routing()
    };
    let chosen = case
        .chosen
        .map(|(provider, model)| ModelId { provider: ProviderId::new(id(provider)), key: ModelKey::new(key(model)) });
    let target = Target { provider: case.provider.map(id), model: case.model.map(key) };
    let candidates = Router { registry: &registry, routing: &routing, chosen }.candidates(&target, case.policy).ok()?;
    Some(candidates.into_iter().map(|candidate| candidate.model).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn the_order_is_the_same_for_the_same_configuration_and_state(case in case()) {
        prop_assert_eq!(order(&case, false), order(&case, false));
        // The order in which the sections stand does not count either.
        prop_assert_eq!(order(&case, false), order(&case, true));
    }

    #[test]
    fn nobody_is_asked_twice(case in case()) {
        let Some(order) = order(&case, false) else { return Ok(()) };
        let distinct: HashSet<_> = order.iter().collect();
        prop_assert_eq!(distinct.len(), order.len());
        if case.provider.is_none() && case.model.is_none() {
            let providers: HashSet<_> = order.iter().map(|model| &model.provider).collect();
            prop_assert_eq!(providers.len(), order.len());
        }
    }

    #[test]
    fn what_is_named_comes_first_and_alone_unless_falling_back(case in case()) {
        let Some(order) = order(&case, false) else { return Ok(()) };
        let fits = |model: &ModelId| {
            case.provider.is_none_or(|provider| model.provider.as_str() == id(provider))
                && case.model.is_none_or(|wished| {
                    let wished = key(wished);
                    model.key.as_str() == wished || model.to_string() == wished
                })
        };
        let named = case.provider.is_some() || case.model.is_some();
        if named {
            prop_assert!(order.first().is_some_and(&fits));
        }
        if case.policy == FallbackPolicy::Never {
            prop_assert!(!named || order.iter().all(&fits));
            prop_assert!(named || order.len() <= 1);
        }
    }

    #[test]
    fn falling_back_reaches_every_provider(case in case()) {
        let case = Case { policy: FallbackPolicy::Auto, ..case };
        let Some(order) = order(&case, false) else { return Ok(()) };
        for plan in &case.plans {
            prop_assert!(order.iter().any(|model| model.provider.as_str() == id(plan.0)));
        }
    }

    #[test]
    fn after_the_leads_priorities_ascend(case in case()) {
        let case = Case { provider: None, model: None, policy: FallbackPolicy::Auto, ..case };
        let order = order(&case, false).unwrap_or_default();
        let place = |model: &ModelId| {
            let plan = case.plans.iter().find(|plan| id(plan.0) == model.provider.as_str());
            plan.map(|plan| (plan.1, id(plan.0)))
        };
        // At most the current model and the configured default lead.
        let places: Vec<_> = order.iter().map(place).collect();
        let descents = places.windows(2).filter(|pair| pair[0] > pair[1]).count();
        prop_assert!(descents <= 2, "{places:?}");
        if case.chosen.is_none() && case.default_provider.is_none() && case.default_model.is_none() {
            prop_assert_eq!(descents, 0);
        }
    }
}
