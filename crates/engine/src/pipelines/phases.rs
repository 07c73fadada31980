//! What pipelines plan alike: what is wished for, and the phases of the VAE, which takes one picture after the other.

use tch::{Device, Kind};

use super::{Request, memory};
use crate::Result;
use crate::config::VaeConfig;
use crate::models::vae::{self, VaeDecoder, VaeEncoder};
use crate::parts::Part;
use crate::pool::{Need, Phase, PhaseKind, Pool, Wish, Working};

/// All pictures of a request, in the kind that the network computes in.
pub fn wish(request: &Request, kind: Kind) -> Wish {
    let pictures = u32::try_from(request.seeds.len()).unwrap_or(u32::MAX);
    Wish { width: request.width, height: request.height, pictures, kind }
}

/// How many of so many pictures go through the network at once.
pub fn together(request: &Request, pictures: u32) -> u32 {
    u32::try_from(request.together).unwrap_or(u32::MAX).clamp(1, pictures.max(1))
}

/// A VAE, and the pictures that it reads or draws.
#[derive(Debug, Clone, Copy)]
pub struct Codec<'a> {
    pub config: &'a VaeConfig,
    pub part: &'a Part,
    /// Width and height in pixels.
    pub size: (u32, u32),
    pub device: Device,
    pub kind: Kind,
    /// Whether tiles are asked for, not what is left when memory is short.
    pub in_tiles: bool,
}

impl Codec<'_> {
    /// A picture becomes latents.
    pub fn encode(self, pool: &Pool) -> Result<Phase> {
        let need = pool.need::<VaeEncoder>(&vae::encoder_part(self.part), self.kind)?;
        Ok(self.phase(PhaseKind::EncodePicture, need, memory::encode(self.config, self.size, self.device, self.kind)))
    }

    /// Latents become a picture.
    pub fn decode(self, pool: &Pool) -> Result<Phase> {
        let need = pool.need::<VaeDecoder>(&vae::decoder_part(self.part), self.kind)?;
        Ok(self.phase(PhaseKind::Decode, need, memory::decode(self.config, self.size, self.device, self.kind)))
    }

    fn phase(self, kind: PhaseKind, need: Need, (whole, tiled): (Working, Working)) -> Phase {
        let (working, tiled) = if self.in_tiles { (tiled, None) } else { (whole, Some(tiled)) };
        Phase { kind, needs: vec![need], working, tiled }
    }
}
