//! Euler's method on the probability-flow equation (arXiv:2206.00364, algorithm 1 without churn): diffusers'
//! `EulerDiscreteScheduler` with all of its config keys.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "rounding to f32 as diffusers does is the point, and tables have at most 100000 entries"
)]
#![expect(clippy::indexing_slicing, reason = "numeric code: a step's index is below `len`, and tables are never empty")]

use super::{Denoised, Scheduler, Step, betas, log, sigmas};
use crate::config::scheduler::{
    EulerDiscreteConfig, FinalSigmas, InterpolationType, PredictionType, TimestepSpacing, TimestepType,
};
use crate::{Error, Result};

/// A schedule of Euler steps; all numbers are exact in `f32`, as they are in diffusers.
#[derive(Debug, Clone, PartialEq)]
pub struct EulerDiscrete {
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    init_noise_sigma: f64,
    prediction: PredictionType,
}

impl EulerDiscrete {
    /// Its class in diffusers.
    pub const CLASS: &str = "EulerDiscreteScheduler";

    /// The schedule of `steps` steps.
    pub fn new(config: &EulerDiscreteConfig, steps: u32) -> Result<Self> {
        let steps = steps as usize;
        let table: Vec<f32> = betas::alphas_cumprod(config).into_iter().map(betas::sigma).collect();
        if table.iter().any(|sigma| !sigma.is_finite() || *sigma <= 0.0) {
            return Err(Error::broken("scheduler: the betas give noise levels that are not positive finite numbers"));
        }
        let logs: Vec<f32> = table.iter().copied().map(log::log).collect();
        let mut timesteps = spaced(config, steps);
        let mut levels = levels(config, &timesteps, &table, &logs, steps);
        let (max, min) = ends(config, &levels)?;
        let respaced = match (config.use_karras_sigmas, config.use_exponential_sigmas, config.use_beta_sigmas) {
            (true, _, _) => Some(sigmas::karras(max, min, steps)),
            (_, true, _) => Some(sigmas::exponential(max, min, steps)),
            (_, _, true) => Some(sigmas::beta(max, min, steps)),
            (false, false, false) => None,
        };
        if let Some(respaced) = respaced {
            timesteps = respaced.iter().map(|&sigma| f64::from(sigmas::timestep(sigma, &logs) as f32)).collect();
            levels = respaced;
        }
        levels.push(match config.final_sigmas_type {
            FinalSigmas::Zero => 0.0,
            FinalSigmas::SigmaMin => f64::from(table[0]),
        });
        for level in &mut levels {
            *level = f64::from(*level as f32);
        }
        if config.timestep_type == TimestepType::Continuous && config.prediction_type == PredictionType::VPrediction {
            timesteps = levels[..levels.len() - 1].iter().map(|&sigma| f64::from(0.25 * sigma.ln() as f32)).collect();
        }
        if levels[..timesteps.len()].contains(&0.0) || levels.iter().any(|sigma| !sigma.is_finite()) {
            return Err(Error::broken("scheduler: the settings give a noise level of zero before the last step"));
        }
        let max = levels.iter().copied().fold(0.0, f64::max) as f32;
        let init_noise_sigma = match config.timestep_spacing {
            TimestepSpacing::Linspace | TimestepSpacing::Trailing => max,
            TimestepSpacing::Leading => (max * max + 1.0).sqrt(),
        };
        Ok(Self {
            timesteps,
            sigmas: levels,
            init_noise_sigma: init_noise_sigma.into(),
            prediction: config.prediction_type,
        })
    }

    fn sigma(&self, i: usize) -> f32 {
        self.sigmas[i] as f32
    }
}

impl Scheduler for EulerDiscrete {
    fn len(&self) -> usize {
        self.timesteps.len()
    }

    fn timestep(&self, i: usize) -> f64 {
        self.timesteps[i]
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn input_divisor(&self, i: usize) -> f64 {
        let sigma = self.sigma(i);
        f64::from((sigma * sigma + 1.0).sqrt())
    }

    fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    fn step(&self, i: usize) -> Step {
        let sigma = self.sigma(i);
        let denoised = match self.prediction {
            PredictionType::Epsilon => Denoised::Epsilon,
            PredictionType::Sample => Denoised::Sample,
            PredictionType::VPrediction => {
                let divisor = sigma * sigma + 1.0;
                Denoised::Velocity { scale: f64::from(-sigma / divisor.sqrt()), divisor: f64::from(divisor) }
            }
        };
        Step { denoised, sigma: f64::from(sigma), dt: f64::from(self.sigma(i + 1) - sigma) }
    }
}

/// The timesteps of a spacing, from noisy to clean.
fn spaced(config: &EulerDiscreteConfig, steps: usize) -> Vec<f64> {
    let train = config.num_train_timesteps;
    match config.timestep_spacing {
        TimestepSpacing::Linspace => {
            sigmas::linspace(0.0, f64::from(train - 1), steps).iter().rev().map(|&t| f64::from(t as f32)).collect()
        }
        TimestepSpacing::Leading => {
            let ratio = train as usize / steps;
            (0..steps).rev().map(|i| (i * ratio) as f64 + f64::from(config.steps_offset)).collect()
        }
        TimestepSpacing::Trailing => {
            let (train, ratio) = (f64::from(train), f64::from(train) / steps as f64);
            // `numpy.arange` counts with the difference of its first two entries, and its length rounds up; a ratio
            // that is not exact can thus give one entry more than there are steps.
            let (count, delta) = ((train / ratio).ceil() as usize, (train - ratio) - train);
            // Half to even, as numpy rounds: with 16 steps one timestep is 812.5.
            (0..count).map(|i| (train + i as f64 * delta).round_ties_even() - 1.0).collect()
        }
    }
}

/// The noise levels at those timesteps.
fn levels(config: &EulerDiscreteConfig, timesteps: &[f64], table: &[f32], logs: &[f32], steps: usize) -> Vec<f64> {
    match config.interpolation_type {
        InterpolationType::Linear => timesteps.iter().map(|&t| sigmas::interpolate(t, table)).collect(),
        InterpolationType::LogLinear => {
            let (first, last) = (f64::from(logs[0]), f64::from(logs[logs.len() - 1]));
            betas::linspace(last, first, steps + 1).iter().map(|&log| f64::from(f64::from(log).exp() as f32)).collect()
        }
    }
}

/// The largest and the smallest noise level for the respaced schedules.
fn ends(config: &EulerDiscreteConfig, levels: &[f64]) -> Result<(f64, f64)> {
    let max = config.sigma_max.unwrap_or(levels[0]);
    let min = config.sigma_min.unwrap_or(levels[levels.len() - 1]);
    if !(max > 0.0 && min > 0.0 && max.is_finite() && min.is_finite()) {
        return Err(Error::broken(format!("scheduler: sigma_max {max} and sigma_min {min} must be positive")));
    }
    Ok((max, min))
}
