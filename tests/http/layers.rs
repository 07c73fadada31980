//! What the layers around a provider do, seen over HTTP.

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};
use std::time::Duration;

use crate::test_app::{Answer, TestApp, client, read};

/// A provider `sim` with this policy.
fn config(simulator: &Simulator, policy: &str) -> String {
    format!(
        r#"
[providers.sim]
kind = "openai_compat"
policy = {{ {policy} }}
[providers.sim.config]
base_url = "{}"
[providers.sim.config.models.any]
id = "sim-any"
size = "64x64"
"#,
        simulator.base_url()
    )
}

fn wish() -> Value {
    json!({ "prompt": "a canary in a canary yellow room" })
}

async fn health(app: &TestApp) -> Value {
    app.get("/api/image-providers/health").await.json()["providers"][0].clone()
}

async fn metrics(app: &TestApp) -> String {
    let answer = app.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    String::from_utf8(answer.bytes).expect("text")
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
}

#[track_caller]
fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().expect("Retry-After in seconds")
}

#[tokio::test]
async fn a_provider_that_fails_repeatedly_is_not_asked_until_one_request_finds_it_well() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::Status(500));
    let policy = r#"breaker = { failures = 3, cooldown = "1s" }"#;
    let app = TestApp::start(&config(&simulator, policy));
    assert_eq!(health(&app).await["breaker"], json!({ "state": "closed", "until_ms": null }));
    for _ in 0..3 {
        app.generate(&wish()).await.problem(503, "provider_unavailable");
    }
    let answer = app.generate(&wish()).await;
    let problem = answer.problem(503, "nothing_available");
    assert_eq!((problem["attempts"][0]["reason"].as_str(), retry_after(&answer)), (Some("breaker_open"), 1));
    assert_eq!(simulator.hits(), 3);
    let open = health(&app).await;
    assert_eq!((&open["breaker"]["state"], &open["reason_code"]), (&json!("open"), &json!("breaker_open")));
    assert!(open["breaker"]["until_ms"].is_u64() && open["setup"].is_string(), "{open}");
    app.get("/readyz").await.problem(503, "nothing_available");
    assert_eq!(app.get("/api/image-models").await.json()["current_model"], Value::Null);
    let counted = metrics(&app).await;
    has(&counted, "easel_provider_breaker_state{provider=\"sim\"} 2");
    has(&counted, "easel_provider_available{provider=\"sim\"} 0");
    has(&counted, "easel_provider_breaker_opened_total{provider=\"sim\"} 1");

    tokio::time::sleep(Duration::from_millis(1050)).await;
    // Nobody asked it meanwhile.
    assert_eq!(simulator.hits(), 3);
    simulator.set(Behaviour::default());
    assert_eq!(health(&app).await["breaker"]["state"], "half_open");
    assert_eq!(app.generate(&wish()).await.status, 200);
    assert_eq!(health(&app).await["breaker"]["state"], "closed");
    assert_eq!(simulator.hits(), 4);
}

#[tokio::test]
async fn a_providers_own_limit_is_a_503_without_a_call_that_says_when_to_come_back() {
    let simulator = Simulator::start().await;
    let app = TestApp::start(&config(&simulator, "requests_per_minute = 1, max_concurrent = 2"));
    assert_eq!(app.generate(&wish()).await.status, 200);
    let answer = app.generate(&wish()).await;
    let problem = answer.problem(503, "provider_rate_limited");
    assert!((55..=60).contains(&retry_after(&answer)), "{problem}");
    assert_eq!((simulator.hits(), &problem["attempts"][0]["calls"]), (1, &json!(0)));
    let left = json!({
        "requests_per_minute": 1, "requests_left": 0, "max_concurrent": 2, "places_left": 2, "waiting": 0,
        "keys": 1, "keys_resting": 0,
    });
    assert_eq!(health(&app).await["rate_limit"], left);
}

#[tokio::test]
async fn what_happened_is_counted_and_nothing_that_anybody_wrote_is_in_it() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::Status(500)).times(1));
    let app = TestApp::start(&config(&simulator, r#"attempts = 2, backoff = "1ms""#));
    assert_eq!(app.generate(&wish()).await.status, 200);
    assert_eq!(app.generate(&json!({ "prompt": "canary", "model": "canary" })).await.status, 404);
    assert_eq!(app.get("/canary?canary=1").await.status, 404);
    let counted = metrics(&app).await;
    for line in [
        "easel_provider_requests_total{provider=\"sim\",model=\"any\",outcome=\"ok\"} 1",
        "easel_provider_upstream_calls_total{provider=\"sim\",model=\"any\"} 2",
        "easel_provider_retries_total{provider=\"sim\"} 1",
        "easel_provider_requests_in_flight{provider=\"sim\"} 0",
        "easel_provider_available{provider=\"sim\"} 1",
        "easel_http_requests_total{route=\"/api/generate-image\",status=\"200\"} 1",
        "easel_http_requests_total{route=\"/api/generate-image\",status=\"404\"} 1",
        "easel_http_requests_total{route=\"other\",status=\"404\"} 1",
        "# EOF",
    ] {
        has(&counted, line);
    }
    assert!(!counted.contains("canary") && !counted.contains("127.0.0.1"), "{counted}");
}

#[tokio::test]
async fn the_figures_are_an_administrators() {
    let simulator = Simulator::start().await;
    let with_token = format!(
        "[server]\naddress = \"127.0.0.1:0\"\nadmin_token = {{ env = \"CARGO_PKG_NAME\" }}\n{}",
        config(&simulator, "")
    );
    let app = TestApp::start(&with_token);
    let refused = app.get("/metrics").await;
    refused.problem(401, "unauthorized");
    let with = |token: &str| client().get(app.at("/metrics")).header("authorization", format!("Bearer {token}"));
    assert_eq!(read(with("other")).await.status, 401);
    assert_eq!(read(with("easel")).await.status, 200);
    let document = app.get("/api-docs/openapi.json").await.json();
    let responses = &document["paths"]["/metrics"]["get"]["responses"];
    assert!(responses["200"]["content"]["application/openmetrics-text"].is_object(), "{responses}");
    assert!(responses["401"].is_object() && responses["403"].is_object(), "{responses}");
}
