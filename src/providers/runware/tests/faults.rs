//! The stand-in failing in each of its ways, through the real layers.

use std::sync::Arc;
use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator, Spelling, Vendor};
use serde_json::json;

use super::{call, provider};
use crate::generation::{GenerationRequest, ImageSize, SizeWish};
use crate::providers::scripted::{request, wrapped};
use crate::providers::{ErrorKind, Policy, Provider};

fn asked() -> GenerationRequest {
    GenerationRequest { size: SizeWish::Exact(ImageSize::new(128, 128).unwrap()), ..request() }
}

fn layered(simulator: &Simulator, timeout: Duration, attempts: u32) -> Arc<dyn Provider> {
    let policy = Policy { timeout, attempts, backoff: Duration::from_millis(1), ..Policy::default() };
    wrapped(provider(&simulator.url(Vendor::Runware), &json!({})), &policy)
}

/// What each fault comes to after one request for pictures; `None`: pictures.
fn outcomes() -> Vec<(Fault, Option<ErrorKind>)> {
    let mut outcomes = vec![
        (Fault::Status(400), Some(ErrorKind::InvalidRequest)),
        (Fault::Status(401), Some(ErrorKind::Unauthorized)),
        (Fault::Status(402), Some(ErrorKind::QuotaExhausted)),
        (Fault::Status(403), Some(ErrorKind::Unauthorized)),
        (Fault::Status(404), Some(ErrorKind::ModelNotFound)),
        (Fault::Status(408), Some(ErrorKind::Timeout)),
        (Fault::Status(409), Some(ErrorKind::Unavailable)),
        (Fault::Status(500), Some(ErrorKind::Unavailable)),
        (Fault::Status(503), Some(ErrorKind::Overloaded)),
        (Fault::Status(504), Some(ErrorKind::Timeout)),
        (Fault::InvalidKey, Some(ErrorKind::Unauthorized)),
        (Fault::UnknownModel, Some(ErrorKind::ModelNotFound)),
        (Fault::RateLimit(None), Some(ErrorKind::RateLimited)),
        (Fault::RateLimit(Some(9)), Some(ErrorKind::RateLimited)),
        (Fault::Page(403), Some(ErrorKind::Unauthorized)),
        (Fault::Page(502), Some(ErrorKind::Unavailable)),
        (Fault::Reset, Some(ErrorKind::Unavailable)),
        (Fault::Close, Some(ErrorKind::Unavailable)),
        (Fault::LostBefore, Some(ErrorKind::Unavailable)),
        // These were made and are found again.
        (Fault::EmptyBody(500), None),
        (Fault::EmptyBody(504), None),
        (Fault::LostAfter, None),
        (Fault::ResetMidBody, None),
        (Fault::TruncatedBody, None),
        (Fault::TruncatedJson, None),
        (Fault::Html, None),
        (Fault::PlainText, None),
        // A success that is none.
        (Fault::EmptyData, Some(ErrorKind::NoImage)),
        (Fault::EmptyItem, Some(ErrorKind::NoImage)),
        (Fault::FewerPictures, Some(ErrorKind::NoImage)),
        (Fault::MorePictures, Some(ErrorKind::Protocol)),
        (Fault::InvalidBase64, Some(ErrorKind::Protocol)),
        (Fault::NotAPicture, Some(ErrorKind::Protocol)),
        (Fault::HalfPicture, Some(ErrorKind::Protocol)),
        (Fault::WrongSize, Some(ErrorKind::Protocol)),
        // An address in the place of a picture is followed like any other.
        (Fault::UrlInsteadOfBase64, None),
        (Fault::UrlRedirect(0), None),
        (Fault::UrlRedirect(1), Some(ErrorKind::Protocol)),
        (Fault::UrlRedirect(2), Some(ErrorKind::Protocol)),
        (Fault::UrlRedirect(3), Some(ErrorKind::Protocol)),
        (Fault::UrlExpired(403), Some(ErrorKind::NoImage)),
        (Fault::UrlExpired(410), Some(ErrorKind::NoImage)),
        (Fault::UrlReset, Some(ErrorKind::Unavailable)),
        (Fault::UrlHtml, Some(ErrorKind::Protocol)),
    ];
    outcomes.extend((0..3).map(|form| (Fault::QuotaAs(form), Some(ErrorKind::QuotaExhausted))));
    outcomes
        .extend((0..Vendor::Runware.refusals()).map(|form| (Fault::RefusedAs(form), Some(ErrorKind::ContentRejected))));
    outcomes.extend((0..Vendor::Runware.no_pictures()).map(|form| (Fault::NoPicture(form), Some(ErrorKind::NoImage))));
    let private = 0..u8::try_from(Fault::private_addresses().len()).unwrap();
    outcomes.extend(private.map(|form| (Fault::UrlPrivate(form), Some(ErrorKind::Protocol))));
    outcomes
}

#[tokio::test]
async fn each_fault_is_what_it_is_after_one_call() {
    let simulator = Simulator::start().await;
    for (fault, expected) in outcomes() {
        for shape in 0..3 {
            simulator.reset();
            simulator.set(Behaviour::failing(fault).with_shape(shape));
            let call = call();
            let made = layered(&simulator, Duration::from_secs(5), 1).generate(&asked(), &call).await;
            let kind = made.as_ref().err().map(crate::providers::Error::kind);
            assert_eq!(kind, expected, "{fault} in shape {shape}: {made:?}");
            assert_eq!((simulator.hits(), call.upstream_calls()), (1, 1), "{fault} in shape {shape}");
        }
    }
}

#[tokio::test]
async fn whatever_takes_too_long_is_left_and_looked_for_by_the_next_attempt() {
    let simulator = Simulator::start().await;
    for fault in [Fault::Hang, Fault::HangMidBody, Fault::Drip(10)] {
        simulator.reset();
        simulator.fail(fault);
        let call = call();
        let made = layered(&simulator, Duration::from_millis(500), 2).generate(&asked(), &call).await;
        assert_eq!(made.unwrap().images.len(), 1, "{fault}");
        assert_eq!((simulator.hits(), simulator.counts().runs, call.upstream_calls()), (1, 1, 1), "{fault}");
        assert!(simulator.settles(Duration::from_secs(5), |counts| counts.in_flight == 0).await, "{fault}");
    }
}

#[tokio::test]
async fn coming_back_is_told_in_every_header() {
    let simulator = Simulator::start().await;
    let provider = provider(&simulator.url(Vendor::Runware), &json!({}));
    for spelling in [Spelling::Seconds, Spelling::Float, Spelling::Milliseconds, Spelling::Date] {
        simulator.fail(Fault::RateLimitAs(spelling, 9000));
        let error = provider.generate(&asked(), &call()).await.unwrap_err();
        let delay = error.retry_after().unwrap();
        // A date has no more than whole seconds.
        assert!(delay.abs_diff(Duration::from_secs(9)) <= Duration::from_secs(1), "{spelling:?}: {delay:?}");
    }
}

#[tokio::test]
async fn a_broken_picture_is_made_anew_as_often_as_the_policy_says() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::HalfPicture).times(2));
    let call = call();
    layered(&simulator, Duration::from_secs(5), 3).generate(&asked(), &call).await.unwrap();
    assert_eq!((simulator.hits(), call.upstream_calls()), (3, 3));
}

#[tokio::test]
async fn while_look_ups_fail_a_lost_task_is_not_sent_again() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::LostAfter).times(1).with_lookups_failing(Fault::Status(500)));
    let call = call();
    let error = layered(&simulator, Duration::from_secs(5), 2).generate(&asked(), &call).await.unwrap_err();
    assert_eq!((error.kind(), simulator.hits(), simulator.counts().runs), (ErrorKind::Unavailable, 1, 1));
}
