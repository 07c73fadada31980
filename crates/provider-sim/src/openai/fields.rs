//! The fields of a request, whether it came as JSON or as a form.

use serde_json::{Map, Value};

use super::error::VendorError;
use crate::Request;
use crate::http::{Part, parts};

/// The fields of a request.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    pub values: Map<String, Value>,
    /// Files, in order.
    pub files: Vec<Part>,
}

/// Fields that are not text. In a form everything is.
const NUMBERS: [&str; 3] = ["n", "output_compression", "partial_images"];
const FLAGS: [&str; 1] = ["stream"];

impl Fields {
    pub fn json(request: &Request) -> Result<Self, VendorError> {
        match serde_json::from_slice(&request.body) {
            Ok(Value::Object(values)) => Ok(Self { values, files: Vec::new() }),
            Ok(_) | Err(_) => Err(VendorError::not_json()),
        }
    }

    /// `None` if the request is no form.
    pub fn form(request: &Request) -> Option<Self> {
        let mut fields = Self::default();
        for part in parts(request)? {
            if part.is_file {
                fields.files.push(part);
                continue;
            }
            let text = part.text();
            let value = if NUMBERS.contains(&part.name.as_str()) {
                serde_json::from_str(&text).ok().filter(Value::is_number).unwrap_or(Value::String(text))
            } else if FLAGS.contains(&part.name.as_str()) {
                text.to_ascii_lowercase().parse().map_or(Value::String(text), Value::Bool)
            } else {
                Value::String(text)
            };
            fields.values.insert(part.name, value);
        }
        Some(fields)
    }

    /// The value of a field; `null` counts as absent.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// The text of a field.
    pub fn text(&self, name: &str) -> Result<Option<&str>, VendorError> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(VendorError::wrong_type(name, "a string", other)),
        }
    }

    /// The text of a field that takes one of these; of all where the list is empty.
    pub fn one_of(&self, name: &str, supported: &[&str]) -> Result<Option<&str>, VendorError> {
        match self.text(name)? {
            Some(text) if !supported.is_empty() && !supported.contains(&text) => {
                Err(VendorError::value(name, text, supported))
            }
            text => Ok(text),
        }
    }

    pub fn flag(&self, name: &str) -> Result<bool, VendorError> {
        match self.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(VendorError::wrong_type(name, "a boolean", other)),
        }
    }

    /// A whole number within bounds.
    pub fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u32>, VendorError> {
        let number = match self.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) if number.is_i64() || number.is_u64() => number.as_i64().unwrap_or(i64::MAX),
            Some(other) => return Err(VendorError::wrong_type(name, "an integer", other)),
        };
        let refuse = |code, side: &str, bound: u64| {
            let message =
                format!("Invalid '{name}': integer {side} value. Expected a value {bound}, but got {number} instead.");
            Err(VendorError::parameter(name, code, message))
        };
        match u64::try_from(number) {
            Ok(number) if number > most => refuse("integer_above_max_value", "above maximum", most),
            Ok(number) if number >= least => Ok(u32::try_from(number).ok()),
            Ok(_) | Err(_) => refuse("integer_below_min_value", "below minimum", least),
        }
    }
}
