//! Models that are broken, or break while Easel runs: a clear error each, and the engine lives on.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::easel::Easel;
use crate::local_models::{Models, engine, lines, not_run, quick};
use crate::upstreams::NO_CLOUDS;

/// Replaces the shape of a tensor in a safetensors file by its mirror image, which has as many elements.
fn mirror_a_shape(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensor = header.as_object_mut().unwrap().values_mut().find(|tensor| {
        let shape = tensor["shape"].as_array().cloned().unwrap_or_default();
        shape.len() == 2 && shape[0] != shape[1]
    });
    tensor.unwrap()["shape"].as_array_mut().unwrap().reverse();
    let mut text = header.to_string().into_bytes();
    assert!(text.len() <= length, "the header became longer");
    text.resize(length, b' ');
    bytes[8..8 + length].copy_from_slice(&text);
    std::fs::write(file, bytes).unwrap();
}

fn truncate(file: &Path) {
    let length = std::fs::metadata(file).unwrap().len();
    std::fs::File::options().write(true).open(file).unwrap().set_len(length / 2).unwrap();
}

/// Makes two shards of a component's weights, of which the second is not there.
fn lose_a_shard(folder: &Path) {
    let file = weights(folder);
    let bytes = std::fs::read(&file).unwrap();
    let length = usize::try_from(u64::from_le_bytes(bytes[..8].try_into().unwrap())).unwrap();
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let shard = |number: usize| format!("diffusion_pytorch_model-0000{number}-of-00002.safetensors");
    let names = header.as_object().unwrap().keys().filter(|name| *name != "__metadata__");
    let map: serde_json::Map<String, Value> =
        names.enumerate().map(|(place, name)| (name.clone(), json!(shard(1 + place % 2)))).collect();
    std::fs::rename(&file, folder.join(shard(1))).unwrap();
    let index = json!({ "metadata": { "total_size": bytes.len() }, "weight_map": map });
    std::fs::write(folder.join("diffusion_pytorch_model.safetensors.index.json"), index.to_string()).unwrap();
}

/// Each way to break a model, under the name of the model that is broken so.
fn break_each(models: &Models) {
    std::fs::remove_file(weights(&models.path("missing_file/unet"))).unwrap();
    lose_a_shard(&models.path("missing_shard/unet"));
    mirror_a_shape(&weights(&models.path("wrong_shape/unet")));
    truncate(&weights(&models.path("truncated/unet")));
    std::fs::write(weights(&models.path("garbage/vae")), b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    std::fs::write(models.path("no_json/unet/config.json"), "{").unwrap();
    std::fs::remove_file(models.path("no_index/model_index.json")).unwrap();
    std::fs::remove_dir_all(models.path("no_vae/vae")).unwrap();
    std::fs::remove_dir_all(models.path("no_words/tokenizer")).unwrap();
}

const BROKEN: [&str; 9] = [
    "missing_file",
    "missing_shard",
    "wrong_shape",
    "truncated",
    "garbage",
    "no_json",
    "no_index",
    "no_vae",
    "no_words",
];

/// The first weights in a component's folder.
fn weights(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "safetensors")).unwrap()
}

/// Asks for a picture of every broken model, and of the one that is whole in between.
async fn ask_for_each(easel: &Easel, models: &Models) {
    for name in BROKEN {
        let mut wish = quick();
        wish["model"] = json!(format!("local/{name}"));
        let answer = easel.generate(&wish).await;
        assert!((400..600).contains(&answer.status), "{name}: {}", answer.body);
        answer.assert_problem(answer.status, answer.body["code"].as_str().unwrap_or_default());
        assert_ne!(answer.status, 500, "{name}: {}", answer.body);
        let told = answer.body.to_string();
        assert!(told.contains(name) || told.contains("model"), "{name}: {told}");
        println!("{name}: {} {} | {}", answer.status, answer.body["detail"], answer.body["hint"]);
        let place = models.path("").display().to_string();
        assert!(!answer.body["detail"].to_string().contains(&place), "{name}: a path of this machine is told: {told}");
        let whole = easel.generate(&quick()).await;
        assert_eq!(whole.pictures(), [(64, 64)], "after {name}: {}", easel.log());
    }
    let starts = lines(easel, "engine started").len();
    assert_eq!(starts, 1, "a broken model ended the engine: {}", easel.log());
}

#[tokio::test]
async fn a_model_that_is_broken_from_the_start_is_a_clear_error_and_the_others_work() {
    let Some(engine) = engine() else { return not_run("models that are broken from the start") };
    let names: Vec<&str> = std::iter::once("whole").chain(BROKEN).collect();
    let models = Models::copies(&names);
    break_each(&models);
    let config = models.config(&engine, &names, NO_CLOUDS);
    let easel = Easel::start(&config).await;
    ask_for_each(&easel, &models).await;
}

#[tokio::test]
async fn a_model_that_breaks_while_easel_runs_is_a_clear_error_and_the_others_work() {
    let Some(engine) = engine() else { return not_run("models that break while Easel runs") };
    let names: Vec<&str> = std::iter::once("whole").chain(BROKEN).collect();
    let models = Models::copies(&names);
    let easel = Easel::start(&models.config(&engine, &names, NO_CLOUDS)).await;
    break_each(&models);
    ask_for_each(&easel, &models).await;
}

#[tokio::test]
async fn a_model_that_is_declared_and_not_there_is_424_with_the_remedy() {
    let Some(engine) = engine() else { return not_run("a model that is not installed") };
    let models = Models::copies(&["whole"]);
    let config = models.config(&engine, &["whole", "absent"], NO_CLOUDS);
    let easel = Easel::start(&config).await;
    let listed = easel.get("/api/image-models").await;
    let entries = listed.body["providers"]["local"]["models"].as_array().unwrap().clone();
    let entry = entries.iter().find(|entry| entry["key"] == "absent").unwrap();
    assert_eq!(entry["installed"], false, "{entry}");
    let mut wish = quick();
    wish["model"] = json!("absent");
    easel.generate(&wish).await.assert_problem(424, "model_not_installed");
}
