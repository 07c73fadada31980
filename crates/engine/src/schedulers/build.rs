//! From a `scheduler_config.json` and what is asked to a [`Schedule`]: which class, which keys.

use serde_json::{Map, Value};

use super::{
    Ask, Schedule, ancestral, ddim, dpm_multistep, dpm_sde, dpm_singlestep, euler, flow_match, heun, lcm, pndm, unipc,
};
use crate::config::scheduler::{Class, Keys};
use crate::{Error, Result};

/// More steps than anybody waits for; the limit keeps a wrong number from filling the memory.
const MAX_STEPS: u32 = 10_000;

/// The schedule that a `scheduler_config.json` describes, with `overrides` in place of its keys.
///
/// Keys that the class does not read, but another class of diffusers does, have no effect in a file, as in diffusers'
/// `from_config`; in `overrides` they are refused, as unknown ones are in both.
pub fn build(config: &Map<String, Value>, overrides: Option<&Map<String, Value>>, ask: &Ask) -> Result<Schedule> {
    if !(1..=MAX_STEPS).contains(&ask.steps) {
        return Err(Error::invalid(format!("steps is {}, not from 1 to {MAX_STEPS}", ask.steps)));
    }
    let asked = overrides.map(class_name).transpose()?.flatten();
    let name = match asked {
        Some(name) => name,
        None => class_name(config)?.ok_or_else(|| Error::broken("scheduler: `_class_name` is missing"))?,
    };
    let class = Class::of(name).ok_or_else(|| {
        let error = if asked.is_some() { Error::invalid } else { Error::broken };
        error(format!("the scheduler {name} is not available"))
            .with_hint(format!("available: {}", Class::ALL.map(Class::name).join(", ")))
    })?;
    let mut merged = config.clone();
    if let Some(Value::Array(defaults)) = merged.remove("_use_default_values") {
        merged.retain(|key, _| !defaults.iter().any(|default| default.as_str() == Some(key)));
    }
    if let Some(overrides) = overrides {
        Keys::check_asked(class, overrides)?;
        merged.extend(overrides.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
    let keys = Keys::parse(class, &merged)?;
    if ask.evenly && class != Class::FlowMatchEulerDiscrete {
        return Err(Error::invalid(format!("{} cannot follow the noise levels of this pipeline", class.name()))
            .with_hint(format!("use {}", Class::FlowMatchEulerDiscrete.name())));
    }
    match class {
        Class::EulerDiscrete => euler::schedule(&keys, ask.steps),
        Class::EulerAncestralDiscrete => ancestral::schedule(&keys, ask.steps),
        Class::HeunDiscrete => heun::schedule(&keys, ask.steps),
        Class::DpmSolverMultistep => dpm_multistep::schedule(&keys, ask),
        Class::DpmSolverSinglestep => dpm_singlestep::schedule(&keys, ask),
        Class::DpmSolverSde => dpm_sde::schedule(&keys, ask.steps),
        Class::Ddim => ddim::schedule(&keys, ask.steps),
        Class::Pndm => pndm::schedule(&keys, ask.steps),
        Class::UniPcMultistep => unipc::schedule(&keys, ask),
        Class::Lcm => lcm::schedule(&keys, ask.steps),
        Class::FlowMatchEulerDiscrete => flow_match::schedule(&keys, ask),
    }
}

/// The class that an object names.
fn class_name(config: &Map<String, Value>) -> Result<Option<&str>> {
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

    fn steps(config: &Map<String, Value>, overrides: Option<&Map<String, Value>>, count: u32) -> Result<Schedule> {
        build(config, overrides, &Ask::steps(count))
    }

    #[test]
    fn another_class_is_refused_by_name() {
        let config = object(json!({ "_class_name": "KarrasVeScheduler" }));
        let error = steps(&config, None, 4).unwrap_err();
        assert_eq!(error.to_string(), "the scheduler KarrasVeScheduler is not available");
        assert!(error.hint().unwrap().starts_with("available: EulerDiscreteScheduler, "));
    }

    #[test]
    fn levels_of_flux_go_down_evenly() {
        let config = object(json!({ "_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 1.0 }));
        let sigmas = |steps| build(&config, None, &Ask::flux(steps, 4)).map(|schedule| schedule.sigmas().to_vec());
        assert_eq!(sigmas(4).unwrap(), [1.0, 0.75, 0.5, 0.25, 0.0]);
        assert_eq!(sigmas(1).unwrap(), [1.0, 0.0]);
        assert!(sigmas(0).is_err() && sigmas(u32::MAX).is_err());
    }

    #[test]
    fn a_switch_of_class_drops_the_keys_of_the_old_one() {
        let config = object(json!({ "_class_name": "DDIMScheduler", "thresholding": false, "beta_end": 0.012 }));
        let euler = object(json!({ "_class_name": "EulerDiscreteScheduler" }));
        assert_eq!(steps(&config, Some(&euler), 4).unwrap().len(), 4);
        let wrong = object(json!({ "_class_name": "EulerDiscreteScheduler", "thresholding": true }));
        assert!(steps(&config, Some(&wrong), 4).is_err());
    }

    #[test]
    fn overrides_replace_keys() {
        let config = object(json!({ "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading" }));
        let trailing = object(json!({ "timestep_spacing": "trailing" }));
        assert!((steps(&config, None, 4).unwrap().timesteps()[0] - 750.0).abs() < 1e-9);
        assert!((steps(&config, Some(&trailing), 4).unwrap().timesteps()[0] - 999.0).abs() < 1e-9);
    }

    #[test]
    fn step_counts_are_bounded() {
        let config = object(json!({ "_class_name": "EulerDiscreteScheduler" }));
        assert!(steps(&config, None, 0).is_err());
        assert!(steps(&config, None, MAX_STEPS + 1).is_err());
    }

    #[test]
    fn what_would_divide_by_zero_is_refused() {
        for (value, count) in [
            (
                json!({ "_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true, "clip_sample": false, "timestep_spacing": "trailing" }),
                4,
            ),
            (json!({ "_class_name": "UniPCMultistepScheduler", "predict_x0": false }), 4),
            (json!({ "_class_name": "UniPCMultistepScheduler", "lower_order_final": false }), 4),
            (json!({ "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver" }), 4),
            (json!({ "_class_name": "PNDMScheduler" }), 3),
            (json!({ "_class_name": "LCMScheduler" }), 51),
        ] {
            let made = steps(&object(value.clone()), None, count).and_then(|schedule| schedule.steps(0));
            let error = made.unwrap_err();
            assert!(error.hint().is_some(), "{value}: {error}");
        }
    }

    #[test]
    fn every_offered_name_can_be_built() {
        let config = object(json!({
            "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1
        }));
        for name in easel_engine_protocol::scheduler_names() {
            let keys = easel_engine_protocol::scheduler_keys(&name).unwrap();
            let schedule = steps(&config, Some(&keys), 8).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(schedule.steps(0).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_picture_begins_where_its_strength_says() {
        let config = object(json!({ "_class_name": "EulerDiscreteScheduler" }));
        let schedule = steps(&config, None, 10).unwrap();
        assert_eq!(schedule.begin(1.0).unwrap(), 0);
        assert_eq!(schedule.begin(0.55).unwrap(), 5);
        assert_eq!(schedule.begin_of_flux(0.55).unwrap(), 4);
        assert!(schedule.begin(0.0).is_err());
        assert!(schedule.begin(1.5).is_err());
        assert!(schedule.begin(f64::NAN).is_err());
        let heun = steps(&object(json!({ "_class_name": "HeunDiscreteScheduler" })), None, 10).unwrap();
        assert_eq!(heun.begin(0.55).unwrap(), 10);
    }

    #[test]
    fn the_size_of_the_picture_shifts_where_it_is_asked_for() {
        let config = object(json!({ "_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true }));
        assert!(steps(&config, None, 4).is_err());
        let ask = |tokens| Ask { image_seq_len: Some(tokens), ..Ask::steps(4) };
        let [small, large] = [256, 4096].map(|tokens| build(&config, None, &ask(tokens)).unwrap().sigmas()[1]);
        assert!(small < large);
    }
}
