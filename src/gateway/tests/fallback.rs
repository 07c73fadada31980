//! The turns of the candidates.

use std::time::Duration;

use super::{gateway, nonzero, routing, size, target, told};
use crate::gateway::{Error, Routing, Scope};
use crate::generation::{
    Availability, FallbackPolicy, GenerationRequest, ImageFormat, Installed, Limits, Model, Seed, SizeWish, Support,
    Supports, Wish,
};
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
    let Error::DeadlineExceeded { limit, attempts } = error else { panic!("{error:?}") };
    assert_eq!((limit, told(&attempts)), (Duration::from_secs(3), vec!["a/m failed timeout 1".to_owned()]));
    assert!(second.asked().is_empty());

    let patient = GenerationRequest { timeout: Some(Duration::from_hours(1)), ..request() };
    let hanging = gateway(&[("a", &scripted(Step::Hang))], routing());
    let error = hanging.generate(&patient, "r", &Scope::everybody()).await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { limit, .. } if limit == routing().deadline));
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
