//! Clients that others wrote, against the stand-in: what it claims to speak is what they understand.
//!
//! They need a Python with the `OpenAI` client: `EASEL_TEST_PYTHON`, else the one that `tools/setup_test_env.py test`
//! makes. Where there is none, the test says by name that it was not run.

use std::path::PathBuf;
use std::process::Command;

use provider_sim::Simulator;

/// A Python that has the `OpenAI` client, if there is one.
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

#[tokio::test]
async fn the_openai_client_gets_pictures_and_its_own_exceptions_from_the_stand_in() {
    let Some(python) = python() else {
        println!("report: not run: the OpenAI client against the stand-in (tools/setup_test_env.py test installs it)");
        return;
    };
    let upstream = Simulator::start().await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/openai_images.py");
    let output = Command::new(python).arg(script).arg(upstream.base_url()).env("NO_PROXY", "*").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.matches("ok: ").count(), 6, "{said}");
}
