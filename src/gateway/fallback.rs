//! The turns of the candidates: one after the other, until one has made the pictures, under one deadline.

use std::time::Duration;

use tokio::time::Instant;

use super::error::{Error, Remedy};
use super::health::Ledger;
use super::router::Candidate;
use super::wishes::{self, Unmet};
use super::{Outcome, Routing, convert};
use crate::generation::{Attempt, AttemptOutcome, FallbackPolicy, Generation, GenerationRequest, ModelId};
use crate::providers::{self, Call, ErrorKind, Recovery};

/// One request on its way through its candidates.
pub(super) struct Chain<'a> {
    pub ledger: &'a Ledger,
    pub routing: &'a Routing,
    pub policy: FallbackPolicy,
    pub request: &'a GenerationRequest,
    pub request_id: &'a str,
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
    Done(Generation),
    Ended,
    DeadlineExceeded,
}

impl Chain<'_> {
    /// Gives each candidate its turn.
    pub(super) async fn run(self, candidates: Vec<Candidate>) -> Result<Outcome, Error> {
        let started = Instant::now();
        let limit = self.request.timeout.map_or(self.routing.deadline, |own| own.min(self.routing.deadline));
        let mut story = Story::default();
        for candidate in candidates {
            if started.elapsed() >= limit {
                return Err(story.deadline_exceeded(limit));
            }
            match self.turn(&candidate, started + limit, &mut story).await {
                Next::Candidate => {}
                Next::Ended => break,
                Next::DeadlineExceeded => return Err(story.deadline_exceeded(limit)),
                Next::Done(generation) => {
                    return Ok(self.outcome(candidate.model, generation, story, started.elapsed()));
                }
            }
        }
        Err(story.end(self.request, self.policy))
    }

    async fn turn(&self, candidate: &Candidate, deadline: Instant, story: &mut Story) -> Next {
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

        let started = Instant::now();
        let call = Call::new(candidate.model.key.clone(), deadline, self.request_id);
        let made = tokio::time::timeout_at(deadline, candidate.provider.generate(&fitted.request, &call)).await;
        let waited = started.elapsed();
        story.waited += waited;
        let made = match made.unwrap_or_else(|_| Err(out_of_time())) {
            Ok(generation) => convert::convert(generation, &fitted.request, &candidate.details).await,
            Err(error) => Err(error),
        };
        let failure = made.as_ref().err().map(|error| error.kind().category());
        self.ledger.note(candidate.position, failure);
        let outcome = if failure.is_none() { AttemptOutcome::Ok } else { AttemptOutcome::Failed };
        story.note(&candidate.model, outcome, failure.map(str::to_owned), call.upstream_calls(), waited);
        match made {
            Ok(mut generation) => {
                generation.ignored = merged(fitted.ignored, generation.ignored);
                Next::Done(generation)
            }
            Err(error) => self.after(&candidate.model, error, deadline, story),
        }
    }

    /// How the chain goes on after a failure: its kind's recovery decides, and nothing else of it.
    fn after(&self, model: &ModelId, error: providers::Error, deadline: Instant, story: &mut Story) -> Next {
        let kind = error.kind();
        if matches!(kind, ErrorKind::Unauthorized | ErrorKind::ModelNotFound) {
            // Somebody has to change the configuration: nobody else will notice while the next provider helps out.
            tracing::error!(%model, reason = kind.category(), "a provider needs its configuration changed");
        }
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

    fn outcome(&self, model: ModelId, generation: Generation, story: Story, total: Duration) -> Outcome {
        story.log_failures(0);
        Outcome {
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

    fn deadline_exceeded(self, limit: Duration) -> Error {
        self.log_failures(0);
        Error::DeadlineExceeded { limit, attempts: self.attempts }
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

/// The wishes that the gateway and the provider left out, each once, in order.
fn merged<T: PartialEq>(mut ours: Vec<T>, theirs: Vec<T>) -> Vec<T> {
    for wish in theirs {
        if !ours.contains(&wish) {
            ours.push(wish);
        }
    }
    ours
}

fn out_of_time() -> providers::Error {
    providers::Error::new(ErrorKind::Timeout, "the time for the request was over before the provider answered")
}
