//! The ways to fail: one list, the same for every vendor. What a vendor calls each of them is its folder's business.

mod meaning;
mod names;
mod spelling;

use serde::{Deserialize, Serialize};

pub use spelling::Spelling;

/// One way to fail a request for pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Fault {
    /// This status, with the body that the vendor sends with it.
    Status(u16),
    /// What the vendor says to a wrong key; not a 401 everywhere.
    InvalidKey,
    /// What the vendor says to a model that it does not know.
    UnknownModel,
    /// 429, with a delay in seconds where one is given, told as the vendor tells it.
    RateLimit(Option<u32>),
    /// 429 with a delay in milliseconds, told in this spelling.
    RateLimitAs(Spelling, u32),
    /// Nothing is left on the account, in the vendor's first form.
    Quota,
    /// Nothing is left on the account, in this form of the vendor.
    QuotaAs(u8),
    /// The prompt was refused, in the vendor's first form.
    Refused,
    /// The prompt or the picture was refused, in this form of the vendor (`Vendor::refusals`).
    RefusedAs(u8),
    /// 500 with `x-should-retry: false`.
    NoRetry,
    /// 409 with `x-should-retry: true`.
    AskAgain,
    /// This status without a body.
    EmptyBody(u16),
    /// This status with a web page.
    Page(u16),
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
    /// A TCP reset before the work was begun: there is nothing to ask for.
    LostBefore,
    /// A TCP reset after the work was done: Runware keeps the result and gives it when asked.
    LostAfter,
    /// Closes properly after half of the body that `Content-Length` announced.
    TruncatedBody,
    /// 200 with half of the JSON, its `Content-Length` right.
    TruncatedJson,
    /// 200 with an error for a body; in a stream of events, an error after the first one.
    ErrorIn200,
    /// 200 with an empty list of pictures.
    EmptyData,
    /// 200 with an item that holds no picture.
    EmptyItem,
    /// 200 without a picture, in this form of the vendor (`Vendor::no_pictures`).
    NoPicture(u8),
    /// 200 with an HTML page.
    Html,
    /// The right answer, called `text/plain`.
    PlainText,
    /// 200 with text that is not base64; where addresses are given, with an address that is none.
    InvalidBase64,
    /// 200 with something that is no picture.
    NotAPicture,
    /// 200 with the first half of a picture.
    HalfPicture,
    /// 200 with a picture of which one byte was changed.
    CorruptPicture,
    /// 200 with one picture fewer than asked.
    FewerPictures,
    /// 200 with one picture more than asked.
    MorePictures,
    /// 200 with one picture fewer than asked, and where the vendor can say so, an error beside the others.
    PartlyFailed,
    /// 200 with pictures of another size than asked.
    WrongSize,
    /// 200 with addresses of the pictures instead of the pictures; no fault where addresses were asked for.
    UrlInsteadOfBase64,
    /// 200 with an address that answers this status.
    UrlExpired(u16),
    /// 200 with an address that must not be asked, in this form (`Fault::private_addresses`).
    UrlPrivate(u8),
    /// 200 with an address that redirects: 0 to the picture, 1 to a private address, 2 to itself, 3 to another name
    /// of this host.
    UrlRedirect(u8),
    /// 200 with an address that never answers.
    UrlHang,
    /// 200 with an address that answers this many bytes a second.
    UrlDrip(u32),
    /// 200 with an address that ends the connection with a reset.
    UrlReset,
    /// 200 with an address that answers a web page.
    UrlHtml,
    /// 200 with an address that answers without end.
    UrlEndless,
}
