//! Errors in the vendor's shape: one for each task that failed.

use serde_json::{Value, json};

use super::outcome::Outcome;
use super::refusal;
use crate::Request;
use crate::http::Reply;
use crate::json::put;
use crate::vendor::Failure;

/// Forms in which nothing is left on the account.
pub(crate) const QUOTAS: u8 = 3;

/// Why a task failed.
#[derive(Debug, Clone)]
pub(super) struct TaskError {
    pub status: u16,
    code: String,
    message: String,
    parameter: Option<String>,
    /// `type`, `min`, `max`, `multiplier`, as far as they are known.
    bounds: Vec<(&'static str, Value)>,
}

impl TaskError {
    pub fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), message: message.into(), parameter: None, bounds: Vec::new() }
    }

    /// 400 for a parameter: `invalidWidth`, `missingModel`, ….
    pub fn parameter(verb: &str, name: &str, message: impl Into<String>) -> Self {
        let last = name.rsplit('.').next().unwrap_or(name);
        let mut letters = last.chars();
        let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        let error = Self::new(400, format!("{verb}{capital}"), message);
        Self { parameter: Some(name.to_owned()), ..error }
    }

    pub fn unknown_parameter(name: &str) -> Self {
        let error = Self::new(400, "unknownParameter", format!("Unknown parameter '{name}'."));
        Self { parameter: Some(name.to_owned()), ..error }
    }

    pub fn with_bound(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.bounds.push((name, value.into()));
        self
    }

    pub fn not_an_array() -> Self {
        Self::new(400, "invalidRequest", "The body must be a JSON array of at least one task object.")
    }

    pub fn refused(form: u8) -> Self {
        Self::new(400, refusal::code(form), "The content was refused by the safety system.")
    }

    pub fn quota(form: u8) -> Self {
        let code = match form % QUOTAS {
            0 => "insufficientCredits",
            1 => "quotaExceeded",
            _ => "paymentRequired",
        };
        Self::new(402, code, "The account balance is too low for this task.")
    }

    /// What the vendor says with this status.
    pub fn of_status(status: u16) -> Self {
        let (code, message) = match status {
            400 => ("invalidPositivePrompt", "Invalid value for 'positivePrompt'."),
            401 => ("invalidApiKey", "Invalid API key."),
            402 => return Self::quota(0),
            403 => ("accountSuspended", "The account may not do this."),
            404 => ("unknownModel", "The model was not found."),
            408 => ("timeout", "The task took too long."),
            409 => ("conflictTaskUUID", "A task with this taskUUID exists already."),
            429 => ("rateLimitExceeded", "Too many tasks."),
            503 => ("serviceUnavailable", "The service is saturated."),
            504 => ("timeoutProvider", "The upstream provider did not answer in time."),
            _ => ("internalServerError", "An internal error happened."),
        };
        Self::new(status, code, message)
    }

    /// The error item of this task.
    pub fn item(&self, task: &Value) -> Value {
        let mut item = json!({ "code": self.code, "message": self.message });
        if let Some(parameter) = &self.parameter {
            put(&mut item, "parameter", parameter.as_str());
            let page = "https://runware.ai/docs/image-inference/api-reference#request-";
            put(&mut item, "documentation", format!("{page}{}", parameter.to_lowercase()));
        }
        for (name, value) in &self.bounds {
            put(&mut item, name, value.clone());
        }
        for name in ["taskUUID", "taskType"] {
            if let Some(value) = task.get(name).filter(|value| value.is_string()) {
                put(&mut item, name, value.clone());
            }
        }
        item
    }

    /// The answer where it concerns no task.
    pub fn reply(&self, shape: u8) -> Reply {
        let outcome =
            Outcome { status: Some(self.status), errors: vec![self.item(&Value::Null)], ..Outcome::default() };
        outcome.reply(shape, None)
    }
}

/// A failure in the vendor's words, for every task of the request.
pub(crate) fn failure(failure: Failure, request: &Request, shape: u8) -> Reply {
    let error = match failure {
        Failure::Status(status) => TaskError::of_status(status),
        Failure::InvalidKey => TaskError::of_status(401),
        Failure::UnknownModel => TaskError::of_status(404),
        Failure::UnknownPath => TaskError::new(404, "notFound", "There is nothing here."),
        Failure::RateLimit(None) => TaskError::of_status(429),
        Failure::RateLimit(Some(delay)) => {
            let message = format!("Too many tasks. Please try again in {}s.", f64::from(delay) / 1000.0);
            TaskError::new(429, "rateLimitExceeded", message)
        }
        Failure::Quota(form) => TaskError::quota(form),
    };
    // Some 403 come from before the service and say nothing.
    if error.status == 403 && shape > 0 {
        return Reply::new(403, "", "");
    }
    let body = request.json();
    let tasks = body.as_array().map(Vec::as_slice).unwrap_or_default();
    let errors: Vec<Value> =
        tasks.iter().filter(|task| task["taskType"] != "authentication").map(|task| error.item(task)).collect();
    let errors = if errors.is_empty() { vec![error.item(&Value::Null)] } else { errors };
    Outcome { status: Some(error.status), errors, ..Outcome::default() }.reply(shape, None)
}
