//! The nouns of a picture: what is asked, what comes back, what a provider can do. No I/O and no HTTP.

mod attempt;
mod availability;
mod capabilities;
mod image;
mod image_data;
mod lora;
mod model_id;
mod request;
mod size;
mod source_image;
mod usage;
mod via;
mod wish;

pub use attempt::{Attempt, AttemptOutcome};
pub use availability::Availability;
pub use capabilities::{
    Capabilities, Defaults, Installed, Limits, LoraFiles, Model, OpenModels, Ratios, Support, Supports,
};
pub use image::{GeneratedImage, Generation, ImageFormat, PartialImage};
pub use image_data::ImageData;
pub use lora::{Lora, LoraReport};
pub use model_id::{ModelId, ModelKey, ProviderId};
pub use request::{CacheWish, FallbackPolicy, GenerationRequest, OnDisconnect, Seed, SizeWish, Target};
pub use size::{AspectRatio, ImageSize};
pub use source_image::SourceImage;
pub use usage::Usage;
pub use via::{MalformedVia, Via};
pub use wish::Wish;
