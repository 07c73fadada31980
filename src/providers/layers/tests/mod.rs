//! The layers around scripted providers, on a stopped clock.

mod breaker;
mod composition;
mod cost;
mod keys;
mod limit;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Gauges, Wrapped, wrap};
use crate::generation::{
    Availability, Defaults, Generation, GenerationRequest, ImageFormat, ImageSize, Limits, Model, ModelKey, ProviderId,
    Ratios, Seed, SizeWish, SourceImage, Support, Supports,
};
use crate::metrics::Metrics;
use crate::providers::scripted::{Scripted, Step, encoded, model, pictures, request, wrapped};
use crate::providers::{BreakerPolicy, Built, Call, Error, ErrorKind, ModelPrices, Policy, Provider};

/// No limits and no breaker.
fn policy(attempts: u32) -> Policy {
    let breaker = BreakerPolicy { failures: 0, ..BreakerPolicy::default() };
    Policy { timeout: secs(10), attempts, backoff: secs(1), breaker, ..Policy::default() }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn call(limit: Duration) -> Call {
    Call::new(ModelKey::new("m"), Instant::now() + limit, "r")
}

/// A provider with each of its keys, in layers that last for more than one request.
struct Layered {
    provider: Arc<dyn Provider>,
    gauges: Arc<Gauges>,
    metrics: Metrics,
}

impl Layered {
    fn new(keys: &[&Scripted], policy: &Policy) -> Self {
        Self::with_prices(keys, policy, ModelPrices::default())
    }

    fn with_prices(keys: &[&Scripted], policy: &Policy, prices: ModelPrices) -> Self {
        let mut keys = keys.iter().map(|key| Arc::new((*key).clone()) as Arc<dyn Provider>);
        Self::of(Built { first: keys.next().unwrap(), others: keys.collect() }, policy, prices)
    }

    fn of(built: Built, policy: &Policy, prices: ModelPrices) -> Self {
        let metrics = Metrics::new();
        let Wrapped { provider, gauges } = wrap(&ProviderId::new("p"), built, policy, prices, &metrics.provider("p"));
        Self { provider, gauges, metrics }
    }

    /// One request with an hour's time.
    async fn ask(&self) -> Told {
        self.ask_within(HOUR).await
    }

    async fn ask_within(&self, limit: Duration) -> Told {
        let started = Instant::now();
        let call = call(limit);
        let result = self.provider.generate(&request(), &call).await;
        Told { result, calls: call.upstream_calls(), took: started.elapsed() }
    }

    /// Why it is not available.
    fn reason(&self) -> Option<&'static str> {
        match self.provider.is_available() {
            Availability::Available => None,
            Availability::Unavailable { reason, .. } => Some(reason),
        }
    }

    #[track_caller]
    fn counted(&self, line: &str) {
        let text = self.metrics.render();
        assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
    }
}

struct Told {
    result: Result<Generation, Error>,
    calls: u32,
    took: Duration,
}

impl Told {
    #[track_caller]
    fn kind(&self) -> ErrorKind {
        self.error().kind()
    }

    #[track_caller]
    fn error(&self) -> &Error {
        self.result.as_ref().unwrap_err()
    }

    /// Held back without a call, and until when.
    #[track_caller]
    fn held_back(&self) -> (ErrorKind, Option<Duration>) {
        assert_eq!(self.calls, 0);
        assert!(self.error().is_held_back());
        (self.kind(), self.error().retry_after())
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
async fn what_is_made_of_a_picture_has_the_size_that_its_provider_sees_to() {
    let image = Some(SourceImage {
        bytes: encoded(ImageSize::new(8, 8).unwrap(), ImageFormat::Png),
        format: ImageFormat::Png,
        size: ImageSize::new(8, 8).unwrap(),
    });
    let made = || pictures(&request());
    for (ratios, image, is_fine) in
        [(Ratios::Passed, image.clone(), true), (Ratios::Passed, None, false), (Ratios::Sized, image, false)]
    {
        let defaults = Defaults { size: ImageSize::new(32, 32), ..Defaults::default() };
        let limits = Limits { ratios, ..Limits::default() };
        let provider = Scripted::new(vec![Model { limits, defaults, ..model("m") }], [Step::Answer(made())]);
        let told = ask(&provider, &policy(1), &GenerationRequest { image, ..request() }, HOUR).await;
        assert_eq!(told.result.is_ok(), is_fine, "{ratios:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_broken_picture_is_a_failure_that_may_pass() {
    let size = ImageSize::new(16, 16).unwrap();
    let mut cut = pictures(&request());
    cut.images[0].data = cut.images[0].data.file().slice(..60).into();
    let mut lying = pictures(&request());
    lying.images[0].data = encoded(size, ImageFormat::Jpeg).into();
    for broken in [cut, lying] {
        let told = ask(&script([Step::Answer(broken.clone())]), &policy(1), &request(), HOUR).await;
        assert_eq!(told.kind(), ErrorKind::Protocol);
        let told = ask(&script([Step::Answer(broken)]), &policy(2), &request(), HOUR).await;
        assert_eq!((told.result.is_ok(), told.calls), (true, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn turns_are_counted_by_model_and_outcome() {
    let paid = Step::Answer(Generation { cost_usd: Some(0.25), ..pictures(&request()) });
    let steps = [Step::Fail(ErrorKind::NoImage, None), paid, Step::Fail(ErrorKind::ContentRejected, None)];
    let layered = Layered::new(&[&script(steps)], &policy(2));
    layered.ask().await.result.unwrap();
    layered.ask().await.result.unwrap_err();
    let unlisted = Call::new(ModelKey::new("any:thing \"at all\""), Instant::now() + HOUR, "r");
    layered.provider.generate(&request(), &unlisted).await.unwrap();
    for line in [
        "easel_provider_requests_total{provider=\"p\",model=\"m\",outcome=\"ok\"} 1",
        "easel_provider_requests_total{provider=\"p\",model=\"m\",outcome=\"content_rejected\"} 1",
        "easel_provider_requests_total{provider=\"p\",model=\"other\",outcome=\"ok\"} 1",
        "easel_provider_upstream_calls_total{provider=\"p\",model=\"m\"} 3",
        "easel_provider_retries_total{provider=\"p\"} 1",
        "easel_provider_cost_usd_total{provider=\"p\",model=\"m\"} 0.25",
        "easel_provider_requests_in_flight{provider=\"p\"} 0",
    ] {
        layered.counted(line);
    }
    assert!(!layered.metrics.render().contains("any:thing"));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_given_up_is_counted_with_its_calls() {
    let layered = Layered::new(&[&script([Step::Hang])], &policy(1));
    assert!(tokio::time::timeout(secs(1), layered.ask()).await.is_err());
    layered.counted("easel_provider_requests_total{provider=\"p\",model=\"m\",outcome=\"cancelled\"} 1");
    layered.counted("easel_provider_upstream_calls_total{provider=\"p\",model=\"m\"} 1");
    layered.counted("easel_provider_requests_in_flight{provider=\"p\"} 0");
}
