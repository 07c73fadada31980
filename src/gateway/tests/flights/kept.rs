//! What is finished is kept for those who come later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::{caching, gateway, registered, routing, told};
use super::{answer, ask, moments, scripted, seeded, shared, slow};
use crate::gateway::{CacheLimits, CacheOutcome, Gateway, MemoryStore, Registry, Scope};
use crate::generation::{Availability, GenerationRequest, ImageFormat, OnDisconnect, Seed};
use crate::metrics::Metrics;
use crate::providers::scripted::{Step, request};

#[tokio::test(start_paused = true)]
async fn kept_pictures_need_no_provider_and_keep_the_order() {
    let (first, second) = (scripted([]), scripted([]));
    let house = gateway(&[("a", &first), ("b", &second)], routing());
    let down = || Availability::Unavailable {
        reason: "no_key",
        detail: "it has no key".to_owned(),
        remedy: "set one".to_owned(),
    };
    answer(&house, &seeded()).await.unwrap();
    first.set_availability(down());
    let outcome = answer(&house, &seeded()).await.unwrap();
    assert_eq!((told(&outcome.attempts), outcome.cache), (vec!["a/m ok - 0".to_owned()], CacheOutcome::Hit));
    assert_eq!((outcome.fallback_used, outcome.generation.cost_usd), (false, Some(0.0)));

    // Another seed comes from the second, and stays with it even when the first is back: its turn is earlier.
    let other = GenerationRequest { seed: Some(Seed::from(8)), ..request() };
    assert_eq!(told(&answer(&house, &other).await.unwrap().attempts), ["a/m unavailable no_key 0", "b/m ok - 1"]);
    second.set_availability(down());
    let outcome = answer(&house, &other).await.unwrap();
    assert_eq!(told(&outcome.attempts), ["a/m unavailable no_key 0", "b/m ok - 0"]);
    first.set_availability(Availability::Available);
    assert_eq!(told(&answer(&house, &other).await.unwrap().attempts), ["a/m ok - 1"]);
}

#[tokio::test]
async fn what_is_kept_is_what_was_converted() {
    let provider = scripted([]);
    let house = shared(&provider);
    let webp = GenerationRequest { output_format: Some(ImageFormat::Webp), ..seeded() };
    let made = answer(&house, &webp).await.unwrap();
    let again = answer(&house, &webp).await.unwrap();
    assert_eq!((again.cache, provider.asked().len()), (CacheOutcome::Hit, 1));
    assert_eq!(made.generation.images, again.generation.images);
    assert_eq!(again.generation.images[0].format, ImageFormat::Webp);
}

#[tokio::test(start_paused = true)]
async fn without_a_cache_requests_under_way_are_shared_all_the_same() {
    let provider = scripted((0..2).map(|_| Step::After(Duration::from_secs(1))));
    let registry = Registry::new(vec![registered("a", 1, &provider)]);
    let off = CacheLimits { max_bytes: 0, ..caching() };
    let house = Arc::new(Gateway::new(registry, routing(), off, Metrics::new(), Box::new(MemoryStore::default())));
    let (one, other) = (ask(&house, seeded()), ask(&house, seeded()));
    let caches = [one.await.unwrap().unwrap().cache, other.await.unwrap().unwrap().cache];
    assert!(caches.contains(&CacheOutcome::Bypass) && caches.contains(&CacheOutcome::Coalesced), "{caches:?}");
    assert_eq!(answer(&house, &seeded()).await.unwrap().cache, CacheOutcome::Bypass);
    assert_eq!(provider.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_come_again_finds_what_was_finished_without_it() {
    let provider = scripted([Step::After(Duration::from_secs(1)), Step::After(Duration::from_secs(1))]);
    let house = shared(&provider);
    let asked = GenerationRequest { on_disconnect: Some(OnDisconnect::Finish), ..request() };
    let scope = Scope::everybody().once([1; 32]);
    let leaving = tokio::time::timeout(Duration::from_millis(100), house.generate(&asked, "r", &scope));
    assert!(leaving.await.is_err());
    // Under another name, or none, it is another request.
    assert_eq!(answer(&house, &asked).await.unwrap().cache, CacheOutcome::Bypass);
    let outcome = house.generate(&asked, "r", &scope).await.unwrap();
    assert_eq!((outcome.cache, provider.asked().len()), (CacheOutcome::Hit, 2));
    // What somebody has got needs no room.
    let other = Scope::everybody().once([2; 32]);
    let before = house.cached_bytes();
    assert_eq!(house.generate(&asked, "r", &other).await.unwrap().cache, CacheOutcome::Bypass);
    assert_eq!(house.cached_bytes(), before);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_finished_is_finished_and_kept() {
    let finish = GenerationRequest { on_disconnect: Some(OnDisconnect::Finish), ..seeded() };
    // It is enough that one of those who waited wants it, whoever leaves last.
    for asked in [vec![finish.clone()], vec![finish.clone(), seeded()], vec![seeded(), finish.clone()]] {
        let provider = slow(3);
        let house = shared(&provider);
        for one in asked.into_iter().map(|asked| ask(&house, asked)).collect::<Vec<_>>() {
            moments(100).await;
            one.abort();
        }
        moments(1).await;
        assert_eq!((provider.busy(), house.flights()), (1, 1));
        let started = Instant::now();
        house.flights_idle().await;
        assert!(started.elapsed() > Duration::from_secs(2));
        let outcome = answer(&house, &seeded()).await.unwrap();
        assert_eq!((outcome.cache, provider.asked().len()), (CacheOutcome::Hit, 1));
        assert_eq!(house.health()[0].succeeded, 1);
    }
}
