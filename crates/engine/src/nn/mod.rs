//! The layers that the models are built from. A layer owns its weights and computes; it knows no config file
//! and no model. All calls into libtorch are fallible ones.

mod activation;
pub mod attention;
mod conv;
mod linear;
mod norm;
pub mod rope;
mod sinusoid;
mod stacked;
mod winograd;

pub use activation::gelu_tanh_into;
pub use conv::{Conv2d, Pixels, copied_bytes, upsample_nearest};
pub use linear::{Embedding, Linear};
pub use norm::{GroupNorm, LayerNorm, RmsNorm, layer_norm};
pub use sinusoid::Sinusoid;
pub use stacked::StackedLinear;
