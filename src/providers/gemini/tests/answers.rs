//! What recorded answers of the service become.

use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{KEY_VARIABLE, answer, call, provider, replay};
use crate::generation::{Generation, ImageFormat, ImageSize, Usage};
use crate::providers::gemini::error::of_answer;
use crate::providers::scripted::{encoded, request};
use crate::providers::{Error, ErrorKind};
use crate::secret::SecretRef;

const JSON: &str = "content-type: application/json; charset=UTF-8";

async fn ask(answer: Vec<u8>) -> Result<Generation, Error> {
    let (base_url, _asked) = replay(answer).await;
    provider(&base_url, &json!({ "id": "any" })).generate(&request(), &call()).await
}

async fn told(body: &Value) -> Result<Generation, Error> {
    ask(answer(200, &[JSON], &body.to_string())).await
}

/// Everything that an error says to anybody: the sentence, the hint and the causes.
fn everything(error: &Error) -> String {
    let mut said = format!("{error} {:?} {error:?}", error.hint());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said} {error} {error:?}");
        cause = error.source();
    }
    said
}

fn picture(side: u32) -> (Vec<u8>, String) {
    let bytes = encoded(ImageSize::new(side, side).unwrap(), ImageFormat::Png);
    let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
    (bytes.to_vec(), text)
}

#[tokio::test]
async fn a_recorded_picture_is_read_with_its_usage() {
    let generation = ask(answer(200, &[JSON], include_str!("../fixtures/text_to_image.json"))).await.unwrap();
    assert_eq!((generation.images.len(), generation.images[0].data.file().len()), (1, 69));
    assert_eq!(generation.images[0].size, ImageSize::new(1, 1).unwrap());
    let usage = Usage { input_text: 12, output_image: 1290, ..Usage::default() };
    assert_eq!((generation.usage, generation.cost_usd), (Some(usage), None));
}

#[tokio::test]
async fn drafts_and_words_beside_the_picture_are_skipped() {
    let generation = ask(answer(200, &[JSON], include_str!("../fixtures/edit.json"))).await.unwrap();
    assert_eq!(generation.images.len(), 1);
    // Without details by modality, what was read counts as text and what was made as the picture.
    let usage = Usage { input_text: 1135, output_image: 1128, output_text: 210, ..Usage::default() };
    assert_eq!(generation.usage, Some(usage));

    let ((_, draft), (last, data)) = (picture(3), picture(5));
    let body = json!({ "candidates": [{ "content": { "parts": [
        { "thought": true, "text": "first a sketch" },
        { "thought": true, "inlineData": { "mimeType": "image/png", "data": draft } },
        { "text": "here" },
        { "inlineData": { "mimeType": "audio/wav", "data": "AAAA" } },
        { "inline_data": { "mime_type": "image/png", "data": data }, "thoughtSignature": "x" },
        { "inlineData": { "mimeType": "image/png", "data": draft } },
    ] }, "finishReason": "SOMETHING_NEW" }] });
    let generation = told(&body).await.unwrap();
    assert_eq!(generation.images.len(), 1);
    assert_eq!(generation.images[0].data.file(), last);
    assert_eq!(generation.usage, None);
}

#[tokio::test]
async fn usage_is_told_apart_by_modality_where_the_service_does() {
    let (_, data) = picture(2);
    let body = |usage: Value| {
        let parts = json!([{ "inlineData": { "data": data } }]);
        json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": "STOP" }], "usageMetadata": usage })
    };
    let counted = json!({
        "promptTokenCount": 270, "candidatesTokenCount": 1313, "thoughtsTokenCount": 50, "toolUsePromptTokenCount": 5,
        "promptTokensDetails": [
            { "modality": "TEXT", "tokenCount": 12 }, { "modality": "IMAGE", "tokenCount": 129 },
            { "modality": "IMAGE", "tokenCount": 129 },
        ],
        "candidatesTokensDetails": [{ "modality": "IMAGE", "tokenCount": 1290 }],
    });
    let usage = Usage { input_text: 17, input_image: 258, output_image: 1290, output_text: 73 };
    assert_eq!(told(&body(counted)).await.unwrap().usage, Some(usage));
    // Nonsense loses the count and not the picture.
    for odd in [json!(7), json!({}), json!({ "promptTokenCount": "many" }), json!([]), Value::Null] {
        assert_eq!(told(&body(odd)).await.unwrap().usage, None);
    }
    let odd = json!({ "promptTokenCount": 3, "candidatesTokenCount": 4, "candidatesTokensDetails": [{}, 7, { "modality": "IMAGE", "tokenCount": 9 }] });
    let usage = Usage { input_text: 3, output_image: 4, ..Usage::default() };
    assert_eq!(told(&body(odd)).await.unwrap().usage, Some(usage));
}

#[tokio::test]
async fn refusals_that_call_themselves_a_success_are_final() {
    let blocked = |reason: &str| json!({ "promptFeedback": { "blockReason": reason }, "modelVersion": "m" });
    let finished =
        |reason: &str| json!({ "candidates": [{ "finishReason": reason, "finishMessage": "canary", "index": 0 }] });
    let mut bodies = vec![
        serde_json::from_str(include_str!("../fixtures/prompt_blocked.json")).unwrap(),
        serde_json::from_str(include_str!("../fixtures/image_blocked.json")).unwrap(),
    ];
    for reason in ["SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "IMAGE_SAFETY", "MODEL_ARMOR", "A_NEW_ONE"] {
        bodies.push(blocked(reason));
    }
    for reason in [
        "SAFETY",
        "PROHIBITED_CONTENT",
        "BLOCKLIST",
        "SPII",
        "RECITATION",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "MODEL_ARMOR",
        "ESCALATION",
        "PUP_LIMITED_DISABLED",
        "VIDEO_SAFETY",
    ] {
        bodies.push(finished(reason));
        let (_, data) = picture(2);
        let mut withheld = finished(reason);
        withheld["candidates"][0]["content"] = json!({ "parts": [{ "inlineData": { "data": data } }] });
        bodies.push(withheld);
    }
    for body in bodies {
        let error = told(&body).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContentRejected, "{body}");
        assert!(!everything(&error).contains("canary") && !everything(&error).contains("Support code"), "{body}");
    }
}

#[tokio::test]
async fn answers_without_a_picture_are_no_success() {
    let with = |parts: Value| json!({ "candidates": [{ "content": { "parts": parts }, "finishReason": "STOP" }] });
    let finished = |reason: &str| json!({ "candidates": [{ "content": { "role": "model" }, "finishReason": reason }] });
    let (_, data) = picture(2);
    let bodies = [
        finished("NO_IMAGE"),
        finished("IMAGE_OTHER"),
        finished("MALFORMED_RESPONSE"),
        finished("OTHER"),
        finished("MAX_TOKENS"),
        finished("STOP"),
        finished("NOBODY_KNOWS"),
        finished("FINISH_REASON_UNSPECIFIED"),
        json!({ "promptFeedback": { "blockReason": "BLOCK_REASON_UNSPECIFIED" } }),
        json!({ "promptFeedback": {} }),
        json!({ "candidates": [] }),
        json!({ "candidates": [{}] }),
        json!({ "candidates": null }),
        json!({ "usageMetadata": { "promptTokenCount": 1 } }),
        json!({}),
        with(json!([])),
        with(json!([{ "text": "canary, I would rather tell you about teapots" }])),
        with(json!([{ "thought": true, "inlineData": { "mimeType": "image/png", "data": data } }])),
        with(json!([{ "inlineData": { "mimeType": "image/png", "data": "" } }])),
        with(json!([{ "inlineData": {} }])),
        with(json!([{ "fileData": { "mimeType": "image/png", "fileUri": "https://canary.example/a.png" } }])),
    ];
    for body in bodies {
        let error = told(&body).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoImage, "{body}");
        assert!(!everything(&error).contains("canary"), "{body}");
    }
}

#[tokio::test]
async fn answers_that_are_not_understood_are_no_success() {
    let with = |data: &str| {
        json!({ "candidates": [{ "content": { "parts": [{ "inlineData": { "data": data } }] } }] }).to_string()
    };
    for body in [
        with("canary!"),
        with("Y2FuYXJ5"),
        "canary".to_owned(),
        r#"{"candidates":"#.to_owned(),
        r#"{"candidates":"canary"}"#.to_owned(),
        "[7]".to_owned(),
        String::new(),
        r#"{"error":{"code":900,"message":"canary"}}"#.to_owned(),
    ] {
        let error = ask(answer(200, &[JSON], &body)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body}");
        assert!(!everything(&error).contains("canary"), "{body}");
    }
    let error = ask(answer(200, &["content-type: text/html"], "<html>canary")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

/// An error body; `details` is what it tells beside its code.
fn status(code: u16, status: &str, details: &Value) -> Value {
    json!({ "error": { "code": code, "message": "canary says so", "status": status, "details": details } })
}

fn info(reason: &str) -> Value {
    json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "canary.example" }])
}

fn quota(id: &str, value: &str) -> Value {
    json!([{ "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{ "quotaMetric": "canary/requests", "quotaId": id, "quotaValue": value }] }])
}

fn fields(names: &[&str]) -> Value {
    let violations: Vec<Value> = names.iter().map(|name| json!({ "field": name, "description": "canary" })).collect();
    json!([{ "@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations }])
}

#[tokio::test]
async fn every_failure_is_understood_alone_and_in_an_array_and_not_repeated() {
    let nothing = json!([]);
    let cases = [
        (400, status(400, "INVALID_ARGUMENT", &nothing), ErrorKind::InvalidRequest),
        (400, status(400, "OUT_OF_RANGE", &nothing), ErrorKind::InvalidRequest),
        (400, status(400, "INVALID_ARGUMENT", &info("API_KEY_INVALID")), ErrorKind::Unauthorized),
        (400, status(400, "INVALID_ARGUMENT", &fields(&["contents[0].parts[0]"])), ErrorKind::InvalidRequest),
        (
            400,
            status(400, "INVALID_ARGUMENT", &fields(&["generation_config.image_config.image_size"])),
            ErrorKind::Unsupported,
        ),
        (
            400,
            status(400, "INVALID_ARGUMENT", &fields(&["generation_config.seed", "contents"])),
            ErrorKind::InvalidRequest,
        ),
        (400, status(400, "FAILED_PRECONDITION", &nothing), ErrorKind::QuotaExhausted),
        (401, status(401, "UNAUTHENTICATED", &nothing), ErrorKind::Unauthorized),
        (403, status(403, "PERMISSION_DENIED", &nothing), ErrorKind::Unauthorized),
        (403, status(403, "PERMISSION_DENIED", &info("BILLING_DISABLED")), ErrorKind::QuotaExhausted),
        (403, status(403, "PERMISSION_DENIED", &info("API_KEY_SERVICE_BLOCKED")), ErrorKind::Unauthorized),
        (404, status(404, "NOT_FOUND", &nothing), ErrorKind::ModelNotFound),
        (409, status(409, "ABORTED", &nothing), ErrorKind::Unavailable),
        (429, status(429, "RESOURCE_EXHAUSTED", &nothing), ErrorKind::RateLimited),
        (
            429,
            status(429, "RESOURCE_EXHAUSTED", &quota("GenerateRequestsPerMinutePerProjectPerModel", "10")),
            ErrorKind::RateLimited,
        ),
        (
            429,
            status(429, "RESOURCE_EXHAUSTED", &quota("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "100")),
            ErrorKind::QuotaExhausted,
        ),
        (
            429,
            status(429, "RESOURCE_EXHAUSTED", &quota("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "0")),
            ErrorKind::QuotaExhausted,
        ),
        (499, status(499, "CANCELLED", &nothing), ErrorKind::Internal),
        (500, status(500, "INTERNAL", &nothing), ErrorKind::Unavailable),
        (501, status(501, "UNIMPLEMENTED", &nothing), ErrorKind::Unsupported),
        (503, status(503, "UNAVAILABLE", &nothing), ErrorKind::Overloaded),
        (504, status(504, "DEADLINE_EXCEEDED", &nothing), ErrorKind::Timeout),
        // The words count more than the number.
        (500, status(503, "UNAVAILABLE", &nothing), ErrorKind::Overloaded),
        (200, status(429, "RESOURCE_EXHAUSTED", &nothing), ErrorKind::RateLimited),
        (418, status(418, "A_NEW_ONE", &nothing), ErrorKind::InvalidRequest),
    ];
    for (code, body, kind) in cases {
        for text in [body.to_string(), json!([body]).to_string()] {
            // The array is what the streaming route wraps failures in; it never succeeds.
            if code == 200 && text.starts_with('[') {
                continue;
            }
            let error = ask(answer(code, &[JSON], &text)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{code} {text}");
            assert!(!everything(&error).contains("canary"), "{code} {text}: {}", everything(&error));
        }
    }
}

#[tokio::test]
async fn statuses_without_a_word_are_understood() {
    for (status, kind) in [
        (204, ErrorKind::Protocol),
        (302, ErrorKind::Protocol),
        (400, ErrorKind::InvalidRequest),
        (401, ErrorKind::Unauthorized),
        (402, ErrorKind::QuotaExhausted),
        (403, ErrorKind::Unauthorized),
        (404, ErrorKind::ModelNotFound),
        (408, ErrorKind::Timeout),
        (413, ErrorKind::Unsupported),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Unavailable),
        (502, ErrorKind::Unavailable),
        (503, ErrorKind::Overloaded),
        (504, ErrorKind::Timeout),
    ] {
        let headers = ["location: http://127.0.0.1:1/canary", "retry-after: 7"];
        let error = ask(answer(status, &headers, "")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert!(!everything(&error).contains("canary"));
    }
}

#[tokio::test]
async fn the_delay_is_read_from_the_body_and_else_from_the_header() {
    let retry = |delay: Value| {
        let details = json!([
            { "@type": "type.googleapis.com/google.rpc.Help", "links": [] },
            { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay },
        ]);
        status(429, "RESOURCE_EXHAUSTED", &details)
    };
    let after = |body: &Value, headers: &[&str]| {
        let answer = answer(429, headers, &body.to_string());
        async move { ask(answer).await.unwrap_err().retry_after() }
    };
    let recorded = serde_json::from_str(include_str!("../fixtures/rate_limited.json")).unwrap();
    for (body, headers, expected) in [
        (recorded, &[][..], Some(31_000)),
        (retry(json!("31.5s")), &[], Some(31_500)),
        (retry(json!("34.074824224s")), &["retry-after: 2"], Some(34_075)),
        (retry(json!("0s")), &[], Some(0)),
        (retry(json!("soon")), &["retry-after: 2"], Some(2000)),
        (retry(Value::Null), &["retry-after: 2"], Some(2000)),
        (retry(json!("-4s")), &[], None),
        (json!({}), &[], None),
    ] {
        assert_eq!(after(&body, headers).await, expected.map(Duration::from_millis), "{body}");
    }
}

#[test]
fn a_bad_key_is_told_and_never_repeated() {
    let key = SecretRef { env: KEY_VARIABLE.to_owned() }.resolve().unwrap();
    let bad = reqwest::StatusCode::BAD_REQUEST;
    let recorded = include_str!("../fixtures/bad_key.json");
    let error = of_answer(bad, &reqwest::header::HeaderMap::new(), recorded.as_bytes(), Some(&key));
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.hint().is_some());
    let echoed = status(400, key.expose(), &json!([{ "reason": key.expose() }, quota(key.expose(), key.expose())[0]]));
    let error = of_answer(bad, &reqwest::header::HeaderMap::new(), echoed.to_string().as_bytes(), Some(&key));
    assert!(!everything(&error).contains(key.expose()), "{}", everything(&error));
}
