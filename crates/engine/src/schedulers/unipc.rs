//! diffusers' `UniPCMultistepScheduler` (arXiv:2302.04867): a predictor from earlier estimates, and a corrector that goes
//! over the last step again once the network has seen where it led.

#![expect(clippy::indexing_slicing, reason = "numeric code: matrices are as large as the order")]
#![expect(clippy::cast_precision_loss, reason = "orders are small")]
#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]

use super::betas::Training;
use super::levels::{self, Levels};
use super::predict;
use super::rounded::exp_m1;
use super::sigmas::linspace;
use super::step::{Line, Register, Step};
use super::{Ask, Schedule, Solver, flow_match, spacing};
use crate::config::scheduler::{Class, FinalSigmas, Keys, PredictionType, Respacing, SolverType};
use crate::{Error, Result};

use Register::{Clean, Guess, Kept, Local, Next, Past, Sample};

/// diffusers keeps the first sigma of flow matching this far from 1, where its logarithm would be infinite.
const EPSILON: f64 = 1e-6;

#[derive(Debug)]
struct UniPc {
    levels: Levels,
    runs: usize,
    prediction: PredictionType,
    of_clean: bool,
    is_bh1: bool,
    order: usize,
    lower_order_final: bool,
    /// The runs after which nothing is corrected.
    uncorrected: Vec<usize>,
    thresholds: Option<Line>,
}

/// The schedule that is asked for.
pub fn schedule(keys: &Keys, ask: &Ask) -> Result<Schedule> {
    const CLASS: Class = Class::UniPcMultistep;
    let training = Training::new(CLASS, keys, true).check()?;
    let flow = keys.use_flow_sigmas.unwrap_or(false);
    if keys.shift_terminal.is_some() && !flow {
        return Err(Error::broken("scheduler: shift_terminal needs use_flow_sigmas"));
    }
    let (sigmas, timesteps, last) = sigmas(keys, ask, &training, flow)?;
    let levels = Levels::new(sigmas, last, flow);
    let of_clean = keys.predict_x0.unwrap_or(true);
    Ok(Schedule {
        class: CLASS,
        asked: ask.steps,
        runs_per_step: 1,
        init_noise_sigma: 1.0,
        sigmas: levels.sigmas.iter().copied().map(f64::from).collect(),
        noising: levels.noising(),
        solver: Box::new(UniPc {
            levels,
            runs: timesteps.len(),
            prediction: keys.prediction(),
            of_clean,
            is_bh1: keys.solver_type == Some(SolverType::Bh1),
            order: keys.solver_order.unwrap_or(2) as usize,
            lower_order_final: keys.lower_order_final.unwrap_or(true),
            uncorrected: keys.disable_corrector.clone().unwrap_or_default(),
            thresholds: predict::thresholds(keys).filter(|_| of_clean),
        }),
        timesteps,
    })
}

/// Levels, whole timesteps, and the level after the last step.
fn sigmas(keys: &Keys, ask: &Ask, training: &Training, flow: bool) -> Result<(Vec<f64>, Vec<f64>, f64)> {
    let (steps, train) = (ask.steps as usize, f64::from(keys.train()));
    let (sigmas, timesteps) = match keys.respacing() {
        Some(rule) => {
            let (mut sigmas, mut timesteps) = levels::respaced(rule, keys, training, steps)?;
            if rule == Respacing::Karras {
                timesteps = timesteps.into_iter().map(f64::round_ties_even).collect();
                if flow {
                    sigmas = sigmas.into_iter().map(|sigma| sigma / (sigma + 1.0)).collect();
                    timesteps = sigmas.iter().map(|sigma| sigma * train).collect();
                }
            }
            (sigmas, timesteps)
        }
        None if flow => {
            let mut sigmas = linspace(1.0, 1.0 / train, steps + 1);
            sigmas.pop();
            let mut sigmas = match flow_match::shift_mu(keys, ask)? {
                Some(mu) => flow_match::shifted_by(mu, keys, &sigmas),
                None => flow_match::shifted(keys.flow_shift.unwrap_or(1.0), &sigmas),
            };
            flow_match::stretch(keys, &mut sigmas);
            if let Some(first) = sigmas.first_mut()
                && (*first - 1.0).abs() < EPSILON
            {
                *first -= EPSILON;
            }
            let timesteps = sigmas.iter().map(|sigma| sigma * train).collect();
            (sigmas, timesteps)
        }
        None => {
            let timesteps = spacing::without_last(keys, keys.train(), steps);
            let last = levels::last_of_training(keys, training);
            return Ok((levels::of_training(&timesteps, training), timesteps, last));
        }
    };
    let last = match keys.final_sigmas_type.unwrap_or(FinalSigmas::Zero) {
        FinalSigmas::Zero => 0.0,
        FinalSigmas::SigmaMin => sigmas.last().copied().unwrap_or_default(),
    };
    Ok((sigmas, timesteps.into_iter().map(f64::trunc).collect(), last))
}

/// The numbers that predictor and corrector share: from one level to another, with earlier ones to look back at.
struct Reach {
    /// The shares of the sample and of the newest estimate.
    sample: f32,
    estimate: f32,
    /// The weight of the sum of differences.
    differences: f32,
    /// Where the earlier levels lie, in units of the reach.
    back: Vec<f32>,
    /// The right-hand sides of the equations for the weights of the differences.
    sides: Vec<f32>,
}

impl UniPc {
    /// From level `from` to level `to` in this order.
    fn reach(&self, from: usize, to: usize, order: usize) -> Reach {
        let (s, t) = (self.levels.mixture(from), self.levels.mixture(to));
        let base = self.levels.lambda(from);
        let h = self.levels.lambda(to) - base;
        let hh = if self.of_clean { -h } else { h };
        let phi_1 = exp_m1(hh);
        let b = if self.is_bh1 { hh } else { phi_1 };
        let (sample, scale) =
            if self.of_clean { (t.noise / s.noise, t.signal) } else { (t.signal / s.signal, t.noise) };
        let (mut phi, mut factorial) = (phi_1 / hh - 1.0, 1.0_f32);
        let sides = (1..=order).map(|i| {
            let side = phi * factorial / b;
            factorial *= i as f32 + 1.0;
            phi = phi / hh - (1.0 / f64::from(factorial)) as f32;
            side
        });
        let sides = sides.collect();
        let back = (1..order).map(|i| (self.levels.lambda(from - i) - base) / h).collect();
        Reach { sample, estimate: scale * phi_1, differences: scale * b, back, sides }
    }

    /// The newest estimate's register, before it is among the past.
    fn estimate(&self) -> Register {
        if self.of_clean { Clean } else { Guess }
    }

    /// Goes over the step to level `i` again.
    fn correct(&self, i: usize, order: usize) -> Vec<Line> {
        let reach = self.reach(i - 1, i, order);
        let weights = if order == 1 {
            vec![0.5]
        } else {
            let mut points = reach.back.clone();
            points.push(1.0);
            solve(&points, &reach.sides)
        };
        let mut lines = differences(&reach.back);
        lines.push(Line::sum(Local(0), &[(1.0, self.estimate()), (-1.0, Past(0))]));
        let mut terms: Vec<_> = (1..order).map(|k| (f64::from(weights[k - 1]), Local(k))).collect();
        terms.push((f64::from(weights[order - 1]), Local(0)));
        lines.push(Line::sum(Local(order), &terms));
        lines.push(advance(Sample, Kept(0), &reach, Some(Local(order))));
        lines
    }

    /// Goes on from level `i`.
    fn predict(&self, i: usize, order: usize) -> Vec<Line> {
        let reach = self.reach(i, i + 1, order);
        if order == 1 {
            return vec![advance(Next, Sample, &reach, None)];
        }
        let weights = if order == 2 { vec![0.5] } else { solve(&reach.back, &reach.sides[..order - 1]) };
        let mut lines = differences(&reach.back);
        let terms: Vec<_> = (1..order).map(|k| (f64::from(weights[k - 1]), Local(k))).collect();
        lines.push(Line::sum(Local(0), &terms));
        lines.push(advance(Next, Sample, &reach, Some(Local(0))));
        lines
    }
}

/// The differences of the estimates before the newest from it, in their places from 1 on.
fn differences(back: &[f32]) -> Vec<Line> {
    let difference = |(k, place): (usize, &f32)| {
        Line::sum(Local(k + 1), &[(1.0, Past(k + 1)), (-1.0, Past(0))]).over(f64::from(*place))
    };
    back.iter().enumerate().map(difference).collect()
}

fn advance(into: Register, sample: Register, reach: &Reach, differences: Option<Register>) -> Line {
    let mut terms = vec![(f64::from(reach.sample), sample), (-f64::from(reach.estimate), Past(0))];
    terms.extend(differences.map(|register| (-f64::from(reach.differences), register)));
    Line::sum(into, &terms)
}

/// The weights `w` with `Σ points[k]^i · w[k] = sides[i]`, by elimination in `f32` as LAPACK does it.
fn solve(points: &[f32], sides: &[f32]) -> Vec<f32> {
    let n = points.len();
    let mut rows: Vec<Vec<f32>> = (0..n)
        .map(|i| {
            let power = |point: &f32| point.powi(i32::try_from(i).unwrap_or(i32::MAX));
            points.iter().map(power).chain([sides[i]]).collect()
        })
        .collect();
    for column in 0..n {
        let largest = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()));
        rows.swap(column, largest.unwrap_or(column));
        let pivot = rows[column].clone();
        for row in &mut rows[column + 1..] {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(&pivot).skip(column).for_each(|(entry, pivot)| *entry -= factor * pivot);
        }
    }
    let mut weights = vec![0.0; n];
    for row in (0..n).rev() {
        let known: f32 = (row + 1..n).map(|k| rows[row][k] * weights[k]).sum();
        weights[row] = (rows[row][n] - known) / rows[row][row];
    }
    weights
}

impl Solver for UniPc {
    fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let mut last_order = 0;
        let step = |i: usize| {
            let before = i - begin;
            let mixture = self.levels.mixture(i);
            let (mut lines, mut preview) = (Vec::new(), Vec::new());
            if self.of_clean {
                lines.push(predict::clean_of_mixture(self.prediction, mixture, self.levels.sigmas[i]));
                lines.extend(self.thresholds.clone());
            } else {
                lines.push(predict::noise_of_mixture(self.prediction, mixture));
                preview.push(predict::clean_of_noise(mixture));
            }
            let corrects = before > 0 && !self.uncorrected.contains(&(i - 1));
            if corrects {
                lines.extend(self.correct(i, last_order));
            }
            lines.push(Line::copy(Past(0), self.estimate()));
            lines.push(Line::copy(Kept(0), Sample));
            let most = if self.lower_order_final { self.order.min(self.runs - i) } else { self.order };
            last_order = most.min(before + 1);
            lines.extend(self.predict(i, last_order));
            Step { input_divisor: 1.0, lines, preview }
        };
        Ok((begin..self.runs).map(step).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::solve;

    #[test]
    fn equations_are_solved() {
        let (points, weights) = ([-1.5_f32, -0.7, 1.0], [0.3_f32, -1.2, 2.0]);
        let sides: Vec<f32> =
            (0..3).map(|i| points.iter().zip(weights).map(|(point, weight)| point.powi(i) * weight).sum()).collect();
        for (found, weight) in solve(&points, &sides).into_iter().zip(weights) {
            assert!((found - weight).abs() < 1e-5, "{found} is not {weight}");
        }
    }
}
