//! A JSON answer with pictures in it, encoded as base64 while it is sent.
//!
//! The base64 of a picture never lies in memory as a whole, and a slow reader holds back the encoding.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use base64_simd::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use crate::generation::ImageData;

/// Bytes of a picture that are encoded at a time; a multiple of 3, so that only the last piece is padded.
const PIECE: usize = 48 * 1024;

/// Bytes that are handed over at a time where nothing is encoded: as much as a socket takes at once when it flows.
const TEXT_PIECE: usize = 256 * 1024;

/// A part of the answer.
#[derive(Debug, Clone)]
pub(super) enum Segment {
    /// Sent as it is.
    Text(Bytes),
    /// Sent as base64.
    Base64(Bytes),
}

impl From<&ImageData> for Segment {
    /// A picture in base64, encoded only if it is not yet.
    fn from(data: &ImageData) -> Self {
        data.base64_text().map_or_else(|| Self::Base64(data.file()), |text| Self::Text(text.clone()))
    }
}

/// The answer.
#[derive(Debug)]
pub(super) struct AnswerBody {
    segments: VecDeque<Segment>,
    length: u64,
}

impl AnswerBody {
    /// The segments one after the other.
    pub(super) fn new(segments: Vec<Segment>) -> Self {
        let length = segments.iter().map(Segment::length).sum();
        Self { segments: segments.into(), length }
    }

    /// Bytes in all.
    pub(super) fn length(&self) -> u64 {
        self.length
    }
}

impl Segment {
    fn length(&self) -> u64 {
        let bytes = match self {
            Self::Text(text) => text.len(),
            Self::Base64(bytes) => bytes.len().div_ceil(3) * 4,
        };
        bytes as u64
    }
}

impl Iterator for AnswerBody {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        Some(match self.segments.pop_front()? {
            Segment::Text(mut text) => {
                // In pieces, too: what is handed over at once is copied at once.
                let piece = text.split_to(TEXT_PIECE.min(text.len()));
                if !text.is_empty() {
                    self.segments.push_front(Segment::Text(text));
                }
                piece
            }
            Segment::Base64(mut bytes) => {
                let piece = bytes.split_to(PIECE.min(bytes.len()));
                if !bytes.is_empty() {
                    self.segments.push_front(Segment::Base64(bytes));
                }
                STANDARD.encode_type::<Vec<u8>>(&piece).into()
            }
        })
    }
}

/// For members that stand in a schema and are sent as segments of their own: `skip_serializing_if`.
pub(super) fn is_streamed<T>(_: &T) -> bool {
    true
}

/// An object's members and its closing brace.
pub(super) fn members(object: &impl Serialize) -> String {
    let mut text = serde_json::to_string(object).unwrap_or_default();
    if !text.is_empty() {
        text.remove(0);
    }
    text
}

impl MessageBody for AnswerBody {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(self.next().map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn the_pieces_are_the_base64_of_the_whole_and_as_long_as_said() -> Result<(), Box<dyn std::error::Error>> {
        for length in [0, 1, 2, 3, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 2] {
            let picture: Vec<u8> = (0..length).map(|index| u8::try_from(index % 251).unwrap_or(0)).collect();
            let body = AnswerBody::new(vec![
                Segment::Text("<".into()),
                Segment::Base64(picture.clone().into()),
                Segment::Text(">".into()),
            ]);
            let said = body.length;
            let Ok(sent) = actix_web::body::to_bytes(body).await;
            assert_eq!(sent, format!("<{}>", STANDARD.encode_to_string(&picture)));
            assert_eq!(said, sent.len() as u64);
        }
        Ok(())
    }
}
