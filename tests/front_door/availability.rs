//! Nothing can make a picture: the page still gets its list, and everybody is told what to do.

use provider_sim::{Behaviour, Simulator};
use serde_json::json;

use crate::easel::Easel;
use crate::upstreams::{NO_DEFAULTS, PROMPT, in_order};

/// Two providers whose keys are not set.
const WITHOUT_KEYS: &str = r#"
[providers.alpha]
kind = "openai_compat"
priority = 1
default_model = "any"
config.base_url = "http://127.0.0.1:9/v1"
config.api_key = { env = "ALPHA_KEY_OF_A_TEST" }
config.models.any = { id = "any", name = "Any" }

[providers.beta]
kind = "openai_compat"
priority = 2
default_model = "any"
config.base_url = "http://127.0.0.1:9/v1"
config.api_key = { env = "BETA_KEY_OF_A_TEST" }
config.models.any = { id = "any", name = "Any" }
"#;

#[tokio::test]
async fn with_nothing_available_the_list_is_drawn_and_a_picture_is_503_with_every_remedy() {
    let easel = Easel::start(&format!("{NO_DEFAULTS}{WITHOUT_KEYS}")).await;
    let models = easel.get("/api/image-models").await;
    assert_eq!(models.status, 200);
    assert_eq!(models.body["current_provider"], json!(null));
    assert_eq!(models.body["current_model"], json!(null));
    let error = models.body["error"].as_str().unwrap();
    let refused = easel.generate(&json!({ "prompt": PROMPT })).await;
    refused.assert_problem(503, "nothing_available");
    let told = format!("{} {}", refused.body["detail"], refused.body["hint"]);
    for (provider, variable) in [("alpha", "ALPHA_KEY_OF_A_TEST"), ("beta", "BETA_KEY_OF_A_TEST")] {
        let entry = &models.body["providers"][provider];
        assert_eq!(entry["available"], false);
        assert!(entry["reason"].is_string() && entry["setup"].as_str().unwrap().contains(variable), "{entry}");
        assert_eq!(entry["models"], json!([]));
        assert!(error.contains(provider) && error.contains(variable), "{error}");
        assert!(told.contains(variable), "{told}");
    }
    let attempts = refused.attempts();
    assert!(attempts.len() == 2 && attempts.iter().all(|line| line.contains(" unavailable ")), "{attempts:?}");
    assert_eq!(easel.get("/healthz").await.status, 200);
    assert_eq!(easel.get("/readyz").await.status, 503);
}

#[tokio::test]
async fn every_provider_is_listed_and_its_models_on_request() {
    let easel = Easel::start(&format!("{NO_DEFAULTS}{WITHOUT_KEYS}")).await;
    let all = easel.get("/api/image-models?all=true").await;
    assert_eq!(all.body["providers"]["alpha"]["models"][0]["key"], "any", "{}", all.body);
}

#[tokio::test]
async fn a_key_in_the_environment_is_all_that_a_provider_needs() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::default().with_key("sk-of-a-test"));
    let config = in_order(&[&upstream], "attempts = 1").replace(
        "[providers.first.config]\n",
        "[providers.first.config]\napi_key = { env = \"FIRST_KEY_OF_A_TEST\" }\n",
    );
    let easel = Easel::start(&config).await;
    easel.generate(&json!({ "prompt": PROMPT })).await.assert_problem(503, "nothing_available");
    assert_eq!(upstream.hits(), 0, "it asked without a key");
    let easel = Easel::start_with(&config, &[("FIRST_KEY_OF_A_TEST", "sk-of-a-test\n")]).await;
    let answer = easel.generate(&json!({ "prompt": PROMPT, "size": "64x48" })).await;
    assert_eq!(answer.pictures(), [(64, 48)]);
    assert_eq!(easel.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_defaults_name_every_remedy() {
    let nowhere = r#"library.roots = ["/nonexistent"]"#;
    let easel = Easel::start(nowhere).await;
    let models = easel.get("/api/image-models").await;
    for provider in ["gemini", "local", "openai", "runware"] {
        let entry = &models.body["providers"][provider];
        assert_eq!(entry["available"], false, "{entry}");
        assert!(entry["setup"].as_str().is_some_and(|setup| !setup.is_empty()), "{entry}");
    }
    let refused = easel.generate(&json!({ "prompt": PROMPT })).await;
    refused.assert_problem(503, "nothing_available");
    assert!(refused.body.to_string().contains("OPENAI_API_KEY"), "{}", refused.body);
}
