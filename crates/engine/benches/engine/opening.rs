//! What opening a whole checkpoint costs: one of SDXL with holes for data, in processes of their own.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use easel_engine::parts::ModelParts;
use easel_engine::pipelines::Sdxl;
use easel_engine::weights::WeightMap;
use easel_engine_protocol::{Dtype, ModelSource};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::Result;
use super::report::{Line, Spread};

/// The environment variable that makes of this bench the process that opens; its value is the checkpoint.
pub const OPEN: &str = "EASEL_BENCH_OPEN";
/// As the page calls it.
pub const NAME: &str = "a checkpoint of 7 GB";
/// How often it is opened.
const ROUNDS: usize = 11;

/// What it took, each time.
#[derive(Debug, Default)]
pub struct Opening {
    ms: Vec<f64>,
    mib: Vec<f64>,
}

/// What one process says.
#[derive(Serialize, Deserialize)]
struct Opened {
    ms: f64,
    mib: f64,
}

/// Opens the checkpoint and says what it took.
pub fn open(checkpoint: &Path) -> Result<()> {
    // What libtorch takes by itself is not the checkpoint's.
    let ones = Tensor::f_ones([64, 64], (Kind::Float, Device::Cpu))?;
    drop(ones.f_mm(&ones)?);
    let (before, began) = (resident_mib()?, Instant::now());
    let source = ModelSource::whole(checkpoint, ModelParts::pipeline_of(checkpoint)?);
    let parts = ModelParts::open(&source)?;
    let maps: Vec<WeightMap> =
        parts.parts.iter().map(|part| WeightMap::of(part, Device::Cpu, Kind::Half)).collect::<Result<_, _>>()?;
    let pipeline = Sdxl::open(parts, Device::Cpu, Dtype::Fp16)?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let mib = resident_mib()? - before;
    drop((maps, pipeline));
    println!("{}", serde_json::to_string(&Opened { ms, mib })?);
    Ok(())
}

/// What this process has in memory, pages of files and all.
fn resident_mib() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("the kernel does not say")?;
    Ok(line.split_ascii_whitespace().next().unwrap_or_default().parse::<f64>()? / 1024.0)
}

/// Opens the checkpoint again and again.
pub fn measure(checkpoint: &Path) -> Result<Opening> {
    let mut opening = Opening::default();
    for _ in 0..ROUNDS {
        let output = Command::new(std::env::current_exe()?).env(OPEN, checkpoint).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let Opened { ms, mib } = serde_json::from_slice(&output.stdout)?;
        opening.ms.push(ms);
        opening.mib.push(mib);
    }
    Ok(opening)
}

impl Opening {
    /// What is told of it.
    pub fn lines(&self) -> Vec<Line> {
        let line = |what: &str, samples: &[f64], unit: &str, target: &str| {
            let text = Spread::of(samples).map_or_else(|| "–".to_owned(), |spread| spread.text(unit));
            [format!("{NAME}: {what}"), text, "–".to_owned(), "–".to_owned(), target.to_owned()]
        };
        vec![
            line("open it, tell what it is, map it", &self.ms, "ms", "≤ 50 ms"),
            line("resident memory of that", &self.mib, "MiB", "≤ 30 MiB"),
        ]
    }
}
