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

use crate::config::scheduler::{BetaSchedule, EulerDiscreteConfig};

/// `1 / 2^24`, the smallest subnormal of fp16: keeps the first sigma finite when the last timestep is pure noise.
const NEARLY_ZERO: f32 = 1.0 / 16_777_216.0;

/// The cumulative product of `1 − beta` at each training timestep.
pub fn alphas_cumprod(config: &EulerDiscreteConfig) -> Vec<f32> {
    let mut betas = betas(config);
    if config.rescale_betas_zero_snr {
        rescale_zero_terminal_snr(&mut betas);
    }
    let mut products = cumprod(&betas);
    if config.rescale_betas_zero_snr
        && let Some(last) = products.last_mut()
    {
        *last = NEARLY_ZERO;
    }
    products
}

/// The noise level of a training timestep relative to its signal.
pub fn sigma(alpha_cumprod: f32) -> f32 {
    ((1.0 - alpha_cumprod) / alpha_cumprod).sqrt()
}

fn betas(config: &EulerDiscreteConfig) -> Vec<f32> {
    if let Some(betas) = &config.trained_betas {
        return betas.iter().map(|&beta| beta as f32).collect();
    }
    let count = config.num_train_timesteps as usize;
    match config.beta_schedule {
        BetaSchedule::Linear => linspace(config.beta_start, config.beta_end, count),
        BetaSchedule::ScaledLinear => {
            linspace(config.beta_start.sqrt(), config.beta_end.sqrt(), count).iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredcosCapV2 => (0..count)
            .map(|i| {
                let (from, to) = (i as f64 / count as f64, (i + 1) as f64 / count as f64);
                (1.0 - alpha_bar(to) / alpha_bar(from)).min(0.999) as f32
            })
            .collect(),
    }
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
    let mut roots: Vec<f32> = cumprod(betas).iter().map(|product| product.sqrt()).collect();
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
