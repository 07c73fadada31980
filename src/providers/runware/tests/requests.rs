//! What is sent.

use std::num::NonZeroU32;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::vendor::Vendor;
use super::{build, call, call_of, pixel, provider, section};
use crate::generation::{Defaults, GenerationRequest, ImageFormat, ImageSize, Lora, Seed, SizeWish, Wish};
use crate::providers::ErrorKind;
use crate::providers::runware::wire::{Habits, ImageInput, OutputType, SafetyMode, WireModel, get_response};
use crate::providers::scripted::request;

fn model(air: &str) -> WireModel {
    WireModel {
        air: air.to_owned(),
        image_input: ImageInput::default(),
        parameters: Map::new(),
        defaults: Defaults { size: ImageSize::new(1024, 1024), ..Defaults::default() },
        max_prompt_chars: None,
    }
}

fn size(width: u32, height: u32) -> SizeWish {
    SizeWish::Exact(ImageSize::new(width, height).unwrap())
}

fn id(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The task of `request` as it is sent.
fn sent(model: &WireModel, request: &GenerationRequest) -> Value {
    let body = model.task(request, Habits::default()).unwrap().body(Uuid::nil()).unwrap();
    serde_json::from_slice::<Value>(&body).unwrap()[0].clone()
}

#[test]
fn text_to_image_is_sent_as_recorded() {
    let asked = GenerationRequest {
        prompt: "a brass lighthouse at dusk, film grain".to_owned(),
        size: size(1024, 768),
        steps: NonZeroU32::new(28),
        guidance_scale: Some(3.5),
        scheduler: Some("euler_beta".to_owned()),
        seed: Some(Seed::from(3_184_420_917)),
        count: NonZeroU32::new(2).unwrap(),
        output_format: Some(ImageFormat::Webp),
        ..request()
    };
    let habits = Habits { output_type: OutputType::Url, safety: None };
    let task = model("rundiffusion:130@100").task(&asked, habits).unwrap();
    let body = task.body(id("6f2f3b0e-1d0b-4c8e-9b6f-0f3a0c8d1a11")).unwrap();
    assert_eq!(text(body), include_str!("../fixtures/text_to_image.request.json").trim_end());
}

#[test]
fn inpainting_is_sent_as_recorded() {
    let asked = GenerationRequest {
        prompt: "red velvet sofa".to_owned(),
        negative_prompt: Some("blurry".to_owned()),
        image: Some(pixel()),
        mask: Some(pixel()),
        strength: Some(0.75),
        size: size(1024, 1024),
        steps: NonZeroU32::new(30),
        guidance_scale: Some(6.5),
        loras: vec![Lora { name: "civitai:82098@87153".to_owned(), weight: 0.8 }],
        output_format: Some(ImageFormat::Png),
        ..request()
    };
    let habits = Habits { output_type: OutputType::Base64, safety: Some(SafetyMode::Fast) };
    let task = model("civitai:101055@128078").task(&asked, habits).unwrap();
    let body = text(task.body(id("0c6f8d6c-64c0-4a5c-b5ad-6b3c6a1f2d22")).unwrap());
    // How the answer is delivered is said in any case; the recording leaves it to the vendor.
    let delivered = body.replace(r#","deliveryMethod":"sync"}]"#, "}]");
    assert_ne!(body, delivered);
    assert_eq!(delivered, include_str!("../fixtures/inpainting.request.json").trim_end());
}

#[test]
fn a_plain_request_begins_as_recorded() {
    let asked = GenerationRequest { prompt: "x y".to_owned(), size: size(1000, 1024), ..request() };
    let task = model("runware:101@1").task(&asked, Habits::default()).unwrap();
    let body = text(task.body(id("3a0e0a0b-8d58-4a0c-8a7e-5a1f5d0c3c33")).unwrap());
    let recorded = include_str!("../fixtures/bad_width.request.json").trim_end().strip_suffix("}]").unwrap();
    let rest = body.strip_prefix(recorded).unwrap();
    assert_eq!(rest, r#","outputType":"base64Data","includeCost":true,"deliveryMethod":"sync"}]"#);
}

#[test]
fn a_look_up_is_sent_as_recorded() {
    let body = get_response(id("9d1d1d39-90f1-4cfd-8a3c-9a53b8a74e55")).unwrap();
    assert_eq!(text(body), include_str!("../fixtures/get_response.request.json").trim_end());
}

#[test]
fn given_pictures_go_where_the_model_takes_them() {
    let uri = format!("data:image/png;base64,{}", super::PIXEL);
    let asked = GenerationRequest { image: Some(pixel()), reference_images: vec![pixel(), pixel()], ..request() };
    let masked = GenerationRequest { mask: Some(pixel()), reference_images: Vec::new(), ..asked.clone() };
    let at = |input: ImageInput, request: &GenerationRequest| {
        let task = sent(&WireModel { image_input: input, ..model("runware:1@1") }, request);
        let named = ["seedImage", "maskImage", "referenceImages", "inputs"];
        let given = named.iter().filter(|name| !task[**name].is_null());
        Value::Object(given.map(|name| ((*name).to_owned(), task[*name].clone())).collect())
    };
    assert_eq!(at(ImageInput::SeedImage, &asked), json!({ "seedImage": uri, "referenceImages": [uri, uri] }));
    assert_eq!(at(ImageInput::SeedImage, &masked), json!({ "seedImage": uri, "maskImage": uri }));
    assert_eq!(at(ImageInput::ReferenceImages, &asked), json!({ "referenceImages": [uri, uri, uri] }));
    assert_eq!(at(ImageInput::Inputs, &asked), json!({ "inputs": { "referenceImages": [uri, uri, uri] } }));
    assert_eq!(at(ImageInput::InputsSeedImage, &masked), json!({ "inputs": { "seedImage": uri, "maskImage": uri } }));
    for input in [ImageInput::SeedImage, ImageInput::ReferenceImages, ImageInput::Inputs, ImageInput::InputsSeedImage] {
        assert_eq!(at(input, &request()), json!({}), "{input:?}");
    }
}

#[test]
fn soft_wishes_that_the_vendor_cannot_honour_are_left_out_and_named() {
    let asked = GenerationRequest {
        seed: Some(Seed::from(0)),
        scheduler: Some("quantum".to_owned()),
        guidance_scale: Some(51.0),
        negative_prompt: Some("x".to_owned()),
        ..request()
    };
    let mut with_default = model("runware:1@1");
    with_default.defaults.scheduler = Some("Euler".to_owned());
    let task = with_default.task(&asked, Habits::default()).unwrap();
    assert_eq!(task.ignored, [Wish::NegativePrompt, Wish::GuidanceScale, Wish::Scheduler, Wish::Seed]);
    let body = text(task.body(Uuid::nil()).unwrap());
    for absent in ["seed", "scheduler", "CFGScale", "negativePrompt"] {
        assert!(!body.contains(absent), "{body}");
    }
    for strict in [
        GenerationRequest { seed: Some(Seed::from(0)), strict: true, ..request() },
        GenerationRequest { scheduler: Some("quantum".to_owned()), strict: true, ..request() },
    ] {
        let error = model("runware:1@1").task(&strict, Habits::default()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn defaults_and_parameters_are_sent_where_the_request_says_nothing() {
    let mut usual = model("runware:1@1");
    usual.parameters = json!({ "acceleration": "high", "outputFormat": "PNG", "deliveryMethod": "async" })
        .as_object()
        .unwrap()
        .clone();
    usual.defaults.steps = Some(8);
    usual.defaults.guidance_scale = Some(1.0);
    usual.defaults.negative_prompt = Some("low quality".to_owned());
    usual.defaults.scheduler = Some("dpm++ 2m karras".to_owned());
    assert_eq!(
        sent(&usual, &request()),
        json!({
            "taskType": "imageInference", "taskUUID": Uuid::nil().to_string(), "model": "runware:1@1",
            "positivePrompt": "a teapot", "negativePrompt": "low quality", "width": 1024, "height": 1024, "steps": 8,
            "CFGScale": 1.0, "scheduler": "DPM++ 2M Karras", "outputType": "base64Data", "includeCost": true,
            "acceleration": "high", "outputFormat": "PNG", "deliveryMethod": "async",
        })
    );
    let asked = GenerationRequest {
        negative_prompt: Some(String::new()),
        output_format: Some(ImageFormat::Jpeg),
        output_quality: Some(100),
        ..request()
    };
    let task = sent(&usual, &asked);
    assert_eq!(
        (&task["negativePrompt"], &task["outputFormat"], &task["outputQuality"]),
        (&Value::Null, &json!("JPG"), &json!(99))
    );
    let poor = sent(&usual, &GenerationRequest { output_quality: Some(1), ..request() });
    assert_eq!(poor["outputQuality"], 20);
}

#[test]
fn what_only_this_vendor_cannot_do_is_left_to_the_next_one() {
    let lora = |name: &str, weight: f64| vec![Lora { name: name.to_owned(), weight }];
    for asked in [
        GenerationRequest { loras: lora("film-grain", 1.0), ..request() },
        GenerationRequest { loras: lora("civitai:1@2", 4.5), ..request() },
        GenerationRequest { prompt: "猫".to_owned(), ..request() },
        GenerationRequest { prompt: "x".repeat(3001), ..request() },
    ] {
        let model = WireModel { max_prompt_chars: Some(3000), ..model("runware:1@1") };
        let error = model.task(&asked, Habits::default()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    }
}

#[tokio::test]
async fn a_task_goes_to_the_one_address_with_the_key() {
    let vendor = Vendor::start([], []).await;
    provider(&vendor.base_url(), &json!({})).generate(&request(), &call()).await.unwrap();
    let head = vendor.heads().remove(0);
    assert!(head.starts_with("POST /v1 HTTP/1.1"), "{head}");
    for line in ["authorization: Bearer easel", "content-type: application/json", "accept: application/json"] {
        assert!(head.lines().any(|known| known.eq_ignore_ascii_case(line)), "{head}");
    }
    let task = vendor.asked("imageInference").remove(0);
    let id = Uuid::parse_str(task["taskUUID"].as_str().unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 4);
    assert_eq!(task["taskUUID"], id.to_string());
}

#[tokio::test]
async fn any_model_of_the_vendors_may_be_named_where_that_is_wished() {
    let vendor = Vendor::start([], []).await;
    let config = section(&vendor.base_url(), &json!({ "air": "runware:100@1" }), &json!({ "open": true }));
    let provider = build(config).unwrap().first;
    let call = |name: &str| call_of(name, std::time::Duration::from_secs(9));
    provider.generate(&request(), &call("civitai:101055@128078")).await.unwrap();
    let task = vendor.asked("imageInference").remove(0);
    assert_eq!(
        (&task["model"], &task["width"], &task["steps"]),
        (&json!("civitai:101055@128078"), &json!(1024), &Value::Null)
    );
    let error = provider.generate(&request(), &call("nonsense")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelNotFound);
    let closed = super::provider(&vendor.base_url(), &json!({}));
    let error = closed.generate(&request(), &call("civitai:101055@128078")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelNotFound);
}
