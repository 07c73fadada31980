//! The same process as people call it by hand.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::support::{Engine, command, job};
use super::{decode, model, pictures, run};

fn txt2img(out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easel-engine"));
    command.args(["txt2img", "--threads", "1", "--model"]).arg(model()).arg("--out").arg(out);
    command
}

const QUICK: [&str; 6] = ["--device", "cpu", "--steps", "3", "--guidance-scale", "3"];

#[test]
fn the_command_line_makes_the_same_picture_and_dumps_the_way_there() {
    let engine = Engine::start();
    let dir = TempDir::new().unwrap();
    let (out, dump) = (dir.path().join("x.png"), dir.path().join("dump"));
    let prompt = job(&model()).prompt;
    let output = txt2img(&out)
        .args(QUICK)
        .args(["--seed", "7", "--width", "64", "--height", "64", "--json", "--prompt", &prompt, "--dump"])
        .arg(&dump)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["seed"], &told["width"]), (&7.into(), &64.into()));
    let served = pictures(&run(&engine, &job(&model())));
    assert_eq!(fs::read(&out).unwrap(), served[0]);

    let dump = fs::read(dump.join("dump.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&dump).unwrap();
    let names: Vec<_> = tensors.names();
    assert!(names.iter().any(|name| name.contains("ids")), "{names:?}");
    assert!(names.iter().filter(|name| name.contains("step")).count() >= 3, "{names:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "nothing half written is left");
}

#[test]
fn the_command_line_takes_the_size_from_the_model_and_draws_a_seed() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("x.png");
    let output = txt2img(&out).args(QUICK).args(["--prompt", "a cat", "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let config = |file: &str| -> Value { serde_json::from_slice(&fs::read(model().join(file)).unwrap()).unwrap() };
    let halvings = config("vae/config.json")["block_out_channels"].as_array().unwrap().len() - 1;
    let own = config("unet/config.json")["sample_size"].as_u64().unwrap() << halvings;
    assert_eq!(told["width"].as_u64(), Some(own));
    assert_eq!(u64::from(decode(&fs::read(&out).unwrap()).0), own);
    assert!(told["seed"].as_u64().is_some());
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("x.png");
    let cases: [(i32, &str, &[&str]); 6] = [
        (2, "steps", &["--steps", "0"]),
        (2, "multiple of 8", &["--width", "63"]),
        (2, "warp", &["--device", "warp"]),
        (1, "cuda:99", &["--device", "cuda:99"]),
        (2, "NoSuchScheduler", &["--scheduler", "NoSuchScheduler"]),
        (2, "--seed", &["--seed", "x"]),
    ];
    for (code, words, arguments) in cases {
        let output = txt2img(&out).args(["--prompt", "a cat"]).args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {told}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
    let output = txt2img(&out).args(["--prompt", "a cat", "--steps", "0", "--json"]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["error"]["kind"], "invalid_request");
    assert!(!out.exists());
}

#[test]
fn a_size_that_is_none_is_refused_on_the_command_line() {
    for (given, named) in [("cpu", "DEVICE=SIZE"), ("cpu=8 cats", "8 cats"), ("cuda:77=1GiB", "cuda:77")] {
        let dir = TempDir::new().unwrap();
        let mut command = command(&dir.path().join("engine.sock"));
        let output = command.args(["--memory", given]).stderr(Stdio::piped()).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(named), "{given}: {told}");
    }
}

#[test]
fn prompts_do_not_reach_the_logs() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("x.png");
    let output = txt2img(&out).args(QUICK).args(["--log", "trace", "--prompt", "unspeakable"]).output().unwrap();
    assert!(output.status.success());
    let logs = String::from_utf8_lossy(&output.stderr);
    assert!(logs.contains("model opened"), "nothing was logged: {logs}");
    assert!(!logs.contains("unspeakable"));
}
