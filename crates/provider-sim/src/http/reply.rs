//! An answer before it is sent.

use std::fmt::Write as _;

use serde_json::Value;

/// An answer before it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Where the body is sent in several parts, the ends of all but the last.
    pub breaks: Vec<usize>,
    /// The length that the head announces, where it is not that of the body.
    pub announced: Option<u64>,
}

impl Reply {
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into(), breaks: Vec::new(), announced: None }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// Events of a stream, each of them sent by itself.
    pub fn events<'a>(events: impl IntoIterator<Item = (Option<&'a str>, String)>) -> Self {
        let mut reply = Self::new(200, "text/event-stream; charset=utf-8", Vec::new());
        for (name, data) in events {
            if !reply.body.is_empty() {
                reply.breaks.push(reply.body.len());
            }
            if let Some(name) = name {
                reply.body.extend(format!("event: {name}\n").as_bytes());
            }
            reply.body.extend(format!("data: {data}\n\n").as_bytes());
        }
        reply
    }

    pub fn is_stream(&self) -> bool {
        self.content_type.starts_with("text/event-stream")
    }

    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The head, which always announces a length.
    pub fn head(&self) -> Vec<u8> {
        let length = self.announced.unwrap_or(self.body.len() as u64);
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        if !self.content_type.is_empty() {
            let _ = write!(head, "content-type: {}\r\n", self.content_type);
        }
        let _ = write!(head, "content-length: {length}\r\n");
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
