//! The names of faults on the command line, in JSON and in test output.

use std::fmt;
use std::str::FromStr;

use super::{Fault, Spelling};

/// Bytes a second of `drip` when none are given.
const DRIP: u32 = 100;
/// Milliseconds of a delay when none are given.
const DELAY: u32 = 1_500;

impl Fault {
    /// One of each, in the form in which it is named, with what it does.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::Status(500), "status:CODE              that status, with the vendor's body"),
        (Self::InvalidKey, "invalid-key              what the vendor says to a wrong key"),
        (Self::UnknownModel, "unknown-model            what the vendor says to a model it does not know"),
        (Self::RateLimit(None), "rate-limit[:S]           429, with a delay of S seconds told as the vendor does"),
        (Self::RateLimitAs(Spelling::Seconds, DELAY), "rate-limit-seconds[:MS]  429, Retry-After in whole seconds"),
        (Self::RateLimitAs(Spelling::Float, DELAY), "rate-limit-float[:MS]    429, Retry-After: 1.5"),
        (Self::RateLimitAs(Spelling::Date, DELAY), "rate-limit-date[:MS]     429, Retry-After as a date"),
        (Self::RateLimitAs(Spelling::Milliseconds, DELAY), "rate-limit-ms[:MS]       429, Retry-After-Ms"),
        (Self::RateLimitAs(Spelling::Body, DELAY), "rate-limit-body[:MS]     429, the delay in the body only"),
        (Self::Quota, "quota[:FORM]             nothing left on the account"),
        (Self::Refused, "refused[:FORM]           the prompt or the picture is refused"),
        (Self::NoRetry, "no-retry                 500 with x-should-retry: false"),
        (Self::AskAgain, "ask-again                409 with x-should-retry: true"),
        (Self::EmptyBody(504), "empty-body[:CODE]        that status without a body (504)"),
        (Self::Page(502), "page[:CODE]              that status with a web page (502)"),
        (Self::Hang, "hang                     no answer, ever"),
        (Self::HangMidBody, "hang-mid-body            half of the body, then silence"),
        (Self::Drip(DRIP), "drip[:BYTES/S]           the body drop by drop (100)"),
        (Self::Reset, "reset                    TCP reset instead of an answer"),
        (Self::ResetMidBody, "reset-mid-body           TCP reset after half of the body"),
        (Self::Close, "close                    connection closed without an answer"),
        (Self::LostBefore, "lost-before              TCP reset before the work was begun"),
        (Self::LostAfter, "lost-after               TCP reset after the work was done: Runware gives it when asked"),
        (Self::TruncatedBody, "truncated-body           closed after half of the announced body"),
        (Self::TruncatedJson, "truncated-json           200 with half of the JSON"),
        (Self::ErrorIn200, "error-in-200             200 with an error, in a stream after the first event"),
        (Self::EmptyData, "empty-data               200 with an empty list of pictures"),
        (Self::EmptyItem, "empty-item               200 with an item without a picture"),
        (Self::NoPicture(0), "no-picture[:FORM]        200 without a picture, as the vendor does it"),
        (Self::Html, "html                     200 with a web page"),
        (Self::PlainText, "plain-text               the right answer, called text/plain"),
        (Self::InvalidBase64, "invalid-base64           200 with text that is not base64"),
        (Self::NotAPicture, "not-a-picture            200 with what is no picture"),
        (Self::HalfPicture, "half-picture             200 with half of a picture"),
        (Self::CorruptPicture, "corrupt-picture          200 with a picture, one byte changed"),
        (Self::FewerPictures, "fewer-pictures           200 with one picture fewer than asked"),
        (Self::MorePictures, "more-pictures            200 with one picture more than asked"),
        (Self::PartlyFailed, "partly-failed            200 with one picture fewer and an error beside the others"),
        (Self::WrongSize, "wrong-size               200 with pictures of another size"),
        (Self::UrlInsteadOfBase64, "url                      200 with addresses instead of pictures"),
        (Self::UrlExpired(404), "url-expired[:CODE]       200 with an address that answers that status (404)"),
        (Self::UrlPrivate(0), "url-private[:FORM]       200 with a private address"),
        (
            Self::UrlRedirect(0),
            "url-redirect[:FORM]      200 with an address that redirects: 0 to the picture, 1 to a private\n                           address, 2 to itself, 3 to another name of this host",
        ),
        (Self::UrlHang, "url-hang                 200 with an address that never answers"),
        (Self::UrlDrip(DRIP), "url-drip[:BYTES/S]       200 with an address that answers drop by drop"),
        (Self::UrlReset, "url-reset                200 with an address that resets the connection"),
        (Self::UrlHtml, "url-html                 200 with an address that answers a web page"),
        (Self::UrlEndless, "url-endless              200 with an address that answers without end"),
    ];

    /// Its name without its number, and its number.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "most have no number, and one that is forgotten has no name in the test below"
    )]
    fn parts(self) -> (String, Option<u32>) {
        match self {
            Self::Status(status) => ("status".to_owned(), Some(status.into())),
            Self::RateLimit(seconds) => ("rate-limit".to_owned(), seconds),
            Self::RateLimitAs(spelling, delay) => (format!("rate-limit-{}", spelling.name()), Some(delay)),
            Self::QuotaAs(form) => ("quota".to_owned(), Some(form.into())),
            Self::RefusedAs(form) => ("refused".to_owned(), Some(form.into())),
            Self::EmptyBody(status) => ("empty-body".to_owned(), Some(status.into())),
            Self::Page(status) => ("page".to_owned(), Some(status.into())),
            Self::Drip(rate) => ("drip".to_owned(), Some(rate)),
            Self::NoPicture(form) => ("no-picture".to_owned(), Some(form.into())),
            Self::UrlExpired(status) => ("url-expired".to_owned(), Some(status.into())),
            Self::UrlPrivate(form) => ("url-private".to_owned(), Some(form.into())),
            Self::UrlRedirect(form) => ("url-redirect".to_owned(), Some(form.into())),
            Self::UrlDrip(rate) => ("url-drip".to_owned(), Some(rate)),
            other => {
                let help = Self::ALL.iter().find(|(fault, _)| *fault == other).map_or("", |(_, help)| *help);
                (help.split([' ', '[', ':']).next().unwrap_or_default().to_owned(), None)
            }
        }
    }

    /// The same fault with this number; `None` if it takes none, or not this one.
    #[expect(clippy::wildcard_enum_match_arm, reason = "most take no number")]
    fn with_number(self, number: u32) -> Option<Self> {
        let status = || u16::try_from(number).ok().filter(|status| (400..600).contains(status));
        let form = || u8::try_from(number).ok();
        match self {
            Self::Status(_) => status().map(Self::Status),
            Self::RateLimit(_) => Some(Self::RateLimit(Some(number))),
            Self::RateLimitAs(spelling, _) => Some(Self::RateLimitAs(spelling, number)),
            Self::Quota => form().map(Self::QuotaAs),
            Self::Refused => form().map(Self::RefusedAs),
            Self::EmptyBody(_) => status().map(Self::EmptyBody),
            Self::Page(_) => status().map(Self::Page),
            Self::Drip(_) => Some(Self::Drip(number.max(1))),
            Self::NoPicture(_) => form().map(Self::NoPicture),
            Self::UrlExpired(_) => status().map(Self::UrlExpired),
            Self::UrlPrivate(_) => form().map(Self::UrlPrivate),
            Self::UrlRedirect(_) => form().map(Self::UrlRedirect),
            Self::UrlDrip(_) => Some(Self::UrlDrip(number.max(1))),
            _ => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, Some(number)) => write!(f, "{name}:{number}"),
            (name, None) => f.write_str(&name),
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
        let fault = Self::ALL
            .iter()
            .map(|(fault, _)| *fault)
            .find(|fault| fault.parts().0 == name)
            .ok_or_else(|| format!("fault '{name}' is not known: see --help for the list"))?;
        match (fault, number) {
            (Self::Status(_), None) => Err("fault 'status' needs a code: write status:503".to_owned()),
            (fault, None) => Ok(fault),
            (fault, Some(number)) => {
                fault.with_number(number).ok_or_else(|| format!("fault '{name}' does not take the number {number}"))
            }
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
            let (name, _) = fault.parts();
            assert_eq!(help.split([' ', '[', ':']).next(), Some(name.as_str()), "{help}");
            assert!(!name.is_empty(), "{fault:?}");
        }
        for fault in [Fault::QuotaAs(0), Fault::RefusedAs(3), Fault::RateLimit(Some(4)), Fault::UrlPrivate(2)] {
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        for text in ["", "statuss", "status", "status:9", "status:x", "hang:3", "refused:256", "page:200"] {
            assert!(text.parse::<Fault>().is_err(), "{text}");
        }
    }
}
