//! What is the same for faults whoever meets them.

use super::Fault;

impl Fault {
    /// One of each fault that a client can notice without waiting for a timeout of its own.
    pub fn prompt_ones() -> impl Iterator<Item = Self> {
        let slow = |fault: &Self| {
            matches!(fault, Self::Hang | Self::HangMidBody | Self::Drip(_) | Self::UrlHang | Self::UrlDrip(_))
        };
        Self::ALL.iter().map(|(fault, _)| *fault).filter(move |fault| !slow(fault))
    }

    /// Whether the work was done, and is to be paid, though its answer is lost, spoilt or late.
    pub fn runs(self) -> bool {
        match self {
            Self::Status(_)
            | Self::InvalidKey
            | Self::UnknownModel
            | Self::RateLimit(_)
            | Self::RateLimitAs(..)
            | Self::Quota
            | Self::QuotaAs(_)
            | Self::NoRetry
            | Self::AskAgain
            | Self::Page(_)
            | Self::Reset
            | Self::Close
            | Self::LostBefore => false,
            Self::Refused
            | Self::RefusedAs(_)
            | Self::EmptyBody(_)
            | Self::Hang
            | Self::HangMidBody
            | Self::Drip(_)
            | Self::ResetMidBody
            | Self::LostAfter
            | Self::TruncatedBody
            | Self::TruncatedJson
            | Self::ErrorIn200
            | Self::EmptyData
            | Self::EmptyItem
            | Self::NoPicture(_)
            | Self::Html
            | Self::PlainText
            | Self::InvalidBase64
            | Self::NotAPicture
            | Self::HalfPicture
            | Self::CorruptPicture
            | Self::FewerPictures
            | Self::MorePictures
            | Self::PartlyFailed
            | Self::WrongSize
            | Self::UrlInsteadOfBase64
            | Self::UrlExpired(_)
            | Self::UrlPrivate(_)
            | Self::UrlRedirect(_)
            | Self::UrlHang
            | Self::UrlDrip(_)
            | Self::UrlReset
            | Self::UrlHtml
            | Self::UrlEndless => true,
        }
    }

    /// Whether the answer names pictures by addresses, whatever was asked for.
    pub(crate) fn gives_addresses(self) -> bool {
        matches!(
            self,
            Self::UrlInsteadOfBase64
                | Self::UrlExpired(_)
                | Self::UrlPrivate(_)
                | Self::UrlRedirect(_)
                | Self::UrlHang
                | Self::UrlDrip(_)
                | Self::UrlReset
                | Self::UrlHtml
                | Self::UrlEndless
        )
    }

    /// The form in which the prompt is refused, if it is.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all others refuse nothing")]
    pub(crate) fn refusal(self) -> Option<u8> {
        match self {
            Self::Refused => Some(0),
            Self::RefusedAs(form) => Some(form),
            _ => None,
        }
    }

    /// Addresses that must not be asked, in the order of the forms of `url-private`.
    pub const fn private_addresses() -> &'static [&'static str] {
        &[
            "http://169.254.169.254/latest/meta-data/picture.png",
            "http://127.0.0.1:9/picture.png",
            "http://10.0.0.1/picture.png",
            "http://192.168.1.1/picture.png",
            "http://100.64.0.1/picture.png",
            "http://[::1]:9/picture.png",
            "http://[::ffff:127.0.0.1]:9/picture.png",
            "http://[64:ff9b::a00:1]/picture.png",
            "http://[fd00::1]/picture.png",
            "http://2130706433:9/picture.png",
            "http://0x7f.1:9/picture.png",
            "http://localhost:9/picture.png",
            "http://0.0.0.0:9/picture.png",
            "file:///etc/hostname",
        ]
    }
}
