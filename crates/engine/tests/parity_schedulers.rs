//! Every schedule, and the way of a few numbers through all its steps, equals the one of diffusers
//! (`fixtures/schedulers.json`, by `tools/parity/schedulers.py`; what the formulas of network and noise are is said there).
//!
//! Where a Python with diffusers is named by `EASEL_PARITY_PYTHON`, the same is done for `EASEL_PARITY_COUNT` cases that
//! nobody chose (40, or 400 where `EASEL_TEST_LEVEL` is `long`), drawn from `EASEL_PARITY_SEED` (0) on.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::float_cmp,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a failing test may panic, recorded numbers are f32 and compared to the bit, and the environment says where Python is"
)]

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use easel_engine::pipelines::Sampler;
use easel_engine::schedulers::{self, Ask, Schedule};
use easel_engine::{Error, Result};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

/// Largest relative difference of a timestep or a sigma.
const TOLERANCE: f64 = 1e-6;
/// The samples, or [`RELATIVE`] of the largest where that is more: they are as large as the noise they begin with.
const SAMPLES: f64 = 5e-5;
const RELATIVE: f64 = 2e-6;

const SHAPE: [i64; 4] = [2, 2, 2, 2];
const SEQ_LEN: u32 = 1024;

#[derive(Deserialize)]
struct Table {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    class: String,
    config: Map<String, Value>,
    /// The class that the config is of, where it is not this one.
    from: Option<String>,
    steps: u32,
    strength: Option<f64>,
    #[serde(default)]
    pipeline_sigmas: bool,
    /// Why diffusers makes nothing of it.
    refused: Option<String>,
    init_noise_sigma: Option<f64>,
    #[serde(default, deserialize_with = "numbers")]
    timesteps: Vec<f32>,
    #[serde(default, deserialize_with = "numbers")]
    sigmas: Vec<f32>,
    /// The first and the last number of every sample, from the first on.
    #[serde(default, deserialize_with = "numbers")]
    way: Vec<f32>,
    /// The last sample.
    #[serde(default, deserialize_with = "numbers")]
    last: Vec<f32>,
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f32>, D::Error> {
    let bytes = STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)?;
    Ok(bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect())
}

impl Case {
    fn schedule(&self) -> Result<Schedule> {
        let class = json!(self.class);
        let plain = Ask { image_seq_len: Some(SEQ_LEN), ..Ask::steps(self.steps) };
        let ask = if self.pipeline_sigmas { Ask::flux(self.steps, SEQ_LEN) } else { plain };
        let mut config = self.config.clone();
        match &self.from {
            None => {
                config.insert("_class_name".to_owned(), class);
                schedulers::build(&config, None, &ask)
            }
            Some(origin) => {
                config.insert("_class_name".to_owned(), json!(origin));
                schedulers::build(&config, Some(&Map::from_iter([("_class_name".to_owned(), class)])), &ask)
            }
        }
    }

    /// The samples, from the first to the last.
    fn way(&self, schedule: &Schedule) -> Result<Vec<Tensor>> {
        let begin = self.strength.map_or(Ok(0), |strength| schedule.begin(strength))?;
        let mut sampler = Sampler::new(schedule, begin)?;
        let noise = plain(0);
        let mut sample = match begin {
            0 => &noise * sampler.init_noise_sigma(),
            _ => sampler.add_noise(0, &plain(-2), &noise)?,
        };
        let mut way = vec![sample.copy()];
        let mut drawn = 0;
        for i in 0..sampler.len() {
            let input = sampler.scale_input(i, &sample)?;
            let output = network(&input, sampler.timestep(i)?);
            sample = sampler.step(i, &sample, &output, &mut || {
                drawn += 1;
                Ok(plain(drawn))
            })?;
            let clean = sampler.denoised()?.ok_or_else(|| Error::internal("no estimate"))?;
            assert_eq!(clean.size(), SHAPE);
            way.push(sample.copy());
        }
        Ok(way)
    }

    fn place(&self) -> String {
        let begin = self.strength.map_or(String::new(), |strength| format!(" at strength {strength}"));
        let laid = if self.pipeline_sigmas { " with laid sigmas" } else { "" };
        let from = self.from.as_ref().map_or(String::new(), |from| format!(" from {from}"));
        format!("{} steps of {}{from}{begin}{laid} with {}", self.steps, self.class, Value::Object(self.config.clone()))
    }
}

/// `plain` of the script.
fn plain(key: i64) -> Tensor {
    let numbers: Vec<f32> = (0..SHAPE.iter().product::<i64>())
        .map(|i| {
            let number = ((key * 7919 + i * 104_729 + 12345) * 2_654_435_761).rem_euclid(1 << 32);
            ((number as f64 / 4_294_967_296.0 - 0.5) * 3.5) as f32
        })
        .collect();
    Tensor::from_slice(&numbers).view(SHAPE)
}

/// `network` of the script.
fn network(sample: &Tensor, t: f64) -> Tensor {
    sample * 0.35 + (plain(-1) + 0.01 * t).sin() * 0.8
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_device(Device::Cpu).to_kind(Kind::Float).flatten(0, -1)).unwrap()
}

/// How far the engine is from diffusers, in units of the limit, for each class.
#[derive(Default)]
struct Report {
    numbers: BTreeMap<String, (usize, usize)>,
    worst: BTreeMap<String, (f64, String)>,
    refused: usize,
    wrong: Vec<String>,
}

impl Report {
    fn check(&mut self, case: &Case) {
        if let Err(what) = self.compare(case) {
            self.wrong.push(format!("{what}: {}", case.place()));
        }
    }

    fn compare(&mut self, case: &Case) -> Result<(), String> {
        let said = |error: Error| format!("refused ({error})");
        if case.refused.is_some() {
            self.refused += 1;
            // What diffusers makes NaN of, the engine may know how to make; it must not make NaN.
            let made = case.schedule().and_then(|schedule| case.way(&schedule));
            return match made {
                Ok(samples) if !floats(&samples[samples.len() - 1]).iter().all(|x| x.is_finite()) => {
                    Err("not finite".to_owned())
                }
                _ => Ok(()),
            };
        }
        let schedule = case.schedule().map_err(said)?;
        let samples = case.way(&schedule).map_err(said)?;
        let ours = [schedule.timesteps(), schedule.sigmas(), &[schedule.init_noise_sigma()]];
        let noise = [case.init_noise_sigma.unwrap() as f32];
        for (what, ours, theirs) in [
            ("timesteps", ours[0], &case.timesteps[..]),
            ("sigmas", ours[1], &case.sigmas),
            ("first noise", ours[2], &noise),
        ] {
            if ours.len() != theirs.len() {
                return Err(format!("{} {what}, not {}", ours.len(), theirs.len()));
            }
            for (&ours, &theirs) in ours.iter().zip(theirs) {
                let (equal, all) = self.numbers.entry(case.class.clone()).or_default();
                *equal += usize::from(ours as f32 == theirs);
                *all += 1;
                let difference = (f64::from(ours as f32) - f64::from(theirs)).abs() / f64::from(theirs).abs().max(1e-3);
                if difference > TOLERANCE {
                    return Err(format!("{what} {ours}, not {theirs}"));
                }
            }
        }
        self.samples(case, &samples)
    }

    fn samples(&mut self, case: &Case, samples: &[Tensor]) -> Result<(), String> {
        let samples: Vec<Vec<f32>> = samples.iter().map(floats).collect();
        let ours: Vec<f32> = samples.iter().flat_map(|sample| [sample[0], sample[sample.len() - 1]]).collect();
        if ours.len() != case.way.len() {
            return Err(format!("{} samples, not {}", ours.len() / 2, case.way.len() / 2));
        }
        let last = &samples[samples.len() - 1];
        let all = ours.iter().zip(&case.way).enumerate().map(|(i, pair)| (i / 2, pair));
        let all = all.chain(last.iter().zip(&case.last).map(|pair| (samples.len() - 1, pair)));
        // The way is as exact as its largest sample: what is rounded away there is missing in all that follows.
        let mut largest = 0.0_f64;
        for (i, (&ours, &theirs)) in all {
            largest = largest.max(f64::from(theirs).abs());
            let limit = SAMPLES.max(RELATIVE * largest);
            let excess = (f64::from(ours) - f64::from(theirs)).abs() / limit;
            let worst = self.worst.entry(case.class.clone()).or_default();
            if excess > worst.0 {
                *worst = (excess, format!("{ours} for {theirs} after {i} of {}", case.place()));
            }
            if excess > 1.0 || excess.is_nan() {
                return Err(format!("{ours}, not {theirs}, after {i} steps"));
            }
        }
        Ok(())
    }

    fn finish(self) {
        for (class, (equal, all)) in &self.numbers {
            let (excess, place) = self.worst.get(class).cloned().unwrap_or_default();
            println!(
                "{class}: {equal} of {all} numbers equal to the bit; samples at most {excess:.2} of the limit: {place}"
            );
        }
        println!("{} cases refused by diffusers", self.refused);
        let shown: Vec<&str> = self.wrong.iter().take(40).map(String::as_str).collect();
        assert!(shown.is_empty(), "{} cases are wrong:\n{}", self.wrong.len(), shown.join("\n"));
        for (class, (equal, all)) in self.numbers {
            assert!(equal * 100 >= all * 97, "only {equal} of {all} numbers of {class} are equal to the bit");
        }
    }
}

fn check(json: &str) -> Report {
    tch::set_num_threads(1);
    let table: Table = serde_json::from_str(json).unwrap();
    let mut report = Report::default();
    table.cases.iter().for_each(|case| report.check(case));
    report
}

#[test]
fn every_class_goes_the_way_of_diffusers() {
    let report = check(include_str!("fixtures/schedulers.json"));
    let classes: Vec<&str> = report.numbers.keys().map(String::as_str).collect();
    assert_eq!(classes.len(), 11, "{classes:?}");
    report.finish();
}

#[test]
fn random_cases() {
    let Some(python) = env::var("EASEL_PARITY_PYTHON").ok().filter(|python| !python.is_empty()) else {
        println!("report: not run: parity on random schedules (EASEL_PARITY_PYTHON names no Python with diffusers)");
        return;
    };
    let long = env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long");
    let [count, seed] = [("EASEL_PARITY_COUNT", if long { "400" } else { "40" }), ("EASEL_PARITY_SEED", "0")]
        .map(|(name, default)| env::var(name).unwrap_or_else(|_| default.to_owned()));
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("schedulers.json");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/parity/schedulers.py");
    let made = Command::new(python)
        .arg(script)
        .arg("--out")
        .arg(&file)
        .args(["--random", &count, "--seed", &seed])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut report = check(&std::fs::read_to_string(file).unwrap());
    println!("report: parity on {count} random schedules, from seed {seed}");
    // A few cases of a class are too few for a share.
    report.numbers.values_mut().for_each(|(equal, all)| *equal = *all);
    report.finish();
}
