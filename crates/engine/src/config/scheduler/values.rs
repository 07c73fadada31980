//! The words that a scheduler's keys take, as spelled in diffusers.

use serde::Deserialize;

/// How the noise variances of training grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BetaSchedule {
    /// Evenly from `beta_start` to `beta_end`.
    Linear,
    /// Evenly in their square roots (latent diffusion).
    ScaledLinear,
    /// The cosine schedule of Nichol and Dhariwal, capped at 0.999.
    #[serde(rename = "squaredcos_cap_v2")]
    SquaredcosCapV2,
    /// Signal that falls as `exp(−12 t)`, capped at 0.999; only `HeunDiscreteScheduler` has it.
    Exp,
}

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// The clean sample.
    #[serde(alias = "original_sample")]
    Sample,
    /// The velocity of Salimans and Ho.
    VPrediction,
    /// The velocity of flow matching: noise less clean sample.
    FlowPrediction,
}

impl PredictionType {
    /// As spelled in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::Sample => "sample",
            Self::VPrediction => "v_prediction",
            Self::FlowPrediction => "flow_prediction",
        }
    }
}

/// How sigmas between two training timesteps are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InterpolationType {
    /// Linearly in sigma.
    Linear,
    /// Evenly in the logarithm, from end to end.
    LogLinear,
}

/// Where the inference timesteps lie among those of training (table 2 of arXiv:2305.08891).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepSpacing {
    /// From end to end.
    Linspace,
    /// Whole multiples from the start, plus `steps_offset`.
    Leading,
    /// Whole multiples from the end.
    Trailing,
}

/// What stands for the time in the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimestepType {
    /// The training timestep.
    Discrete,
    /// A quarter of the logarithm of sigma, with v-prediction; otherwise the same as [`Self::Discrete`].
    Continuous,
}

/// The sigma after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinalSigmas {
    /// No noise is left.
    Zero,
    /// The smallest sigma of training.
    SigmaMin,
}

/// Which equation a DPM solver follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum AlgorithmType {
    /// The noise of DPM-Solver (arXiv:2206.00927).
    #[serde(rename = "dpmsolver")]
    DpmSolver,
    /// The clean sample of DPM-Solver++ (arXiv:2211.01095).
    #[serde(rename = "dpmsolver++", alias = "deis")]
    DpmSolverPlus,
    /// [`Self::DpmSolver`] with new noise in each step.
    #[serde(rename = "sde-dpmsolver")]
    SdeDpmSolver,
    /// [`Self::DpmSolverPlus`] with new noise in each step.
    #[serde(rename = "sde-dpmsolver++")]
    SdeDpmSolverPlus,
}

/// The variant of a multistep solver. DPM solvers have the first two and `UniPC` the last two; each class takes the
/// words of the other for its own default, as diffusers does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SolverType {
    /// The midpoint rule.
    Midpoint,
    /// Heun's rule.
    Heun,
    /// DEIS's word; no class here has it of its own.
    Logrho,
    /// `B(h) = h`.
    Bh1,
    /// `B(h) = exp(h) − 1`.
    Bh2,
}

/// How the sigmas of flow matching are moved towards noise for large pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeShift {
    /// `exp(mu) / (exp(mu) + 1 / t − 1)`.
    Exponential,
    /// `mu / (mu + 1 / t − 1)`.
    Linear,
}

/// Which rule lays the sigmas anew between their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Respacing {
    /// Karras et al. (arXiv:2206.00364), rho 7.
    Karras,
    /// Evenly in the logarithm.
    Exponential,
    /// The quantiles of the beta distribution (arXiv:2407.12173).
    Beta,
}
