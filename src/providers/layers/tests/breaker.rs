//! When failures hold requests back, and when they no longer do.

use std::time::Duration;

use futures_util::future::join_all;

use super::{Layered, policy, script, secs};
use crate::providers::layers::BreakerState;
use crate::providers::scripted::{Scripted, Step};
use crate::providers::{BreakerPolicy, ErrorKind, Policy};

/// Three failures one after the other, or half of ten calls within 30 s; then 15 s, doubling to a minute.
fn breaking() -> Policy {
    let breaker = BreakerPolicy {
        failures: 3,
        ratio: 0.5,
        window: secs(30),
        min_requests: 10,
        cooldown: secs(15),
        max_cooldown: secs(60),
    };
    Policy { breaker, ..policy(1) }
}

fn failing(kind: ErrorKind) -> Step {
    Step::Fail(kind, None)
}

fn down(times: usize) -> Vec<Step> {
    vec![failing(ErrorKind::Unavailable); times]
}

async fn ask_times(layered: &Layered, times: usize) {
    for _ in 0..times {
        // What comes of them is told by the breaker's state.
        let _ = layered.ask().await;
    }
}

/// Opened by its first three requests.
async fn opened(then: impl IntoIterator<Item = Step>) -> (Scripted, Layered) {
    let provider = script(down(3).into_iter().chain(then));
    let layered = Layered::new(&[&provider], &breaking());
    ask_times(&layered, 3).await;
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Open(secs(15))));
    (provider, layered)
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_failures_one_after_the_other_and_then_asks_nobody() {
    let provider = script(down(9));
    let layered = Layered::new(&[&provider], &breaking());
    ask_times(&layered, 2).await;
    assert_eq!((layered.gauges.breaker(), layered.reason()), (Some(BreakerState::Closed), None));
    ask_times(&layered, 1).await;
    assert_eq!(layered.reason(), Some("breaker_open"));
    tokio::time::advance(secs(4)).await;
    let told = layered.ask().await;
    assert_eq!(told.held_back(), (ErrorKind::Unavailable, Some(secs(11))));
    assert_eq!((told.took, provider.asked().len()), (Duration::ZERO, 3));
    assert_eq!(layered.gauges.held_back(), Some(secs(11)));
    layered.counted("easel_provider_breaker_opened_total{provider=\"p\"} 1");
}

#[tokio::test(start_paused = true)]
async fn a_success_between_them_begins_the_count_anew() {
    let steps = [down(2), vec![Step::Pictures], down(2), vec![failing(ErrorKind::InvalidRequest)], down(2)].concat();
    let provider = script(steps);
    let layered = Layered::new(&[&provider], &breaking());
    ask_times(&layered, 8).await;
    assert_eq!((layered.gauges.breaker(), provider.asked().len()), (Some(BreakerState::Closed), 8));
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_failure_counts_as_what_it_says_of_the_provider() {
    // Opens at once; says that it is alive; says nothing.
    let (failed, alive, nothing) = (Some(true), Some(false), None);
    let cases = [
        (ErrorKind::Unauthorized, failed),
        (ErrorKind::QuotaExhausted, failed),
        (ErrorKind::Timeout, failed),
        (ErrorKind::Unavailable, failed),
        (ErrorKind::Overloaded, failed),
        (ErrorKind::NoImage, failed),
        (ErrorKind::Protocol, failed),
        (ErrorKind::InvalidRequest, alive),
        (ErrorKind::ContentRejected, alive),
        (ErrorKind::Unsupported, alive),
        (ErrorKind::ModelNotFound, alive),
        (ErrorKind::OutOfMemory, alive),
        (ErrorKind::RateLimited, nothing),
        (ErrorKind::Internal, nothing),
    ];
    for (kind, expected) in cases {
        let provider = script([down(1), vec![failing(kind)], down(1)].concat());
        let two = BreakerPolicy { failures: 2, ..breaking().breaker };
        let layered = Layered::new(&[&provider], &Policy { breaker: two, ..breaking() });
        ask_times(&layered, 2).await;
        let opened_by_it = layered.reason() == Some("breaker_open");
        assert_eq!(opened_by_it, expected == failed, "{kind:?}");
        ask_times(&layered, 1).await;
        // What says nothing stands not even between two failures.
        assert_eq!(layered.reason().is_none(), expected == alive, "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn half_of_the_calls_in_the_window_open_it_when_there_are_enough() {
    let alternating = |times: usize| [Step::Pictures, failing(ErrorKind::Protocol)].into_iter().cycle().take(times);
    let provider = script(alternating(20));
    let layered = Layered::new(&[&provider], &breaking());
    ask_times(&layered, 9).await;
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Closed));
    ask_times(&layered, 1).await;
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Open(secs(15))));

    // Calls that are further back than the window count no more.
    let provider = script(alternating(20));
    let layered = Layered::new(&[&provider], &breaking());
    for _ in 0..20 {
        layered.ask().await;
        tokio::time::advance(secs(4)).await;
    }
    assert_eq!((layered.gauges.breaker(), provider.asked().len()), (Some(BreakerState::Closed), 20));

    // Less than half is not enough, however many.
    let third = [Step::Pictures, Step::Pictures, failing(ErrorKind::Protocol)].into_iter().cycle().take(99);
    let provider = script(third);
    let layered = Layered::new(&[&provider], &breaking());
    ask_times(&layered, 99).await;
    assert_eq!(provider.asked().len(), 99);
}

#[tokio::test(start_paused = true)]
async fn too_many_requests_count_in_the_window_only() {
    let limited = || vec![failing(ErrorKind::RateLimited); 40];
    let provider = script(limited());
    let layered = Layered::new(&[&provider], &breaking());
    ask_times(&layered, 9).await;
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Closed));
    ask_times(&layered, 1).await;
    assert_eq!(layered.reason(), Some("breaker_open"));

    let breaker = BreakerPolicy { ratio: 0.0, ..breaking().breaker };
    let provider = script(limited());
    let layered = Layered::new(&[&provider], &Policy { breaker, ..breaking() });
    ask_times(&layered, 40).await;
    assert_eq!((layered.gauges.breaker(), provider.asked().len()), (Some(BreakerState::Closed), 40));
}

#[tokio::test(start_paused = true)]
async fn one_request_is_the_probe_and_the_others_wait_for_what_it_finds() {
    let (provider, layered) = opened([Step::After(secs(2)), Step::Pictures]).await;
    tokio::time::advance(secs(15)).await;
    assert_eq!((layered.gauges.breaker(), layered.reason()), (Some(BreakerState::HalfOpen), None));
    let told = join_all((0..5).map(|_| layered.ask())).await;
    let calls: Vec<_> = told.iter().map(|told| told.calls).collect();
    assert_eq!(calls, [1, 0, 0, 0, 0]);
    assert!(told[0].result.is_ok());
    assert_eq!(told[4].held_back(), (ErrorKind::Unavailable, Some(secs(1))));
    assert_eq!(provider.asked().len(), 4);
    assert_eq!((layered.gauges.breaker(), layered.reason()), (Some(BreakerState::Closed), None));
    assert!(layered.ask().await.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn while_the_probe_is_on_its_way_it_is_not_available() {
    let (_, layered) = opened([Step::After(secs(2))]).await;
    tokio::time::advance(secs(15)).await;
    let (probe, ()) = tokio::join!(layered.ask(), async {
        tokio::time::sleep(secs(1)).await;
        assert_eq!((layered.gauges.breaker(), layered.reason()), (Some(BreakerState::Probing), Some("probing")));
    });
    assert!(probe.result.is_ok());
}

#[tokio::test(start_paused = true)]
async fn each_failed_probe_doubles_the_pause_up_to_its_limit_and_a_success_ends_it() {
    let (provider, layered) = opened([down(3), vec![Step::Pictures], down(3)].concat()).await;
    for (open, next) in [(15, 30), (30, 60), (60, 60)] {
        tokio::time::advance(secs(open)).await;
        assert_eq!(layered.ask().await.calls, 1);
        assert_eq!(layered.gauges.breaker(), Some(BreakerState::Open(secs(next))));
        assert_eq!(layered.ask().await.calls, 0);
    }
    tokio::time::advance(secs(60)).await;
    assert!(layered.ask().await.result.is_ok());
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Closed));
    ask_times(&layered, 3).await;
    assert_eq!((layered.gauges.breaker(), provider.asked().len()), (Some(BreakerState::Open(secs(15))), 10));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_or_says_nothing_gives_its_place_back() {
    let (provider, layered) = opened([Step::Hang, failing(ErrorKind::Internal), Step::Pictures]).await;
    tokio::time::advance(secs(15)).await;
    assert!(tokio::time::timeout(secs(1), layered.ask()).await.is_err());
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::HalfOpen));
    assert_eq!(layered.ask().await.kind(), ErrorKind::Internal);
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::HalfOpen));
    assert!(layered.ask().await.result.is_ok());
    assert_eq!((layered.gauges.breaker(), provider.asked().len()), (Some(BreakerState::Closed), 6));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_one_request_too_many_has_failed() {
    let (_, layered) = opened([failing(ErrorKind::RateLimited)]).await;
    tokio::time::advance(secs(15)).await;
    assert_eq!(layered.ask().await.kind(), ErrorKind::RateLimited);
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Open(secs(30))));
}

#[tokio::test(start_paused = true)]
async fn it_stays_open_for_as_long_as_the_provider_asked() {
    let asking = |seconds| Step::Fail(ErrorKind::Overloaded, Some(secs(seconds)));
    for (asked, open) in [(1, 15), (40, 40), (4000, 60)] {
        let layered = Layered::new(&[&script(vec![asking(asked); 3])], &breaking());
        ask_times(&layered, 3).await;
        assert_eq!(layered.gauges.breaker(), Some(BreakerState::Open(secs(open))), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_began_before_it_opened_says_nothing_about_after() {
    let provider = script([Step::After(secs(40)), Step::After(secs(50))].into_iter().chain(down(4)));
    let layered = Layered::new(&[&provider], &Policy { timeout: secs(100), ..breaking() });
    let late = async {
        tokio::time::sleep(secs(1)).await;
        ask_times(&layered, 3).await;
        tokio::time::sleep(secs(15)).await;
        // The probe fails, so it is open until 46 s; the success at 40 s does not close it.
        ask_times(&layered, 1).await;
        tokio::time::sleep(secs(25)).await;
        assert_eq!(layered.gauges.breaker(), Some(BreakerState::Open(secs(5))));
    };
    let (first, second, ()) = tokio::join!(layered.ask(), layered.ask(), late);
    assert!(first.result.is_ok() && second.result.is_ok());
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::HalfOpen));
}

#[tokio::test(start_paused = true)]
async fn callers_in_haste_do_not_open_it_and_a_provider_that_hangs_does() {
    let layered = Layered::new(&[&script(vec![Step::Hang; 20])], &breaking());
    for _ in 0..9 {
        assert_eq!(layered.ask_within(secs(1)).await.kind(), ErrorKind::Timeout);
    }
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Closed));
    ask_times(&layered, 3).await;
    assert_eq!(layered.gauges.breaker(), Some(BreakerState::Open(secs(15))));
}

#[tokio::test(start_paused = true)]
async fn the_failure_that_opens_it_is_not_repeated() {
    for attempts in 1..9 {
        let provider = script(down(9));
        let layered = Layered::new(&[&provider], &Policy { attempts, backoff: Duration::ZERO, ..breaking() });
        let told = layered.ask().await;
        assert_eq!((told.kind(), told.calls), (ErrorKind::Unavailable, attempts.min(3)));
        assert_eq!(told.error().to_string(), "it fails with unavailable");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_held_back_tells_what_the_provider_said_before() {
    // The second request opens it while the first one pauses between its attempts.
    let provider = script([failing(ErrorKind::NoImage)].into_iter().chain(down(9)));
    let layered = Layered::new(&[&provider], &Policy { attempts: 2, backoff: secs(5), ..breaking() });
    let (first, _, _) = tokio::join!(layered.ask(), layered.ask(), layered.ask());
    assert_eq!((first.kind(), first.calls), (ErrorKind::NoImage, 1));
}

#[tokio::test(start_paused = true)]
async fn without_failures_in_its_policy_there_is_none() {
    let provider = script(down(50));
    let breaker = BreakerPolicy { failures: 0, ..breaking().breaker };
    let layered = Layered::new(&[&provider], &Policy { breaker, ..breaking() });
    ask_times(&layered, 50).await;
    assert_eq!((layered.gauges.breaker(), layered.reason(), provider.asked().len()), (None, None, 50));
}

#[tokio::test(start_paused = true)]
async fn what_the_provider_itself_says_comes_first() {
    let provider = script(down(3)).unavailable("no_key");
    let layered = Layered::new(&[&provider], &breaking());
    ask_times(&layered, 3).await;
    assert_eq!(layered.reason(), Some("no_key"));
}
