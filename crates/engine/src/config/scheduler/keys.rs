//! The values of a scheduler's keys, as one class reads them.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    AlgorithmType, BetaSchedule, Class, FinalSigmas, InterpolationType, PredictionType, Respacing, SolverType,
    TimeShift, TimestepSpacing, TimestepType,
};
use crate::{Error, Result};

/// Every key that a scheduler of [`Class`] reads; `None` is the class's default. What each means is said in
/// `docs/SCHEDULERS.md` and, for the numbers, in diffusers 0.42.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "one field for each key of diffusers' files, under its name there")]
pub struct Keys {
    pub num_train_timesteps: Option<u32>,
    pub beta_start: Option<f64>,
    pub beta_end: Option<f64>,
    pub beta_schedule: Option<BetaSchedule>,
    pub trained_betas: Option<Vec<f64>>,
    pub prediction_type: Option<PredictionType>,
    pub timestep_spacing: Option<TimestepSpacing>,
    pub steps_offset: Option<i32>,
    pub rescale_betas_zero_snr: Option<bool>,
    pub interpolation_type: Option<InterpolationType>,
    pub timestep_type: Option<TimestepType>,
    pub use_karras_sigmas: Option<bool>,
    pub use_exponential_sigmas: Option<bool>,
    pub use_beta_sigmas: Option<bool>,
    pub use_lu_lambdas: Option<bool>,
    pub use_flow_sigmas: Option<bool>,
    pub sigma_min: Option<f64>,
    pub sigma_max: Option<f64>,
    pub final_sigmas_type: Option<FinalSigmas>,
    pub clip_sample: Option<bool>,
    pub clip_sample_range: Option<f64>,
    pub thresholding: Option<bool>,
    pub dynamic_thresholding_ratio: Option<f64>,
    pub sample_max_value: Option<f64>,
    pub algorithm_type: Option<AlgorithmType>,
    pub solver_order: Option<u32>,
    pub solver_type: Option<SolverType>,
    pub lower_order_final: Option<bool>,
    pub euler_at_final: Option<bool>,
    #[serde(deserialize_with = "number_or_infinity")]
    pub lambda_min_clipped: Option<f64>,
    pub variance_type: Option<String>,
    pub predict_x0: Option<bool>,
    pub disable_corrector: Option<Vec<usize>>,
    pub solver_p: Option<Value>,
    pub set_alpha_to_one: Option<bool>,
    pub skip_prk_steps: Option<bool>,
    pub original_inference_steps: Option<u32>,
    pub timestep_scaling: Option<f64>,
    pub noise_sampler_seed: Option<u64>,
    pub shift: Option<f64>,
    pub flow_shift: Option<f64>,
    pub use_dynamic_shifting: Option<bool>,
    pub time_shift_type: Option<TimeShift>,
    pub base_shift: Option<f64>,
    pub max_shift: Option<f64>,
    pub base_image_seq_len: Option<u32>,
    pub max_image_seq_len: Option<u32>,
    pub invert_sigmas: Option<bool>,
    pub shift_terminal: Option<f64>,
    pub stochastic_sampling: Option<bool>,
    pub eta: Option<f64>,
    pub use_clipped_model_output: Option<bool>,
}

impl Keys {
    /// Reads the object of a file for a class. A key that the class does not read is passed over when another scheduler of
    /// diffusers reads it, as files that were converted from one class to another are full of them; any other is refused
    /// by name, with the nearest known one.
    pub fn parse(class: Class, config: &Map<String, Value>) -> Result<Self> {
        let mut read = Map::new();
        for (key, value) in config {
            if !class.reads(key) {
                if key.starts_with('_') || Class::any_reads(key) {
                    continue;
                }
                return Err(unknown_key(class, key));
            }
            // Key by key, so that the error can name the one at fault.
            let one = Map::from_iter([(key.clone(), value.clone())]);
            if let Err(error) = serde_json::from_value::<Self>(Value::Object(one)) {
                return Err(Error::broken(format!("scheduler: {key}: {error}")));
            }
            read.insert(key.clone(), value.clone());
        }
        let keys: Self = serde_json::from_value(Value::Object(read))
            .map_err(|error| Error::broken(format!("scheduler: {error}")))?;
        keys.check(class)?;
        Ok(keys)
    }

    /// Refuses a key that this class does not read, for keys that were asked for rather than found in a file.
    pub fn check_asked(class: Class, asked: &Map<String, Value>) -> Result<()> {
        match asked.keys().find(|key| !key.starts_with('_') && !class.reads(key)) {
            Some(key) => Err(unknown_key(class, key)),
            None => Ok(()),
        }
    }

    /// The rule that lays the sigmas anew, where there is one.
    pub fn respacing(&self) -> Option<Respacing> {
        let on = |key: Option<bool>| key.unwrap_or(false);
        if on(self.use_karras_sigmas) {
            Some(Respacing::Karras)
        } else if on(self.use_exponential_sigmas) {
            Some(Respacing::Exponential)
        } else if on(self.use_beta_sigmas) {
            Some(Respacing::Beta)
        } else {
            None
        }
    }

    /// Timesteps of training.
    pub fn train(&self) -> u32 {
        self.num_train_timesteps.unwrap_or(1000)
    }

    /// What the network predicts.
    pub fn prediction(&self) -> PredictionType {
        self.prediction_type.unwrap_or(PredictionType::Epsilon)
    }

    fn check(&self, class: Class) -> Result<()> {
        let refused = |what: String| Err(Error::broken(format!("scheduler: {what}")));
        let respacings = [self.use_karras_sigmas, self.use_exponential_sigmas, self.use_beta_sigmas];
        if respacings.iter().filter(|&&on| on == Some(true)).count() > 1 {
            return refused(
                "only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true".to_owned(),
            );
        }
        if !(2..=100_000).contains(&self.train()) {
            return refused(format!("num_train_timesteps is {}, not from 2 to 100000", self.train()));
        }
        if self.trained_betas.as_ref().is_some_and(|betas| !(2..=100_000).contains(&betas.len())) {
            return refused("trained_betas has fewer than two numbers, or more than 100000".to_owned());
        }
        if self.beta_schedule == Some(BetaSchedule::Exp) && class != Class::HeunDiscrete {
            return refused(format!("beta_schedule exp is not honoured by {}", class.name()));
        }
        if !self.prediction_is_known(class) {
            return refused(format!(
                "prediction_type {} is not honoured by {}",
                self.prediction().as_str(),
                class.name()
            ));
        }
        if let Some(variance) = &self.variance_type {
            return refused(format!(
                "variance_type is {variance}: networks that predict their variance are not supported"
            ));
        }
        if self.solver_p.as_ref().is_some_and(|solver| !solver.is_null()) {
            return refused("solver_p is set: only UniPC's own predictor is supported".to_owned());
        }
        if self.time_shift_type == Some(TimeShift::Linear)
            && matches!(class, Class::DpmSolverMultistep | Class::DpmSolverSinglestep)
        {
            return refused(format!("time_shift_type linear is not honoured by {}", class.name()));
        }
        let most = if class == Class::UniPcMultistep { 6 } else { 3 };
        match self.solver_order {
            Some(order) if !(1..=most).contains(&order) => {
                refused(format!("solver_order is {order}, {} has 1 to {most}", class.name()))
            }
            _ => Ok(()),
        }
    }

    fn prediction_is_known(&self, class: Class) -> bool {
        match self.prediction() {
            PredictionType::Epsilon | PredictionType::VPrediction => true,
            PredictionType::Sample => {
                !matches!(class, Class::EulerAncestralDiscrete | Class::DpmSolverSde | Class::Pndm)
            }
            PredictionType::FlowPrediction => {
                let of_data = matches!(
                    self.algorithm_type,
                    None | Some(AlgorithmType::DpmSolverPlus | AlgorithmType::SdeDpmSolverPlus)
                ) && self.predict_x0 != Some(false);
                of_data
                    && matches!(class, Class::DpmSolverMultistep | Class::DpmSolverSinglestep | Class::UniPcMultistep)
            }
        }
    }
}

fn unknown_key(class: Class, key: &str) -> Error {
    let nearest = class.keys().max_by(|a, b| strsim::jaro_winkler(key, a).total_cmp(&strsim::jaro_winkler(key, b)));
    let error = Error::broken(format!("scheduler: the key `{key}` is not honoured by {}", class.name()));
    match nearest {
        Some(nearest) => error.with_hint(format!("the nearest key is `{nearest}`; remove `{key}` if it is not needed")),
        None => error,
    }
}

/// Python writes an infinite number as `-Infinity`, which is not JSON; the catalog reads it as a text.
fn number_or_infinity<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let is_infinite = value.as_str().is_some_and(|text| matches!(text.to_lowercase().as_str(), "-inf" | "-infinity"));
    if value.is_null() || is_infinite {
        return Ok(None);
    }
    value.as_f64().map(Some).ok_or_else(|| serde::de::Error::custom(format!("{value} is not a number")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(class: Class, value: Value) -> Result<Keys> {
        let Value::Object(map) = value else { panic!("not an object") };
        Keys::parse(class, &map)
    }

    #[test]
    fn the_file_of_sdxl_base_is_read() {
        let value = json!({
            "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0",
            "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": false,
            "interpolation_type": "linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
            "sample_max_value": 1.0, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
            "timestep_spacing": "leading", "trained_betas": null, "use_karras_sigmas": null
        });
        for class in Class::ALL {
            let keys = parse(class, value.clone()).unwrap();
            assert_eq!(keys.steps_offset.is_some(), class.reads("steps_offset"));
            assert_eq!(keys.respacing(), None);
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        let error = parse(Class::EulerDiscrete, json!({ "use_karas_sigmas": true })).unwrap_err();
        assert_eq!(
            error.to_string(),
            "scheduler: the key `use_karas_sigmas` is not honoured by EulerDiscreteScheduler"
        );
        assert!(error.hint().unwrap().contains("`use_karras_sigmas`"));
    }

    #[test]
    fn what_is_asked_must_be_read() {
        let Value::Object(asked) = json!({ "thresholding": true, "_class_name": "x" }) else { panic!() };
        assert!(Keys::check_asked(Class::Ddim, &asked).is_ok());
        assert!(Keys::check_asked(Class::EulerDiscrete, &asked).unwrap_err().to_string().contains("`thresholding`"));
    }

    #[test]
    fn a_wrong_value_is_refused_by_key() {
        let error = parse(Class::EulerDiscrete, json!({ "timestep_spacing": "middle" })).unwrap_err().to_string();
        assert!(error.starts_with("scheduler: timestep_spacing: unknown variant `middle`"), "{error}");
        for (class, value, names) in [
            (Class::EulerDiscrete, json!({ "use_karras_sigmas": true, "use_beta_sigmas": true }), "use_beta_sigmas"),
            (Class::EulerDiscrete, json!({ "num_train_timesteps": 0 }), "num_train_timesteps"),
            (Class::EulerDiscrete, json!({ "beta_schedule": "exp" }), "beta_schedule"),
            (Class::EulerAncestralDiscrete, json!({ "prediction_type": "sample" }), "prediction_type"),
            (Class::Ddim, json!({ "prediction_type": "flow_prediction" }), "prediction_type"),
            (Class::DpmSolverMultistep, json!({ "solver_order": 4 }), "solver_order"),
            (Class::DpmSolverMultistep, json!({ "variance_type": "learned" }), "variance_type"),
            (Class::UniPcMultistep, json!({ "solver_p": { "_class_name": "DDIMScheduler" } }), "solver_p"),
            (Class::DpmSolverMultistep, json!({ "time_shift_type": "linear" }), "time_shift_type"),
        ] {
            let error = parse(class, value).unwrap_err().to_string();
            assert!(error.contains(names), "{error}");
        }
    }

    #[test]
    fn no_limit_is_infinite() {
        let read = |value| {
            parse(Class::DpmSolverMultistep, json!({ "lambda_min_clipped": value })).map(|keys| keys.lambda_min_clipped)
        };
        assert_eq!(read(json!("-Infinity")).unwrap(), None);
        assert_eq!(read(json!(-5.1)).unwrap(), Some(-5.1));
        assert!(read(json!("soon")).is_err());
    }

    #[test]
    fn every_key_of_every_class_is_a_field() {
        let Value::Object(mut all) = json!({
            "num_train_timesteps": 10, "beta_start": 0.1, "beta_end": 0.2, "beta_schedule": "squaredcos_cap_v2",
            "trained_betas": [0.1, 0.2], "prediction_type": "v_prediction", "interpolation_type": "log_linear",
            "sigma_min": 0.1, "sigma_max": 9, "timestep_spacing": "trailing", "timestep_type": "continuous",
            "steps_offset": 1, "final_sigmas_type": "sigma_min", "clip_sample_range": 1.5,
            "dynamic_thresholding_ratio": 0.9, "sample_max_value": 2.0, "algorithm_type": "sde-dpmsolver++",
            "solver_order": 3, "solver_type": "heun", "lambda_min_clipped": -5.1, "variance_type": null,
            "disable_corrector": [0, 2], "solver_p": null, "original_inference_steps": 40, "timestep_scaling": 9.0,
            "noise_sampler_seed": 7, "shift": 3.0, "flow_shift": 3.0, "time_shift_type": "exponential",
            "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
            "shift_terminal": 0.02, "eta": 0.5
        }) else {
            panic!("not an object")
        };
        for switch in [
            "use_exponential_sigmas",
            "use_beta_sigmas",
            "use_lu_lambdas",
            "use_flow_sigmas",
            "clip_sample",
            "thresholding",
            "lower_order_final",
            "euler_at_final",
            "predict_x0",
            "set_alpha_to_one",
            "skip_prk_steps",
            "use_dynamic_shifting",
            "invert_sigmas",
            "stochastic_sampling",
            "use_clipped_model_output",
            "rescale_betas_zero_snr",
        ] {
            all.insert(switch.to_owned(), json!(false));
        }
        all.insert("use_karras_sigmas".to_owned(), json!(true));
        for class in Class::ALL {
            for key in class.keys() {
                let value = all.get(key).unwrap_or_else(|| panic!("{key} is not tried"));
                let read = parse(class, json!({ key: value })).unwrap();
                assert_eq!(read == Keys::default(), value.is_null(), "{key} of {} is not read", class.name());
            }
        }
    }
}
