//! A process that makes a picture for each line it is sent: the engine's or diffusers'.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Result;
use super::subject::{PROMPT, Subject};

/// The environment variable that makes of this bench the process that is measured; its value is a [`Subject`].
pub const SERVE: &str = "EASEL_BENCH_SERVE";

/// Said once the model is open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    /// Who it is, with its versions.
    pub ready: String,
    pub open_ms: f64,
}

/// Said after each picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Picture {
    /// From the beginning of the picture to the end of its first step.
    pub first_ms: f64,
    /// Between the ends of one step and the next.
    pub step_ms: Vec<f64>,
    /// From its beginning to its end.
    pub whole_ms: f64,
    /// The most memory that the process has held so far.
    pub peak_kib: u64,
}

/// A process with an open model.
pub struct Process {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub ready: Ready,
}

impl Process {
    /// The engine: this program, in its other role.
    pub fn engine(subject: &Subject, threads: usize) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.env(SERVE, serde_json::to_string(subject)?).env("EASEL_BENCH_THREADS", threads.to_string());
        // As the engine itself runs.
        let (name, value) = easel_engine_protocol::OPENMP_SPINS;
        command.env(name, value);
        Self::start(command)
    }

    /// diffusers under this Python.
    pub fn diffusers(python: &str, subject: &Subject, threads: usize) -> Result<Self> {
        let mut command = Command::new(python);
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/bench/diffusers_peer.py"))
            .arg(&subject.model)
            .args(["--prompt", PROMPT, "--steps", &subject.steps.to_string()])
            .args(["--guidance-scale", &subject.guidance.to_string(), "--size", &subject.size.to_string()])
            .args(["--threads", &threads.to_string()]);
        if let Some(folder) = &subject.base {
            command.args(["--single-file", "sdxl", "--config"]).arg(folder);
        }
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().ok_or("no pipe from the process")?);
        let ready = read(&mut answers)?;
        Ok(Self { child, orders, answers, ready })
    }

    pub fn picture(&mut self) -> Result<Picture> {
        writeln!(self.orders.as_mut().ok_or("no pipe to the process")?, "picture")?;
        read(&mut self.answers)
    }
}

fn read<T: for<'de> Deserialize<'de>>(answers: &mut BufReader<ChildStdout>) -> Result<T> {
    let mut line = String::new();
    if answers.read_line(&mut line)? == 0 {
        return Err("a measured process ended early; what it said stands above".into());
    }
    Ok(serde_json::from_str(&line)?)
}

impl Drop for Process {
    fn drop(&mut self) {
        // Without orders it ends by itself.
        self.orders = None;
        let _ = self.child.wait();
    }
}
