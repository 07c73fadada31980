//! Pseudo numerical methods (arXiv:2202.09778): diffusers' `PNDMScheduler`, with its Runge-Kutta warm-up or, with
//! `skip_prk_steps`, without (PLMS).

#![expect(clippy::cast_possible_truncation, reason = "timesteps are whole numbers, and rounding to f32 is the point")]
#![expect(clippy::cast_precision_loss, reason = "timesteps are at most 100000")]

use super::betas::Training;
use super::ddim::{level_before, mixture, noising};
use super::predict;
use super::rounded::sqrt;
use super::step::{Line, Register, Step};
use super::{Schedule, Solver, spacing};
use crate::config::scheduler::{Class, Keys, PredictionType};
use crate::{Error, Result};

use Register::{Kept, Local, Next, Output, Past, Sample};

/// How many outputs the method looks at.
const ORDER: usize = 4;
/// The sample that a Runge-Kutta step, or the first two runs of PLMS, begin with.
const FIRST: Register = Kept(0);
/// The sum of a Runge-Kutta step's outputs so far.
const SUM: Register = Kept(1);

#[derive(Debug)]
struct Pndm {
    keys: Keys,
    training: Training,
    timesteps: Vec<i64>,
    /// Those of the warm-up; the first of them.
    warm_up: Vec<i64>,
    stride: i64,
}

/// The schedule of `steps` steps.
pub fn schedule(keys: &Keys, steps: u32) -> Result<Schedule> {
    let training = Training::new(Class::Pndm, keys, false);
    let stride = i64::from(keys.train() / steps);
    let mut points: Vec<i64> = spacing::whole(keys, steps as usize).into_iter().map(|t| t as i64).collect();
    let warm_up = if keys.skip_prk_steps.unwrap_or(false) {
        // The second timestep comes twice.
        if let Some(&second) = points.get(1) {
            points.insert(1, second);
        }
        Vec::new()
    } else {
        let Some(noisiest) = points.get(..ORDER) else {
            return Err(Error::invalid(format!("{steps} steps are too few for the warm-up of PNDMScheduler"))
                .with_hint("ask for 4 steps or more, or set skip_prk_steps"));
        };
        let halves = |from: i64, to: i64| [from, to + stride / 2, to + stride / 2, to];
        let warm_up: Vec<i64> = noisiest
            .windows(2)
            .filter_map(|pair| if let [from, to] = pair { Some(halves(*from, *to)) } else { None })
            .flatten()
            .collect();
        points.splice(..ORDER - 1, warm_up.iter().copied());
        warm_up
    };
    let timesteps: Vec<f64> = points.iter().map(|&t| t as f64).collect();
    Ok(Schedule {
        class: Class::Pndm,
        asked: steps,
        runs_per_step: 1,
        sigmas: Vec::new(),
        init_noise_sigma: 1.0,
        noising: noising(&training, &timesteps)?,
        timesteps,
        solver: Box::new(Pndm { keys: keys.clone(), training, timesteps: points, warm_up, stride }),
    })
}

impl Pndm {
    /// A run of the Runge-Kutta warm-up, `made` runs after the beginning.
    fn warm_up(&self, timestep: i64, made: usize) -> Result<Vec<Line>> {
        let first = self.warm_up.get(made / 4 * 4).copied().unwrap_or(timestep);
        let next = if made % 2 == 1 { timestep } else { timestep - self.stride / 2 };
        let (mut lines, slope) = match made % 4 {
            0 => (
                vec![Line::copy(SUM, Output).times(1.0 / 6.0), Line::copy(Past(0), Output), Line::copy(FIRST, Sample)],
                Output,
            ),
            1 | 2 => (vec![Line::sum(SUM, &[(1.0, SUM), (1.0 / 3.0, Output)])], Output),
            _ => (vec![Line::sum(Local(0), &[(1.0, SUM), (1.0 / 6.0, Output)])], Local(0)),
        };
        lines.extend(self.advance(FIRST, first, next, slope)?);
        Ok(lines)
    }

    /// A run of the linear multistep method.
    fn multistep(&self, timestep: i64, made: usize) -> Result<Vec<Line>> {
        let sums: [&[(f64, Register)]; 3] = [
            &[(3.0, Past(0)), (-1.0, Past(1))],
            &[(23.0, Past(0)), (-16.0, Past(1)), (5.0, Past(2))],
            &[(55.0, Past(0)), (-59.0, Past(1)), (37.0, Past(2)), (-9.0, Past(3))],
        ];
        let skips = self.warm_up.is_empty();
        let keep = Line::copy(Past(0), Output);
        let (lines, slope, sample, from, to) = match made {
            0 if skips => (vec![keep, Line::copy(FIRST, Sample)], Output, Sample, timestep, timestep - self.stride),
            1 if skips => {
                let mean = Line::sum(Local(0), &[(1.0, Output), (1.0, Past(0))]).over(2.0);
                (vec![mean], Local(0), FIRST, timestep + self.stride, timestep)
            }
            _ => {
                let known = if skips { made.min(ORDER) } else { ORDER };
                let [two, three, four] = sums;
                let sum = match known {
                    2 => Line::sum(Local(0), two).over(2.0),
                    3 => Line::sum(Local(0), three).over(12.0),
                    _ => Line::sum(Local(0), four).times(1.0 / 24.0),
                };
                (vec![keep, sum], Local(0), Sample, timestep, timestep - self.stride)
            }
        };
        let mut lines = lines;
        lines.extend(self.advance(sample, from, to, slope)?);
        Ok(lines)
    }

    /// Equation 9 of the paper: from one timestep to another along a slope.
    fn advance(&self, sample: Register, from: i64, to: i64, slope: Register) -> Result<Vec<Line>> {
        let level = self.training.alpha_cumprod(from)?;
        let next = level_before(&self.training, to, self.keys.set_alpha_to_one.unwrap_or(false))?;
        let (rest, next_rest) = (1.0 - level, 1.0 - next);
        let mut lines = Vec::new();
        let mut slope = slope;
        if self.keys.prediction() == PredictionType::VPrediction {
            lines.push(Line::sum(Local(8), &[(sqrt(level).into(), slope), (sqrt(rest).into(), sample)]));
            slope = Local(8);
        }
        let divisor = level * sqrt(next_rest) + sqrt(level * rest * next);
        lines.push(Line::sum(Local(9), &[(f64::from(next - level), slope)]).over(divisor.into()));
        lines.push(Line::sum(Next, &[(f64::from(sqrt(next / level)), sample), (-1.0, Local(9))]));
        Ok(lines)
    }
}

impl Solver for Pndm {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let step = |(made, &timestep): (usize, &i64)| {
            let lines =
                if made < self.warm_up.len() { self.warm_up(timestep, made) } else { self.multistep(timestep, made) };
            let mixture = mixture(self.training.alpha_cumprod(timestep)?);
            let preview = vec![predict::clean_of_mixture(self.keys.prediction(), mixture, 0.0)];
            Ok(Step { input_divisor: 1.0, lines: lines?, preview })
        };
        self.timesteps.iter().skip(begin).enumerate().map(step).collect()
    }
}
