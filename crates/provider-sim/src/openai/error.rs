//! Errors in the vendor's shape, worded as the vendor words them. Which one is due is decided elsewhere.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::Request;
use crate::http::Reply;
use crate::json::put;
use crate::vendor::Failure;

/// Forms in which a prompt is refused.
pub(crate) const REFUSALS: u8 = 4;
/// Forms in which nothing is left on the account.
pub(crate) const QUOTAS: u8 = 3;

/// An error of the vendor.
#[derive(Debug, Clone)]
pub(crate) struct VendorError {
    status: u16,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    /// Where the refusal happened, if the error says so.
    stage: Option<&'static str>,
}

impl VendorError {
    /// The same error, with the parameter that it is about.
    pub(super) fn about(self, param: &str) -> Self {
        Self { param: Some(param.to_owned()), ..self }
    }

    pub(super) fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, param: None, code, stage: None }
    }

    pub fn not_json() -> Self {
        Self::new(
            400,
            "invalid_request_error",
            None,
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload.",
        )
    }

    pub fn unknown_model(model: &str) -> Self {
        let message = format!("The model '{model}' does not exist or you do not have access to it.");
        let error = Self::new(404, "invalid_request_error", Some("model_not_found"), message);
        Self { param: Some("model".to_owned()), ..error }
    }

    fn invalid_key() -> Self {
        Self::new(401, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided: sk-*****.")
    }

    /// The refusal in one of its forms; the second one is of the picture, the others are of the prompt.
    pub fn refused(form: u8) -> Self {
        let message = "Your request was rejected by the safety system. If you believe this is an error, contact \
                       support and include the request ID req_stand_in. safety_violations=[violence].";
        match form % REFUSALS {
            0 => Self::new(400, "image_generation_user_error", Some("moderation_blocked"), message),
            1 => Self {
                stage: Some("output"),
                ..Self::new(400, "image_generation_user_error", Some("moderation_blocked"), message)
            },
            2 => Self::new(400, "user_error", Some("moderation_blocked"), message),
            _ => Self::new(
                400,
                "invalid_request_error",
                Some("content_policy_violation"),
                "Your request was rejected as a result of our safety system.",
            ),
        }
    }

    fn rate_limit(delay: Option<u32>) -> Self {
        let mut message = "Rate limit reached in organization org-stand-in on input-images per min: Limit 5, Used 5, \
                           Requested 1."
            .to_owned();
        if let Some(milliseconds) = delay {
            let _ = write!(message, " Please try again in {}s.", f64::from(milliseconds) / 1000.0);
        }
        Self::new(429, "input-images", Some("rate_limit_exceeded"), message)
    }

    fn quota(form: u8) -> Self {
        let (status, kind, code) = match form % QUOTAS {
            0 => (429, "insufficient_quota", "insufficient_quota"),
            1 => (400, "invalid_request_error", "billing_hard_limit_reached"),
            _ => (429, "insufficient_quota", "project_spend_limit_exceeded"),
        };
        Self::new(
            status,
            kind,
            Some(code),
            "You exceeded your current quota, please check your plan and billing details.",
        )
    }

    /// What the vendor says with this status.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 => Self::parameter("prompt", "invalid_value", "Invalid value for 'prompt'."),
            401 => Self::invalid_key(),
            402 => Self::new(402, "insufficient_quota", Some("insufficient_quota"), "Payment is required."),
            403 => Self::new(
                403,
                "invalid_request_error",
                None,
                "Your organization must be verified to use the model. Please go to the organization's settings.",
            ),
            404 => Self::unknown_model("gone"),
            429 => Self::rate_limit(None),
            _ => Self::new(
                status,
                "server_error",
                None,
                "The server had an error while processing your request. Sorry about that!",
            ),
        }
    }

    /// `{"error": …}`. Other shapes leave out what a compatible server does not know, or make the code a number.
    pub fn body(&self, shape: u8) -> Value {
        if shape > 0 {
            return json!({ "error": { "message": self.message, "type": null, "code": self.status } });
        }
        let mut error = json!({ "message": self.message, "type": self.kind, "param": self.param, "code": self.code });
        if let Some(stage) = self.stage {
            put(&mut error, "moderation_details", json!({ "moderation_stage": stage, "categories": ["violence"] }));
        }
        json!({ "error": error })
    }

    pub fn reply(&self, shape: u8) -> Reply {
        Reply::json(self.status, &self.body(shape)).with_header("x-request-id", "req_stand_in")
    }
}

/// A failure in the vendor's words.
pub(crate) fn failure(failure: Failure, request: &Request, shape: u8) -> Reply {
    let error = match failure {
        Failure::Status(status) => VendorError::of_status(status),
        Failure::InvalidKey => VendorError::invalid_key(),
        Failure::UnknownModel => VendorError::unknown_model("gone"),
        Failure::UnknownPath => {
            let message = format!("Invalid URL ({} {})", request.method, request.route());
            VendorError::new(404, "invalid_request_error", None, message)
        }
        Failure::RateLimit(delay) => VendorError::rate_limit(delay),
        Failure::Quota(form) => VendorError::quota(form),
    };
    error.reply(shape)
}
