//! Denoising diffusion implicit models (arXiv:2010.02502): diffusers' `DDIMScheduler`.

#![expect(clippy::cast_possible_truncation, reason = "timesteps are whole numbers, and rounding to f32 is the point")]

use super::betas::Training;
use super::predict::{self, Mixture};
use super::rounded::sqrt;
use super::step::{Line, Register, Step};
use super::{Noising, Schedule, Solver, spacing};
use crate::config::scheduler::{Class, Keys};
use crate::{Error, Result};

use Register::{Clean, Fresh, Guess, Next};

#[derive(Debug)]
struct Ddim {
    keys: Keys,
    training: Training,
    timesteps: Vec<i64>,
    /// How far a step goes, in timesteps of training.
    stride: i64,
}

/// The schedule of `steps` steps.
pub fn schedule(keys: &Keys, steps: u32) -> Result<Schedule> {
    const CLASS: Class = Class::Ddim;
    check_count(CLASS, keys, steps)?;
    let training = Training::new(CLASS, keys, false);
    let timesteps = spacing::whole(keys, steps as usize);
    let noising = noising(&training, &timesteps)?;
    Ok(Schedule {
        class: CLASS,
        asked: steps,
        runs_per_step: 1,
        timesteps: timesteps.clone(),
        sigmas: Vec::new(),
        init_noise_sigma: 1.0,
        noising,
        solver: Box::new(Ddim {
            keys: keys.clone(),
            training,
            timesteps: timesteps.into_iter().map(|t| t as i64).collect(),
            stride: i64::from(keys.train() / steps),
        }),
    })
}

/// Refuses more steps than training had.
pub fn check_count(class: Class, keys: &Keys, steps: u32) -> Result<()> {
    if steps <= keys.train() {
        return Ok(());
    }
    Err(Error::invalid(format!("{steps} steps are more than the {} of {}", keys.train(), class.name()))
        .with_hint("ask for fewer steps"))
}

/// How a clean sample becomes one of each timestep, for the classes that count in them.
pub fn noising(training: &Training, timesteps: &[f64]) -> Result<Vec<Noising>> {
    let one = |&t: &f64| {
        let mixture = mixture(training.alpha_cumprod(t as i64)?);
        Ok(Noising { signal: mixture.signal.into(), noise: mixture.noise.into() })
    };
    timesteps.iter().map(one).collect()
}

/// Signal and noise at a signal level.
pub fn mixture(level: f32) -> Mixture {
    Mixture { signal: sqrt(level), noise: sqrt(1.0 - level) }
}

/// The signal level that a step leads to; before the first timestep of training it is that of the first, or all signal.
pub fn level_before(training: &Training, timestep: i64, is_one: bool) -> Result<f32> {
    match timestep {
        0.. => training.alpha_cumprod(timestep),
        _ if is_one => Ok(1.0),
        _ => training.alpha_cumprod(0),
    }
}

impl Ddim {
    fn step(&self, timestep: i64) -> Result<Step> {
        let keys = &self.keys;
        let level = self.training.alpha_cumprod(timestep)?;
        let next = level_before(&self.training, timestep - self.stride, keys.set_alpha_to_one.unwrap_or(true))?;
        let mixture = mixture(level);
        let prediction = keys.prediction();
        let mut lines =
            vec![predict::clean_of_mixture(prediction, mixture, 0.0), predict::noise_of_mixture(prediction, mixture)];
        lines.extend(predict::bounds(keys, true));
        if keys.use_clipped_model_output.unwrap_or(false) {
            lines.push(predict::noise_of_clean(mixture));
        }
        let eta = keys.eta.unwrap_or(0.0) as f32;
        let variance = (1.0 - next) / (1.0 - level) * (1.0 - level / next);
        let deviation = if eta == 0.0 { 0.0 } else { eta * sqrt(variance) };
        let direction = sqrt(1.0 - next - deviation * deviation);
        let terms = [(sqrt(next).into(), Clean), (direction.into(), Guess), (deviation.into(), Fresh)];
        lines.push(Line::sum(Next, &terms));
        Ok(Step::new(1.0, lines))
    }
}

impl Solver for Ddim {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        self.timesteps.iter().skip(begin).map(|&timestep| self.step(timestep)).collect()
    }
}
