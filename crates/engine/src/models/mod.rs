//! The networks, named and shaped as in diffusers and transformers so that the two can be read side by side.
//! A model is built from a config and weights and computes; it knows no prompt, no schedule and no file.

pub mod clip;
pub mod flux;
mod resnet;
mod strips;
pub mod t5;
mod transformer;
pub mod unet;
pub mod vae;

pub use clip::ClipText;
pub use flux::FluxTransformer;
pub use t5::T5Encoder;
pub use unet::UNet;
pub use vae::{VaeDecoder, VaeEncoder};
