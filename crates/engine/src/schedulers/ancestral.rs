//! Euler's method with new noise in each step: diffusers' `EulerAncestralDiscreteScheduler`.

#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]
#![expect(clippy::indexing_slicing, reason = "numeric code: pairs have two entries")]

use super::betas::Training;
use super::euler::{first_noise, input_divisor};
use super::rounded::sqrt;
use super::step::{Line, Register, Step};
use super::{Noising, Schedule, Solver, predict, sigmas, spacing};
use crate::Result;
use crate::config::scheduler::{Class, Keys, PredictionType, TimestepSpacing};

use Register::{Clean, Fresh, Local, Next, Sample};

#[derive(Debug)]
struct Ancestral {
    sigmas: Vec<f32>,
    prediction: PredictionType,
}

/// The schedule of `steps` steps.
pub fn schedule(keys: &Keys, steps: u32) -> Result<Schedule> {
    const CLASS: Class = Class::EulerAncestralDiscrete;
    let training = Training::new(CLASS, keys, true).check()?;
    let timesteps = sigmas::rounded(spacing::ends(keys, TimestepSpacing::Linspace, steps as usize));
    let mut levels: Vec<f32> = timesteps.iter().map(|&t| sigmas::interpolate(t, &training.sigmas) as f32).collect();
    levels.push(0.0);
    Ok(Schedule {
        class: CLASS,
        asked: steps,
        runs_per_step: 1,
        timesteps,
        init_noise_sigma: first_noise(keys, &levels)?,
        sigmas: levels.iter().copied().map(f64::from).collect(),
        noising: levels.iter().map(|&sigma| Noising { signal: 1.0, noise: sigma.into() }).collect(),
        solver: Box::new(Ancestral { sigmas: levels, prediction: keys.prediction() }),
    })
}

impl Solver for Ancestral {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let step = |pair: &[f32]| {
            let (from, to) = (pair[0], pair[1]);
            let up = sqrt(to * to * (from * from - to * to) / (from * from));
            let down = sqrt(to * to - up * up);
            let mut lines = predict::clean_of_sigma(self.prediction, from);
            lines.push(Line::sum(Local(1), &[(1.0, Sample), (-1.0, Clean)]).over(from.into()));
            let terms = [(1.0, Sample), (f64::from(down - from), Local(1)), (f64::from(up), Fresh)];
            lines.push(Line::sum(Next, &terms));
            Step::new(input_divisor(from), lines)
        };
        Ok(self.sigmas.windows(2).skip(begin).map(step).collect())
    }
}
