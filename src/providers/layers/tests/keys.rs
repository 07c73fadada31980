//! Whose turn it is, and who rests.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Layered, policy, script, secs};
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest};
use crate::providers::scripted::{Scripted, Step};
use crate::providers::{BreakerPolicy, Call, Error, ErrorKind, ModelPrices, Policy, Provider};

fn failing(kind: ErrorKind) -> Scripted {
    script(vec![Step::Fail(kind, None); 20])
}

fn limited(seconds: u64) -> Step {
    Step::Fail(ErrorKind::RateLimited, Some(secs(seconds)))
}

fn asked(keys: &[&Scripted]) -> Vec<usize> {
    keys.iter().map(|key| key.asked().len()).collect()
}

#[tokio::test(start_paused = true)]
async fn keys_take_turns() {
    let (a, b, c) = (script([]), script([]), script([]));
    let layered = Layered::new(&[&a, &b, &c], &policy(1));
    for turn in 0..7 {
        layered.ask().await.result.unwrap();
        let expected: Vec<usize> = (0..3).map(|key| (turn + 3 - key) / 3).collect();
        assert_eq!(asked(&[&a, &b, &c]), expected);
    }
    let headroom = layered.gauges.headroom();
    assert_eq!((headroom.keys, headroom.keys_resting), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_followed_by_the_next_at_once_and_rests_for_five_minutes() {
    for kind in [ErrorKind::Unauthorized, ErrorKind::QuotaExhausted] {
        let (bad, good) = (failing(kind), script([]));
        let layered = Layered::new(&[&bad, &good], &policy(2));
        let told = layered.ask().await;
        assert_eq!((told.result.is_ok(), told.calls, told.took), (true, 2, Duration::ZERO));
        for _ in 0..3 {
            assert_eq!(layered.ask().await.calls, 1);
        }
        assert_eq!(asked(&[&bad, &good]), [1, 4]);
        assert_eq!((layered.gauges.headroom().keys_resting, layered.reason()), (1, None));
        tokio::time::advance(secs(300)).await;
        layered.ask().await;
        layered.ask().await;
        assert_eq!(asked(&[&bad, &good])[0], 2);
    }
}

#[tokio::test(start_paused = true)]
async fn another_key_is_another_attempt() {
    for attempts in 1..9 {
        let keys: Vec<_> = (0..5).map(|_| failing(ErrorKind::Unauthorized)).collect();
        let layered = Layered::new(&keys.iter().collect::<Vec<_>>(), &policy(attempts));
        let told = layered.ask().await;
        assert_eq!((told.kind(), told.calls), (ErrorKind::Unauthorized, attempts.min(5)));
        assert_eq!(told.took, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limited_key_rests_as_long_as_it_was_asked_to() {
    let (a, b) = (script([limited(20)]), script([]));
    let layered = Layered::new(&[&a, &b], &policy(2));
    let told = layered.ask().await;
    assert_eq!((told.result.is_ok(), told.calls, told.took), (true, 2, Duration::ZERO));
    tokio::time::advance(secs(19)).await;
    layered.ask().await;
    layered.ask().await;
    assert_eq!(asked(&[&a, &b]), [1, 3]);
    tokio::time::advance(secs(1)).await;
    layered.ask().await;
    assert_eq!(asked(&[&a, &b]), [2, 3]);
}

#[tokio::test(start_paused = true)]
async fn when_all_rest_nobody_is_asked_until_the_first_wakes() {
    let (a, b) = (script([limited(20)]), script([limited(50)]));
    let layered = Layered::new(&[&a, &b], &policy(1));
    layered.ask().await;
    assert_eq!(layered.reason(), None);
    let last = layered.ask().await;
    // Whoever comes back should find a key.
    assert_eq!(last.error().retry_after(), Some(secs(20)));
    tokio::time::advance(Duration::from_millis(500)).await;
    let Availability::Unavailable { reason, detail, .. } = layered.provider.is_available() else { panic!() };
    assert_eq!((reason, detail.as_str()), ("rate_limited", "the provider takes no more requests for 20 s"));
    assert_eq!(layered.gauges.headroom().keys_resting, 2);
    assert_eq!(layered.gauges.held_back(), Some(Duration::from_millis(19_500)));
    let told = layered.ask().await;
    assert_eq!(told.held_back(), (ErrorKind::RateLimited, Some(Duration::from_millis(19_500))));
    tokio::time::advance(Duration::from_millis(19_500)).await;
    assert_eq!((layered.reason(), layered.gauges.held_back()), (None, None));
    assert!(layered.ask().await.result.is_ok());
    assert_eq!(asked(&[&a, &b]), [2, 1]);
}

#[tokio::test(start_paused = true)]
async fn when_all_were_refused_it_says_so() {
    for (kind, reason) in [(ErrorKind::Unauthorized, "unauthorized"), (ErrorKind::QuotaExhausted, "quota_exhausted")] {
        let layered = Layered::new(&[&failing(kind), &failing(kind)], &policy(4));
        assert_eq!(layered.ask().await.calls, 2);
        assert_eq!(layered.reason(), Some(reason));
        assert_eq!(layered.ask().await.held_back(), (kind, Some(secs(300))));
    }
}

#[tokio::test(start_paused = true)]
async fn the_only_key_rests_for_nothing_but_a_delay() {
    for kind in [ErrorKind::Unauthorized, ErrorKind::QuotaExhausted, ErrorKind::RateLimited] {
        let only = failing(kind);
        let layered = Layered::new(&[&only], &policy(1));
        for turn in 1..4 {
            assert_eq!(layered.ask().await.kind(), kind);
            assert_eq!((only.asked().len(), layered.reason()), (turn, None));
        }
    }
    let only = script([limited(20), limited(0)]);
    let layered = Layered::new(&[&only], &policy(1));
    assert_eq!(layered.ask().await.kind(), ErrorKind::RateLimited);
    assert_eq!(layered.reason(), Some("rate_limited"));
    assert_eq!(layered.ask().await.held_back(), (ErrorKind::RateLimited, Some(secs(20))));
    tokio::time::advance(secs(20)).await;
    // A delay of nothing is no rest.
    assert_eq!(layered.ask().await.calls, 1);
    assert_eq!(layered.ask().await.calls, 1);
}

#[tokio::test(start_paused = true)]
async fn keys_that_are_all_limited_do_not_spin() {
    for delay in [None, Some(Duration::ZERO)] {
        let keys: Vec<_> = (0..2).map(|_| script(vec![Step::Fail(ErrorKind::RateLimited, delay); 20])).collect();
        let layered = Layered::new(&[&keys[0], &keys[1]], &Policy { backoff: Duration::ZERO, ..policy(6) });
        let told = layered.ask().await;
        assert_eq!((told.kind(), told.calls), (ErrorKind::RateLimited, 6));
        // Two keys, each of which rests for a second: three rounds with two pauses between.
        assert_eq!(told.took, secs(2), "{delay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_bad_key_of_several_does_not_open_the_breaker() {
    let breaker = BreakerPolicy { failures: 1, ..BreakerPolicy::default() };
    let (bad, good) = (failing(ErrorKind::Unauthorized), script([]));
    let layered = Layered::new(&[&bad, &good], &Policy { breaker, ..policy(2) });
    assert!(layered.ask().await.result.is_ok());
    assert_eq!(layered.reason(), None);
}

/// Answers its first call after one second, its second after two, and so on.
struct Late(Scripted);

#[async_trait]
impl Provider for Late {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.0.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.0.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let answer = self.0.generate(request, call).await;
        tokio::time::sleep(secs(self.0.asked().len() as u64)).await;
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn a_longer_rest_is_not_cut_short_by_a_shorter_one() {
    // Both calls are in flight at once with the only key; the later answer asks for less.
    let late = Arc::new(Late(script([limited(50), limited(5)]))) as Arc<dyn Provider>;
    let layered = Layered::of(late.into(), &policy(1), ModelPrices::default());
    let (first, second) = tokio::join!(layered.ask(), layered.ask());
    assert_eq!((first.calls, second.calls), (1, 1));
    assert_eq!(layered.ask().await.held_back().1, Some(secs(49)));
}

#[tokio::test(start_paused = true)]
async fn the_only_key_is_not_another_key() {
    let told = Layered::new(&[&script([limited(0)])], &policy(2)).ask().await;
    assert_eq!((told.result.is_ok(), told.calls), (true, 2));
    assert!(told.took >= Duration::from_millis(500), "{:?}", told.took);
}
