//! When repeated failures hold requests back, and when one is let through to see whether it has passed. Arithmetic on
//! tokio's clock; it asks nobody.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::providers::BreakerPolicy;

/// The window moves on in steps of this part of it.
const STEPS: u32 = 10;
/// How long a request is told to wait while another one finds out.
const PROBING: Duration = Duration::from_secs(1);

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests go through.
    Closed,
    /// Requests are held back for so long.
    Open(Duration),
    /// The next request is let through to see whether the failures have passed.
    HalfOpen,
    /// That request is on its way; the others are held back.
    Probing,
}

/// What a call says about its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works, whatever came of the request.
    Alive,
    /// It does not; with what it said about coming back.
    Failed(Option<Duration>),
    /// It has had too many requests: no failure, but no good sign either.
    Limited(Option<Duration>),
    /// Nothing.
    Nothing,
}

/// What came of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turned {
    /// Nothing that anybody needs to know.
    Not,
    /// It holds requests back from now on.
    Opened(Duration),
    /// It holds requests back already.
    IsOpen,
    /// Requests go through again.
    Closed,
}

/// The state machine of one provider.
#[derive(Debug)]
pub(super) struct Circuit {
    policy: BreakerPolicy,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Grows with every change of phase: what began in an earlier phase says nothing about this one.
    epoch: u64,
}

#[derive(Debug)]
enum Phase {
    Closed(Counts),
    Open { until: Instant, cooldown: Duration, probing: bool },
}

#[derive(Debug, Default)]
struct Counts {
    /// Failures one after the other.
    consecutive: u32,
    steps: VecDeque<Step>,
}

/// The calls that ended within one step of the window.
#[derive(Debug)]
struct Step {
    began: Instant,
    calls: u32,
    failed: u32,
}

/// The right to ask the provider once. Dropped without a verdict, it was as if it had never been.
#[derive(Debug)]
pub(super) struct Pass<'a> {
    circuit: &'a Circuit,
    epoch: u64,
    is_settled: bool,
}

impl Circuit {
    pub(super) fn new(policy: BreakerPolicy) -> Self {
        Self { policy, state: Mutex::new(State { phase: Phase::Closed(Counts::default()), epoch: 0 }) }
    }

    pub(super) fn state(&self) -> BreakerState {
        match self.lock().phase {
            Phase::Closed(_) => BreakerState::Closed,
            Phase::Open { probing: true, .. } => BreakerState::Probing,
            Phase::Open { until, .. } => match until.saturating_duration_since(Instant::now()) {
                Duration::ZERO => BreakerState::HalfOpen,
                left => BreakerState::Open(left),
            },
        }
    }

    /// The right to ask, or for how long there is none.
    pub(super) fn enter(&self) -> Result<Pass<'_>, Duration> {
        let mut state = self.lock();
        if let Phase::Open { until, probing, .. } = &mut state.phase {
            if *probing {
                return Err(PROBING);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left > Duration::ZERO {
                return Err(left);
            }
            *probing = true;
            state.epoch += 1;
        }
        Ok(Pass { circuit: self, epoch: state.epoch, is_settled: false })
    }

    fn settle(&self, epoch: u64, verdict: Verdict) -> Turned {
        let mut state = self.lock();
        let is_latest = state.epoch == epoch;
        let next = match &mut state.phase {
            Phase::Open { .. } if !is_latest => return Turned::IsOpen,
            Phase::Closed(_) if !is_latest => return Turned::Not,
            Phase::Closed(counts) => {
                if !counts.must_open(&self.policy, verdict) {
                    return Turned::Not;
                }
                let (Verdict::Failed(asked) | Verdict::Limited(asked)) = verdict else { return Turned::Not };
                self.open(self.policy.cooldown, asked)
            }
            Phase::Open { cooldown, probing, .. } => match verdict {
                Verdict::Alive => (Phase::Closed(Counts::default()), Turned::Closed),
                Verdict::Failed(asked) | Verdict::Limited(asked) => self.open(cooldown.saturating_mul(2), asked),
                Verdict::Nothing => {
                    *probing = false;
                    return Turned::Not;
                }
            },
        };
        let (phase, turned) = next;
        state.phase = phase;
        state.epoch += 1;
        turned
    }

    /// Open for `cooldown`, or for as long as the provider asked for where that is more.
    fn open(&self, cooldown: Duration, asked: Option<Duration>) -> (Phase, Turned) {
        let cooldown = cooldown.min(self.policy.max_cooldown);
        let pause = cooldown.max(asked.unwrap_or_default().min(self.policy.max_cooldown));
        (Phase::Open { until: Instant::now() + pause, cooldown, probing: false }, Turned::Opened(pause))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Counts a call, and says whether that was one failure too many.
    fn must_open(&mut self, policy: &BreakerPolicy, verdict: Verdict) -> bool {
        let failed = match verdict {
            Verdict::Nothing => return false,
            Verdict::Alive => {
                self.consecutive = 0;
                false
            }
            Verdict::Failed(_) => {
                self.consecutive = self.consecutive.saturating_add(1);
                true
            }
            Verdict::Limited(_) => true,
        };
        let (calls, failures) = self.note(policy.window, failed);
        let too_many = policy.ratio > 0.0
            && calls >= policy.min_requests
            && f64::from(failures) >= policy.ratio * f64::from(calls);
        failed && (self.consecutive >= policy.failures || too_many)
    }

    /// Notes a call in the window; all calls in it, and those that failed.
    fn note(&mut self, window: Duration, failed: bool) -> (u32, u32) {
        let now = Instant::now();
        let width = window / STEPS;
        while self.steps.front().is_some_and(|step| now.saturating_duration_since(step.began) >= window) {
            self.steps.pop_front();
        }
        if self.steps.back().is_none_or(|step| now.saturating_duration_since(step.began) >= width) {
            self.steps.push_back(Step { began: now, calls: 0, failed: 0 });
        }
        if let Some(step) = self.steps.back_mut() {
            step.calls = step.calls.saturating_add(1);
            step.failed = step.failed.saturating_add(u32::from(failed));
        }
        self.steps.iter().fold((0, 0), |(calls, failed): (u32, u32), step| {
            (calls.saturating_add(step.calls), failed.saturating_add(step.failed))
        })
    }
}

impl Pass<'_> {
    /// Says what came of the call.
    pub(super) fn settle(mut self, verdict: Verdict) -> Turned {
        self.is_settled = true;
        self.circuit.settle(self.epoch, verdict)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.is_settled {
            self.circuit.settle(self.epoch, Verdict::Nothing);
        }
    }
}
