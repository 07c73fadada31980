//! Errors that name a parameter.

use serde_json::Value;

use super::error::VendorError;

impl VendorError {
    /// 400 that names a parameter.
    pub fn parameter(param: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", Some(code), message).about(param)
    }

    /// 400 for a value outside the list of those that are taken.
    pub fn value(param: &str, value: &str, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|value| format!("'{value}'")).collect();
        let message = format!("Invalid value: '{value}'. Supported values are: {}.", list.join(", "));
        Self::parameter(param, "invalid_value", message)
    }

    pub fn missing(param: &str) -> Self {
        let message = format!("Missing required parameter: '{param}'.");
        Self::parameter(param, "missing_required_parameter", message)
    }

    /// 400 for a value of another kind than expected.
    pub fn wrong_type(param: &str, expected: &str, got: &Value) -> Self {
        let got = match got {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let message = format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
        Self::parameter(param, "invalid_type", message)
    }
}
