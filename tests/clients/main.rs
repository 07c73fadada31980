//! The vendors' own clients, against the stand-in: what it claims to speak is what they understand.
//!
//! Each of them is unchanged but for its base URL, and makes a picture from text, one from a picture, and an error:
//! `openai` and `google-genai` in Python, `openai` in JavaScript, `runware-sdk` in Python over REST and over its
//! WebSocket, which is its default. Runware's older Python client, `runware`, takes the address of a WebSocket and knows
//! no other way to ask for pictures; it does the same over that.
//!
//! They need a Python that has them: `EASEL_TEST_PYTHON`, else the one that `tools/setup_test_env.py test` makes, with
//! a Node and the older client beside it. What is not there is named as not run.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

use std::path::{Path, PathBuf};
use std::process::Command;

use provider_sim::{Simulator, Vendor};

/// A Python that has the clients, if there is one.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what they may use")]
fn python() -> Option<PathBuf> {
    if let Some(python) = std::env::var_os("EASEL_TEST_PYTHON") {
        return Some(python.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("easel/venv-test/bin/python")).filter(|python| python.exists())
}

/// What lies beside that Python.
fn beside(place: &str) -> Option<PathBuf> {
    python()?.parent()?.parent().map(|folder| folder.join(place)).filter(|place| place.exists())
}

fn not_run(what: &str) {
    println!("report: not run: {what} against the stand-in (tools/setup_test_env.py test installs it)");
}

/// Runs a script with a base URL; it has to see as many things to be right.
fn run(program: &Path, script: &str, vendor: Vendor, right: usize, variables: &[(&str, &Path)]) {
    let upstream = Simulator::bind("127.0.0.1:0", provider_sim::Behaviour::default()).unwrap();
    let script = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients")).join(script);
    let admin = format!("http://{}/admin", upstream.address());
    let output = Command::new(program)
        .arg(script)
        .args([upstream.url(vendor), admin])
        // Nothing but the stand-in can be reached.
        .envs([("NO_PROXY", "127.0.0.1"), ("HTTPS_PROXY", "http://127.0.0.1:9"), ("HTTP_PROXY", "http://127.0.0.1:9")])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("ok: ").count(), right, "{said}");
    assert!(upstream.counts_of(vendor).hits >= 3, "{vendor:?}: {:?}", upstream.counts());
}

#[test]
fn the_openai_client_gets_pictures_and_its_own_exceptions() {
    let Some(python) = python() else { return not_run("the OpenAI client") };
    run(&python, "openai_images.py", Vendor::OpenAi, 9, &[]);
}

#[test]
fn the_openai_client_in_javascript_gets_pictures_and_its_own_exceptions() {
    let (Some(node), Some(modules)) = (beside("bin/node"), beside("clients/node_modules")) else {
        return not_run("the OpenAI client in JavaScript");
    };
    run(&node, "node/openai_images.mjs", Vendor::OpenAi, 5, &[("EASEL_NODE_MODULES", &modules)]);
}

#[test]
fn the_gemini_client_gets_pictures_and_its_own_exceptions() {
    let Some(python) = python() else { return not_run("the Gemini client") };
    run(&python, "gemini_images.py", Vendor::Gemini, 6, &[]);
}

#[test]
fn the_runware_client_gets_pictures_and_its_own_exceptions() {
    let Some(python) = python() else { return not_run("the Runware client") };
    run(&python, "runware_images.py", Vendor::Runware, 10, &[]);
}

#[test]
fn the_older_runware_client_gets_pictures_and_its_own_exceptions() {
    let (Some(python), Some(legacy)) = (python(), beside("legacy")) else {
        return not_run("the older Runware client");
    };
    run(&python, "runware_legacy_images.py", Vendor::Runware, 3, &[("PYTHONPATH", &legacy)]);
}
