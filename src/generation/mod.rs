//! The nouns of a picture: what is asked, what comes back, what a provider can do. No I/O and no HTTP.

mod attempt;
mod availability;
mod capabilities;
mod image;
mod model_id;
mod request;
mod size;
mod wish;

pub use attempt::{Attempt, AttemptOutcome};
pub use availability::Availability;
pub use capabilities::{Capabilities, Defaults, Installed, Limits, Model, Support, Supports};
pub use image::{GeneratedImage, Generation, ImageFormat};
pub use model_id::{ModelId, ModelKey, ProviderId};
pub use request::{FallbackPolicy, GenerationRequest, Seed, SizeWish, Target};
pub use size::{AspectRatio, ImageSize};
pub use wish::Wish;
