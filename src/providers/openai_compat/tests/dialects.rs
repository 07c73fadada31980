//! Requests and answers of known servers, as their documentation has them.

use std::num::NonZeroU32;

use serde_json::{Value, json};

use super::{answer, build, call, replay, speaking};
use crate::generation::{
    AspectRatio, GenerationRequest, ImageFormat, ImageSize, Lora, Ratios, Seed, SizeWish, Support,
};
use crate::providers::scripted::request;

fn wishes(prompt: &str) -> GenerationRequest {
    GenerationRequest { size: SizeWish::Exact(ImageSize::new(512, 512).unwrap()), ..GenerationRequest::new(prompt) }
}

async fn sent(dialect: &str, model: Value, reply: &str, asked: &GenerationRequest) -> Value {
    let (base_url, sent) = replay(answer(200, &[], reply)).await;
    speaking(dialect, &base_url, &model).generate(asked, &call()).await.unwrap();
    sent.await.unwrap().json()
}

#[tokio::test]
async fn vllm_omni() {
    let asked = GenerationRequest {
        size: SizeWish::Exact(ImageSize::new(1024, 1024).unwrap()),
        negative_prompt: Some("blurry".to_owned()),
        steps: NonZeroU32::new(30),
        guidance_scale: Some(4.0),
        seed: Some(Seed::from(42)),
        ..GenerationRequest::new("a skier in powder snow")
    };
    let model = json!({ "id": "Qwen/Qwen-Image", "fields": { "steps": "num_inference_steps" } });
    assert_eq!(
        sent("openai", model, include_str!("../fixtures/vllm_omni.json"), &asked).await,
        json!({
            "prompt": "a skier in powder snow", "model": "Qwen/Qwen-Image", "n": 1, "size": "1024x1024",
            "response_format": "b64_json", "negative_prompt": "blurry", "num_inference_steps": 30,
            "guidance_scale": 4.0, "seed": 42,
        })
    );
}

#[tokio::test]
async fn stable_diffusion_cpp() {
    let asked = GenerationRequest {
        seed: Some(Seed::from(7)),
        steps: NonZeroU32::new(20),
        scheduler: Some("euler_a".to_owned()),
        output_format: Some(ImageFormat::Png),
        ..wishes("a cat")
    };
    let reply = include_str!("../fixtures/sd_cpp.json");
    assert_eq!(
        sent("sdcpp", json!({}), reply, &asked).await,
        json!({
            "prompt": "a cat <sd_cpp_extra_args>{\"seed\":7,\"sample_params\":{\"sample_steps\":20,\"sample_method\":\"euler_a\"}}</sd_cpp_extra_args>",
            "n": 1, "size": "512x512", "output_format": "png",
        })
    );
    let asked = GenerationRequest {
        guidance_scale: Some(4.5),
        negative_prompt: Some("blurry".to_owned()),
        loras: vec![Lora { name: "ink".to_owned(), weight: 0.5 }],
        ..GenerationRequest::new("a cat")
    };
    let model = json!({ "parameters": { "sample_params": { "scheduler": "karras" } } });
    let body = sent("sdcpp", model, reply, &asked).await;
    let arguments = body["prompt"].as_str().unwrap().strip_prefix("a cat <sd_cpp_extra_args>").unwrap();
    let arguments: Value = serde_json::from_str(arguments.strip_suffix("</sd_cpp_extra_args>").unwrap()).unwrap();
    assert_eq!(
        arguments,
        json!({
            "sample_params": { "scheduler": "karras", "guidance": { "txt_cfg": 4.5 } }, "negative_prompt": "blurry",
            "lora": [{ "path": "ink", "multiplier": 0.5 }],
        })
    );
}

#[tokio::test]
async fn stable_diffusion_cpp_counts_seeds_up() {
    let one = include_str!("../fixtures/sd_cpp.json");
    let item = one.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']')).unwrap().0;
    let (base_url, _sent) = replay(answer(200, &[], &format!(r#"{{"data":[{item},{item}]}}"#))).await;
    let asked = GenerationRequest { seed: Some(Seed::from(5)), count: NonZeroU32::new(2).unwrap(), ..request() };
    let made = speaking("sdcpp", &base_url, &json!({})).generate(&asked, &call()).await.unwrap();
    let seeds: Vec<_> = made.images.iter().map(|image| image.seed).collect();
    assert_eq!(seeds, [Some(Seed::from(5)), Some(Seed::from(6))]);
}

#[tokio::test]
async fn local_ai() {
    let asked = GenerationRequest {
        steps: NonZeroU32::new(20),
        negative_prompt: Some("blurry, lowres".to_owned()),
        ..wishes("a sea otter")
    };
    let model = json!({ "id": "flux.1-dev-ggml" });
    let reply = include_str!("../fixtures/local_ai.json");
    assert_eq!(
        sent("localai", model.clone(), reply, &asked).await,
        json!({
            "model": "flux.1-dev-ggml", "prompt": "a sea otter|blurry, lowres", "n": 1, "size": "512x512", "step": 20,
            "response_format": "b64_json",
        })
    );
    // What would be taken for a separator is none.
    let asked = GenerationRequest { negative_prompt: Some("c|d".to_owned()), ..GenerationRequest::new("a|b") };
    assert_eq!(sent("localai", model.clone(), reply, &asked).await["prompt"], "a,b|c,d");
    let asked = GenerationRequest { negative_prompt: Some(String::new()), ..asked };
    assert_eq!(sent("localai", model, reply, &asked).await["prompt"], "a,b");
}

#[tokio::test]
async fn a_server_without_sizes_is_sent_a_ratio() {
    let model = json!({ "id": "grok-imagine-image", "size_as": "aspect_ratio" });
    let ratio: AspectRatio = "16:9".parse().unwrap();
    let asked = GenerationRequest { size: SizeWish::Aspect(ratio), ..request() };
    let body = sent("openai", model.clone(), include_str!("../fixtures/gpt_image.json"), &asked).await;
    assert_eq!((&body["aspect_ratio"], body.get("size")), (&json!("16:9"), None));
    let provider = speaking("openai", "http://127.0.0.1:1/v1", &model);
    let listed = &provider.capabilities().models[0];
    assert_eq!((listed.supports.size, listed.limits.ratios), (Support::No, Ratios::Passed));
}

#[tokio::test]
async fn other_names_for_counts_and_sizes() {
    let model = json!({
        "id": "kolors", "fields": { "n": "batch_size", "size": "image_size", "steps": "num_inference_steps" }, "steps": 20,
        "response_format": "none",
    });
    assert_eq!(
        sent("openai", model, include_str!("../fixtures/gpt_image.json"), &wishes("a cat")).await,
        json!({
            "model": "kolors", "prompt": "a cat", "batch_size": 1, "image_size": "512x512", "num_inference_steps": 20,
        })
    );
}

#[tokio::test]
async fn pictures_on_the_servers_own_origin_are_fetched() {
    use crate::providers::openai_compat::tests::source;
    let picture = source(8, 8, ImageFormat::Png);
    let mut file = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", picture.bytes.len()).into_bytes();
    file.extend_from_slice(&picture.bytes);
    let (base_url, fetched) = replay(file).await;
    let origin = base_url.strip_suffix("/v1").unwrap();
    // The address is on another port, which is another origin.
    let body = format!(r#"{{"data":[{{"url":"{origin}/generated-images/1.png"}}]}}"#);
    let (other, _sent) = replay(answer(200, &[], &body)).await;
    let model = json!({ "id": "any" });
    let error = speaking("localai", &other, &model).generate(&request(), &call()).await.unwrap_err();
    assert_eq!(error.kind(), crate::providers::ErrorKind::Protocol);
    assert!(!error.to_string().contains("127.0.0.1"), "{error}");
    drop(fetched);
}

#[test]
fn only_what_fits_the_dialect_can_be_configured() {
    let problem = |config: Value| match build(config) {
        Ok(_) => String::new(),
        Err(crate::providers::BuildError::Config { key, message }) => format!("{key}: {message}"),
    };
    let section =
        |dialect: &str, model: Value| json!({ "base_url": "http://x", "dialect": dialect, "models": { "m": model } });
    assert_eq!(problem(section("sdcpp", json!({}))), "");
    assert_eq!(problem(section("easel", json!({}))), "");
    assert_eq!(problem(json!({ "base_url": "http://x", "dialect": "easel", "fallback": "never" })), "");
    for (config, expected) in [
        (section("openai", json!({})), "models.m: missing field `id`: the model's name upstream"),
        (section("opena", json!({ "id": "a" })), "dialect: unknown variant `opena`; the nearest is `openai`"),
        (section("easel", json!({ "size_as": "size" })), "models.m.size_as: another Easel has no such thing to choose"),
        (
            section("openai", json!({ "id": "gpt-image-2", "parameters": { "background": "transparent" } })),
            "models.m.parameters: `background` is not what the model takes: it takes opaque, auto",
        ),
        (
            section(
                "openai",
                json!({ "id": "gpt-image-1", "parameters": { "background": "transparent", "output_format": "jpeg" } }),
            ),
            "models.m.parameters: a transparent `background` cannot be had as jpeg",
        ),
        (
            section("openai", json!({ "id": "a", "rules": "b" })),
            "models.m.rules: no rules are known for `b`: name a model of OpenAI, or \"none\"",
        ),
        (
            section("openai", json!({ "id": "a", "parameters": { "stream": true } })),
            "models.m.parameters: `stream` is set by each request and cannot be fixed here",
        ),
        (
            json!({ "base_url": "http://x", "fallback": "auto", "models": { "m": { "id": "a" } } }),
            "fallback: it is for dialect = \"easel\" only",
        ),
        (
            json!({ "base_url": "http://x", "headers": { "Authorization": "x" }, "models": { "m": { "id": "a" } } }),
            "headers.Authorization: this header is not for the configuration to set; keys go into api_key",
        ),
        (
            json!({ "base_url": "http://x", "headers": { "a b": "x" }, "models": { "m": { "id": "a" } } }),
            "headers.a b: this is no name of a header",
        ),
    ] {
        assert_eq!(problem(config.clone()), expected, "{config}");
    }
}

#[test]
fn the_limits_of_a_known_model_are_its_own_unless_declared() {
    let limits = |model: Value| speaking("openai", "http://x", &model).capabilities().models[0].limits.clone();
    let known = limits(json!({ "id": "gpt-image-2" }));
    assert_eq!((known.min_pixels, known.max_count), (Some(655_360), NonZeroU32::new(10)));
    let declared = limits(json!({ "id": "gpt-image-2", "limits": { "max_count": 2, "min_pixels": 1_000_000 } }));
    assert_eq!((declared.min_pixels, declared.max_side), (Some(1_000_000), Some(3840)));
    assert_eq!(declared.max_count, NonZeroU32::new(2));
    assert_eq!(limits(json!({ "id": "any" })), crate::generation::Limits::default());
    let local_ai = speaking("localai", "http://x", &json!({ "id": "any" })).capabilities();
    assert_eq!(local_ai.models[0].limits.max_count, NonZeroU32::new(1));
}
