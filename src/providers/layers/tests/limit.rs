//! How fast and how many at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::time::Instant;

use super::{HOUR, Layered, Told, call, policy, script, secs};
use crate::generation::{Availability, Capabilities, Generation, GenerationRequest, ProviderId};
use crate::metrics::Metrics;
use crate::providers::layers::{Headroom, wrap};
use crate::providers::scripted::{Scripted, Step, request};
use crate::providers::{Call, Error, ErrorKind, ModelPrices, Policy, Provider};

fn per_minute(requests_per_minute: u32, burst: u32) -> Policy {
    Policy { requests_per_minute, burst, ..policy(1) }
}

fn at_once(max_concurrent: u32) -> Policy {
    Policy { max_concurrent, timeout: HOUR, ..policy(1) }
}

async fn together(layered: &Layered, requests: usize) -> Vec<Told> {
    join_all((0..requests).map(|_| layered.ask())).await
}

fn took(told: &[Told]) -> Vec<u64> {
    told.iter().map(|told| told.took.as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_burst_goes_at_once_and_the_rest_at_its_rate_in_order() {
    let provider = script([]);
    let layered = Layered::new(&[&provider], &per_minute(60, 2));
    let told = together(&layered, 6).await;
    assert_eq!(took(&told), [0, 0, 1, 2, 3, 4]);
    assert!(told.iter().all(|told| told.result.is_ok()));
    layered.counted("easel_provider_wait_seconds_count{provider=\"p\"} 4");
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_too_long_is_told_at_once() {
    let provider = script([]);
    let layered = Layered::new(&[&provider], &per_minute(1, 1));
    assert!(layered.ask().await.result.is_ok());
    tokio::time::advance(secs(10)).await;
    let told = layered.ask().await;
    assert_eq!(told.held_back(), (ErrorKind::RateLimited, Some(secs(50))));
    assert_eq!(told.took, Duration::ZERO);

    // In a queue, too: the fourth would have its turn after 3 s.
    let layered = Layered::new(&[&provider], &Policy { max_wait: secs(2), ..per_minute(60, 1) });
    let told = together(&layered, 5).await;
    assert_eq!(took(&told), [0, 1, 2, 0, 0]);
    assert_eq!(told[3].held_back(), (ErrorKind::RateLimited, Some(secs(3))));
    assert_eq!(told[4].held_back(), (ErrorKind::RateLimited, Some(secs(3))));
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_past_its_own_deadline_and_a_refusal_is_not_repeated() {
    let provider = script([]);
    let layered = Layered::new(&[&provider], &Policy { attempts: 5, ..per_minute(30, 1) });
    assert!(layered.ask().await.result.is_ok());
    let told = layered.ask_within(secs(1)).await;
    assert_eq!(told.held_back(), (ErrorKind::RateLimited, Some(secs(2))));
    assert_eq!((told.took, provider.asked().len()), (Duration::ZERO, 1));

    let layered = Layered::new(&[&script([Step::Hang])], &Policy { attempts: 5, ..at_once(1) });
    let (_, told) = tokio::join!(tokio::time::timeout(secs(60), layered.ask()), layered.ask_within(secs(3)));
    assert_eq!((told.held_back().0, told.took), (ErrorKind::Overloaded, secs(3)));
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_the_queue_gives_its_place_back() {
    let layered = Layered::new(&[&script([])], &per_minute(60, 1));
    assert!(layered.ask().await.result.is_ok());
    let leaving = tokio::time::timeout(Duration::from_millis(500), layered.ask());
    let (left, told) = tokio::join!(leaving, layered.ask());
    assert!(left.is_err());
    assert_eq!((told.result.is_ok(), told.took), (true, secs(1)));
    assert_eq!(layered.gauges.headroom().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn no_wait_at_all_means_now_or_never() {
    let policy = Policy { max_wait: Duration::ZERO, max_concurrent: 3, ..per_minute(60, 2) };
    let layered = Layered::new(&[&script([])], &policy);
    let told = together(&layered, 3).await;
    assert_eq!(told.iter().map(|told| told.calls).collect::<Vec<_>>(), [1, 1, 0]);
    assert_eq!(told[2].held_back(), (ErrorKind::RateLimited, Some(secs(1))));
}

/// Notes how many calls last at once.
struct Watched {
    inner: Scripted,
    now: AtomicU32,
    most: AtomicU32,
}

#[async_trait]
impl Provider for Watched {
    fn capabilities(&self) -> Arc<Capabilities> {
        self.inner.capabilities()
    }

    fn is_available(&self) -> Availability {
        self.inner.is_available()
    }

    async fn generate(&self, request: &GenerationRequest, call: &Call) -> Result<Generation, Error> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let result = self.inner.generate(request, call).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_calls_last_at_once() {
    let inner = script(vec![Step::After(secs(1)); 7]);
    let watched = Arc::new(Watched { inner, now: AtomicU32::new(0), most: AtomicU32::new(0) });
    let built = (Arc::clone(&watched) as Arc<dyn Provider>).into();
    let wrapped =
        wrap(&ProviderId::new("p"), built, &at_once(3), ModelPrices::default(), &Metrics::new().provider("p"));
    let started = Instant::now();
    let ends = join_all((0..7).map(|_| async {
        wrapped.provider.generate(&request(), &call(HOUR)).await.unwrap();
        started.elapsed().as_secs()
    }));
    assert_eq!(ends.await, [1, 1, 1, 2, 2, 2, 3]);
    assert_eq!(watched.most.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn who_finds_no_place_in_time_is_told_so() {
    let layered = Layered::new(&[&script([Step::After(secs(30))])], &at_once(1));
    let told = together(&layered, 2).await;
    assert!(told[0].result.is_ok());
    assert_eq!(told[1].held_back(), (ErrorKind::Overloaded, Some(secs(1))));
    assert_eq!(told[1].took, secs(5));
}

#[tokio::test(start_paused = true)]
async fn places_come_back_whatever_happens() {
    let steps = [Step::Hang, Step::Fail(ErrorKind::Internal, None), Step::Pictures, Step::Hang];
    let layered = Layered::new(&[&script(steps)], &at_once(2));
    let free = || (layered.gauges.headroom().places_left, layered.gauges.headroom().waiting);
    let leave_after = |seconds| tokio::time::timeout(secs(seconds), layered.ask());
    // One hangs in its place, one fails, one succeeds, one hangs again, and two leave the queue.
    let all = async {
        tokio::join!(
            leave_after(4),
            layered.ask(),
            layered.ask(),
            leave_after(3),
            leave_after(1),
            leave_after(2),
            async {
                tokio::time::sleep(Duration::from_millis(500)).await;
                assert_eq!(free(), (Some(0), 2));
            }
        )
    };
    let (first, failed, made, second, third, fourth, ()) = all.await;
    assert!(first.is_err() && failed.result.is_err() && made.result.is_ok() && second.is_err());
    assert!(third.is_err() && fourth.is_err());
    assert_eq!(free(), (Some(2), 0));
}

#[tokio::test(start_paused = true)]
async fn headroom_says_what_is_left() {
    let policy = Policy { max_concurrent: 4, ..per_minute(60, 3) };
    let layered = Layered::new(&[&script([Step::After(secs(2)), Step::After(secs(2))])], &policy);
    let full = Headroom {
        requests_per_minute: Some(60),
        requests_left: Some(3),
        max_concurrent: Some(4),
        places_left: Some(4),
        waiting: 0,
        keys: 1,
        keys_resting: 0,
    };
    assert_eq!(layered.gauges.headroom(), full);
    let look = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let busy = Headroom { requests_left: Some(2), places_left: Some(2), ..full.clone() };
        assert_eq!(layered.gauges.headroom(), busy);
    };
    tokio::join!(layered.ask(), layered.ask(), look);
    tokio::time::advance(secs(100)).await;
    assert_eq!(layered.gauges.headroom(), full);
    let none = Headroom { keys: 1, ..Headroom::default() };
    assert_eq!(Layered::new(&[&script([])], &super::policy(1)).gauges.headroom(), none);
}
