//! One step of a schedule, as a list of weighted sums. A class of diffusers is nothing but the numbers in them; what is
//! done with them is the same for all and lies in [`crate::pipelines`], the only place that touches tensors.
//!
//! The sums are not folded into one: each line rounds where diffusers rounds. With a terminal signal-to-noise ratio of
//! zero the first sigma is 4096, and `f32` then loses more in another order than the parity tests allow.

use super::Tree;
use crate::{Error, Result};

/// What a line reads or writes: a picture's latents, or something of their shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// The noisy sample that the step begins with.
    Sample,
    /// What the network said.
    Output,
    /// The estimate of the clean sample.
    Clean,
    /// The estimate of the noise.
    Guess,
    /// Unit noise from the picture's own generator, drawn when it is first read in a step.
    Fresh,
    /// Lasts for the step.
    Local(usize),
    /// Lasts until it is written again.
    Kept(usize),
    /// The estimates of this and earlier steps, the newest first; what is written to 0 pushes the others back.
    Past(usize),
    /// The sample of the next step.
    Next,
}

/// A line of a step. All numbers are exact in `f32`.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// `into = (factor · register + …) · times / over`, summed from left to right.
    Sum {
        /// Where it goes.
        into: Register,
        /// What is summed.
        terms: Vec<(f64, Register)>,
        /// Then multiplied.
        times: f64,
        /// Then divided; diffusers divides where it could multiply, and the last bit is amplified by guidance.
        over: f64,
    },
    /// `into` = the increment of a Brownian motion from one time to another, over the root of the time between.
    Increment {
        /// Where it goes.
        into: Register,
        /// The motion.
        tree: Tree,
        /// The times.
        times: (f64, f64),
    },
    /// Holds [`Register::Clean`] within plus and minus this.
    Clamp(f64),
    /// Dynamic thresholding (arXiv:2205.11487) of [`Register::Clean`]: held within the quantile of its sizes, itself from 1
    /// to `most`, and divided by it.
    Threshold {
        /// Which quantile.
        ratio: f64,
        /// The largest threshold.
        most: f64,
    },
}

impl Line {
    /// A sum.
    pub fn sum(into: Register, terms: &[(f64, Register)]) -> Self {
        Self::Sum { into, terms: terms.to_vec(), times: 1.0, over: 1.0 }
    }

    /// A copy.
    pub fn copy(into: Register, from: Register) -> Self {
        Self::sum(into, &[(1.0, from)])
    }

    /// The sum, multiplied.
    #[must_use]
    pub fn times(mut self, factor: f64) -> Self {
        if let Self::Sum { times, .. } = &mut self {
            *times = factor;
        }
        self
    }

    /// The sum, divided.
    #[must_use]
    pub fn over(mut self, divisor: f64) -> Self {
        if let Self::Sum { over, .. } = &mut self {
            *over = divisor;
        }
        self
    }

    /// `is_held` is whether a later line holds the clean sample in bounds, which makes something even of a division by zero.
    fn is_finite(&self, is_held: bool) -> bool {
        match self {
            Self::Sum { into, terms, times, over } => {
                let divides = over.abs() > 0.0 || (is_held && *into == Register::Clean && !over.is_nan());
                // By infinity it may be divided: two levels that are the same have no difference.
                divides && times.is_finite() && terms.iter().all(|(factor, _)| factor.is_finite())
            }
            Self::Increment { times: (from, to), .. } => (from - to).abs() > 0.0,
            Self::Clamp(range) => *range > 0.0,
            Self::Threshold { ratio, most } => (0.0..=1.0).contains(ratio) && *most >= 1.0,
        }
    }
}

/// One step: from a sample and the network's output to the next sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The sample divided by this is the network's input.
    pub input_divisor: f64,
    /// What is computed, in this order; one of the lines writes [`Register::Next`].
    pub lines: Vec<Line>,
    /// What must be computed from [`Register::Sample`] and [`Register::Output`] for [`Register::Clean`] to be the estimate of
    /// the clean sample, where `lines` do not write it: it is only for those who watch.
    pub preview: Vec<Line>,
}

impl Step {
    /// A step whose lines estimate the clean sample themselves.
    pub fn new(input_divisor: f64, lines: Vec<Line>) -> Self {
        Self { input_divisor, lines, preview: Vec::new() }
    }
}

/// Refuses steps that would make numbers of no meaning: some settings of diffusers divide by zero.
pub fn check(class: &str, steps: &[Step]) -> Result<()> {
    let is_finite = |step: &Step| {
        let clamp = step.lines.iter().position(|line| matches!(line, Line::Clamp(_))).unwrap_or(0);
        let is_finite = |(i, line): (usize, &Line)| line.is_finite(i < clamp);
        step.input_divisor.is_normal() && step.lines.iter().enumerate().all(is_finite)
    };
    match steps.iter().position(|step| !is_finite(step)) {
        None => Ok(()),
        Some(i) => Err(Error::broken(format!(
            "scheduler: the settings of {class} give no finite number at step {} of {}",
            i + 1,
            steps.len()
        ))
        .with_hint("another timestep_spacing, final_sigmas_type, prediction_type or number of steps avoids the division by zero")),
    }
}
