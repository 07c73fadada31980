//! The process `easel-engine` as the gateway meets it: its routes, its events, and how it ends.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests may panic as tests do"
)]

mod command_line;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_engine_protocol::{EngineErrorKind, Event, GenerateJob, PROTOCOL};
use serde_json::Value;
use tempfile::TempDir;

use support::{Engine, command, copy, fixture, job, wait_until};

fn model() -> PathBuf {
    fixture("two-levels-zero-snr")
}

/// A job that takes far longer than any test.
fn endless() -> GenerateJob {
    GenerateJob { seeds: (0..64).collect(), steps: 1000, width: 256, height: 256, ..job(&model()) }
}

fn pictures(events: &[Event]) -> Vec<Vec<u8>> {
    let png = |event: &Event| {
        if let Event::Image { png_base64, .. } = event { Some(STANDARD.decode(png_base64).unwrap()) } else { None }
    };
    events.iter().filter_map(png).collect()
}

fn run(engine: &Engine, job: &GenerateJob) -> Vec<Event> {
    engine.generate(job).unwrap().collect()
}

/// The pixels of a PNG and their width.
fn decode(png: &[u8]) -> (u32, Vec<u8>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    (info.width, pixels)
}

/// Waits for the end of an engine that was told to stop.
fn exit(engine: &mut Engine) -> ExitStatus {
    let mut status = None;
    wait_until("the engine exits", || {
        status = engine.child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn terminate(engine: &Engine) {
    let kill = format!("kill -TERM {}", engine.child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn the_status_says_who_it_is_and_what_it_can() {
    let engine = Engine::start();
    let status = engine.status();
    assert_eq!((status.protocol, status.pid), (PROTOCOL, engine.child.id()));
    assert_eq!(status.devices[0].name, "cpu");
    assert!(status.models.is_empty());
    assert_eq!((status.queued, status.running), (0, 0));
}

/// libgomp reads its environment before `main`, so what the process was started with last is what counts.
#[test]
#[cfg(target_os = "linux")]
fn threads_do_not_spin_for_long_unless_somebody_wants_it() {
    for (given, expected) in [
        (None, Some("GOMP_SPINCOUNT=10000")),
        (Some(("GOMP_SPINCOUNT", "7")), Some("GOMP_SPINCOUNT=7")),
        (Some(("OMP_WAIT_POLICY", "active")), None),
    ] {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("engine.sock");
        let mut command = command(&socket);
        command.env_remove("GOMP_SPINCOUNT").env_remove("OMP_WAIT_POLICY").envs(given);
        let mut child = command.spawn().unwrap();
        wait_until("the engine answers", || UnixStream::connect(&socket).is_ok());
        let environment = fs::read(format!("/proc/{}/environ", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let variables = environment.split(|byte| *byte == 0).map(String::from_utf8_lossy);
        let found: Vec<_> = variables.filter(|variable| variable.starts_with("GOMP_SPINCOUNT=")).collect();
        assert_eq!(found.first().map(|variable| &**variable), expected);
    }
}

#[test]
fn a_job_is_told_step_by_step_and_ends_with_its_pictures() {
    let engine = Engine::start();
    let events = run(&engine, &GenerateJob { seeds: vec![7, 8], ..job(&model()) });
    let names: Vec<String> = events
        .iter()
        .map(|event| match event {
            Event::Queued { ahead } => format!("queued {ahead}"),
            Event::Loading => "loading".to_owned(),
            Event::Warning { message } => format!("warning {message}"),
            Event::Adapters { adapters } => format!("adapters {}", adapters.len()),
            Event::Step { image, step, steps } => format!("step {image} {step}/{steps}"),
            Event::Image { image, seed, width, height, .. } => format!("image {image} {seed} {width}x{height}"),
            Event::Done { .. } => "done".to_owned(),
            Event::Preview { image, step, .. } => format!("preview {image} {step}"),
            Event::Failed { error } => format!("failed {error}"),
        })
        .collect();
    let expected = [
        "queued 0",
        "loading",
        "step 0 1/3",
        "step 0 2/3",
        "step 0 3/3",
        "image 0 7 64x64",
        "step 1 1/3",
        "step 1 2/3",
        "step 1 3/3",
        "image 1 8 64x64",
        "done",
    ];
    assert_eq!(names, expected);
    let both = pictures(&events);
    assert_ne!(both[0], both[1]);
    let (width, pixels) = decode(&both[0]);
    assert_eq!((width, pixels.len()), (64, 64 * 64 * 3));
    assert!(pixels.iter().any(|byte| *byte != pixels[0]), "the picture is of one value");

    let status = engine.status();
    assert_eq!((status.models.len(), status.running), (1, 0));
    assert_eq!(status.models[0].path, model());
    let again = run(&engine, &GenerateJob { seeds: vec![8], ..job(&model()) });
    assert!(!again.contains(&Event::Loading), "the model stays open");
    assert_eq!(pictures(&again)[0], both[1], "a seed gives the same picture in any place");
}

#[test]
fn a_client_that_leaves_cancels_its_job() {
    let engine = Engine::start();
    let mut events = engine.generate(&endless()).unwrap();
    assert!(events.any(|event| matches!(event, Event::Step { .. })));
    let mut waiting = engine.generate(&job(&model())).unwrap();
    assert_eq!(waiting.next(), Some(Event::Queued { ahead: 1 }));
    let left = engine.generate(&job(&model())).unwrap();
    wait_until("two jobs wait", || engine.status().queued == 2);
    assert_eq!(engine.status().running, 1);
    drop(left);
    wait_until("the job that left waits no more", || engine.status().queued == 1);
    let left = Instant::now();
    drop(events);
    assert!(matches!(waiting.last(), Some(Event::Done { .. })), "the next job runs");
    assert!(left.elapsed() < Duration::from_secs(30), "it took {:?} until the next job was done", left.elapsed());
    wait_until("nothing runs", || engine.status().running == 0);
}

#[test]
fn the_end_of_standard_input_ends_the_engine() {
    let mut engine = Engine::start();
    let mut events = engine.generate(&endless()).unwrap();
    assert!(events.any(|event| matches!(event, Event::Step { .. })));
    drop(engine.child.stdin.take());
    assert!(exit(&mut engine).success());
    assert!(!engine.socket.exists(), "the socket is taken away");
}

#[test]
fn told_to_stop_it_cancels_what_does_not_end_in_time() {
    let mut engine = Engine::start_with(&["--grace", "0.2"]);
    let mut events = engine.generate(&endless()).unwrap();
    assert!(events.any(|event| matches!(event, Event::Step { .. })));
    terminate(&engine);
    let Some(Event::Failed { error }) = events.last() else { panic!("the job was not ended with an event") };
    assert_eq!(error.kind, EngineErrorKind::Cancelled);
    assert!(exit(&mut engine).success());
    assert!(!engine.socket.exists());
}

#[test]
fn told_to_stop_it_finishes_what_ends_in_time() {
    let mut engine = Engine::start();
    let mut events = engine.generate(&GenerateJob { steps: 40, ..job(&model()) }).unwrap();
    assert!(events.any(|event| matches!(event, Event::Step { .. })));
    terminate(&engine);
    assert!(matches!(events.last(), Some(Event::Done { .. })));
    assert!(exit(&mut engine).success());
}

#[test]
fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
    let mut engine = Engine::start();
    let second = command(&engine.socket).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another engine"));
    assert_eq!(engine.status().pid, engine.child.id());

    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    assert!(engine.socket.exists());
    engine.child = command(&engine.socket).spawn().unwrap();
    wait_until("the new engine answers", || UnixStream::connect(&engine.socket).is_ok());
    assert_eq!(engine.status().pid, engine.child.id());

    let dir = TempDir::new().unwrap();
    let file = dir.path().join("precious");
    fs::write(&file, "text").unwrap();
    assert_eq!(command(&file).output().unwrap().status.code(), Some(1));
    assert_eq!(fs::read_to_string(&file).unwrap(), "text");
}

#[test]
fn only_the_owner_can_reach_the_socket() {
    let engine = Engine::start();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&engine.socket), 0o600);
    assert_eq!(mode(engine.socket.parent().unwrap()), 0o700);
    assert_eq!(fs::read_dir(engine.socket.parent().unwrap()).unwrap().count(), 1, "nothing else is left there");
}

#[test]
fn what_cannot_be_is_refused_before_the_stream_begins() {
    let engine = Engine::start();
    let refused = |job: GenerateJob| engine.generate(&job).err().expect("the job was taken");
    let cases = [
        (422, EngineErrorKind::InvalidRequest, "steps", GenerateJob { steps: 0, ..job(&model()) }),
        (422, EngineErrorKind::InvalidRequest, "width", GenerateJob { width: 63, ..job(&model()) }),
        (422, EngineErrorKind::InvalidRequest, "seeds", GenerateJob { seeds: vec![], ..job(&model()) }),
        (
            422,
            EngineErrorKind::DeviceUnavailable,
            "cuda:99",
            GenerateJob { device: Some("cuda:99".to_owned()), ..job(&model()) },
        ),
        (404, EngineErrorKind::ModelNotFound, "/nowhere/at/all", job("/nowhere/at/all".as_ref())),
    ];
    for (status, kind, name, job) in cases {
        let (told, error) = refused(job);
        assert_eq!((told, error.kind), (status, kind));
        assert!(error.message.contains(name), "`{name}` is not named: {error}");
    }
    let raw = |route: &str, body: &[u8]| {
        let mut answer = engine.send(route, body);
        let mut text = String::new();
        answer.body.read_to_string(&mut text).unwrap();
        let error: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"));
        (answer.status, error["message"].as_str().unwrap().to_owned())
    };
    assert_eq!(raw("GET /nowhere", b"").0, 404);
    assert_eq!(raw("POST /v1/generate", b"{").0, 400);
    assert_eq!(raw("POST /v1/generate", b"\xff\xfe").0, 400);
    let mut unknown = serde_json::to_value(job(&model())).unwrap();
    unknown["strenght"] = 1.into();
    let (status, message) = raw("POST /v1/generate", unknown.to_string().as_bytes());
    assert_eq!(status, 400);
    assert!(message.contains("strenght"), "{message}");
    assert_eq!(raw("POST /v1/generate", &vec![b' '; 4 << 20]).0, 413);
    assert_eq!(engine.status().running, 0);
}

#[test]
fn a_model_whose_files_change_is_opened_again() {
    let engine = Engine::start();
    let dir = TempDir::new().unwrap();
    let copied = dir.path().join("model");
    copy(&model(), &copied);
    assert!(matches!(run(&engine, &job(&copied)).last(), Some(Event::Done { .. })));
    fs::remove_file(copied.join("unet/config.json")).unwrap();
    let Some(Event::Failed { error }) = run(&engine, &job(&copied)).pop() else {
        panic!("the model was not looked at")
    };
    assert_eq!(error.kind, EngineErrorKind::ModelBroken);
    assert!(error.message.contains("unet"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_with_what_would_and_the_next_job_runs() {
    let engine = Engine::start_with(&["--memory", "cpu=64MiB"]);
    let large = GenerateJob { width: 2048, height: 2048, steps: 1, ..job(&model()) };
    let events = run(&engine, &large);
    let Some(Event::Failed { error }) = events.last() else { panic!("it was made: {} events", events.len()) };
    assert_eq!(error.kind, EngineErrorKind::OutOfMemory, "{error}");
    assert!(error.message.contains("2048x2048") && error.message.contains("can be made free"), "{error}");
    assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("ask for ")), "{error:?}");
    let steps = events.iter().filter(|event| matches!(event, Event::Step { .. } | Event::Warning { .. }));
    assert_eq!(steps.count(), 0, "it was refused after the first step, or tried twice");
    assert!(matches!(run(&engine, &job(&model())).last(), Some(Event::Done { .. })));
    let memory = engine.status().devices[0].memory;
    assert!(memory.budget <= Some(64 << 20) && memory.peak <= 64 << 20, "{memory:?}");
}

#[test]
fn the_status_tells_of_components_and_models_are_closed_on_demand() {
    let engine = Engine::start();
    run(&engine, &job(&model()));
    let status = engine.status();
    let device = &status.devices[0];
    let names: Vec<_> = device.components.iter().map(|component| component.name.as_str()).collect();
    for name in ["unet", "vae", "text_encoder", "text_encoder_2"] {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(device.components.iter().all(|component| component.shared_by == 1 && component.leases == 0));
    assert!(device.memory.used + device.memory.mapped > 0 && device.memory.peak >= device.memory.used);
    let unload = |body: &str| {
        let mut answer = engine.send("POST /v1/unload", body.as_bytes());
        let mut text = String::new();
        answer.body.read_to_string(&mut text).unwrap();
        (answer.status, serde_json::from_str::<Value>(&text).unwrap())
    };
    assert_eq!(unload(r#"{"path":"/nowhere"}"#).1["models"], 0);
    assert_eq!(unload(r#"{"pth":"/nowhere"}"#).0, 400);
    assert_eq!(unload("{}"), (200, serde_json::json!({ "models": 1 })));
    let after = engine.status();
    assert!(after.models.is_empty() && after.devices[0].components.is_empty());
    assert_eq!((after.devices[0].memory.used, after.devices[0].memory.mapped), (0, 0));
    assert!(run(&engine, &job(&model())).contains(&Event::Loading));
}
