//! The ways to fail, and their names on the command line, in JSON and in test output.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One way to fail a request for pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// This status, with the body that the vendor sends with it.
    Status(u16),
    /// 429 `rate_limit_exceeded`, with `Retry-After` in seconds where one is given.
    RateLimit(Option<u32>),
    /// 429 `insufficient_quota`.
    Quota,
    /// 400 `moderation_blocked`: the prompt was refused.
    Refused,
    /// Takes the request and never answers.
    Hang,
    /// Sends the head and half of the body, then nothing more.
    HangMidBody,
    /// Sends the body at this many bytes a second.
    Drip(u32),
    /// Ends the connection with a TCP reset instead of an answer.
    Reset,
    /// A TCP reset after half of the body.
    ResetMidBody,
    /// Closes the connection properly, without an answer.
    Close,
    /// Closes properly after half of the body that `Content-Length` announced.
    TruncatedBody,
    /// 200 with half of the JSON, its `Content-Length` right.
    TruncatedJson,
    /// 200 with `"data": []`.
    EmptyData,
    /// 200 with an item that holds no picture.
    EmptyItem,
    /// 200 with an HTML page.
    Html,
    /// 200 with text that is not base64.
    InvalidBase64,
    /// 200 with base64 of something that is no picture.
    NotAPicture,
    /// 200 with the first half of a PNG.
    HalfPicture,
    /// 200 with a PNG of which one byte was changed.
    CorruptPicture,
    /// 200 with one picture fewer than asked.
    FewerPictures,
    /// 200 with pictures of another size than asked.
    WrongSize,
    /// 200 with addresses of the pictures instead of the pictures.
    UrlInsteadOfBase64,
}

/// Bytes a second of `drip` when none are given.
const DRIP: u32 = 100;

impl Fault {
    /// One of each, in the form in which it is named, with what it does.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Status(500), "status:CODE       that status, with the vendor's body"),
        (Self::RateLimit(None), "rate-limit[:S]    429, with 'Retry-After: S' if given"),
        (Self::Quota, "quota             429 insufficient_quota"),
        (Self::Refused, "refused           400 moderation_blocked"),
        (Self::Hang, "hang              no answer, ever"),
        (Self::HangMidBody, "hang-mid-body     half of the body, then silence"),
        (Self::Drip(DRIP), "drip[:BYTES/S]    the body drop by drop (100)"),
        (Self::Reset, "reset             TCP reset instead of an answer"),
        (Self::ResetMidBody, "reset-mid-body    TCP reset after half of the body"),
        (Self::Close, "close             connection closed without an answer"),
        (Self::TruncatedBody, "truncated-body    closed after half of the announced body"),
        (Self::TruncatedJson, "truncated-json    200 with half of the JSON"),
        (Self::EmptyData, "empty-data        200 with \"data\": []"),
        (Self::EmptyItem, "empty-item        200 with an item without a picture"),
        (Self::Html, "html              200 with a web page"),
        (Self::InvalidBase64, "invalid-base64    200 with text that is not base64"),
        (Self::NotAPicture, "not-a-picture     200 with base64 of no picture"),
        (Self::HalfPicture, "half-picture      200 with half of a PNG"),
        (Self::CorruptPicture, "corrupt-picture   200 with a PNG, one byte changed"),
        (Self::FewerPictures, "fewer-pictures    200 with one picture fewer than asked"),
        (Self::WrongSize, "wrong-size        200 with pictures of another size"),
        (Self::UrlInsteadOfBase64, "url               200 with addresses instead of pictures"),
    ];

    /// One of each fault that a client can notice without waiting for a timeout of its own.
    pub fn prompt_ones() -> impl Iterator<Item = Self> {
        Self::ALL
            .iter()
            .map(|(fault, _)| *fault)
            .filter(|fault| !matches!(fault, Self::Hang | Self::HangMidBody | Self::Drip(_)))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status:{status}"),
            Self::RateLimit(None) => f.write_str("rate-limit"),
            Self::RateLimit(Some(seconds)) => write!(f, "rate-limit:{seconds}"),
            Self::Quota => f.write_str("quota"),
            Self::Refused => f.write_str("refused"),
            Self::Hang => f.write_str("hang"),
            Self::HangMidBody => f.write_str("hang-mid-body"),
            Self::Drip(rate) => write!(f, "drip:{rate}"),
            Self::Reset => f.write_str("reset"),
            Self::ResetMidBody => f.write_str("reset-mid-body"),
            Self::Close => f.write_str("close"),
            Self::TruncatedBody => f.write_str("truncated-body"),
            Self::TruncatedJson => f.write_str("truncated-json"),
            Self::EmptyData => f.write_str("empty-data"),
            Self::EmptyItem => f.write_str("empty-item"),
            Self::Html => f.write_str("html"),
            Self::InvalidBase64 => f.write_str("invalid-base64"),
            Self::NotAPicture => f.write_str("not-a-picture"),
            Self::HalfPicture => f.write_str("half-picture"),
            Self::CorruptPicture => f.write_str("corrupt-picture"),
            Self::FewerPictures => f.write_str("fewer-pictures"),
            Self::WrongSize => f.write_str("wrong-size"),
            Self::UrlInsteadOfBase64 => f.write_str("url"),
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, argument) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        let number = argument
            .map(|argument| argument.parse::<u32>().map_err(|_| format!("'{argument}' in fault '{text}' is no number")))
            .transpose()?;
        match (name, number) {
            ("status", Some(status)) => u16::try_from(status)
                .ok()
                .filter(|status| (400..600).contains(status))
                .map(Self::Status)
                .ok_or_else(|| format!("fault 'status:{status}' takes a status from 400 to 599")),
            ("status", None) => Err("fault 'status' needs a code: write status:503".to_owned()),
            ("rate-limit", seconds) => Ok(Self::RateLimit(seconds)),
            ("drip", rate) => Ok(Self::Drip(rate.unwrap_or(DRIP).max(1))),
            (_, Some(_)) => Err(format!("fault '{name}' takes no number, or is not known")),
            (_, None) => Self::ALL
                .iter()
                .map(|(fault, _)| *fault)
                .find(|fault| fault.to_string() == name)
                .ok_or_else(|| format!("fault '{name}' is not known: see --help for the list")),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back_and_stands_in_the_help() {
        for (fault, help) in Fault::ALL {
            assert_eq!(fault.to_string().parse(), Ok(*fault));
            let name = fault.to_string();
            assert!(help.starts_with(name.split(':').next().unwrap_or_default()), "{help}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for text in ["", "statuss", "status", "status:9", "status:x", "hang:3"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
