//! What the failures of real servers become, and what nobody learns of them.

use std::time::Duration;

use serde_json::Value;

use super::answers::{JSON, ask};
use super::{KEY, answer};
use crate::providers::openai_compat::client::Refused;
use crate::providers::openai_compat::error::{of_answer, of_event, of_success};
use crate::providers::{Error, ErrorKind, Recovery};
use crate::secret::SecretRef;

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

#[tokio::test]
async fn errors_of_every_dialect_are_understood_and_not_repeated() {
    let cases: [(u16, &str, ErrorKind); 19] = [
        (400, include_str!("../fixtures/moderation_blocked.json"), ErrorKind::ContentRejected),
        (429, include_str!("../fixtures/rate_limit.json"), ErrorKind::RateLimited),
        (429, include_str!("../fixtures/quota.json"), ErrorKind::QuotaExhausted),
        (400, include_str!("../fixtures/bad_size.json"), ErrorKind::Unsupported),
        (400, include_str!("../fixtures/unknown_parameter.json"), ErrorKind::Unsupported),
        (401, include_str!("../fixtures/bad_key.json"), ErrorKind::Unauthorized),
        (404, include_str!("../fixtures/model_not_found.json"), ErrorKind::ModelNotFound),
        (400, include_str!("../fixtures/sd_cpp_error.json"), ErrorKind::InvalidRequest),
        (422, include_str!("../fixtures/vllm_error.json"), ErrorKind::InvalidRequest),
        (503, include_str!("../fixtures/vllm_error.json"), ErrorKind::Overloaded),
        (500, include_str!("../fixtures/local_ai_error.json"), ErrorKind::Unavailable),
        (200, include_str!("../fixtures/moderation_blocked.json"), ErrorKind::ContentRejected),
        (200, include_str!("../fixtures/local_ai_error.json"), ErrorKind::Protocol),
        (200, include_str!("../fixtures/xai_refused.json"), ErrorKind::ContentRejected),
        (200, include_str!("../fixtures/local_ai_url.json"), ErrorKind::Protocol),
        (401, r#"{"error":{"message":"canary: content policy","code":null}}"#, ErrorKind::Unauthorized),
        (200, r#"{"data":[]}"#, ErrorKind::NoImage),
        (200, r#"{"created":1}"#, ErrorKind::Protocol),
        (200, r#"["canary"#, ErrorKind::Protocol),
    ];
    for (status, body, kind) in cases {
        let error = ask(answer(status, &[JSON], body)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}");
        let said = everything(&error);
        assert!(!said.contains("canary") && !said.contains("example"), "{status} {body}: {said}");
    }
}

#[tokio::test]
async fn statuses_without_a_word_are_understood() {
    for (status, kind) in [
        (204, ErrorKind::Protocol),
        (302, ErrorKind::Protocol),
        (400, ErrorKind::InvalidRequest),
        (402, ErrorKind::QuotaExhausted),
        (403, ErrorKind::Unauthorized),
        (404, ErrorKind::ModelNotFound),
        (408, ErrorKind::Timeout),
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

#[test]
#[expect(clippy::disallowed_methods, reason = "a key must come from somewhere")]
fn an_echoed_key_reaches_nobody() {
    // A variable that every process has, so that no test needs to write the environment.
    let key = SecretRef { env: "PATH".to_owned() }.resolve().unwrap();
    let path = std::env::var("PATH").unwrap();
    let body = include_str!("../fixtures/echoed_key.json");
    let own = body.replace(KEY, &path.replace('/', "."));
    for body in [body, &own] {
        let refused = refused(400, body);
        let parsed: Value = serde_json::from_str(body).unwrap();
        for error in [
            of_answer(&refused, false, Some(&key)),
            of_success(&parsed["error"], Some(&key)),
            of_event(&parsed["error"], Some(&key)),
        ] {
            let said = everything(&error);
            assert!(!said.contains(&path), "{said}");
        }
    }
}

fn refused(status: u16, body: &str) -> Refused {
    Refused {
        status: reqwest::StatusCode::from_u16(status).unwrap(),
        headers: reqwest::header::HeaderMap::new(),
        body: body.as_bytes().to_vec(),
    }
}

fn kind(status: u16, body: &str) -> ErrorKind {
    of_answer(&refused(status, body), false, None).kind()
}

#[test]
fn a_refusal_is_final_in_each_of_its_forms() {
    let forms = [
        (400, r#"{"error":{"code":"moderation_blocked","type":"user_error"}}"#),
        (400, r#"{"error":{"code":"content_policy_violation","type":"invalid_request_error"}}"#),
        (
            400,
            r#"{"error":{"code":null,"type":"image_generation_user_error","moderation_details":{"moderation_stage":"output"}}}"#,
        ),
        (400, r#"{"error":{"code":"contentFilter","message":"x"}}"#),
        (400, r#"{"error":{"code":"400","innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#),
        (400, r#"{"error":{"code":400,"message":"Your request was rejected by the safety system.","type":null}}"#),
        (403, r#"{"error":{"code":403,"message":"x","metadata":{"reasons":["violence"],"flagged_input":"x"}}}"#),
        (403, r#"{"error":{"code":403,"message":"the input was flagged for \"violence\""}}"#),
        (400, r#"{"error":"the prompt was rejected by the content policy"}"#),
        (422, r#"{"detail":"The prompt was rejected by the content policy"}"#),
        (422, r#"{"detail":[{"loc":["body","prompt"],"msg":"NSFW content","type":"value_error"}]}"#),
        (400, r#"{"code":"The request was invalid","error":"Generated image rejected by content moderation."}"#),
        (451, r#"{"message":"blocked by our content filter"}"#),
    ];
    for (status, body) in forms {
        assert_eq!(kind(status, body), ErrorKind::ContentRejected, "{status} {body}");
    }
}

#[tokio::test]
async fn a_refusal_that_calls_itself_a_success_is_one() {
    let picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";
    let filtered = r#"{"violence":{"filtered":true,"severity":"high"},"hate":{"filtered":false}}"#;
    for body in [
        format!(r#"{{"data":[{{"b64_json":"{picture}"}},{{"respect_moderation":false}}]}}"#),
        format!(r#"{{"data":[{{"b64_json":"{picture}"}}],"respect_moderation":false}}"#),
        format!(r#"{{"data":[{{"b64_json":"{picture}","content_filter_results":{filtered}}}]}}"#),
        format!(r#"{{"data":[],"prompt_filter_results":[{{"prompt_index":0,"content_filter_results":{filtered}}}]}}"#),
        r#"{"data":[{"finish_reason":"CONTENT_FILTERED"}]}"#.to_owned(),
        r#"{"data":[{"finish_reason":"content_filter","b64_json":""}]}"#.to_owned(),
        r#"{"data":[{"error":{"code":"content_policy_violation"}}]}"#.to_owned(),
        r#"{"error":{"message":"Your request was rejected as a result of our safety system.","type":null,"code":400}}"#
            .to_owned(),
    ] {
        let error = ask(answer(200, &[JSON], &body)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContentRejected, "{body}: {error}");
    }
}

#[test]
fn who_is_to_blame_decides_whether_another_provider_is_asked() {
    let cases = [
        (400, r#"{"error":{"code":"invalid_value","param":"prompt"}}"#, ErrorKind::InvalidRequest),
        (400, r#"{"error":{"code":"invalid_image_file","param":"image"}}"#, ErrorKind::InvalidRequest),
        (400, r#"{"error":{"code":"invalid_input_fidelity_model","param":"input_fidelity"}}"#, ErrorKind::Unsupported),
        (400, r#"{"error":{"code":"invalid_value","param":"quality"}}"#, ErrorKind::Unsupported),
        (400, r#"{"error":{"code":"string_above_max_length","param":"prompt"}}"#, ErrorKind::Unsupported),
        (
            422,
            r#"{"detail":[{"loc":["body","num_inference_steps"],"msg":"x","type":"value_error"}]}"#,
            ErrorKind::Unsupported,
        ),
        (422, r#"{"detail":[{"loc":["body","prompt"],"msg":"x","type":"missing"}]}"#, ErrorKind::InvalidRequest),
        (400, r#"{"error":{"code":"billing_hard_limit_reached"}}"#, ErrorKind::QuotaExhausted),
        (429, r#"{"error":{"code":"project_spend_limit_exceeded"}}"#, ErrorKind::QuotaExhausted),
        (
            429,
            r#"{"error":{"code":429,"type":null,"message":"You exceeded your current quota, please check"}}"#,
            ErrorKind::QuotaExhausted,
        ),
        (429, r#"{"error":{"code":"rate_limit_exceeded","type":"tokens"}}"#, ErrorKind::RateLimited),
        (403, r#"{"error":{"code":null,"message":"Your organization must be verified"}}"#, ErrorKind::Unauthorized),
        (403, r#"{"error":{"code":"unsupported_country_region_territory"}}"#, ErrorKind::Unauthorized),
        (404, r#"{"detail":"Not Found"}"#, ErrorKind::ModelNotFound),
        (405, "", ErrorKind::Unsupported),
        (413, "<html>", ErrorKind::Unsupported),
        (500, r#"{"error":"server_error","message":"x"}"#, ErrorKind::Unavailable),
    ];
    for (status, body, expected) in cases {
        assert_eq!(kind(status, body), expected, "{status} {body}");
    }
    let no_edits = of_answer(&refused(404, r#"{"detail":"Not Found"}"#), true, None);
    assert_eq!(no_edits.kind(), ErrorKind::Unsupported);
    let unverified = of_answer(&refused(403, "{}"), false, None);
    assert!(unverified.hint().is_some_and(|hint| hint.contains("verify the organisation")));
}

#[test]
fn an_upstream_that_advises_against_asking_again_is_obeyed() {
    let mut refused = refused(500, "");
    assert_eq!(of_answer(&refused, false, None).recovery(), Recovery::Retry);
    refused.headers.insert("x-should-retry", "true".parse().unwrap());
    assert_eq!(of_answer(&refused, false, None).recovery(), Recovery::Retry);
    refused.headers.insert("x-should-retry", "false".parse().unwrap());
    assert_eq!(of_answer(&refused, false, None).recovery(), Recovery::NextProvider);
    refused.body = br#"{"error":{"code":"moderation_blocked"}}"#.to_vec();
    assert_eq!(of_answer(&refused, false, None).recovery(), Recovery::Final);
}

#[test]
fn when_to_come_back_is_heard_out_of_the_sentence_where_no_header_says_it() {
    let mut refused = refused(429, include_str!("../fixtures/rate_limit.json"));
    assert_eq!(of_answer(&refused, false, None).retry_after(), Some(Duration::from_secs(12)));
    refused.headers.insert("retry-after", "3".parse().unwrap());
    assert_eq!(of_answer(&refused, false, None).retry_after(), Some(Duration::from_secs(3)));
}
