//! `scheduler_config.json`: every key of diffusers' `EulerDiscreteScheduler`, typed, and nothing else accepted.
//! It computes no schedule; see [`crate::schedulers`].

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Keys that diffusers itself leaves in files whose class does not read them: bookkeeping, and what was carried over
/// when the scheduler of SDXL base was converted from PNDM and DDIM. `EulerDiscreteScheduler` ignores them; so do we.
const WITHOUT_EFFECT: [&str; 8] = [
    "_class_name",
    "_diffusers_version",
    "_name_or_path",
    "_commit_hash",
    "clip_sample",
    "sample_max_value",
    "set_alpha_to_one",
    "skip_prk_steps",
];

/// The keys of [`EulerDiscreteConfig`], as spelled in the file.
const KNOWN: [&str; 17] = [
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "interpolation_type",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
    "sigma_min",
    "sigma_max",
    "timestep_spacing",
    "timestep_type",
    "steps_offset",
    "rescale_betas_zero_snr",
    "final_sigmas_type",
];

/// How the noise variances of training grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Evenly from `beta_start` to `beta_end`.
    Linear,
    /// Evenly in their square roots (latent diffusion).
    ScaledLinear,
    /// The cosine schedule of Nichol and Dhariwal, capped at 0.999.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredcosCapV2,
}

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// The clean sample.
    #[serde(alias = "original_sample")]
    Sample,
    /// The velocity of Salimans and Ho.
    VPrediction,
}

/// How sigmas between two training timesteps are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterpolationType {
    /// Linearly in sigma.
    Linear,
    /// Evenly in the logarithm, from end to end.
    LogLinear,
}

/// Where the inference timesteps lie among those of training (table 2 of arXiv:2305.08891).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// From end to end, with fractions.
    Linspace,
    /// Whole multiples from the start, plus `steps_offset`.
    Leading,
    /// Whole multiples from the end.
    Trailing,
}

/// What stands for the time in the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepType {
    /// The training timestep.
    Discrete,
    /// A quarter of the logarithm of sigma, with v-prediction; otherwise the same as [`Self::Discrete`].
    Continuous,
}

/// The sigma after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigmas {
    /// No noise is left.
    Zero,
    /// The smallest sigma of training.
    SigmaMin,
}

/// The configuration of `EulerDiscreteScheduler`; the defaults are those of diffusers 0.42.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "one field for each key of diffusers' file")]
pub struct EulerDiscreteConfig {
    /// Timesteps of training.
    pub num_train_timesteps: u32,
    /// The first beta.
    pub beta_start: f64,
    /// The last beta.
    pub beta_end: f64,
    /// How betas grow between the two.
    pub beta_schedule: BetaSchedule,
    /// The betas themselves, instead of the three keys above.
    pub trained_betas: Option<Vec<f64>>,
    /// What the network predicts.
    pub prediction_type: PredictionType,
    /// How sigmas are interpolated.
    pub interpolation_type: InterpolationType,
    /// The sigmas of Karras et al. (arXiv:2206.00364) with rho 7.
    #[serde(deserialize_with = "null_is_false")]
    pub use_karras_sigmas: bool,
    /// Sigmas evenly in the logarithm.
    #[serde(deserialize_with = "null_is_false")]
    pub use_exponential_sigmas: bool,
    /// Sigmas by the quantiles of the beta distribution (arXiv:2407.12173).
    #[serde(deserialize_with = "null_is_false")]
    pub use_beta_sigmas: bool,
    /// The smallest sigma of the three above; absent, that of the timesteps.
    pub sigma_min: Option<f64>,
    /// The largest sigma of the three above; absent, that of the timesteps.
    pub sigma_max: Option<f64>,
    /// Where the timesteps lie.
    pub timestep_spacing: TimestepSpacing,
    /// What the network is told as time.
    pub timestep_type: TimestepType,
    /// Added to the timesteps of [`TimestepSpacing::Leading`].
    pub steps_offset: i32,
    /// Rescales the betas so that the last timestep is pure noise (algorithm 1 of arXiv:2305.08891).
    #[serde(deserialize_with = "null_is_false")]
    pub rescale_betas_zero_snr: bool,
    /// The sigma after the last step.
    pub final_sigmas_type: FinalSigmas,
}

impl Default for EulerDiscreteConfig {
    fn default() -> Self {
        Self {
            num_train_timesteps: 1000,
            beta_start: 0.0001,
            beta_end: 0.02,
            beta_schedule: BetaSchedule::Linear,
            trained_betas: None,
            prediction_type: PredictionType::Epsilon,
            interpolation_type: InterpolationType::Linear,
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            sigma_min: None,
            sigma_max: None,
            timestep_spacing: TimestepSpacing::Linspace,
            timestep_type: TimestepType::Discrete,
            steps_offset: 0,
            rescale_betas_zero_snr: false,
            final_sigmas_type: FinalSigmas::Zero,
        }
    }
}

impl EulerDiscreteConfig {
    /// Reads the file's object. A key that has no effect here and is not one that diffusers writes regardless is
    /// refused by name, with the nearest known one.
    pub fn parse(config: &Map<String, Value>) -> Result<Self> {
        for key in config.keys() {
            if !is_known(key) && !WITHOUT_EFFECT.contains(&key.as_str()) {
                return Err(unknown_key(key));
            }
        }
        let mut read = Map::new();
        for (key, value) in config.iter().filter(|(key, _)| is_known(key)) {
            // Key by key, so that the error can name the one at fault.
            let one = Map::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = serde_json::from_value::<Self>(Value::Object(one)) {
                return Err(Error::broken(format!("scheduler: {key}: {error}")));
            }
            read.insert(key.clone(), value.clone());
        }
        let config: Self = serde_json::from_value(Value::Object(read))
            .map_err(|error| Error::broken(format!("scheduler: {error}")))?;
        config.check()?;
        Ok(config)
    }

    /// Whether a key of this name is read here.
    pub fn reads(key: &str) -> bool {
        is_known(key)
    }

    fn check(&self) -> Result<()> {
        let sigmas = [self.use_karras_sigmas, self.use_exponential_sigmas, self.use_beta_sigmas];
        if sigmas.iter().filter(|&&on| on).count() > 1 {
            return Err(Error::broken(
                "scheduler: only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true",
            ));
        }
        if !(2..=100_000).contains(&self.num_train_timesteps) {
            return Err(Error::broken(format!(
                "scheduler: num_train_timesteps is {}, not from 2 to 100000",
                self.num_train_timesteps
            )));
        }
        if self.trained_betas.as_ref().is_some_and(|betas| betas.len() < 2) {
            return Err(Error::broken("scheduler: trained_betas has fewer than two numbers"));
        }
        Ok(())
    }
}

fn is_known(key: &str) -> bool {
    KNOWN.contains(&key)
}

fn unknown_key(key: &str) -> Error {
    let nearest = KNOWN.iter().max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    let error = Error::broken(format!("scheduler: the key `{key}` is not honoured by EulerDiscreteScheduler"));
    match nearest {
        Some(nearest) => error.with_hint(format!("the nearest key is `{nearest}`; remove `{key}` if it is not needed")),
        None => error,
    }
}

/// diffusers declares its switches optional, and some files say `null`.
fn null_is_false<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(value: Value) -> Result<EulerDiscreteConfig> {
        let Value::Object(map) = value else { panic!("not an object") };
        EulerDiscreteConfig::parse(&map)
    }

    #[test]
    fn the_file_of_sdxl_base_is_read() {
        let config = parse(json!({
            "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0",
            "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false,
            "interpolation_type": "linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
            "sample_max_value": 1.0, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
            "timestep_spacing": "leading", "trained_betas": null, "use_karras_sigmas": null
        }))
        .unwrap();
        assert_eq!(config.steps_offset, 1);
        assert_eq!(config.timestep_spacing, TimestepSpacing::Leading);
        assert!(!config.use_karras_sigmas);
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let error = parse(json!({ "use_karas_sigmas": true })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "scheduler: the key `use_karas_sigmas` is not honoured by EulerDiscreteScheduler"
        );
        let wire = easel_engine_protocol::EngineError::from(error);
        assert!(wire.hint.unwrap().contains("`use_karras_sigmas`"));
    }

    #[test]
    fn a_wrong_value_is_refused_by_key() {
        let error = parse(json!({ "timestep_spacing": "middle" })).unwrap_err().to_string();
        assert!(error.starts_with("scheduler: timestep_spacing: unknown variant `middle`"), "{error}");
        assert!(parse(json!({ "use_karras_sigmas": true, "use_beta_sigmas": true })).is_err());
        assert!(parse(json!({ "num_train_timesteps": 0 })).is_err());
    }

    #[test]
    fn every_field_is_a_known_key() {
        let Value::Object(all) = json!({
            "num_train_timesteps": 1000, "beta_start": 0.1, "beta_end": 0.2, "beta_schedule": "squaredcos_cap_v2",
            "trained_betas": [0.1, 0.2], "prediction_type": "original_sample", "interpolation_type": "log_linear",
            "use_karras_sigmas": false, "use_exponential_sigmas": false, "use_beta_sigmas": true, "sigma_min": 0.1,
            "sigma_max": 9, "timestep_spacing": "trailing", "timestep_type": "continuous", "steps_offset": 1,
            "rescale_betas_zero_snr": true, "final_sigmas_type": "sigma_min"
        }) else {
            panic!("not an object")
        };
        assert_eq!(all.len(), KNOWN.len());
        assert!(all.keys().all(|key| is_known(key)));
        assert_eq!(EulerDiscreteConfig::parse(&all).unwrap().prediction_type, PredictionType::Sample);
    }
}
