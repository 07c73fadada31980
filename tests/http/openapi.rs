//! The committed description is the one that the build makes, and answers are what it says they are.

use std::path::Path;

use crate::test_app::{Answer, TestApp, client, read};
use provider_sim::Simulator;
use serde_json::{Value, json};

#[test]
fn the_committed_document_is_what_the_build_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi/easel.json");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == easel::api::openapi::rendered(),
        "openapi/easel.json is out of date: run `easel openapi export --out openapi/easel.json`"
    );
}

/// What a value does not fulfil of a schema: types, required and unknown members, items, references, `null`.
fn violations(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#')).expect("a reference that leads somewhere");
        return violations(document, found, value, at);
    }
    if schema["allOf"].is_array() {
        return violations(document, &together(document, schema), value, at);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let tried: Vec<_> = choices.iter().map(|choice| violations(document, choice, value, at)).collect();
        let fits = tried.iter().any(Vec::is_empty);
        return if fits { Vec::new() } else { tried.concat() };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            panic!("{at}: a schema without a type: {schema}")
        }
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let fits = kinds.contains(&is) || (is == "integer" && kinds.contains(&"number"));
    if !fits {
        return vec![format!("{at}: {is} is not {kinds:?}")];
    }
    match value {
        Value::Array(items) => {
            let each = |(index, item)| violations(document, &schema["items"], item, &format!("{at}[{index}]"));
            items.iter().enumerate().flat_map(each).collect()
        }
        Value::Object(members) => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let missing = required.filter(|name| !members.contains_key(*name));
            let mut all: Vec<String> = missing.map(|name| format!("{at}.{name} is missing")).collect();
            for (name, member) in members {
                let at = format!("{at}.{name}");
                match (&schema["properties"][name.as_str()], &schema["additionalProperties"]) {
                    (Value::Null, Value::Null) => all.push(format!("{at} is not documented")),
                    (Value::Null, free) => all.extend(violations(document, free, member, &at)),
                    (documented, _) => all.extend(violations(document, documented, member, &at)),
                }
            }
            all
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

/// The parts of an `allOf` as the one object that they describe together: each alone would know only its own members.
fn together(document: &Value, schema: &Value) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let found = document.pointer(reference.trim_start_matches('#')).expect("a reference that leads somewhere");
        return together(document, found);
    }
    let Some(parts) = schema["allOf"].as_array() else { return schema.clone() };
    let (mut required, mut properties) = (Vec::new(), serde_json::Map::new());
    for part in parts.iter().map(|part| together(document, part)) {
        assert_eq!(part["type"], "object", "only objects are put together: {part}");
        required.extend(part["required"].as_array().cloned().unwrap_or_default());
        properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
    }
    json!({ "type": "object", "required": required, "properties": properties })
}

/// Checks an answer against the operation that it belongs to.
#[track_caller]
fn conforms(document: &Value, method: &str, path: &str, answer: &Answer) {
    let operation = &document["paths"][path][method];
    let documented = &operation["responses"][answer.status.to_string()];
    let body = answer.json();
    let content = documented["content"].as_object();
    let content = content.unwrap_or_else(|| panic!("{method} {path}: {} is not documented: {body}", answer.status));
    let kind = answer.header("content-type");
    let schema = content.get(kind).unwrap_or_else(|| panic!("{method} {path}: {kind} is not documented"));
    let violations = violations(document, &schema["schema"], &body, "answer");
    assert!(violations.is_empty(), "{method} {path} {}: {violations:#?}", answer.status);
    if answer.status >= 400 {
        let code = format!("`{}`", body["code"].as_str().expect("a code"));
        let said = documented["description"].as_str().expect("a description");
        assert!(said.contains(&code), "{method} {path}: {code} is not documented under {}: {said}", answer.status);
    }
}

#[tokio::test]
async fn answers_are_what_the_document_says() {
    let simulator = Simulator::start().await;
    let app = TestApp::start(&format!(
        r#"
[limits]
requests_per_minute = 60
burst = 14
[providers.sim]
kind = "openai_compat"
[providers.sim.config]
base_url = "{}"
[providers.sim.config.models.any]
id = "sim-any"
size = "64x64"
limits = {{ max_side = 128 }}
[providers.cloud]
kind = "openai_compat"
[providers.cloud.config]
base_url = "http://127.0.0.1:9/v1"
api_key = {{ env = "EASEL_TEST_SURELY_UNSET" }}
[providers.cloud.config.models.large]
id = "large"
"#,
        simulator.base_url()
    ));
    let document = app.get("/api-docs/openapi.json").await.json();
    for path in ["/", "/healthz", "/readyz"] {
        conforms(&document, "get", path, &app.get(path).await);
    }
    let models = "/api/image-models";
    conforms(&document, "get", models, &app.get("/api/image-models?all=true").await);
    conforms(&document, "get", models, &app.get("/api/image-models?x=1").await);
    let health = "/api/image-providers/health";
    let generate = "/api/generate-image";
    for (status, body) in [
        (200, json!({ "prompt": "x", "n": 2, "seed": 1 })),
        (200, json!({ "prompt": "x", "response_format": "url" })),
        (422, json!({ "prompt": "x", "bogus": 1 })),
        (422, json!({ "prompt": "x", "width": 4000, "height": 4000, "provider": "sim" })),
        (404, json!({ "prompt": "x", "model": "nope" })),
        (503, json!({ "prompt": "x", "provider": "cloud" })),
        (400, json!([])),
    ] {
        let answer = app.generate(&body).await;
        assert_eq!(answer.status, status, "{body} → {}", answer.json());
        conforms(&document, "post", generate, &answer);
    }
    let picture = "/pictures/{name}";
    let unknown = app.get(&picture.replace("{name}", "unknown.png")).await;
    unknown.problem(404, "unknown_picture");
    conforms(&document, "get", picture, &unknown);
    conforms(&document, "get", health, &app.get(health).await);
    let current = "/api/image-models/current";
    for (status, body) in [(200, json!({ "model": "sim/any" })), (422, json!({})), (404, json!({ "model": "x" }))] {
        let answer = app.post(current, &body).await;
        assert_eq!(answer.status, status);
        conforms(&document, "post", current, &answer);
    }
    let foreign = read(client().get(app.at(models)).header("host", "evil.example")).await;
    conforms(&document, "get", models, &foreign);
    let refused = loop {
        let answer = app.get(models).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 429);
    conforms(&document, "get", models, &refused);
}

#[test]
fn the_validator_can_fail() {
    let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": ["string", "null"] } } });
    assert!(violations(&Value::Null, &schema, &json!({ "a": null }), "x").is_empty());
    assert_eq!(violations(&Value::Null, &schema, &json!({}), "x"), ["x.a is missing"]);
    assert_eq!(
        violations(&Value::Null, &schema, &json!({ "a": 1 }), "x"),
        ["x.a: integer is not [\"string\", \"null\"]"]
    );
    assert_eq!(violations(&Value::Null, &schema, &json!({ "a": "", "b": 1 }), "x"), ["x.b is not documented"]);
    let other = json!({ "type": "object", "required": ["b"], "properties": { "b": { "type": "integer" } } });
    let both = json!({ "allOf": [{ "$ref": "#/other" }, schema] });
    let document = json!({ "other": other });
    assert!(violations(&document, &both, &json!({ "a": "", "b": 1 }), "x").is_empty());
    assert_eq!(violations(&document, &both, &json!({ "a": "" }), "x"), ["x.b is missing"]);
    assert_eq!(violations(&document, &both, &json!({ "a": "", "b": 1, "c": 1 }), "x"), ["x.c is not documented"]);
}
