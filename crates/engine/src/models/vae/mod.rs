//! `AutoencoderKL` of diffusers in its two halves: the decoder, latents to pictures, and the encoder, pictures to latents.
//! They are networks of their own, since most work needs only the first. They know no pipeline and no file.

mod blocks;
mod decoder;
mod encoder;
mod posterior;
mod scaling;
mod tiling;

pub use decoder::VaeDecoder;
pub use encoder::VaeEncoder;
pub use posterior::Posterior;
pub use scaling::Scaling;
pub use tiling::Tiling;

use crate::Result;
use crate::config::VaeConfig;
use crate::parts::Part;

/// Asked between the tiles of a picture; an error ends the work there.
pub type Between<'a> = dyn FnMut() -> Result<()> + 'a;

/// What begins the names of the encoder's tensors.
const ENCODER: [&str; 2] = ["encoder.", "quant_conv."];

/// The half of a VAE's part that decodes.
pub fn decoder_part(vae: &Part) -> Part {
    half(vae, |name| !ENCODER.iter().any(|prefix| name.starts_with(prefix)))
}

/// The half of a VAE's part that encodes.
pub fn encoder_part(vae: &Part) -> Part {
    half(vae, |name| ENCODER.iter().any(|prefix| name.starts_with(prefix)))
}

fn half(vae: &Part, is_in: impl Fn(&str) -> bool) -> Part {
    let tensors = vae.tensors.iter().filter(|tensor| is_in(&tensor.name)).cloned().collect();
    Part {
        name: vae.name.clone(),
        class: vae.class.clone(),
        config: vae.config.clone(),
        tensors,
        patches: vae.patches.clone(),
    }
}

/// What of the config the networks compute with. How latents are scaled, and where half precision is too narrow, is for
/// the pipeline to know.
fn settings(vae: &Part) -> Result<String> {
    let config = VaeConfig::read(&vae.name, &vae.config)?;
    let network = VaeConfig {
        force_upcast: false,
        scaling_factor: 1.0,
        latents_statistics: None,
        shift_factor: None,
        sample_size: 0,
        ..config
    };
    Ok(format!("{network:?}"))
}
