//! Runware: what a task may say, and what comes back.

use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use serde_json::{Value, json};

use crate::{base64, client, data_uri, decode, dimensions, picture, post};

pub fn task(uuid: &str) -> Value {
    json!({
        "taskType": "imageInference", "taskUUID": uuid, "model": "rundiffusion:130@100", "positivePrompt": "a fox",
        "width": 192, "height": 128,
    })
}

pub const UUID: &str = "6f2f3b0e-1d0b-4c8e-9b6f-0f3a0c8d1a11";

pub fn with(task: &Value, further: &Value) -> Value {
    let mut task = task.clone();
    for (name, value) in further.as_object().unwrap() {
        task[name] = value.clone();
    }
    task
}

pub async fn ask(simulator: &Simulator, tasks: &[Value]) -> (u16, Value) {
    post(simulator, Vendor::Runware, "", &json!(tasks)).await
}

#[tokio::test]
async fn pictures_come_as_addresses_with_seeds_and_cost() {
    let simulator = Simulator::start().await;
    let further = json!({
        "steps": 28, "CFGScale": 3.5, "scheduler": "Euler Beta", "seed": 3_184_420_917_u64, "numberResults": 2,
        "outputType": "URL", "outputFormat": "WEBP", "includeCost": true, "deliveryMethod": "sync",
    });
    let (status, answer) = ask(&simulator, &[with(&task(UUID), &further)]).await;
    assert_eq!(status, 200, "{answer}");
    let items = answer["data"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    assert!(answer.get("errors").is_none());
    for (at, item) in items.iter().enumerate() {
        assert_eq!(item["taskUUID"], UUID);
        assert_eq!(item["seed"], 3_184_420_917 + at as u64);
        assert_eq!(item["cost"], 0.0026);
        assert!(item.get("NSFWContent").is_none());
        let url = item["imageURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("http://{}/", simulator.address())), "{url}");
        let file = client(std::time::Duration::from_secs(5)).get(url).send().await.unwrap();
        assert_eq!(file.headers()["content-type"], "image/webp");
        assert_eq!(dimensions(&file.bytes().await.unwrap()), Some((192, 128)));
    }
    assert_ne!(items[0]["imageUUID"], items[1]["imageUUID"]);
    assert_eq!((simulator.counts().runs, simulator.counts().fetches), (1, 2));
}

#[tokio::test]
async fn the_output_type_decides_the_member_and_the_format_the_bytes() {
    let simulator = Simulator::start().await;
    let cases = [("base64Data", "PNG", "imageBase64Data"), ("dataURI", "JPG", "imageDataURI")];
    for (at, (kind, format, member)) in cases.into_iter().enumerate() {
        let uuid = format!("0c6f8d6c-64c0-4a5c-b5ad-6b3c6a1f2d2{at}");
        let further = json!({ "outputType": kind, "outputFormat": format, "safety": { "checkContent": true } });
        let (_, answer) = ask(&simulator, &[with(&task(&uuid), &further)]).await;
        let item = &answer["data"][0];
        assert_eq!(item["NSFWContent"], false);
        let text = item[member].as_str().unwrap();
        let text = text.strip_prefix("data:image/jpeg;base64,").unwrap_or(text);
        assert_eq!(dimensions(&decode(&json!(text))), Some((192, 128)), "{kind}");
    }
}

#[tokio::test]
async fn wrong_tasks_are_refused_by_parameter() {
    let simulator = Simulator::start().await;
    let pixel = data_uri(&picture(4, 4));
    let cases = [
        (json!({ "taskUUID": null }), "missingTaskUUID"),
        (json!({ "taskUUID": "abc" }), "invalidTaskUUID"),
        (json!({ "model": null }), "missingModel"),
        (json!({ "model": "flux" }), "invalidModel"),
        (json!({ "positivePrompt": null }), "missingPositivePrompt"),
        (json!({ "positivePrompt": "x" }), "invalidPositivePrompt"),
        (json!({ "positivePrompt": "x".repeat(3_001) }), "invalidPositivePrompt"),
        (json!({ "width": 1000 }), "invalidWidth"),
        (json!({ "width": 64 }), "invalidWidth"),
        (json!({ "height": 2112 }), "invalidHeight"),
        (json!({ "height": null }), "missingHeight"),
        (json!({ "width": 192.5 }), "invalidWidth"),
        (json!({ "steps": 0 }), "invalidSteps"),
        (json!({ "steps": 51, "model": "runware:101@1" }), "invalidSteps"),
        (json!({ "CFGScale": 51 }), "invalidCFGScale"),
        (json!({ "seed": 0 }), "invalidSeed"),
        (json!({ "strength": 1.5 }), "invalidStrength"),
        (json!({ "numberResults": 21 }), "invalidNumberResults"),
        (json!({ "outputFormat": "GIF" }), "invalidOutputFormat"),
        (json!({ "outputType": "base64" }), "invalidOutputType"),
        (json!({ "outputQuality": 100 }), "invalidOutputQuality"),
        (json!({ "scheduler": "euler" }), "invalidScheduler"),
        (json!({ "seedImage": "nonsense!" }), "invalidSeedImage"),
        (json!({ "seedImage": base64(b"no picture") }), "invalidSeedImage"),
        (json!({ "seedImage": UUID }), "imageNotFound"),
        (json!({ "maskImage": pixel }), "missingSeedImage"),
        (json!({ "referenceImages": [pixel] }), "unsupportedReferenceImages"),
        (json!({ "seedImage": pixel, "model": "runware:106@1" }), "unsupportedSeedImage"),
        (json!({ "lora": [{ "model": "civitai:1@2", "weight": 5 }] }), "invalidWeight"),
        (json!({ "lora": [{ "name": "x" }] }), "unknownParameter"),
        (json!({ "cfg_scale": 3 }), "unknownParameter"),
        (json!({ "safety": { "check": true } }), "unknownParameter"),
        (json!({ "model": "gone:1@1" }), "unknownModel"),
        (json!({ "taskType": "imageDream" }), "invalidTaskType"),
        (json!({ "deliveryMethod": "later" }), "invalidDeliveryMethod"),
    ];
    for (further, code) in cases {
        let mut wrong = task(UUID);
        for (name, value) in further.as_object().unwrap() {
            if value.is_null() {
                wrong.as_object_mut().unwrap().remove(name);
            } else {
                wrong[name] = value.clone();
            }
        }
        let (status, answer) = ask(&simulator, &[wrong]).await;
        assert_eq!(answer["errors"][0]["code"], code, "{further} {answer}");
        assert_eq!(status, if code.ends_with("NotFound") || code == "unknownModel" { 404 } else { 400 }, "{further}");
        assert_eq!(answer["data"], json!([]), "{further}");
    }
    assert_eq!(simulator.counts().runs, 0);
    let (_, answer) = ask(&simulator, &[with(&task(UUID), &json!({ "width": 1000 }))]).await;
    let error = &answer["errors"][0];
    assert_eq!((&error["min"], &error["max"], &error["multiplier"]), (&json!(128), &json!(2048), &json!(64)));
    assert_eq!((&error["parameter"], &error["taskUUID"]), (&json!("width"), &json!(UUID)));
    let (status, answer) = post(&simulator, Vendor::Runware, "", &task(UUID)).await;
    assert_eq!((status, answer["errors"][0]["code"].as_str()), (400, Some("invalidRequest")));
}

#[tokio::test]
async fn pictures_go_where_the_model_takes_them() {
    let simulator = Simulator::start().await;
    let pixel = data_uri(&picture(8, 8));
    let cases = [
        json!({ "seedImage": pixel, "maskImage": pixel, "strength": 0.75, "negativePrompt": "blurry" }),
        json!({ "seedImage": "https://pictures.example/1.png", "lora": [{ "model": "civitai:82098@87153", "weight": 0.8 }] }),
        json!({ "seedImage": base64(&picture(8, 8)) }),
        json!({ "model": "runware:106@1", "referenceImages": [pixel], "width": 208, "height": 256 + 16 }),
        json!({ "model": "runware:400@1", "inputs": { "referenceImages": [pixel] }, "width": 512, "height": 528 }),
        json!({ "model": "google:4@2", "inputs": { "referenceImages": [pixel] }, "width": 1344, "height": 768 }),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (at, further) in cases.iter().enumerate() {
        let uuid = format!("0c6f8d6c-64c0-4a5c-b5ad-6b3c6a1f2d2{at}");
        let further = with(&json!({ "outputType": "base64Data", "outputFormat": "PNG" }), further);
        let further = if at == 3 { with(&further, &json!({ "width": 256 })) } else { further };
        let (status, answer) = ask(&simulator, &[with(&task(&uuid), &further)]).await;
        assert_eq!(status, 200, "{answer}");
        seen.insert(answer["data"][0]["imageBase64Data"].to_string());
    }
    assert_eq!(seen.len(), cases.len(), "what comes in does not change what goes out");
}

#[tokio::test]
async fn one_task_may_fail_beside_another() {
    let simulator = Simulator::start().await;
    let other = "9d1d1d39-90f1-4cfd-8a3c-9a53b8a74e55";
    let tasks = [task(UUID), with(&task(other), &json!({ "width": 1 }))];
    let (status, answer) = ask(&simulator, &tasks).await;
    assert_eq!(status, 200);
    assert_eq!(
        (answer["data"][0]["taskUUID"].as_str(), answer["errors"][0]["taskUUID"].as_str()),
        (Some(UUID), Some(other))
    );
    simulator.reset();
    simulator.fail(Fault::PartlyFailed);
    let (status, answer) = ask(&simulator, &[with(&task(UUID), &json!({ "numberResults": 3 }))]).await;
    assert_eq!((status, answer["data"].as_array().unwrap().len()), (200, 2));
    assert_eq!(answer["errors"][0]["taskUUID"], UUID);
}

#[tokio::test]
async fn flagged_pictures_come_with_200() {
    let simulator = Simulator::start().await;
    let three = with(&task(UUID), &json!({ "numberResults": 3 }));
    for (form, flags) in [(10, [true, true, true]), (11, [false, false, true])] {
        simulator.reset();
        simulator.fail(Fault::RefusedAs(form));
        let (status, answer) = ask(&simulator, std::slice::from_ref(&three)).await;
        assert_eq!(status, 200);
        let told: Vec<bool> =
            answer["data"].as_array().unwrap().iter().map(|item| item["NSFWContent"] == true).collect();
        assert_eq!(told, flags, "{form}");
    }
    simulator.reset();
    simulator.fail(Fault::RefusedAs(9));
    assert_eq!(ask(&simulator, &[three]).await.0, 200);
    assert_eq!(Vendor::Runware.refusals(), 12);
}

#[tokio::test]
async fn failures_name_their_tasks_and_take_other_shapes() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::Quota);
    let (status, answer) = ask(&simulator, &[task(UUID)]).await;
    assert_eq!((status, answer["errors"][0]["code"].as_str()), (402, Some("insufficientCredits")));
    assert_eq!(answer["errors"][0]["taskUUID"], UUID);
    simulator.set(Behaviour::failing(Fault::Status(429)).with_shape(1));
    let (_, answer) = ask(&simulator, &[task(UUID)]).await;
    assert_eq!(
        (answer["error"]["code"].as_str(), answer["taskUUID"].as_str()),
        (Some("rateLimitExceeded"), Some(UUID))
    );
    simulator.set(Behaviour::default().with_shape(1));
    assert_eq!(ask(&simulator, &[task(UUID)]).await.1["data"]["taskUUID"], UUID);
    simulator.set(Behaviour::failing(Fault::Status(403)).with_shape(2));
    assert_eq!(ask(&simulator, &[task(UUID)]).await, (403, Value::Null));
}

#[tokio::test]
async fn the_key_may_be_the_first_task() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::default().with_key("right"));
    let login = |key: &str| json!({ "taskType": "authentication", "apiKey": key });
    let (status, answer) = ask(&simulator, &[login("wrong"), task(UUID)]).await;
    assert_eq!((status, answer["errors"][0]["code"].as_str()), (401, Some("invalidApiKey")));
    let (status, answer) = ask(&simulator, &[login("right"), task(UUID)]).await;
    assert_eq!((status, answer["data"].as_array().unwrap().len()), (200, 1));
}

#[tokio::test]
async fn a_dry_run_tells_the_price_and_does_nothing() {
    let simulator = Simulator::start().await;
    let body = json!([with(&task(UUID), &json!({ "numberResults": 2 }))]);
    let request = client(std::time::Duration::from_secs(5)).post(simulator.url(Vendor::Runware));
    let answer: Value =
        request.header("x-runware-dry-run", "1").json(&body).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"][0]["cost"], 0.0052);
    assert!(answer["data"][0].get("imageURL").is_none());
    assert_eq!(simulator.counts().runs, 0);
}
