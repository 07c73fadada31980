//! Milliseconds of a denoising step, beside diffusers on the same folder with the same number of threads.
//!
//! Both make pictures in turns, so that a machine that slows down slows both down. The time of a step runs from the
//! end of the step before it; medians over all pictures are compared. Without a Python that has diffusers
//! (`EASEL_PARITY_PYTHON`) only the engine is measured; with one, the numbers are written to
//! `docs/benchmarks/engine.md`.

#![expect(clippy::disallowed_methods, reason = "a bench takes its settings from the environment")]

use std::env;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use easel_engine::parts::ModelParts;
use easel_engine::pipelines::{Observer, Pipeline, Request, Sdxl};
use easel_engine::pool::Pool;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};
use serde::Deserialize;
use tch::Device;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// What is asked of both for one model.
struct Subject {
    name: &'static str,
    folder: PathBuf,
    prompt: &'static str,
    steps: u32,
    guidance: f64,
    size: u32,
}

/// Pictures of each in turns, after one that does not count.
const TURNS: usize = 12;

fn main() -> Result<()> {
    // `cargo test --benches` only wants to know that it builds and starts.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let subjects = [
        Subject {
            name: "tiny SDXL, 64x64",
            folder: root.join("crates/engine/tests/fixtures/pipelines/base/model"),
            prompt: "a painting of a red squirrel, the cat & dog",
            steps: 20,
            guidance: 5.0,
            size: 64,
        },
        Subject {
            name: "models/shapes, 128x128",
            folder: root.join("models/shapes"),
            prompt: "a large red circle in the center on a blue background",
            steps: 20,
            guidance: 3.0,
            size: 128,
        },
    ];
    let cores = std::thread::available_parallelism()?.get();
    let threads = match env::var("EASEL_BENCH_THREADS") {
        Ok(threads) => threads.parse()?,
        Err(_) => cores,
    };
    tch::set_num_threads(i32::try_from(threads)?);
    println!("denoising steps in fp32 on the CPU, {threads} threads on {cores} cores, guidance on; medians");
    let mut rows = Vec::new();
    for subject in &subjects {
        if !subject.folder.join("model_index.json").is_file() {
            println!("{:24} absent, not run", subject.name);
            continue;
        }
        let Measured { engine, diffusers } = measure(subject, threads)?;
        match diffusers {
            Some((version, theirs)) => {
                let ratio = engine / theirs;
                println!(
                    "{:24} engine {engine:.2} ms/step, {version} {theirs:.2} ms/step: {ratio:.2}x (target: at most 1.00x)",
                    subject.name
                );
                let name = subject.name;
                rows.push(format!("| {name} | {engine:.2} ms | {theirs:.2} ms | {ratio:.2}× | ≤ 1.00× |\n"));
            }
            None => println!("{:24} engine {engine:.2} ms/step; diffusers: absent, not run", subject.name),
        }
    }
    if !rows.is_empty() {
        std::fs::write(root.join("docs/benchmarks/engine.md"), page(&rows.concat(), threads, cores))?;
    }
    Ok(())
}

/// What is kept of a run.
fn page(rows: &str, threads: usize, cores: usize) -> String {
    format!(
        "# What a denoising step costs

Written by `cargo bench -p easel-engine --bench step` (part of `make bench`); do not edit. fp32 on the CPU, {threads}
threads on {cores} cores, classifier-free guidance on.

| model | engine, a step | diffusers, a step | ratio | target |
|---|---|---|---|---|
{rows}
Both have the same folder, the same number of threads and the same request, and make their pictures in turns, {TURNS} each
after one that does not count. The time of a step runs from the end of the step before it to its own; the numbers are
medians over all steps.
"
    )
}

/// Medians, in milliseconds for a step.
struct Measured {
    engine: f64,
    /// And which diffusers it was.
    diffusers: Option<(String, f64)>,
}

fn measure(subject: &Subject, threads: usize) -> Result<Measured> {
    let parts = ModelParts::open(&ModelSource::whole(&subject.folder, PipelineKind::Sdxl))?;
    let model = (Sdxl::open(parts, Device::Cpu, Dtype::Fp32)?, Pool::new(Device::Cpu));
    let mut peer = Peer::start(subject, threads)?;
    ours(&model, subject)?;
    if let Some(peer) = &mut peer {
        peer.picture()?;
    }
    let (mut engine, mut diffusers) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        engine.extend(ours(&model, subject)?);
        if let Some(peer) = &mut peer {
            diffusers.extend(peer.picture()?);
        }
    }
    Ok(Measured {
        engine: median(engine).ok_or("no step was measured")?,
        diffusers: peer.map(|peer| peer.version.clone()).zip(median(diffusers)),
    })
}

/// The times of all steps of one picture but the first, whose begin nobody tells.
fn ours((model, pool): &(Sdxl, Pool), subject: &Subject) -> Result<Vec<f64>> {
    struct Ends(Vec<Instant>);
    impl Observer for Ends {
        fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
            self.0.push(Instant::now());
            ControlFlow::Continue(())
        }
    }
    let request = Request {
        prompt: subject.prompt.to_owned(),
        seeds: vec![7],
        steps: subject.steps,
        guidance_scale: subject.guidance,
        width: subject.size,
        height: subject.size,
        ..Request::default()
    };
    let mut ends = Ends(Vec::new());
    model.generate(&request, pool, &mut ends)?;
    Ok(ends.0.iter().zip(ends.0.iter().skip(1)).map(|(a, b)| (*b - *a).as_secs_f64() * 1e3).collect())
}

fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// diffusers in a process of its own, which makes a picture for each line it is sent.
struct Peer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    version: String,
}

#[derive(Deserialize)]
struct Ready {
    ready: String,
}

#[derive(Deserialize)]
struct Answer {
    step_ms: Vec<f64>,
}

impl Peer {
    fn start(subject: &Subject, threads: usize) -> Result<Option<Self>> {
        let Some(python) = env::var("EASEL_PARITY_PYTHON").ok().filter(|python| !python.is_empty()) else {
            return Ok(None);
        };
        let mut child = Command::new(python)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/bench/diffusers_step.py"))
            .arg(&subject.folder)
            .args(["--prompt", subject.prompt, "--steps", &subject.steps.to_string()])
            .args(["--guidance-scale", &subject.guidance.to_string(), "--size", &subject.size.to_string()])
            .args(["--threads", &threads.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().ok_or("no pipe from Python")?);
        let mut peer = Self { child, orders, answers, version: String::new() };
        peer.version = peer.read::<Ready>()?.ready;
        Ok(Some(peer))
    }

    fn picture(&mut self) -> Result<Vec<f64>> {
        writeln!(self.orders.as_mut().ok_or("no pipe to Python")?, "picture")?;
        Ok(self.read::<Answer>()?.step_ms)
    }

    fn read<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err("tools/bench/diffusers_step.py ended early".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Without orders it ends by itself.
        self.orders = None;
        let _ = self.child.wait();
    }
}
