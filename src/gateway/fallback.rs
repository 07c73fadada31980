//! The turns of the candidates: one after the other, until one has made the pictures, within their time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cache::CacheOutcome;
use super::clock::{Clock, Limits};
use super::error::{Error, Remedy};
use super::flights::{Flights, Landing, Ticket};
use super::key::{Key, Sharing};
use super::router::Candidate;
use super::watcher::Watcher;
use super::wishes::{self, Fitted, Unmet};
use super::{Outcome, Routing};
use crate::generation::{
    Attempt, AttemptOutcome, FallbackPolicy, Generation, GenerationRequest, ModelId, OnDisconnect,
};
use crate::providers::{self, Call, ErrorKind, Recovery};

/// One request on its way through its candidates.
pub(super) struct Chain<'a> {
    pub flights: &'a Flights,
    pub sharing: Sharing,
    pub routing: &'a Routing,
    pub policy: FallbackPolicy,
    pub request: &'a GenerationRequest,
    pub request_id: &'a str,
    pub watcher: Option<Watcher>,
}

/// What came of the candidates so far.
#[derive(Default)]
struct Story {
    attempts: Vec<Attempt>,
    remedies: Vec<Remedy>,
    /// The first hard wish that could not be honoured.
    unmet: Option<Unmet>,
    /// The first candidate, if its model's files are not here.
    not_installed: Option<(ModelId, String, String)>,
    failures: Vec<(ModelId, providers::Error)>,
    /// Time spent waiting for providers.
    waited: Duration,
}

/// How the chain goes on after a candidate.
enum Next {
    Candidate,
    Done(Generation, CacheOutcome),
    Ended,
    DeadlineExceeded,
}

impl Chain<'_> {
    /// Gives each candidate its turn.
    pub(super) async fn run(self, candidates: Vec<Candidate>) -> Result<Outcome, Error> {
        let mut clock = Clock::start(self.request.timeout, self.routing.deadline);
        let mut story = Story::default();
        for candidate in candidates {
            let (began, limits) = (Instant::now(), clock.limits(&candidate));
            if began >= limits.waiting {
                return Err(story.deadline_exceeded(limits));
            }
            match self.turn(&candidate, &limits, &mut story).await {
                Next::Candidate => clock.note(&candidate, began.elapsed()),
                Next::Ended => break,
                Next::DeadlineExceeded => return Err(story.deadline_exceeded(limits)),
                Next::Done(generation, cache) => {
                    return Ok(self.outcome(candidate.model, generation, cache, story, clock.elapsed()));
                }
            }
        }
        Err(story.end(self.request, self.policy))
    }

    async fn turn(&self, candidate: &Candidate, limits: &Limits, story: &mut Story) -> Next {
        let key = self.sharing.key(&candidate.model, candidate.content(&self.request.loras).as_deref());
        // A picture that is kept needs no provider, so it comes before the question whether there is one.
        if let Some(generation) = key.as_ref().and_then(|key| self.flights.kept(key)) {
            story.note(&candidate.model, AttemptOutcome::Ok, None, 0, Duration::ZERO);
            return Next::Done(generation, CacheOutcome::Hit);
        }
        if let Some(obstacle) = candidate.obstacle() {
            if obstacle.not_installed && story.attempts.is_empty() {
                story.not_installed = Some((candidate.model.clone(), obstacle.detail.clone(), obstacle.remedy.clone()));
            }
            story.note(
                &candidate.model,
                AttemptOutcome::Unavailable,
                Some(obstacle.reason.to_owned()),
                0,
                Duration::ZERO,
            );
            story.remedies.push(Remedy {
                provider: candidate.model.provider.clone(),
                reason: obstacle.reason.to_owned(),
                detail: obstacle.detail,
                remedy: obstacle.remedy,
                retry_after: obstacle.retry_after,
            });
            return Next::Candidate;
        }
        let strict = self.request.strict || self.routing.strict;
        let fitted = match wishes::fit(self.request, &candidate.model, &candidate.details, strict) {
            Ok(fitted) => fitted,
            Err(unmet) => {
                story.note(&candidate.model, AttemptOutcome::Skipped, Some(unmet.reason()), 0, Duration::ZERO);
                story.unmet.get_or_insert(unmet);
                return Next::Candidate;
            }
        };

        if let Some(watcher) = &self.watcher {
            watcher.begin();
        }
        let started = Instant::now();
        let landing = self.flights.fly(self.ticket(candidate, fitted, key, limits)).await;
        let Landing { made, calls, cache, answered } = landing;
        let waited = answered.saturating_duration_since(started);
        story.waited += waited;
        let failure = made.as_ref().err().map(|error| error.kind().category());
        let outcome = if failure.is_none() { AttemptOutcome::Ok } else { AttemptOutcome::Failed };
        story.note(&candidate.model, outcome, failure.map(str::to_owned), calls, waited);
        match made {
            Ok(generation) => Next::Done(generation, cache),
            Err(error) => self.after(&candidate.model, error, limits.waiting, story),
        }
    }

    fn ticket(&self, candidate: &Candidate, fitted: Fitted, key: Option<Key>, limits: &Limits) -> Ticket {
        let finish = match self.request.on_disconnect.unwrap_or(candidate.on_disconnect) {
            OnDisconnect::Cancel => false,
            OnDisconnect::Finish => true,
        };
        // What is finished in any case is not cut short by a caller who is in a hurry.
        let deadline = if finish { limits.work } else { limits.waiting };
        let call = Call::new(candidate.model.key.clone(), deadline, self.request_id);
        let call = match self.watcher.as_ref().filter(|_| self.request.partial_images > 0) {
            Some(watcher) => call.with_partials(watcher.previews()),
            None => call,
        };
        Ticket {
            provider: Arc::clone(&candidate.provider),
            position: candidate.position,
            model: candidate.model.clone(),
            details: candidate.details.clone(),
            request: fitted.request,
            ignored: fitted.ignored,
            call,
            deadline: limits.waiting,
            finish,
            key,
            keep: self.sharing.keep,
        }
    }

    /// How the chain goes on after a failure: its kind's recovery decides, and nothing else of it.
    fn after(&self, model: &ModelId, error: providers::Error, deadline: Instant, story: &mut Story) -> Next {
        let kind = error.kind();
        story.failures.push((model.clone(), error));
        match (kind.recovery(), self.policy) {
            _ if kind == ErrorKind::Timeout && Instant::now() >= deadline => Next::DeadlineExceeded,
            (Recovery::Final, _) => {
                // The failure that ended the chain is the one to tell, whatever came before it.
                story.failures.rotate_right(1);
                Next::Ended
            }
            (Recovery::NextProvider | Recovery::Retry, FallbackPolicy::Never) => Next::Ended,
            (Recovery::NextProvider | Recovery::Retry, FallbackPolicy::Auto) => Next::Candidate,
        }
    }

    fn outcome(
        &self,
        model: ModelId,
        generation: Generation,
        cache: CacheOutcome,
        story: Story,
        total: Duration,
    ) -> Outcome {
        story.log_failures(0);
        Outcome {
            cache,
            fallback_used: self.policy == FallbackPolicy::Auto && story.attempts.len() > 1,
            fallback_policy: self.policy,
            overhead: total.saturating_sub(story.waited),
            attempts: story.attempts,
            generation,
            model,
            total,
        }
    }
}

impl Story {
    fn note(
        &mut self,
        model: &ModelId,
        outcome: AttemptOutcome,
        reason: Option<String>,
        calls: u32,
        duration: Duration,
    ) {
        self.attempts.push(Attempt { model: model.clone(), outcome, reason, calls, duration });
    }

    /// The error of a chain that ended without pictures.
    fn end(mut self, request: &GenerationRequest, policy: FallbackPolicy) -> Error {
        if !self.failures.is_empty() {
            self.log_failures(1);
            let (_, error) = self.failures.swap_remove(0);
            return Error::Failed { error, attempts: self.attempts };
        }
        if let Some(unmet) = self.unmet {
            let fields = unmet.wishes.iter().map(|wish| wish.field()).collect();
            return Error::Unsupported { fields, message: unmet.message, attempts: self.attempts };
        }
        match self.not_installed {
            Some((model, detail, remedy)) if request.target.model.is_some() && policy == FallbackPolicy::Never => {
                Error::NotInstalled { model, detail, remedy }
            }
            _ => Error::NothingAvailable { attempts: self.attempts, remedies: self.remedies },
        }
    }

    fn deadline_exceeded(self, limits: Limits) -> Error {
        self.log_failures(0);
        Error::DeadlineExceeded { limit: limits.limit, set_by: limits.set_by, attempts: self.attempts }
    }

    /// Logs the failures that no error carries to the edge, from the one at `from` on.
    fn log_failures(&self, from: usize) {
        for (model, error) in self.failures.iter().skip(from) {
            let mut causes = Vec::new();
            let mut cause = std::error::Error::source(error);
            while let Some(error) = cause {
                causes.push(error.to_string());
                cause = error.source();
            }
            let reason = error.kind().category();
            tracing::warn!(%model, reason, %error, causes = causes.join(": "), "a provider made no picture");
        }
    }
}
