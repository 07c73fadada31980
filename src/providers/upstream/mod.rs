//! What every provider that speaks HTTP to somebody else's service has in common: reading an answer within bounds,
//! pictures there and back, events, and what failures are called. Nothing here knows a vendor.

mod answer;
mod failure;
mod lift;
mod picture;
mod source;
mod sse;

pub use answer::{Body, MAX_ANSWER, MAX_ERROR, Text, decode, is_html, parse, read};
pub use failure::{Noted, hint, of_body, of_transport, plain_word, sentence};
pub use lift::Lifted;
pub use picture::from_base64;
pub use source::{Polarity, as_png, mask, to_base64, to_data_uri};
pub use sse::{Event, Events};
