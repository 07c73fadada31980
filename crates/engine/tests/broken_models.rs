//! Broken model folders: each is refused as broken, by the name of what is wrong, and the engine goes on.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod support;

use std::fs;
use std::path::Path;

use easel_engine_protocol::{EngineError, EngineErrorKind, Event};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use support::{Engine, copy, fixture, job};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// What is done to a sound folder, and what the refusal must name.
struct Damage {
    name: &'static str,
    model: &'static str,
    act: fn(&Path),
    named: &'static [&'static str],
}

const SOUND: &str = "two-levels-zero-snr";
const SHARDED: &str = "scale-shift-quiet";

const DAMAGES: &[Damage] = &[
    Damage {
        name: "missing weights",
        model: SOUND,
        act: |m| remove(m, UNET),
        named: &["unet", "diffusion_pytorch_model.safetensors"],
    },
    Damage { name: "missing shard", model: SHARDED, act: remove_last_shard, named: &["-of-", "shard", "unet"] },
    Damage { name: "wrong shape", model: SOUND, act: swap_first_axes, named: &["unet", "conv_in.weight"] },
    Damage { name: "missing tensor", model: SOUND, act: rename_tensor, named: &["unet", "conv_in.bias"] },
    Damage { name: "truncated file", model: SOUND, act: truncate, named: &[UNET, "truncated", "bytes expected"] },
    Damage { name: "empty file", model: SOUND, act: |m| write(m, UNET, ""), named: &[UNET, "truncated"] },
    Damage {
        name: "not safetensors",
        model: SOUND,
        act: |m| write(m, UNET, &"<html>".repeat(99)),
        named: &[UNET, "not safetensors"],
    },
    Damage {
        name: "unknown block",
        model: SOUND,
        act: |m| set(m, "unet/config.json", "down_block_types", json!(["WarpBlock2D", "DownBlock2D"])),
        named: &["WarpBlock2D"],
    },
    Damage {
        name: "config is no JSON",
        model: SOUND,
        act: |m| write(m, "vae/config.json", "{"),
        named: &["vae/config.json"],
    },
    Damage {
        name: "config is huge",
        model: SOUND,
        act: |m| write(m, "vae/config.json", &" ".repeat(3 << 20)),
        named: &["vae/config.json"],
    },
    Damage {
        name: "missing config",
        model: SOUND,
        act: |m| remove(m, "text_encoder/config.json"),
        named: &["text_encoder/config.json", "missing"],
    },
    Damage {
        name: "absurd width",
        model: SOUND,
        act: |m| set(m, "unet/config.json", "block_out_channels", json!([1_u64 << 62, 32])),
        named: &["unet"],
    },
    Damage {
        name: "no groups",
        model: SOUND,
        act: |m| set(m, "unet/config.json", "norm_num_groups", json!(0)),
        named: &["norm_num_groups"],
    },
    Damage {
        name: "scheduler key",
        model: SOUND,
        act: |m| set(m, "scheduler/scheduler_config.json", "use_warp_sigmas", json!(true)),
        named: &["use_warp_sigmas"],
    },
    Damage {
        name: "scheduler value",
        model: SOUND,
        act: |m| set(m, "scheduler/scheduler_config.json", "timestep_spacing", json!("backwards")),
        named: &["timestep_spacing", "backwards"],
    },
    Damage {
        name: "missing scheduler",
        model: SOUND,
        act: |m| remove(m, "scheduler/scheduler_config.json"),
        named: &["scheduler"],
    },
    Damage {
        name: "missing tokenizer",
        model: SOUND,
        act: |m| fs::remove_dir_all(m.join("tokenizer_2")).unwrap(),
        named: &["tokenizer_2"],
    },
    Damage {
        name: "tokenizer is no JSON",
        model: SOUND,
        act: |m| {
            fs::remove_file(m.join("tokenizer/tokenizer.json")).ok();
            write(m, "tokenizer/vocab.json", "[");
        },
        named: &["tokenizer", "vocab.json"],
    },
    Damage {
        name: "index names no unet",
        model: SOUND,
        act: |m| set(m, "model_index.json", "unet", json!([null, null])),
        named: &["unet"],
    },
    Damage {
        name: "another pipeline",
        model: SOUND,
        act: |m| set(m, "model_index.json", "_class_name", json!("KandinskyPipeline")),
        named: &["KandinskyPipeline"],
    },
    Damage {
        name: "index is no JSON",
        model: SOUND,
        act: |m| write(m, "model_index.json", "\u{0}"),
        named: &["model_index.json"],
    },
];

#[test]
fn broken_models_are_refused_by_name_and_the_engine_goes_on() {
    let engine = Engine::start();
    let mut wrong = Vec::new();
    for damage in DAMAGES {
        let dir = TempDir::new().unwrap();
        let model = dir.path().join("model");
        copy(&fixture(damage.model), &model);
        (damage.act)(&model);
        match run(&engine, &model) {
            Ok(()) => wrong.push(format!("{}: a picture was made", damage.name)),
            Err(error) => {
                let names_all = damage.named.iter().all(|name| error.message.contains(name));
                if error.kind != EngineErrorKind::ModelBroken || !names_all {
                    wrong.push(format!(
                        "{}: {:?} {}, which should name {:?}",
                        damage.name, error.kind, error, damage.named
                    ));
                }
            }
        }
        assert_eq!(engine.status().running, 0);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for sound in [SOUND, SHARDED] {
        run(&engine, &fixture(sound)).expect("a sound model after the broken ones");
    }
}

/// Runs a job to its end. A broken model may be refused before the stream begins or in it.
fn run(engine: &Engine, model: &Path) -> Result<(), EngineError> {
    let events = engine.generate(&job(model)).map_err(|(_, error)| error)?;
    match events.last() {
        Some(Event::Done { .. }) => Ok(()),
        Some(Event::Failed { error }) => Err(error),
        other => unreachable!("a stream ended with {other:?}"),
    }
}

fn write(model: &Path, file: &str, text: &str) {
    fs::write(model.join(file), text).unwrap();
}

fn remove(model: &Path, file: &str) {
    fs::remove_file(model.join(file)).unwrap();
}

fn set(model: &Path, file: &str, key: &str, value: Value) {
    let mut config: Value = serde_json::from_slice(&fs::read(model.join(file)).unwrap()).unwrap();
    config[key] = value;
    write(model, file, &config.to_string());
}

fn remove_last_shard(model: &Path) {
    let files = fs::read_dir(model.join("unet")).unwrap().map(|entry| entry.unwrap().path());
    let shards = files.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    fs::remove_file(shards.max().expect("shards")).unwrap();
}

fn truncate(model: &Path) {
    let bytes = fs::read(model.join(UNET)).unwrap();
    fs::write(model.join(UNET), &bytes[..bytes.len() - 100]).unwrap();
}

/// The same bytes under a shape with its first axes swapped: only the shape is wrong.
fn swap_first_axes(model: &Path) {
    edit_header(model, |header| {
        let shape = header["conv_in.weight"]["shape"].as_array_mut().unwrap();
        shape.swap(0, 1);
    });
}

fn rename_tensor(model: &Path) {
    edit_header(model, |header| {
        let tensor = header.remove("conv_in.bias").unwrap();
        header.insert("conv_in.bias_of_another_kind".to_owned(), tensor);
    });
}

fn edit_header(model: &Path, edit: fn(&mut Map<String, Value>)) {
    let bytes = fs::read(model.join(UNET)).unwrap();
    let end = 8 + usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut header: Map<String, Value> = serde_json::from_slice(&bytes[8..end]).unwrap();
    edit(&mut header);
    let header = serde_json::to_vec(&header).unwrap();
    let mut edited = (header.len() as u64).to_le_bytes().to_vec();
    edited.extend_from_slice(&header);
    edited.extend_from_slice(&bytes[end..]);
    fs::write(model.join(UNET), edited).unwrap();
}
