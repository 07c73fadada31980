//! The turns of the candidates.

use std::time::Duration;

use super::{caching, gateway, nonzero, registered, routing, size, target, told};
use crate::gateway::{Error, Gateway, MemoryStore, Registered, Registry, Routing, Scope, SetBy};
use crate::generation::{
    Availability, FallbackPolicy, GenerationRequest, ImageFormat, Installed, Limits, Model, ProviderId, Seed, SizeWish,
    Support, Supports, Wish,
};
use crate::metrics::Metrics;
use crate::providers::ErrorKind;
use crate::providers::scripted::{Scripted, Step, model, request};

fn scripted(step: Step) -> Scripted {
    Scripted::new(vec![model("m")], [step])
}

fn fails(kind: ErrorKind) -> Scripted {
    scripted(Step::Fail(kind, None))
}

fn never() -> GenerationRequest {
    GenerationRequest { fallback: Some(FallbackPolicy::Never), ..request() }
}

#[tokio::test(start_paused = true)]
async fn the_first_that_can_makes_the_pictures() {
    let (first, second) = (scripted(Step::Pictures), scripted(Step::Pictures));
    let outcome = gateway(&[("a", &first), ("b", &second)], routing())
        .generate(&request(), "r", &Scope::everybody())
        .await
        .unwrap();
    assert_eq!(told(&outcome.attempts), ["a/m ok - 1"]);
    assert_eq!((outcome.model.to_string().as_str(), outcome.fallback_used), ("a/m", false));
    assert_eq!(second.asked().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_failure_goes_on_or_ends_as_its_recovery_says() {
    let going_on = [
        ErrorKind::Unsupported,
        ErrorKind::Unauthorized,
        ErrorKind::ModelNotFound,
        ErrorKind::QuotaExhausted,
        ErrorKind::RateLimited,
        ErrorKind::Overloaded,
        ErrorKind::OutOfMemory,
        ErrorKind::Timeout,
        ErrorKind::Unavailable,
        ErrorKind::NoImage,
        ErrorKind::Protocol,
        ErrorKind::Internal,
    ];
    for kind in going_on {
        let (first, second) = (fails(kind), scripted(Step::Pictures));
        let outcome = gateway(&[("a", &first), ("b", &second)], routing())
            .generate(&request(), "r", &Scope::everybody())
            .await
            .unwrap();
        assert_eq!(told(&outcome.attempts), [format!("a/m failed {} 1", kind.category()), "b/m ok - 1".to_owned()]);
        assert!(outcome.fallback_used);
    }
    for kind in [ErrorKind::InvalidRequest, ErrorKind::ContentRejected] {
        let (first, second) = (fails(kind), scripted(Step::Pictures));
        let error = gateway(&[("a", &first), ("b", &second)], routing())
            .generate(&request(), "r", &Scope::everybody())
            .await
            .unwrap_err();
        let Error::Failed { error, attempts } = error else { panic!("{error:?}") };
        assert_eq!((error.kind(), attempts.len(), second.asked().len()), (kind, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn without_falling_back_the_first_failure_is_the_answer() {
    let (first, second) = (fails(ErrorKind::Unavailable), scripted(Step::Pictures));
    let error = gateway(&[("a", &first), ("b", &second)], routing())
        .generate(&never(), "r", &Scope::everybody())
        .await
        .unwrap_err();
    let Error::Failed { error, attempts } = error else { panic!("{error:?}") };
    assert_eq!((error.kind(), told(&attempts)), (ErrorKind::Unavailable, vec!["a/m failed unavailable 1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_first_failure_is_told_unless_a_later_one_ended_it() {
    let (first, second) = (fails(ErrorKind::RateLimited), fails(ErrorKind::Protocol));
    let error = gateway(&[("a", &first), ("b", &second)], routing())
        .generate(&request(), "r", &Scope::everybody())
        .await
        .unwrap_err();
    let Error::Failed { error, attempts } = error else { panic!("{error:?}") };
    assert_eq!((error.kind(), attempts.len()), (ErrorKind::RateLimited, 2));

    let (first, second) = (fails(ErrorKind::RateLimited), fails(ErrorKind::ContentRejected));
    let error = gateway(&[("a", &first), ("b", &second)], routing())
        .generate(&request(), "r", &Scope::everybody())
        .await
        .unwrap_err();
    let Error::Failed { error, .. } = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::ContentRejected);
}

#[tokio::test(start_paused = true)]
async fn whoever_is_unavailable_is_not_asked() {
    let first = scripted(Step::Pictures).unavailable("no_key");
    let second = scripted(Step::Pictures);
    let house = gateway(&[("a", &first), ("b", &second)], routing());
    let outcome = house.generate(&request(), "r", &Scope::everybody()).await.unwrap();
    assert_eq!(told(&outcome.attempts), ["a/m unavailable no_key 0", "b/m ok - 1"]);
    assert!(first.asked().is_empty());

    let error = house.generate(&never(), "r", &Scope::everybody()).await.unwrap_err();
    let Error::NothingAvailable { attempts, remedies } = &error else { panic!("{error:?}") };
    assert_eq!(told(attempts), ["a/m unavailable no_key 0"]);
    assert_eq!((remedies[0].reason.as_str(), remedies[0].remedy.as_str()), ("no_key", "cure no_key"));
}

#[tokio::test(start_paused = true)]
async fn nothing_available_tells_every_remedy() {
    let first = scripted(Step::Pictures).unavailable("no_key");
    let second = scripted(Step::Pictures).unavailable("engine_missing");
    let house = gateway(&[("a", &first), ("b", &second)], routing());
    let error = house.generate(&request(), "r", &Scope::everybody()).await.unwrap_err();
    assert_eq!(error.to_string(), "nothing is available: a (it says no_key); b (it says engine_missing)");
    let Error::NothingAvailable { remedies, .. } = error else { panic!() };
    assert_eq!(
        remedies.iter().map(|remedy| remedy.remedy.as_str()).collect::<Vec<_>>(),
        ["cure no_key", "cure engine_missing"]
    );

    let empty = gateway(&[], routing()).generate(&request(), "r", &Scope::everybody()).await.unwrap_err();
    assert_eq!(empty.to_string(), "no provider is configured");
}

#[tokio::test(start_paused = true)]
async fn a_named_model_that_is_not_installed_is_said_to_be_so() {
    let absent = Installed::No { detail: "it was not found".to_owned(), remedy: "fetch it".to_owned() };
    let local = Scripted::new(vec![Model { installed: absent, ..model("big") }, model("small")], []);
    let cloud = scripted(Step::Pictures);
    let house = gateway(&[("local", &local), ("cloud", &cloud)], routing());
    let named = GenerationRequest { target: target(None, Some("big")), ..request() };
    let error = house.generate(&named, "r", &Scope::everybody()).await.unwrap_err();
    let Error::NotInstalled { model, remedy, .. } = error else { panic!("{error:?}") };
    assert_eq!((model.to_string().as_str(), remedy.as_str()), ("local/big", "fetch it"));

    let auto = GenerationRequest { fallback: Some(FallbackPolicy::Auto), ..named };
    let outcome = house.generate(&auto, "r", &Scope::everybody()).await.unwrap();
    assert_eq!(told(&outcome.attempts), ["local/big unavailable not_installed 0", "local/small ok - 1"]);
}

#[tokio::test(start_paused = true)]
async fn a_hard_wish_skips_whoever_cannot_honour_it() {
    let limits = Limits { sizes: vec![size(64, 64)], ..Limits::default() };
    let fixed = Scripted::new(vec![Model { limits, ..model("m") }], []);
    let free = scripted(Step::Pictures);
    let house = gateway(&[("fixed", &fixed), ("free", &free)], routing());
    let asked = GenerationRequest { size: SizeWish::Exact(size(32, 32)), ..request() };
    let outcome = house.generate(&asked, "r", &Scope::everybody()).await.unwrap();
    assert_eq!(told(&outcome.attempts), ["fixed/m skipped unsupported_size 0", "free/m ok - 1"]);

    let named = GenerationRequest { target: target(Some("fixed"), None), ..asked };
    let error = house.generate(&named, "r", &Scope::everybody()).await.unwrap_err();
    let Error::Unsupported { fields, message, attempts } = error else { panic!("{error:?}") };
    assert_eq!((fields, attempts.len()), (vec!["size"], 1));
    assert!(message.ends_with("it makes 64x64; the nearest is 64x64"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn soft_wishes_are_ignored_or_hard_as_strictness_says() {
    let supports = Supports { seed: Support::No, ..model("m").supports };
    let seedless = Scripted::new(vec![Model { supports, ..model("m") }], []);
    let seeded = scripted(Step::Pictures);
    let asked = GenerationRequest { seed: Some(Seed::from(7)), ..request() };
    let house = gateway(&[("a", &seedless), ("b", &seeded)], routing());
    let outcome = house.generate(&asked, "r", &Scope::everybody()).await.unwrap();
    assert_eq!(
        (told(&outcome.attempts), outcome.generation.ignored),
        (vec!["a/m ok - 1".to_owned()], vec![Wish::Seed])
    );
    assert_eq!(seedless.asked()[0].seed, None);

    for (routing, strict) in [(routing(), true), (Routing { strict: true, ..routing() }, false)] {
        let house = gateway(&[("a", &seedless), ("b", &seeded)], routing);
        let outcome =
            house.generate(&GenerationRequest { strict, ..asked.clone() }, "r", &Scope::everybody()).await.unwrap();
        assert_eq!(told(&outcome.attempts), ["a/m skipped unsupported_seed 0", "b/m ok - 1"]);
        assert_eq!(outcome.generation.images[0].seed, Some(Seed::from(7)));
    }
}

#[tokio::test(start_paused = true)]
async fn one_deadline_covers_the_whole_chain() {
    let (first, second) = (scripted(Step::Hang), scripted(Step::Pictures));
    let house = gateway(&[("a", &first), ("b", &second)], routing());
    let started = tokio::time::Instant::now();
    let asked = GenerationRequest { timeout: Some(Duration::from_secs(3)), ..request() };
    let error = house.generate(&asked, "r", &Scope::everybody()).await.unwrap_err();
    assert_eq!(started.elapsed(), Duration::from_secs(3));
    let Error::DeadlineExceeded { limit, set_by, attempts } = error else { panic!("{error:?}") };
    assert_eq!((limit, set_by), (Duration::from_secs(3), SetBy::Request));
    assert_eq!(told(&attempts), ["a/m failed timeout 1"]);
    assert!(second.asked().is_empty());

    let patient = GenerationRequest { timeout: Some(Duration::from_hours(1)), ..request() };
    let hanging = gateway(&[("a", &scripted(Step::Hang))], routing());
    let error = hanging.generate(&patient, "r", &Scope::everybody()).await.unwrap_err();
    let Error::DeadlineExceeded { limit, set_by, .. } = error else { panic!("{error:?}") };
    assert_eq!((limit, set_by), (routing().deadline, SetBy::Routing));
}

/// A house whose provider `own` has a deadline of its own.
fn with_own_deadline(providers: &[(&str, &Scripted)], deadline: Duration) -> Gateway {
    let of = |((id, provider), priority): (&(&str, &Scripted), i32)| {
        let deadline = (*id == "own").then_some(deadline);
        Registered { deadline, ..registered(id, priority, provider) }
    };
    let registered = providers.iter().zip(1..).map(of).collect();
    Gateway::new(Registry::new(registered), routing(), caching(), Metrics::new(), Box::new(MemoryStore::default()))
}

#[tokio::test(start_paused = true)]
async fn a_provider_may_have_a_deadline_of_its_own() {
    let (minutes, everybody) = (Duration::from_mins, Scope::everybody());
    let slow = || scripted(Step::After(minutes(9)));
    let house = with_own_deadline(&[("own", &slow())], minutes(10));
    let outcome = house.generate(&request(), "r", &everybody).await.unwrap();
    assert_eq!((outcome.attempts[0].duration, outcome.total), (minutes(9), minutes(9)));

    // It ends, too.
    let hangs = || scripted(Step::Hang);
    let house = with_own_deadline(&[("own", &hangs())], minutes(10));
    let started = tokio::time::Instant::now();
    let error = house.generate(&request(), "r", &everybody).await.unwrap_err();
    assert_eq!(started.elapsed(), minutes(10));
    let Error::DeadlineExceeded { limit, set_by, .. } = error else { panic!("{error:?}") };
    assert_eq!((limit, set_by), (minutes(10), SetBy::Provider(ProviderId::new("own"))));

    // It may be shorter than everybody's, and the caller may have less time than either.
    for (timeout, own, expected) in [(None, 30, 30), (Some(20), 600, 20), (Some(900), 600, 600)] {
        let house = with_own_deadline(&[("own", &hangs())], Duration::from_secs(own));
        let started = tokio::time::Instant::now();
        let asked = GenerationRequest { timeout: timeout.map(Duration::from_secs), ..request() };
        let error = house.generate(&asked, "r", &everybody).await.unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(expected), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_others_have_their_time_together_whoever_stands_before_them() {
    let (minutes, everybody) = (Duration::from_mins, Scope::everybody());
    let fails = |after| scripted(Step::FailAfter(ErrorKind::Unavailable, after));
    // One minute of the two is gone when `own` begins, and one is left when it has failed.
    let house = with_own_deadline(
        &[("a", &fails(minutes(1))), ("own", &fails(minutes(5))), ("b", &scripted(Step::Hang))],
        minutes(9),
    );
    let started = tokio::time::Instant::now();
    let error = house.generate(&request(), "r", &everybody).await.unwrap_err();
    assert_eq!(started.elapsed(), minutes(7));
    let Error::DeadlineExceeded { limit, set_by, attempts } = error else { panic!("{error:?}") };
    assert_eq!((limit, set_by, attempts.len()), (minutes(2), SetBy::Routing, 3));

    // Who has no time left ends the chain: nobody waits ten minutes more who was told of two.
    let own = scripted(Step::Pictures);
    let house = with_own_deadline(&[("a", &scripted(Step::Hang)), ("own", &own)], minutes(9));
    let started = tokio::time::Instant::now();
    house.generate(&request(), "r", &everybody).await.unwrap_err();
    assert_eq!((started.elapsed(), own.asked().len()), (minutes(2), 0));

    // A caller's own limit covers the whole chain.
    let asked = GenerationRequest { timeout: Some(minutes(6)), ..request() };
    let house = with_own_deadline(&[("own", &fails(minutes(5))), ("b", &scripted(Step::Hang))], minutes(9));
    let started = tokio::time::Instant::now();
    house.generate(&asked, "r", &everybody).await.unwrap_err();
    assert_eq!(started.elapsed(), minutes(6));
}

#[tokio::test(start_paused = true)]
async fn time_that_is_gone_is_gone_for_the_next_one() {
    let slow = Scripted::new(vec![model("m")], [Step::After(Duration::from_secs(4))]);
    let outcome = gateway(&[("a", &slow)], routing()).generate(&request(), "r", &Scope::everybody()).await.unwrap();
    assert_eq!(outcome.attempts[0].duration, Duration::from_secs(4));
    assert_eq!((outcome.total, outcome.overhead), (Duration::from_secs(4), Duration::ZERO));
}

#[tokio::test]
async fn a_picture_that_cannot_be_converted_is_a_failure_of_its_provider() {
    let mut broken = crate::providers::scripted::pictures(&request());
    broken.images[0].data = bytes::Bytes::from_static(b"no picture").into();
    let (first, second) = (scripted(Step::Answer(broken)), scripted(Step::Pictures));
    let asked = GenerationRequest { output_format: Some(ImageFormat::Webp), ..request() };
    let outcome =
        gateway(&[("a", &first), ("b", &second)], routing()).generate(&asked, "r", &Scope::everybody()).await.unwrap();
    assert_eq!(told(&outcome.attempts), ["a/m failed protocol 1", "b/m ok - 1"]);
    assert_eq!(outcome.generation.images[0].format, ImageFormat::Webp);
}

#[tokio::test(start_paused = true)]
async fn health_tells_what_happened_and_asks_nobody() {
    let first = Scripted::new(vec![model("m")], [Step::Fail(ErrorKind::Overloaded, None), Step::Pictures]);
    let second = scripted(Step::Pictures).unavailable("no_key");
    let house = gateway(&[("a", &first), ("b", &second)], routing());
    house.generate(&request(), "r", &Scope::everybody()).await.unwrap_err();
    house.generate(&GenerationRequest { count: nonzero(2), ..request() }, "r", &Scope::everybody()).await.unwrap();
    let health = house.health();
    assert_eq!(health.iter().map(|entry| (entry.succeeded, entry.failed)).collect::<Vec<_>>(), [(1, 1), (0, 0)]);
    assert_eq!(health[0].recent.iter().map(|turn| turn.outcome).collect::<Vec<_>>(), ["ok", "overloaded"]);
    assert_eq!(health[0].availability, Availability::Available);
    assert_eq!(first.asked().len(), 2);
}
