//! What the gateway says, as HTTP: the one translation.

use std::fmt::Write as _;

use super::error::{ApiError, Code};
use crate::gateway::{self, Remedy, SetBy};
use crate::providers::ErrorKind;

impl From<gateway::Error> for ApiError {
    fn from(error: gateway::Error) -> Self {
        use gateway::Error as E;
        let detail = error.to_string();
        match error {
            E::UnknownProvider { candidates, .. } => named(Code::UnknownProvider, detail, candidates),
            E::UnknownModel { candidates, .. } => named(Code::UnknownModel, detail, candidates),
            E::NotInstalled { remedy, .. } => Self::new(Code::NotInstalled, detail, remedy),
            E::NothingAvailable { attempts, remedies } => {
                let delay = remedies.iter().filter_map(|remedy| remedy.retry_after).min();
                let hint = all_remedies(&remedies);
                Self::new(Code::NothingAvailable, detail, hint).with_attempts(attempts).with_retry_after(delay)
            }
            E::Unsupported { fields, attempts, .. } => {
                let hint = format!("change or leave out {}, or name another provider", fields.join(", "));
                let error = Self::new(Code::Unsupported, detail, hint).with_attempts(attempts);
                match fields.first() {
                    Some(field) => error.with_field(*field),
                    None => error,
                }
            }
            E::Failed { error, attempts } => {
                let (code, advice) = of_kind(error.kind());
                let hint = error.hint().unwrap_or(advice).to_owned();
                let delay = error.retry_after();
                Self::new(code, detail, hint).with_attempts(attempts).with_retry_after(delay).with_source(error)
            }
            E::DeadlineExceeded { attempts, set_by, .. } => {
                let hint = match set_by {
                    SetBy::Request => "allow more with timeout_ms, or ask for less".to_owned(),
                    SetBy::Routing => "raise [routing] deadline, or ask for less".to_owned(),
                    SetBy::Provider(id) => format!("raise providers.{id}.policy.deadline, or ask for less"),
                };
                Self::new(Code::DeadlineExceeded, detail, hint).with_attempts(attempts)
            }
            E::Internal { source, .. } => {
                let error = Self::new(Code::Internal, detail, "the log has the cause under this request id");
                match source {
                    Some(source) => error.with_source(source),
                    None => error,
                }
            }
        }
    }
}

fn named(code: Code, detail: String, candidates: Vec<String>) -> ApiError {
    let hint = candidates.first().map_or_else(
        || "GET /api/image-models?all=true lists every name".to_owned(),
        |first| format!("did you mean `{first}`? GET /api/image-models?all=true lists every name"),
    );
    ApiError::new(code, detail, hint).with_candidates(candidates)
}

fn all_remedies(remedies: &[Remedy]) -> String {
    let mut all = String::new();
    for remedy in remedies {
        let separator = if all.is_empty() { "" } else { "; " };
        // Writing to a string cannot fail.
        let _ = write!(all, "{separator}{}: {}", remedy.provider, remedy.remedy);
    }
    if all.is_empty() { "configure a provider: see config/default.toml".to_owned() } else { all }
}

/// The code of a provider's failure, and what to do where the provider does not say.
fn of_kind(kind: ErrorKind) -> (Code, &'static str) {
    match kind {
        ErrorKind::InvalidRequest => (Code::InvalidRequest, "change the request"),
        ErrorKind::Unsupported => (Code::Unsupported, "change the request, or name another provider"),
        ErrorKind::ContentRejected => (Code::ContentRejected, "change the prompt"),
        ErrorKind::Unauthorized => {
            (Code::ProviderUnauthorized, "the provider's key in the environment must be renewed")
        }
        ErrorKind::ModelNotFound => {
            (Code::ProviderModelNotFound, "the model's id in the configuration must be corrected")
        }
        ErrorKind::QuotaExhausted => (Code::ProviderQuota, "the provider's account must be topped up"),
        ErrorKind::RateLimited => (Code::ProviderRateLimited, "wait a little, or allow \"fallback\": \"auto\""),
        ErrorKind::Overloaded => (Code::ProviderOverloaded, "wait a little, or allow \"fallback\": \"auto\""),
        ErrorKind::OutOfMemory => (Code::OutOfMemory, "ask for smaller or fewer pictures"),
        ErrorKind::Timeout => (Code::ProviderTimeout, "try again, or allow \"fallback\": \"auto\""),
        ErrorKind::Unavailable => (Code::ProviderUnavailable, "try again, or allow \"fallback\": \"auto\""),
        ErrorKind::NoImage => (Code::ProviderNoImage, "try again, or allow \"fallback\": \"auto\""),
        ErrorKind::Protocol => (Code::ProviderProtocol, "try again, or allow \"fallback\": \"auto\""),
        ErrorKind::Internal => (Code::Internal, "the log has the cause under this request id"),
    }
}
