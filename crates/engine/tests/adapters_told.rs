//! What who asks learns of the adapters: over the socket and on the command line.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

#[expect(dead_code, reason = "each test file uses a part of it")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use easel_engine_protocol::{AdapterReport, Event, GenerateJob, Lora};
use safetensors::SafeTensors;
use safetensors::tensor::{TensorView, serialize_to_file};
use serde_json::{Value, json};
use tempfile::TempDir;

use support::{Engine, fixture, job};

/// Layers of `ink`.
const OWN: u64 = 21;
/// Layers that are added to it; more than are named.
const STRANGE: u32 = 30;

fn ink() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters/files/sdxl-kohya-sgm.safetensors")
}

/// `ink` with layers that no model has.
fn strange(folder: &Path) -> PathBuf {
    let file = fs::read(ink()).unwrap();
    let known = SafeTensors::deserialize(&file).unwrap();
    let names: Vec<String> = (10..10 + STRANGE).map(|i| format!("lora_unet_attic_{i}_to_k")).collect();
    let (one, four) = (1_f32.to_le_bytes(), [0; 16]);
    let alphas = names.iter().map(|name| (format!("{name}.alpha"), &one[..], vec![1]));
    let downs = names.iter().map(|name| (format!("{name}.lora_down.weight"), &four[..], vec![1, 4]));
    let ups = names.iter().map(|name| (format!("{name}.lora_up.weight"), &four[..], vec![4, 1]));
    let added = alphas
        .chain(downs)
        .chain(ups)
        .map(|(name, bytes, shape)| (name, TensorView::new(safetensors::Dtype::F32, shape, bytes).expect("a tensor")));
    let path = folder.join("strange.safetensors");
    serialize_to_file(known.tensors().into_iter().chain(added), None, &path).expect("a file");
    path
}

fn asked(loras: Vec<Lora>) -> GenerateJob {
    GenerateJob { steps: 1, loras, ..job(&fixture("base")) }
}

fn lora(path: PathBuf) -> Lora {
    Lora { path, weight: 0.5, text_encoder_weight: None }
}

#[test]
fn a_job_is_told_how_each_of_its_adapters_meets_the_model() {
    let (engine, folder) = (Engine::start(), TempDir::new().unwrap());
    let told = |loras: Vec<Lora>| -> Vec<Vec<AdapterReport>> {
        let events: Vec<Event> = engine.generate(&asked(loras)).unwrap().collect();
        assert!(matches!(events.last(), Some(Event::Done { .. })), "{events:?}");
        let at = |wanted: fn(&Event) -> bool| events.iter().position(wanted);
        let adapters = at(|event| matches!(event, Event::Adapters { .. }));
        assert!(adapters < at(|event| matches!(event, Event::Step { .. })), "told after the first step");
        events
            .into_iter()
            .filter_map(|event| if let Event::Adapters { adapters } = event { Some(adapters) } else { None })
            .collect()
    };
    assert!(told(Vec::new()).is_empty());
    let reports = told(vec![lora(ink()), lora(strange(folder.path()))]).remove(0);
    let [whole, part] = reports.as_slice() else { panic!("{reports:?}") };
    let own = u32::try_from(OWN).unwrap();
    assert_eq!((whole.matched, whole.total, whole.unmatched.len()), (own, own, 0));
    assert_eq!(whole.components.values().sum::<u32>(), own);
    assert!(["unet", "text_encoder", "text_encoder_2"].iter().all(|name| whole.components.contains_key(*name)));
    assert_eq!((part.matched, part.total), (own, own + STRANGE));
    assert_eq!(part.unmatched.len(), AdapterReport::MOST_NAMED);
    assert_eq!(part.unmatched[0].name, "lora_unet_attic_10_to_k");
    assert!(part.unmatched[0].nearest.is_some());
}

/// A picture by the command line, with these arguments beside.
fn draw(out: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easel-engine"));
    command.args(["generate", "--threads", "1", "--device", "cpu", "--steps", "1", "--seed", "7", "--prompt", "a fox"]);
    command.args(["--width", "64", "--height", "64", "--model"]).arg(fixture("base")).arg("--out").arg(out);
    command.args(arguments).output().unwrap()
}

#[test]
fn the_command_line_takes_adapters_and_says_how_they_meet_the_model() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("x.png");
    let (ink, strange) = (ink(), strange(folder.path()));
    let (ink, strange) = (ink.to_str().unwrap(), strange.to_str().unwrap());
    let picture = |arguments: &[&str]| {
        let output = draw(&out, arguments);
        assert!(output.status.success(), "{output:?}");
        (fs::read(&out).unwrap(), output)
    };
    let (plain, output) = picture(&["--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["loras"], Value::Null);
    let (drawn, output) = picture(&["--lora", ink]);
    assert_ne!(plain, drawn);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains(&format!("{ink}, weight 1: {OWN} of {OWN} layers are in the model (text_encoder ")),
        "{said}"
    );
    assert_eq!(picture(&["--lora", &format!("{ink}:0")]).0, plain, "a weight of 0 changed something");
    assert_ne!(picture(&["--lora", &format!("{ink}:0.5")]).0, drawn, "the weight made no difference");

    let (_, output) = picture(&["--lora", &format!("{strange}:0.5"), "--lora", ink, "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let [first, second] = told["loras"].as_array().unwrap().as_slice() else { panic!("{told}") };
    assert_eq!((&first["path"], &first["weight"]), (&json!(strange), &json!(0.5)));
    assert_eq!((&first["matched"], &first["total"]), (&json!(OWN), &json!(OWN + u64::from(STRANGE))));
    assert_eq!(first["unmatched"][0]["name"], "lora_unet_attic_10_to_k");
    assert_eq!((&second["path"], &second["weight"], &second["matched"]), (&json!(ink), &json!(1.0), &json!(OWN)));
    assert!(told["warnings"][0].as_str().unwrap().contains("are left out"), "{told}");
}

#[test]
fn the_command_line_refuses_adapters_that_are_not_whole_where_it_is_told_to() {
    let folder = TempDir::new().unwrap();
    let out = folder.path().join("x.png");
    let strange = strange(folder.path());
    let strange = strange.to_str().unwrap();
    for (arguments, code, words) in [
        (&["--lora", strange, "--strict-loras"][..], 2, "lora_unet_attic_39_to_k"),
        (&["--strict-loras"], 2, "--lora"),
        (&["--lora", "ink.safetensors:strong"], 2, "PATH:WEIGHT"),
        (&["--lora", "/nowhere/ink.safetensors"], 1, "/nowhere/ink.safetensors"),
    ] {
        let output = draw(&out, arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!out.exists());
    }
}
