//! Which faults each vendor is made to have, in the order of the table.

use provider_sim::{Fault, Spelling, Vendor};

/// A delay that is waited for: shorter than the time limit of an attempt.
pub const SHORT_DELAY: u32 = 900;
/// A delay that is not.
pub const LONG_DELAY: u32 = 20_000;

/// All faults that are the same for every vendor, and its own forms of quotas, refusals and answers without pictures.
pub fn of(vendor: Vendor) -> Vec<Fault> {
    let mut all = vec![Fault::InvalidKey, Fault::Status(401)];
    all.extend((0..vendor.quotas()).map(Fault::QuotaAs));
    all.extend([402, 403, 404].map(Fault::Status));
    all.extend([Fault::UnknownModel, Fault::Status(400), Fault::RateLimit(None), Fault::RateLimit(Some(1))]);
    for spelling in Spelling::ALL {
        // A date knows whole seconds only.
        let short = if spelling == Spelling::Date { 1 } else { SHORT_DELAY };
        all.extend([short, LONG_DELAY].map(|delay| Fault::RateLimitAs(spelling, delay)));
    }
    all.extend([500, 502, 503, 504].map(Fault::Status));
    all.extend([Fault::NoRetry, Fault::AskAgain]);
    // Where nothing but the status speaks: from proxies, and from services that say no more.
    all.extend([200, 204, 302, 400, 401, 402, 403, 404, 408, 413, 422, 429].map(Fault::EmptyBody));
    all.extend([500, 501, 503, 504, 529].map(Fault::EmptyBody));
    all.extend([403, 404, 429, 500, 502, 503, 504].map(Fault::Page));
    all.extend([Fault::Hang, Fault::HangMidBody, Fault::Drip(1), Fault::Reset, Fault::ResetMidBody, Fault::Close]);
    all.extend([Fault::LostBefore, Fault::LostAfter, Fault::TruncatedBody, Fault::TruncatedJson]);
    all.extend([Fault::Html, Fault::PlainText, Fault::ErrorIn200, Fault::EmptyData, Fault::EmptyItem]);
    all.extend((0..vendor.no_pictures()).map(Fault::NoPicture));
    all.extend([Fault::FewerPictures, Fault::PartlyFailed, Fault::MorePictures, Fault::HalfPicture]);
    all.extend([Fault::CorruptPicture, Fault::NotAPicture, Fault::InvalidBase64, Fault::WrongSize]);
    all.extend((0..vendor.refusals()).map(Fault::RefusedAs));
    all.push(Fault::UrlInsteadOfBase64);
    all.extend([403, 404, 410, 500].map(Fault::UrlExpired));
    all.extend((0..).take(Fault::private_addresses().len()).map(Fault::UrlPrivate));
    all.extend((0..4).map(Fault::UrlRedirect));
    all.extend([Fault::UrlHang, Fault::UrlDrip(1), Fault::UrlReset, Fault::UrlHtml, Fault::UrlEndless]);
    if vendor == Vendor::Xai {
        // Its pictures are large, and what becomes of broken ones is the same as elsewhere.
        all.retain(|fault| !fault.runs() || matches!(fault, Fault::RefusedAs(_) | Fault::NoPicture(_)));
    }
    all
}

/// The faults of all vendors, each once.
pub fn of_all(vendors: &[Vendor]) -> Vec<Fault> {
    let mut all = Vec::new();
    for fault in vendors.iter().flat_map(|vendor| of(*vendor)) {
        if !all.contains(&fault) {
            all.push(fault);
        }
    }
    all
}

/// How long the upstream asks to be left alone.
#[expect(clippy::wildcard_enum_match_arm, reason = "all others ask for nothing")]
pub fn told_delay(fault: Fault) -> Option<u32> {
    match fault {
        Fault::RateLimit(seconds) => seconds.map(|seconds| seconds * 1000),
        Fault::RateLimitAs(_, delay) => Some(delay),
        _ => None,
    }
}
