//! Euler's method on the probability-flow equation (arXiv:2206.00364, algorithm 1 without churn): diffusers'
//! `EulerDiscreteScheduler` with all of its config keys.

#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]
#![expect(clippy::indexing_slicing, reason = "numeric code: a step's index is below `len`, and tables are never empty")]

use super::betas::{self, Training};
use super::step::{Line, Register, Step};
use super::{Noising, Schedule, Solver, predict, rounded, sigmas, spacing};
use crate::config::scheduler::{
    Class, FinalSigmas, InterpolationType, Keys, PredictionType, TimestepSpacing, TimestepType,
};
use crate::{Error, Result};

use Register::{Clean, Local, Next, Sample};

/// Steps along the slope from one noise level to the next.
#[derive(Debug)]
struct Euler {
    /// One or two more than there are runs.
    sigmas: Vec<f32>,
    runs: usize,
    prediction: PredictionType,
}

/// The schedule of `steps` steps.
pub fn schedule(keys: &Keys, steps: u32) -> Result<Schedule> {
    let asked = steps;
    let steps = steps as usize;
    let training = Training::new(Class::EulerDiscrete, keys, true).check()?;
    let mut timesteps = sigmas::rounded(spacing::ends(keys, TimestepSpacing::Linspace, steps));
    let mut levels = levels(keys, &timesteps, &training, steps);
    if let Some(rule) = keys.respacing() {
        let (max, min) = sigmas::ends(keys, levels[0], levels[levels.len() - 1])?;
        levels = sigmas::respaced(rule, max, min, steps);
        timesteps =
            sigmas::rounded(levels.iter().map(|&sigma| sigmas::timestep(sigma, &training.log_sigmas)).collect());
    }
    levels.push(match keys.final_sigmas_type.unwrap_or(FinalSigmas::Zero) {
        FinalSigmas::Zero => 0.0,
        FinalSigmas::SigmaMin => f64::from(training.sigmas[0]),
    });
    let levels: Vec<f32> = levels.into_iter().map(|level| level as f32).collect();
    let prediction = keys.prediction();
    if keys.timestep_type == Some(TimestepType::Continuous) && prediction == PredictionType::VPrediction {
        timesteps =
            levels[..levels.len() - 1].iter().map(|&sigma| f64::from(0.25 * f64::from(sigma).ln() as f32)).collect();
    }
    Ok(Schedule {
        class: Class::EulerDiscrete,
        asked,
        runs_per_step: 1,
        init_noise_sigma: first_noise(keys, &levels)?,
        sigmas: levels.iter().copied().map(f64::from).collect(),
        noising: levels.iter().map(|&sigma| Noising { signal: 1.0, noise: sigma.into() }).collect(),
        solver: Box::new(Euler { sigmas: levels, runs: timesteps.len(), prediction }),
        timesteps,
    })
}

/// The noise levels at the timesteps.
fn levels(keys: &Keys, timesteps: &[f64], training: &Training, steps: usize) -> Vec<f64> {
    match keys.interpolation_type.unwrap_or(InterpolationType::Linear) {
        InterpolationType::Linear => timesteps.iter().map(|&t| sigmas::interpolate(t, &training.sigmas)).collect(),
        InterpolationType::LogLinear => {
            let logs = &training.log_sigmas;
            let (first, last) = (f64::from(logs[0]), f64::from(logs[logs.len() - 1]));
            betas::linspace(last, first, steps + 1).iter().map(|&log| f64::from(rounded::exp(log))).collect()
        }
    }
}

/// Unit noise times this is the first sample of the classes that count in sigmas.
pub fn first_noise(keys: &Keys, levels: &[f32]) -> Result<f64> {
    if levels[..levels.len() - 1].contains(&0.0) || levels.iter().any(|sigma| !sigma.is_finite()) {
        return Err(Error::broken("scheduler: the settings give a noise level of zero before the last step"));
    }
    let max = levels.iter().copied().fold(0.0, f32::max);
    Ok(f64::from(match keys.timestep_spacing.unwrap_or(TimestepSpacing::Linspace) {
        TimestepSpacing::Linspace | TimestepSpacing::Trailing => max,
        TimestepSpacing::Leading => rounded::sqrt(max * max + 1.0),
    }))
}

/// What the sample is divided by for the network.
pub fn input_divisor(sigma: f32) -> f64 {
    f64::from(rounded::sqrt(sigma * sigma + 1.0))
}

impl Solver for Euler {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let runs = self.sigmas.windows(2).take(self.runs).skip(begin);
        Ok(runs
            .map(|pair| {
                let (sigma, next) = (pair[0], pair[1]);
                let mut lines = predict::clean_of_sigma(self.prediction, sigma);
                lines.push(Line::sum(Local(1), &[(1.0, Sample), (-1.0, Clean)]).over(sigma.into()));
                lines.push(Line::sum(Next, &[(1.0, Sample), (f64::from(next - sigma), Local(1))]));
                Step::new(input_divisor(sigma), lines)
            })
            .collect())
    }
}
