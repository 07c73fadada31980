//! All layers together: exact counts for every short script, and rules that hold for any script.

use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{HOUR, Layered, call, policy, script, secs};
use crate::generation::{GenerationRequest, Limits, Model};
use crate::providers::scripted::{Scripted, Step, model, pictures, request};
use crate::providers::{BreakerPolicy, ErrorKind, Policy, Recovery};

/// What a step comes to: `None` is a success.
fn failure(step: &Step) -> Option<ErrorKind> {
    match step {
        Step::Pictures | Step::After(_) => None,
        Step::Answer(_) => Some(ErrorKind::NoImage),
        Step::Fail(kind, _) | Step::FailAfter(kind, _) => Some(*kind),
        Step::Panic => Some(ErrorKind::Internal),
        Step::Hang => Some(ErrorKind::Timeout),
    }
}

#[tokio::test(start_paused = true)]
async fn the_calls_of_every_short_script_are_exactly_those_that_the_policy_allows() {
    let mut none = pictures(&request());
    none.images.clear();
    let steps = [
        Step::Pictures,
        Step::After(secs(3)),
        Step::Answer(none),
        Step::Fail(ErrorKind::Unavailable, None),
        Step::Fail(ErrorKind::RateLimited, Some(secs(2))),
        Step::Fail(ErrorKind::Unauthorized, None),
        Step::Fail(ErrorKind::ContentRejected, None),
        Step::Hang,
    ];
    let all = |length: u32| {
        (0..steps.len().pow(length))
            .map(move |number| (0..length).map(|place| number / 8_usize.pow(place) % 8).collect::<Vec<_>>())
    };
    for indices in all(3) {
        let script_of = || indices.iter().map(|index| steps[*index].clone());
        for attempts in 1..=4 {
            // After the script, every turn makes pictures.
            let outcomes = script_of().map(|step| failure(&step)).chain([None]).take(attempts as usize);
            let mut expected = (0, None);
            for outcome in outcomes {
                expected = (expected.0 + 1, outcome);
                if outcome.is_none_or(|kind| kind.recovery() != Recovery::Retry) {
                    break;
                }
            }
            let provider = script(script_of());
            let told = Layered::new(&[&provider], &policy(attempts)).ask().await;
            let got = (told.calls, told.result.err().map(|error| error.kind()));
            assert_eq!(got, expected, "{attempts} attempts at {indices:?}");
            assert_eq!(provider.asked().len(), expected.0 as usize);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waited_while_the_provider_failed_is_held_back() {
    let breaker = BreakerPolicy { failures: 1, ..BreakerPolicy::default() };
    let provider = script([Step::Hang]);
    let limits = Policy { max_concurrent: 1, max_wait: secs(60), breaker, ..policy(1) };
    let layered = Layered::new(&[&provider], &limits);
    let told = join_all((0..3).map(|_| layered.ask())).await;
    assert_eq!(told.iter().map(|told| told.calls).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(told[0].took, secs(10));
    assert_eq!(told[2].held_back().0, ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_turn_takes_nothing_from_an_attempts_time() {
    let provider = script(vec![Step::After(secs(9)); 2]);
    let limits = Policy { max_concurrent: 1, max_wait: secs(30), ..policy(1) };
    let layered = Layered::new(&[&provider], &limits);
    let told = join_all((0..2).map(|_| layered.ask())).await;
    assert_eq!(
        told.iter().map(|told| (told.result.is_ok(), told.took)).collect::<Vec<_>>(),
        [(true, secs(9)), (true, secs(18))]
    );
}

#[tokio::test(start_paused = true)]
async fn every_part_of_a_large_count_takes_its_turn() {
    let limits = Limits { max_count: NonZeroU32::new(1), ..Limits::default() };
    let provider = Scripted::new(vec![Model { limits, ..model("m") }], []);
    let layered = Layered::new(&[&provider], &Policy { requests_per_minute: 60, ..policy(1) });
    let started = Instant::now();
    let three = GenerationRequest { count: NonZeroU32::new(3).unwrap(), ..request() };
    layered.provider.generate(&three, &call(HOUR)).await.unwrap();
    assert_eq!(started.elapsed(), secs(2));
}

fn kinds() -> impl Strategy<Value = ErrorKind> {
    prop::sample::select(vec![
        ErrorKind::InvalidRequest,
        ErrorKind::Unsupported,
        ErrorKind::ContentRejected,
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
    ])
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let delay = prop::option::of((0..30_000_u64).prop_map(Duration::from_millis));
    let step = prop_oneof![
        2 => Just(Step::Pictures),
        1 => Just(Step::Answer(pictures(&request()))),
        6 => (kinds(), delay).prop_map(|(kind, delay)| Step::Fail(kind, delay)),
        1 => Just(Step::Hang),
        2 => (0..20_000_u64).prop_map(|milliseconds| Step::After(Duration::from_millis(milliseconds))),
    ];
    prop::collection::vec(step, 0..12)
}

/// One request: how many pictures, how much time it has, and when its caller leaves.
#[derive(Debug, Clone)]
struct Asked {
    count: u32,
    limit: Duration,
    leaves: Option<Duration>,
    begins: Duration,
}

fn asked() -> impl Strategy<Value = Asked> {
    let milliseconds = |most: u64| (0..most).prop_map(Duration::from_millis);
    (1..6_u32, milliseconds(60_000), prop::option::weighted(0.3, milliseconds(20_000)), milliseconds(30_000))
        .prop_map(|(count, limit, leaves, begins)| Asked { count, limit, leaves, begins })
}

fn policies() -> impl Strategy<Value = Policy> {
    (1..5_u32, 0..3_u32, 0..4_u32, 1..4_u32, 0..3_u32, 0..8_u64).prop_map(
        |(attempts, rate, failures, burst, max_concurrent, max_wait)| Policy {
            requests_per_minute: rate * 20,
            burst,
            max_concurrent,
            max_wait: secs(max_wait),
            breaker: BreakerPolicy { failures, min_requests: 4, cooldown: secs(3), ..BreakerPolicy::default() },
            ..policy(attempts)
        },
    )
}

const MAX_COUNT: u32 = 2;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_happens_the_rules_hold(
        policy in policies(),
        scripts in prop::collection::vec(steps(), 1..4),
        requests in prop::collection::vec(asked(), 1..6),
    ) {
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        clock.block_on(async {
            let limits = Limits { max_count: NonZeroU32::new(MAX_COUNT), ..Limits::default() };
            let keys: Vec<_> = scripts
                .into_iter()
                .map(|steps| Scripted::new(vec![Model { limits: limits.clone(), ..model("m") }], steps))
                .collect();
            let layered = Layered::new(&keys.iter().collect::<Vec<_>>(), &policy);
            let all = requests.iter().map(|asked| run(&layered, &policy, asked));
            let calls: u32 = join_all(all).await.into_iter().sum();

            let sent: usize = keys.iter().map(|key| key.asked().len()).sum();
            assert_eq!(sent, calls as usize, "every call is counted, and counted once");
            let headroom = layered.gauges.headroom();
            assert_eq!(headroom.places_left, headroom.max_concurrent, "every place came back");
            assert_eq!(headroom.waiting, 0);
            layered.counted("easel_provider_requests_in_flight{provider=\"p\"} 0");
            // Nothing that happened holds requests back for good.
            tokio::time::advance(HOUR).await;
            let told = layered.ask().await;
            assert!(told.calls >= 1, "{:?}", told.result);
        });
    }
}

/// Sends one request and checks what holds for any. How many calls it took.
async fn run(layered: &Layered, policy: &Policy, asked: &Asked) -> u32 {
    tokio::time::sleep(asked.begins).await;
    let wish = GenerationRequest { count: NonZeroU32::new(asked.count).unwrap(), ..request() };
    let (started, call) = (Instant::now(), call(asked.limit));
    let turn = layered.provider.generate(&wish, &call);
    let result = match asked.leaves {
        Some(after) => tokio::time::timeout(after, turn).await.ok(),
        None => Some(turn.await),
    };
    let parts = asked.count.div_ceil(MAX_COUNT);
    assert!(call.upstream_calls() <= policy.attempts * parts, "{} calls for {parts} parts", call.upstream_calls());
    // tokio's timers go by milliseconds.
    assert!(started.elapsed() <= asked.limit + Duration::from_millis(2), "it took {:?}", started.elapsed());
    if let Some(Ok(generation)) = result {
        assert_eq!(generation.images.len(), asked.count as usize);
    }
    call.upstream_calls()
}
