//! Failures before a stream begins, as HTTP answers: an [`EngineError`] in JSON with a status that fits.

use std::fmt;

use actix_web::body::BoxBody;
use actix_web::error::JsonPayloadError;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use easel_engine_protocol::{EngineError, EngineErrorKind};

use crate::Error;

/// An error of the engine as an answer.
#[derive(Debug)]
pub(super) struct Refusal {
    error: EngineError,
    status: StatusCode,
}

impl Refusal {
    pub(super) fn with_status(error: Error, status: StatusCode) -> Self {
        Self { error: error.into(), status }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            EngineErrorKind::InvalidRequest | EngineErrorKind::DeviceUnavailable => StatusCode::UNPROCESSABLE_ENTITY,
            EngineErrorKind::ModelNotFound => StatusCode::NOT_FOUND,
            EngineErrorKind::ModelBroken => StatusCode::FAILED_DEPENDENCY,
            EngineErrorKind::OutOfMemory => StatusCode::INSUFFICIENT_STORAGE,
            EngineErrorKind::Overloaded | EngineErrorKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            EngineErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::with_status(error, status)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::build(self.status).json(&self.error)
    }
}

/// A body that is no job.
#[expect(clippy::needless_pass_by_value, reason = "actix hands it over like this")]
pub(super) fn json_error(error: JsonPayloadError, _: &HttpRequest) -> actix_web::Error {
    let status = error.status_code();
    let invalid = Error::invalid(format!("the body is not a job: {error}"));
    Refusal::with_status(invalid, status).into()
}
