//! Heun's method (arXiv:2206.00364, algorithm 1): diffusers' `HeunDiscreteScheduler`. Each step but the last runs the
//! network twice, and takes the mean of the slopes at its two ends.

#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]
#![expect(clippy::indexing_slicing, reason = "numeric code: a step's index is below `len`, and tables are never empty")]

use super::betas::Training;
use super::euler::{first_noise, input_divisor};
use super::step::{Line, Register, Step};
use super::{Noising, Schedule, Solver, predict, sigmas, spacing};
use crate::Result;
use crate::config::scheduler::{Class, Keys, PredictionType, TimestepSpacing};

use Register::{Clean, Kept, Local, Next, Sample};

#[derive(Debug)]
struct Heun {
    /// Of the whole steps.
    sigmas: Vec<f32>,
    prediction: PredictionType,
    bounds: Option<Line>,
}

/// The schedule of `steps` steps.
pub fn schedule(keys: &Keys, steps: u32) -> Result<Schedule> {
    const CLASS: Class = Class::HeunDiscrete;
    let training = Training::new(CLASS, keys, false).check()?;
    let mut timesteps = sigmas::rounded(spacing::ends(keys, TimestepSpacing::Linspace, steps as usize));
    let mut levels: Vec<f64> = timesteps.iter().map(|&t| sigmas::interpolate(t, &training.sigmas)).collect();
    if let Some(rule) = keys.respacing() {
        let (max, min) = sigmas::ends(keys, levels[0], levels[levels.len() - 1])?;
        levels = sigmas::respaced(rule, max, min, steps as usize);
        timesteps =
            sigmas::rounded(levels.iter().map(|&sigma| sigmas::timestep(sigma, &training.log_sigmas)).collect());
    }
    let mut levels: Vec<f32> = levels.into_iter().map(|level| level as f32).collect();
    levels.push(0.0);
    let doubled = doubled(&levels);
    Ok(Schedule {
        class: CLASS,
        asked: steps,
        runs_per_step: 2,
        timesteps: twice_but_first(&timesteps),
        init_noise_sigma: first_noise(keys, &levels)?,
        noising: doubled.iter().map(|&sigma| Noising { signal: 1.0, noise: sigma.into() }).collect(),
        sigmas: doubled.into_iter().map(f64::from).collect(),
        solver: Box::new(Heun { sigmas: levels, prediction: keys.prediction(), bounds: predict::bounds(keys, false) }),
    })
}

/// The levels of every run: all twice but the first and the last.
pub fn doubled(levels: &[f32]) -> Vec<f32> {
    let inner = &levels[1..levels.len() - 1];
    let twice = inner.iter().flat_map(|&level| [level, level]);
    [levels[0]].into_iter().chain(twice).chain([levels[levels.len() - 1]]).collect()
}

fn twice_but_first(timesteps: &[f64]) -> Vec<f64> {
    timesteps.iter().take(1).copied().chain(timesteps.iter().skip(1).flat_map(|&t| [t, t])).collect()
}

impl Heun {
    fn slope(&self, at: f32, into: Register) -> Vec<Line> {
        let mut lines = predict::clean_of_sigma(self.prediction, at);
        lines.extend(self.bounds.clone());
        lines.push(Line::sum(into, &[(1.0, Sample), (-1.0, Clean)]).over(at.into()));
        lines
    }
}

impl Solver for Heun {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let steps = self.sigmas.windows(2).skip(begin / 2).flat_map(|pair| {
            let (sigma, next) = (pair[0], pair[1]);
            let dt = f64::from(next - sigma);
            let mut first = self.slope(sigma, Kept(0));
            first.push(Line::copy(Kept(1), Sample));
            first.push(Line::sum(Next, &[(1.0, Sample), (dt, Kept(0))]));
            let mut steps = vec![Step::new(input_divisor(sigma), first)];
            if next != 0.0 {
                let mut second = self.slope(next, Local(1));
                second.push(Line::sum(Local(2), &[(1.0, Kept(0)), (1.0, Local(1))]).over(2.0));
                second.push(Line::sum(Next, &[(1.0, Kept(1)), (dt, Local(2))]));
                steps.push(Step::new(input_divisor(next), second));
            }
            steps
        });
        Ok(steps.collect())
    }
}
