//! A connection with what was read of it and not used yet.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{Request, chunked, invalid};

/// Longest head that is read.
const HEAD_LIMIT: usize = 64 << 10;
/// Longest body that is read.
const BODY_LIMIT: usize = 512 << 20;

/// A connection with what was read of it and not used yet.
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Connection {
    pub fn new(stream: TcpStream) -> Self {
        // A head and a body are two writes; without this the second waits for the first one's acknowledgement.
        let _ = stream.set_nodelay(true);
        Self { stream, unread: Vec::new() }
    }

    /// The next whole request; `None` when the client closed between two of them.
    pub async fn read_request(&mut self) -> io::Result<Option<Request>> {
        let (mut request, head_length) = loop {
            if let Some(found) = Request::parse_head(&self.unread)? {
                break found;
            }
            if self.unread.len() > HEAD_LIMIT {
                return Err(invalid("the head of the request is too long"));
            }
            if !self.read_more().await? {
                return if self.unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        self.unread.drain(..head_length);
        let length = announced_length(&request)?;
        if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        request.body = match length {
            Some(length) => {
                while self.unread.len() < length {
                    self.need_more().await?;
                }
                self.unread.drain(..length).collect()
            }
            None => loop {
                if let Some((body, used)) = chunked::decode(&self.unread)? {
                    self.unread.drain(..used);
                    break body;
                }
                if self.unread.len() > BODY_LIMIT {
                    return Err(invalid("the body is too large"));
                }
                self.need_more().await?;
            },
        };
        Ok(Some(request))
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Comes back when the client has gone, and not before.
    pub async fn gone(&mut self) {
        while matches!(self.read_more().await, Ok(true)) {}
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        let _ = self.stream.set_zero_linger();
    }

    /// The connection for another protocol, with what was read already.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.unread)
    }

    async fn need_more(&mut self) -> io::Result<()> {
        if self.read_more().await? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    async fn read_more(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.unread).await? > 0)
    }
}

/// The length of the body; `None` if it comes in chunks.
fn announced_length(request: &Request) -> io::Result<Option<usize>> {
    if let Some(encoding) = request.header("transfer-encoding") {
        return if encoding.eq_ignore_ascii_case("chunked") {
            Ok(None)
        } else {
            Err(invalid("the only transfer encoding that is read is 'chunked'"))
        };
    }
    let Some(text) = request.header("content-length") else {
        return Ok(Some(0));
    };
    match text.parse() {
        Ok(length) if length <= BODY_LIMIT => Ok(Some(length)),
        Ok(_) | Err(_) => Err(invalid("the content-length is no number, or too large")),
    }
}
