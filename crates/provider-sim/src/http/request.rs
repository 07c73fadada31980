//! A request as it came in.

use std::io;

use serde_json::Value;

use super::invalid;

/// A request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// The target as sent, with its query.
    pub path: String,
    /// Names as sent, in order.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The path without its query.
    pub fn route(&self) -> &str {
        self.path.split('?').next().unwrap_or_default()
    }

    /// The first parameter of this name in the query, as sent.
    pub fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.path.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The names of the fields of a form, in order; none if the body is no form.
    pub fn form_fields(&self) -> Vec<String> {
        super::parts(self).unwrap_or_default().into_iter().map(|part| part.name).collect()
    }

    /// The content of the first field of this name of a form.
    pub fn form_field(&self, name: &str) -> Option<Vec<u8>> {
        super::parts(self)?.into_iter().find(|part| part.name == name).map(|part| part.content)
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The head of a request and its length, if it is whole.
    pub(super) fn parse_head(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(bytes).map_err(|error| invalid(&error.to_string()))? {
            httparse::Status::Partial => Ok(None),
            httparse::Status::Complete(length) => {
                let headers = parsed
                    .headers
                    .iter()
                    .map(|header| (header.name.to_owned(), String::from_utf8_lossy(header.value).into_owned()))
                    .collect();
                let method = parsed.method.unwrap_or_default().to_owned();
                let path = parsed.path.unwrap_or_default().to_owned();
                Ok(Some((Self { method, path, headers, body: Vec::new() }, length)))
            }
        }
    }
}
