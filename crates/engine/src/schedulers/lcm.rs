//! Latent consistency models (arXiv:2310.04378): diffusers' `LCMScheduler`. Each step jumps to the clean sample and adds
//! noise anew.

#![expect(clippy::cast_possible_truncation, reason = "timesteps are whole numbers, and rounding to f32 is the point")]
#![expect(clippy::cast_precision_loss, reason = "timesteps are at most 100000")]

use super::betas::Training;
use super::ddim::{check_count, mixture, noising};
use super::predict;
use super::rounded::sqrt;
use super::step::{Line, Register, Step};
use super::{Schedule, Solver};
use crate::config::scheduler::{Class, Keys};
use crate::{Error, Result};

use Register::{Clean, Fresh, Local, Next, Sample};

/// The standard deviation of the data, as diffusers fixes it.
const SIGMA_DATA: f32 = 0.5;

#[derive(Debug)]
struct Lcm {
    keys: Keys,
    training: Training,
    timesteps: Vec<i64>,
    asked: usize,
}

/// The schedule of `steps` steps.
pub fn schedule(keys: &Keys, steps: u32) -> Result<Schedule> {
    const CLASS: Class = Class::Lcm;
    check_count(CLASS, keys, steps)?;
    let training = Training::new(CLASS, keys, false);
    let timesteps = timesteps(keys, steps)?;
    let plain: Vec<f64> = timesteps.iter().map(|&t| t as f64).collect();
    Ok(Schedule {
        class: CLASS,
        asked: steps,
        runs_per_step: 1,
        sigmas: Vec::new(),
        init_noise_sigma: 1.0,
        noising: noising(&training, &plain)?,
        timesteps: plain,
        solver: Box::new(Lcm { keys: keys.clone(), training, timesteps, asked: steps as usize }),
    })
}

/// Evenly among the timesteps of distillation, from the noisiest on.
fn timesteps(keys: &Keys, steps: u32) -> Result<Vec<i64>> {
    let distilled = keys.original_inference_steps.unwrap_or(50);
    if !(1..=keys.train()).contains(&distilled) {
        return Err(Error::broken(format!(
            "scheduler: original_inference_steps is {distilled}, not from 1 to {}",
            keys.train()
        )));
    }
    if steps > distilled {
        return Err(Error::invalid(format!("{steps} steps are more than the {distilled} of {}", Class::Lcm.name()))
            .with_hint("ask for fewer steps, or set original_inference_steps"));
    }
    let stride = i64::from(keys.train() / distilled);
    let share = f64::from(distilled) / f64::from(steps);
    Ok((0..steps).map(|i| (i64::from(distilled) - (f64::from(i) * share).floor() as i64) * stride - 1).collect())
}

impl Lcm {
    fn step(&self, i: usize, timestep: i64) -> Result<Step> {
        let keys = &self.keys;
        let level = self.training.alpha_cumprod(timestep)?;
        let next = self.training.alpha_cumprod(self.timesteps.get(i + 1).copied().unwrap_or(timestep))?;
        let scaled = timestep as f32 * keys.timestep_scaling.unwrap_or(10.0) as f32;
        let spread = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / spread, scaled / sqrt(spread));
        let mut lines = vec![predict::clean_of_mixture(keys.prediction(), mixture(level), 0.0)];
        lines.extend(predict::bounds(keys, false));
        let denoised = [(out.into(), Clean), (skip.into(), Sample)];
        if i + 1 == self.asked {
            lines.push(Line::sum(Next, &denoised));
        } else {
            let next = mixture(next);
            lines.push(Line::sum(Local(0), &denoised));
            lines.push(Line::sum(Next, &[(next.signal.into(), Local(0)), (next.noise.into(), Fresh)]));
        }
        Ok(Step::new(1.0, lines))
    }
}

impl Solver for Lcm {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        self.timesteps.iter().enumerate().skip(begin).map(|(i, &timestep)| self.step(i, timestep)).collect()
    }
}
