//! What a picture needs of the device's memory, phase by phase.

use tch::{Device, Kind};

use super::Flux;
use crate::Result;
use crate::adapters::AdapterSet;
use crate::models::{ClipText, FluxTransformer, T5Encoder};
use crate::pipelines::size::latent_size;
use crate::pipelines::together::Checked;
use crate::pipelines::work::Work;
use crate::pipelines::{Request, memory, phases};
use crate::pool::{Admission, Phase, PhaseKind, Plan, Pool, Wish};

impl Flux {
    /// Makes sure of the memory of so many jobs before anything is computed.
    pub(super) fn admit(
        &self,
        request: &Request,
        Checked { work, adapters, .. }: &Checked,
        jobs: usize,
        pool: &Pool,
    ) -> Result<Admission> {
        pool.admit(phases::wish(request, self.kind), &|wish| self.plan(wish, (request, jobs), work, adapters, pool))
    }

    /// The texts are read by their two encoders one after the other.
    fn plan(
        &self,
        wish: Wish,
        (request, jobs): (&Request, usize),
        work: &Work,
        adapters: &AdapterSet,
        pool: &Pool,
    ) -> Result<Plan> {
        let Wish { width, height, pictures, kind } = wish;
        let half_is_too_narrow = |kind, other| if kind == Kind::Half { other } else { kind };
        let t5_kind = half_is_too_narrow(kind, Kind::BFloat16);
        let vae_kind = if self.vae.force_upcast { half_is_too_narrow(kind, Kind::Float) } else { kind };
        let together = phases::together(request, pictures);
        let (rows, columns) = latent_size(width, height, self.vae.scale_factor().saturating_mul(2))?;
        let tokens = i64::from(self.tokens(request)?);

        let t5 = adapters.patched(self.parts.needed("text_encoder_2", "T5EncoderModel")?);
        let clip = adapters.patched(self.parts.needed("text_encoder", "CLIPTextModel")?);
        let transformer = adapters.patched(self.parts.needed("transformer", "FluxTransformer2DModel")?);
        let codec = phases::Codec {
            config: &self.vae,
            part: self.parts.needed("vae", "AutoencoderKL")?,
            size: (width, height),
            device: self.device,
            kind: vae_kind,
            in_tiles: request.tiling.is_some(),
        };
        let patches = rows.saturating_mul(columns);
        let reading = memory::text((self.t5.d_model, self.t5.d_ff), self.t5.heads, (1, tokens), t5_kind);
        let pooling = memory::clip(&self.clip, 1, kind);
        let mut step = memory::flux(&self.transformer, patches.saturating_add(tokens), (self.device, kind));
        let texts: usize = if Self::guides(request) { 2 } else { 1 };
        // On a processor each job has what is told of its texts by itself; elsewhere there is a row for each picture.
        let (apart, rows) = match (self.device, jobs) {
            (_, 0 | 1) => (1, 1),
            (Device::Cpu, _) => (jobs, 1),
            (_, _) => (1, request.seeds.len()),
        };
        let times = memory::flux_times(&self.transformer, patches.saturating_add(tokens), (request.steps, rows), kind);
        step.fixed = times.saturating_mul(u64::try_from(texts.saturating_mul(apart)).unwrap_or(u64::MAX));
        let phase = |kind, need, working| Phase { kind, needs: vec![need], working, tiled: None };
        let mut phases = vec![
            phase(PhaseKind::EncodeText, pool.need::<T5Encoder>(&t5, t5_kind)?, reading),
            phase(PhaseKind::EncodeText, pool.need::<ClipText>(&clip, kind)?, pooling),
        ];
        if *work != Work::Text {
            phases.push(codec.encode(pool)?);
        }
        phases.push(phase(PhaseKind::Denoise, pool.need::<FluxTransformer>(&transformer, kind)?, step));
        phases.push(codec.decode(pool)?);
        Ok(Plan { together, phases })
    }
}
