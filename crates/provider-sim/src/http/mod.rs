//! HTTP/1.1 by hand: whole requests in, bytes out. Small, strict, and in full control of every byte that is sent.

mod chunked;
mod connection;
mod multipart;
mod reply;
mod request;

pub(crate) use connection::Connection;
pub(crate) use multipart::{Part, parts};
pub(crate) use reply::Reply;
pub use request::Request;

use std::io;

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
