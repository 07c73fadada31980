//! One provider fails in every way there is: who makes the picture then, what is said, and how often it was asked.

use std::time::{Duration, Instant};

use provider_sim::{Behaviour, Fault, Simulator, Spelling};
use serde_json::{Value, json};

use crate::easel::Easel;
use crate::upstreams::{PROMPT, in_order};

/// What a fault is to the gateway.
struct Expected {
    fault: Fault,
    /// The category in `attempts`.
    reason: &'static str,
    /// The code of the error where there is no other provider.
    code: &'static str,
    after: After,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum After {
    /// The same provider may be asked again, and then the next.
    Retry,
    /// Only the next one is asked.
    Next,
    /// Nobody is asked.
    Final,
}

/// A right answer under a wrong name is taken, and so is the address of a picture.
pub const HARMLESS: [Fault; 3] = [Fault::PlainText, Fault::UrlInsteadOfBase64, Fault::UrlRedirect(0)];

fn expected() -> Vec<Expected> {
    use After::{Final, Next, Retry};
    let row = |fault, reason, code, after| Expected { fault, reason, code, after };
    vec![
        row(Fault::Status(400), "invalid_request", "invalid_request", Final),
        row(Fault::Status(401), "unauthorized", "provider_unauthorized", Next),
        row(Fault::Status(402), "quota_exhausted", "provider_quota_exhausted", Next),
        row(Fault::Status(403), "unauthorized", "provider_unauthorized", Next),
        row(Fault::Status(404), "model_not_found", "provider_model_not_found", Next),
        row(Fault::Status(429), "rate_limited", "provider_rate_limited", Retry),
        row(Fault::Status(500), "unavailable", "provider_unavailable", Retry),
        row(Fault::Status(502), "unavailable", "provider_unavailable", Retry),
        row(Fault::Status(503), "overloaded", "provider_overloaded", Retry),
        row(Fault::Status(504), "timeout", "provider_timeout", Retry),
        row(Fault::RateLimit(None), "rate_limited", "provider_rate_limited", Retry),
        row(Fault::Quota, "quota_exhausted", "provider_quota_exhausted", Next),
        row(Fault::Refused, "content_rejected", "content_rejected", Final),
        row(Fault::Hang, "timeout", "provider_timeout", Retry),
        row(Fault::HangMidBody, "timeout", "provider_timeout", Retry),
        row(Fault::Drip(100), "timeout", "provider_timeout", Retry),
        row(Fault::Reset, "unavailable", "provider_unavailable", Retry),
        row(Fault::ResetMidBody, "protocol", "provider_protocol", Retry),
        row(Fault::Close, "unavailable", "provider_unavailable", Retry),
        row(Fault::TruncatedBody, "protocol", "provider_protocol", Retry),
        row(Fault::TruncatedJson, "protocol", "provider_protocol", Retry),
        row(Fault::EmptyData, "no_image", "provider_no_image", Retry),
        row(Fault::EmptyItem, "no_image", "provider_no_image", Retry),
        row(Fault::Html, "protocol", "provider_protocol", Retry),
        row(Fault::InvalidBase64, "protocol", "provider_protocol", Retry),
        row(Fault::NotAPicture, "protocol", "provider_protocol", Retry),
        row(Fault::HalfPicture, "protocol", "provider_protocol", Retry),
        row(Fault::CorruptPicture, "protocol", "provider_protocol", Retry),
        row(Fault::FewerPictures, "no_image", "provider_no_image", Retry),
        row(Fault::WrongSize, "protocol", "provider_protocol", Retry),
        row(Fault::InvalidKey, "unauthorized", "provider_unauthorized", Next),
        row(Fault::UnknownModel, "model_not_found", "provider_model_not_found", Next),
        // Pauses that are longer than the time limit of an attempt are not waited for.
        row(Fault::RateLimitAs(Spelling::Seconds, 1_500), "rate_limited", "provider_rate_limited", Next),
        row(Fault::RateLimitAs(Spelling::Float, 1_500), "rate_limited", "provider_rate_limited", Next),
        row(Fault::RateLimitAs(Spelling::Date, 1_500), "rate_limited", "provider_rate_limited", Next),
        row(Fault::RateLimitAs(Spelling::Milliseconds, 1_500), "rate_limited", "provider_rate_limited", Next),
        row(Fault::RateLimitAs(Spelling::Body, 1_500), "rate_limited", "provider_rate_limited", Next),
        row(Fault::NoRetry, "unavailable", "provider_unavailable", Next),
        row(Fault::AskAgain, "unavailable", "provider_unavailable", Retry),
        row(Fault::EmptyBody(504), "timeout", "provider_timeout", Retry),
        row(Fault::Page(502), "unavailable", "provider_unavailable", Retry),
        row(Fault::LostBefore, "unavailable", "provider_unavailable", Retry),
        row(Fault::LostAfter, "unavailable", "provider_unavailable", Retry),
        row(Fault::ErrorIn200, "unavailable", "provider_unavailable", Retry),
        row(Fault::NoPicture(0), "no_image", "provider_no_image", Retry),
        row(Fault::MorePictures, "protocol", "provider_protocol", Retry),
        row(Fault::PartlyFailed, "no_image", "provider_no_image", Retry),
        row(Fault::UrlExpired(404), "no_image", "provider_no_image", Retry),
        row(Fault::UrlPrivate(0), "protocol", "provider_protocol", Retry),
        row(Fault::UrlHang, "timeout", "provider_timeout", Retry),
        row(Fault::UrlDrip(100), "timeout", "provider_timeout", Retry),
        row(Fault::UrlReset, "unavailable", "provider_unavailable", Retry),
        row(Fault::UrlHtml, "protocol", "provider_protocol", Retry),
        row(Fault::UrlEndless, "protocol", "provider_protocol", Retry),
    ]
}

fn wish() -> Value {
    json!({ "prompt": PROMPT, "n": 2, "size": "64x48" })
}

#[test]
fn every_fault_of_the_stand_in_is_expected_here() {
    let expected = expected();
    let all = Fault::ALL.iter().filter(|(fault, _)| !HARMLESS.contains(fault));
    for (fault, _) in all {
        assert!(expected.iter().any(|row| row.fault == *fault), "{fault}");
    }
}

#[tokio::test]
async fn whatever_the_first_provider_does_the_next_one_makes_the_picture() {
    for row in expected().iter().filter(|row| row.after != After::Final) {
        let (first, second) = (Simulator::start().await, Simulator::start().await);
        first.fail(row.fault);
        let easel = Easel::start(&in_order(&[&first, &second], r#"timeout = "500ms""#)).await;
        let answer = easel.generate(&wish()).await;
        let fault = row.fault;
        assert_eq!(answer.pictures(), [(64, 48), (64, 48)], "{fault}");
        assert_eq!(
            answer.attempts(),
            [format!("first failed {} 1", row.reason), "second ok - 1".to_owned()],
            "{fault}"
        );
        assert_eq!(answer.body["provider"], "second", "{fault}");
        assert_eq!(answer.body["fallback"], json!({ "used": true, "policy": "auto" }), "{fault}");
        assert_eq!(answer.header("x-easel-provider"), "second", "{fault}");
        assert_eq!((first.hits(), second.hits()), (1, 1), "{fault}");
    }
}

#[tokio::test]
async fn a_provider_is_asked_as_often_as_its_policy_says_and_no_more() {
    for row in expected().iter().filter(|row| row.after != After::Final) {
        let (first, second) = (Simulator::start().await, Simulator::start().await);
        first.fail(row.fault);
        let policy = r#"timeout = "300ms", attempts = 3, backoff = "1ms""#;
        let easel = Easel::start(&in_order(&[&first, &second], policy)).await;
        let answer = easel.generate(&wish()).await;
        let calls = if row.after == After::Retry { 3 } else { 1 };
        let (fault, reason) = (row.fault, row.reason);
        let attempts = [format!("first failed {reason} {calls}"), "second ok - 1".to_owned()];
        assert_eq!(answer.attempts(), attempts, "{fault}");
        assert_eq!((first.hits(), second.hits()), (calls, 1), "{fault}");
    }
}

#[tokio::test]
async fn a_refused_prompt_and_a_wrong_request_are_not_shopped_around() {
    for row in expected().iter().filter(|row| row.after == After::Final) {
        let (first, second) = (Simulator::start().await, Simulator::start().await);
        first.fail(row.fault);
        let easel = Easel::start(&in_order(&[&first, &second], "attempts = 3")).await;
        let answer = easel.generate(&wish()).await;
        answer.assert_problem(422, row.code);
        assert_eq!(answer.attempts(), [format!("first failed {} 1", row.reason)], "{}", row.fault);
        assert_eq!((first.hits(), second.hits()), (1, 0), "{}", row.fault);
    }
}

#[tokio::test]
async fn without_fallback_the_error_names_the_reason_and_the_remedy() {
    let mut errors = serde_json::Map::new();
    for row in expected() {
        let (first, second) = (Simulator::start().await, Simulator::start().await);
        first.fail(row.fault);
        let easel = Easel::start(&in_order(&[&first, &second], r#"timeout = "300ms""#)).await;
        let mut wish = wish();
        wish["fallback"] = json!("never");
        let answer = easel.generate(&wish).await;
        assert_eq!(answer.body["code"], row.code, "{}: {}", row.fault, answer.body);
        answer.assert_problem(answer.status, row.code);
        assert_eq!(answer.attempts(), [format!("first failed {} 1", row.reason)], "{}", row.fault);
        assert_eq!((first.hits(), second.hits()), (1, 0), "{}", row.fault);
        let upstream = first.address().to_string();
        assert!(!answer.body.to_string().contains(&upstream), "{}: the upstream's address is told", row.fault);
        let told = |member: &str| answer.body[member].clone();
        errors.insert(
            row.fault.to_string(),
            json!({ "status": told("status"), "code": told("code"), "detail": told("detail"), "hint": told("hint") }),
        );
    }
    insta::assert_json_snapshot!(errors);
}

#[tokio::test]
async fn a_named_provider_is_alone_unless_fallback_is_asked_for() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    first.fail(Fault::Status(500));
    let easel = Easel::start(&in_order(&[&first, &second], "attempts = 1")).await;
    let named = json!({ "prompt": PROMPT, "size": "64x48", "provider": "first" });
    easel.generate(&named).await.assert_problem(503, "provider_unavailable");
    assert_eq!((first.hits(), second.hits()), (1, 0));
    let mut forgiving = named;
    forgiving["fallback"] = json!("auto");
    let answer = easel.generate(&forgiving).await;
    assert_eq!(answer.body["provider"], "second");
    assert_eq!(answer.body["requested"], json!({ "provider": "first", "model": null }));
    assert_eq!((first.hits(), second.hits()), (2, 1));
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_passed_over_at_once() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    let config = in_order(&[&first, &second], "attempts = 1");
    first.stop();
    let easel = Easel::start(&config).await;
    let begun = Instant::now();
    let answer = easel.generate(&wish()).await;
    assert_eq!(answer.pictures().len(), 2);
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_eq!(answer.attempts(), ["first failed unavailable 1", "second ok - 1"]);
}

#[tokio::test]
async fn the_answer_comes_from_the_second_attempt_where_the_policy_allows_one() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    first.set(Behaviour::failing(Fault::Reset).times(1));
    let easel = Easel::start(&in_order(&[&first, &second], r#"attempts = 2, backoff = "1ms""#)).await;
    let answer = easel.generate(&wish()).await;
    assert_eq!(answer.attempts(), ["first ok - 2"]);
    assert_eq!(answer.body["fallback"]["used"], false);
    assert_eq!((first.hits(), second.hits()), (2, 0));
}

#[tokio::test]
async fn a_long_retry_after_is_not_waited_for() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    first.fail(Fault::RateLimit(Some(20)));
    let policy = r#"attempts = 3, timeout = "5s", backoff = "1ms""#;
    let easel = Easel::start(&in_order(&[&first, &second], policy)).await;
    let begun = Instant::now();
    let answer = easel.generate(&wish()).await;
    assert_eq!(answer.body["provider"], "second");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(first.hits(), 1);
    let alone = easel.generate(&json!({ "prompt": PROMPT, "size": "64x48", "provider": "first" })).await;
    assert_eq!(alone.header("retry-after"), "20", "{}", alone.body);
    // It asked for a rest, and gets it: also when nothing else is left.
    alone.assert_problem(503, "nothing_available");
    assert_eq!(alone.attempts(), ["first unavailable rate_limited 0"]);
    assert_eq!(first.hits(), 1);
}

#[tokio::test]
async fn one_deadline_covers_the_whole_chain() {
    let (first, second, third) = (Simulator::start().await, Simulator::start().await, Simulator::start().await);
    for upstream in [&first, &second, &third] {
        upstream.fail(Fault::Hang);
    }
    let easel = Easel::start(&in_order(&[&first, &second, &third], r#"timeout = "400ms""#)).await;
    let begun = Instant::now();
    let mut wish = wish();
    wish["timeout_ms"] = json!(1000);
    let answer = easel.generate(&wish).await;
    assert!(begun.elapsed() < Duration::from_millis(1900), "{:?}", begun.elapsed());
    answer.assert_problem(504, "deadline_exceeded");
    assert_eq!((first.hits(), second.hits(), third.hits()), (1, 1, 0), "{:?}", answer.attempts());
}
