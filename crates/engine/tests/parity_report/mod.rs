//! How far numbers are from those of diffusers, told line by line, what a fixture folder has in common with every other, and
//! the limits. It knows no pipeline.

#![expect(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::fs::read;
use std::ops::ControlFlow;
use std::path::Path;

use easel_engine::pipelines::Observer;
use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;
use tch::{Kind, Tensor};

/// A network's output against its largest number.
pub const MODULE: f64 = 2e-6;
/// Where diffusers itself is farther than [`MODULE`] from double precision, as after the many sums of a large picture, the
/// engine may be so many times as far from it.
const BESIDE: f64 = 1.5;
/// The latents of any step. Where they are larger than 25, as after the first step from pure noise, `f32` itself is
/// coarser on another processor than the one that made the fixtures, and [`MODULE`] of the largest is the limit.
pub const LATENTS: f64 = 5e-5;
/// A picture, from 0 to 1.
pub const IMAGE: f64 = 5e-6;

/// `expected.safetensors` and `runs.json` of a folder.
pub fn recorded<R: DeserializeOwned>(folder: &Path) -> (BTreeMap<String, Tensor>, Vec<R>) {
    // The tests run side by side; more threads in each would only make them wait for each other.
    tch::set_num_threads(1);
    let bytes = read(folder.join("expected.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let expected = stored.iter().map(|(name, view)| {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::I64 => Kind::Int64,
            Dtype::U8 => Kind::Uint8,
            other => panic!("{name} is {other:?}"),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&n| i64::try_from(n).unwrap()).collect();
        (name.to_owned(), Tensor::from_data_size(view.data(), &shape, kind))
    });
    let runs = serde_json::from_slice(&read(folder.join("runs.json")).unwrap()).unwrap();
    (expected.collect(), runs)
}

/// What a pipeline tells about a request.
#[derive(Debug, Default)]
pub struct Recorder {
    pub dumped: BTreeMap<String, Tensor>,
    pub warnings: Vec<String>,
    /// End the request after its first step.
    pub stop: bool,
    /// Nobody waits for it.
    pub gone: bool,
}

impl Observer for Recorder {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        if self.stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn is_cancelled(&mut self) -> bool {
        self.gone
    }

    fn warn(&mut self, message: &str) {
        self.warnings.push(message.to_owned());
    }

    fn dump(&mut self, name: &str, tensor: &Tensor) {
        self.dumped.insert(name.to_owned(), tensor.copy());
    }
}

/// How far the engine is from a fixture: a line for each tensor compared.
#[derive(Debug, Default)]
pub struct Report {
    pub lines: Vec<String>,
    pub wrong: Vec<String>,
}

impl Report {
    /// Compares by the largest absolute difference.
    pub fn absolute(&mut self, name: &str, ours: &Tensor, theirs: &Tensor, limit: f64) {
        let difference = difference(name, ours, theirs);
        self.note(name, difference, limit, "");
    }

    /// Compares what a network makes with what diffusers' makes of the same, by the largest difference over the largest
    /// number; or both with that in double precision, where the fixture has it as `.double`.
    pub fn module(&mut self, name: &str, ours: &Tensor, expected: &BTreeMap<String, Tensor>) {
        let theirs = &expected[name];
        let Some(exact) = expected.get(&format!("{name}.double")) else {
            return self.relative(name, ours, theirs, MODULE);
        };
        let limit = MODULE.max(BESIDE * off(name, theirs, exact));
        self.note(&format!("{name}.double"), off(name, ours, exact), limit, " relative");
    }

    /// Compares by the largest difference over the largest number.
    pub fn relative(&mut self, name: &str, ours: &Tensor, theirs: &Tensor, limit: f64) {
        self.note(name, off(name, ours, theirs), limit, " relative");
    }

    fn note(&mut self, name: &str, difference: f64, limit: f64, sort: &str) {
        let line = format!("{name:32} {difference:.2e}{sort} of {limit:.1e}");
        // Not `difference > limit`: a NaN is wrong too.
        if difference <= limit {
            self.lines.push(line);
        } else {
            self.wrong.push(line);
        }
    }

    /// Prints what was right and fails on what was not.
    pub fn finish(self, place: &str) {
        println!("{place}");
        for line in &self.lines {
            println!("  {line}");
        }
        assert!(self.wrong.is_empty(), "{place}: too far from diffusers:\n  {}", self.wrong.join("\n  "));
    }
}

/// The largest difference over the largest number.
fn off(name: &str, ours: &Tensor, theirs: &Tensor) -> f64 {
    difference(name, ours, theirs) / theirs.abs().max().double_value(&[]).max(f64::MIN_POSITIVE)
}

fn difference(name: &str, ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size(), "{name}");
    (ours.to_kind(Kind::Double) - theirs.to_kind(Kind::Double)).abs().max().double_value(&[])
}
