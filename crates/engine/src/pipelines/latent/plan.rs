//! What pictures need of the device's memory, phase by phase.

use tch::Kind;

use super::LatentModel;
use crate::Result;
use crate::adapters::AdapterSet;
use crate::models::vae::{self, VaeDecoder, VaeEncoder};
use crate::models::{ClipText, UNet};
use crate::pipelines::size::latent_size;
use crate::pipelines::work::Work;
use crate::pipelines::{Request, memory};
use crate::pool::{Admission, Phase, PhaseKind, Plan, Pool, Wish, Working};

impl LatentModel {
    /// Asks for the memory of a request.
    pub(super) fn admit(
        &self,
        request: &Request,
        work: &Work,
        adapters: &AdapterSet,
        pool: &Pool,
    ) -> Result<Admission> {
        let pictures = u32::try_from(request.seeds.len()).unwrap_or(u32::MAX);
        let wish = Wish { width: request.width, height: request.height, pictures, kind: self.kind };
        pool.admit(wish, &|wish| self.plan(wish, request, work, adapters, pool))
    }

    fn plan(&self, wish: Wish, request: &Request, work: &Work, adapters: &AdapterSet, pool: &Pool) -> Result<Plan> {
        let Wish { width, height, pictures, kind } = wish;
        let vae_kind = if self.vae_kind == self.kind || kind != Kind::Half { kind } else { self.vae_kind };
        let together = u32::try_from(request.together).unwrap_or(u32::MAX).clamp(1, pictures.max(1));
        let mut phases = Vec::new();

        let mut encoders = Vec::new();
        let mut reading = Working::default();
        for encoder in &self.encoders {
            let part = adapters.patched(self.parts.needed(encoder.name, self.class_of(encoder.name))?);
            encoders.push(pool.need::<ClipText>(&part, kind)?);
            reading.fixed = reading.fixed.max(memory::clip(&encoder.config, 1, kind).fixed);
        }
        phases.push(Phase { kind: PhaseKind::EncodeText, needs: encoders, working: reading, tiled: None });

        let vae = self.parts.needed("vae", "AutoencoderKL")?;
        let asked = request.tiling.is_some();
        let in_tiles = |(whole, tiled): (Working, Working)| if asked { (tiled, None) } else { (whole, Some(tiled)) };
        if *work != Work::Text {
            let (each, tiled) = in_tiles(memory::encode(&self.vae, (width, height), self.device, vae_kind));
            // One after the other, and before there is more than one.
            let working = Working { fixed: each.each, each: 0 };
            let tiled = tiled.map(|tiled| Working { fixed: tiled.each, each: 0 });
            let needs = vec![pool.need::<VaeEncoder>(&vae::encoder_part(vae), vae_kind)?];
            phases.push(Phase { kind: PhaseKind::EncodePicture, needs, working, tiled });
        }
        let size = latent_size(width, height, self.vae.scale_factor())?;
        let working = memory::unet(&self.unet, size, self.guides(request), (self.device, kind));
        let needs =
            vec![pool.need::<UNet>(&adapters.patched(self.parts.needed("unet", "UNet2DConditionModel")?), kind)?];
        phases.push(Phase { kind: PhaseKind::Denoise, needs, working, tiled: None });

        let (each, tiled) = in_tiles(memory::decode(&self.vae, (width, height), self.device, vae_kind));
        let working = Working { fixed: each.each, each: 0 };
        let tiled = tiled.map(|tiled| Working { fixed: tiled.each, each: 0 });
        let needs = vec![pool.need::<VaeDecoder>(&vae::decoder_part(vae), vae_kind)?];
        phases.push(Phase { kind: PhaseKind::Decode, needs, working, tiled });
        Ok(Plan { together, phases })
    }

    fn class_of(&self, name: &str) -> &str {
        self.parts.part(name).map_or("CLIPTextModel", |part| &part.class)
    }
}
