//! Checkpoints as people have them: single files in the naming of SDXL's own repository, of the names and in the places
//! that the shipped configuration declares. The networks are narrow and untrained; the tokens are CLIP's.

use std::path::Path;

use serde_json::json;

use crate::easel::Easel;
use crate::local_models::{engine, not_run};
use crate::upstreams::PROMPT;

/// Widths of the UNet's levels, and transformer blocks in each.
const LEVELS: [(u64, u64); 3] = [(32, 0), (64, 1), (64, 2)];
/// Widths of the VAE's levels.
const VAE: [u64; 4] = [16, 16, 32, 32];
/// CLIP's tokens and places.
const TOKENS: [u64; 2] = [49_408, 77];
/// Width, layers.
const TEXT: (u64, u64) = (64, 2);
const TEXT_2: (u64, u64) = (128, 11);
/// A sinusoid of 256 for each of six numbers.
const SIZES: u64 = 6 * 256;

/// A file that is being written: names, shapes, and numbers in half precision.
#[derive(Default)]
struct Checkpoint {
    entries: Vec<(String, Vec<u64>, u64)>,
    bytes: Vec<u8>,
    state: u64,
}

impl Checkpoint {
    /// Numbers that keep what passes through them at its size.
    fn tensor(&mut self, name: String, shape: &[u64]) {
        let fan_in: u64 = shape.iter().skip(1).product::<u64>().max(1);
        let is_norm = shape.len() == 1 && name.ends_with("weight");
        let start = self.bytes.len() as u64;
        for _ in 0..shape.iter().product::<u64>() {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let unit = f64::from(u32::try_from(self.state >> 33).unwrap()) / f64::from(1_u32 << 30) - 1.0;
            let value = if is_norm { 1.0 } else { unit / f64::from(u32::try_from(fan_in).unwrap()).sqrt() };
            self.bytes.extend(half(value).to_le_bytes());
        }
        self.entries.push((name, shape.to_vec(), start));
    }

    fn weight_and_bias(&mut self, name: &str, shape: &[u64]) {
        self.tensor(format!("{name}.weight"), shape);
        self.tensor(format!("{name}.bias"), &shape[..1]);
    }

    fn write(&self, path: &Path) {
        let ends = self.entries.iter().skip(1).map(|entry| entry.2).chain([self.bytes.len() as u64]);
        let header: serde_json::Map<_, _> = self
            .entries
            .iter()
            .zip(ends)
            .map(|((name, shape, start), end)| {
                (name.clone(), json!({ "dtype": "F16", "shape": shape, "data_offsets": [start, end] }))
            })
            .collect();
        let header = serde_json::to_vec(&header).unwrap();
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let length = (header.len() as u64).to_le_bytes();
        std::fs::write(path, [&length[..], &header, &self.bytes].concat()).unwrap();
    }

    fn resnet(&mut self, at: &str, inputs: u64, outputs: u64, time: u64) {
        self.weight_and_bias(&format!("{at}.in_layers.0"), &[inputs]);
        self.weight_and_bias(&format!("{at}.in_layers.2"), &[outputs, inputs, 3, 3]);
        self.weight_and_bias(&format!("{at}.emb_layers.1"), &[outputs, time]);
        self.weight_and_bias(&format!("{at}.out_layers.0"), &[outputs]);
        self.weight_and_bias(&format!("{at}.out_layers.3"), &[outputs, outputs, 3, 3]);
        if inputs != outputs {
            self.weight_and_bias(&format!("{at}.skip_connection"), &[outputs, inputs, 1, 1]);
        }
    }

    fn transformer(&mut self, at: &str, width: u64, depth: u64, text: u64) {
        self.weight_and_bias(&format!("{at}.norm"), &[width]);
        self.weight_and_bias(&format!("{at}.proj_in"), &[width, width]);
        for i in 0..depth {
            let at = format!("{at}.transformer_blocks.{i}");
            for (attention, source) in [("attn1", width), ("attn2", text)] {
                self.tensor(format!("{at}.{attention}.to_q.weight"), &[width, width]);
                self.tensor(format!("{at}.{attention}.to_k.weight"), &[width, source]);
                self.tensor(format!("{at}.{attention}.to_v.weight"), &[width, source]);
                self.weight_and_bias(&format!("{at}.{attention}.to_out.0"), &[width, width]);
            }
            self.weight_and_bias(&format!("{at}.ff.net.0.proj"), &[8 * width, width]);
            self.weight_and_bias(&format!("{at}.ff.net.2"), &[width, 4 * width]);
            for norm in ["norm1", "norm2", "norm3"] {
                self.weight_and_bias(&format!("{at}.{norm}"), &[width]);
            }
        }
        self.weight_and_bias(&format!("{at}.proj_out"), &[width, width]);
    }

    /// One resnet a level, as nobody has it; how many there are is to be found out.
    fn unet(&mut self) {
        let at = "model.diffusion_model";
        let first = LEVELS[0].0;
        let (time, text) = (4 * first, TEXT.0 + TEXT_2.0);
        self.weight_and_bias(&format!("{at}.time_embed.0"), &[time, first]);
        self.weight_and_bias(&format!("{at}.time_embed.2"), &[time, time]);
        self.weight_and_bias(&format!("{at}.label_emb.0.0"), &[time, TEXT_2.0 + SIZES]);
        self.weight_and_bias(&format!("{at}.label_emb.0.2"), &[time, time]);
        self.weight_and_bias(&format!("{at}.input_blocks.0.0"), &[first, 4, 3, 3]);
        let (mut number, mut width, mut left) = (1, first, vec![first]);
        for (i, (channels, depth)) in LEVELS.into_iter().enumerate() {
            let block = format!("{at}.input_blocks.{number}");
            self.resnet(&format!("{block}.0"), width, channels, time);
            if depth > 0 {
                self.transformer(&format!("{block}.1"), channels, depth, text);
            }
            (number, width) = (number + 1, channels);
            left.push(channels);
            if i + 1 < LEVELS.len() {
                self.weight_and_bias(&format!("{at}.input_blocks.{number}.0.op"), &[width, width, 3, 3]);
                number += 1;
                left.push(width);
            }
        }
        self.resnet(&format!("{at}.middle_block.0"), width, width, time);
        self.transformer(&format!("{at}.middle_block.1"), width, LEVELS[2].1, text);
        self.resnet(&format!("{at}.middle_block.2"), width, width, time);
        let mut number = 0;
        for (i, (channels, depth)) in LEVELS.into_iter().enumerate().rev() {
            for resnet in 0..2 {
                let block = format!("{at}.output_blocks.{number}");
                self.resnet(&format!("{block}.0"), width + left.pop().unwrap(), channels, time);
                width = channels;
                let mut part = 1;
                if depth > 0 {
                    self.transformer(&format!("{block}.1"), channels, depth, text);
                    part += 1;
                }
                if i > 0 && resnet == 1 {
                    self.weight_and_bias(&format!("{block}.{part}.conv"), &[width, width, 3, 3]);
                }
                number += 1;
            }
        }
        self.weight_and_bias(&format!("{at}.out.0"), &[first]);
        self.weight_and_bias(&format!("{at}.out.2"), &[4, first, 3, 3]);
    }

    fn vae_resnet(&mut self, at: &str, inputs: u64, outputs: u64) {
        self.weight_and_bias(&format!("{at}.norm1"), &[inputs]);
        self.weight_and_bias(&format!("{at}.conv1"), &[outputs, inputs, 3, 3]);
        self.weight_and_bias(&format!("{at}.norm2"), &[outputs]);
        self.weight_and_bias(&format!("{at}.conv2"), &[outputs, outputs, 3, 3]);
        if inputs != outputs {
            self.weight_and_bias(&format!("{at}.nin_shortcut"), &[outputs, inputs, 1, 1]);
        }
    }

    fn vae_middle(&mut self, at: &str, width: u64) {
        self.vae_resnet(&format!("{at}.block_1"), width, width);
        self.weight_and_bias(&format!("{at}.attn_1.norm"), &[width]);
        for projection in ["q", "k", "v", "proj_out"] {
            self.weight_and_bias(&format!("{at}.attn_1.{projection}"), &[width, width, 1, 1]);
        }
        self.vae_resnet(&format!("{at}.block_2"), width, width);
    }

    fn vae(&mut self) {
        let at = "first_stage_model";
        let [first, .., last] = VAE;
        self.weight_and_bias(&format!("{at}.encoder.conv_in"), &[first, 3, 3, 3]);
        let mut width = first;
        for (i, channels) in VAE.into_iter().enumerate() {
            self.vae_resnet(&format!("{at}.encoder.down.{i}.block.0"), width, channels);
            width = channels;
            if i + 1 < VAE.len() {
                self.weight_and_bias(&format!("{at}.encoder.down.{i}.downsample.conv"), &[width, width, 3, 3]);
            }
        }
        self.vae_middle(&format!("{at}.encoder.mid"), last);
        self.weight_and_bias(&format!("{at}.encoder.norm_out"), &[last]);
        self.weight_and_bias(&format!("{at}.encoder.conv_out"), &[8, last, 3, 3]);
        self.weight_and_bias(&format!("{at}.quant_conv"), &[8, 8, 1, 1]);
        self.weight_and_bias(&format!("{at}.post_quant_conv"), &[4, 4, 1, 1]);
        self.weight_and_bias(&format!("{at}.decoder.conv_in"), &[last, 4, 3, 3]);
        self.vae_middle(&format!("{at}.decoder.mid"), last);
        for (i, channels) in VAE.into_iter().enumerate().rev() {
            for block in 0..2 {
                self.vae_resnet(&format!("{at}.decoder.up.{i}.block.{block}"), width, channels);
                width = channels;
            }
            if i > 0 {
                self.weight_and_bias(&format!("{at}.decoder.up.{i}.upsample.conv"), &[width, width, 3, 3]);
            }
        }
        self.weight_and_bias(&format!("{at}.decoder.norm_out"), &[first]);
        self.weight_and_bias(&format!("{at}.decoder.conv_out"), &[3, first, 3, 3]);
    }

    fn texts(&mut self) {
        let (width, layers) = TEXT;
        let at = "conditioner.embedders.0.transformer.text_model";
        for (table, rows) in [("token", TOKENS[0]), ("position", TOKENS[1])] {
            self.tensor(format!("{at}.embeddings.{table}_embedding.weight"), &[rows, width]);
        }
        for i in 0..layers {
            let at = format!("{at}.encoder.layers.{i}");
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.weight_and_bias(&format!("{at}.self_attn.{projection}"), &[width, width]);
            }
            self.weight_and_bias(&format!("{at}.layer_norm1"), &[width]);
            self.weight_and_bias(&format!("{at}.layer_norm2"), &[width]);
            self.weight_and_bias(&format!("{at}.mlp.fc1"), &[4 * width, width]);
            self.weight_and_bias(&format!("{at}.mlp.fc2"), &[width, 4 * width]);
        }
        self.weight_and_bias(&format!("{at}.final_layer_norm"), &[width]);

        let (width, layers) = TEXT_2;
        let at = "conditioner.embedders.1.model";
        self.tensor(format!("{at}.token_embedding.weight"), &[TOKENS[0], width]);
        self.tensor(format!("{at}.positional_embedding"), &[TOKENS[1], width]);
        for i in 0..layers {
            let at = format!("{at}.transformer.resblocks.{i}");
            self.tensor(format!("{at}.attn.in_proj_weight"), &[3 * width, width]);
            self.tensor(format!("{at}.attn.in_proj_bias"), &[3 * width]);
            self.weight_and_bias(&format!("{at}.attn.out_proj"), &[width, width]);
            self.weight_and_bias(&format!("{at}.ln_1"), &[width]);
            self.weight_and_bias(&format!("{at}.ln_2"), &[width]);
            self.weight_and_bias(&format!("{at}.mlp.c_fc"), &[4 * width, width]);
            self.weight_and_bias(&format!("{at}.mlp.c_proj"), &[width, 4 * width]);
        }
        self.weight_and_bias(&format!("{at}.ln_final"), &[width]);
        self.tensor(format!("{at}.text_projection"), &[width, width]);
        self.tensor(format!("{at}.logit_scale"), &[1]);
    }
}

/// To half precision, for numbers around 1; what is too small for a normal one becomes 0.
fn half(value: f64) -> u16 {
    let bits = value.abs().to_bits();
    let exponent = i64::try_from(bits >> 52).unwrap() - 1023 + 15;
    let sign = if value < 0.0 { 0x8000 } else { 0 };
    if exponent < 1 {
        return sign;
    }
    sign | u16::try_from(exponent << 10).unwrap() | u16::try_from((bits >> 42) & 0x3ff).unwrap()
}

/// Puts a file where the hub's clients would.
fn in_cache(cache: &Path, repository: &str, file: &str, checkpoint: &Checkpoint) {
    let repository = cache.join(format!("models--{}", repository.replace('/', "--")));
    let blob = repository.join("blobs/0123");
    checkpoint.write(&blob);
    let snapshot = repository.join("snapshots/abcdef");
    std::fs::create_dir_all(repository.join("refs")).unwrap();
    std::fs::write(repository.join("refs/main"), "abcdef").unwrap();
    std::fs::create_dir_all(&snapshot).unwrap();
    std::os::unix::fs::symlink("../../blobs/0123", snapshot.join(file)).unwrap();
}

#[tokio::test]
async fn the_declared_models_are_used_from_the_files_that_people_have() {
    let Some(engine) = engine() else {
        return not_run("single files of the shipped configuration's models");
    };
    let hub = tempfile::tempdir().unwrap();
    let mut checkpoint = Checkpoint { state: 7, ..Checkpoint::default() };
    checkpoint.unet();
    checkpoint.vae();
    checkpoint.texts();
    let lightning = ("ByteDance/SDXL-Lightning", "sdxl_lightning_4step.safetensors");
    in_cache(hub.path(), lightning.0, lightning.1, &checkpoint);
    let juggernaut = ("RunDiffusion/Juggernaut-XI-v11", "Juggernaut-XI-byRunDiffusion.safetensors");
    in_cache(hub.path(), juggernaut.0, juggernaut.1, &checkpoint);

    // Only what a machine has to say of itself: the models are the shipped ones.
    let config = format!(
        "[providers.local]\npolicy = {{ timeout = \"60s\" }}\n[providers.local.config]\nengine = \"{}\"\n\
         device = \"cpu\"\nthreads = 1\n",
        engine.display()
    );
    let easel = Easel::start_with(&config, &[("HF_HUB_CACHE", hub.path().to_str().unwrap())]).await;
    let listed = easel.get("/api/image-models?all=true").await;
    let local = &listed.body["providers"]["local"];
    assert_eq!(local["default_model"], "lightning_4step", "{local}");
    let installed: Vec<_> = local["models"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|model| model["installed"] == true)
        .map(|model| model["key"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(installed, ["juggernaut_xi", "lightning_4step", "shapes"]);

    for (model, steps) in [("local/lightning_4step", 4), ("local/juggernaut_xi", 3)] {
        let answer = easel
            .generate(&json!({
                "prompt": PROMPT, "model": model, "steps": steps, "size": "64x64", "seed": 5, "cache": "never",
            }))
            .await;
        assert_eq!(answer.status, 200, "{model}: {}", answer.body);
        assert_eq!(answer.body["ignored"], json!([]), "{model}");
        assert_eq!(answer.body["images"][0]["width"], 64);
        assert_eq!(answer.body["images"][0]["seed"], 5);
    }
    let missing = easel.generate(&json!({ "prompt": PROMPT, "model": "lightning_8step" })).await;
    assert_eq!(missing.status, 424, "{}", missing.body);
    let hint = missing.body["hint"].as_str().unwrap();
    assert!(hint.contains("hf download ByteDance/SDXL-Lightning sdxl_lightning_8step.safetensors"), "{hint}");
}
