//! The stand-in refuses what its vendor refuses, in its words and shape.

use provider_sim::{Behaviour, Simulator};
use serde_json::{Value, json};

fn client() -> reqwest::Client {
    crate::client(std::time::Duration::from_secs(10))
}

async fn post(simulator: &Simulator, body: String) -> (u16, Value) {
    let url = format!("{}/images/generations", simulator.base_url());
    let request = client().post(url).header("content-type", "application/json").body(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

#[tokio::test]
async fn wrong_requests_are_refused_by_parameter() {
    let simulator = Simulator::start().await;
    let cases = [
        (json!({}), "prompt", "missing_required_parameter"),
        (json!({ "prompt": "" }), "prompt", "missing_required_parameter"),
        (json!({ "prompt": 5 }), "prompt", "invalid_type"),
        (json!({ "prompt": "p", "n": 0 }), "n", "integer_below_min_value"),
        (json!({ "prompt": "p", "n": -5 }), "n", "integer_below_min_value"),
        (json!({ "prompt": "p", "n": 11 }), "n", "integer_above_max_value"),
        (json!({ "prompt": "p", "n": 2, "model": "dall-e-3" }), "n", "integer_above_max_value"),
        (json!({ "prompt": "p", "n": 1.5 }), "n", "invalid_type"),
        (json!({ "prompt": "p", "size": "5x5" }), "size", "invalid_value"),
        (json!({ "prompt": "p", "size": "large" }), "size", "invalid_value"),
        (json!({ "prompt": "p", "size": "4096x4096", "model": "gpt-image-2" }), "size", "invalid_value"),
        (json!({ "prompt": "p", "size": "1000x1000", "model": "gpt-image-2" }), "size", "invalid_value"),
        (json!({ "prompt": "p", "response_format": "b64_json" }), "response_format", "unknown_parameter"),
        (json!({ "prompt": "p", "seed": 7 }), "seed", "unknown_parameter"),
        (json!({ "prompt": "p", "model": "gone" }), "model", "model_not_found"),
        (json!({ "prompt": "p".repeat(1_001), "model": "dall-e-2" }), "prompt", "string_above_max_length"),
    ];
    for (body, param, code) in cases {
        let (status, answer) = post(&simulator, body.to_string()).await;
        assert_eq!(status, if code == "model_not_found" { 404 } else { 400 }, "{body}");
        assert_eq!(answer["error"]["param"], param, "{body}");
        assert_eq!(answer["error"]["code"], code, "{body}");
    }
    let (status, answer) = post(&simulator, "{".to_owned()).await;
    assert_eq!((status, answer["error"]["type"].as_str()), (400, Some("invalid_request_error")));
}

#[tokio::test]
async fn families_answer_in_their_own_way() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour { size: Some((64, 64)), ..Behaviour::default() });
    let (_, gpt) = post(&simulator, json!({ "model": "gpt-image-1.5", "prompt": "p" }).to_string()).await;
    assert!(gpt["data"][0]["b64_json"].is_string());
    assert!(gpt["usage"]["input_tokens_details"]["text_tokens"].is_u64());
    let (_, dalle) = post(&simulator, json!({ "model": "dall-e-2", "prompt": "p" }).to_string()).await;
    assert!(dalle["data"][0]["url"].is_string());
    assert_eq!(dalle["usage"], Value::Null);
    let free = json!({ "model": "sim-any", "prompt": "p", "seed": 7, "steps": 4, "size": "8x24" });
    let (status, any) = post(&simulator, free.to_string()).await;
    assert_eq!(status, 200);
    assert!(any["data"][0]["b64_json"].is_string());
}

#[tokio::test]
async fn a_key_is_asked_for_where_one_is_set() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::default().with_key("sk-right"));
    let url = format!("{}/images/generations", simulator.base_url());
    let body = json!({ "model": "sim-any", "prompt": "p", "size": "8x8" });
    for (key, status) in [("sk-wrong", 401), ("sk-right", 200)] {
        let response = client().post(&url).bearer_auth(key).json(&body).send().await.unwrap();
        assert_eq!(response.status(), status, "{key}");
    }
    assert_eq!(client().post(&url).json(&body).send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn models_are_listed_and_other_paths_are_not_there() {
    let simulator = Simulator::start().await;
    let list: Value =
        client().get(format!("{}/models", simulator.base_url())).send().await.unwrap().json().await.unwrap();
    assert!(list["data"].as_array().unwrap().iter().any(|model| model["id"] == "gpt-image-1.5"));
    let missing = client().get(format!("{}/chat", simulator.base_url())).send().await.unwrap();
    assert_eq!(missing.status(), 404);
}

#[tokio::test]
async fn the_admin_page_reads_sets_and_resets() {
    let simulator = Simulator::start().await;
    let admin = format!("http://{}/admin", simulator.address());
    let set = client().post(&admin).json(&json!({ "fault": "status:503", "times": 1, "delay": "5ms" }));
    assert_eq!(set.send().await.unwrap().status(), 200);
    let body = json!({ "model": "sim-any", "prompt": "p", "size": "8x8" }).to_string();
    assert_eq!(post(&simulator, body.clone()).await.0, 503);
    assert_eq!(post(&simulator, body).await.0, 200);
    let state: Value = client().get(&admin).send().await.unwrap().json().await.unwrap();
    assert_eq!(state["counts"]["hits"], 2);
    assert_eq!(state["behaviour"]["times"], 0);
    let wrong = client().post(&admin).json(&json!({ "fault": "explode" })).send().await.unwrap();
    assert_eq!(wrong.status(), 400);
    let reset: Value = client().delete(&admin).send().await.unwrap().json().await.unwrap();
    assert_eq!(reset["counts"]["hits"], 0);
    assert_eq!(reset["behaviour"]["fault"], Value::Null);
}

#[tokio::test]
async fn a_stopped_stand_in_refuses_connections() {
    let simulator = Simulator::start().await;
    let url = format!("{}/models", simulator.base_url());
    simulator.stop();
    assert!(client().get(url).send().await.unwrap_err().is_connect());
}
