//! What a request becomes, and what comes back.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::{House, call, json_of, prompt, shapes, stand_in};
use crate::generation::{
    GenerationRequest, ImageFormat, ImageSize, Lora, LoraReport, Seed, SizeWish, SourceImage, Wish,
};
use crate::providers::ErrorKind;
use crate::providers::scripted::encoded;

/// The job that `request` becomes, and what was left out.
async fn job(model: Value, request: &GenerationRequest) -> (Value, Vec<Wish>) {
    let house = House::new();
    house.install(&stand_in::sound());
    let provider = house.build(json!({ "models": { "shapes": model } })).unwrap();
    let generation = provider.generate(request, &call()).await.unwrap();
    (json_of(&house.path("data/run/job.json")), generation.ignored)
}

#[tokio::test]
async fn the_models_own_settings_fill_what_the_request_leaves_open() {
    let (job, ignored) = job(shapes(), &prompt("x")).await;
    assert_eq!((&job["steps"], &job["guidance_scale"]), (&json!(20), &json!(3.0)));
    assert_eq!((&job["width"], &job["height"]), (&json!(128), &json!(128)));
    assert_eq!((&job["negative_prompt"], &job["scheduler"]), (&Value::Null, &Value::Null));
    assert_eq!(job["seeds"].as_array().unwrap().len(), 1);
    assert!(u32::try_from(job["seeds"][0].as_u64().unwrap()).is_ok());
    assert!(ignored.is_empty());
}

#[tokio::test]
async fn the_requests_wishes_win() {
    let mut model = shapes();
    model["negative_prompt"] = json!("blurry");
    model["scheduler"] = json!({ "timestep_spacing": "trailing" });
    let asked = GenerationRequest {
        negative_prompt: Some(String::new()),
        count: NonZeroU32::new(3).unwrap(),
        size: SizeWish::Exact(ImageSize::new(64, 96).unwrap()),
        seed: Some(Seed::new(Seed::MAX).unwrap()),
        steps: NonZeroU32::new(7),
        guidance_scale: Some(0.0),
        scheduler: Some("Euler".to_owned()),
        ..prompt("x")
    };
    let (job, ignored) = job(model, &asked).await;
    assert_eq!((&job["width"], &job["height"]), (&json!(64), &json!(96)));
    assert_eq!(job["seeds"], json!([Seed::MAX, 0, 1]));
    assert_eq!((&job["steps"], &job["guidance_scale"], &job["negative_prompt"]), (&json!(7), &json!(0.0), &json!("")));
    assert_eq!(job["scheduler"], json!({ "timestep_spacing": "trailing", "_class_name": "EulerDiscreteScheduler" }));
    assert!(ignored.is_empty());
}

#[tokio::test]
async fn an_unknown_scheduler_is_ignored_or_refused_as_strictness_says() {
    let asked = GenerationRequest { scheduler: Some("quantum".to_owned()), ..prompt("x") };
    let (sent, ignored) = job(shapes(), &asked).await;
    assert_eq!((&sent["scheduler"], ignored), (&Value::Null, vec![Wish::Scheduler]));
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    let error = provider.generate(&GenerationRequest { strict: true, ..asked }, &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test]
async fn given_pictures_and_adapters_go_along() {
    let house = House::new();
    house.install(&stand_in::sound());
    std::fs::create_dir_all(house.path("models/loras")).unwrap();
    std::fs::write(house.path("models/loras/ink.safetensors"), b"").unwrap();
    let mut model = shapes();
    model["strength"] = json!(0.3);
    model["options"] = json!({ "clip_skip": 2, "prompt_weights": true });
    let provider = house.build(json!({ "models": { "shapes": model } })).unwrap();
    let size = ImageSize::new(8, 8).unwrap();
    let given = || SourceImage { bytes: encoded(size, ImageFormat::Png), format: ImageFormat::Png, size };
    let lora = |name: &str| Lora { name: name.to_owned(), weight: 0.5 };
    let asked =
        GenerationRequest { image: Some(given()), mask: Some(given()), loras: vec![lora("ink")], ..prompt("x") };
    provider.generate(&asked, &call()).await.unwrap();
    let job = json_of(&house.path("data/run/job.json"));
    let file = base64_simd::STANDARD.encode_to_string(&given().bytes);
    assert_eq!((&job["image"], &job["mask"], &job["strength"]), (&json!(file), &json!(file), &json!(0.3)));
    let path = house.path("models/loras/ink.safetensors");
    assert_eq!(job["loras"], json!([{ "path": path, "weight": 0.5 }]));
    assert_eq!(job["options"]["clip_skip"], json!(2));
    assert_eq!(job["options"]["prompt_weights"], json!(true));

    let unknown = GenerationRequest { loras: vec![lora("oil")], ..prompt("x") };
    let error = provider.generate(&unknown, &call()).await.unwrap_err();
    assert_eq!((error.kind(), error.hint()), (ErrorKind::Unsupported, Some("the nearest are ink")));
    // Without a picture there is nothing to go away from.
    provider.generate(&prompt("x"), &call()).await.unwrap();
    assert_eq!(json_of(&house.path("data/run/job.json"))["strength"], Value::Null);
}

#[tokio::test]
async fn previews_are_asked_for_and_shown_only_where_somebody_looks() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    let asked = GenerationRequest { partial_images: 3, steps: NonZeroU32::new(20), ..prompt("preview") };
    provider.generate(&asked, &call()).await.unwrap();
    assert_eq!(json_of(&house.path("data/run/job.json"))["options"], Value::Null);
    let (partials, mut shown) = tokio::sync::mpsc::channel(8);
    provider.generate(&asked, &call().with_partials(partials)).await.unwrap();
    assert_eq!(json_of(&house.path("data/run/job.json"))["options"]["preview_every"], json!(5));
    let preview = shown.try_recv().unwrap();
    assert_eq!((preview.index, preview.step, preview.image.size), (0, 0, ImageSize::new(16, 16).unwrap()));
    assert_eq!(shown.try_recv().unwrap().step, 1);
    assert!(shown.try_recv().is_err());
}

#[tokio::test]
async fn pictures_come_back_with_their_seeds_and_warnings() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    let asked = GenerationRequest { count: NonZeroU32::new(2).unwrap(), seed: Some(Seed::from(5)), ..prompt("long") };
    let call = call();
    let generation = provider.generate(&asked, &call).await.unwrap();
    let seeds: Vec<_> = generation.images.iter().map(|image| image.seed.unwrap().get()).collect();
    assert_eq!((seeds, call.upstream_calls()), (vec![5, 6], 1));
    assert_eq!(generation.images[0].size, ImageSize::new(128, 128).unwrap());
    assert_eq!(generation.warnings, ["the prompt was cut after 77 tokens"]);
}

#[tokio::test]
async fn how_adapters_meet_the_model_comes_back_by_their_names() {
    let house = House::new();
    std::fs::create_dir_all(house.path("models/loras")).unwrap();
    for name in ["ink", "oil"] {
        std::fs::write(house.path(&format!("models/loras/{name}.safetensors")), b"").unwrap();
    }
    let provider = house.with_engine(&stand_in::sound());
    let lora = |name: &str, weight: f64| Lora { name: name.to_owned(), weight };
    let (ink, oil) = (lora("ink", 0.5), lora("oil", 1.0));
    let asked = GenerationRequest { loras: vec![ink.clone(), oil.clone()], ..prompt("adapters") };
    let generation = provider.generate(&asked, &call()).await.unwrap();
    let whole = LoraReport { lora: ink, matched: 5, total: 5, unmatched: Vec::new() };
    let part = LoraReport { lora: oil, matched: 3, total: 4, unmatched: vec!["attic".to_owned()] };
    assert_eq!(generation.loras, [whole, part]);
    assert!(provider.generate(&prompt("x"), &call()).await.unwrap().loras.is_empty());
}

#[tokio::test]
async fn the_engines_failures_are_told_without_where_the_model_lies() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    for (what, kind, sentence) in [
        ("memory", ErrorKind::OutOfMemory, "the model/unet is not what it should be"),
        ("broken", ErrorKind::ModelNotFound, "the model/unet is not what it should be"),
        ("fail", ErrorKind::InvalidRequest, "the scheduler_config.json asks for what is not honoured"),
    ] {
        let error = provider.generate(&prompt(what), &call()).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (kind, sentence));
    }
    // None of them was the process's end.
    assert!(provider.generate(&prompt("x"), &call()).await.is_ok());
    assert_eq!(house.sockets(), 2, "one socket and the record of the last job");
}
