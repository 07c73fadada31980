//! The servers that imitate `OpenAI`, in what they do differently.

use provider_sim::{Fault, Simulator, Vendor};
use serde_json::{Value, json};

use crate::{data_uri, decode, dimensions, picture, post};

const GENERATIONS: &str = "/images/generations";

async fn models(simulator: &Simulator, vendor: Vendor) -> Value {
    let path = if vendor == Vendor::Easel { "/api/image-models" } else { "/models" };
    let url = format!("{}{path}", simulator.url(vendor));
    crate::client(std::time::Duration::from_secs(5)).get(url).send().await.unwrap().json().await.unwrap()
}

#[tokio::test]
async fn localai_gives_addresses_unless_asked_for_base64() {
    let simulator = Simulator::start().await;
    let mut body = json!({ "prompt": "a sea otter|blurry", "size": "64x48", "step": 20 });
    let (_, answer) = post(&simulator, Vendor::LocalAi, GENERATIONS, &body).await;
    assert!(answer["data"][0]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert!(answer["data"][0]["embedding"].is_null() && answer["id"].is_string());
    assert_eq!(answer["usage"]["total_tokens"], 0);
    body["response_format"] = json!("b64_json");
    body["ref_images"] = json!([data_uri(&picture(8, 8))]);
    let (_, answer) = post(&simulator, Vendor::LocalAi, GENERATIONS, &body).await;
    assert_eq!(dimensions(&decode(&answer["data"][0]["b64_json"])), Some((64, 48)));
    let (status, answer) = post(&simulator, Vendor::LocalAi, GENERATIONS, &json!({})).await;
    assert_eq!((status, answer["error"]["code"].as_u64()), (400, Some(400)), "the code is a number");
    assert_eq!(post(&simulator, Vendor::LocalAi, "/images/edits", &body).await.0, 404);
    assert_eq!(post(&simulator, Vendor::LocalAi, "/images/inpainting", &body).await.0, 400);
}

#[tokio::test]
async fn the_errors_of_stable_diffusion_cpp_are_texts() {
    let simulator = Simulator::start().await;
    let body = json!({ "prompt": "a cat <sd_cpp_extra_args>{\"seed\":7}</sd_cpp_extra_args>", "size": "64x48", "output_format": "jpeg" });
    let (_, answer) = post(&simulator, Vendor::SdCpp, GENERATIONS, &body).await;
    assert_eq!(answer["output_format"], "jpeg");
    assert_eq!(dimensions(&decode(&answer["data"][0]["b64_json"])), Some((64, 48)));
    let (status, answer) = post(&simulator, Vendor::SdCpp, GENERATIONS, &json!({})).await;
    assert_eq!((status, answer), (400, json!({ "error": "prompt required" })));
    let (_, answer) =
        post(&simulator, Vendor::SdCpp, GENERATIONS, &json!({ "prompt": "x", "output_format": "gif" })).await;
    assert!(answer["error"].is_string());
    simulator.fail(Fault::Status(500));
    let (_, answer) = post(&simulator, Vendor::SdCpp, GENERATIONS, &body).await;
    assert_eq!(answer["error"], "server_error");
    assert_eq!(models(&simulator, Vendor::SdCpp).await["data"][0]["id"], "sd-cpp-local");
}

#[tokio::test]
async fn vllm_says_which_field_is_wrong_in_a_list() {
    let simulator = Simulator::start().await;
    let body =
        json!({ "prompt": "a skier", "size": "64x48", "num_inference_steps": 30, "true_cfg_scale": 4.0, "seed": 4 });
    let (_, answer) = post(&simulator, Vendor::Vllm, GENERATIONS, &body).await;
    assert_eq!(dimensions(&decode(&answer["data"][0]["b64_json"])), Some((64, 48)));
    assert!(answer["data"][0]["url"].is_null());
    for further in [json!({ "num_inference_steps": 201 }), json!({ "n": 11 }), json!({ "response_format": "url" })] {
        let mut wrong = body.clone();
        wrong.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
        let (status, answer) = post(&simulator, Vendor::Vllm, GENERATIONS, &wrong).await;
        assert_eq!(status, 422);
        assert_eq!(answer["detail"][0]["loc"][1], *further.as_object().unwrap().keys().next().unwrap());
    }
    simulator.fail(Fault::Status(503));
    let (_, answer) = post(&simulator, Vendor::Vllm, GENERATIONS, &body).await;
    assert_eq!(answer, json!({ "detail": "Diffusion engine not initialized." }));
}

#[tokio::test]
async fn xai_refuses_with_200() {
    let simulator = Simulator::start().await;
    let body = json!({ "prompt": "a fox", "aspect_ratio": "16:9" });
    simulator.fail(Fault::Refused);
    let (status, answer) = post(&simulator, Vendor::Xai, GENERATIONS, &body).await;
    assert_eq!((status, &answer["data"][0]["respect_moderation"]), (200, &json!(false)));
    simulator.reset();
    let (_, answer) = post(&simulator, Vendor::Xai, GENERATIONS, &body).await;
    assert_eq!(answer["data"][0]["respect_moderation"], true);
    assert!(answer["usage"]["cost_in_usd_ticks"].is_u64());
    let edit = json!({ "prompt": "a hat", "image": { "url": data_uri(&picture(8, 8)), "type": "image_url" } });
    assert_eq!(post(&simulator, Vendor::Xai, "/images/edits", &edit).await.0, 200);
    assert_eq!(post(&simulator, Vendor::Xai, GENERATIONS, &json!({ "prompt": "x", "seed": 1 })).await.0, 400);
}

#[tokio::test]
async fn another_easel_answers_as_easel_does() {
    let simulator = Simulator::start().await;
    let body = json!({
        "prompt": "a fox", "n": 2, "width": 64, "height": 48, "seed": 40, "output_format": "webp",
        "image": data_uri(&picture(8, 8)),
    });
    let (status, answer) = post(&simulator, Vendor::Easel, "/api/generate-image", &body).await;
    assert_eq!(status, 200);
    assert_eq!(dimensions(&decode(&answer["images"][1]["b64_json"])), Some((64, 48)));
    assert_eq!((&answer["images"][1]["seed"], &answer["images"][1]["mime_type"]), (&json!(41), &json!("image/webp")));
    assert!(answer["cost_usd"].is_number() && answer["attempts"].is_array());
    let wrong = json!({ "prompt": "a fox", "stepz": 4 });
    let (status, answer) = post(&simulator, Vendor::Easel, "/api/generate-image", &wrong).await;
    assert_eq!((status, &answer["code"], &answer["field"]), (422, &json!("unknown_field"), &json!("stepz")));
    simulator.fail(Fault::Refused);
    let (status, answer) = post(&simulator, Vendor::Easel, "/api/generate-image", &body).await;
    assert_eq!((status, &answer["code"]), (422, &json!("content_rejected")));
    simulator.fail(Fault::Quota);
    let (status, answer) = post(&simulator, Vendor::Easel, "/api/generate-image", &body).await;
    assert_eq!((status, &answer["code"]), (503, &json!("provider_quota_exhausted")));
    assert_eq!(models(&simulator, Vendor::Easel).await["current_model"], "any");
}
