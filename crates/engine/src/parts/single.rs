//! A file that holds one network or several: which, and each as a part under diffusers' names.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use easel_catalog::TensorFile;
use easel_catalog::identify::Prediction;
use easel_engine_protocol::PipelineKind;
use serde_json::{Map, Value, json};

use super::part::same_network;
use super::{Part, PartTensor, velocity};
use crate::config::shapes::{self, Facts, UNetHints, VaeFamily, scheduler::Marks};
use crate::keymap::{self, Mapped, Naming, Network, Section, Shapes};
use crate::{Error, Result};

/// A file whose networks are known.
#[derive(Debug, Clone)]
pub(super) struct SingleFile {
    file: Arc<TensorFile>,
    shapes: Shapes,
    sections: Vec<Section>,
}

impl SingleFile {
    /// Reads the header and finds the networks; a file without any is refused.
    pub fn open(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let shapes: Shapes = file.tensors.iter().map(|info| (info.name.clone(), info.shape.clone())).collect();
        let sections = keymap::sections(&shapes);
        let single = Self { file: Arc::new(file), shapes, sections };
        if single.sections.is_empty() {
            return Err(single.error("it holds no UNet, no FLUX transformer, no VAE and no text encoder that is known"));
        }
        single.refuse_packed()?;
        Ok(single)
    }

    /// Which pipeline its denoiser is for, where it has one.
    pub fn pipeline(&self) -> Option<PipelineKind> {
        let section = self.sections.iter().find(|section| matches!(section.network, Network::UNet | Network::Flux))?;
        if section.network == Network::Flux {
            return Some(PipelineKind::Flux);
        }
        let has = |name: &str| self.shapes.contains_key(&format!("{}{name}", section.prefix));
        let labels = has("label_emb.0.0.weight") || has("add_embedding.linear_1.weight");
        Some(if labels { PipelineKind::Sdxl } else { PipelineKind::Sd })
    }

    /// The network called `name` in `pipeline`, if it is in the file. `models` are those of other models of the kind: the
    /// config of the first with the same shapes says what no shape does. `alone`: the file was named for this network.
    pub fn part(&self, name: &str, pipeline: PipelineKind, alone: bool, models: &[Part]) -> Result<Option<Part>> {
        let Some(section) = self.section(name, pipeline, alone) else {
            return Ok(None);
        };
        let plan = self.plan(section, name, pipeline);
        let class = class_of(section, name, pipeline);
        let names = keymap::shapes(&plan, &self.shapes);
        let mut part = Part::new(name, class, Map::new(), self.tensors(plan));
        let known = models.iter().filter(|model| model.class == class).find_map(|model| same_network(&names, model));
        part.config = match known {
            Some(config) => config,
            None => self.config(section, name, pipeline, &names)?,
        };
        Ok(Some(part))
    }

    /// What the file says about its schedule.
    pub fn marks(&self) -> Result<Marks> {
        let has = |name: &str| self.shapes.contains_key(name);
        if let Some(odd) = ["edm_mean", "edm_std", "edm_vpred.sigma_max"].into_iter().find(|name| has(name)) {
            let message = format!("it is marked `{odd}`: its network was trained in the continuous noise of EDM");
            return Err(self.error(message).with_hint("such a model has no scheduler here"));
        }
        Ok(Marks { velocity: has("v_pred") || self.prediction() == Some(Prediction::V), zero_snr: has("ztsnr") })
    }

    /// What it holds that no network takes, in a sentence.
    pub fn left_over(&self) -> Option<String> {
        let taken: HashSet<String> = self
            .sections
            .iter()
            .flat_map(|section| keymap::map(section, &self.shapes))
            .map(|mapped| mapped.source)
            .collect();
        let names: Vec<&str> = self
            .shapes
            .keys()
            .filter(|name| !taken.contains(*name) && !keymap::is_known_spare(name))
            .map(String::as_str)
            .collect();
        let shown = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let more = match names.len() {
            0 => return None,
            1..=3 => String::new(),
            n => format!(" and {} more", n - 3),
        };
        Some(format!("{}: tensors that no known network has: {shown}{more}", self.place()))
    }

    /// What networks it holds, for errors.
    pub fn contents(&self) -> String {
        let titles: Vec<&str> = self.sections.iter().map(|section| section.network.title()).collect();
        format!("{} holds {}", self.place(), titles.join(", "))
    }

    fn section(&self, name: &str, pipeline: PipelineKind, alone: bool) -> Option<&Section> {
        let of = |network: Network| self.sections.iter().filter(move |section| section.network == network);
        let clips = || of(Network::Clip);
        let any_if_alone = || clips().next().filter(|_| alone && clips().count() == 1);
        match (name, pipeline) {
            ("unet", _) => of(Network::UNet).next(),
            ("transformer", _) => of(Network::Flux).next(),
            ("vae", _) => of(Network::Vae).next(),
            ("text_encoder", PipelineKind::Sd) => clips().next(),
            ("text_encoder", _) => clips().find(|section| !is_second(section)).or_else(any_if_alone),
            ("text_encoder_2", PipelineKind::Flux) => of(Network::T5).next(),
            ("text_encoder_2", _) => clips().find(|section| is_second(section)).or_else(any_if_alone),
            _ => None,
        }
    }

    fn plan(&self, section: &Section, name: &str, pipeline: PipelineKind) -> Vec<Mapped> {
        let plan = keymap::map(section, &self.shapes);
        if section.naming == Naming::OpenClip && (name, pipeline) == ("text_encoder", PipelineKind::Sd) {
            return keymap::without_last_layer(plan);
        }
        plan
    }

    fn tensors(&self, plan: Vec<Mapped>) -> Vec<PartTensor> {
        let infos: std::collections::HashMap<&str, _> =
            self.file.tensors.iter().map(|info| (info.name.as_str(), info)).collect();
        plan.into_iter()
            .filter_map(|Mapped { name, source, form }| {
                let info = (*infos.get(source.as_str())?).clone();
                Some(PartTensor { name, file: Arc::clone(&self.file), info, form })
            })
            .collect()
    }

    fn config(
        &self,
        section: &Section,
        name: &str,
        pipeline: PipelineKind,
        names: &Shapes,
    ) -> Result<Map<String, Value>> {
        let facts = Facts::new(name, names);
        match section.network {
            Network::UNet => {
                let pooled = self.pooled(pipeline);
                let predicts_velocity =
                    self.marks()?.velocity || self.is_second_and_predicts_velocity(section, names)?;
                shapes::unet(&facts, UNetHints { pooled, predicts_velocity })
            }
            Network::Flux => shapes::flux(&facts),
            Network::Vae => shapes::vae(&facts, family_of(pipeline)),
            Network::Clip => shapes::clip(&facts, section.naming == Naming::OpenClip),
            Network::T5 => shapes::t5(&facts),
        }
    }

    /// Width of the pooled text that its own text encoder gives.
    fn pooled(&self, pipeline: PipelineKind) -> Option<u64> {
        let section = self.section("text_encoder_2", pipeline, false)?;
        let plan = keymap::map(section, &self.shapes);
        keymap::shapes(&plan, &self.shapes).get("text_projection.weight")?.first().copied()
    }

    fn is_second_and_predicts_velocity(&self, section: &Section, names: &Shapes) -> Result<bool> {
        if !is_stable_diffusion_2(names) {
            return Ok(false);
        }
        // Some files say it in words, or by how long they were trained.
        if let Some(prediction) = self.prediction() {
            return Ok(prediction == Prediction::V);
        }
        let plan = keymap::map(section, &self.shapes);
        velocity::of_stable_diffusion_2(&self.tensors(plan))
    }

    /// Whether its UNet is one of Stable Diffusion 2, and if so, whether it predicts velocity.
    pub fn second(&self) -> Result<Option<bool>> {
        let Some(section) = self.sections.iter().find(|section| section.network == Network::UNet) else {
            return Ok(None);
        };
        let names = keymap::shapes(&keymap::map(section, &self.shapes), &self.shapes);
        if !is_stable_diffusion_2(&names) {
            return Ok(None);
        }
        self.is_second_and_predicts_velocity(section, &names).map(Some)
    }

    fn prediction(&self) -> Option<Prediction> {
        easel_catalog::identify_file(&self.file).prediction
    }

    /// Weights that are packed with scales of their own would be read as other numbers.
    fn refuse_packed(&self) -> Result<()> {
        let packed = [".scale_weight", ".weight_scale", ".quant_state.bitsandbytes__nf4", ".absmax", ".scale_input"];
        let found = self.shapes.keys().find(|name| packed.iter().any(|end| name.ends_with(end)));
        match found {
            None => Ok(()),
            Some(name) => Err(self
                .error(format!("its weights are packed: {name}"))
                .with_hint("use the model in fp16, bf16 or plain fp8")),
        }
    }

    fn place(&self) -> String {
        self.file.path.display().to_string()
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::broken(format!("{}: {message}", self.place()))
    }
}

/// Whether a CLIP is the larger one of SDXL: by OpenCLIP's names, or by where it stands.
fn is_second(section: &Section) -> bool {
    section.naming == Naming::OpenClip
        || ["clip_g.", "embedders.1.", "text_encoder_2."].iter().any(|place| section.prefix.contains(place))
}

/// By the width of its text, which only its OpenCLIP has.
fn is_stable_diffusion_2(names: &Shapes) -> bool {
    let key = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight";
    names.get(key).and_then(|shape| shape.get(1)) == Some(&1024) && !names.contains_key("add_embedding.linear_1.weight")
}

fn class_of(section: &Section, name: &str, pipeline: PipelineKind) -> &'static str {
    match section.network {
        Network::UNet => "UNet2DConditionModel",
        Network::Flux => "FluxTransformer2DModel",
        Network::Vae => "AutoencoderKL",
        Network::Clip if (name, pipeline) == ("text_encoder_2", PipelineKind::Sdxl) => "CLIPTextModelWithProjection",
        Network::Clip => "CLIPTextModel",
        Network::T5 => "T5EncoderModel",
    }
}

fn family_of(pipeline: PipelineKind) -> VaeFamily {
    match pipeline {
        PipelineKind::Sd => VaeFamily::Sd,
        PipelineKind::Sdxl => VaeFamily::Sdxl,
        PipelineKind::Flux => VaeFamily::Flux,
    }
}

/// The settings of a model that has no `model_index.json`, as those of its family's first model are.
pub(super) fn settings(pipeline: PipelineKind, unet: Option<&Part>) -> Map<String, Value> {
    /// What the refiner of SDXL embeds: a pooled text of 1280 numbers, and five numbers instead of six.
    const REFINER: u64 = 1280 + 5 * 256;
    let mut settings = Map::new();
    if pipeline == PipelineKind::Sdxl {
        settings.insert("force_zeros_for_empty_prompt".to_owned(), json!(true));
        let input = unet.and_then(|unet| unet.config.get("projection_class_embeddings_input_dim"));
        if input.and_then(Value::as_u64) == Some(REFINER) {
            settings.insert("requires_aesthetics_score".to_owned(), json!(true));
        }
    }
    settings
}

/// The class of a pipeline by what its denoiser takes in.
pub(super) fn pipeline_class(pipeline: PipelineKind, denoiser: Option<&Part>) -> &'static str {
    let inputs = denoiser.and_then(|part| part.config.get("in_channels")).and_then(Value::as_u64);
    match (pipeline, inputs) {
        (PipelineKind::Sdxl, Some(9)) => "StableDiffusionXLInpaintPipeline",
        (PipelineKind::Sdxl, Some(8)) => "StableDiffusionXLInstructPix2PixPipeline",
        (PipelineKind::Sdxl, _) => "StableDiffusionXLPipeline",
        (PipelineKind::Sd, Some(9)) => "StableDiffusionInpaintPipeline",
        (PipelineKind::Sd, Some(8)) => "StableDiffusionInstructPix2PixPipeline",
        (PipelineKind::Sd, Some(5)) => "StableDiffusionDepth2ImgPipeline",
        (PipelineKind::Sd, _) => "StableDiffusionPipeline",
        (PipelineKind::Flux, Some(384)) => "FluxFillPipeline",
        (PipelineKind::Flux, Some(128)) => "FluxControlPipeline",
        (PipelineKind::Flux, _) => "FluxPipeline",
    }
}
