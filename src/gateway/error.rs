//! Why the gateway has no picture. It knows no HTTP status: the api translates.

use std::time::Duration;

use super::SetBy;
use crate::generation::{Attempt, ModelId, ProviderId};
use crate::providers;

/// Why a request came to nothing. `Display` is a sentence for the caller, without upstream text, addresses or keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No provider answers to the name.
    #[error("there is no provider called `{name}`")]
    UnknownProvider {
        /// The name, as the caller wrote it.
        name: String,
        /// The names that there are, closest first.
        candidates: Vec<String>,
    },
    /// No model answers to the name.
    #[error("there is no model called `{name}`")]
    UnknownModel {
        /// The name, as the caller wrote it.
        name: String,
        /// The names that there are (`provider/key`), closest first.
        candidates: Vec<String>,
    },
    /// The named model is known, but its files are not here.
    #[error("the model {model} is not installed: {detail}")]
    NotInstalled {
        /// Which model.
        model: ModelId,
        /// What is missing or broken.
        detail: String,
        /// What brings it here.
        remedy: String,
    },
    /// No candidate could be asked.
    #[error("{}", nothing_available(.remedies))]
    NothingAvailable {
        /// Every candidate, in order.
        attempts: Vec<Attempt>,
        /// What each of them lacks and what to do about it, in the same order.
        remedies: Vec<Remedy>,
    },
    /// No candidate can honour a hard wish.
    #[error("{message}")]
    Unsupported {
        /// The request fields that cannot be honoured.
        fields: Vec<&'static str>,
        /// What cannot be done and what is nearest.
        message: String,
        /// Every candidate, in order.
        attempts: Vec<Attempt>,
    },
    /// Candidates were asked and failed: the first failure, or the one that ended the chain.
    #[error("{error}")]
    Failed {
        /// The failure.
        #[source]
        error: providers::Error,
        /// Every candidate that was considered, in order.
        attempts: Vec<Attempt>,
    },
    /// The time for the request, or for the turn of a provider with a deadline of its own, was over.
    #[error("no picture within {} ms", .limit.as_millis())]
    DeadlineExceeded {
        /// The time that there was.
        limit: Duration,
        /// Whose limit it was.
        set_by: SetBy,
        /// Every candidate that was considered, in order.
        attempts: Vec<Attempt>,
    },
    /// A fault of our own.
    #[error("{message}")]
    Internal {
        /// What failed.
        message: String,
        /// The cause, for the log.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// What a provider lacks and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// Whose.
    pub provider: ProviderId,
    /// The category (`no_key`, …).
    pub reason: String,
    /// What is the matter, for people.
    pub detail: String,
    /// What to do about it.
    pub remedy: String,
    /// When it will be over without that, where that is known.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// The candidates that were considered before it ended so; empty where none was.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Self::NothingAvailable { attempts, .. }
            | Self::Unsupported { attempts, .. }
            | Self::Failed { attempts, .. }
            | Self::DeadlineExceeded { attempts, .. } => attempts,
            Self::UnknownProvider { .. }
            | Self::UnknownModel { .. }
            | Self::NotInstalled { .. }
            | Self::Internal { .. } => &[],
        }
    }
}

fn nothing_available(remedies: &[Remedy]) -> String {
    if remedies.is_empty() {
        return "no provider is configured".to_owned();
    }
    let each: Vec<_> = remedies.iter().map(|remedy| format!("{} ({})", remedy.provider, remedy.detail)).collect();
    format!("nothing is available: {}", each.join("; "))
}
