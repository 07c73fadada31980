//! The life of the engine behind the front door: a real process that is started, dies, is killed, is left and is ended, and
//! what becomes of a picture meanwhile.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use provider_sim::{Fault, Simulator};
use serde_json::{Value, json};

use crate::easel::{Easel, PATIENCE, eventually};
use crate::leaving;
use crate::local_models::{Models, engine, lines, not_run, quick};
use crate::upstreams::{NO_CLOUDS, PROMPT, in_order};

/// A picture that takes far longer than any test.
fn endless() -> Value {
    json!({ "prompt": PROMPT, "size": "256x256", "steps": 1000, "provider": "local" })
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
    let others = in_order(&[&cloud], r#"timeout = "400ms", breaker = { failures = 0 }"#)
        .replace("providers.local.enabled = false\n", "");
    let easel = Easel::start(&models.config(&engine, &["tiny"], &others)).await;
    let mut pictures = std::collections::HashSet::new();
    // A delay that is asked for would hold back the faults after it.
    let rests = |fault| matches!(fault, Fault::RateLimit(Some(_)) | Fault::RateLimitAs(..));
    let fails = |fault| fault != Fault::Refused && !rests(fault) && !crate::fallback::HARMLESS.contains(&fault);
    for (fault, _) in Fault::ALL.iter().filter(|(fault, _)| fails(*fault)) {
        cloud.reset();
        cloud.fail(*fault);
        let mut wish = quick();
        wish["n"] = json!(2);
        wish["cache"] = json!("never");
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
    let easel = Easel::start(&models.config(&engine, &["tiny"], NO_CLOUDS)).await;
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
    let easel = Easel::start(&models.config(&engine, &["tiny"], NO_CLOUDS)).await;
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
    let easel = Easel::start(&models.config(&engine, &["tiny"], NO_CLOUDS)).await;
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
        let mut easel = Easel::start(&models.config(&engine, &["tiny"], NO_CLOUDS)).await;
        assert_eq!(easel.generate(&quick()).await.pictures(), [(64, 64)]);
        let process = engine_process(&easel).unwrap();
        let gateway = easel.process().to_string();
        assert!(std::process::Command::new("kill").args([signal, &gateway]).status().unwrap().success());
        easel.ended().await;
        assert!(eventually(PATIENCE, || !is_alive(process)).await, "{signal}: the engine is left behind");
    }
}

#[tokio::test]
async fn without_an_engine_the_reason_and_the_remedy_are_told() {
    let models = Models::copies(&["tiny"]);
    let config = models.config(Path::new("/nonexistent/easel-engine"), &["tiny"], NO_CLOUDS);
    let easel = Easel::start(&config).await;
    let listed = easel.get("/api/image-models").await;
    assert_eq!(listed.body["providers"]["local"]["available"], false);
    let refused = easel.generate(&quick()).await;
    refused.assert_problem(503, "nothing_available");
    assert_eq!(refused.attempts(), ["local unavailable engine_missing 0"]);
}

/// The engine takes longer to start than any of these limits.
#[tokio::test]
async fn a_picture_of_this_machine_takes_as_long_as_its_own_limits_say_and_an_error_names_the_key() {
    let Some(engine) = engine() else { return not_run("the time of the local engine") };
    let models = Models::copies(&["tiny"]);
    let config = models.config(&engine, &["tiny"], &format!("routing.deadline = \"50ms\"\n{NO_CLOUDS}"));
    let easel = Easel::start(&config).await;
    assert_eq!(easel.generate(&quick()).await.pictures(), [(64, 64)]);

    for (variable, code, key) in [
        ("EASEL_PROVIDERS__LOCAL__POLICY__DEADLINE", "deadline_exceeded", "providers.local.policy.deadline"),
        ("EASEL_PROVIDERS__LOCAL__POLICY__TIMEOUT", "provider_timeout", "providers.local.policy.timeout"),
    ] {
        let easel = Easel::start_with(&config, &[(variable, "50ms")]).await;
        let refused = easel.generate(&quick()).await;
        refused.assert_problem(504, code);
        assert!(refused.body["hint"].as_str().unwrap().contains(key), "{}", refused.body);
    }
    // What the caller allows is the caller's to raise.
    let easel = Easel::start(&config).await;
    let mut hasty = quick();
    hasty["timeout_ms"] = json!(50);
    let refused = easel.generate(&hasty).await;
    refused.assert_problem(504, "deadline_exceeded");
    assert!(refused.body["hint"].as_str().unwrap().contains("timeout_ms"), "{}", refused.body);
}

/// An engine that notes its environment and ends.
fn noting(folder: &Path) -> PathBuf {
    let script = folder.join("noting-engine");
    std::fs::write(&script, format!("#!/bin/sh\nenv > '{}/environment'\n", folder.display())).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[tokio::test]
async fn the_engine_sees_no_key_of_another_provider() {
    let folder = tempfile::tempdir().unwrap();
    let models = Models::copies(&["tiny"]);
    let config = models.config(&noting(folder.path()), &["tiny"], "providers.openai.enabled = false");
    let secrets =
        [("OPENAI_API_KEY", "sk-1"), ("NVIDIA_API_KEY", "nv-2"), ("EASEL_ADMIN_TOKEN", "ad-3"), ("STUDIO", "st-4")];
    let wanted = [("CUDA_VISIBLE_DEVICES", "1"), ("OMP_NUM_THREADS", "3"), ("EASEL_ENGINE_LOG", "debug")];
    let easel = Easel::start_with(&config, &[&secrets[..], &wanted[..]].concat()).await;
    assert_eq!(easel.generate(&quick()).await.status, 503);
    let environment = std::fs::read_to_string(folder.path().join("environment")).unwrap();
    for (name, value) in secrets {
        assert!(!environment.contains(name) && !environment.contains(value), "{name}: {environment}");
    }
    for (name, value) in wanted.into_iter().chain([("GOMP_SPINCOUNT", "10000")]) {
        assert!(environment.lines().any(|line| line == format!("{name}={value}")), "{name}: {environment}");
    }
    assert!(environment.contains("HOME="), "{environment}");
}
