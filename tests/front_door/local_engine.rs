//! The engine behind the front door: a real process, a real (tiny, untrained) model, and what becomes of a picture when
//! either of them breaks.
//!
//! They need the binary `easel-engine` beside `easel`, or where `EASEL_ENGINE` says (`make test` builds it first). Where
//! there is none, each test says by name that it was not run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use provider_sim::{Fault, Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::easel::{Easel, PATIENCE, eventually};
use crate::leaving;
use crate::upstreams::{PROMPT, in_order};

/// The engine's executable, if there is one.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what they may use")]
fn engine() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_BIN_EXE_easel")).with_file_name("easel-engine");
    Some(std::env::var_os("EASEL_ENGINE").map_or_else(beside, PathBuf::from)).filter(|path| path.is_file())
}

fn not_run(what: &str) {
    println!("report: not run: {what} (no easel-engine beside easel: `cargo build --workspace` makes it)");
}

/// A folder with models that a test may break.
struct Models(TempDir);

impl Models {
    /// Copies of a tiny model under these names.
    fn copies(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/engine/tests/fixtures/pipelines/asymmetric/model");
        for name in names {
            copy(Path::new(origin), &folder.path().join(name));
        }
        Self(folder)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Settings of a local provider with these models, after whatever `others` say.
    fn config(&self, engine: &Path, names: &[&str], others: &str) -> String {
        let mut config = format!(
            r#"library.roots = ["{}"]
{others}
[providers.local]
kind = "local"
enabled = true
priority = 9
policy = {{ timeout = "60s" }}
default_model = "{}"

[providers.local.config]
engine = "{}"
device = "cpu"
threads = 1
"#,
            self.0.path().display(),
            names[0],
            engine.display()
        );
        for name in names {
            write!(
                config,
                "[providers.local.config.models.{name}]\npipeline = \"sdxl\"\nsource = \"file:{name}\"\nsteps = 1\n\
                 guidance_scale = 1.0\n"
            )
            .unwrap();
        }
        config
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A picture that the tiny model makes in a moment.
fn quick() -> Value {
    json!({ "prompt": PROMPT, "size": "64x64", "seed": 7 })
}

/// A picture that takes far longer than any test.
fn endless() -> Value {
    json!({ "prompt": PROMPT, "size": "256x256", "steps": 1000, "provider": "local" })
}

/// The lines of the log with this message.
fn lines(easel: &Easel, message: &str) -> Vec<Value> {
    let log = easel.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// The engine that was started last, if it still runs.
fn engine_process(easel: &Easel) -> Option<u32> {
    let process = u32::try_from(lines(easel, "engine started").last()?["pid"].as_u64()?).ok();
    process.filter(|process| is_alive(*process))
}

fn is_alive(process: u32) -> bool {
    // A process that ended and was not waited for yet is a zombie.
    std::fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn kill(process: u32) {
    assert!(std::process::Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success());
}

/// Processor time that a process used so far, in ticks.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Waits until a new engine works on its first picture.
async fn busy(easel: &Easel) -> u32 {
    let works = || {
        let log = easel.log();
        let since_start = log.rsplit("engine started").next().unwrap_or_default();
        engine_process(easel).is_some() && since_start.contains("model opened")
    };
    assert!(eventually(PATIENCE, works).await, "the engine does nothing: {}", easel.log());
    // The first of a thousand steps follows at once.
    tokio::time::sleep(Duration::from_millis(100)).await;
    engine_process(easel).unwrap()
}

#[tokio::test]
async fn whatever_the_cloud_does_the_engine_makes_the_picture() {
    let Some(engine) = engine() else { return not_run("fallback to the engine") };
    let models = Models::copies(&["tiny"]);
    let cloud = Simulator::start().await;
    let others = in_order(&[&cloud], r#"timeout = "400ms""#).replace("providers.local.enabled = false\n", "");
    let easel = Easel::start(&models.config(&engine, &["tiny"], &others)).await;
    let mut pictures = std::collections::HashSet::new();
    for (fault, _) in Fault::ALL.iter().filter(|(fault, _)| *fault != Fault::Refused) {
        cloud.reset();
        cloud.fail(*fault);
        let mut wish = quick();
        wish["n"] = json!(2);
        let answer = easel.generate(&wish).await;
        assert_eq!(answer.pictures(), [(64, 64), (64, 64)], "{fault}");
        let attempts = answer.attempts();
        assert!(attempts[0].starts_with("first failed ") && attempts[0].ends_with(" 1"), "{fault}: {attempts:?}");
        assert_eq!(attempts[1], "local ok - 1", "{fault}");
        assert_eq!(cloud.hits(), 1, "{fault}");
        let seeds: Vec<&Value> = answer.body["images"].as_array().unwrap().iter().map(|image| &image["seed"]).collect();
        assert_eq!(seeds, [7, 8], "{fault}");
        pictures.insert(answer.body["images"][0]["b64_json"].to_string());
    }
    assert_eq!(pictures.len(), 1, "the same seed drew different pictures");
}

#[tokio::test]
async fn an_engine_killed_during_a_picture_is_replaced_by_the_next_provider_and_then_by_itself() {
    let Some(engine) = engine() else { return not_run("the end of the engine, with fallback") };
    let models = Models::copies(&["tiny"]);
    let cloud = Simulator::start().await;
    let others = in_order(&[&cloud], "attempts = 1").replace("providers.local.enabled = false\n", "");
    let easel = Easel::start(&models.config(&engine, &["tiny"], &others)).await;
    let mut wish = endless();
    wish["fallback"] = json!("auto");
    let (answer, killed_at) = tokio::join!(easel.generate(&wish), async {
        kill(busy(&easel).await);
        Instant::now()
    });
    assert!(killed_at.elapsed() < Duration::from_secs(2), "{:?}", killed_at.elapsed());
    assert_eq!(answer.attempts(), ["local failed unavailable 1", "first ok - 1"]);
    let mut next = quick();
    next["provider"] = json!("local");
    assert_eq!(easel.generate(&next).await.pictures(), [(64, 64)]);
}

#[tokio::test]
async fn an_engine_killed_during_a_picture_is_a_clear_error_and_the_next_request_gets_a_picture() {
    let Some(engine) = engine() else { return not_run("the end of the engine, without fallback") };
    let models = Models::copies(&["tiny"]);
    let easel = Easel::start(&models.config(&engine, &["tiny"], "providers.openai.enabled = false")).await;
    let wish = endless();
    let (answer, killed_at) = tokio::join!(easel.generate(&wish), async {
        kill(busy(&easel).await);
        Instant::now()
    });
    assert!(killed_at.elapsed() < Duration::from_secs(2), "{:?}", killed_at.elapsed());
    answer.assert_problem(503, "provider_unavailable");
    assert_eq!(easel.generate(&quick()).await.pictures(), [(64, 64)]);
}

#[tokio::test]
async fn an_engine_that_keeps_ending_is_said_to_be_unavailable_and_comes_back() {
    let Some(engine) = engine() else { return not_run("an engine that keeps ending") };
    let models = Models::copies(&["tiny"]);
    let easel = Easel::start(&models.config(&engine, &["tiny"], "providers.openai.enabled = false")).await;
    let wish = endless();
    let mut paused = 0;
    for round in 1..=3 {
        let (answer, ()) = tokio::join!(easel.generate(&wish), async { kill(busy(&easel).await) });
        assert_eq!(answer.status, 503, "{}", answer.body);
        let noticed = || lines(&easel, "engine ended").len() == round;
        assert!(eventually(PATIENCE, noticed).await, "{}", easel.log());
        let list = easel.get("/api/image-models").await;
        if list.body["providers"]["local"]["available"] == false {
            assert!(list.body["providers"]["local"]["reason"].is_string(), "{}", list.body);
            assert!(list.body["error"].as_str().unwrap().contains("local"), "{}", list.body);
            let refused = easel.generate(&quick()).await;
            refused.assert_problem(503, "nothing_available");
            assert_eq!(refused.attempts(), ["local unavailable engine_restarting 0"]);
            paused += 1;
        }
        let begun = Instant::now();
        while easel.get("/readyz").await.status != 200 {
            assert!(begun.elapsed() < PATIENCE, "it does not come back: {}", easel.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    assert!(paused > 0, "it was started again and again without a pause");
    assert_eq!(easel.generate(&quick()).await.pictures(), [(64, 64)]);
}

#[tokio::test]
async fn a_client_that_leaves_stops_the_engine_too() {
    let Some(engine) = engine() else { return not_run("cancelling the engine's job") };
    let models = Models::copies(&["tiny"]);
    let easel = Easel::start(&models.config(&engine, &["tiny"], "providers.openai.enabled = false")).await;
    let stream = leaving::ask(&easel, &endless()).await;
    let process = busy(&easel).await;
    drop(stream);
    let begun = Instant::now();
    loop {
        let before = ticks(process);
        tokio::time::sleep(Duration::from_millis(400)).await;
        if ticks(process) <= before + 4 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the engine goes on: {}", easel.log());
    }
    assert_eq!(easel.generate(&quick()).await.pictures(), [(64, 64)]);
    assert_eq!(engine_process(&easel), Some(process), "it was restarted instead of stopped");
}

#[tokio::test]
async fn the_engine_ends_with_its_gateway_however_that_ends() {
    let Some(engine) = engine() else { return not_run("the engine's end with its gateway") };
    for signal in ["-TERM", "-KILL"] {
        let models = Models::copies(&["tiny"]);
        let mut easel = Easel::start(&models.config(&engine, &["tiny"], "providers.openai.enabled = false")).await;
        assert_eq!(easel.generate(&quick()).await.pictures(), [(64, 64)]);
        let process = engine_process(&easel).unwrap();
        let gateway = easel.process().to_string();
        assert!(std::process::Command::new("kill").args([signal, &gateway]).status().unwrap().success());
        easel.ended().await;
        assert!(eventually(PATIENCE, || !is_alive(process)).await, "{signal}: the engine is left behind");
    }
}

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
    let config = models.config(&engine, &names, "providers.openai.enabled = false");
    let easel = Easel::start(&config).await;
    ask_for_each(&easel, &models).await;
}

#[tokio::test]
async fn a_model_that_breaks_while_easel_runs_is_a_clear_error_and_the_others_work() {
    let Some(engine) = engine() else { return not_run("models that break while Easel runs") };
    let names: Vec<&str> = std::iter::once("whole").chain(BROKEN).collect();
    let models = Models::copies(&names);
    let easel = Easel::start(&models.config(&engine, &names, "providers.openai.enabled = false")).await;
    break_each(&models);
    ask_for_each(&easel, &models).await;
}

#[tokio::test]
async fn a_model_that_is_declared_and_not_there_is_424_with_the_remedy() {
    let Some(engine) = engine() else { return not_run("a model that is not installed") };
    let models = Models::copies(&["whole"]);
    let config = models.config(&engine, &["whole", "absent"], "providers.openai.enabled = false");
    let easel = Easel::start(&config).await;
    let listed = easel.get("/api/image-models").await;
    let entries = listed.body["providers"]["local"]["models"].as_array().unwrap().clone();
    let entry = entries.iter().find(|entry| entry["key"] == "absent").unwrap();
    assert_eq!(entry["installed"], false, "{entry}");
    let mut wish = quick();
    wish["model"] = json!("absent");
    easel.generate(&wish).await.assert_problem(424, "model_not_installed");
}

#[tokio::test]
async fn without_an_engine_the_reason_and_the_remedy_are_told() {
    let models = Models::copies(&["tiny"]);
    let config = models.config(Path::new("/nonexistent/easel-engine"), &["tiny"], "providers.openai.enabled = false");
    let easel = Easel::start(&config).await;
    let listed = easel.get("/api/image-models").await;
    assert_eq!(listed.body["providers"]["local"]["available"], false);
    let refused = easel.generate(&quick()).await;
    refused.assert_problem(503, "nothing_available");
    assert_eq!(refused.attempts(), ["local unavailable engine_missing 0"]);
}
