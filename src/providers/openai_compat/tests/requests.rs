//! What is sent.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::{answer, build, call, provider, replay};
use crate::generation::{GenerationRequest, ImageFormat, ImageSize, Seed, SizeWish};
use crate::providers::ErrorKind;
use crate::providers::scripted::request;

/// The head and the body of the request that `asked` becomes.
async fn sent(model: Value, asked: &GenerationRequest) -> (String, Value) {
    let (base_url, sent) = replay(answer(200, &[], include_str!("../fixtures/gpt_image.json"))).await;
    provider(&base_url, &model).generate(asked, &call()).await.unwrap();
    let sent = sent.await.unwrap();
    (sent.head.clone(), sent.json())
}

fn everything() -> GenerationRequest {
    GenerationRequest {
        prompt: "ein \"Häuschen\"".to_owned(),
        negative_prompt: Some("blurry".to_owned()),
        count: NonZeroU32::new(2).unwrap(),
        size: SizeWish::Exact(ImageSize::new(768, 512).unwrap()),
        seed: Some(Seed::from(42)),
        steps: NonZeroU32::new(30),
        guidance_scale: Some(4.5),
        scheduler: Some("euler".to_owned()),
        ..request()
    }
}

#[tokio::test]
async fn every_wish_of_an_undeclared_model_is_sent() {
    let (head, body) = sent(json!({ "id": "org/any" }), &everything()).await;
    assert!(head.starts_with("POST /v1/images/generations HTTP/1.1"), "{head}");
    assert!(head.contains("x-client-request-id: request-7"), "{head}");
    assert!(!head.to_ascii_lowercase().contains("authorization"), "{head}");
    assert_eq!(
        body,
        json!({
            "model": "org/any", "prompt": "ein \"Häuschen\"", "n": 2, "size": "768x512", "response_format": "b64_json",
            "negative_prompt": "blurry", "seed": 42, "steps": 30, "guidance_scale": 4.5, "scheduler": "euler",
        })
    );
}

#[tokio::test]
async fn a_plain_request_is_sent_plainly() {
    let (_, body) = sent(json!({ "id": "any" }), &request()).await;
    assert_eq!(body, json!({ "model": "any", "prompt": "a teapot", "n": 1, "response_format": "b64_json" }));
}

#[tokio::test]
async fn gpt_image_models_are_not_sent_the_field_that_they_refuse() {
    let (_, body) = sent(json!({ "id": "gpt-image-1.5", "parameters": { "quality": "low" } }), &request()).await;
    assert_eq!(body, json!({ "model": "gpt-image-1.5", "prompt": "a teapot", "n": 1, "quality": "low" }));
    let (_, body) = sent(json!({ "id": "sd-cpp", "response_format": "none" }), &request()).await;
    assert_eq!(body, json!({ "model": "sd-cpp", "prompt": "a teapot", "n": 1 }));
}

#[tokio::test]
async fn defaults_are_sent_where_the_request_says_nothing() {
    let model = json!({
        "id": "any", "size": "512x512", "steps": 4, "guidance_scale": 1.0, "negative_prompt": "low quality",
        "scheduler": "euler", "supports_scheduler": false,
        "fields": { "steps": "num_inference_steps" },
    });
    let (_, body) = sent(model.clone(), &request()).await;
    assert_eq!(
        body,
        json!({
            "model": "any", "prompt": "a teapot", "n": 1, "size": "512x512", "response_format": "b64_json",
            "negative_prompt": "low quality", "num_inference_steps": 4, "guidance_scale": 1.0,
        })
    );
    let (_, body) = sent(model, &everything()).await;
    assert_eq!(
        (&body["num_inference_steps"], &body["size"], &body["negative_prompt"]),
        (&json!(30), &json!("768x512"), &json!("blurry"))
    );
}

#[tokio::test]
async fn the_key_is_sent_as_a_bearer() {
    let (base_url, asked) = replay(answer(200, &[], include_str!("../fixtures/gpt_image.json"))).await;
    // A variable that cargo sets for every test, so that no test needs to write the environment.
    let config =
        json!({ "base_url": base_url, "api_key": { "env": "CARGO_PKG_NAME" }, "models": { "m": { "id": "any" } } });
    build(config).unwrap().generate(&request(), &call()).await.unwrap();
    let head = asked.await.unwrap().head;
    assert!(head.contains("authorization: Bearer easel"), "{head}");
}

#[tokio::test]
async fn the_path_is_put_before_the_query_of_the_base() {
    for (base, line) in [
        ("/v1/", "POST /v1/images/generations HTTP/1.1"),
        ("", "POST /images/generations HTTP/1.1"),
        ("/openai/x?api-version=2", "POST /openai/x/images/generations?api-version=2 HTTP/1.1"),
    ] {
        let (base_url, asked) = replay(answer(200, &[], include_str!("../fixtures/gpt_image.json"))).await;
        let base_url = base_url.replace("/v1", base);
        provider(&base_url, &json!({ "id": "any" })).generate(&request(), &call()).await.unwrap();
        assert!(asked.await.unwrap().line().starts_with(line), "{base}");
    }
}

#[tokio::test]
async fn a_known_model_is_sent_what_it_takes_and_nothing_else() {
    let model = json!({
        "id": "gpt-image-1.5",
        "parameters": { "quality": "medium", "background": "opaque", "moderation": "auto", "input_fidelity": "high" },
    });
    let asked = GenerationRequest {
        output_format: Some(ImageFormat::Webp),
        output_quality: Some(80),
        size: SizeWish::Exact(ImageSize::new(1536, 1024).unwrap()),
        ..GenerationRequest::new("an isometric bakery")
    };
    let (_, body) = sent(model.clone(), &asked).await;
    let expected = json!({
        "model": "gpt-image-1.5", "prompt": "an isometric bakery", "n": 1, "size": "1536x1024", "quality": "medium",
        "output_format": "webp", "output_compression": 80, "background": "opaque", "moderation": "auto",
    });
    assert_eq!(body, expected);
    // Compression is for lossy files only, and what is transparent is no JPEG.
    let png = GenerationRequest { output_format: Some(ImageFormat::Png), ..asked.clone() };
    let (_, body) = sent(model, &png).await;
    assert_eq!((&body["output_format"], &body["output_compression"]), (&json!("png"), &Value::Null));
    let model = json!({
        "id": "gpt-image-1",
        "parameters": { "background": "transparent", "output_format": "webp", "output_compression": 50 },
    });
    let jpeg = GenerationRequest { output_format: Some(ImageFormat::Jpeg), output_quality: Some(7), ..asked };
    let (_, body) = sent(model, &jpeg).await;
    assert_eq!((&body["output_format"], &body["output_compression"]), (&json!("webp"), &json!(7)));
}

#[tokio::test]
async fn files_are_asked_for_only_where_they_can_be() {
    let asked = GenerationRequest { output_format: Some(ImageFormat::Jpeg), output_quality: Some(9), ..request() };
    let (_, body) = sent(json!({ "id": "any" }), &asked).await;
    assert_eq!((body.get("output_format"), body.get("output_compression")), (None, None));
    let (_, body) = sent(json!({ "id": "any", "output_formats": ["jpeg"] }), &asked).await;
    assert_eq!((&body["output_format"], &body["output_compression"]), (&json!("jpeg"), &json!(9)));
    let (_, body) = sent(json!({ "id": "dall-e-3" }), &asked).await;
    assert_eq!((body.get("output_format"), &body["response_format"]), (None, &json!("b64_json")));
}

#[tokio::test]
async fn a_prompt_that_the_model_does_not_take_is_not_sent() {
    let (base_url, _asked) = replay(Vec::new()).await;
    for (id, most) in [("gpt-image-2", 32_000), ("dall-e-3", 4000)] {
        let asked = GenerationRequest::new("ä".repeat(most + 1));
        let call = call();
        let error = provider(&base_url, &json!({ "id": id })).generate(&asked, &call).await.unwrap_err();
        assert_eq!((error.kind(), call.upstream_calls()), (ErrorKind::Unsupported, 0), "{id}");
        assert!(error.to_string().contains(&most.to_string()), "{error}");
    }
}

#[tokio::test]
async fn rules_may_be_named_and_unnamed() {
    let (_, body) = sent(json!({ "id": "my-deployment", "rules": "gpt-image-2" }), &everything()).await;
    assert_eq!(body.get("response_format"), None);
    let (_, body) = sent(json!({ "id": "gpt-image-1", "rules": "none", "response_format": "url" }), &request()).await;
    assert_eq!(body["response_format"], "url");
}

#[tokio::test]
async fn headers_of_the_configuration_are_sent() {
    let (base_url, asked) = replay(answer(200, &[], include_str!("../fixtures/gpt_image.json"))).await;
    let config = json!({
        "base_url": base_url, "headers": { "OpenAI-Organization": "org-1" }, "models": { "m": { "id": "any" } },
    });
    build(config).unwrap().generate(&request(), &call()).await.unwrap();
    assert_eq!(asked.await.unwrap().header("openai-organization"), Some("org-1"));
}
