//! What became of the tasks of a request, and how that is written.

use serde_json::Value;

use crate::Fault;
use crate::http::Reply;

/// What became of the tasks of a request.
#[derive(Debug, Default, Clone)]
pub(super) struct Outcome {
    /// `None` for 200.
    pub status: Option<u16>,
    /// Items as JSON text: a tree of JSON values would copy megabytes of base64 twice.
    pub data: Vec<String>,
    pub errors: Vec<Value>,
}

impl Outcome {
    pub fn add(&mut self, other: Self) {
        // Some tasks may fail while others give their results; only when none does, the status says so.
        self.status = match (self.status, other.status) {
            _ if !(self.data.is_empty() && other.data.is_empty()) => None,
            (None, status) | (status, None) => status,
            (Some(first), Some(_)) => Some(first),
        };
        self.data.extend(other.data);
        self.errors.extend(other.errors);
    }

    /// The body. Other shapes: 1 has a lone object where there is one item or one error; 2 has a list called `error`.
    pub fn body(&self, shape: u8, fault: Option<Fault>) -> String {
        if let Some(Fault::NoPicture(form)) = fault
            && form % 3 == 2
        {
            return "{}".to_owned();
        }
        let data = match (self.data.as_slice(), shape) {
            ([item], 1) => item.clone(),
            (items, _) => format!("[{}]", items.join(",")),
        };
        let data = format!(r#""data":{data}"#);
        match (self.errors.as_slice(), shape) {
            ([], 2) => format!("{{{data},\"errors\":[]}}"),
            ([], _) => format!("{{{data}}}"),
            ([error, ..], 1) if self.data.is_empty() => {
                let uuid = &error["taskUUID"];
                format!(r#"{{"error":{error},"taskUUID":{uuid}}}"#)
            }
            (errors, 2) => format!(r#"{{"error":{},{data}}}"#, Value::from(errors)),
            (errors, _) => format!(r#"{{{data},"errors":{}}}"#, Value::from(errors)),
        }
    }

    pub fn reply(&self, shape: u8, fault: Option<Fault>) -> Reply {
        Reply::new(self.status.unwrap_or(200), "application/json", self.body(shape, fault))
    }
}
