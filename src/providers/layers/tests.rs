//! The layers around a scripted provider, on a stopped clock.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::generation::{
    Defaults, GenerationRequest, ImageFormat, ImageSize, Limits, Model, ModelKey, Seed, SizeWish, Support, Supports,
};
use crate::providers::scripted::{Scripted, Step, encoded, model, pictures, request, wrapped};
use crate::providers::{Call, Error, ErrorKind, Policy};

fn policy(attempts: u32) -> Policy {
    Policy { timeout: Duration::from_secs(10), attempts, backoff: Duration::from_secs(1), ..Policy::default() }
}

fn call(limit: Duration) -> Call {
    Call::new(ModelKey::new("m"), Instant::now() + limit, "r")
}

struct Told {
    result: Result<crate::generation::Generation, Error>,
    calls: u32,
    took: Duration,
}

impl Told {
    fn kind(&self) -> ErrorKind {
        self.result.as_ref().unwrap_err().kind()
    }
}

async fn ask(provider: &Scripted, policy: &Policy, request: &GenerationRequest, limit: Duration) -> Told {
    let started = Instant::now();
    let call = call(limit);
    let result = wrapped(Arc::new(provider.clone()), policy).generate(request, &call).await;
    Told { result, calls: call.upstream_calls(), took: started.elapsed() }
}

fn script(steps: impl IntoIterator<Item = Step>) -> Scripted {
    Scripted::new(vec![model("m")], steps)
}

const HOUR: Duration = Duration::from_hours(1);

#[tokio::test(start_paused = true)]
async fn attempts_are_exactly_what_the_policy_says() {
    for attempts in 1..4 {
        let down = script(vec![Step::Fail(ErrorKind::Unavailable, None); 9]);
        let told = ask(&down, &policy(attempts), &request(), HOUR).await;
        assert_eq!((told.kind(), told.calls), (ErrorKind::Unavailable, attempts));
    }
    let cured = script([Step::Fail(ErrorKind::NoImage, None), Step::Fail(ErrorKind::Protocol, None)]);
    let told = ask(&cured, &policy(3), &request(), HOUR).await;
    assert_eq!((told.result.is_ok(), told.calls), (true, 3));
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_not_repeated() {
    for kind in
        [ErrorKind::Unauthorized, ErrorKind::ContentRejected, ErrorKind::InvalidRequest, ErrorKind::QuotaExhausted]
    {
        let told = ask(&script([Step::Fail(kind, None)]), &policy(5), &request(), HOUR).await;
        assert_eq!((told.kind(), told.calls, told.took), (kind, 1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn the_pause_doubles_within_its_jitter() {
    let down = script(vec![Step::Fail(ErrorKind::Unavailable, None); 9]);
    let told = ask(&down, &policy(4), &request(), HOUR).await;
    // 1 + 2 + 4 seconds, of which each pause takes from half to the whole.
    assert!(told.took >= Duration::from_millis(3500) && told.took <= Duration::from_secs(7), "{:?}", told.took);
}

#[tokio::test(start_paused = true)]
async fn the_providers_own_word_on_coming_back_is_obeyed() {
    let limited = script([Step::Fail(ErrorKind::RateLimited, Some(Duration::from_secs(7)))]);
    let told = ask(&limited, &policy(2), &request(), HOUR).await;
    assert!(told.result.is_ok());
    assert_eq!(told.took, Duration::from_secs(7));
    // Longer than an attempt may last, or than there is time for: not waited for at all.
    for (pause, limit) in [(11, HOUR), (7, Duration::from_secs(7))] {
        let limited = script([Step::Fail(ErrorKind::RateLimited, Some(Duration::from_secs(pause)))]);
        let told = ask(&limited, &policy(2), &request(), limit).await;
        assert_eq!((told.kind(), told.calls, told.took), (ErrorKind::RateLimited, 1, Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_the_policys_limit_and_never_more_than_is_left() {
    let told = ask(&script([Step::Hang, Step::Pictures]), &policy(2), &request(), HOUR).await;
    assert_eq!((told.result.is_ok(), told.calls), (true, 2));
    assert!(told.took >= Duration::from_secs(10) && told.took <= Duration::from_secs(11));
    let told = ask(&script([Step::Hang]), &policy(1), &request(), Duration::from_secs(4)).await;
    assert_eq!((told.kind(), told.took), (ErrorKind::Timeout, Duration::from_secs(4)));
}

#[tokio::test(start_paused = true)]
async fn a_large_count_is_split_with_its_seeds() {
    let limits = Limits { max_count: NonZeroU32::new(4), ..Limits::default() };
    let provider = Scripted::new(vec![Model { limits, ..model("m") }], [Step::Fail(ErrorKind::Overloaded, None)]);
    let count = NonZeroU32::new(10).unwrap();
    let asked = GenerationRequest { count, seed: Some(Seed::from(100)), ..request() };
    let told = ask(&provider, &policy(2), &asked, HOUR).await;
    let seeds: Vec<_> = told.result.unwrap().images.iter().map(|image| image.seed.unwrap().get()).collect();
    assert_eq!(seeds, (100..110).collect::<Vec<_>>());
    // The first part took two attempts.
    assert_eq!(told.calls, 4);
    let parts: Vec<_> = provider.asked().iter().map(|part| (part.count.get(), part.seed.unwrap().get())).collect();
    assert_eq!(parts, [(4, 100), (4, 100), (4, 104), (2, 108)]);
}

#[tokio::test(start_paused = true)]
async fn the_count_must_be_the_asked_one() {
    let two = GenerationRequest { count: NonZeroU32::new(2).unwrap(), ..request() };
    let told = ask(&script([Step::Answer(pictures(&request()))]), &policy(1), &two, HOUR).await;
    assert_eq!(told.kind(), ErrorKind::NoImage);
    assert_eq!(told.result.unwrap_err().to_string(), "1 of 2 pictures came back");
    let told = ask(&script([Step::Answer(pictures(&two))]), &policy(1), &request(), HOUR).await;
    assert_eq!(told.kind(), ErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn the_size_must_be_the_one_that_was_sent() {
    let wrong = || Step::Answer(pictures(&request()));
    let size = ImageSize::new(32, 32).unwrap();
    let asked = GenerationRequest { size: SizeWish::Exact(size), ..request() };
    let told = ask(&script([wrong()]), &policy(1), &asked, HOUR).await;
    assert_eq!(told.result.unwrap_err().to_string(), "picture 0 is 16x16 where 32x32 was asked for");

    // The model's own default is sent too, unless it takes no size.
    let defaults = Defaults { size: Some(size), ..Defaults::default() };
    let sized = Model { defaults, ..model("m") };
    let sizeless = Model { supports: Supports { size: Support::No, ..sized.supports }, ..sized.clone() };
    for (model, is_ok) in [(sized, false), (sizeless, true)] {
        let told = ask(&Scripted::new(vec![model], [wrong()]), &policy(1), &request(), HOUR).await;
        assert_eq!(told.result.is_ok(), is_ok);
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_picture_is_a_failure_that_may_pass() {
    let size = ImageSize::new(16, 16).unwrap();
    let mut cut = pictures(&request());
    cut.images[0].bytes.truncate(60);
    let mut lying = pictures(&request());
    lying.images[0].bytes = encoded(size, ImageFormat::Jpeg);
    for broken in [cut, lying] {
        let told = ask(&script([Step::Answer(broken.clone())]), &policy(1), &request(), HOUR).await;
        assert_eq!(told.kind(), ErrorKind::Protocol);
        let told = ask(&script([Step::Answer(broken)]), &policy(2), &request(), HOUR).await;
        assert_eq!((told.result.is_ok(), told.calls), (true, 2));
    }
}
