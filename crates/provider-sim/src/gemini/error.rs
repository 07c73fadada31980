//! Errors in the shape of all Google APIs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::Request;
use crate::http::Reply;
use crate::json::put;
use crate::vendor::Failure;

/// Forms in which nothing is left on the account: the day's quota, then billing.
pub(crate) const QUOTAS: u8 = 2;

/// An error of the vendor.
#[derive(Debug, Clone)]
pub(super) struct VendorError {
    status: u16,
    message: String,
    details: Vec<Value>,
}

impl VendorError {
    fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), details: Vec::new() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 400 for a member that the vendor does not know.
    pub fn unknown_name(name: &str, place: &str) -> Self {
        let place = if place.is_empty() { String::new() } else { format!(" at '{place}'") };
        Self::new(400, format!("Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."))
    }

    pub fn unknown_model(id: &str) -> Self {
        Self::new(
            404,
            format!("models/{id} is not found for API version v1beta, or is not supported for generateContent."),
        )
    }

    fn invalid_key() -> Self {
        let detail = json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID",
            "domain": "googleapis.com", "metadata": { "service": "generativelanguage.googleapis.com" },
        });
        Self { details: vec![detail], ..Self::new(400, "API key not valid. Please pass a valid API key.") }
    }

    /// 429 of a quota. The delay is in the body, with a fraction where it has one.
    fn exhausted(quota: &str, delay: Option<u32>) -> Self {
        let mut message = "You exceeded your current quota, please check your plan and billing details.".to_owned();
        let mut details = vec![json!({
            "@type": "type.googleapis.com/google.rpc.QuotaFailure",
            "violations": [{
                "quotaMetric": "generativelanguage.googleapis.com/generate_requests_per_model", "quotaId": quota,
                "quotaDimensions": { "location": "global", "model": "gemini-2.5-flash-image" }, "quotaValue": "10",
            }],
        })];
        if let Some(milliseconds) = delay {
            let seconds = f64::from(milliseconds) / 1000.0;
            let _ = write!(message, " Please retry in {seconds}s.");
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": format!("{seconds}s"),
            }));
        }
        Self { details, ..Self::new(429, message) }
    }

    fn quota(form: u8) -> Self {
        if form.is_multiple_of(QUOTAS) {
            // A delay is told here too, though the quota is that of the day.
            return Self::exhausted("GenerateRequestsPerDayPerProjectPerModel", Some(31_000));
        }
        let mut error = Self::new(400, "Billing is not enabled for this project, or not available in this region.");
        error.details.push(json!({ "@type": "type.googleapis.com/google.rpc.PreconditionFailure" }));
        error
    }

    /// What the vendor says with this status.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 => Self::invalid("Request contains an invalid argument."),
            401 => Self::new(401, "Request had invalid authentication credentials."),
            403 => Self::new(403, "Your project has been denied access."),
            404 => Self::unknown_model("gone"),
            429 => Self::exhausted("GenerateRequestsPerMinutePerProjectPerModel", None),
            503 => Self::new(503, "The model is overloaded. Please try again later."),
            504 => Self::new(504, "The request timed out. Please try again."),
            _ => Self::new(status, "An internal error has occurred."),
        }
    }

    fn canonical(&self) -> &'static str {
        match self.status {
            400 if self.message.starts_with("Billing") => "FAILED_PRECONDITION",
            400 => "INVALID_ARGUMENT",
            401 => "UNAUTHENTICATED",
            402 => "FAILED_PRECONDITION",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            409 => "ABORTED",
            429 => "RESOURCE_EXHAUSTED",
            499 => "CANCELLED",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            _ => "INTERNAL",
        }
    }

    /// `{"error": …}`; other shapes wrap it in a list of one.
    pub fn body(&self, shape: u8) -> Value {
        let mut error = json!({ "code": self.status, "message": self.message, "status": self.canonical() });
        if !self.details.is_empty() {
            put(&mut error, "details", json!(self.details));
        }
        let body = json!({ "error": error });
        if shape == 0 { body } else { json!([body]) }
    }

    pub fn reply(&self, shape: u8) -> Reply {
        Reply::json(self.status, &self.body(shape))
    }
}

/// A failure in the vendor's words.
pub(crate) fn failure(failure: Failure, request: &Request, shape: u8) -> Reply {
    let error = match failure {
        Failure::Status(status) => VendorError::of_status(status),
        Failure::InvalidKey if super::keys(request) == [None; 3] => {
            VendorError::new(403, "Method doesn't allow unregistered callers. Please use API Key.")
        }
        Failure::InvalidKey => VendorError::invalid_key(),
        Failure::UnknownModel => VendorError::unknown_model("gone"),
        Failure::UnknownPath => VendorError::new(404, "The requested URL was not found on this server."),
        Failure::RateLimit(delay) => VendorError::exhausted("GenerateRequestsPerMinutePerProjectPerModel", delay),
        Failure::Quota(form) => VendorError::quota(form),
    };
    let wrapped = request.route().ends_with(":streamGenerateContent") || shape > 0;
    error.reply(u8::from(wrapped))
}
