//! What must never be read in the log: prompts, keys, pictures.

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};

use crate::easel::Easel;
use crate::upstreams::in_order;

const PROMPT_CANARY: &str = "canary-of-a-prompt";
const KEY_CANARY: &str = "sk-canary-of-a-key";

/// Requests that go well, go wrong at the provider, and go wrong here.
async fn live_through_everything(easel: &Easel, upstream: &Simulator) {
    let wish = |more: Value| {
        let mut wish = json!({ "prompt": PROMPT_CANARY, "negative_prompt": PROMPT_CANARY, "size": "64x48" });
        if let (Some(wish), Value::Object(more)) = (wish.as_object_mut(), more) {
            wish.extend(more);
        }
        wish
    };
    for fault in [None, Some(Fault::Status(401)), Some(Fault::Refused), Some(Fault::Html), Some(Fault::Reset)] {
        upstream.set(Behaviour { fault, ..Behaviour::default().with_key(KEY_CANARY) });
        easel.generate(&wish(json!({}))).await;
    }
    upstream.set(Behaviour::default().with_key(KEY_CANARY));
    easel.generate(&wish(json!({ "n": 0 }))).await;
    easel.generate(&wish(json!({ "model": "gone" }))).await;
    easel.post("/api/generate-image", "application/json", format!("{{{PROMPT_CANARY}")).await;
    easel.get(&format!("/api/image-models?prompt={PROMPT_CANARY}")).await;
}

async fn log_at(level: &str, prompts: &str) -> String {
    let upstream = Simulator::start().await;
    let config = in_order(&[&upstream], r#"attempts = 2, backoff = "1ms""#)
        .replace("[providers.first.config]\n", "[providers.first.config]\napi_key = { env = \"CANARY_KEY\" }\n");
    let variables = [("CANARY_KEY", KEY_CANARY), ("EASEL_LOG__LEVEL", level), ("EASEL_LOG__PROMPTS", prompts)];
    let mut easel = Easel::start_with(&config, &variables).await;
    live_through_everything(&easel, &upstream).await;
    easel.terminate();
    easel.ended().await;
    easel.log()
}

#[tokio::test]
async fn prompts_keys_and_pictures_are_not_in_the_log() {
    for level in ["info", "debug", "trace"] {
        let log = log_at(level, "false").await;
        assert!(log.lines().count() > 5, "{level}: nothing is logged:\n{log}");
        for (what, canary) in [("prompt", PROMPT_CANARY), ("key", KEY_CANARY), ("picture", "iVBORw0KGgo")] {
            let line = log.lines().find(|line| line.contains(canary));
            assert!(line.is_none(), "{level}: a {what} is in the log: {}", line.unwrap_or_default());
        }
    }
}

#[tokio::test]
async fn a_prompt_in_the_place_of_a_field_is_not_in_the_log_either() {
    // At debug the field that was refused is named; at info it must not be.
    let upstream = Simulator::start().await;
    let mut easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    easel.generate(&json!({ PROMPT_CANARY: 1 })).await.assert_problem(422, "unknown_field");
    easel.terminate();
    easel.ended().await;
    assert!(!easel.log().contains(PROMPT_CANARY), "{}", easel.log());
}

#[tokio::test]
async fn prompts_are_in_the_log_where_that_is_asked_for() {
    // Without this the test above could not fail.
    assert!(log_at("info", "true").await.contains(PROMPT_CANARY));
}

#[tokio::test]
async fn a_request_is_one_line_of_json_with_its_id() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    let answer = easel.generate(&json!({ "prompt": "a fox", "size": "64x48" })).await;
    let id = answer.header("x-request-id").to_owned();
    assert!(!id.is_empty());
    assert!(easel.logs(&id).await);
    let log = easel.log();
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(&id)).collect();
    assert_eq!(lines.len(), 1, "{log}");
    let line: Value = serde_json::from_str(lines[0]).unwrap();
    assert!(line.to_string().contains("first"), "{line}");
}
