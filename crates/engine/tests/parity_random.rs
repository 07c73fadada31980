//! The engine against diffusers on configs that nobody chose (`tools/parity/random_configs.py`). It needs a Python with
//! diffusers, which is named by `EASEL_PARITY_PYTHON`; without one it says that it was not run. `EASEL_PARITY_COUNT`
//! configs (10, or 200 where `EASEL_TEST_LEVEL` is `long`) are drawn from `EASEL_PARITY_SEED` (0) on.

#![expect(clippy::disallowed_methods, reason = "the environment says where Python is")]

#[expect(dead_code, reason = "the committed fixtures and single pictures are not needed here")]
mod parity_support;

use std::env;
use std::path::Path;
use std::process::Command;

use parity_support::{Fixture, Report};

#[test]
fn random_configs() {
    let Some(python) = env::var("EASEL_PARITY_PYTHON").ok().filter(|python| !python.is_empty()) else {
        println!("report: not run: parity on random configs (EASEL_PARITY_PYTHON names no Python with diffusers)");
        return;
    };
    let long = env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long");
    let [count, seed] = [("EASEL_PARITY_COUNT", if long { "200" } else { "10" }), ("EASEL_PARITY_SEED", "0")]
        .map(|(name, default)| env::var(name).unwrap_or_else(|_| default.to_owned()));
    let out = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/parity/random_configs.py");
    let made = Command::new(python)
        .arg(script)
        .arg("--out")
        .arg(out.path())
        .args(["--count", &count, "--seed", &seed])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let mut folders: Vec<_> = out.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len().to_string(), count);
    let mut wrong = Vec::new();
    for folder in folders {
        let fixture = Fixture::read(&folder);
        let checks: [fn(&Fixture) -> Report; 5] = [
            Fixture::check_noise,
            Fixture::check_texts,
            Fixture::check_unet,
            Fixture::check_vae,
            Fixture::check_pictures,
        ];
        for report in checks.map(|check| check(&fixture)) {
            for line in report.lines {
                println!("{}: {line}", fixture.name());
            }
            wrong.extend(report.wrong.iter().map(|line| format!("{}: {line}", fixture.name())));
        }
    }
    println!("report: parity on {count} random configs, from seed {seed}");
    assert!(wrong.is_empty(), "too far from diffusers:\n{}", wrong.join("\n"));
}
