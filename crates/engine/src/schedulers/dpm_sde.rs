//! DPM-Solver++ of second order with new noise (k-diffusion's `dpmpp_sde`): diffusers' `DPMSolverSDEScheduler`. Each step but
//! the last runs the network twice, at its beginning and in its middle.
//!
//! The noise of a step's two runs is that of one Brownian motion: that of the whole step is what the first half had and
//! what the second half adds. diffusers takes it from torchsde's tree, seeded anew at random for each picture unless
//! `noise_sampler_seed` is set. Where it is set, the same tree is here; otherwise the noise comes from the picture's own
//! generator, one draw for each half, so that a seed means the same picture each time.

#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]
#![expect(clippy::indexing_slicing, reason = "numeric code: a step's index is below `len`, and tables are never empty")]

use super::betas::Training;
use super::euler::{first_noise, input_divisor};
use super::heun::doubled;
use super::rounded::{exp, exp_m1, log, sqrt};
use super::step::{Line, Register, Step};
use super::{Noising, Schedule, Solver, Tree, predict, sigmas, spacing};
use crate::Result;
use crate::config::scheduler::{Class, Keys, PredictionType, Respacing, TimestepSpacing};

use Register::{Clean, Fresh, Kept, Local, Next, Sample};

/// The sample that a step begins with.
const FIRST: Register = Kept(0);
/// The noise of a step's first half.
const FIRST_NOISE: Register = Kept(1);

#[derive(Debug)]
struct DpmSde {
    /// Of the whole steps.
    sigmas: Vec<f32>,
    prediction: PredictionType,
    /// The motion whose noise it is, where the keys name its seed.
    tree: Option<Tree>,
}

/// The schedule of `steps` steps.
pub fn schedule(keys: &Keys, steps: u32) -> Result<Schedule> {
    const CLASS: Class = Class::DpmSolverSde;
    let asked = keys.noise_sampler_seed;
    let training = Training::new(CLASS, keys, false).check()?;
    let mut timesteps = spacing::ends(keys, TimestepSpacing::Linspace, steps as usize);
    let mut levels: Vec<f64> = timesteps.iter().map(|&t| sigmas::interpolate(t, &training.sigmas)).collect();
    if let Some(rule) = keys.respacing() {
        // Unlike everywhere else, sigma_min and sigma_max are not for Karras here.
        let plain = Keys::default();
        let keys = if rule == Respacing::Karras { &plain } else { keys };
        let (max, min) = sigmas::ends(keys, levels[0], levels[levels.len() - 1])?;
        levels = sigmas::respaced(rule, max, min, steps as usize);
        timesteps = levels.iter().map(|&sigma| sigmas::timestep(sigma, &training.log_sigmas)).collect();
    }
    let middles = levels.windows(2).map(|pair| {
        let (t, next) = (-pair[0].ln(), -pair[1].ln());
        sigmas::timestep((-(t + (next - t) * 0.5)).exp(), &training.log_sigmas)
    });
    let mut runs: Vec<f64> = timesteps.iter().zip(middles).flat_map(|(&timestep, middle)| [timestep, middle]).collect();
    runs.extend(timesteps.last());
    let mut levels: Vec<f32> = levels.iter().map(|&level| level as f32).collect();
    levels.push(0.0);
    let doubled = doubled(&levels);
    Ok(Schedule {
        class: CLASS,
        asked: steps,
        runs_per_step: 2,
        timesteps: runs,
        init_noise_sigma: first_noise(keys, &levels)?,
        noising: doubled.iter().map(|&sigma| Noising { signal: 1.0, noise: sigma.into() }).collect(),
        sigmas: doubled.into_iter().map(f64::from).collect(),
        solver: Box::new(DpmSde { tree: tree(asked, &levels), sigmas: levels, prediction: keys.prediction() }),
    })
}

/// The motion of a seed, over all levels but zero.
fn tree(seed: Option<u64>, levels: &[f32]) -> Option<Tree> {
    let positive = || levels.iter().copied().filter(|&level| level > 0.0);
    let (low, high) = (positive().reduce(f32::min)?, positive().reduce(f32::max)?);
    seed.map(|seed| Tree::new(seed, low.into(), high.into()))
}

/// From one level to another: the shares of the sample and of the clean one, and the noise that is added.
struct Move {
    sample: f64,
    clean: f64,
    up: f64,
    /// Where it leads, as a level.
    to: f32,
}

impl Move {
    fn new(t: f32, t_next: f32) -> Self {
        let (from, to) = (exp(-t), exp(-t_next));
        let up = to.min(sqrt(to * to * (from * from - to * to) / (from * from)));
        let t_down = -log(sqrt(to * to - up * up));
        Self { sample: f64::from(exp(-t_down) / exp(-t)), clean: -f64::from(exp_m1(t - t_down)), up: f64::from(up), to }
    }
}

impl Solver for DpmSde {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let steps = self.sigmas.windows(2).skip(begin / 2).flat_map(|pair| {
            let (sigma, next) = (pair[0], pair[1]);
            let mut first = predict::clean_of_sigma(self.prediction, sigma);
            if next == 0.0 {
                first.push(Line::sum(Local(1), &[(1.0, Sample), (-1.0, Clean)]).over(sigma.into()));
                first.push(Line::sum(Next, &[(1.0, Sample), (f64::from(next - sigma), Local(1))]));
                return vec![Step::new(input_divisor(sigma), first)];
            }
            let (t, t_next) = (-log(sigma), -log(next));
            let middle = t + (t_next - t) * 0.5;
            let (half, whole) = (Move::new(t, middle), Move::new(t, t_next));
            first.push(Line::copy(FIRST, Sample));
            let from = exp(-t);
            let increment =
                |into, to: f32| self.tree.map(|tree| Line::Increment { into, tree, times: (from.into(), to.into()) });
            first.push(increment(FIRST_NOISE, half.to).unwrap_or_else(|| Line::copy(FIRST_NOISE, Fresh)));
            first.push(Line::sum(Next, &[(half.sample, Sample), (half.clean, Clean), (half.up, FIRST_NOISE)]));

            let (before, after) = (f64::from(from - half.to), f64::from(half.to - whole.to));
            let share = |part: f64| f64::from((part / (before + after)).sqrt() as f32);
            let mut second = predict::clean_of_sigma(self.prediction, half.to);
            let both = || Line::sum(Local(1), &[(share(before), FIRST_NOISE), (share(after), Fresh)]);
            second.push(increment(Local(1), whole.to).unwrap_or_else(both));
            second.push(Line::sum(Next, &[(whole.sample, FIRST), (whole.clean, Clean), (whole.up, Local(1))]));
            vec![Step::new(input_divisor(sigma), first), Step::new(input_divisor(half.to), second)]
        });
        Ok(steps.collect())
    }
}
