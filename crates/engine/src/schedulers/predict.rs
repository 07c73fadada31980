//! How a class reads what the network said: lines that estimate the clean sample and the noise.

use super::rounded::sqrt;
use super::step::{Line, Register};
use crate::config::scheduler::{Keys, PredictionType};

use Register::{Clean, Guess, Local, Output, Sample};

/// Signal and noise of a sample: `signal · clean + noise · unit noise`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mixture {
    /// The share of the clean sample.
    pub signal: f32,
    /// The share of the noise.
    pub noise: f32,
}

/// The clean sample where the sample is the clean one plus `sigma` times noise (arXiv:2206.00364).
pub fn clean_of_sigma(prediction: PredictionType, sigma: f32) -> Vec<Line> {
    match prediction {
        PredictionType::Epsilon | PredictionType::FlowPrediction => {
            vec![Line::sum(Clean, &[(1.0, Sample), (-f64::from(sigma), Output)])]
        }
        PredictionType::Sample => vec![Line::copy(Clean, Output)],
        PredictionType::VPrediction => {
            let square = sigma * sigma + 1.0;
            vec![
                Line::copy(Local(0), Sample).over(square.into()),
                Line::sum(Clean, &[(f64::from(-sigma / sqrt(square)), Output), (1.0, Local(0))]),
            ]
        }
    }
}

/// The clean sample of a mixture. Flow matching mixes by `sigma` itself.
pub fn clean_of_mixture(prediction: PredictionType, mixture: Mixture, sigma: f32) -> Line {
    let (signal, noise) = (f64::from(mixture.signal), f64::from(mixture.noise));
    match prediction {
        PredictionType::Epsilon => Line::sum(Clean, &[(1.0, Sample), (-noise, Output)]).over(signal),
        PredictionType::Sample => Line::copy(Clean, Output),
        PredictionType::VPrediction => Line::sum(Clean, &[(signal, Sample), (-noise, Output)]),
        PredictionType::FlowPrediction => Line::sum(Clean, &[(1.0, Sample), (-f64::from(sigma), Output)]),
    }
}

/// The noise of a mixture.
pub fn noise_of_mixture(prediction: PredictionType, mixture: Mixture) -> Line {
    let (signal, noise) = (f64::from(mixture.signal), f64::from(mixture.noise));
    match prediction {
        PredictionType::Epsilon | PredictionType::FlowPrediction => Line::copy(Guess, Output),
        PredictionType::Sample => Line::sum(Guess, &[(1.0, Sample), (-signal, Output)]).over(noise),
        PredictionType::VPrediction => Line::sum(Guess, &[(signal, Output), (noise, Sample)]),
    }
}

/// The clean sample that belongs to a noise, and the noise that belongs to a clean sample.
pub fn clean_of_noise(mixture: Mixture) -> Line {
    Line::sum(Clean, &[(1.0, Sample), (-f64::from(mixture.noise), Guess)]).over(mixture.signal.into())
}

/// The noise that belongs to a clean sample.
pub fn noise_of_clean(mixture: Mixture) -> Line {
    Line::sum(Guess, &[(1.0, Sample), (-f64::from(mixture.signal), Clean)]).over(mixture.noise.into())
}

/// How the clean sample is held in bounds, where the keys say so: thresholds before the plain clamp.
pub fn bounds(keys: &Keys, clips_unless_told: bool) -> Option<Line> {
    thresholds(keys).or_else(|| {
        keys.clip_sample.unwrap_or(clips_unless_told).then(|| Line::Clamp(keys.clip_sample_range.unwrap_or(1.0)))
    })
}

/// Dynamic thresholding, where the keys say so.
pub fn thresholds(keys: &Keys) -> Option<Line> {
    keys.thresholding.unwrap_or(false).then(|| Line::Threshold {
        ratio: keys.dynamic_thresholding_ratio.unwrap_or(0.995),
        most: keys.sample_max_value.unwrap_or(1.0),
    })
}
