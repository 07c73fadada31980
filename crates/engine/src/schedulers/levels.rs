//! The noise levels of the multistep solvers: how signal and noise are mixed at each, and the logarithm of their ratio.

#![expect(clippy::cast_possible_truncation, reason = "rounding to f32 as diffusers does is the point")]
#![expect(clippy::indexing_slicing, reason = "numeric code: a step's index is below `len`, and tables are never empty")]

use super::betas::Training;
use super::predict::Mixture;
use super::rounded::{log, sqrt};
use super::{Noising, sigmas};
use crate::Result;
use crate::config::scheduler::{FinalSigmas, Keys, Respacing};

/// Noise levels, one more than there are steps.
#[derive(Debug, Clone)]
pub struct Levels {
    pub sigmas: Vec<f32>,
    /// Whether they are those of flow matching, where the share of the signal is one less sigma.
    pub flow: bool,
}

impl Levels {
    /// Of some levels and the last.
    pub fn new(mut levels: Vec<f64>, last: f64, flow: bool) -> Self {
        levels.push(last);
        Self { sigmas: levels.into_iter().map(|level| level as f32).collect(), flow }
    }

    /// Signal and noise at level `i`.
    pub fn mixture(&self, i: usize) -> Mixture {
        let sigma = self.sigmas[i];
        if self.flow {
            return Mixture { signal: 1.0 - sigma, noise: sigma };
        }
        let signal = 1.0 / sqrt(sigma * sigma + 1.0);
        Mixture { signal, noise: sigma * signal }
    }

    /// Half the logarithm of the signal-to-noise ratio at level `i`.
    pub fn lambda(&self, i: usize) -> f32 {
        let mixture = self.mixture(i);
        log(mixture.signal) - log(mixture.noise)
    }

    /// How a clean sample becomes one of each level.
    pub fn noising(&self) -> Vec<Noising> {
        (0..self.sigmas.len() - 1)
            .map(|i| {
                let mixture = self.mixture(i);
                Noising { signal: mixture.signal.into(), noise: mixture.noise.into() }
            })
            .collect()
    }
}

/// Levels laid anew between the ends of training, and their timesteps with fractions.
pub fn respaced(rule: Respacing, keys: &Keys, training: &Training, steps: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    let table = &training.sigmas;
    let (max, min) = sigmas::ends(keys, f64::from(table[table.len() - 1]), f64::from(table[0]))?;
    let levels = sigmas::respaced(rule, max, min, steps);
    let timesteps = levels.iter().map(|&sigma| sigmas::timestep(sigma, &training.log_sigmas)).collect();
    Ok((levels, timesteps))
}

/// The levels of training at these timesteps.
pub fn of_training(timesteps: &[f64], training: &Training) -> Vec<f64> {
    timesteps.iter().map(|&t| sigmas::interpolate(t, &training.sigmas)).collect()
}

/// The level after the last step, where a class takes it from training.
pub fn last_of_training(keys: &Keys, training: &Training) -> f64 {
    match keys.final_sigmas_type.unwrap_or(FinalSigmas::Zero) {
        FinalSigmas::Zero => 0.0,
        FinalSigmas::SigmaMin => f64::from(training.sigmas[0]),
    }
}
