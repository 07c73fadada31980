//! The configurations that ship, against an upstream that keeps its vendor's rules: an unknown field is refused there.

use provider_sim::{Behaviour, Simulator, Vendor};
use serde_json::json;

use crate::easel::Easel;
use crate::upstreams::PROMPT;

const KEY: &str = "sk-of-a-test";

/// The default configuration as it is, but for where `OpenAI` is and that there is no engine.
async fn with_openai_at(upstream: &Simulator) -> Easel {
    upstream.set(Behaviour::default().with_key(KEY));
    let base_url = upstream.base_url();
    let variables = [("OPENAI_API_KEY", KEY), ("EASEL_PROVIDERS__OPENAI__CONFIG__BASE_URL", base_url.as_str())];
    Easel::start_with("providers.local.enabled = false", &variables).await
}

#[tokio::test]
async fn every_shipped_model_of_openai_is_asked_in_a_way_that_its_vendor_takes() {
    let upstream = Simulator::start().await;
    let easel = with_openai_at(&upstream).await;
    let listed = easel.get("/api/image-models").await;
    let models = listed.body["providers"]["openai"]["models"].as_array().unwrap().clone();
    assert!(!models.is_empty(), "{}", listed.body);
    for model in models {
        let key = model["key"].as_str().unwrap();
        for (size, pixels) in [(None, (1024, 1024)), (Some("1536x1024"), (1536, 1024))] {
            let mut wish = json!({
                "prompt": PROMPT, "model": format!("openai/{key}"), "n": 2, "negative_prompt": "dull", "seed": 7,
                "steps": 4, "guidance_scale": 2.0, "scheduler": "euler",
            });
            if let Some(size) = size {
                wish["size"] = json!(size);
            }
            let answer = easel.generate(&wish).await;
            assert_eq!(answer.pictures(), [pixels, pixels], "{key}");
            let ignored = ["seed", "negative_prompt", "steps", "guidance_scale", "scheduler"];
            let told = answer.body["ignored"].as_array().unwrap();
            assert!(ignored.iter().all(|wish| told.contains(&json!(wish))) && told.len() == 5, "{key}: {told:?}");
            assert_eq!(answer.body["images"][0]["seed"], json!(null), "{key}: a seed that was not sent is told");
        }
    }
}

#[tokio::test]
async fn the_upstream_gets_the_wish_the_key_and_the_id_and_nothing_else() {
    let upstream = Simulator::start().await;
    let easel = with_openai_at(&upstream).await;
    let answer = easel.generate(&json!({ "prompt": PROMPT, "size": "1024x1024" })).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let requests = upstream.requests();
    let sent = requests.first().unwrap();
    let model = answer.body["model"].clone();
    assert_eq!(sent.json(), json!({ "model": model, "prompt": PROMPT, "n": 1, "size": "1024x1024" }));
    assert_eq!(sent.header("authorization"), Some(format!("Bearer {KEY}").as_str()));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(sent.header("x-client-request-id"), Some(answer.header("x-request-id")));
    assert!(sent.header("user-agent").is_some_and(|agent| agent.starts_with("easel/")));
    for header in ["cookie", "origin", "referer", "x-forwarded-for"] {
        assert_eq!(sent.header(header), None);
    }
}

#[tokio::test]
async fn every_shipped_model_of_gemini_is_asked_in_a_way_that_its_vendor_takes_and_has_a_price() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::default().with_key(KEY));
    let base_url = upstream.url(Vendor::Gemini);
    let variables = [("GEMINI_API_KEY", KEY), ("EASEL_PROVIDERS__GEMINI__CONFIG__BASE_URL", base_url.as_str())];
    let easel = Easel::start_with("providers.local.enabled = false", &variables).await;
    let listed = easel.get("/api/image-models").await;
    let models = listed.body["providers"]["gemini"]["models"].as_array().unwrap().clone();
    assert!(!models.is_empty(), "{}", listed.body);
    for model in models {
        let key = model["key"].as_str().unwrap();
        let wide = if key.starts_with("gemini-2.5") { (1344, 768) } else { (1376, 768) };
        let exact = json!(format!("{}x{}", wide.0, wide.1));
        for (name, value, pixels) in
            [("seed", json!(7), (1024, 1024)), ("aspect_ratio", json!("16:9"), wide), ("size", exact, wide)]
        {
            let mut wish = json!({
                "prompt": PROMPT, "model": format!("gemini/{key}"), "negative_prompt": "dull", "steps": 4,
                "guidance_scale": 2.0, "scheduler": "euler",
            });
            wish[name] = value;
            let answer = easel.generate(&wish).await;
            assert_eq!(answer.pictures(), [pixels], "{key} {name}");
            let told = answer.body["ignored"].as_array().unwrap();
            assert_eq!(told.len(), 4, "{key}: {told:?}");
            let cost = answer.body["cost_usd"].as_f64().unwrap_or_default();
            assert!((0.03..0.2).contains(&cost), "{key}: {}", answer.body["cost_usd"]);
        }
    }
}

#[tokio::test]
async fn the_demonstration_shows_the_stand_in_and_then_what_falls_back() {
    let upstream = Simulator::start().await;
    let base_url = upstream.base_url();
    let demo = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.toml"));
    let variables = [("EASEL_PROVIDERS__DEMO__CONFIG__BASE_URL", base_url.as_str())];
    let easel = Easel::start_with(demo, &variables).await;
    let answer = easel.generate(&json!({ "prompt": PROMPT, "size": "96x64" })).await;
    assert_eq!(answer.pictures(), [(96, 64)]);
    assert_eq!(answer.body["provider"], "demo");
}
