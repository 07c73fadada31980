//! What recorded answers become, and every way in which the vendor says no.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value, json};

use super::vendor::{RESULT, Turn, Vendor, ok, results};
use super::{call, provider};
use crate::generation::{Generation, GenerationRequest, ImageFormat, ImageSize, Seed, Wish};
use crate::providers::scripted::request;
use crate::providers::{Error, ErrorKind};

/// The recorded answer, about the task that is really asked for.
fn recorded(text: &str) -> String {
    let ids = ["6f2f3b0e-1d0b-4c8e-9b6f-0f3a0c8d1a11", "0c6f8d6c-64c0-4a5c-b5ad-6b3c6a1f2d22"];
    let ids = ids.into_iter().chain(["3a0e0a0b-8d58-4a0c-8a7e-5a1f5d0c3c33", "9d1d1d39-90f1-4cfd-8a3c-9a53b8a74e55"]);
    let text = ids.fold(text.to_owned(), |text, id| text.replace(id, "<ID>"));
    text.replace("https://im.runware.ai/", "<ORIGIN>/")
}

async fn ask(turn: Turn, keys: Value, asked: &GenerationRequest) -> Result<Generation, Error> {
    let vendor = Vendor::start([turn], []).await;
    let call = call();
    let made = provider(&vendor.base_url(), &keys).generate(asked, &call).await;
    assert_eq!((call.upstream_calls(), vendor.asked("imageInference").len()), (1, 1));
    made
}

fn pictures(count: u32) -> GenerationRequest {
    GenerationRequest { count: NonZeroU32::new(count).unwrap(), ..request() }
}

fn seeds(generation: &Generation) -> Vec<Option<u64>> {
    generation.images.iter().map(|image| image.seed.map(Seed::get)).collect()
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

#[tokio::test]
async fn pictures_are_fetched_from_their_addresses_with_seeds_and_cost() {
    let answer = recorded(include_str!("../fixtures/text_to_image.answer.json"));
    let asked = GenerationRequest { seed: Some(Seed::from(3_184_420_917)), ..pictures(2) };
    let generation = ask(ok(&answer), json!({ "output_type": "url" }), &asked).await.unwrap();
    assert_eq!(seeds(&generation), [Some(3_184_420_917), Some(3_184_420_918)]);
    assert_eq!(generation.cost_usd, Some(0.0052));
    for image in &generation.images {
        assert_eq!((image.format, image.size), (ImageFormat::Png, ImageSize::new(1, 1).unwrap()));
        assert_eq!(image.data.file().len(), 69);
    }
}

#[tokio::test]
async fn flagged_pictures_are_a_refusal_unless_they_may_pass() {
    let answer = recorded(include_str!("../fixtures/inpainting.answer.json"));
    let error = ask(ok(&answer), json!({ "safety": { "check": true } }), &request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContentRejected);
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "flagged as NSFWContent, charged 0.0038 USD");
    let passing = json!({ "safety": { "check": true, "on_flag": "pass" } });
    let generation = ask(ok(&answer), passing, &request()).await.unwrap();
    assert_eq!((seeds(&generation), generation.cost_usd), (vec![Some(2_112_345)], Some(0.0038)));
    // One flagged picture of two withholds both: half an answer is none.
    let pair = results(&[
        RESULT,
        &RESULT.replace("\"seed\":55", "\"seed\":56,\"NSFWContent\":true").replace("0001\"", "0002\""),
    ]);
    let error = ask(pair, json!({}), &pictures(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContentRejected);
}

#[tokio::test]
async fn recorded_errors_are_understood() {
    let cases = [
        (400, include_str!("../fixtures/bad_width.answer.json"), ErrorKind::Unsupported),
        (402, include_str!("../fixtures/no_credit.answer.json"), ErrorKind::QuotaExhausted),
        (200, include_str!("../fixtures/failed.answer.json"), ErrorKind::Timeout),
    ];
    for (status, body, kind) in cases {
        let error = ask(Turn::Say(status, recorded(body)), json!({}), &request()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{body}");
    }
    let width = recorded(include_str!("../fixtures/bad_width.answer.json"));
    let error = ask(Turn::Say(400, width), json!({}), &request()).await.unwrap_err();
    assert_eq!(error.to_string(), "the provider cannot do what was asked because of `size`");
}

#[tokio::test]
async fn errors_in_every_shape_are_understood_and_not_repeated() {
    let cases = [
        // As a list, as a lone object, as text, and inside a result; with and without the task's name.
        (200, r#"{"errors":[{"code":"promptBlocked","message":"canary"}]}"#, ErrorKind::ContentRejected),
        (
            400,
            r#"{"errors":{"code":"invalidProviderContent","message":"canary","taskUUID":"<ID>"}}"#,
            ErrorKind::ContentRejected,
        ),
        (
            403,
            r#"{"error":{"code":"contentPolicyViolation","message":"canary"},"taskUUID":"<ID>"}"#,
            ErrorKind::ContentRejected,
        ),
        (500, r#"{"error":[{"code":"nsfwContentDetected","message":"canary"}]}"#, ErrorKind::ContentRejected),
        (
            200,
            r#"{"data":[{"taskUUID":"<ID>","status":"error","error":{"code":"moderationFailed"}}]}"#,
            ErrorKind::ContentRejected,
        ),
        (200, r#"{"data":{"taskUUID":"<ID>","status":"error","code":"providerError"}}"#, ErrorKind::Unavailable),
        (
            401,
            r#"{"errors":[{"code":"invalidApiKey","message":"canary","parameter":"apiKey"}]}"#,
            ErrorKind::Unauthorized,
        ),
        (
            400,
            r#"{"errors":[{"code":"invalidModel","parameter":["model"],"message":"canary"}]}"#,
            ErrorKind::ModelNotFound,
        ),
        (400, r#"{"errors":[{"code":"unknownParameter","parameter":"canary parameter"}]}"#, ErrorKind::Unsupported),
        (400, r#"{"errors":[{"code":"a code with canary"}]}"#, ErrorKind::InvalidRequest),
        (200, r#"{"errors":[{"code":"somethingNew"}]}"#, ErrorKind::Protocol),
        (429, r#"{"error":"canary"}"#, ErrorKind::RateLimited),
        // Nothing that can be read.
        (401, "", ErrorKind::Unauthorized),
        (402, "", ErrorKind::QuotaExhausted),
        (403, "<html>canary</html>", ErrorKind::Unauthorized),
        (404, "", ErrorKind::ModelNotFound),
        (429, "", ErrorKind::RateLimited),
        (302, "", ErrorKind::Protocol),
        // A success that is none.
        (200, r#"{"data":[]}"#, ErrorKind::NoImage),
        (200, r#"{"data":[{}]}"#, ErrorKind::NoImage),
        (200, r#"{"data":[{"taskUUID":"<ID>","imageUUID":"x","seed":1}]}"#, ErrorKind::NoImage),
        (200, r#"{"data":[{"taskUUID":"<ID>","imageBase64Data":"*"}]}"#, ErrorKind::Protocol),
        (200, r#"{"data":[{"taskUUID":"<ID>","imageBase64Data":"AAAA"}]}"#, ErrorKind::Protocol),
    ];
    for (status, body, kind) in cases {
        let error = ask(Turn::Say(status, body.to_owned()), json!({}), &request()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}");
        let said = everything(&error);
        assert!(!said.contains("canary") && !said.contains("easel"), "{status} {body}: {said}");
    }
}

#[tokio::test]
async fn the_vendors_word_on_coming_back_is_kept() {
    let limited = Turn::SayWith(429, "retry-after: 7", String::new());
    let error = ask(limited, json!({}), &request()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(7))));
}

#[tokio::test]
async fn results_and_errors_of_one_task_are_read_together() {
    let half = |code: &str| format!(r#"{{"data":[{RESULT}],"errors":[{{"code":"{code}","taskUUID":"<ID>"}}]}}"#);
    for status in [200, 400] {
        let error = ask(Turn::Say(status, half("promptBlocked")), json!({}), &pictures(2)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContentRejected, "{status}");
        assert!(everything(&error).contains("charged 0.04 USD"), "what was paid is lost: {}", everything(&error));
        // Everything that was asked for is there: an error beside it is somebody else's.
        assert!(ask(Turn::Say(status, half("inferenceError")), json!({}), &request()).await.is_ok(), "{status}");
    }
}

#[tokio::test]
async fn what_belongs_to_other_tasks_is_left_alone() {
    let other = RESULT.replace("<ID>", "11111111-1111-4111-8111-111111111111").replace("55", "77");
    let generation = ask(results(&[&other, RESULT]), json!({}), &request()).await.unwrap();
    assert_eq!(seeds(&generation), [Some(55)]);
    let foreign = r#""errors":[{"code":"promptBlocked","taskUUID":"11111111-1111-4111-8111-111111111111"}]"#;
    assert!(ask(ok(&format!(r#"{{"data":{RESULT},{foreign}}}"#)), json!({}), &request()).await.is_ok());
    let error = ask(results(&[&other]), json!({}), &request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoImage);
}

#[tokio::test]
async fn pictures_stand_in_the_order_of_the_callers_seeds() {
    let with = |seed: &str, id: &str| RESULT.replace("55", seed).replace("0001\"", &format!("000{id}\""));
    let turn = || results(&[&with("9", "1"), &with("7", "2"), &with("8", "3")]);
    let asked = GenerationRequest { seed: Some(Seed::from(7)), ..pictures(3) };
    let generation = ask(turn(), json!({}), &asked).await.unwrap();
    assert_eq!(seeds(&generation), [Some(7), Some(8), Some(9)]);
    // Without one they stay as they came, and each tells its own.
    assert_eq!(seeds(&ask(turn(), json!({}), &pictures(3)).await.unwrap()), [Some(9), Some(7), Some(8)]);
}

#[tokio::test]
async fn the_seed_that_was_really_used_is_told() {
    let with = |seed: &str| results(&[&RESULT.replace(r#""seed":55,"#, seed)]);
    let asked = GenerationRequest { seed: Some(Seed::from(7)), ..request() };
    for (said, expected) in [
        (r#""seed":7,"#, Some(7)),
        (r#""seed":8,"#, Some(8)),
        ("", Some(7)),
        (r#""seed":9223372036854776000,"#, None),
        (r#""seed":9.3e18,"#, None),
    ] {
        let generation = ask(with(said), json!({}), &asked).await.unwrap();
        assert_eq!(seeds(&generation), [expected], "{said}");
    }
    let unseeded = ask(with(r#""seed":9223372036854776000,"#), json!({}), &request()).await.unwrap();
    assert_eq!(seeds(&unseeded), [None]);
    let zero = GenerationRequest { seed: Some(Seed::from(0)), ..request() };
    let generation = ask(results(&[RESULT]), json!({}), &zero).await.unwrap();
    assert_eq!((seeds(&generation), generation.ignored), (vec![Some(55)], vec![Wish::Seed]));
}

#[tokio::test]
async fn a_part_of_the_cost_does_not_pass_for_the_whole() {
    let free = RESULT.replace(r#","cost":0.04"#, "").replace("0001\"", "0002\"");
    let generation = ask(results(&[RESULT, &free]), json!({}), &pictures(2)).await.unwrap();
    assert_eq!(generation.cost_usd, None);
}

#[tokio::test]
async fn a_picture_in_a_data_uri_is_read() {
    let uri = RESULT.replace(r#""imageBase64Data":"<PX>""#, r#""imageDataURI":"data:image\/png;base64,<PX>""#);
    assert_eq!(ask(results(&[&uri]), json!({}), &request()).await.unwrap().images.len(), 1);
}

/// A result at this address.
fn at(address: &str) -> Turn {
    results(&[&RESULT.replace(r#""imageBase64Data":"<PX>""#, &format!(r#""imageURL":"{address}""#))])
}

#[tokio::test]
async fn an_address_that_no_longer_works_is_no_picture() {
    for status in [403, 404, 410] {
        let vendor = Vendor::start([at("<ORIGIN>/canary.png")], []).await;
        vendor.fetched([Turn::Say(status, "canary".to_owned())]);
        let provider = provider(&vendor.base_url(), &json!({ "output_type": "url" }));
        let error = provider.generate(&request(), &call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoImage, "{status}");
        assert!(!everything(&error).contains("canary"), "{}", everything(&error));
    }
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_asked() {
    let elsewhere = Vendor::start([], []).await;
    let private = elsewhere.base_url().replace("/v1", "/picture.png");
    for address in [private.as_str(), "http://10.0.0.7/a.png", "https://[::ffff:127.0.0.1]/a.png", "file:///etc/passwd"]
    {
        let error = ask(at(address), json!({ "output_type": "url" }), &request()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{address}");
    }
    assert!(elsewhere.heads().is_empty());
}
