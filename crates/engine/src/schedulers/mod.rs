//! Noise schedules: which noise levels a picture goes through and what one step does to it. Plain `f64` arithmetic on
//! a few dozen numbers; no tensor is touched here, the pipeline applies each [`Step`].

mod betas;
mod euler;
mod log;
mod names;
mod sigmas;

use serde_json::{Map, Value};

pub use euler::EulerDiscrete;
pub use names::from_name;

use crate::config::scheduler::EulerDiscreteConfig;
use crate::{Error, Result};

/// The classes that can be asked for, as diffusers spells them.
pub const AVAILABLE: [&str; 1] = [EulerDiscrete::CLASS];

/// More steps than anybody waits for; the limit keeps a wrong number from filling the memory.
const MAX_STEPS: u32 = 10_000;

/// A schedule for one picture: `len` steps, each at its own noise level.
pub trait Scheduler: Send {
    /// How many times the network runs. Spacings may give one more than was asked for, as in diffusers.
    fn len(&self) -> usize;

    /// Whether there is no step; never so for a schedule from [`build`].
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the network is told as time at step `i`.
    fn timestep(&self, i: usize) -> f64;

    /// Unit noise times this is the first sample.
    fn init_noise_sigma(&self) -> f64;

    /// The sample divided by this is the network's input at step `i`. A divisor, because diffusers divides and the
    /// last bit is amplified by guidance.
    fn input_divisor(&self, i: usize) -> f64;

    /// All noise levels, one or more longer than `len`.
    fn sigmas(&self) -> &[f64];

    /// What step `i` does.
    fn step(&self, i: usize) -> Step;
}

/// One step: from a sample and the network's output to the next sample. All numbers are exact in `f32`.
///
/// With `x0 = denoised.sample · x + denoised.output · output`, the next sample is `x + (x − x0) / sigma · dt`. The
/// two stages are not folded into one pair of coefficients, because with a terminal signal-to-noise ratio of zero the
/// first sigma is 4096, and `f32` then rounds away more in diffusers' order than the tolerance of the parity tests:
/// the pipeline follows the stages one by one, in `f32`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// How the clean sample is estimated.
    pub denoised: Denoised,
    /// The noise level that the sample has.
    pub sigma: f64,
    /// The next noise level less this one; negative.
    pub dt: f64,
}

/// How the clean sample follows from the noisy one and the network's output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Denoised {
    /// `x − sigma · output`.
    Epsilon,
    /// `output`.
    Sample,
    /// `output · scale + x / divisor`.
    Velocity {
        /// `−sigma / √(sigma² + 1)`.
        scale: f64,
        /// `sigma² + 1`.
        divisor: f64,
    },
}

impl Step {
    /// `(a, b)` with `a · x + b · output` as the next sample: the same step in one line, but for rounding.
    pub fn coefficients(&self) -> (f64, f64) {
        let slope = self.dt / self.sigma;
        match self.denoised {
            Denoised::Epsilon => (1.0, self.dt),
            Denoised::Sample => (1.0 + slope, -slope),
            Denoised::Velocity { scale, divisor } => (1.0 + slope * (1.0 - 1.0 / divisor), -slope * scale),
        }
    }
}

/// The schedule that a `scheduler_config.json` describes, with `overrides` in place of its keys.
///
/// When `overrides` names another class than the file, those keys of the file that the new class does not read are
/// left out, as in diffusers' `from_config`; unknown keys in `overrides` are always refused.
pub fn build(
    config: &Map<String, Value>,
    overrides: Option<&Map<String, Value>>,
    steps: u32,
) -> Result<Box<dyn Scheduler>> {
    if !(1..=MAX_STEPS).contains(&steps) {
        return Err(Error::invalid(format!("steps is {steps}, not from 1 to {MAX_STEPS}")));
    }
    let own = class(config)?;
    let asked = overrides.map(class).transpose()?.flatten();
    let name = asked.or(own).ok_or_else(|| Error::broken("scheduler: `_class_name` is missing"))?;
    if name != EulerDiscrete::CLASS {
        let error = if asked.is_some() { Error::invalid } else { Error::broken }(format!(
            "the scheduler {name} is not available"
        ));
        return Err(error.with_hint(format!("available: {}", AVAILABLE.join(", "))));
    }
    let switched = own != Some(name);
    let mut merged = config.clone();
    if switched {
        merged.retain(|key, _| EulerDiscreteConfig::reads(key));
    }
    for (key, value) in overrides.into_iter().flatten() {
        merged.insert(key.clone(), value.clone());
    }
    Ok(Box::new(EulerDiscrete::new(&EulerDiscreteConfig::parse(&merged)?, steps)?))
}

/// The class that an object names.
fn class(config: &Map<String, Value>) -> Result<Option<&str>> {
    match config.get("_class_name") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(other) => Err(Error::broken(format!("scheduler: _class_name is {other}, not a text"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn another_class_is_refused_by_name() {
        let config = object(json!({ "_class_name": "DDIMScheduler", "clip_sample": false, "thresholding": false }));
        let error = build(&config, None, 4).map(|s| s.len()).unwrap_err();
        assert_eq!(error.to_string(), "the scheduler DDIMScheduler is not available");
        assert_eq!(easel_engine_protocol::EngineError::from(error).hint.unwrap(), "available: EulerDiscreteScheduler");
    }

    #[test]
    fn a_switch_of_class_drops_the_keys_of_the_old_one() {
        let config = object(json!({ "_class_name": "DDIMScheduler", "thresholding": false, "beta_end": 0.012 }));
        let euler = object(json!({ "_class_name": "EulerDiscreteScheduler" }));
        assert_eq!(build(&config, Some(&euler), 4).unwrap().len(), 4);
        let wrong = object(json!({ "_class_name": "EulerDiscreteScheduler", "thresholding": true }));
        assert!(build(&config, Some(&wrong), 4).is_err());
    }

    #[test]
    fn overrides_replace_keys() {
        let config = object(json!({ "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading" }));
        let trailing = object(json!({ "timestep_spacing": "trailing" }));
        assert!((build(&config, None, 4).unwrap().timestep(0) - 750.0).abs() < 1e-9);
        assert!((build(&config, Some(&trailing), 4).unwrap().timestep(0) - 999.0).abs() < 1e-9);
    }

    #[test]
    fn step_counts_are_bounded() {
        let config = object(json!({ "_class_name": "EulerDiscreteScheduler" }));
        assert!(build(&config, None, 0).is_err());
        assert!(build(&config, None, MAX_STEPS + 1).is_err());
    }
}
