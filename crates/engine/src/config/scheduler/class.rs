//! diffusers' scheduler classes and which keys each of them reads.

/// A scheduler class of diffusers that there is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Euler's method.
    EulerDiscrete,
    /// Euler's method with new noise in each step.
    EulerAncestralDiscrete,
    /// Heun's method: two runs of the network for each step but the last.
    HeunDiscrete,
    /// DPM-Solver and DPM-Solver++ from the outputs of earlier steps.
    DpmSolverMultistep,
    /// DPM-Solver and DPM-Solver++ in groups of steps that start anew.
    DpmSolverSinglestep,
    /// DPM-Solver++ with new noise, two runs of the network for each step but the last.
    DpmSolverSde,
    /// Denoising diffusion implicit models.
    Ddim,
    /// Pseudo numerical methods.
    Pndm,
    /// Unified predictor and corrector.
    UniPcMultistep,
    /// Latent consistency models.
    Lcm,
    /// Euler's method on flow matching.
    FlowMatchEulerDiscrete,
}

const TRAINING: &[&str] =
    &["num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type"];
const SPACING: &[&str] = &["timestep_spacing", "steps_offset"];
/// `sigma_min` and `sigma_max` are in no signature but those of Euler and `UniPC`, but all of these read them where a file has them.
const RESPACING: &[&str] =
    &["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "sigma_min", "sigma_max"];
const ZERO_SNR: &[&str] = &["rescale_betas_zero_snr"];
const FINAL: &[&str] = &["final_sigmas_type"];
const CLIPPING: &[&str] = &["clip_sample", "clip_sample_range"];
const THRESHOLDING: &[&str] = &["thresholding", "dynamic_thresholding_ratio", "sample_max_value"];
const FLOW: &[&str] = &["use_flow_sigmas", "flow_shift", "use_dynamic_shifting", "time_shift_type"];
/// No class but `FlowMatchEulerDiscreteScheduler` declares them; pipelines read them of any that shifts.
const SHIFTS: &[&str] = &["base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len"];
const SOLVER: &[&str] = &["solver_order", "solver_type", "lower_order_final"];
const DPM: &[&str] = &["algorithm_type", "lambda_min_clipped", "variance_type"];
/// What diffusers' pipelines pass to each step of DDIM; not in its files.
const DDIM_STEP: &[&str] = &["eta", "use_clipped_model_output"];

/// Keys of diffusers' scheduler classes, those that are not here included: a file may hold them when it was converted from
/// another class, and diffusers ignores them there.
const OF_OTHERS: &[&str] = &[
    "sigma_data",
    "sigma_schedule",
    "rho",
    "s_noise",
    "s_churn",
    "s_tmin",
    "s_tmax",
    "snr_threshold",
    "correcting_x0_fn",
    "interpolation_type",
    "timestep_type",
    "use_lu_lambdas",
    "euler_at_final",
    "variance_type",
    "skip_prk_steps",
    "set_alpha_to_one",
    "original_inference_steps",
    "timestep_scaling",
    "solver_p",
    "disable_corrector",
    "predict_x0",
    "noise_sampler_seed",
    "invert_sigmas",
    "stochastic_sampling",
    "shift",
    "shift_terminal",
    "clip_sample",
    "clip_sample_range",
    "sampling_eps",
    "scaler",
    "use_flow_sigmas",
    "use_timesteps",
    "alpha_transform_type",
];

impl Class {
    /// All of them, in the order in which they are offered.
    pub const ALL: [Self; 11] = [
        Self::EulerDiscrete,
        Self::EulerAncestralDiscrete,
        Self::HeunDiscrete,
        Self::DpmSolverMultistep,
        Self::DpmSolverSinglestep,
        Self::DpmSolverSde,
        Self::Ddim,
        Self::Pndm,
        Self::UniPcMultistep,
        Self::Lcm,
        Self::FlowMatchEulerDiscrete,
    ];

    /// Its name in diffusers.
    pub fn name(self) -> &'static str {
        match self {
            Self::EulerDiscrete => "EulerDiscreteScheduler",
            Self::EulerAncestralDiscrete => "EulerAncestralDiscreteScheduler",
            Self::HeunDiscrete => "HeunDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::DpmSolverSinglestep => "DPMSolverSinglestepScheduler",
            Self::DpmSolverSde => "DPMSolverSDEScheduler",
            Self::Ddim => "DDIMScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::UniPcMultistep => "UniPCMultistepScheduler",
            Self::Lcm => "LCMScheduler",
            Self::FlowMatchEulerDiscrete => "FlowMatchEulerDiscreteScheduler",
        }
    }

    /// The class of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The keys that it reads.
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        let groups: &[&[&str]] = match self {
            Self::EulerDiscrete => {
                &[TRAINING, SPACING, RESPACING, ZERO_SNR, FINAL, &["interpolation_type", "timestep_type"]]
            }
            Self::EulerAncestralDiscrete => &[TRAINING, SPACING, ZERO_SNR],
            Self::HeunDiscrete => &[TRAINING, SPACING, RESPACING, CLIPPING],
            Self::DpmSolverMultistep => &[
                TRAINING,
                SPACING,
                RESPACING,
                ZERO_SNR,
                FINAL,
                THRESHOLDING,
                FLOW,
                SHIFTS,
                SOLVER,
                DPM,
                &["euler_at_final", "use_lu_lambdas"],
            ],
            Self::DpmSolverSinglestep => &[TRAINING, RESPACING, FINAL, THRESHOLDING, FLOW, SHIFTS, SOLVER, DPM],
            Self::DpmSolverSde => &[TRAINING, SPACING, RESPACING, &["noise_sampler_seed"]],
            Self::Ddim => &[TRAINING, SPACING, ZERO_SNR, CLIPPING, THRESHOLDING, &["set_alpha_to_one"], DDIM_STEP],
            Self::Pndm => &[TRAINING, SPACING, &["skip_prk_steps", "set_alpha_to_one"]],
            Self::UniPcMultistep => &[
                TRAINING,
                SPACING,
                RESPACING,
                ZERO_SNR,
                FINAL,
                THRESHOLDING,
                FLOW,
                SHIFTS,
                SOLVER,
                &["predict_x0", "disable_corrector", "solver_p", "shift_terminal"],
            ],
            Self::Lcm => &[
                TRAINING,
                SPACING,
                ZERO_SNR,
                CLIPPING,
                THRESHOLDING,
                &["set_alpha_to_one", "original_inference_steps", "timestep_scaling"],
            ],
            Self::FlowMatchEulerDiscrete => &[
                SHIFTS,
                RESPACING,
                &["num_train_timesteps", "shift", "use_dynamic_shifting", "time_shift_type"],
                &["invert_sigmas", "shift_terminal", "stochastic_sampling"],
            ],
        };
        groups.iter().copied().flatten().copied()
    }

    /// Whether it reads this key.
    pub fn reads(self, key: &str) -> bool {
        self.keys().any(|known| known == key)
    }

    /// Whether any scheduler of diffusers reads this key.
    pub fn any_reads(key: &str) -> bool {
        OF_OTHERS.contains(&key) || Self::ALL.into_iter().any(|class| class.reads(key))
    }
}
