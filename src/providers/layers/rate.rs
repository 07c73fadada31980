//! So many calls in a minute: governor's arithmetic on tokio's clock, and a queue before it.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::StateInformationMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::time::{Instant, sleep_until, timeout_at};

const MINUTE: Duration = Duration::from_mins(1);

/// The limit and those who wait for their turn.
#[derive(Debug)]
pub(super) struct Rate {
    per_minute: NonZeroU32,
    burst: NonZeroU32,
    limiter: RateLimiter<NotKeyed, InMemoryState, TokioClock, StateInformationMiddleware>,
    clock: TokioClock,
    /// Who holds it is first in the queue; it is fair.
    head: tokio::sync::Mutex<()>,
    seen: Mutex<Seen>,
}

/// What is known without asking the limiter, which would count as a call.
#[derive(Debug)]
struct Seen {
    /// Calls that were left after the last one …
    left: u32,
    /// … and when that was.
    at: Instant,
    /// Requests in the queue, its head included.
    waiting: u32,
    /// When the head's turn is, while it waits for it.
    next: Option<Instant>,
}

/// What is left of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Left {
    /// Calls that could be made at once.
    pub calls: u32,
    /// Requests in the queue.
    pub waiting: u32,
}

/// tokio's clock, which tests can stop, as governor wants it.
#[derive(Debug, Clone, Copy)]
struct TokioClock {
    origin: Instant,
}

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }
}

/// One in the queue, counted for as long as it is there.
struct Place<'a>(&'a Rate);

impl Rate {
    pub(super) fn new(per_minute: NonZeroU32, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let clock = TokioClock { origin: Instant::now() };
        let quota = Quota::per_minute(per_minute).allow_burst(burst);
        let limiter = RateLimiter::direct_with_clock(quota, clock).with_middleware();
        let seen = Seen { left: burst.get(), at: clock.origin, waiting: 0, next: None };
        Self { per_minute, burst, limiter, clock, head: tokio::sync::Mutex::new(()), seen: Mutex::new(seen) }
    }

    pub(super) fn per_minute(&self) -> NonZeroU32 {
        self.per_minute
    }

    pub(super) fn left(&self) -> Left {
        let seen = self.seen();
        let renewed = seen.at.elapsed().as_nanos() / self.period().as_nanos().max(1);
        let calls = seen.left.saturating_add(u32::try_from(renewed).unwrap_or(u32::MAX)).min(self.burst.get());
        Left { calls, waiting: seen.waiting }
    }

    /// Waits for a turn. Where none comes until then, says at once how long it would have been.
    pub(super) async fn turn(&self, until: Instant) -> Result<(), Duration> {
        let (_place, expected) = self.queue_up();
        if let Some(expected) = expected.filter(|expected| *expected > until) {
            return Err(expected.saturating_duration_since(Instant::now()));
        }
        let Ok(_head) = timeout_at(until, self.head.lock()).await else {
            let ahead = self.seen().waiting.saturating_sub(1).max(1);
            return Err(self.period().saturating_mul(ahead));
        };
        loop {
            match self.limiter.check() {
                Ok(state) => {
                    let mut seen = self.seen();
                    (seen.left, seen.at, seen.next) = (state.remaining_burst_capacity(), Instant::now(), None);
                    return Ok(());
                }
                Err(not_yet) => {
                    let wait = not_yet.wait_time_from(self.clock.now());
                    let next = Instant::now() + wait;
                    if next > until {
                        return Err(wait);
                    }
                    self.seen().next = Some(next);
                    sleep_until(next).await;
                }
            }
        }
    }

    /// A place in the queue, and when its turn will be where those before it wait already.
    fn queue_up(&self) -> (Place<'_>, Option<Instant>) {
        let mut seen = self.seen();
        let expected = seen.next.filter(|_| seen.waiting > 0).map(|next| next + self.period() * seen.waiting);
        seen.waiting += 1;
        (Place(self), expected)
    }

    /// Time in which one call is renewed.
    fn period(&self) -> Duration {
        MINUTE / self.per_minute.get()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.seen().waiting -= 1;
    }
}
