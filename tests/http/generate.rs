//! `POST /api/generate-image` and the lists beside it, asked through the front door.

use std::time::Duration;

use crate::test_app::{TestApp, client, read};
use base64::Engine as _;
use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};

/// One provider at a stand-in.
fn upstream(simulator: &Simulator, more: &str) -> String {
    format!(
        r#"
[providers.sim]
kind = "openai_compat"
priority = 1
description = "a stand-in"
aliases = ["stand-in"]
[providers.sim.config]
base_url = "{}"
[providers.sim.config.models.small]
id = "sim-any"
size = "64x64"
supports_negative_prompt = false
{more}
"#,
        simulator.base_url()
    )
}

#[tokio::test]
async fn a_prompt_alone_is_enough_and_the_answer_says_everything() {
    let simulator = Simulator::start().await;
    let app = TestApp::start(&upstream(&simulator, ""));
    let answer = app.generate(&json!({ "prompt": "a red circle", "n": 2, "negative_prompt": "blur", "seed": 7 })).await;
    let body = answer.json();
    assert_eq!(answer.status, 200, "{body}");
    let images = body["images"].as_array().expect("images");
    assert_eq!(images.len(), 2);
    for image in images {
        let file = base64::engine::general_purpose::STANDARD.decode(image["b64_json"].as_str().expect("base64"));
        assert!(file.expect("base64").starts_with(b"\x89PNG\r\n\x1a\n"));
        let rest =
            json!({ "url": image["url"], "mime_type": image["mime_type"], "size": [image["width"], image["height"]] });
        assert_eq!(rest, json!({ "url": null, "mime_type": "image/png", "size": [64, 64] }));
    }
    assert_eq!(body["provider"], "sim");
    assert_eq!(body["model"], "small");
    assert_eq!(body["requested"], json!({ "provider": null, "model": null }));
    assert_eq!(body["fallback"], json!({ "used": false, "policy": "auto" }));
    assert_eq!(body["ignored"], json!(["negative_prompt"]));
    assert_eq!(body["cache"], "miss");
    assert_eq!(body["attempts"][0]["outcome"], "ok");
    assert_eq!(body["attempts"][0]["reason"], Value::Null);
    assert!(body["timings_ms"]["total"].as_u64() >= body["timings_ms"]["overhead"].as_u64());
    assert_eq!(body["request_id"], answer.header("x-request-id"));
    assert_eq!(answer.header("x-easel-provider"), "sim");
    assert_eq!(answer.header("x-easel-model"), "small");
    assert_eq!(answer.header("x-easel-attempts"), "sim/small;outcome=ok;calls=1");
    assert_eq!(answer.header("x-easel-cache"), "miss");
    assert!(answer.header("server-timing").starts_with("total;dur="), "{}", answer.header("server-timing"));
    assert_eq!(answer.header("content-length"), answer.bytes.len().to_string());
}

#[tokio::test]
async fn fields_that_cannot_be_are_refused_by_name() {
    let app = TestApp::start("");
    let with = |field: &str, value: Value| {
        let mut body = json!({ "prompt": "x" });
        body[field] = value;
        body
    };
    let cases = [
        ("prompt", json!("")),
        ("prompt", json!(" \n\t")),
        ("prompt", json!(5)),
        ("prompt", json!("x".repeat(32_001))),
        ("prompt", json!("nul \0 inside")),
        ("negative_prompt", json!("x".repeat(32_001))),
        ("negative_prompt", json!(["x"])),
        ("provider", json!("")),
        ("model", json!(true)),
        ("fallback", json!("always")),
        ("n", json!(0)),
        ("n", json!(-5)),
        ("n", json!(11)),
        ("n", json!(100_000)),
        ("n", json!(1.5)),
        ("n", json!("2")),
        ("n", json!(1e300)),
        ("width", json!(0)),
        ("width", json!(-64)),
        ("width", json!(999_999_999)),
        ("size", json!("999999999x1")),
        ("size", json!("0x0")),
        ("size", json!("1024")),
        ("size", json!("+64x64")),
        ("size", json!("auto")),
        ("size", json!({ "width": 64 })),
        ("aspect_ratio", json!("16:0")),
        ("aspect_ratio", json!("1:99")),
        ("aspect_ratio", json!("wide")),
        ("seed", json!(-2)),
        ("seed", json!(9_007_199_254_740_992_i64)),
        ("seed", json!(u64::MAX)),
        ("seed", json!(0.5)),
        ("steps", json!(0)),
        ("steps", json!(1001)),
        ("guidance_scale", json!(-0.1)),
        ("guidance_scale", json!(1e9)),
        ("guidance_scale", json!("7")),
        ("scheduler", json!(" ")),
        ("strict", json!("yes")),
        ("output_format", json!("gif")),
        ("response_format", json!("bytes")),
        ("cache", json!("maybe")),
        ("timeout_ms", json!(0)),
        ("timeout_ms", json!(3_600_001)),
    ];
    for (field, value) in cases {
        let shown = format!("{field}: {}", &value.to_string().chars().take(40).collect::<String>());
        let problem = app.generate(&with(field, value)).await.problem(422, "invalid_field");
        assert_eq!(problem["field"], field, "{shown} → {problem}");
    }
}

#[tokio::test]
async fn what_this_build_does_not_do_yet_is_said_and_nothing_is_passed_over() {
    let app = TestApp::start("");
    for value in [json!([{}]), json!([{ "model": "canny" }]), json!({}), json!("canny"), json!(1), json!(false)] {
        let problem = app.generate(&json!({ "prompt": "x", "controlnets": value })).await.problem(422, "unsupported");
        assert_eq!(problem["field"], "controlnets", "{value}");
    }
    // Saying nothing in many words is fine, and gets as far as the providers, of which there are none.
    let nothing = json!({ "prompt": "x", "image": null, "loras": [], "controlnets": [], "reference_images": [], "seed": -1,
        "cache": "auto", "response_format": "b64_json", "n": 1.0, "width": null, "strict": false, "guidance_scale": 0 });
    app.generate(&nothing).await.problem(503, "nothing_available");
}

#[tokio::test]
async fn unknown_missing_double_and_contradicting_fields_are_told_apart() {
    let app = TestApp::start("");
    let problem = app.generate(&json!({ "prompt": "x", "promt": "y" })).await.problem(422, "unknown_field");
    assert_eq!((&problem["field"], &problem["hint"]), (&json!("promt"), &json!("did you mean `prompt`?")));
    let problem = app.generate(&json!({ "n": 1 })).await.problem(422, "missing_field");
    assert_eq!(problem["field"], "prompt");
    for body in [
        json!({ "prompt": "x", "size": "64x64", "aspect_ratio": "1:1" }),
        json!({ "prompt": "x", "size": "64x64", "width": 64, "height": 64 }),
        json!({ "prompt": "x", "aspect_ratio": "1:1", "width": 64 }),
    ] {
        app.generate(&body).await.problem(422, "conflicting_fields");
    }
    for (given, missing) in [("width", "height"), ("height", "width")] {
        let problem = app.generate(&json!({ "prompt": "x", given: 64 })).await.problem(422, "missing_field");
        assert_eq!(problem["field"], missing);
    }
    let twice = client().post(app.at("/api/generate-image")).header("content-type", "application/json");
    let problem = read(twice.body(r#"{"prompt":"x","n":1,"n":2}"#)).await.problem(422, "conflicting_fields");
    assert_eq!(problem["field"], "n");
}

#[tokio::test]
async fn an_unknown_name_is_answered_with_the_nearest() {
    let simulator = Simulator::start().await;
    let app = TestApp::start(&upstream(&simulator, ""));
    let problem = app.generate(&json!({ "prompt": "x", "model": "smal" })).await.problem(404, "unknown_model");
    assert_eq!(problem["candidates"][0], "sim/small", "{problem}");
    assert!(problem["hint"].as_str().expect("text").contains("sim/small"), "{problem}");
    let problem = app.generate(&json!({ "prompt": "x", "provider": "sin" })).await.problem(404, "unknown_provider");
    assert_eq!(problem["candidates"][0], "sim");
    assert_eq!(simulator.hits(), 0);
}

#[tokio::test]
async fn the_statuses_of_failures_are_ours_and_the_attempts_stand_beside_them() {
    let simulator = Simulator::start().await;
    for (fault, status, code) in [
        (Fault::Status(500), 503, "provider_unavailable"),
        (Fault::Status(401), 502, "provider_unauthorized"),
        (Fault::Quota, 503, "provider_quota_exhausted"),
        (Fault::Refused, 422, "content_rejected"),
        (Fault::Hang, 504, "provider_timeout"),
        (Fault::Reset, 503, "provider_unavailable"),
        (Fault::EmptyData, 502, "provider_no_image"),
        (Fault::Html, 502, "provider_protocol"),
        // Last, because the provider is not asked for as long as it says.
        (Fault::RateLimit(Some(7)), 503, "provider_rate_limited"),
    ] {
        // Each its own: what one failure leaves behind would hold the next request back.
        let app = TestApp::start(&upstream(&simulator, "[providers.sim.policy]\ntimeout = \"500ms\""));
        simulator.set(Behaviour::failing(fault));
        let answer = app.generate(&json!({ "prompt": "x", "provider": "sim", "n": 2 })).await;
        let problem = answer.problem(status, code);
        assert_eq!(problem["attempts"][0]["provider"], "sim", "{fault:?} {problem}");
        assert_eq!(problem["attempts"][0]["outcome"], "failed");
        if fault == Fault::RateLimit(Some(7)) {
            assert_eq!(answer.header("retry-after"), "7");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_upstream_call() {
    let simulator = Simulator::start().await;
    let app = TestApp::start(&upstream(&simulator, ""));
    simulator.set(Behaviour::failing(Fault::Hang));
    let request = client().post(app.at("/api/generate-image")).json(&json!({ "prompt": "x" }));
    let left = tokio::time::timeout(Duration::from_millis(500), request.send()).await;
    assert!(left.is_err(), "it hangs until the client has had enough");
    assert_eq!(simulator.hits(), 1);
    assert!(
        simulator.settles(Duration::from_secs(2), |counts| counts.in_flight == 0).await,
        "{:?}",
        simulator.counts()
    );
    assert_eq!(app.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn the_list_says_what_can_be_had_and_why_not() {
    let simulator = Simulator::start().await;
    let keyless = r#"
[providers.cloud]
kind = "openai_compat"
priority = 7
display_name = "A cloud"
[providers.cloud.config]
base_url = "http://127.0.0.1:9/v1"
api_key = { env = "EASEL_TEST_SURELY_UNSET" }
[providers.cloud.config.models.large]
id = "large"
"#;
    let app = TestApp::start(&upstream(&simulator, keyless));
    let body = app.get("/api/image-models").await.json();
    let names: Vec<&String> = body["providers"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["sim", "cloud"]);
    let (sim, cloud) = (&body["providers"]["sim"], &body["providers"]["cloud"]);
    assert_eq!((&sim["available"], &sim["reason"], &sim["setup"]), (&json!(true), &Value::Null, &Value::Null));
    assert_eq!((&sim["default_model"], &sim["priority"]), (&json!("small"), &json!(1)));
    let model = &sim["models"][0];
    assert_eq!(
        (&model["key"], &model["is_default"], &model["installed"]),
        (&json!("small"), &json!(true), &json!(true))
    );
    assert_eq!(model["capabilities"]["negative_prompt"], false);
    assert_eq!(model["defaults"]["width"], 64);
    assert_eq!((&cloud["available"], &cloud["models"]), (&json!(false), &json!([])));
    assert_eq!(cloud["reason_code"], "no_key");
    assert!(cloud["setup"].as_str().expect("text").contains("EASEL_TEST_SURELY_UNSET"), "{cloud}");
    assert_eq!((&body["current_provider"], &body["current_model"]), (&json!("sim"), &json!("small")));
    assert!(body.get("error").is_none());
    let all = app.get("/api/image-models?all=true").await.json();
    assert_eq!(all["providers"]["cloud"]["models"][0]["key"], "large");
    app.get("/api/image-models?all=perhaps").await.problem(422, "invalid_field");
    app.get("/api/image-models?al=true").await.problem(422, "unknown_field");
    assert_eq!(app.get("/readyz").await.status, 200);
    let health = app.get("/api/image-providers/health").await.json();
    assert_eq!(health["providers"][0]["name"], "sim");
    assert_eq!(health["providers"][1]["reason_code"], "no_key");
    assert_eq!(simulator.hits(), 0);

    let alone = TestApp::start(keyless);
    let answer = alone.get("/api/image-models").await;
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["current_model"], Value::Null);
    assert!(body["error"].as_str().expect("text").contains("EASEL_TEST_SURELY_UNSET"), "{body}");
    alone.get("/readyz").await.problem(503, "nothing_available");
    let problem = alone.generate(&json!({ "prompt": "x" })).await.problem(503, "nothing_available");
    assert!(problem["hint"].as_str().expect("text").contains("cloud: set EASEL_TEST_SURELY_UNSET"), "{problem}");
}

#[tokio::test]
async fn the_current_model_leads_and_is_kept_across_a_restart() {
    let simulator = Simulator::start().await;
    let two = upstream(&simulator, "[providers.sim.config.models.other]\nid = \"sim-any\"\nsize = \"64x64\"");
    let app = TestApp::start(&two);
    let set = app.post("/api/image-models/current", &json!({ "model": "sim/other" })).await;
    assert_eq!((set.status, set.json()), (200, json!({ "current_provider": "sim", "current_model": "other" })));
    let missing = app.post("/api/image-models/current", &json!({ "model": "sim/othr" })).await;
    assert_eq!(missing.problem(404, "unknown_model")["candidates"][0], "sim/other");
    assert_eq!(app.generate(&json!({ "prompt": "x" })).await.json()["model"], "other");
    let again = TestApp::start_in(&two, app.stop());
    assert_eq!(again.get("/api/image-models").await.json()["current_model"], "other");
}
