//! Requests that are wrong: each is refused in the documented shape, by name, and nobody is asked.

use provider_sim::Simulator;
use serde_json::{Value, json};

use crate::easel::{Easel, client};
use crate::upstreams::in_order;

async fn easel_and_upstream() -> (Easel, Simulator) {
    let upstream = Simulator::start().await;
    (Easel::start(&in_order(&[&upstream], "attempts = 1")).await, upstream)
}

fn with(name: &str, value: Value) -> Value {
    let mut wish = json!({ "prompt": "a fox" });
    wish[name] = value;
    wish
}

#[tokio::test]
async fn a_wrong_field_is_422_and_named() {
    let (easel, upstream) = easel_and_upstream().await;
    let cases = [
        ("n", json!(0)),
        ("n", json!(-5)),
        ("n", json!(1.5)),
        ("n", json!("2")),
        ("n", json!(100_000)),
        ("n", json!(4_294_967_297_u64)),
        ("width", json!(0)),
        ("width", json!(-64)),
        ("height", json!(4_000_000_000_u64)),
        ("size", json!("banana")),
        ("size", json!("64")),
        ("size", json!("0x64")),
        ("size", json!("999999999x1")),
        ("size", json!("99999999999999999999x1")),
        ("size", json!(64)),
        ("aspect_ratio", json!("1:0")),
        ("aspect_ratio", json!("wide")),
        ("seed", json!(-2)),
        ("seed", json!(9_007_199_254_740_992_u64)),
        ("seed", json!(0.5)),
        ("steps", json!(0)),
        ("steps", json!(-1)),
        ("guidance_scale", json!(-1)),
        ("guidance_scale", json!("7")),
        ("strict", json!("yes")),
        ("fallback", json!("maybe")),
        ("output_format", json!("gif")),
        ("response_format", json!("bytes")),
        ("output_quality", json!(101)),
        ("cache", json!("please")),
        ("on_disconnect", json!("stay")),
        ("timeout_ms", json!(0)),
        ("timeout_ms", json!(-1)),
        ("prompt", json!(5)),
        ("prompt", json!("")),
        ("prompt", json!(null)),
        ("prompt", json!("x".repeat(40_000))),
        ("negative_prompt", json!(["no"])),
    ];
    for (field, value) in cases {
        let answer = easel.generate(&with(field, value.clone())).await;
        let shown = value.to_string().chars().take(40).collect::<String>();
        assert_eq!(answer.status, 422, "{field} = {shown}: {}", answer.body);
        let code = answer.body["code"].as_str().unwrap_or_default();
        assert!(["invalid_field", "missing_field", "unsupported"].contains(&code), "{field} = {shown}: {code}");
        answer.assert_problem(422, code);
        let named = answer.body["field"] == field || answer.body["detail"].as_str().unwrap().contains(field);
        assert!(named, "{field} = {shown}: {}", answer.body);
    }
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn what_is_not_offered_yet_says_so() {
    let (easel, upstream) = easel_and_upstream().await;
    let answer = easel.generate(&with("controlnets", json!([{ "name": "a" }]))).await;
    answer.assert_problem(422, "unsupported");
    assert!(answer.body.to_string().contains("controlnets"), "{}", answer.body);
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn an_unknown_field_is_named_with_the_nearest_known_one() {
    let (easel, _upstream) = easel_and_upstream().await;
    for (wrong, right) in [("promt", "prompt"), ("guidance", "guidance_scale"), ("negativePrompt", "negative_prompt")] {
        let answer = easel.generate(&with(wrong, json!("x"))).await;
        answer.assert_problem(422, "unknown_field");
        let told = answer.body.to_string();
        assert!(told.contains(wrong), "{told}");
        let nearest = answer.body["candidates"][0] == right || answer.body["hint"].as_str().unwrap().contains(right);
        assert!(nearest, "{wrong}: {told}");
    }
    easel.generate(&json!({})).await.assert_problem(422, "missing_field");
}

#[tokio::test]
async fn fields_that_contradict_each_other_are_refused() {
    let (easel, _upstream) = easel_and_upstream().await;
    for wish in [
        json!({ "prompt": "a fox", "size": "64x64", "width": 64 }),
        json!({ "prompt": "a fox", "size": "64x64", "aspect_ratio": "1:1" }),
    ] {
        easel.generate(&wish).await.assert_problem(422, "conflicting_fields");
    }
}

#[tokio::test]
async fn an_unknown_name_is_404_with_the_nearest_first() {
    let (easel, upstream) = easel_and_upstream().await;
    let model = easel.generate(&with("model", json!("anny"))).await;
    model.assert_problem(404, "unknown_model");
    assert!(model.body["candidates"][0].as_str().unwrap().ends_with("any"), "{}", model.body);
    let provider = easel.generate(&with("provider", json!("frist"))).await;
    provider.assert_problem(404, "unknown_provider");
    assert_eq!(provider.body["candidates"][0], "first", "{}", provider.body);
    for strange in ["", "../../etc/passwd", "first/../any", "a/b/c", "\u{0}", "any\nany", &"x".repeat(5_000)] {
        let answer = easel.generate(&with("model", json!(strange))).await;
        assert!([404, 422].contains(&answer.status), "{strange:?}: {}", answer.body);
        answer.assert_problem(answer.status, answer.body["code"].as_str().unwrap());
        assert!(answer.bytes.len() < 4_000, "{strange:.20}: an error of {} bytes", answer.bytes.len());
    }
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn other_routes_and_methods_are_problems_too() {
    let (easel, _upstream) = easel_and_upstream().await;
    easel.get("/api/nothing").await.assert_problem(404, "not_found");
    let wrong = easel.get("/api/generate-image").await;
    wrong.assert_problem(405, "method_not_allowed");
    assert!(wrong.header("allow").contains("POST"), "{:?}", wrong.headers);
    let text = easel.post("/api/generate-image", "text/plain", r#"{"prompt":"a fox"}"#).await;
    text.assert_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_web_page_elsewhere_cannot_drive_it() {
    let (easel, upstream) = easel_and_upstream().await;
    let client = client();
    let url = easel.url("/api/generate-image");
    for (name, value, code) in [
        ("origin", "https://elsewhere.example", "origin_not_allowed"),
        ("origin", "null", "origin_not_allowed"),
        ("host", "elsewhere.example", "host_not_allowed"),
        ("host", "localhost.elsewhere.example", "host_not_allowed"),
    ] {
        let request = client.post(&url).header(name, value).json(&json!({ "prompt": "a fox" }));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 403, "{name}: {value}");
        assert_eq!(response.json::<Value>().await.unwrap()["code"], code, "{name}: {value}");
    }
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn pictures_that_cannot_be_used_are_refused_by_their_field() {
    let (easel, upstream) = easel_and_upstream().await;
    let small = picture(16, 16);
    for (fields, field) in [
        (json!({ "image": "data:image/png;base64,AAAA" }), "image"),
        (json!({ "image": "http://127.0.0.1:9/a.png" }), "image"),
        (json!({ "image": "https://2130706433/a.png" }), "image"),
        (json!({ "image": "file:///etc/hostname" }), "image"),
        (json!({ "image": small, "mask": picture(16, 8) }), "mask"),
        (json!({ "mask": small }), "image"),
        (json!({ "strength": 0.5 }), "image"),
        (json!({ "image": small, "strength": 1.5 }), "strength"),
        (json!({ "reference_images": [small, "x"] }), "reference_images[1]"),
        (json!({ "reference_images": vec![&small; 17] }), "reference_images"),
        (json!({ "loras": [{ "name": " " }] }), "loras[0].name"),
        (json!({ "loras": [{ "name": "a", "weight": 11 }] }), "loras[0].weight"),
        (json!({ "output_quality": 0 }), "output_quality"),
    ] {
        let mut body = json!({ "prompt": "a fox" });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let answer = easel.generate(&body).await;
        assert_eq!((answer.status, answer.body["field"].as_str()), (422, Some(field)), "{fields}: {}", answer.body);
    }
    assert_eq!(upstream.hits(), 0);
}

/// A whole PNG in base64.
fn picture(width: u32, height: u32) -> String {
    use base64::Engine as _;
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, height).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    base64::engine::general_purpose::STANDARD.encode(bytes.into_inner())
}
