//! The ways in which a vendor can say how long to wait.

use std::time::{Duration, SystemTime};

/// How a delay is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spelling {
    /// `Retry-After: 2`
    Seconds,
    /// `Retry-After: 1.5`
    Float,
    /// `Retry-After: Sun, 06 Nov 1994 08:49:37 GMT`
    Date,
    /// `Retry-After-Ms: 1500`
    Milliseconds,
    /// In the body only, as the vendor does it.
    Body,
}

impl Spelling {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Seconds, Self::Float, Self::Date, Self::Milliseconds, Self::Body];

    /// Its name, after `rate-limit-`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Float => "float",
            Self::Date => "date",
            Self::Milliseconds => "ms",
            Self::Body => "body",
        }
    }

    /// The header that tells the delay, if one does.
    pub(crate) fn header(self, milliseconds: u32) -> Option<(&'static str, String)> {
        match self {
            Self::Seconds => Some(("retry-after", milliseconds.div_ceil(1000).to_string())),
            Self::Float => Some(("retry-after", format!("{}", f64::from(milliseconds) / 1000.0))),
            Self::Date => {
                // A date knows no fractions: the next whole second after the delay.
                let until = SystemTime::now() + Duration::from_millis(u64::from(milliseconds) + 999);
                Some(("retry-after", httpdate::fmt_http_date(until)))
            }
            Self::Milliseconds => Some(("retry-after-ms", milliseconds.to_string())),
            Self::Body => None,
        }
    }
}
