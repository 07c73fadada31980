//! DPM-Solver and DPM-Solver++ (arXiv:2206.00927, arXiv:2211.01095): what the multistep and the singlestep scheduler of
//! diffusers have in common, which is all but the order of each step.

#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]

use super::betas::Training;
use super::levels::Levels;
use super::predict;
use super::rounded::{exp, log, sqrt};
use super::sigmas::linspace;
use super::step::{Line, Register, Step};
use crate::config::scheduler::{AlgorithmType, Class, FinalSigmas, Keys, PredictionType, SolverType};
use crate::{Error, Result};

use Register::{Clean, Fresh, Guess, Local, Next, Past};

/// What the steps of a DPM solver have in common.
#[derive(Debug)]
pub struct Dpm {
    pub levels: Levels,
    algorithm: AlgorithmType,
    heun: bool,
    prediction: PredictionType,
    thresholds: Option<Line>,
}

impl Dpm {
    /// Reads the keys; refuses the combinations that diffusers refuses or cannot compute.
    pub fn new(class: Class, keys: &Keys, levels: Levels) -> Result<Self> {
        let algorithm = keys.algorithm_type.unwrap_or(AlgorithmType::DpmSolverPlus);
        let refused = |what: &str, hint: &str| Err(Error::broken(format!("scheduler: {what}")).with_hint(hint));
        let of_noise = matches!(algorithm, AlgorithmType::DpmSolver | AlgorithmType::SdeDpmSolver);
        if of_noise && keys.final_sigmas_type.unwrap_or(FinalSigmas::Zero) == FinalSigmas::Zero {
            return refused(
                "algorithm_type dpmsolver and sde-dpmsolver cannot end with final_sigmas_type zero",
                "set final_sigmas_type sigma_min, or algorithm_type dpmsolver++ or sde-dpmsolver++",
            );
        }
        if algorithm == AlgorithmType::SdeDpmSolver && class == Class::DpmSolverSinglestep {
            return refused(
                "algorithm_type sde-dpmsolver is not one of DPMSolverSinglestepScheduler",
                "set algorithm_type sde-dpmsolver++",
            );
        }
        Ok(Self {
            levels,
            algorithm,
            heun: keys.solver_type == Some(SolverType::Heun),
            prediction: keys.prediction(),
            thresholds: predict::thresholds(keys),
        })
    }

    /// Refuses steps of third order of the one algorithm that has none in diffusers.
    pub fn check_third(&self) -> Result<()> {
        if self.algorithm != AlgorithmType::SdeDpmSolver {
            return Ok(());
        }
        Err(Error::broken("scheduler: algorithm_type sde-dpmsolver has no steps of third order")
            .with_hint("set algorithm_type sde-dpmsolver++ or a smaller solver_order"))
    }

    /// The lines that turn the network's output at level `i` into the estimate that the solver follows, and what must be
    /// added for one who watches.
    pub fn estimate(&self, i: usize) -> (Vec<Line>, Vec<Line>) {
        let (mixture, sigma) = (self.levels.mixture(i), self.levels.sigmas.get(i).copied().unwrap_or_default());
        if self.of_clean() {
            let mut lines = vec![predict::clean_of_mixture(self.prediction, mixture, sigma)];
            lines.extend(self.thresholds.clone());
            lines.push(Line::copy(Past(0), Clean));
            return (lines, Vec::new());
        }
        let mut lines = vec![predict::noise_of_mixture(self.prediction, mixture)];
        let mut preview = vec![predict::clean_of_noise(mixture)];
        if let Some(threshold) = &self.thresholds {
            lines.append(&mut preview);
            lines.extend([threshold.clone(), predict::noise_of_clean(mixture)]);
        }
        lines.push(Line::copy(Past(0), Guess));
        (lines, preview)
    }

    /// From level `from` to level `to`, with the lines that estimate the curve between.
    pub fn advance(&self, from: usize, to: usize, sample: Register, curve: Curve) -> Vec<Line> {
        let Weights { sample: share, clean, noise } = self.weights(from, to);
        let mut terms = vec![(f64::from(share), sample), (f64::from(clean), curve.at)];
        terms.extend(curve.slope.map(|(slope, rule)| (f64::from(self.slope(from, to, rule)), slope)));
        terms.extend(curve.bend.map(|bend| (f64::from(self.bend(from, to)), bend)));
        terms.push((f64::from(noise), Fresh));
        let mut lines = curve.lines;
        lines.push(Line::sum(Next, &terms));
        lines
    }

    /// Whether second-order steps follow Heun's rule.
    pub fn rule(&self) -> Rule {
        if self.heun { Rule::Heun } else { Rule::Midpoint }
    }

    /// The distance between two levels.
    pub fn distance(&self, from: usize, to: usize) -> f32 {
        self.levels.lambda(to) - self.levels.lambda(from)
    }

    fn of_clean(&self) -> bool {
        matches!(self.algorithm, AlgorithmType::DpmSolverPlus | AlgorithmType::SdeDpmSolverPlus)
    }

    fn weights(&self, from: usize, to: usize) -> Weights {
        let (s, t, h) = (self.levels.mixture(from), self.levels.mixture(to), self.distance(from, to));
        match self.algorithm {
            AlgorithmType::DpmSolverPlus => {
                Weights { sample: t.noise / s.noise, clean: -(t.signal * (exp(-h) - 1.0)), noise: 0.0 }
            }
            AlgorithmType::DpmSolver => {
                Weights { sample: t.signal / s.signal, clean: -(t.noise * (exp(h) - 1.0)), noise: 0.0 }
            }
            AlgorithmType::SdeDpmSolverPlus => Weights {
                sample: t.noise / s.noise * exp(-h),
                clean: t.signal * (1.0 - exp(-2.0 * h)),
                noise: t.noise * sqrt(1.0 - exp(-2.0 * h)),
            },
            AlgorithmType::SdeDpmSolver => Weights {
                sample: t.signal / s.signal,
                clean: -2.0 * (t.noise * (exp(h) - 1.0)),
                noise: t.noise * sqrt(exp(2.0 * h) - 1.0),
            },
        }
    }

    /// The weight of the first difference.
    fn slope(&self, from: usize, to: usize, rule: Rule) -> f32 {
        let (t, h) = (self.levels.mixture(to), self.distance(from, to));
        match (self.algorithm, rule) {
            (AlgorithmType::DpmSolverPlus, Rule::Midpoint) => -(0.5 * (t.signal * (exp(-h) - 1.0))),
            (AlgorithmType::DpmSolverPlus, Rule::Heun) => t.signal * ((exp(-h) - 1.0) / h + 1.0),
            (AlgorithmType::DpmSolver, Rule::Midpoint) => -(0.5 * (t.noise * (exp(h) - 1.0))),
            (AlgorithmType::DpmSolver, Rule::Heun) => -(t.noise * ((exp(h) - 1.0) / h - 1.0)),
            (AlgorithmType::SdeDpmSolverPlus, Rule::Midpoint) => 0.5 * (t.signal * (1.0 - exp(-2.0 * h))),
            (AlgorithmType::SdeDpmSolverPlus, Rule::Heun) => t.signal * ((1.0 - exp(-2.0 * h)) / (-2.0 * h) + 1.0),
            (AlgorithmType::SdeDpmSolver, Rule::Midpoint) => -(t.noise * (exp(h) - 1.0)),
            (AlgorithmType::SdeDpmSolver, Rule::Heun) => -2.0 * (t.noise * ((exp(h) - 1.0) / h - 1.0)),
        }
    }

    /// The weight of the second difference.
    fn bend(&self, from: usize, to: usize) -> f32 {
        let (t, h) = (self.levels.mixture(to), self.distance(from, to));
        match self.algorithm {
            AlgorithmType::DpmSolverPlus => -(t.signal * ((exp(-h) - 1.0 + h) / (h * h) - 0.5)),
            // There is no step of third order of the latter.
            AlgorithmType::DpmSolver | AlgorithmType::SdeDpmSolver => -(t.noise * ((exp(h) - 1.0 - h) / (h * h) - 0.5)),
            AlgorithmType::SdeDpmSolverPlus => {
                let twice = 2.0 * h;
                t.signal * ((1.0 - exp(-twice) - twice) / (twice * twice) - 0.5)
            }
        }
    }
}

struct Weights {
    sample: f32,
    clean: f32,
    noise: f32,
}

/// The variant of a step that looks at one difference.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    Midpoint,
    Heun,
}

/// The solver's estimate along a step, expanded where the step begins.
#[derive(Debug)]
pub struct Curve {
    /// What is computed first.
    pub lines: Vec<Line>,
    /// Its value there.
    pub at: Register,
    /// Its first difference.
    pub slope: Option<(Register, Rule)>,
    /// Its second difference.
    pub bend: Option<Register>,
}

impl Curve {
    /// A constant.
    pub fn flat(at: Register) -> Self {
        Self { lines: Vec::new(), at, slope: None, bend: None }
    }
}

/// A step of lines; the first of them estimate.
pub fn step((mut lines, preview): (Vec<Line>, Vec<Line>), advance: Vec<Line>) -> Step {
    lines.extend(advance);
    Step { input_divisor: 1.0, lines, preview }
}

/// The difference of two estimates, times `factor`.
pub fn difference(into: usize, newer: Register, older: Register, factor: f32) -> Line {
    Line::sum(Local(into), &[(1.0, newer), (-1.0, older)]).times(factor.into())
}

/// How many of the noisiest timesteps `lambda_min_clipped` leaves out.
pub fn clipped(keys: &Keys, training: &Training) -> u32 {
    let Some(least) = keys.lambda_min_clipped else {
        return 0;
    };
    let lambdas = training.alphas_cumprod.iter().map(|&level| log(sqrt(level)) - log(sqrt(1.0 - level)));
    u32::try_from(lambdas.filter(|&lambda| lambda < least as f32).count()).unwrap_or(u32::MAX)
}

/// The levels and timesteps of flow matching for these classes. `mu` shifts with the size of the picture.
pub fn flow(keys: &Keys, mu: Option<f64>, steps: usize) -> (Vec<f64>, Vec<f64>) {
    let train = f64::from(keys.train());
    let shift = mu.map_or(keys.flow_shift.unwrap_or(1.0), f64::exp);
    let mut levels: Vec<f64> = linspace(1.0, 1.0 / train, steps + 1)
        .into_iter()
        .map(|alpha| 1.0 - alpha)
        .map(|sigma| shift * sigma / (1.0 + (shift - 1.0) * sigma))
        .skip(1)
        .collect();
    levels.reverse();
    let timesteps = levels.iter().map(|sigma| sigma * train).collect();
    (levels, timesteps)
}

/// The levels of Lu et al., evenly in the logarithm, and their timesteps with fractions.
pub fn lu(training: &Training, steps: usize) -> (Vec<f64>, Vec<f64>) {
    let logs = &training.log_sigmas;
    let ends = (logs.last().copied().unwrap_or_default(), logs.first().copied().unwrap_or_default());
    let (max, min) = (f64::from(ends.0), f64::from(ends.1));
    let levels: Vec<f64> = linspace(0.0, 1.0, steps).iter().map(|ramp| (max + ramp * (min - max)).exp()).collect();
    let timesteps = levels.iter().map(|&sigma| super::sigmas::timestep(sigma, logs)).collect();
    (levels, timesteps)
}
