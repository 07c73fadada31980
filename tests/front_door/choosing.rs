//! Who is asked first: by the file, by the environment, by the request. The rule itself is tested beside it.

use provider_sim::{Fault, Simulator};
use serde_json::{Value, json};

use crate::easel::Easel;
use crate::upstreams::{PROMPT, in_order};

fn wish() -> Value {
    json!({ "prompt": PROMPT, "size": "64x48" })
}

async fn who_answers(variables: &[(&str, &str)], wish: &Value) -> String {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    let easel = Easel::start_with(&in_order(&[&first, &second], "attempts = 1"), variables).await;
    let models = easel.get("/api/image-models").await;
    let answer = easel.generate(wish).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    if wish.get("provider").is_none() && wish.get("model").is_none() {
        assert_eq!(models.body["current_provider"], answer.body["provider"], "the list says something else");
    }
    answer.body["provider"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn priorities_are_set_by_file_and_by_environment() {
    assert_eq!(who_answers(&[], &wish()).await, "first");
    assert_eq!(who_answers(&[("EASEL_PROVIDERS__SECOND__PRIORITY", "0")], &wish()).await, "second");
    assert_eq!(who_answers(&[("EASEL_PROVIDERS__FIRST__ENABLED", "false")], &wish()).await, "second");
}

#[tokio::test]
async fn the_default_provider_and_model_are_set_by_environment() {
    assert_eq!(who_answers(&[("EASEL_ROUTING__DEFAULT_PROVIDER", "second")], &wish()).await, "second");
    assert_eq!(who_answers(&[("EASEL_ROUTING__DEFAULT_MODEL", "second/any")], &wish()).await, "second");
}

#[tokio::test]
async fn a_request_names_a_provider_or_a_model() {
    let with = |name: &str, value: &str| {
        let mut wish = wish();
        wish[name] = json!(value);
        wish
    };
    assert_eq!(who_answers(&[], &with("provider", "second")).await, "second");
    assert_eq!(who_answers(&[], &with("model", "second/any")).await, "second");
    assert_eq!(who_answers(&[], &with("model", "any")).await, "first");
}

#[tokio::test]
async fn the_same_request_meets_the_same_order_every_time() {
    let (first, second, third) = (Simulator::start().await, Simulator::start().await, Simulator::start().await);
    for upstream in [&first, &second] {
        upstream.fail(Fault::Status(500));
    }
    // Without a breaker: what was seen of the providers stays the same, whatever happens.
    let easel = Easel::start(&in_order(&[&third, &first, &second], "breaker = { failures = 0 }")).await;
    third.fail(Fault::Status(500));
    let order = easel.generate(&wish()).await.attempts();
    assert_eq!(order.len(), 3);
    for _ in 0..10 {
        assert_eq!(easel.generate(&wish()).await.attempts(), order);
    }
}

#[tokio::test]
async fn strict_mode_by_environment_makes_soft_wishes_hard() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    let config = in_order(&[&first, &second], "attempts = 1")
        .replace("name = \"The stand-in called first\"", "name = \"No seeds\"\nsupports_seed = false");
    let mut wish = wish();
    wish["seed"] = json!(7);
    let lenient = Easel::start(&config).await.generate(&wish).await;
    assert_eq!(lenient.body["provider"], "first", "{}", lenient.body);
    assert_eq!(lenient.body["ignored"], json!(["seed"]));
    let strict = Easel::start_with(&config, &[("EASEL_ROUTING__STRICT", "true")]).await.generate(&wish).await;
    assert_eq!(strict.body["provider"], "second", "{}", strict.body);
    assert_eq!(strict.body["ignored"], json!([]));
    assert!(strict.attempts()[0].starts_with("first skipped "), "{:?}", strict.attempts());
}

#[tokio::test]
async fn fallback_is_switched_off_by_environment() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    first.fail(Fault::Status(500));
    let config = in_order(&[&first, &second], "attempts = 1");
    let easel = Easel::start_with(&config, &[("EASEL_ROUTING__FALLBACK", "never")]).await;
    easel.generate(&wish()).await.assert_problem(503, "provider_unavailable");
    assert_eq!(second.hits(), 0);
}

#[tokio::test]
async fn an_unknown_setting_in_the_environment_keeps_it_from_starting_and_names_the_nearest() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_easel"))
        .args(["config", "check"])
        .env_clear()
        .env("EASEL_ROUTING__STRIKT", "true")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("strikt") && said.contains("strict"), "{said}");
}
