//! Gemini: what a request may say, and what comes back.

use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use serde_json::{Value, json};

use crate::{base64, decode, dimensions, picture, post, send};

const FIRST: &str = "gemini-2.5-flash-image";

fn asking(text: &str) -> Value {
    json!({ "contents": [{ "role": "user", "parts": [{ "text": text }] }], "generationConfig": { "responseModalities": ["IMAGE"] } })
}

async fn ask(simulator: &Simulator, model: &str, body: &Value) -> (u16, Value) {
    post(simulator, Vendor::Gemini, &format!("/models/{model}:generateContent"), body).await
}

fn first_size(answer: &Value) -> Option<(u32, u32)> {
    dimensions(&decode(&answer["candidates"][0]["content"]["parts"][0]["inlineData"]["data"]))
}

#[tokio::test]
async fn a_ratio_and_a_size_are_the_pixels_of_the_table() {
    let simulator = Simulator::start().await;
    let cases = [
        (FIRST, json!({ "aspectRatio": "16:9" }), (1344, 768)),
        (FIRST, json!({ "aspectRatio": "21:9" }), (1536, 672)),
        ("gemini-3-pro-image", json!({ "aspectRatio": "2:3", "imageSize": "1K" }), (848, 1264)),
        ("gemini-3.1-flash-image", json!({ "aspectRatio": "16:9", "imageSize": "512" }), (688, 384)),
        ("gemini-3.1-flash-image", json!({ "aspectRatio": "1:8", "imageSize": "512" }), (192, 1536)),
        ("gemini-3.1-flash-image", json!({ "aspectRatio": "1:1", "imageSize": "2K" }), (2048, 2048)),
        (FIRST, json!({}), (1024, 1024)),
    ];
    for (model, config, size) in cases {
        let mut body = asking("a boat");
        body["generationConfig"]["imageConfig"] = config.clone();
        let (status, answer) = ask(&simulator, model, &body).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(first_size(&answer), Some(size), "{model} {config}");
        assert_eq!(answer["candidates"][0]["finishReason"], "STOP");
        assert_eq!(answer["modelVersion"], model);
        let usage = &answer["usageMetadata"];
        let number = |name: &str| usage[name].as_u64().unwrap_or(0);
        let parts = number("promptTokenCount") + number("candidatesTokenCount") + number("thoughtsTokenCount");
        assert_eq!(number("totalTokenCount"), parts);
    }
}

#[tokio::test]
async fn a_picture_comes_in_and_gives_its_ratio() {
    let simulator = Simulator::start().await;
    let mut body = asking("turn the wall green");
    let image = json!({ "inlineData": { "mimeType": "image/png", "data": base64(&picture(96, 160)) } });
    body["contents"][0]["parts"].as_array_mut().unwrap().push(image);
    let (status, answer) = ask(&simulator, FIRST, &body).await;
    assert_eq!((status, first_size(&answer)), (200, Some((768, 1344))));
    assert_eq!(answer["usageMetadata"]["promptTokensDetails"][1]["modality"], "IMAGE");
    assert_ne!(answer, ask(&simulator, FIRST, &asking("turn the wall green")).await.1);
    let data = &mut body["contents"][0]["parts"][1]["inlineData"]["data"];
    *data = json!(data.as_str().unwrap().replace('+', "-").replace('/', "_").trim_end_matches('='));
    assert_eq!(ask(&simulator, FIRST, &body).await.0, 200, "the other alphabet is base64, too");
}

#[tokio::test]
async fn wrong_requests_are_refused() {
    let simulator = Simulator::start().await;
    let config = |config: Value| {
        let mut body = asking("a boat");
        body["generationConfig"] = config;
        body
    };
    let image = |inline: Value| json!({ "contents": [{ "parts": [{ "text": "x" }, { "inlineData": inline }] }] });
    let cases = [
        json!([]),
        json!({}),
        json!({ "contents": [] }),
        json!({ "contents": [{ "parts": [] }] }),
        json!({ "contents": [{ "role": "system", "parts": [{ "text": "x" }] }] }),
        json!({ "contents": [{ "parts": [{ "text": "x" }] }], "prompt": "x" }),
        config(json!({ "imageConfig": { "aspectRatio": "5:3" } })),
        config(json!({ "imageConfig": { "imageSize": "1K" } })),
        config(json!({ "imageConfig": { "personGeneration": "ALLOW_ALL" } })),
        config(json!({ "candidateCount": 2 })),
        config(json!({ "responseModalities": ["PICTURE"] })),
        config(json!({ "n": 2 })),
        image(json!({ "mimeType": "image/png", "data": "nonsense" })),
        image(json!({ "mimeType": "image/jpeg", "data": base64(&picture(4, 4)) })),
        image(json!({ "mimeType": "image/png", "data": crate::data_uri(&picture(4, 4)) })),
    ];
    for body in cases {
        let (status, answer) = ask(&simulator, FIRST, &body).await;
        assert_eq!((status, answer["error"]["status"].as_str()), (400, Some("INVALID_ARGUMENT")), "{body}");
    }
    for model in ["gemini-2.5-flash", "gone"] {
        let (status, answer) = ask(&simulator, model, &asking("x")).await;
        assert_eq!((status, answer["error"]["status"].as_str()), (404, Some("NOT_FOUND")));
    }
}

#[tokio::test]
async fn refusals_come_with_200_in_every_form() {
    let simulator = Simulator::start().await;
    let mut reasons = Vec::new();
    for form in 0..Vendor::Gemini.refusals() {
        simulator.fail(Fault::RefusedAs(form));
        let (status, answer) = ask(&simulator, FIRST, &asking("x")).await;
        assert_eq!(status, 200);
        let reason = if let Some(reason) = answer["promptFeedback"]["blockReason"].as_str() {
            assert!(answer.get("candidates").is_none());
            format!("prompt {reason}")
        } else {
            assert!(answer["candidates"][0]["content"]["parts"].is_null());
            format!("picture {}", answer["candidates"][0]["finishReason"].as_str().unwrap())
        };
        reasons.push(reason);
    }
    for reason in ["prompt PROHIBITED_CONTENT", "picture SAFETY", "picture IMAGE_SAFETY", "picture RECITATION"] {
        assert!(reasons.contains(&reason.to_owned()), "{reasons:?}");
    }
    simulator.fail(Fault::NoPicture(6));
    let (_, answer) = ask(&simulator, FIRST, &asking("x")).await;
    assert!(answer["candidates"][0]["content"]["parts"][0]["text"].is_string());
}

#[tokio::test]
async fn failures_are_those_of_google() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::RateLimitAs(provider_sim::Spelling::Body, 31_200));
    let (status, answer) = ask(&simulator, FIRST, &asking("x")).await;
    assert_eq!((status, answer["error"]["status"].as_str()), (429, Some("RESOURCE_EXHAUSTED")));
    assert_eq!(answer["error"]["details"][1]["retryDelay"], "31.2s");
    simulator.fail(Fault::RateLimit(Some(31)));
    assert_eq!(ask(&simulator, FIRST, &asking("x")).await.1["error"]["details"][1]["retryDelay"], "31s");
    simulator.fail(Fault::Quota);
    let quota = ask(&simulator, FIRST, &asking("x")).await.1;
    assert!(quota["error"]["details"][0]["violations"][0]["quotaId"].as_str().unwrap().contains("PerDay"));
    simulator.fail(Fault::InvalidKey);
    let path = format!("/models/{FIRST}:generateContent?key=x");
    let answer = post(&simulator, Vendor::Gemini, &path, &asking("x")).await.1;
    assert_eq!(answer["error"]["details"][0]["reason"], "API_KEY_INVALID");
    simulator.set(Behaviour::failing(Fault::Status(503)).with_shape(1));
    assert_eq!(ask(&simulator, FIRST, &asking("x")).await.1[0]["error"]["code"], 503);
}

#[tokio::test]
async fn other_shapes_are_snake_case_and_drafts() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::default().with_shape(1));
    let (_, answer) = ask(&simulator, FIRST, &asking("x")).await;
    assert!(answer["candidates"][0]["content"]["parts"][0]["inline_data"]["data"].is_string());
    simulator.set(Behaviour::default().with_shape(2));
    let (_, answer) = ask(&simulator, "gemini-3-pro-image", &asking("x")).await;
    let parts = &answer["candidates"][0]["content"]["parts"];
    assert_eq!(parts[0]["thought"], true);
    assert!(parts[1]["thoughtSignature"].is_string());
    assert_ne!(parts[0]["inlineData"]["data"], parts[1]["inlineData"]["data"]);
}

#[tokio::test]
async fn the_stream_is_whole_chunks() {
    let simulator = Simulator::start().await;
    let path = format!("/models/{FIRST}:streamGenerateContent?alt=sse");
    let response = send(&simulator, Vendor::Gemini, &path, &asking("x")).await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let text = response.text().await.unwrap();
    let chunks: Vec<Value> =
        text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect();
    assert_eq!(chunks.len(), 2);
    assert_eq!(first_size(&chunks[0]), Some((1024, 1024)));
    assert_eq!(chunks[1]["candidates"][0]["finishReason"], "STOP");
    let whole = path.replace("?alt=sse", "");
    let list = post(&simulator, Vendor::Gemini, &whole, &asking("x")).await.1;
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_vendors_own_paths_lead_here_too() {
    let simulator = Simulator::start().await;
    let host = format!("http://{}", simulator.address());
    let client = crate::client(std::time::Duration::from_secs(5));
    for path in [format!("/v1beta/models/{FIRST}"), "/v1beta/models".to_owned()] {
        assert_eq!(client.get(format!("{host}{path}")).send().await.unwrap().status(), 200, "{path}");
    }
    let post = client.post(format!("{host}/v1/models/{FIRST}:generateContent")).json(&asking("x"));
    assert_eq!(post.send().await.unwrap().status(), 200);
    assert_eq!(client.get(format!("{host}/v1beta/nothing")).send().await.unwrap().status(), 404);
    assert_eq!(simulator.counts_of(Vendor::Gemini).lookups, 2);
}
