//! The one place where failures become HTTP: a stable code, a status of ours, and what to do.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use super::problem;
use crate::generation::Attempt;

/// What a caller is told when something is wrong. `Display` is for the log; the body is [`super::Problem`].
#[derive(Debug)]
pub struct ApiError {
    pub(super) code: Code,
    /// Boxed, so that a `Result` stays small where all goes well.
    pub(super) told: Box<Told>,
}

/// The rest of an error.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) detail: String,
    pub(super) hint: String,
    pub(super) field: Option<String>,
    pub(super) candidates: Option<Vec<String>>,
    pub(super) attempts: Option<Vec<Attempt>>,
    pub(super) retry_after: Option<Duration>,
    pub(super) headers: Vec<(&'static str, String)>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! codes {
    ($($variant:ident $code:literal $status:ident $title:literal,)*) => {
        /// The stable codes of all errors. `docs/ERRORS.md` says when each is sent.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        /// Every code.
        pub const CODES: &[Code] = &[$(Code::$variant,)*];

        impl Code {
            /// As it stands in a body.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// The status that it is sent with.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)* }
            }

            /// A short name for people, the same in every answer with this code.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" BAD_REQUEST "The body is not JSON",
    BadRequest "bad_request" BAD_REQUEST "The request cannot be read",
    Unauthorized "unauthorized" UNAUTHORIZED "The token is missing or wrong",
    AdminOnly "admin_only" FORBIDDEN "An administrator's route",
    HostNotAllowed "host_not_allowed" FORBIDDEN "The host name is not allowed",
    OriginNotAllowed "origin_not_allowed" FORBIDDEN "The page's origin is not allowed",
    NotFound "not_found" NOT_FOUND "No such route",
    UnknownProvider "unknown_provider" NOT_FOUND "No such provider",
    UnknownModel "unknown_model" NOT_FOUND "No such model",
    UnknownPicture "unknown_picture" NOT_FOUND "No such picture",
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "The route does not take this method",
    BodyTimeout "body_timeout" REQUEST_TIMEOUT "The body took too long",
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "The body is too large",
    RangeNotSatisfiable "range_not_satisfiable" RANGE_NOT_SATISFIABLE "The file has no such part",
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "The body is not declared as JSON",
    UnknownField "unknown_field" UNPROCESSABLE_ENTITY "A field is not known",
    MissingField "missing_field" UNPROCESSABLE_ENTITY "A field is missing",
    InvalidField "invalid_field" UNPROCESSABLE_ENTITY "A field has a value that cannot be",
    ConflictingFields "conflicting_fields" UNPROCESSABLE_ENTITY "Fields contradict each other",
    Unsupported "unsupported" UNPROCESSABLE_ENTITY "This cannot be done here",
    KeyReused "idempotency_key_reused" UNPROCESSABLE_ENTITY "The idempotency key belongs to another request",
    InvalidRequest "invalid_request" UNPROCESSABLE_ENTITY "The provider cannot take the request",
    ContentRejected "content_rejected" UNPROCESSABLE_ENTITY "The prompt was refused",
    NotInstalled "model_not_installed" FAILED_DEPENDENCY "The model is not installed",
    RateLimited "rate_limited" TOO_MANY_REQUESTS "Too many requests",
    Internal "internal" INTERNAL_SERVER_ERROR "A fault of Easel's own",
    ProviderUnauthorized "provider_unauthorized" BAD_GATEWAY "The provider refused its key",
    ProviderModelNotFound "provider_model_not_found" BAD_GATEWAY "The provider does not have the model",
    ProviderNoImage "provider_no_image" BAD_GATEWAY "The provider sent no whole picture",
    ProviderProtocol "provider_protocol" BAD_GATEWAY "The provider's answer could not be understood",
    NothingAvailable "nothing_available" SERVICE_UNAVAILABLE "No provider can make a picture now",
    ProviderQuota "provider_quota_exhausted" SERVICE_UNAVAILABLE "The provider's account has nothing left",
    ProviderRateLimited "provider_rate_limited" SERVICE_UNAVAILABLE "The provider takes no more requests for now",
    ProviderOverloaded "provider_overloaded" SERVICE_UNAVAILABLE "The provider has too much to do",
    ProviderUnavailable "provider_unavailable" SERVICE_UNAVAILABLE "The provider cannot be reached",
    OutOfMemory "out_of_memory" INSUFFICIENT_STORAGE "The picture does not fit into memory",
    LoopDetected "loop_detected" LOOP_DETECTED "The request went in a circle",
    Overloaded "overloaded" SERVICE_UNAVAILABLE "Easel has too much to do",
    Draining "draining" SERVICE_UNAVAILABLE "Easel is shutting down",
    ProviderTimeout "provider_timeout" GATEWAY_TIMEOUT "The provider did not answer in time",
    DeadlineExceeded "deadline_exceeded" GATEWAY_TIMEOUT "The time for the request ran out",
}

impl ApiError {
    /// An error: what happened, and what to do about it.
    pub fn new(code: Code, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        let told = Told { detail: detail.into(), hint: hint.into(), ..Told::default() };
        Self { code, told: Box::new(told) }
    }

    /// Adds the request field that is meant.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.told.field = Some(field.into());
        self
    }

    /// Adds the names that could have been meant, closest first.
    #[must_use]
    pub fn with_candidates(mut self, candidates: Vec<String>) -> Self {
        self.told.candidates = Some(candidates);
        self
    }

    /// Adds what was tried.
    #[must_use]
    pub fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.told.attempts = Some(attempts);
        self
    }

    /// Adds when to come back.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.told.retry_after = delay;
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.told.headers.push((name, value.into()));
        self
    }

    /// Adds the cause; only the log sees it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.told.source = Some(source.into());
        self
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.told.detail)
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.told.source.as_deref().map(|source| source as _)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        problem::response(self, "")
    }
}
