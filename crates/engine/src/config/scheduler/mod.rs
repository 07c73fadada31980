//! `scheduler_config.json`: the keys of diffusers' scheduler classes, typed, and nothing else accepted.
//! It computes no schedule; see [`crate::schedulers`].

mod class;
mod keys;
mod values;

pub use class::Class;
pub use keys::Keys;
pub use values::{
    AlgorithmType, BetaSchedule, FinalSigmas, InterpolationType, PredictionType, Respacing, SolverType, TimeShift,
    TimestepSpacing, TimestepType,
};
