//! From a `scheduler_config.json` and what is asked to a [`Schedule`]: which class, which keys.

use serde_json::{Map, Value};

use super::{Schedule, euler};
use crate::config::scheduler::{Class, Keys};
use crate::{Error, Result};

/// More steps than anybody waits for; the limit keeps a wrong number from filling the memory.
const MAX_STEPS: u32 = 10_000;

/// What a schedule is made for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// How many steps.
    pub steps: u32,
    /// The noise levels, where the pipeline lays them itself (FLUX); only flow matching takes them. They are shifted like
    /// the class's own.
    pub sigmas: Option<Vec<f64>>,
    /// Into how many tokens the picture is cut, for schedules that shift with its size.
    pub image_seq_len: Option<u32>,
}

impl Ask {
    /// This many steps.
    pub fn steps(steps: u32) -> Self {
        Self { steps, ..Self::default() }
    }
}

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
    if ask.sigmas.is_some() && class != Class::FlowMatchEulerDiscrete {
        return Err(Error::invalid(format!("{} cannot follow the noise levels of this pipeline", class.name()))
            .with_hint(format!("use {}", Class::FlowMatchEulerDiscrete.name())));
    }
    let schedule = match class {
        Class::EulerDiscrete => euler::schedule(&keys, ask.steps)?,
        _ => return Err(Error::broken("later")),
    };
    schedule.steps(0)?;
    Ok(schedule)
}

/// The class that an object names.
fn class_name(config: &Map<String, Value>) -> Result<Option<&str>> {
    match config.get("_class_name") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(name)) => Ok(Some(name)),
        Some(other) => Err(Error::broken(format!("scheduler: _class_name is {other}, not a text"))),
    }
}
