//! Euler's method on flow matching (arXiv:2403.03206): diffusers' `FlowMatchEulerDiscreteScheduler`, as FLUX and SD 3 use it.

#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]
#![expect(clippy::indexing_slicing, reason = "numeric code: a step's index is below `len`, and tables are never empty")]
#![expect(clippy::cast_precision_loss, reason = "numbers of timesteps are at most 100000")]

use super::sigmas::{self, linspace};
use super::step::{Line, Register, Step};
use super::{Ask, Noising, Schedule, Solver};
use crate::config::scheduler::{Class, Keys, TimeShift};
use crate::{Error, Result};

use Register::{Clean, Fresh, Next, Output, Sample};

#[derive(Debug)]
struct FlowMatch {
    sigmas: Vec<f32>,
    stochastic: bool,
}

/// The schedule that is asked for.
pub fn schedule(keys: &Keys, ask: &Ask) -> Result<Schedule> {
    let train = keys.train() as f32;
    let mu = shift_mu(keys, ask)?;
    let shift = keys.shift.unwrap_or(1.0);
    // What a pipeline lays itself, diffusers keeps in single precision while it is shifted, and its own in double.
    let single = ask.evenly;
    let asked = if single {
        sigmas::rounded(linspace(1.0, 1.0 / f64::from(ask.steps), ask.steps as usize))
    } else {
        let ends = [1.0, 1.0 / train].map(|sigma| if mu.is_some() { sigma } else { shifted_f32(shift, sigma) });
        let train = f64::from(train);
        let timesteps = linspace(f64::from(ends[0]) * train, f64::from(ends[1]) * train, ask.steps as usize);
        timesteps.into_iter().map(|t| t / train).collect()
    };
    let mut levels = match (mu, single) {
        (Some(mu), false) => shifted_by(mu, keys, &asked),
        (Some(mu), true) => shifted_by_f32(mu, keys, &asked),
        (None, false) => shifted(shift, &asked),
        (None, true) => asked.iter().map(|&sigma| f64::from(shifted_f32(shift, sigma as f32))).collect(),
    };
    if single {
        stretch_f32(keys, &mut levels);
    } else {
        stretch(keys, &mut levels);
    }
    if let Some(rule) = keys.respacing() {
        let (max, min) = sigmas::ends(keys, levels[0], levels[levels.len() - 1])?;
        levels = sigmas::respaced(rule, max, min, levels.len());
    }
    let mut sigmas: Vec<f32> = levels.into_iter().map(|level| level as f32).collect();
    let inverts = keys.invert_sigmas.unwrap_or(false);
    if inverts {
        for sigma in &mut sigmas {
            *sigma = 1.0 - *sigma;
        }
    }
    let timesteps = sigmas.iter().map(|sigma| f64::from(sigma * train)).collect();
    sigmas.push(if inverts { 1.0 } else { 0.0 });
    let noising = |&sigma: &f32| Noising { signal: f64::from(1.0 - sigma), noise: sigma.into() };
    Ok(Schedule {
        class: Class::FlowMatchEulerDiscrete,
        asked: ask.steps,
        runs_per_step: 1,
        timesteps,
        sigmas: sigmas.iter().copied().map(f64::from).collect(),
        init_noise_sigma: 1.0,
        noising: sigmas[..sigmas.len() - 1].iter().map(noising).collect(),
        solver: Box::new(FlowMatch { sigmas, stochastic: keys.stochastic_sampling.unwrap_or(false) }),
    })
}

/// How far the levels are moved for the size of the picture (`calculate_shift` of diffusers' pipelines); `None` where the
/// keys do not ask for it.
pub fn shift_mu(keys: &Keys, ask: &Ask) -> Result<Option<f64>> {
    if !keys.use_dynamic_shifting.unwrap_or(false) {
        return Ok(None);
    }
    let Some(length) = ask.image_seq_len else {
        return Err(Error::broken("scheduler: use_dynamic_shifting is not supported with this family of models"));
    };
    let ends = [keys.base_image_seq_len.unwrap_or(256), keys.max_image_seq_len.unwrap_or(4096)].map(f64::from);
    let (base, most) = (keys.base_shift.unwrap_or(0.5), keys.max_shift.unwrap_or(1.15));
    let slope = (most - base) / (ends[1] - ends[0]);
    let mu = f64::from(length) * slope + (base - slope * ends[0]);
    if mu.is_finite() {
        return Ok(Some(mu));
    }
    Err(Error::broken("scheduler: base_image_seq_len and max_image_seq_len must differ"))
}

/// Levels moved towards noise by a factor.
pub fn shifted(shift: f64, sigmas: &[f64]) -> Vec<f64> {
    sigmas.iter().map(|sigma| shift * sigma / (1.0 + (shift - 1.0) * sigma)).collect()
}

fn shifted_f32(shift: f64, sigma: f32) -> f32 {
    shift as f32 * sigma / (1.0 + (shift - 1.0) as f32 * sigma)
}

/// Levels moved towards noise by what the size of the picture gives.
pub fn shifted_by(mu: f64, keys: &Keys, sigmas: &[f64]) -> Vec<f64> {
    let mu = weight(mu, keys);
    sigmas.iter().map(|sigma| mu / (mu + (1.0 / sigma - 1.0))).collect()
}

fn shifted_by_f32(mu: f64, keys: &Keys, sigmas: &[f64]) -> Vec<f64> {
    let mu = weight(mu, keys) as f32;
    sigmas.iter().map(|&sigma| f64::from(mu / (mu + (1.0 / sigma as f32 - 1.0)))).collect()
}

fn weight(mu: f64, keys: &Keys) -> f64 {
    match keys.time_shift_type.unwrap_or(TimeShift::Exponential) {
        TimeShift::Exponential => mu.exp(),
        TimeShift::Linear => mu,
    }
}

/// Levels stretched so that the last is `shift_terminal`, where that is set.
pub fn stretch(keys: &Keys, sigmas: &mut [f64]) {
    if let (Some(terminal), Some(&last)) = (keys.shift_terminal.filter(|&terminal| terminal != 0.0), sigmas.last()) {
        let scale = (1.0 - last) / (1.0 - terminal);
        for sigma in sigmas {
            *sigma = 1.0 - (1.0 - *sigma) / scale;
        }
    }
}

fn stretch_f32(keys: &Keys, sigmas: &mut [f64]) {
    if let (Some(terminal), Some(&last)) = (keys.shift_terminal.filter(|&terminal| terminal != 0.0), sigmas.last()) {
        let scale = (1.0 - last as f32) / (1.0 - terminal) as f32;
        for sigma in sigmas {
            *sigma = f64::from(1.0 - (1.0 - *sigma as f32) / scale);
        }
    }
}

impl Solver for FlowMatch {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let step = |pair: &[f32]| {
            let (sigma, next) = (pair[0], pair[1]);
            let clean = Line::sum(Clean, &[(1.0, Sample), (-f64::from(sigma), Output)]);
            if self.stochastic {
                let terms = [(f64::from(1.0 - next), Clean), (f64::from(next), Fresh)];
                return Step::new(1.0, vec![clean, Line::sum(Next, &terms)]);
            }
            let terms = [(1.0, Sample), (f64::from(next - sigma), Output)];
            Step { input_divisor: 1.0, lines: vec![Line::sum(Next, &terms)], preview: vec![clean] }
        };
        Ok(self.sigmas.windows(2).skip(begin).map(step).collect())
    }
}
