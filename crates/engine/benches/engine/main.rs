//! What pictures cost, beside diffusers on the same models with the same number of threads and the same seed.
//!
//! Both run in processes of their own and make their pictures in turns, so that a machine that slows down slows both
//! down. Without a Python that has diffusers (`EASEL_PARITY_PYTHON`) only the small models of the tree are measured, and
//! only the engine; with one, the large models are made on first use and the numbers are written to
//! `docs/benchmarks/engine.md`. `EASEL_BENCH_ONLY` names a part of a subject's name.

#![expect(clippy::disallowed_methods, reason = "a bench takes its settings from the environment")]

#[path = "../../../../benches/gateway/machine.rs"]
mod machine;
mod opening;
mod ours;
mod process;
mod report;
mod subject;

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use process::{Picture, Process};
use report::{Report, Row, Samples};
use serde::Deserialize;
use subject::Subject;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds and starts.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let cores = std::thread::available_parallelism()?.get();
    let threads = match env::var("EASEL_BENCH_THREADS") {
        Ok(threads) => threads.parse()?,
        Err(_) => cores,
    };
    if let Ok(subject) = env::var(process::SERVE) {
        return ours::serve(&serde_json::from_str(&subject)?, i32::try_from(threads)?);
    }
    if let Some(checkpoint) = env::var_os(opening::OPEN) {
        return opening::open(Path::new(&checkpoint));
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = env::var("EASEL_PARITY_PYTHON").ok().filter(|python| !python.is_empty());
    let mut subjects = subject::small(&root);
    if let Some(python) = &python {
        subjects.extend(made(&root, python)?);
    }
    let only = env::var("EASEL_BENCH_ONLY").unwrap_or_default();
    subjects.retain(|subject| subject.name.contains(&only));
    let mut report = Report::new(threads);
    for subject in &subjects {
        report.add(measure(subject, threads, python.as_deref())?);
    }
    if let Some(python) = python.as_deref().filter(|_| opening::NAME.contains(&only)) {
        let folder = tempfile::tempdir()?;
        let checkpoint = single_file(&root, python, "--whole", &folder.path().join("sdxl.safetensors"))?;
        report.add_lines(opening::measure(&checkpoint)?.lines());
    }
    if python.is_some() && only.is_empty() {
        println!("written: {}", report.write_page(&root)?.display());
    }
    Ok(())
}

/// The large models, made where they are not there yet.
fn made(root: &Path, python: &str) -> Result<Vec<Subject>> {
    #[derive(Deserialize)]
    struct Made {
        name: String,
        folder: PathBuf,
    }
    let mut subjects = Vec::new();
    for line in said(Command::new(python).arg(root.join("tools/bench/make_models.py")))?.lines() {
        let Made { name, folder } = serde_json::from_str(line)?;
        if name == "sdxl" {
            subjects.push(subject::single_file(single_file(root, python, "--model", &folder)?, folder.clone()));
        }
        subjects.extend(subject::large(&name, folder));
    }
    Ok(subjects)
}

/// A single file, made where it is not there yet: of a model in a folder, or a whole checkpoint.
fn single_file(root: &Path, python: &str, what: &str, place: &Path) -> Result<PathBuf> {
    let made = said(Command::new(python).arg(root.join("tools/bench/single_file.py")).arg(what).arg(place))?;
    Ok(made.trim().into())
}

/// What a program says that has to succeed.
fn said(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn measure(subject: &Subject, threads: usize, python: Option<&str>) -> Result<Row> {
    let mut row = Row::new(subject);
    for _ in 0..subject.rounds {
        let mut ours = Process::engine(subject, threads)?;
        let mut theirs = match python {
            Some(python) => Some(Process::diffusers(python, subject, threads)?),
            None => None,
        };
        for number in 0..subject.pictures {
            let counts = subject.pictures == 1 || number > 0;
            let picture = ours.picture()?;
            add(&mut row.engine, &ours, &picture, number == 0, counts);
            if let Some(theirs) = &mut theirs {
                let picture = theirs.picture()?;
                row.peer.clone_from(&theirs.ready.ready);
                add(&mut row.diffusers, theirs, &picture, number == 0, counts);
            }
        }
    }
    Ok(row)
}

fn add(samples: &mut Samples, process: &Process, picture: &Picture, is_first: bool, counts: bool) {
    if is_first {
        samples.first_ms.push(process.ready.open_ms + picture.first_ms);
        #[expect(clippy::cast_precision_loss, reason = "mebibytes")]
        samples.peak_mib.push(picture.peak_kib as f64 / 1024.0);
        samples.picture_ms.push(picture.whole_ms);
    }
    if counts {
        samples.step_ms.extend(&picture.step_ms);
    }
}
