//! Noise schedules: which noise levels a picture goes through and what one step does to it. Plain arithmetic on a few
//! dozen numbers; no tensor is touched here, [`crate::pipelines::Sampler`] follows each [`Step`].

mod ancestral;
mod ask;
mod betas;
mod brownian;
mod build;
mod ddim;
mod dpm;
mod dpm_multistep;
mod dpm_sde;
mod dpm_singlestep;
mod euler;
mod flow_match;
mod heun;
mod lcm;
mod levels;
mod log;
mod pndm;
mod predict;
mod rounded;
mod sigmas;
mod spacing;
pub mod step;
mod unipc;

pub use ask::Ask;
pub use brownian::{Piece, Split, Tree};
pub use build::build;
pub use step::{Line, Register, Step};

use crate::config::scheduler::Class;
use crate::{Error, Result};

/// How a clean sample is made noisy: `signal · clean + noise · unit noise`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noising {
    /// The share of the clean sample.
    pub signal: f64,
    /// The share of the noise.
    pub noise: f64,
}

/// What makes a class itself: the numbers of its steps.
trait Solver: std::fmt::Debug + Send + Sync {
    /// The steps from run `begin` to the last. Steps depend on those before them, so it matters where it begins.
    fn steps(&self, begin: usize) -> Result<Vec<Step>>;
}

/// A schedule for pictures: at which timesteps the network runs, and what happens between.
#[derive(Debug)]
pub struct Schedule {
    class: Class,
    asked: u32,
    runs_per_step: usize,
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
    init_noise_sigma: f64,
    noising: Vec<Noising>,
    solver: Box<dyn Solver>,
}

impl Schedule {
    /// The class of diffusers that it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// How many times the network runs. Some classes run it twice for a step, and spacings may give one more than was
    /// asked for, as in diffusers.
    pub fn len(&self) -> usize {
        self.timesteps.len()
    }

    /// Whether there is no step; never so for a schedule from [`build`].
    pub fn is_empty(&self) -> bool {
        self.timesteps.is_empty()
    }

    /// What the network is told as time at each run, from noisy to clean.
    pub fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    /// All noise levels, one or more longer than `len`; empty for the classes that count in timesteps alone.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// Unit noise times this is the first sample.
    pub fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    /// How a clean sample becomes one that run `i` can begin with; `None` when there is no such run.
    pub fn noising(&self, i: usize) -> Option<Noising> {
        self.noising.get(i).filter(|_| i < self.len()).copied()
    }

    /// The steps from run `begin` to the last; refused where settings of diffusers would divide by zero on the way.
    pub fn steps(&self, begin: usize) -> Result<Vec<Step>> {
        let steps = self.solver.steps(begin)?;
        step::check(self.class.name(), &steps)?;
        Ok(steps)
    }

    /// The run at which a picture of this strength begins, from 0 (the picture stays) to 1 (all runs): `get_timesteps` of
    /// diffusers' pipelines, which round the steps that are made down to a whole number.
    pub fn begin(&self, strength: f64) -> Result<usize> {
        self.begin_after(strength, |asked, strength| asked - (asked * strength).floor().min(asked))
    }

    /// [`Self::begin`] for the pipelines of FLUX, which round the steps that are left out down to a whole number.
    pub fn begin_of_flux(&self, strength: f64) -> Result<usize> {
        self.begin_after(strength, |asked, strength| (asked - (asked * strength).min(asked)).floor())
    }

    fn begin_after(&self, strength: f64, left_out: impl Fn(f64, f64) -> f64) -> Result<usize> {
        if !(0.0..=1.0).contains(&strength) {
            return Err(Error::invalid(format!("strength is {strength}, not from 0 to 1")));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to the number of steps")]
        let begin = left_out(f64::from(self.asked), strength) as usize * self.runs_per_step;
        if begin >= self.len() {
            return Err(Error::invalid(format!(
                "a strength of {strength} leaves none of {} steps to make",
                self.asked
            ))
            .with_hint("ask for more steps or more strength"));
        }
        Ok(begin)
    }
}
