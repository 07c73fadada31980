//! Another Easel: what is sent to it and what comes back, and that no request goes in a circle.

use std::num::NonZeroU32;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{Sent, answer, build, call, replay, source};
use crate::generation::{
    CacheWish, Generation, GenerationRequest, ImageFormat, ImageSize, Lora, OnDisconnect, Ratios, Seed, SizeWish, Via,
    Wish,
};
use crate::providers::scripted::request;
use crate::providers::{Error, ErrorKind};

const ONE: &str = include_str!("../fixtures/easel.json");

async fn ask(config: Value, asked: &GenerationRequest, reply: Vec<u8>) -> (Result<Generation, Error>, Sent) {
    let (base_url, sent) = replay(reply).await;
    let mut config = config;
    config["base_url"] = json!(base_url.strip_suffix("/v1").unwrap());
    config["dialect"] = json!("easel");
    config["models"] = json!({ "m": config.get("model").cloned().unwrap_or_else(|| json!({})) });
    config.as_object_mut().unwrap().remove("model");
    let made = build(config).unwrap().generate(asked, &call()).await;
    (made, sent.await.unwrap())
}

fn failure_of(status: u16, code: &str, further: &Value) -> Vec<u8> {
    let mut body = json!({
        "type": format!("urn:easel:problem:{code}"), "title": "canary", "status": status, "detail": "canary", "code": code,
        "hint": "", "request_id": "1",
    });
    body.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    answer(status, &["content-type: application/problem+json", "retry-after: 7"], &body.to_string())
}

#[tokio::test]
async fn nothing_is_lost_on_the_way_there() {
    let (image, mask, look) =
        (source(8, 8, ImageFormat::Png), source(8, 8, ImageFormat::Webp), source(4, 4, ImageFormat::Jpeg));
    let asked = GenerationRequest {
        negative_prompt: Some("blurry".to_owned()),
        count: NonZeroU32::new(2).unwrap(),
        size: SizeWish::Exact(ImageSize::new(768, 512).unwrap()),
        seed: Some(Seed::new(Seed::MAX).unwrap()),
        steps: NonZeroU32::new(30),
        guidance_scale: Some(4.5),
        scheduler: Some("euler".to_owned()),
        strength: Some(0.25),
        image: Some(image.clone()),
        mask: Some(mask.clone()),
        reference_images: vec![look.clone()],
        loras: vec![Lora { name: "ink".to_owned(), weight: -0.5 }],
        strict: true,
        output_format: Some(ImageFormat::Jpeg),
        output_quality: Some(70),
        cache: CacheWish::Never,
        on_disconnect: Some(OnDisconnect::Finish),
        via: "one, two".parse().unwrap(),
        ..request()
    };
    let config = json!({ "fallback": "never", "model": { "id": "runware/juggernaut_pro", "parameters": { "response_format": "b64_json" } } });
    let (made, sent) = ask(config, &asked, answer(200, &[], ONE)).await;
    made.unwrap();
    assert_eq!(sent.line(), "POST /api/generate-image HTTP/1.1");
    assert_eq!((sent.header("x-easel-via"), sent.header("x-request-id")), (Some("one, two"), Some("request-7")));
    let uri = |source: &crate::generation::SourceImage| {
        let text = base64::engine::general_purpose::STANDARD.encode(&source.bytes);
        format!("data:{};base64,{text}", source.format.mime_type())
    };
    let mut body = sent.json();
    let timeout = body.as_object_mut().unwrap().remove("timeout_ms").unwrap().as_u64().unwrap();
    assert!((25_000..=30_000).contains(&timeout), "{timeout}");
    assert_eq!(
        body,
        json!({
            "on_disconnect": "finish", "response_format": "b64_json", "prompt": "a teapot", "negative_prompt": "blurry",
            "model": "runware/juggernaut_pro", "fallback": "never", "n": 2, "size": "768x512",
            "seed": 9_007_199_254_740_991_u64, "steps": 30, "guidance_scale": 4.5, "scheduler": "euler",
            "strength": 0.25, "strict": true, "loras": [{ "name": "ink", "weight": -0.5 }], "output_format": "jpeg",
            "output_quality": 70, "cache": "never", "image": uri(&image), "mask": uri(&mask),
            "reference_images": [uri(&look)],
        })
    );
}

#[tokio::test]
async fn a_plain_request_stays_plain_and_a_ratio_a_ratio() {
    let (made, sent) = ask(json!({}), &request(), answer(200, &[], ONE)).await;
    made.unwrap();
    let names: Vec<_> = sent.json().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["prompt", "n", "timeout_ms"]);
    assert_eq!(sent.header("x-easel-via"), None);
    let asked =
        GenerationRequest { size: SizeWish::Aspect("16:9".parse().unwrap()), cache: CacheWish::Any, ..request() };
    let (_, sent) = ask(json!({ "fallback": "auto" }), &asked, answer(200, &[], ONE)).await;
    let body = sent.json();
    assert_eq!(
        (&body["aspect_ratio"], &body["cache"], &body["fallback"]),
        (&json!("16:9"), &json!("any"), &json!("auto"))
    );
    let provider = build(json!({ "base_url": "http://x", "dialect": "easel" })).unwrap();
    let capabilities = provider.capabilities();
    assert_eq!(capabilities.models[0].limits.ratios, Ratios::Passed);
    assert_eq!(capabilities.default_model.as_ref().map(crate::generation::ModelKey::as_str), Some("any"));
}

#[tokio::test]
async fn nothing_is_lost_on_the_way_back() {
    let (made, _) = ask(json!({}), &request(), answer(200, &[], ONE)).await;
    let made = made.unwrap();
    let seeds: Vec<_> = made.images.iter().map(|image| image.seed.map(Seed::get)).collect();
    assert_eq!(seeds, [Some(7), None]);
    assert_eq!((made.cost_usd, made.ignored.as_slice()), (Some(0.0013), [Wish::Seed, Wish::Strength].as_slice()));
    assert_eq!(made.warnings, ["the prompt was cut after 77 tokens", "the other Easel fell back to gemini/flash"]);
}

#[tokio::test]
async fn codes_become_the_kinds_that_they_came_from() {
    let cases = [
        (422, "content_rejected", ErrorKind::ContentRejected),
        (422, "invalid_request", ErrorKind::InvalidRequest),
        (422, "unsupported", ErrorKind::Unsupported),
        (422, "unknown_field", ErrorKind::Unsupported),
        (424, "model_not_installed", ErrorKind::ModelNotFound),
        (404, "unknown_model", ErrorKind::ModelNotFound),
        (502, "provider_model_not_found", ErrorKind::ModelNotFound),
        (401, "unauthorized", ErrorKind::Unauthorized),
        (502, "provider_unauthorized", ErrorKind::Unauthorized),
        (503, "provider_quota_exhausted", ErrorKind::QuotaExhausted),
        (429, "rate_limited", ErrorKind::RateLimited),
        (503, "provider_rate_limited", ErrorKind::RateLimited),
        (503, "draining", ErrorKind::Overloaded),
        (503, "nothing_available", ErrorKind::Unavailable),
        (504, "deadline_exceeded", ErrorKind::Timeout),
        (502, "provider_no_image", ErrorKind::NoImage),
        (502, "provider_protocol", ErrorKind::Protocol),
        (500, "internal", ErrorKind::Unavailable),
        (508, "loop_detected", ErrorKind::Unsupported),
        (507, "out_of_memory", ErrorKind::OutOfMemory),
        (507, "a_code_of_tomorrow", ErrorKind::OutOfMemory),
        (422, "a_code_of_tomorrow", ErrorKind::InvalidRequest),
        (501, "a_code_of_tomorrow", ErrorKind::Unsupported),
    ];
    for (status, code, kind) in cases {
        let further = json!({ "hint": "set RUNWARE_API_KEY" });
        let (made, _) = ask(json!({}), &request(), failure_of(status, code, &further)).await;
        let error = made.unwrap_err();
        assert_eq!(error.kind(), kind, "{code}");
        assert_eq!((error.hint(), error.retry_after()), (Some("set RUNWARE_API_KEY"), Some(Duration::from_secs(7))));
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let (made, _) = ask(json!({}), &request(), failure_of(422, "unsupported", &json!({ "field": "loras" }))).await;
    assert_eq!(made.unwrap_err().to_string(), "the provider cannot do what was asked because of `loras`");
}

/// Every code that an Easel sends, so that a new one is not forgotten here.
#[tokio::test]
async fn no_code_is_unknown() {
    let known = include_str!("../../../../docs/ERRORS.md").lines().filter_map(|line| line.strip_prefix("| `"));
    for line in known {
        let (code, rest) = line.split_once('`').unwrap();
        let status: u16 = rest.trim_start_matches(" | ").split(' ').next().unwrap().parse().unwrap();
        // A status that nothing else could make sense of.
        let (made, _) = ask(json!({}), &request(), failure_of(299, code, &json!({}))).await;
        let kind = made.unwrap_err().kind();
        let is_protocol = matches!(code, "provider_protocol");
        assert_eq!(kind == ErrorKind::Protocol, is_protocol, "{code} ({status}) is {kind:?}");
    }
}

#[tokio::test]
async fn what_is_no_answer_of_an_easel_is_no_success() {
    for (reply, kind) in [
        (answer(200, &[], r#"{"images":[]}"#), ErrorKind::NoImage),
        (answer(200, &[], r#"{"images":[{"b64_json":null,"url":null}]}"#), ErrorKind::NoImage),
        (answer(200, &[], r#"{"images":[{"url":"http://127.0.0.1:1/x.png"}]}"#), ErrorKind::Protocol),
        (answer(200, &[], r#"{"data":[]}"#), ErrorKind::Protocol),
        (answer(200, &["content-type: text/html"], ONE), ErrorKind::Protocol),
        (answer(502, &[], "bad gateway"), ErrorKind::Unavailable),
        (answer(404, &[], "<html>"), ErrorKind::ModelNotFound),
    ] {
        let (made, _) = ask(json!({}), &request(), reply).await;
        assert_eq!(made.unwrap_err().kind(), kind);
    }
}

#[tokio::test]
async fn a_request_that_came_through_too_many_goes_no_further() {
    let via = |hops: usize| (0..hops).fold(Via::default(), |via, hop| via.through(&hop.to_string()));
    let config = json!({ "base_url": "http://127.0.0.1:1", "dialect": "easel", "models": { "m": {} } });
    let provider = build(config).unwrap();
    let call = call();
    let asked = GenerationRequest { via: via(Via::MOST + 1), ..request() };
    let error = provider.generate(&asked, &call).await.unwrap_err();
    assert_eq!((error.kind(), call.upstream_calls()), (ErrorKind::Unsupported, 0));
    let (made, _) =
        ask(json!({}), &GenerationRequest { via: via(Via::MOST), ..request() }, answer(200, &[], ONE)).await;
    made.unwrap();
}
