//! What pictures need of the device's memory, phase by phase.

use tch::Kind;

use super::LatentModel;
use crate::Result;
use crate::adapters::AdapterSet;
use crate::models::{ClipText, UNet};
use crate::pipelines::size::latent_size;
use crate::pipelines::work::Work;
use crate::pipelines::{Request, memory, phases};
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
        pool.admit(phases::wish(request, self.kind), &|wish| self.plan(wish, request, work, adapters, pool))
    }

    fn plan(&self, wish: Wish, request: &Request, work: &Work, adapters: &AdapterSet, pool: &Pool) -> Result<Plan> {
        let Wish { width, height, pictures, kind } = wish;
        let vae_kind = if self.vae_kind == self.kind || kind != Kind::Half { kind } else { self.vae_kind };
        let together = phases::together(request, pictures);
        let mut phases = Vec::new();

        let mut encoders = Vec::new();
        let mut reading = Working::default();
        for encoder in &self.encoders {
            let part = adapters.patched(self.parts.needed(encoder.name, self.class_of(encoder.name))?);
            encoders.push(pool.need::<ClipText>(&part, kind)?);
            reading.fixed = reading.fixed.max(memory::clip(&encoder.config, 1, kind).fixed);
        }
        phases.push(Phase { kind: PhaseKind::EncodeText, needs: encoders, working: reading, tiled: None });

        let codec = phases::Codec {
            config: &self.vae,
            part: self.parts.needed("vae", "AutoencoderKL")?,
            size: (width, height),
            device: self.device,
            kind: vae_kind,
            in_tiles: request.tiling.is_some(),
        };
        if *work != Work::Text {
            phases.push(codec.encode(pool)?);
        }
        let size = latent_size(width, height, self.vae.scale_factor())?;
        let working = memory::unet(&self.unet, size, self.guides(request), (self.device, kind));
        let needs =
            vec![pool.need::<UNet>(&adapters.patched(self.parts.needed("unet", "UNet2DConditionModel")?), kind)?];
        phases.push(Phase { kind: PhaseKind::Denoise, needs, working, tiled: None });

        phases.push(codec.decode(pool)?);
        Ok(Plan { together, phases })
    }

    fn class_of(&self, name: &str) -> &str {
        self.parts.part(name).map_or("CLIPTextModel", |part| &part.class)
    }
}
