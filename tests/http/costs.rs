//! What pictures cost: the table that ships, one of the owner's own, and where the cost is told.

use easel::generation::{Generation, ProviderId, Usage};
use easel::providers::{ModelPrices, Prices};
use easel::settings::Costs;
use provider_sim::Simulator;
use serde_json::{Value, json};

use crate::test_app::TestApp;

fn shipped(kind: &str) -> ModelPrices {
    let tables = Costs { prices: None }.tables().expect("the table that ships is TOML");
    Prices::read(&tables).expect("its entries are good").of(&ProviderId::new("p"), kind)
}

fn cost(
    kind: &str,
    model: &str,
    input_text: u64,
    input_image: u64,
    output_image: u64,
    output_text: u64,
) -> Option<f64> {
    let usage = Some(Usage { input_text, input_image, output_image, output_text });
    shipped(kind).cost(model, &Generation { usage, ..Generation::default() })
}

#[test]
fn recorded_counts_come_to_what_the_vendors_say() {
    // A GPT image of 1024x1024 in high quality is 4160 tokens, in medium 1056, in low 272.
    assert_eq!(cost("openai_compat", "gpt-image-1.5", 10, 40, 4160, 0), Some(0.13349));
    assert_eq!(cost("openai_compat", "gpt-image-1.5", 0, 0, 1056, 0), Some(0.033_792));
    assert_eq!(cost("openai_compat", "gpt-image-1-mini", 0, 0, 272, 0), Some(0.002_176));
    assert_eq!(cost("openai_compat", "gpt-image-2-2026-04-21", 50, 0, 1000, 0), Some(0.03025));
    // A Gemini picture at 1K is 1120 tokens, of the older model 1290; thinking counts as text.
    assert_eq!(cost("gemini", "gemini-2.5-flash-image", 12, 0, 1290, 0), Some(0.038_703_6));
    assert_eq!(cost("gemini", "gemini-3.1-flash-image", 0, 0, 1120, 0), Some(0.0672));
    assert_eq!(cost("gemini", "gemini-3.1-flash-lite-image", 0, 0, 1120, 0), Some(0.0336));
    assert_eq!(cost("gemini", "gemini-3-pro-image", 1135, 0, 1120, 210), Some(0.13919));
    // What is not in the table is not known, and neither is another kind's price.
    assert_eq!(cost("openai_compat", "gpt-image-9", 0, 0, 1000, 0), None);
    assert_eq!(cost("openai_compat", "gemini-3-pro-image", 0, 0, 1000, 0), None);
}

/// One provider at a stand-in, and a table of prices.
async fn told(table: &str, simulator: &Simulator, wish: &Value) -> Value {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("prices.toml");
    std::fs::write(&path, table).expect("written");
    let app = TestApp::start(&format!(
        r#"
[costs]
prices = {:?}
[providers.sim]
kind = "openai_compat"
[providers.sim.config]
base_url = "{}"
[providers.sim.config.models.small]
id = "sim-any"
size = "64x64"
"#,
        path.display().to_string(),
        simulator.base_url()
    ));
    let answer = app.generate(wish).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["cost_usd"].clone()
}

#[tokio::test]
async fn the_owners_prices_are_told_in_the_answer() {
    let simulator = Simulator::start().await;
    let wish = json!({ "prompt": "a red circle", "n": 2 });
    let entry = |owner: &str, price: &str| {
        format!("[{owner}.\"sim-any\"]\nsource = \"a test\"\nas_of = \"2026-11-01\"\nper_image = {price}\n")
    };
    assert_eq!(told(&entry("openai_compat", "0.25"), &simulator, &wish).await, 0.5);
    assert_eq!(told(&entry("sim", "{ \"64x64\" = 0.125 }"), &simulator, &wish).await, 0.25);
    assert_eq!(told(&entry("gemini", "0.25"), &simulator, &wish).await, Value::Null);
}
