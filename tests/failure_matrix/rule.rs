//! What must become of a fault, as `docs/ERRORS.md` and `docs/PROVIDERS.md` have it. It knows nothing of how Easel comes
//! to it, and nothing of the table.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use provider_sim::{Fault, Spelling, Vendor};

use crate::faults::{LONG_DELAY, told_delay};

/// Attempts that the policy of every failing provider allows.
pub const ATTEMPTS: usize = 2;
/// The time limit of each.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// What must become of a fault.
#[derive(Debug, Clone)]
pub struct Rule {
    pub outcome: Outcome,
    /// How often the provider is asked for pictures.
    pub hits: RangeInclusive<usize>,
}

/// Who makes the pictures, if anybody.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// This provider.
    Pictures,
    /// Nobody: the failure is final, with this code.
    Final(&'static str),
    /// The next one; without it, an error of one of these codes.
    MovesOn(&'static [&'static str]),
}

const UNSUPPORTED: &[&str] = &["unsupported"];
const UNAUTHORIZED: &[&str] = &["provider_unauthorized"];
const MODEL: &[&str] = &["provider_model_not_found"];
const QUOTA: &[&str] = &["provider_quota_exhausted"];
const LIMITED: &[&str] = &["provider_rate_limited"];
const DOWN: &[&str] = &["provider_unavailable", "provider_overloaded"];
const LATE: &[&str] = &["provider_timeout"];
const BROKEN: &[&str] = &["provider_protocol", "provider_no_image"];
const NO_IMAGE: &[&str] = &["provider_no_image"];
const LOST: &[&str] = &["provider_unavailable", "provider_protocol"];

/// What must become of this fault of this vendor.
#[expect(clippy::match_same_arms, reason = "each line is a rule by itself, in order")]
pub fn of(vendor: Vendor, fault: Fault) -> Rule {
    let once = |outcome| Rule { outcome, hits: 1..=1 };
    // What may pass is tried as often as the policy says.
    let again = |codes| Rule { outcome: Outcome::MovesOn(codes), hits: ATTEMPTS..=ATTEMPTS };
    let moves_on = |codes| once(Outcome::MovesOn(codes));
    let pictures = once(Outcome::Pictures);
    let rule = match fault {
        Fault::Refused | Fault::RefusedAs(_) => once(Outcome::Final("content_rejected")),
        Fault::Status(400 | 422) => once(Outcome::Final("invalid_request")),
        Fault::InvalidKey | Fault::Status(401 | 403) => moves_on(UNAUTHORIZED),
        Fault::UnknownModel | Fault::Status(404) => moves_on(MODEL),
        Fault::Quota | Fault::QuotaAs(_) | Fault::Status(402) => moves_on(QUOTA),
        Fault::RateLimit(_) | Fault::RateLimitAs(..) if is_too_long(vendor, fault) => moves_on(LIMITED),
        Fault::RateLimit(_) | Fault::RateLimitAs(..) | Fault::Status(429) => again(LIMITED),
        // The header is a convention of OpenAI's own.
        Fault::NoRetry if matches!(vendor, Vendor::Runware | Vendor::Gemini | Vendor::Easel) => {
            Rule { hits: 1..=ATTEMPTS, ..again(DOWN) }
        }
        Fault::NoRetry => moves_on(DOWN),
        // Another Easel's 502 is one of its own broken answers.
        Fault::Status(502) if vendor == Vendor::Easel => again(BROKEN),
        Fault::Status(504) => again(LATE),
        Fault::Status(_) | Fault::AskAgain => again(DOWN),
        Fault::Page(status) | Fault::EmptyBody(status) => match status {
            200..400 => again(BROKEN),
            400 | 422 => once(Outcome::Final("invalid_request")),
            401 | 403 => moves_on(UNAUTHORIZED),
            402 => moves_on(QUOTA),
            404 => moves_on(MODEL),
            // What one takes is not what all take.
            413 | 501 => moves_on(UNSUPPORTED),
            408 | 504 => again(LATE),
            429 => again(LIMITED),
            _ => again(DOWN),
        },
        Fault::Hang | Fault::HangMidBody | Fault::Drip(_) => again(LATE),
        Fault::Reset | Fault::Close | Fault::LostBefore | Fault::LostAfter => again(DOWN),
        Fault::ResetMidBody | Fault::TruncatedBody => again(LOST),
        Fault::TruncatedJson | Fault::Html => again(&["provider_protocol"]),
        Fault::ErrorIn200 => again(&["provider_protocol", "provider_unavailable"]),
        Fault::PlainText => pictures,
        Fault::EmptyData | Fault::EmptyItem | Fault::NoPicture(_) => again(BROKEN),
        // The error beside the pictures may be the one that is told.
        Fault::PartlyFailed => again(&["provider_no_image", "provider_unavailable"]),
        Fault::FewerPictures => again(NO_IMAGE),
        // Of several candidates that Gemini gives, one is what was asked for.
        Fault::MorePictures if vendor == Vendor::Gemini => pictures,
        // A JPEG, which has no checksum: its parts are all there, and it can be decoded.
        Fault::CorruptPicture if vendor == Vendor::Gemini => pictures,
        Fault::MorePictures
        | Fault::HalfPicture
        | Fault::CorruptPicture
        | Fault::NotAPicture
        | Fault::InvalidBase64
        | Fault::WrongSize => again(BROKEN),
        // Gemini has no such answers: whatever they hold is not looked at.
        _ if vendor == Vendor::Gemini => again(BROKEN),
        Fault::UrlInsteadOfBase64 | Fault::UrlRedirect(0) => pictures,
        Fault::UrlExpired(500..) => again(DOWN),
        Fault::UrlExpired(_) => again(NO_IMAGE),
        Fault::UrlHang | Fault::UrlDrip(_) => again(LATE),
        Fault::UrlReset => again(LOST),
        Fault::UrlPrivate(_) | Fault::UrlRedirect(_) | Fault::UrlHtml | Fault::UrlEndless => again(BROKEN),
    };
    if vendor == Vendor::Runware { of_runware(fault, rule) } else { rule }
}

/// A look-up is no request for pictures, and what exists is not bought twice.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are as everywhere")]
fn of_runware(fault: Fault, rule: Rule) -> Rule {
    match fault {
        // The answer is lost, the pictures are not.
        Fault::EmptyBody(200..300 | 408 | 500..)
        | Fault::Hang
        | Fault::HangMidBody
        | Fault::Drip(_)
        | Fault::ResetMidBody
        | Fault::LostAfter
        | Fault::TruncatedBody
        | Fault::TruncatedJson
        | Fault::Html => Rule { outcome: Outcome::Pictures, hits: 1..=1 },
        // They lie where they cannot be fetched just now.
        Fault::UrlHang | Fault::UrlDrip(_) | Fault::UrlReset | Fault::UrlExpired(500..) => Rule { hits: 1..=1, ..rule },
        _ => rule,
    }
}

/// Events are read as far as they are needed: what comes after the last picture that was asked for is nobody's.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others are as everywhere")]
pub fn of_events(fault: Fault, rule: Rule) -> Rule {
    match fault {
        Fault::MorePictures => Rule { outcome: Outcome::Pictures, hits: 1..=1 },
        // Half of the events, each of which is whole.
        Fault::TruncatedJson => Rule { outcome: Outcome::MovesOn(BROKEN), ..rule },
        _ => rule,
    }
}

/// Whether the upstream asks for a longer pause than is waited for.
fn is_too_long(vendor: Vendor, fault: Fault) -> bool {
    tells_delay(vendor, fault) == Some(LONG_DELAY)
}

/// Whether the vendor tells delays in the body of its answers.
fn says_it_in_the_body(vendor: Vendor) -> bool {
    match vendor {
        Vendor::Gemini | Vendor::OpenAi | Vendor::LocalAi | Vendor::SdCpp | Vendor::Vllm | Vendor::Xai => true,
        Vendor::Runware | Vendor::Easel => false,
    }
}

/// How many milliseconds the upstream asks for in a way that is understood.
#[expect(clippy::wildcard_enum_match_arm, reason = "all other ways are")]
pub fn tells_delay(vendor: Vendor, fault: Fault) -> Option<u32> {
    let is_heard = match fault {
        Fault::RateLimitAs(Spelling::Body, _) => says_it_in_the_body(vendor),
        _ => true,
    };
    told_delay(fault).filter(|_| is_heard)
}

/// How long the second attempt has to wait at least.
pub fn pause(vendor: Vendor, fault: Fault) -> Duration {
    let is_exact = !matches!(fault, Fault::RateLimitAs(Spelling::Date, _));
    let told = tells_delay(vendor, fault).filter(|told| is_exact && *told != LONG_DELAY);
    Duration::from_millis(told.unwrap_or(0).into())
}

/// The status of every code, as `docs/ERRORS.md` has it.
pub fn statuses() -> BTreeMap<String, u16> {
    let page = include_str!("../../docs/ERRORS.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let code = cells.next()?.trim_matches('`').to_owned();
        Some((code, cells.next()?.parse().ok()?))
    };
    rows.filter_map(row).collect()
}

#[test]
fn the_page_about_errors_has_every_code_of_the_rule() {
    let statuses = statuses();
    assert!(statuses.len() > 30, "{statuses:?}");
    for code in [UNSUPPORTED, UNAUTHORIZED, MODEL, QUOTA, LIMITED, DOWN, LATE, BROKEN, NO_IMAGE, LOST].concat() {
        assert!(statuses.contains_key(code), "{code}");
    }
}
