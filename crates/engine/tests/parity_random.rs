//! The engine against diffusers on configs that nobody chose (`tools/parity/random_configs.py`, `flux_random.py`). It needs a
//! Python with diffusers, which is named by `EASEL_PARITY_PYTHON`; without one it says that it was not run.
//! `EASEL_PARITY_COUNT` configs (10, 5 of FLUX and 2 with large pictures of each; or 200, 80 and 8 where `EASEL_TEST_LEVEL` is
//! `long`) are drawn from `EASEL_PARITY_SEED` (0) on.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the environment says where Python is, and a failing test may panic"
)]

#[expect(dead_code, reason = "the committed fixtures and what is tried with them alone are not needed here")]
mod flux_support;
mod parity_report;
#[expect(dead_code, reason = "the committed fixtures and single pictures are not needed here")]
mod parity_support;

use std::env;
use std::path::Path;
use std::process::Command;

use parity_report::Report;

/// The pipelines of SD and SDXL.
#[test]
fn random_configs() {
    compare("random_configs.py", &[], ["10", "200"], |folder| parity_support::Fixture::read(folder).check_all());
}

/// Where the kernels for large pictures come in.
#[test]
fn large_pictures() {
    let large = &["--large", "--threads", "2"];
    compare("random_configs.py", large, ["2", "8"], |folder| parity_support::Fixture::read(folder).check_all());
}

#[test]
fn large_flux() {
    let large = &["--large", "--threads", "2"];
    compare("flux_random.py", large, ["2", "8"], |folder| flux_support::Fixture::read(folder).check_all());
}

#[test]
fn random_flux() {
    compare("flux_random.py", &[], ["5", "80"], |folder| flux_support::Fixture::read(folder).check_all());
}

/// Has a script draw so many, or so many at the level `long`, and compares each.
fn compare(script: &str, more: &[&str], [short, long]: [&str; 2], check: fn(&Path) -> Vec<Report>) {
    let Some(python) = env::var("EASEL_PARITY_PYTHON").ok().filter(|python| !python.is_empty()) else {
        println!("report: not run: parity by {script} (EASEL_PARITY_PYTHON names no Python with diffusers)");
        return;
    };
    let count = if env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long") { long } else { short };
    let [count, seed] = [("EASEL_PARITY_COUNT", count), ("EASEL_PARITY_SEED", "0")]
        .map(|(name, default)| env::var(name).unwrap_or_else(|_| default.to_owned()));
    let out = tempfile::tempdir().unwrap();
    let made = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/parity").join(script))
        .arg("--out")
        .arg(out.path())
        .args(["--count", &count, "--seed", &seed])
        .args(more)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));

    let mut folders: Vec<_> = out.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len().to_string(), count);
    let mut whole = Report::default();
    for folder in folders {
        let name = folder.file_name().unwrap().to_string_lossy();
        for report in check(&folder) {
            whole.lines.extend(report.lines.iter().map(|line| format!("{name}: {line}")));
            whole.wrong.extend(report.wrong.iter().map(|line| format!("{name}: {line}")));
        }
    }
    println!("report: parity on {count} configs of {}, from seed {seed}", [&[script], more].concat().join(" "));
    whole.finish(script);
}
