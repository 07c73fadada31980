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

use tch::Tensor;

pub use activation::{gated_gelu, gelu_tanh_into};
pub use conv::{Conv2d, Pixels, copied_bytes, upsample_nearest};
pub use linear::{Embedding, Linear};
pub use norm::{GroupNorm, LayerNorm, ReadyNorm, RmsNorm, layer_norm};
pub use sinusoid::Sinusoid;
pub use stacked::StackedLinear;

/// Numbers of a picture above which a pass over its memory can be seen in the time of a step.
const MANY_NUMBERS: i64 = 1 << 17;

/// Channels from which on kernels of our own compute. Narrower models stay with libtorch's, which give what they give
/// diffusers, to the bit: a schedule whose first sigma is 4096 makes a difference in the last digit of one step one in the
/// fourth of the next.
const WIDE: i64 = 128;

/// Whether so many numbers of a picture, in a model of so many channels, are worth one pass, or one product for several, which
/// rounds otherwise than libtorch's one after the other. How many pictures there are does not matter: what one becomes must
/// not depend on it.
pub fn are_many(numbers: i64, channels: i64) -> bool {
    channels >= WIDE && numbers > MANY_NUMBERS
}

/// [`are_many`] of `(batch, …)`.
pub fn is_large(x: &Tensor, channels: i64) -> bool {
    let shape = x.size();
    are_many(shape.iter().skip(1).product(), channels)
}

/// Whether `(batch, …)` is for the kernels that need one pass over memory: large, single precision on the CPU, and whole in
/// memory.
fn fits_one_pass(x: &Tensor, channels: i64) -> bool {
    is_large(x, channels) && torch_shim::kernels::takes(x) && x.is_contiguous()
}
