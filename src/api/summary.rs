//! The line that the log gets for each request: which provider served it and what became of each candidate.

use std::time::Instant;

use crate::generation::{Attempt, AttemptOutcome};
use crate::metrics::HttpTurn;

/// What a handler leaves for the log line of its request.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    /// Who made the pictures.
    pub(super) provider: Option<String>,
    /// With which model.
    pub(super) model: Option<String>,
    /// What became of each candidate.
    pub(super) attempts: Option<String>,
    /// The id of the request whose answer was given again.
    pub(super) replay_of: Option<String>,
    /// What the pictures cost in US dollars, where known.
    pub(super) cost_usd: Option<f64>,
    /// What the pictures show; only where the settings ask for it.
    pub(super) prompt: Option<String>,
}

/// One request on its way; says so when it is dropped before it was answered.
pub(super) struct Line {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) request_id: String,
    pub(super) started: Instant,
    pub(super) quiet: bool,
    /// Its place in the figures, until it is answered.
    pub(super) counted: Option<HttpTurn>,
}

impl Line {
    /// Writes the line of an answered request.
    pub(super) fn answered(mut self, status: u16, code: Option<&str>, summary: &Summary) {
        if let Some(counted) = self.counted.take() {
            counted.answered(status);
        }
        let duration_ms = milliseconds(self.started);
        // A macro, because a level must be known when it is compiled.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    target: "easel::request",
                    method = %self.method,
                    path = %self.path,
                    status,
                    duration_ms,
                    request_id = %self.request_id,
                    code,
                    provider = summary.provider.as_deref(),
                    model = summary.model.as_deref(),
                    attempts = summary.attempts.as_deref(),
                    replay_of = summary.replay_of.as_deref(),
                    cost_usd = summary.cost_usd,
                    prompt = summary.prompt.as_deref(),
                    "answered"
                )
            };
        }
        if self.quiet && status < 500 { line!(debug) } else { line!(info) }
    }
}

/// Writes the line of an answer that was begun before it was known how it would end.
pub(super) fn streamed(request_id: &str, started: Instant, code: Option<&str>, summary: &Summary) {
    tracing::info!(
        target: "easel::request",
        duration_ms = milliseconds(started),
        request_id,
        code,
        provider = summary.provider.as_deref(),
        model = summary.model.as_deref(),
        attempts = summary.attempts.as_deref(),
        cost_usd = summary.cost_usd,
        "streamed to its end"
    );
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.counted.is_some() {
            tracing::info!(
                target: "easel::request",
                method = %self.method,
                path = %self.path,
                duration_ms = milliseconds(self.started),
                request_id = %self.request_id,
                "dropped before it was answered: the client left, or the process ended"
            );
        }
    }
}

/// What became of each candidate, as it stands in `x-easel-attempts` and in the log.
pub(super) fn attempts(attempts: &[Attempt]) -> String {
    let one = |attempt: &Attempt| {
        let reason = attempt.reason.as_deref().map(|reason| format!(";reason={reason}")).unwrap_or_default();
        format!("{};outcome={}{reason};calls={}", attempt.model, outcome(attempt.outcome), attempt.calls)
    };
    attempts.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// An outcome as it stands on the wire.
pub(super) fn outcome(outcome: AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Ok => "ok",
        AttemptOutcome::Failed => "failed",
        AttemptOutcome::Unavailable => "unavailable",
        AttemptOutcome::Skipped => "skipped",
    }
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
