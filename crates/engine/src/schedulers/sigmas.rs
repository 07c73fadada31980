//! Noise levels for inference from the tables of training: interpolation, and the spacings of Karras, of the
//! exponential and of the beta distribution.

#![expect(clippy::cast_precision_loss, reason = "tables have at most 100000 entries")]
#![expect(clippy::indexing_slicing, reason = "numeric code: every index is bounded by the table's own length")]

use statrs::function::beta::inv_beta_reg;

use crate::config::scheduler::{Keys, Respacing};
use crate::{Error, Result};

/// The exponent of Karras et al. (arXiv:2206.00364), section 5.
const RHO: f64 = 7.0;

/// Both parameters of the beta distribution (arXiv:2407.12173).
const BETA: f64 = 0.6;

/// `numpy.linspace` with both ends, in `f64`.
pub fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    if count < 2 {
        return vec![start; count];
    }
    let step = (end - start) / (count - 1) as f64;
    let mut numbers: Vec<f64> = (0..count).map(|i| i as f64 * step + start).collect();
    numbers[count - 1] = end;
    numbers
}

/// The table at `x`, linearly between its entries and constant beyond its ends (`numpy.interp`).
pub fn interpolate(x: f64, table: &[f32]) -> f64 {
    let last = table.len() - 1;
    if x <= 0.0 {
        return f64::from(table[0]);
    }
    if x >= last as f64 {
        return f64::from(table[last]);
    }
    let below = floor(x);
    let (low, high) = (f64::from(table[below]), f64::from(table[below + 1]));
    (high - low) * (x - below as f64) + low
}

/// `count` sigmas from `max` to `min`.
pub fn respaced(rule: Respacing, max: f64, min: f64, count: usize) -> Vec<f64> {
    match rule {
        Respacing::Karras => karras(max, min, count),
        Respacing::Exponential => exponential(max, min, count),
        Respacing::Beta => beta(max, min, count),
    }
}

/// The largest and the smallest noise level of the respaced schedules: those of the keys, or these.
pub fn ends(keys: &Keys, max: f64, min: f64) -> Result<(f64, f64)> {
    let (max, min) = (keys.sigma_max.unwrap_or(max), keys.sigma_min.unwrap_or(min));
    if max > 0.0 && min > 0.0 && max.is_finite() && min.is_finite() {
        return Ok((max, min));
    }
    Err(Error::broken(format!("scheduler: sigma_max {max} and sigma_min {min} must be positive")))
}

/// Rounded to `f32`.
#[expect(clippy::cast_possible_truncation, reason = "rounding is the point")]
pub fn rounded(numbers: Vec<f64>) -> Vec<f64> {
    numbers.into_iter().map(|number| f64::from(number as f32)).collect()
}

/// Evenly in their seventh roots.
fn karras(max: f64, min: f64, count: usize) -> Vec<f64> {
    let (max, min) = (max.powf(1.0 / RHO), min.powf(1.0 / RHO));
    linspace(0.0, 1.0, count).iter().map(|ramp| (max + ramp * (min - max)).powf(RHO)).collect()
}

/// Evenly in their logarithms.
fn exponential(max: f64, min: f64, count: usize) -> Vec<f64> {
    linspace(max.ln(), min.ln(), count).iter().map(|log| log.exp()).collect()
}

/// At the quantiles of the beta distribution.
fn beta(max: f64, min: f64, count: usize) -> Vec<f64> {
    linspace(0.0, 1.0, count).iter().map(|ramp| min + inv_beta_reg(BETA, BETA, 1.0 - ramp) * (max - min)).collect()
}

/// The timestep, with fractions, whose logarithm of sigma is nearest: the inverse of the table.
pub fn timestep(sigma: f64, log_sigmas: &[f32]) -> f64 {
    let log = sigma.max(1e-10).ln();
    let low = log_sigmas.iter().rposition(|&entry| log >= f64::from(entry)).unwrap_or(0).min(log_sigmas.len() - 2);
    let width = f64::from(log_sigmas[low] - log_sigmas[low + 1]);
    let share = ((f64::from(log_sigmas[low]) - log) / width).clamp(0.0, 1.0);
    (1.0 - share) * low as f64 + share * (low + 1) as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "called between 0 and the table's length")]
fn floor(x: f64) -> usize {
    x as usize
}
