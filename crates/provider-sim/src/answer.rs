//! From a request and a fault to a reply: what is the same for every vendor. What goes wrong on the wire is the
//! server's business, what is wrong inside a body the vendor's.

use crate::fault::Spelling;
use crate::http::Reply;
use crate::state::State;
use crate::vendor::{Answer, Failure, Vendor};
use crate::{Behaviour, Fault, Request};

/// A web page where an answer should be.
const PAGE: &str = "<html><h1>Sign in to continue</h1></html>";

/// The reply of this vendor.
pub(crate) fn reply(
    (vendor, answer): (Vendor, Answer),
    request: &Request,
    behaviour: &Behaviour,
    fault: Option<Fault>,
    state: &State,
) -> Reply {
    let shape = behaviour.shape;
    let failed = |failure| vendor.failure(failure, request, shape);
    if behaviour.key.as_deref().is_some_and(|key| !vendor.has_key(request, key)) {
        return failed(Failure::InvalidKey);
    }
    match fault {
        Some(Fault::Status(status)) => failed(Failure::Status(status)),
        Some(Fault::InvalidKey) => failed(Failure::InvalidKey),
        Some(Fault::UnknownModel) => failed(Failure::UnknownModel),
        Some(Fault::RateLimit(None)) => failed(Failure::RateLimit(None)),
        Some(Fault::RateLimit(Some(seconds))) => {
            let reply = failed(Failure::RateLimit(Some(seconds.saturating_mul(1000))));
            // Gemini tells it in the body, the others in a header.
            if vendor == Vendor::Gemini { reply } else { reply.with_header("retry-after", seconds.to_string()) }
        }
        Some(Fault::RateLimitAs(spelling, delay)) => match spelling.header(delay) {
            Some((name, value)) => failed(Failure::RateLimit(None)).with_header(name, value),
            None => failed(Failure::RateLimit((spelling == Spelling::Body).then_some(delay))),
        },
        Some(Fault::Quota) => failed(Failure::Quota(0)),
        Some(Fault::QuotaAs(form)) => failed(Failure::Quota(form)),
        Some(Fault::NoRetry) => failed(Failure::Status(500)).with_header("x-should-retry", "false"),
        Some(Fault::AskAgain) => failed(Failure::Status(409)).with_header("x-should-retry", "true"),
        Some(Fault::Page(status)) => Reply::new(status, "text/html; charset=utf-8", PAGE),
        Some(Fault::Html) => {
            answer(request, behaviour, fault, state);
            Reply::new(200, "text/html; charset=utf-8", PAGE)
        }
        Some(Fault::EmptyBody(status)) => {
            answer(request, behaviour, fault, state);
            Reply::new(status, "", "")
        }
        Some(Fault::PlainText) => {
            Reply { content_type: "text/plain; charset=utf-8", ..answer(request, behaviour, fault, state) }
        }
        Some(Fault::ErrorIn200) => {
            let reply = answer(request, behaviour, fault, state);
            if reply.is_stream() { reply } else { Reply { status: 200, ..failed(Failure::Status(500)) } }
        }
        _ => answer(request, behaviour, fault, state),
    }
}
