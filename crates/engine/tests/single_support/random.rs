//! Networks of shapes that nobody chose, written in the names of others and opened again.

use std::path::Path;

use easel_engine::config::{ClipConfig, FluxConfig, T5Config, UNetConfig, VaeConfig};
use easel_engine::parts::{ModelParts, Part};
use easel_engine_protocol::{ModelSource, PipelineKind};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{Dice, Tensors, differences, filled, inverse, names, open, write};

/// The configs of a network, as they must be told from its shapes.
fn map(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn unet(dice: &mut Dice, labels: bool) -> UNetConfig {
    let levels = usize::try_from(dice.between(1, 4)).unwrap();
    let widths: Vec<u64> = (0..levels).map(|_| dice.between(1, 2) * 32).collect();
    let layers: Vec<u64> = (0..levels).map(|_| dice.between(1, 3)).collect();
    let attends: Vec<bool> = (0..levels).map(|_| dice.flip()).collect();
    let attends_up: Vec<bool> = if dice.flip() { attends.clone() } else { (0..levels).map(|_| dice.flip()).collect() };
    let (linear, uneven) = (dice.flip(), dice.flip());
    let mut depth = |count: u64| -> Value {
        if uneven { (0..count).map(|_| dice.between(1, 2)).collect() } else { json!(dice.between(1, 2)) }
    };
    let depths: Vec<Value> = layers.iter().map(|&layers| depth(layers)).collect();
    let reversed: Vec<Value> = layers.iter().rev().map(|&layers| depth(layers + 1)).collect();
    let types = |attends: &[bool], place: &str| -> Vec<String> {
        attends
            .iter()
            .map(|a| if *a { format!("CrossAttn{place}Block2D") } else { format!("{place}Block2D") })
            .collect()
    };
    let mut up = attends_up;
    up.reverse();
    let mut config = map(&json!({
        "in_channels": if dice.flip() { 4 } else { 9 }, "out_channels": 4, "block_out_channels": widths,
        "layers_per_block": layers, "down_block_types": types(&attends, "Down"), "up_block_types": types(&up, "Up"),
        "transformer_layers_per_block": depths, "reverse_transformer_layers_per_block": reversed,
        "cross_attention_dim": 24, "use_linear_projection": linear, "norm_num_groups": 32,
        "attention_head_dim": if linear { json!(vec![1; levels]) } else { json!(8) },
        "mid_block_type": if dice.flip() { "UNetMidBlock2DCrossAttn" } else { "UNetMidBlock2D" },
    }));
    if labels {
        config.extend(map(&json!({
            "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 1556,
        })));
    }
    UNetConfig::read("unet", &config).unwrap()
}

fn vae(dice: &mut Dice, latents: u64) -> VaeConfig {
    let levels = usize::try_from(dice.between(1, 4)).unwrap();
    let widths: Vec<u64> = (0..levels).map(|_| dice.between(1, 3) * 8).collect();
    let is_flux = latents == 16;
    let groups = if widths.iter().all(|width| width % 16 == 0) { 16 } else { 8 };
    let scaling = if is_flux { 0.3611 } else { 0.18215 };
    let mut config = map(&json!({
        "block_out_channels": widths, "up_block_types": vec!["UpDecoderBlock2D"; levels], "latent_channels": latents,
        "layers_per_block": dice.between(1, 3), "norm_num_groups": groups, "use_post_quant_conv": !is_flux,
        "mid_block_add_attention": dice.flip(), "scaling_factor": scaling,
        "use_quant_conv": !is_flux, "sample_size": if is_flux { 1024 } else { 512 },
    }));
    if is_flux {
        config.insert("shift_factor".to_owned(), json!(0.1159));
    }
    VaeConfig::read("vae", &config).unwrap()
}

fn clip(dice: &mut Dice) -> ClipConfig {
    let config = json!({
        "vocab_size": 60, "hidden_size": 64, "intermediate_size": dice.between(20, 60), "eos_token_id": 59,
        "num_hidden_layers": dice.between(1, 12), "num_attention_heads": 1, "max_position_embeddings": 77,
    });
    ClipConfig::read("text_encoder", "CLIPTextModel", &map(&config)).unwrap()
}

fn t5(dice: &mut Dice) -> T5Config {
    let gated = dice.flip();
    let config = json!({
        "vocab_size": 70, "d_model": 48, "d_kv": dice.between(4, 9), "d_ff": 50, "num_heads": dice.between(1, 5),
        "num_layers": dice.between(1, 4), "feed_forward_proj": if gated { "gated-gelu" } else { "relu" },
    });
    T5Config::read("text_encoder_2", "T5EncoderModel", &map(&config)).unwrap()
}

fn flux(dice: &mut Dice) -> FluxConfig {
    let (head, axes) = [(16, [4, 6, 6]), (32, [4, 14, 14])][usize::from(dice.flip())];
    let config = json!({
        "num_layers": dice.between(1, 3), "num_single_layers": dice.between(1, 4), "in_channels": 64,
        "num_attention_heads": dice.between(1, 3), "attention_head_dim": head, "axes_dims_rope": axes,
        "joint_attention_dim": 48, "pooled_projection_dim": 64, "guidance_embeds": dice.flip(),
    });
    FluxConfig::read("transformer", &map(&config)).unwrap()
}

struct Case<'a> {
    dir: &'a Path,
    pipeline: PipelineKind,
}

impl Case<'_> {
    /// Opens networks of a file each.
    fn open(&self, tag: &str, denoiser: &Tensors, parts: &[(&str, Tensors)]) -> ModelParts {
        let put = |name: &str, tensors: &Tensors| {
            let path = self.dir.join(format!("{tag}-{name}.safetensors"));
            write(&path, tensors);
            path
        };
        let mut source = ModelSource::whole(put("denoiser", denoiser), self.pipeline);
        source.parts = parts.iter().map(|(name, tensors)| ((*name).to_owned(), put(name, tensors))).collect();
        self.with_tokenizers(&mut source);
        open(&source)
    }

    fn with_tokenizers(&self, source: &mut ModelSource) {
        source.parts.insert("tokenizer".to_owned(), self.dir.to_owned());
        if self.pipeline != PipelineKind::Sd {
            source.parts.insert("tokenizer_2".to_owned(), self.dir.to_owned());
        }
    }

    /// Opens networks that are all in one file.
    fn open_one(&self, tag: &str, all: &[&Tensors]) -> ModelParts {
        let path = self.dir.join(format!("{tag}.safetensors"));
        write(&path, &all.iter().flat_map(|tensors| (*tensors).clone()).collect());
        let mut source = ModelSource::whole(path, self.pipeline);
        self.with_tokenizers(&mut source);
        open(&source)
    }
}

fn same(seed: u64, ours: &ModelParts, theirs: &ModelParts) {
    assert_eq!(ours.warnings, Vec::<String>::new(), "seed {seed}");
    for part in &theirs.parts {
        let twin: &Part = ours.part(&part.name).unwrap();
        assert_eq!(differences(twin, part), Vec::<String>::new(), "seed {seed}: {}", part.name);
        assert_eq!(twin.config, part.config, "seed {seed}: {}", part.name);
    }
}

/// One Stable Diffusion and one FLUX of this seed.
pub fn check(dice: &mut Dice, seed: u64) {
    stable_diffusion(dice, seed);
    flux_and_kin(dice, seed);
}

fn stable_diffusion(dice: &mut Dice, seed: u64) {
    let dir = TempDir::new().unwrap();
    let case = Case { dir: dir.path(), pipeline: PipelineKind::Sd };
    let configs = (unet(dice, false), vae(dice, 4), clip(dice));
    let unet_tensors = filled(&names::unet(&configs.0), dice);
    let vae_tensors = filled(&names::vae(&configs.1), dice);
    let clip_tensors = filled(&names::clip(&configs.2), dice);
    let parts = [("vae", vae_tensors.clone()), ("text_encoder", clip_tensors.clone())];
    let theirs = case.open("theirs", &unet_tensors, &parts);
    let unet = inverse::sgm_unet(&configs.0, &unet_tensors, "model.diffusion_model.");
    let vae = inverse::sgm_vae(&vae_tensors, "first_stage_model.");
    let first = case.open_one("first", &[&unet, &vae, &inverse::clip(&clip_tensors, "cond_stage_model.transformer.")]);
    same(seed, &first, &theirs);
    let open_clip = inverse::openclip(&clip_tensors, "cond_stage_model.model.");
    let second = case.open_one("second", &[&unet, &vae, &open_clip]);
    let text = second.part("text_encoder").unwrap();
    assert_eq!(differences(text, theirs.part("text_encoder").unwrap()), Vec::<String>::new(), "seed {seed}");

    // What was told from the shapes is what they were made from.
    let config = |name: &str| &first.part(name).unwrap().config;
    assert_eq!(UNetConfig::read("unet", config("unet")).unwrap(), configs.0, "seed {seed}");
    assert_eq!(VaeConfig::read("vae", config("vae")).unwrap(), configs.1, "seed {seed}");
    let clip = ClipConfig::read("text_encoder", "CLIPTextModel", config("text_encoder")).unwrap();
    assert_eq!(clip, configs.2, "seed {seed}");
}

fn flux_and_kin(dice: &mut Dice, seed: u64) {
    let dir = TempDir::new().unwrap();
    let case = Case { dir: dir.path(), pipeline: PipelineKind::Flux };
    let configs = (flux(dice), vae(dice, 16), clip(dice), t5(dice));
    let flux_tensors = filled(&names::flux(&configs.0), dice);
    let vae_tensors = filled(&names::vae(&configs.1), dice);
    let clip_tensors = filled(&names::clip(&configs.2), dice);
    let t5_tensors = filled(&names::t5(&configs.3), dice);
    let others = [
        ("vae", inverse::sgm_vae(&vae_tensors, "")),
        ("text_encoder", clip_tensors.clone()),
        ("text_encoder_2", t5_tensors.clone()),
    ];
    let theirs = case.open("theirs", &flux_tensors, &others);
    let alone = case.open("alone", &inverse::bfl(&flux_tensors, ""), &others);
    same(seed, &alone, &theirs);
    let prefixed = |tensors: &Tensors, prefix: &str| -> Tensors {
        tensors.iter().map(|(name, tensor)| (format!("{prefix}{name}"), tensor.clone())).collect()
    };
    let all = case.open_one(
        "all",
        &[
            &inverse::bfl(&flux_tensors, "model.diffusion_model."),
            &inverse::sgm_vae(&vae_tensors, "vae."),
            &prefixed(&clip_tensors, "text_encoders.clip_l.transformer."),
            &prefixed(&t5_tensors, "text_encoders.t5xxl.transformer."),
        ],
    );
    same(seed, &all, &theirs);
    let config = |name: &str| &all.part(name).unwrap().config;
    assert_eq!(FluxConfig::read("transformer", config("transformer")).unwrap(), configs.0, "seed {seed}");
    assert_eq!(VaeConfig::read("vae", config("vae")).unwrap(), configs.1, "seed {seed}");
    let t5 = T5Config::read("text_encoder_2", "T5EncoderModel", config("text_encoder_2")).unwrap();
    assert_eq!(t5, configs.3, "seed {seed}");
    assert_eq!(all.scheduler["use_dynamic_shifting"], configs.0.guidance_embeds, "seed {seed}");
}
