//! Cumulative signal levels from the betas of training. Only the table; it knows no inference step.
//!
//! diffusers keeps these tables as `f32` tensors. Each operation here rounds where libtorch's CPU kernels round
//! (`linspace` with a fused multiply-add from the nearer end, `cumprod` with an `f64` accumulator), because with
//! `rescale_betas_zero_snr` the last entries are differences of almost equal numbers.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "rounding to f32 is the point, and tables have at most 100000 entries"
)]

use std::f64::consts::FRAC_PI_2;

use crate::config::scheduler::{BetaSchedule, Class, Keys};
use crate::{Error, Result};

use super::{log, rounded};

/// `1 / 2^24`, the smallest subnormal of fp16: keeps the first sigma finite when the last timestep is pure noise.
const NEARLY_ZERO: f32 = 1.0 / 16_777_216.0;

/// The tables of training, one entry for each of its timesteps.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    /// The cumulative product of `1 − beta`.
    pub alphas_cumprod: Vec<f32>,
    /// The noise level relative to the signal.
    pub sigmas: Vec<f32>,
    /// Its logarithm, as numpy takes it.
    pub log_sigmas: Vec<f32>,
}

impl Training {
    /// The tables of a class. `keeps_last` is whether the class makes the last signal level of a rescaled schedule tiny
    /// rather than zero.
    pub fn new(class: Class, keys: &Keys, keeps_last: bool) -> Self {
        let rescales = keys.rescale_betas_zero_snr.unwrap_or(false);
        let mut betas = betas(class, keys);
        if rescales {
            rescale_zero_terminal_snr(&mut betas);
        }
        let mut alphas_cumprod = cumprod(&betas);
        if rescales
            && keeps_last
            && let Some(last) = alphas_cumprod.last_mut()
        {
            *last = NEARLY_ZERO;
        }
        let sigmas = rounded::sqrt_of(alphas_cumprod.iter().map(|&level| (1.0 - level) / level).collect());
        let log_sigmas = sigmas.iter().copied().map(log::log).collect();
        Self { alphas_cumprod, sigmas, log_sigmas }
    }

    /// Refuses tables whose noise levels are no positive finite numbers.
    pub fn check(self) -> Result<Self> {
        if self.sigmas.iter().all(|sigma| sigma.is_finite() && *sigma > 0.0) {
            return Ok(self);
        }
        Err(Error::broken("scheduler: the betas give noise levels that are not positive finite numbers"))
    }

    /// The signal level at a timestep. Below zero it counts from the end, as Python does.
    pub fn alpha_cumprod(&self, timestep: i64) -> Result<f32> {
        let length = i64::try_from(self.alphas_cumprod.len()).unwrap_or(i64::MAX);
        let index = if timestep < 0 { timestep + length } else { timestep };
        usize::try_from(index).ok().and_then(|index| self.alphas_cumprod.get(index).copied()).ok_or_else(|| {
            Error::broken(format!("scheduler: the timestep {timestep} is not one of the {length} of training"))
                .with_hint("ask for fewer steps or a smaller steps_offset")
        })
    }
}

fn betas(class: Class, keys: &Keys) -> Vec<f32> {
    if let Some(betas) = &keys.trained_betas {
        return betas.iter().map(|&beta| beta as f32).collect();
    }
    let (start, end, schedule) = match class {
        Class::HeunDiscrete | Class::DpmSolverSde => (0.00085, 0.012, BetaSchedule::Linear),
        Class::Lcm => (0.00085, 0.012, BetaSchedule::ScaledLinear),
        Class::EulerDiscrete
        | Class::EulerAncestralDiscrete
        | Class::DpmSolverMultistep
        | Class::DpmSolverSinglestep
        | Class::Ddim
        | Class::Pndm
        | Class::UniPcMultistep
        | Class::FlowMatchEulerDiscrete => (0.0001, 0.02, BetaSchedule::Linear),
    };
    let (start, end) = (keys.beta_start.unwrap_or(start), keys.beta_end.unwrap_or(end));
    let count = keys.train() as usize;
    match keys.beta_schedule.unwrap_or(schedule) {
        BetaSchedule::Linear => linspace(start, end, count),
        BetaSchedule::ScaledLinear => {
            linspace(start.sqrt(), end.sqrt(), count).iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredcosCapV2 => capped(count, alpha_bar),
        BetaSchedule::Exp => capped(count, |t| (t * -12.0).exp()),
    }
}

/// The betas of a signal level that is given for the time from 0 to 1.
fn capped(count: usize, level: impl Fn(f64) -> f64) -> Vec<f32> {
    (0..count)
        .map(|i| {
            let (from, to) = (i as f64 / count as f64, (i + 1) as f64 / count as f64);
            (1.0 - level(to) / level(from)).min(0.999) as f32
        })
        .collect()
}

fn alpha_bar(t: f64) -> f64 {
    ((t + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)
}

/// `torch.linspace` in `f32`, at least two numbers.
pub fn linspace(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(
            |i| {
                if i < count / 2 { step.mul_add(i as f32, start) } else { (-step).mul_add((count - i - 1) as f32, end) }
            },
        )
        .collect()
}

/// The running product of `1 − beta`, accumulated in `f64` and kept in `f32`.
fn cumprod(betas: &[f32]) -> Vec<f32> {
    betas
        .iter()
        .scan(1.0_f64, |product, beta| {
            *product *= f64::from(1.0 - beta);
            Some(*product as f32)
        })
        .collect()
}

/// Algorithm 1 of arXiv:2305.08891: shifts and scales the signal levels so that the last is zero and the first stays.
fn rescale_zero_terminal_snr(betas: &mut [f32]) {
    let mut roots = rounded::sqrt_of(cumprod(betas));
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else {
        return;
    };
    let scale = first / (first - last);
    for root in &mut roots {
        *root = (*root - last) * scale;
    }
    let mut before = 1.0;
    for (beta, root) in betas.iter_mut().zip(roots) {
        let level = root * root;
        *beta = 1.0 - level / before;
        before = level;
    }
}
