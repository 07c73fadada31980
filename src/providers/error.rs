//! The one error of all providers, for machines and people.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a provider made no picture.
///
/// `Display` is a sentence for the caller: never upstream text, addresses or keys. Those may stand in the source,
/// which only the log sees. Clones share the source: everybody who waited for the same work gets the same failure.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    retry_after: Option<Duration>,
    circumstance: Circumstance,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// What a layer knows about a failure beyond its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circumstance {
    /// Nothing.
    None,
    /// It was one key's fault, and another one is ready.
    AnotherKey,
    /// The provider is not to be asked (again) now: a layer of ours holds requests back.
    HeldBack,
    /// The provider says that asking again is of no use.
    NotAgain,
}

/// What sort of failure it was; closed, so that every reader handles all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller asked for something that cannot be.
    InvalidRequest,
    /// This provider cannot do what was asked.
    Unsupported,
    /// The prompt or its pictures were refused.
    ContentRejected,
    /// The key was refused.
    Unauthorized,
    /// The provider does not know (or does not have) the model.
    ModelNotFound,
    /// The account has nothing left.
    QuotaExhausted,
    /// Too many requests for now.
    RateLimited,
    /// The provider has too much to do.
    Overloaded,
    /// What was asked for does not fit into the memory of who would make it.
    OutOfMemory,
    /// It did not answer in time.
    Timeout,
    /// It cannot be reached, or is down.
    Unavailable,
    /// It answered without (enough) whole pictures.
    NoImage,
    /// Its answer could not be understood.
    Protocol,
    /// A fault of our own.
    Internal,
}

/// What may be done after a failure: the only thing that retry and fallback read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recovery {
    /// Nothing: another provider would be asked the same wrong thing.
    Final,
    /// The next provider may do; the same one will not.
    NextProvider,
    /// The same provider may do later, or the next one now.
    Retry,
}

impl ErrorKind {
    /// What may be done after a failure of this kind.
    pub fn recovery(self) -> Recovery {
        match self {
            Self::InvalidRequest | Self::ContentRejected => Recovery::Final,
            Self::Unsupported
            | Self::Unauthorized
            | Self::ModelNotFound
            | Self::QuotaExhausted
            | Self::OutOfMemory
            | Self::Internal => Recovery::NextProvider,
            Self::RateLimited
            | Self::Overloaded
            | Self::Timeout
            | Self::Unavailable
            | Self::NoImage
            | Self::Protocol => Recovery::Retry,
        }
    }

    /// The category as it stands in `attempts` and in logs.
    pub fn category(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unsupported => "unsupported",
            Self::ContentRejected => "content_rejected",
            Self::Unauthorized => "unauthorized",
            Self::ModelNotFound => "model_not_found",
            Self::QuotaExhausted => "quota_exhausted",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::OutOfMemory => "out_of_memory",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::NoImage => "no_image",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }
}

impl Error {
    /// An error of this kind; `message` is a sentence for the caller: lower case, no full stop, what and which.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            retry_after: None,
            circumstance: Circumstance::None,
            source: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds when the provider said it may be asked again.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.retry_after = delay;
        self
    }

    /// Says that it was one key's fault and that another one is ready: the same provider may be asked again at once.
    #[must_use]
    pub fn with_another_key(mut self) -> Self {
        self.circumstance = Circumstance::AnotherKey;
        self
    }

    /// Says that a layer of ours holds requests back, so that the same provider is not asked (again) now.
    #[must_use]
    pub fn held_back(mut self) -> Self {
        self.circumstance = Circumstance::HeldBack;
        self
    }

    /// Says that the provider itself advises against asking it again.
    #[must_use]
    pub fn not_again(mut self) -> Self {
        self.circumstance = Circumstance::NotAgain;
        self
    }

    /// Adds the cause; only the log sees it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }

    /// What sort of failure it was.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What may be done after it: what its kind allows, unless a layer knows better.
    pub fn recovery(&self) -> Recovery {
        match (self.kind.recovery(), self.circumstance) {
            (Recovery::Final, _) => Recovery::Final,
            (_, Circumstance::AnotherKey) => Recovery::Retry,
            (_, Circumstance::HeldBack | Circumstance::NotAgain) => Recovery::NextProvider,
            (recovery, Circumstance::None) => recovery,
        }
    }

    /// Whether it was one key's fault and another one is ready.
    pub fn has_another_key(&self) -> bool {
        self.circumstance == Circumstance::AnotherKey
    }

    /// Whether a layer of ours holds requests back.
    pub fn is_held_back(&self) -> bool {
        self.circumstance == Circumstance::HeldBack
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// When the provider said it may be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
