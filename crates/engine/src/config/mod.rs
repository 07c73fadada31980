//! What the `config.json` of each component says, as typed plans that the models are built from. Nothing here
//! touches a tensor. A key that is set to something that would not be honoured is refused by name.

mod activation;
pub mod clip;
pub mod flux;
pub mod reader;
pub mod scheduler;
pub mod shapes;
pub mod t5;
pub mod unet;
pub mod vae;

pub use activation::Activation;
pub use clip::ClipConfig;
pub use flux::FluxConfig;
pub use t5::T5Config;
pub use unet::UNetConfig;
pub use vae::VaeConfig;
