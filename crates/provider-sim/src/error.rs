//! Errors in the vendor's shape, worded as the vendor words them. Which one is due is decided elsewhere.

use serde_json::json;

use crate::http::Reply;

/// An error of the vendor.
#[derive(Debug, Clone)]
pub(crate) struct VendorError {
    status: u16,
    message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    retry_after: Option<u32>,
}

impl VendorError {
    fn new(status: u16, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), kind, param: None, code, retry_after: None }
    }

    /// 400 that names a parameter.
    pub fn parameter(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        let error = Self::new(400, "invalid_request_error", Some(code), message);
        Self { param: Some(param.to_owned()), ..error }
    }

    pub fn not_json() -> Self {
        Self::new(
            400,
            "invalid_request_error",
            None,
            "We could not parse the JSON body of your request. The OpenAI API expects a JSON payload.",
        )
    }

    pub fn unknown_path(method: &str, path: &str) -> Self {
        Self::new(404, "invalid_request_error", None, format!("Invalid URL ({method} {path})"))
    }

    pub fn unknown_model(model: &str) -> Self {
        let message = format!("The model '{model}' does not exist or you do not have access to it.");
        let error = Self::new(404, "invalid_request_error", Some("model_not_found"), message);
        Self { param: Some("model".to_owned()), ..error }
    }

    pub fn invalid_key() -> Self {
        Self::new(401, "invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided: sk-*****.")
    }

    pub fn refused() -> Self {
        Self::new(
            400,
            "image_generation_user_error",
            Some("moderation_blocked"),
            "Your request was rejected by the safety system. If you believe this is an error, contact support and \
             include the request ID. safety_violations=[violence].",
        )
    }

    pub fn rate_limit(retry_after: Option<u32>) -> Self {
        let message = "Rate limit reached in organization org-stand-in on input-images per min: Limit 5, Used 5, \
                       Requested 1.";
        Self { retry_after, ..Self::new(429, "input-images", Some("rate_limit_exceeded"), message) }
    }

    pub fn quota() -> Self {
        Self::new(
            429,
            "insufficient_quota",
            Some("insufficient_quota"),
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

    pub fn reply(&self) -> Reply {
        let body = json!({
            "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code }
        });
        let reply = Reply::json(self.status, &body);
        match self.retry_after {
            Some(seconds) => reply.with_header("retry-after", seconds.to_string()),
            None => reply,
        }
    }
}
