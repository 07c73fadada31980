//! Where the timesteps of inference lie among those of training: the spacings of diffusers, as numpy computes them.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "numbers of steps and timesteps are at most 100000"
)]

use super::sigmas::linspace;
use crate::config::scheduler::{Keys, TimestepSpacing};

/// The timesteps of the classes that take both ends of training, from noisy to clean. `linspace` has fractions.
pub fn ends(keys: &Keys, default: TimestepSpacing, steps: usize) -> Vec<f64> {
    let train = keys.train();
    match keys.timestep_spacing.unwrap_or(default) {
        TimestepSpacing::Linspace => reversed(linspace(0.0, f64::from(train - 1), steps)),
        TimestepSpacing::Leading => leading(train as usize / steps, steps, keys),
        TimestepSpacing::Trailing => trailing(f64::from(train), f64::from(train) / steps as f64),
    }
}

/// The timesteps of the multistep solvers: `steps` of `steps + 1` points, without the cleanest. `last` is how many of the
/// timesteps of training are used.
pub fn without_last(keys: &Keys, last: u32, steps: usize) -> Vec<f64> {
    match keys.timestep_spacing.unwrap_or(TimestepSpacing::Linspace) {
        TimestepSpacing::Linspace => points(f64::from(last) - 1.0, steps),
        TimestepSpacing::Leading => {
            let mut timesteps = leading(last as usize / (steps + 1), steps + 1, keys);
            timesteps.pop();
            timesteps
        }
        TimestepSpacing::Trailing => trailing(f64::from(last), f64::from(keys.train()) / steps as f64),
    }
}

/// The timesteps of the classes that count in whole ones, from noisy to clean.
pub fn whole(keys: &Keys, steps: usize) -> Vec<f64> {
    ends(keys, TimestepSpacing::Leading, steps).into_iter().map(f64::round_ties_even).collect()
}

/// `steps` of the `steps + 1` whole points from `end` to 0, without 0.
pub fn points(end: f64, steps: usize) -> Vec<f64> {
    let mut points = reversed(linspace(0.0, end, steps + 1));
    points.pop();
    points.iter().map(|t| t.round_ties_even()).collect()
}

fn leading(ratio: usize, steps: usize, keys: &Keys) -> Vec<f64> {
    (0..steps).rev().map(|i| (i * ratio) as f64 + f64::from(keys.steps_offset.unwrap_or(0))).collect()
}

fn trailing(last: f64, ratio: f64) -> Vec<f64> {
    // `numpy.arange` counts with the difference of its first two entries, and its length rounds up; a ratio that is not
    // exact can thus give one entry more than there are steps.
    let (count, delta) = ((last / ratio).ceil() as usize, (last - ratio) - last);
    // Half to even, as numpy rounds: with 16 steps one timestep is 812.5.
    (0..count).map(|i| (last + i as f64 * delta).round_ties_even() - 1.0).collect()
}

fn reversed(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.reverse();
    numbers
}
