//! Headers of the shapes that published models have, without their numbers: the configs told from them are those of the
//! models' own repositories, which are what `from_single_file` of diffusers takes.

#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

mod single_support;

use std::path::PathBuf;

use easel_engine::config::{ClipConfig, FluxConfig, T5Config, UNetConfig, VaeConfig};
use easel_engine::parts::ModelParts;
use easel_engine::tokenizer::{Shipped, TokenizerSource};
use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use single_support::{Tensors, hollow, inverse, names, open, write};

fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn with(base: &Value, more: &Value) -> Value {
    let mut config = map(base);
    config.extend(map(more));
    Value::Object(config)
}

/// `unet/config.json` of Stable Diffusion 1.5.
fn sd15() -> Value {
    json!({
        "in_channels": 4, "out_channels": 4, "sample_size": 64, "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "layers_per_block": 2, "cross_attention_dim": 768, "attention_head_dim": 8,
    })
}

/// Of Stable Diffusion 2.1 at 768 pixels.
fn sd21() -> Value {
    with(
        &sd15(),
        &json!({
            "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "sample_size": 96,
            "use_linear_projection": true, "upcast_attention": true,
        }),
    )
}

/// Of SDXL base 1.0.
fn sdxl() -> Value {
    json!({
        "in_channels": 4, "out_channels": 4, "sample_size": 128, "block_out_channels": [320, 640, 1280],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 2, "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
        "transformer_layers_per_block": [1, 2, 10], "use_linear_projection": true, "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
    })
}

/// Of SSD-1B.
fn ssd_1b() -> Value {
    with(
        &sdxl(),
        &json!({
            "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, [2, 2], [4, 4]],
            "reverse_transformer_layers_per_block": [[4, 4, 10], [2, 1, 1], 1],
        }),
    )
}

/// Of Segmind Vega.
fn vega() -> Value {
    with(
        &sdxl(),
        &json!({
            "mid_block_type": "UNetMidBlock2D", "transformer_layers_per_block": [1, [1, 1], [2, 2]],
            "reverse_transformer_layers_per_block": [[2, 2, 2], [1, 1, 1], 1],
        }),
    )
}

fn vae(latents: u64, scaling: f64, more: &Value) -> Value {
    let levels = 4;
    with(
        &json!({
            "block_out_channels": [128, 256, 512, 512], "latent_channels": latents, "layers_per_block": 2,
            "up_block_types": vec!["UpDecoderBlock2D"; levels], "scaling_factor": scaling,
        }),
        more,
    )
}

fn clip_l() -> Value {
    // The repositories of Stable Diffusion 1.5 say 2 for the end of text, by a mistake that changes nothing.
    json!({
        "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
        "num_attention_heads": 12, "max_position_embeddings": 77, "hidden_act": "quick_gelu", "eos_token_id": 49407,
        "projection_dim": 768,
    })
}

fn openclip(width: u64, layers: u64) -> Value {
    with(
        &clip_l(),
        &json!({
            "hidden_size": width, "intermediate_size": width * 4, "num_hidden_layers": layers,
            "num_attention_heads": width / 64, "hidden_act": "gelu", "projection_dim": width,
        }),
    )
}

fn encoder(class: &str, config: &Value) -> ClipConfig {
    ClipConfig::read("text_encoder", class, &map(config)).unwrap()
}

/// A checkpoint of Stable Diffusion or SDXL.
fn checkpoint(unet: &Value, vae: &Value, encoders: Tensors) -> Tensors {
    let unet = UNetConfig::read("unet", &map(unet)).unwrap();
    let mut tensors = inverse::sgm_unet(&unet, &hollow(&names::unet(&unet)), "model.diffusion_model.");
    let vae = VaeConfig::read("vae", &map(vae)).unwrap();
    tensors.extend(inverse::sgm_vae(&hollow(&names::vae(&vae)), "first_stage_model."));
    tensors.extend(encoders);
    tensors
}

fn of_sd1() -> Tensors {
    inverse::clip(&hollow(&names::clip(&encoder("CLIPTextModel", &clip_l()))), "cond_stage_model.transformer.")
}

/// OpenCLIP's ViT-H with its last layer and its projection.
fn of_sd2() -> Tensors {
    let config = encoder("CLIPTextModelWithProjection", &openclip(1024, 24));
    inverse::openclip(&hollow(&names::clip(&config)), "cond_stage_model.model.")
}

fn of_sdxl() -> Tensors {
    let first = hollow(&names::clip(&encoder("CLIPTextModel", &clip_l())));
    let second = hollow(&names::clip(&encoder("CLIPTextModelWithProjection", &openclip(1280, 32))));
    let mut tensors = inverse::clip(&first, "conditioner.embedders.0.transformer.");
    tensors.extend(inverse::openclip(&second, "conditioner.embedders.1.model."));
    tensors
}

struct Files(TempDir);

impl Files {
    fn put(&self, name: &str, tensors: &Tensors) -> PathBuf {
        let path = self.0.path().join(format!("{name}.safetensors"));
        write(&path, tensors);
        path
    }
}

fn check_unet(name: &str, model: &ModelParts, expected: &Value) {
    let config = &model.part("unet").unwrap().config;
    let told = UNetConfig::read("unet", config).unwrap();
    assert_eq!(told, UNetConfig::read("unet", &map(expected)).unwrap(), "{name}");
    assert_eq!(config["sample_size"], expected["sample_size"], "{name}");
}

fn check_vae(name: &str, model: &ModelParts, expected: &Value) {
    let told = VaeConfig::read("vae", &model.part("vae").unwrap().config).unwrap();
    assert_eq!(told, VaeConfig::read("vae", &map(expected)).unwrap(), "{name}");
}

fn check_clip(name: &str, model: &ModelParts, part: &str, class: &str, expected: &Value) {
    let found = model.part(part).unwrap();
    assert_eq!(found.class, class, "{name}: {part}");
    let told = ClipConfig::read("text_encoder", class, &found.config).unwrap();
    assert_eq!(told, encoder(class, expected), "{name}: {part}");
}

/// The inventory that the files are made from has as many tensors as the models have.
#[test]
fn the_inventory_is_whole() {
    let count = |config: &Value| names::unet(&UNetConfig::read("unet", &map(config)).unwrap()).len();
    assert_eq!((count(&sd15()), count(&sdxl())), (686, 1680));
    let dev = FluxConfig::read("transformer", &map(&json!({"guidance_embeds": true}))).unwrap();
    assert_eq!(names::flux(&dev).len(), 1160);
}

#[test]
fn stable_diffusion() {
    let files = Files(TempDir::new().unwrap());
    let vae = vae(4, 0.18215, &json!({"sample_size": 512}));
    let nine = |config: &Value| with(config, &json!({"in_channels": 9}));
    for (name, unet, encoders, class, scheduler, prediction) in [
        ("sd15", sd15(), of_sd1(), "StableDiffusionPipeline", "PNDMScheduler", "epsilon"),
        ("sd15-inpaint", nine(&sd15()), of_sd1(), "StableDiffusionInpaintPipeline", "PNDMScheduler", "epsilon"),
        ("sd21-v", sd21(), of_sd2(), "StableDiffusionPipeline", "DDIMScheduler", "v_prediction"),
    ] {
        let path = files.put(name, &checkpoint(&unet, &vae, encoders));
        assert_eq!(ModelParts::pipeline_of(&path).unwrap(), PipelineKind::Sd, "{name}");
        let model = open(&ModelSource::whole(path, PipelineKind::Sd));
        check_unet(name, &model, &unet);
        check_vae(name, &model, &vae);
        let is_second = name == "sd21-v";
        // Its own repository has it without the last layer.
        let text = if is_second { openclip(1024, 23) } else { clip_l() };
        check_clip(name, &model, "text_encoder", "CLIPTextModel", &text);
        assert_eq!((model.class.as_str(), &model.scheduler["_class_name"]), (class, &json!(scheduler)), "{name}");
        assert_eq!(model.scheduler["prediction_type"], prediction, "{name}");
        assert_eq!(model.warnings, Vec::<String>::new(), "{name}");
        let kind = if is_second { Shipped::OpenClip } else { Shipped::Clip };
        assert_eq!(*model.tokenizer("tokenizer").unwrap(), TokenizerSource::Shipped(kind), "{name}");
    }
}

#[test]
fn sdxl_and_kin() {
    let files = Files(TempDir::new().unwrap());
    let vae = vae(4, 0.13025, &json!({"sample_size": 1024}));
    for (name, unet, class) in [
        ("sdxl", sdxl(), "StableDiffusionXLPipeline"),
        ("sdxl-inpaint", with(&sdxl(), &json!({"in_channels": 9})), "StableDiffusionXLInpaintPipeline"),
        ("ssd-1b", ssd_1b(), "StableDiffusionXLPipeline"),
        ("vega", vega(), "StableDiffusionXLPipeline"),
    ] {
        let path = files.put(name, &checkpoint(&unet, &vae, of_sdxl()));
        assert_eq!(ModelParts::pipeline_of(&path).unwrap(), PipelineKind::Sdxl, "{name}");
        let model = open(&ModelSource::whole(path, PipelineKind::Sdxl));
        check_unet(name, &model, &unet);
        check_vae(name, &model, &vae);
        check_clip(name, &model, "text_encoder", "CLIPTextModel", &clip_l());
        check_clip(name, &model, "text_encoder_2", "CLIPTextModelWithProjection", &openclip(1280, 32));
        assert_eq!(model.class, class, "{name}");
        let scheduler = &model.scheduler;
        assert_eq!(scheduler["_class_name"], "EulerDiscreteScheduler");
        assert_eq!((&scheduler["timestep_spacing"], &scheduler["steps_offset"]), (&json!("leading"), &json!(1)));
        assert!(model.flag("force_zeros_for_empty_prompt", false).unwrap());
        assert_eq!(*model.tokenizer("tokenizer").unwrap(), TokenizerSource::Shipped(Shipped::Clip));
        assert_eq!(*model.tokenizer("tokenizer_2").unwrap(), TokenizerSource::Shipped(Shipped::OpenClip));
    }
    // Lightning: a UNet in diffusers' names, on the base as a file.
    let unet = UNetConfig::read("unet", &map(&sdxl())).unwrap();
    let path = files.put("sdxl_lightning_4step_unet", &hollow(&names::unet(&unet)));
    assert_eq!(ModelParts::pipeline_of(&path).unwrap(), PipelineKind::Sdxl);
    let base = Some(files.0.path().join("sdxl.safetensors"));
    let model = open(&ModelSource { base, ..ModelSource::whole(&path, PipelineKind::Sdxl) });
    check_unet("lightning", &model, &sdxl());
    assert_eq!(model.part("unet").unwrap().files().into_iter().collect::<Vec<_>>(), std::slice::from_ref(&path));
    let error = ModelParts::open(&ModelSource::whole(path, PipelineKind::Sdxl)).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("has no vae"), "{error}");
}

#[test]
fn flux() {
    let files = Files(TempDir::new().unwrap());
    let ae = vae(
        16,
        0.3611,
        &json!({"shift_factor": 0.1159, "use_quant_conv": false, "use_post_quant_conv": false, "sample_size": 1024}),
    );
    let ae_file = hollow(&names::vae(&VaeConfig::read("vae", &map(&ae)).unwrap()));
    let ae_path = files.put("ae", &inverse::sgm_vae(&ae_file, ""));
    let clip = hollow(&names::clip(&encoder("CLIPTextModel", &clip_l())));
    let clip_path = files.put("clip_l", &clip);
    let xxl = map(&json!({
        "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64, "feed_forward_proj": "gated-gelu",
        "vocab_size": 32128,
    }));
    let xxl = T5Config::read("text_encoder_2", "T5EncoderModel", &xxl).unwrap();
    let t5 = hollow(&names::t5(&xxl));
    let t5_path = files.put("t5xxl", &t5);
    for (name, more, class, shift) in [
        ("dev", json!({"guidance_embeds": true}), "FluxPipeline", 3.0),
        ("schnell", json!({"guidance_embeds": false}), "FluxPipeline", 1.0),
        ("fill", json!({"guidance_embeds": true, "in_channels": 384, "out_channels": 64}), "FluxFillPipeline", 3.0),
    ] {
        let expected = FluxConfig::read("transformer", &map(&more)).unwrap();
        let transformer = hollow(&names::flux(&expected));
        for (form, tensors) in [
            ("bfl", inverse::bfl(&transformer, "")),
            ("prefixed", inverse::bfl(&transformer, "model.diffusion_model.")),
            ("diffusers", transformer.clone()),
        ] {
            let path = files.put(&format!("{name}-{form}"), &tensors);
            assert_eq!(ModelParts::pipeline_of(&path).unwrap(), PipelineKind::Flux);
            let mut source = ModelSource::whole(path, PipelineKind::Flux);
            let error = ModelParts::open(&source).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("has no vae"), "{error}");
            for (part, path) in [("vae", &ae_path), ("text_encoder", &clip_path), ("text_encoder_2", &t5_path)] {
                source.parts.insert(part.to_owned(), path.clone());
            }
            let model = open(&source);
            let config = &model.part("transformer").unwrap().config;
            assert_eq!(FluxConfig::read("transformer", config).unwrap(), expected, "{name} {form}");
            check_vae(name, &model, &ae);
            check_clip(name, &model, "text_encoder", "CLIPTextModel", &clip_l());
            let text = &model.part("text_encoder_2").unwrap().config;
            assert_eq!(T5Config::read("text_encoder_2", "T5EncoderModel", text).unwrap(), xxl);
            assert_eq!((model.class.as_str(), &model.scheduler["shift"]), (class, &json!(shift)), "{name}");
            assert_eq!(*model.tokenizer("tokenizer_2").unwrap(), TokenizerSource::Shipped(Shipped::T5));
        }
    }
}
