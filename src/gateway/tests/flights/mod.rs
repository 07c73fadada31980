//! Work that is shared, left, finished and broken off.

mod kept;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};

use super::{caching, gateway, registered, routing, told};
use crate::gateway::{CacheOutcome, Error, Gateway, MemoryStore, Outcome, Registry, Scope, Watcher};
use crate::generation::{CacheWish, FallbackPolicy, GenerationRequest, OnDisconnect, Seed};
use crate::metrics::Metrics;
use crate::providers::ErrorKind;
use crate::providers::scripted::{Scripted, Step, model, request};

type Answer = Result<Outcome, Error>;

fn seeded() -> GenerationRequest {
    GenerationRequest { seed: Some(Seed::from(7)), ..request() }
}

fn scripted(steps: impl IntoIterator<Item = Step>) -> Scripted {
    Scripted::new(vec![model("m")], steps)
}

fn slow(seconds: u64) -> Scripted {
    scripted([Step::After(Duration::from_secs(seconds))])
}

fn shared(provider: &Scripted) -> Arc<Gateway> {
    Arc::new(gateway(&[("a", provider)], routing()))
}

/// Asks in a task that can be aborted, which is what leaving is.
#[expect(clippy::disallowed_methods, reason = "the test keeps the handle and awaits or aborts it")]
fn ask(house: &Arc<Gateway>, request: GenerationRequest) -> JoinHandle<Answer> {
    let house = Arc::clone(house);
    tokio::spawn(async move { house.generate(&request, "r", &Scope::everybody()).await })
}

async fn answer(house: &Gateway, request: &GenerationRequest) -> Answer {
    house.generate(request, "r", &Scope::everybody()).await
}

async fn moments(milliseconds: u64) {
    sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test(start_paused = true)]
async fn twenty_identical_seeded_requests_are_one_call() {
    let provider = slow(3);
    let house = shared(&provider);
    let mut all = JoinSet::new();
    for _ in 0..20 {
        let house = Arc::clone(&house);
        all.spawn(async move { answer(&house, &seeded()).await.unwrap() });
    }
    let all = all.join_all().await;
    assert_eq!(provider.asked().len(), 1);
    assert_eq!(all.iter().map(|outcome| outcome.attempts[0].calls).sum::<u32>(), 1);
    let made = |cache| all.iter().filter(|outcome| outcome.cache == cache).count();
    assert_eq!((made(CacheOutcome::Miss), made(CacheOutcome::Coalesced)), (1, 19));
    assert!(all.iter().all(|outcome| outcome.generation.images == all[0].generation.images));
    for outcome in &all {
        let paid_by_another = outcome.cache == CacheOutcome::Coalesced;
        assert_eq!(outcome.generation.cost_usd, paid_by_another.then_some(0.0));
        assert_eq!((outcome.attempts[0].duration, outcome.overhead), (Duration::from_secs(3), Duration::ZERO));
    }
    assert_eq!(house.health()[0].succeeded, 1);
    assert_eq!(house.flights(), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_seed_everybody_gets_pictures_of_their_own_unless_any_will_do() {
    for (cache, seed, calls) in [
        (CacheWish::Auto, None, 5),
        (CacheWish::Never, Some(Seed::from(7)), 5),
        (CacheWish::Never, None, 5),
        (CacheWish::Any, None, 1),
        (CacheWish::Any, Some(Seed::from(7)), 1),
    ] {
        let provider = scripted((0..5).map(|_| Step::After(Duration::from_secs(1))));
        let house = shared(&provider);
        let asked = GenerationRequest { seed, cache, ..request() };
        let all: Vec<_> = (0..5).map(|_| ask(&house, asked.clone())).collect();
        for one in all {
            let outcome = one.await.unwrap().unwrap();
            assert_eq!(calls == 5, outcome.cache == CacheOutcome::Bypass, "{cache:?} {seed:?}");
        }
        assert_eq!(provider.asked().len(), calls, "{cache:?} {seed:?}");
        assert_eq!(answer(&house, &asked).await.unwrap().cache == CacheOutcome::Hit, calls == 1, "{cache:?} {seed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_scopes_share_nothing() {
    let provider = scripted([]);
    let house = shared(&provider);
    for (scope, cache) in [
        (Scope::everybody(), CacheOutcome::Miss),
        (Scope::of("alice"), CacheOutcome::Miss),
        (Scope::of(""), CacheOutcome::Miss),
        (Scope::of("alice"), CacheOutcome::Hit),
    ] {
        assert_eq!(house.generate(&seeded(), "r", &scope).await.unwrap().cache, cache, "{scope:?}");
    }
    assert_eq!(provider.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn when_the_last_one_leaves_the_work_is_given_up_at_once() {
    for asked in [request(), seeded()] {
        let provider = scripted([Step::Hang, Step::Pictures]);
        let house = shared(&provider);
        let (first, second) = (ask(&house, asked.clone()), ask(&house, GenerationRequest { ..seeded() }));
        moments(500).await;
        first.abort();
        second.abort();
        moments(1).await;
        assert_eq!((provider.busy(), house.flights()), (0, 0));
        // Nothing of it is left behind that a later one could get stuck on.
        assert!(answer(&house, &asked).await.is_ok());
        assert_eq!((house.health()[0].failed, house.cached_bytes() > 0), (0, true));
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_leaves_and_the_others_get_what_it_began() {
    let provider = slow(3);
    let house = shared(&provider);
    let first = ask(&house, seeded());
    moments(100).await;
    let (second, third) = (ask(&house, seeded()), ask(&house, seeded()));
    moments(100).await;
    first.abort();
    moments(100).await;
    third.abort();
    let outcome = second.await.unwrap().unwrap();
    assert_eq!((provider.asked().len(), outcome.cache), (1, CacheOutcome::Coalesced));
    assert_eq!(told(&outcome.attempts), ["a/m ok - 0"]);
}

#[tokio::test(start_paused = true)]
async fn the_providers_policy_says_what_becomes_of_it_where_the_request_does_not() {
    for (wish, finished) in [(None, 1), (Some(OnDisconnect::Cancel), 0), (Some(OnDisconnect::Finish), 1)] {
        let provider = slow(3);
        let mut entry = registered("a", 1, &provider);
        entry.on_disconnect = OnDisconnect::Finish;
        let registry = Registry::new(vec![entry]);
        let house =
            Arc::new(Gateway::new(registry, routing(), caching(), Metrics::new(), Box::new(MemoryStore::default())));
        let one = ask(&house, GenerationRequest { on_disconnect: wish, ..seeded() });
        moments(100).await;
        one.abort();
        house.flights_idle().await;
        assert_eq!(house.health()[0].succeeded, finished, "{wish:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_finished_has_the_time_of_the_house_and_not_of_a_caller_in_a_hurry() {
    let provider = slow(3);
    let house = shared(&provider);
    let hurried = GenerationRequest {
        on_disconnect: Some(OnDisconnect::Finish),
        timeout: Some(Duration::from_secs(1)),
        ..seeded()
    };
    let started = Instant::now();
    let error = answer(&house, &hurried).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    let Error::DeadlineExceeded { attempts, .. } = error else { panic!("{error:?}") };
    assert_eq!(told(&attempts), ["a/m failed timeout 1"]);
    house.flights_idle().await;
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    assert_eq!(answer(&house, &hurried).await.unwrap().cache, CacheOutcome::Hit);

    let hanging = scripted([Step::Hang]);
    let house = shared(&hanging);
    let started = Instant::now();
    answer(&house, &hurried).await.unwrap_err();
    house.flights_idle().await;
    assert_eq!(started.elapsed(), routing().deadline);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_less_time_leaves_and_does_not_end_it_for_the_others() {
    let provider = slow(3);
    let house = shared(&provider);
    let first = ask(&house, seeded());
    moments(100).await;
    let started = Instant::now();
    let hurried = GenerationRequest { timeout: Some(Duration::from_secs(1)), ..seeded() };
    let error = answer(&house, &hurried).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    let Error::DeadlineExceeded { attempts, .. } = error else { panic!("{error:?}") };
    assert_eq!(told(&attempts), ["a/m failed timeout 0"]);
    assert!(first.await.unwrap().is_ok());
    assert_eq!(provider.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn whoever_has_more_time_than_the_first_begins_anew_when_its_time_is_over() {
    let provider = scripted([Step::Hang, Step::After(Duration::from_secs(2))]);
    let house = shared(&provider);
    let first = ask(&house, GenerationRequest { timeout: Some(Duration::from_secs(1)), ..seeded() });
    moments(100).await;
    let started = Instant::now();
    let others: Vec<_> = (0..3).map(|_| ask(&house, seeded())).collect();
    let error = first.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error:?}");
    let mut calls = 0;
    for other in others {
        let outcome = other.await.unwrap().unwrap();
        calls += outcome.attempts[0].calls;
        assert_eq!(outcome.attempts.len(), 1);
    }
    assert_eq!((calls, provider.asked().len()), (1, 2));
    assert_eq!(started.elapsed(), Duration::from_millis(2900));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_everybodys_and_is_not_kept() {
    let provider = scripted([Step::FailAfter(ErrorKind::ContentRejected, Duration::from_secs(1))]);
    let house = shared(&provider);
    let all: Vec<_> = (0..4).map(|_| ask(&house, seeded())).collect();
    let mut calls = 0;
    for one in all {
        let Err(Error::Failed { error, attempts }) = one.await.unwrap() else { panic!("no failure") };
        assert_eq!(error.to_string(), "it fails with content_rejected");
        calls += attempts[0].calls;
    }
    assert_eq!((calls, provider.asked().len(), house.health()[0].failed), (1, 1, 1));
    assert_eq!(answer(&house, &seeded()).await.unwrap().cache, CacheOutcome::Miss);
}

#[tokio::test(start_paused = true)]
async fn everybody_falls_back_by_their_own_rule() {
    let first = scripted([Step::FailAfter(ErrorKind::Unavailable, Duration::from_secs(1))]);
    let second = slow(1);
    let house = Arc::new(gateway(&[("a", &first), ("b", &second)], routing()));
    let auto = [ask(&house, seeded()), ask(&house, seeded())];
    let never = ask(&house, GenerationRequest { fallback: Some(FallbackPolicy::Never), ..seeded() });
    for one in auto {
        let outcome = one.await.unwrap().unwrap();
        assert_eq!((outcome.model.to_string().as_str(), outcome.fallback_used), ("b/m", true));
    }
    assert!(matches!(never.await.unwrap(), Err(Error::Failed { .. })));
    assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_fault_of_our_own_and_the_next_provider_helps_out() {
    let house = Arc::new(gateway(&[("a", &scripted([Step::Panic])), ("b", &scripted([]))], routing()));
    let outcome = answer(&house, &seeded()).await.unwrap();
    assert_eq!(told(&outcome.attempts), ["a/m failed internal 1", "b/m ok - 1"]);
    assert_eq!(house.flights(), 0);

    let house = shared(&scripted([Step::Panic]));
    let (one, other) = (ask(&house, seeded()), ask(&house, seeded()));
    for one in [one, other] {
        let Err(Error::Failed { error, .. }) = one.await.unwrap() else { panic!("no failure") };
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}

#[test]
fn work_whose_thread_ended_is_begun_anew_by_those_who_still_wait_or_come_later() {
    let thread = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for joined in [true, false] {
        let provider = scripted([Step::Hang, Step::Pictures]);
        let house = shared(&provider);
        let finish = GenerationRequest { on_disconnect: Some(OnDisconnect::Finish), ..seeded() };
        let (ends, stays) = (thread(), thread());
        let first = ends.spawn({
            let house = Arc::clone(&house);
            async move { answer(&house, &finish).await }
        });
        ends.block_on(moments(50));
        assert_eq!(house.flights(), 1);
        let outcome = stays.block_on(async {
            let waits = joined.then(|| ask(&house, seeded()));
            moments(50).await;
            assert_eq!(provider.asked().len(), 1);
            ends.shutdown_background();
            waits.unwrap_or_else(|| ask(&house, seeded())).await.unwrap().unwrap()
        });
        assert_eq!((outcome.cache, outcome.attempts[0].calls), (CacheOutcome::Miss, 1), "{joined}");
        assert_eq!((provider.asked().len(), house.flights()), (2, 0));
        assert!(stays.block_on(first).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_come_and_leave_leave_nothing_behind() {
    let provider = scripted((0..2000).map(|index| Step::After(Duration::from_millis(index * 37 % 400))));
    let house = shared(&provider);
    let mut all = Vec::new();
    for index in 0..600_u32 {
        let asked = GenerationRequest { seed: (index % 3 > 0).then(|| Seed::from(index % 7)), ..request() };
        all.push((ask(&house, asked), index));
        moments(u64::from(index * 13 % 5)).await;
        if index % 2 == 0 {
            all[(index as usize * 31) % (index as usize + 1)].0.abort();
        }
    }
    for (one, index) in all {
        match one.await {
            Ok(outcome) => assert_eq!(outcome.unwrap().attempts.len(), 1, "{index}"),
            Err(left) => assert!(left.is_cancelled()),
        }
    }
    house.flights_idle().await;
    assert_eq!((provider.busy(), house.flights()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_on_sees_what_is_made_for_them_and_nothing_else() {
    let provider = scripted([Step::After(Duration::from_secs(3))]);
    let house = shared(&provider);
    let asked = GenerationRequest { partial_images: 2, ..seeded() };
    let (first_watcher, mut first_sight) = Watcher::new();
    let (second_watcher, mut second_sight) = Watcher::new();
    let scope = Scope::everybody();
    let first = house.shown(&asked, "r", &scope, Some(first_watcher));
    let second = async {
        moments(100).await;
        house.shown(&asked, "r", &scope, Some(second_watcher)).await
    };
    let seen = async {
        first_sight.begun().await;
        let begun = Instant::now();
        let seen = [first_sight.preview().await.unwrap().step, first_sight.preview().await.unwrap().step];
        assert_eq!((seen, begun.elapsed()), ([0, 1], Duration::ZERO));
        second_sight.begun().await;
    };
    let (first, second, ()) = tokio::join!(first, second, seen);
    assert_eq!((first.unwrap().cache, second.unwrap().cache), (CacheOutcome::Miss, CacheOutcome::Coalesced));
    assert!(first_sight.preview().await.is_none() && second_sight.preview().await.is_none());
    // Kept pictures are there at once: nothing begins.
    let (watcher, mut sight) = Watcher::new();
    assert_eq!(house.shown(&asked, "r", &scope, Some(watcher)).await.unwrap().cache, CacheOutcome::Hit);
    assert!(tokio::time::timeout(Duration::from_secs(1), sight.begun()).await.is_err());
    assert!(sight.preview().await.is_none());
    // Without a wish for previews there are none.
    let (watcher, mut sight) = Watcher::new();
    let plain = GenerationRequest { seed: None, partial_images: 0, ..asked.clone() };
    house.shown(&plain, "r", &scope, Some(watcher)).await.unwrap();
    assert!(sight.preview().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn previews_that_nobody_looks_at_in_time_are_lost_and_the_end_is_not() {
    let provider = scripted([]);
    let house = shared(&provider);
    let asked = GenerationRequest { partial_images: 200, ..request() };
    let (watcher, mut sight) = Watcher::new();
    house.shown(&asked, "r", &Scope::everybody(), Some(watcher)).await.unwrap();
    let mut seen = Vec::new();
    while let Some(preview) = sight.preview().await {
        seen.push(preview.step);
    }
    assert_eq!(seen, [0, 1, 2, 3]);
}
