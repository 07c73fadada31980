//! Headers of models: names and shapes as public files have them (facts; the middle of long lists is left out).

#![expect(clippy::too_many_lines, reason = "tables of cases")]

use easel_catalog::identify::{Family, Kind, Naming, Prediction, Variant};

/// The tensors of a file and its metadata.
#[derive(Clone, Default)]
pub struct File {
    pub tensors: Vec<(String, Vec<u64>, &'static str)>,
    pub metadata: Vec<(&'static str, &'static str)>,
}

/// A file, and what it is.
pub struct Case {
    pub what: &'static str,
    pub file: File,
    pub kind: Kind,
    /// One: that family. Several, or an unknown file's: candidates.
    pub families: &'static [Family],
    pub edition: Option<&'static str>,
    pub variant: Variant,
    pub prediction: Option<Prediction>,
    pub naming: Option<Naming>,
    pub missing: &'static [&'static str],
}

impl File {
    pub fn push(&mut self, name: &str, shape: &[u64]) {
        self.tensors.push((name.to_owned(), shape.to_vec(), "F16"));
    }

    fn with(mut self, other: Self) -> Self {
        self.tensors.extend(other.tensors);
        self
    }

    fn noting(mut self, key: &'static str, value: &'static str) -> Self {
        self.metadata.push((key, value));
        self
    }

    fn stored_as(mut self, dtype: &'static str) -> Self {
        for tensor in &mut self.tensors {
            if tensor.1.len() == 2 {
                tensor.2 = dtype;
            }
        }
        self
    }
}

fn file(prefix: &str, tensors: &[(&str, &[u64])]) -> File {
    let mut file = File::default();
    for (name, shape) in tensors {
        file.push(&format!("{prefix}{name}"), shape);
    }
    file
}

/// What sets UNets apart.
#[derive(Clone, Copy)]
pub struct Measures {
    pub cross: u64,
    pub channels: u64,
    pub adm: Option<u64>,
    pub is_linear: bool,
    pub depth: u64,
    pub middle: bool,
}

pub const SD1: Measures = Measures { cross: 768, channels: 320, adm: None, is_linear: false, depth: 1, middle: true };
pub const SD2: Measures = Measures { cross: 1024, channels: 320, adm: None, is_linear: true, depth: 1, middle: true };
pub const SDXL: Measures =
    Measures { cross: 2048, channels: 320, adm: Some(2816), is_linear: true, depth: 10, middle: true };
pub const REFINER: Measures =
    Measures { cross: 1280, channels: 384, adm: Some(2560), is_linear: true, depth: 4, middle: true };
const SSD_1B: Measures = Measures { depth: 4, middle: false, ..SDXL };
const VEGA: Measures = Measures { depth: 2, middle: true, ..SDXL };
const KOLORS: Measures = Measures { adm: Some(5632), ..SDXL };

pub fn unet_compvis(prefix: &str, m: Measures, inputs: u64) -> File {
    let c = m.channels;
    let proj: Vec<u64> = if m.is_linear { vec![2 * c, 2 * c] } else { vec![2 * c, 2 * c, 1, 1] };
    let mut out = file(
        prefix,
        &[
            ("input_blocks.0.0.weight", &[c, inputs, 3, 3]),
            ("input_blocks.0.0.bias", &[c]),
            ("time_embed.0.weight", &[4 * c, c]),
            ("time_embed.2.weight", &[4 * c, 4 * c]),
            ("input_blocks.1.0.in_layers.0.weight", &[c]),
            ("input_blocks.1.0.in_layers.2.weight", &[c, c, 3, 3]),
            ("input_blocks.3.0.op.weight", &[c, c, 3, 3]),
            ("input_blocks.4.1.proj_in.weight", &proj),
            ("middle_block.0.in_layers.0.weight", &[4 * c]),
            ("middle_block.2.in_layers.0.weight", &[4 * c]),
            ("output_blocks.0.0.in_layers.0.weight", &[8 * c]),
            ("out.0.weight", &[c]),
            ("out.2.weight", &[4, c, 3, 3]),
            ("out.2.bias", &[4]),
        ],
    );
    for layer in 0..m.depth {
        let name = format!("{prefix}input_blocks.4.1.transformer_blocks.{layer}");
        out.push(&format!("{name}.attn1.to_k.weight"), &[2 * c, 2 * c]);
        out.push(&format!("{name}.attn2.to_k.weight"), &[2 * c, m.cross]);
    }
    if m.middle {
        let name = format!("{prefix}middle_block.1.transformer_blocks.0.attn2.to_k.weight");
        out.push(&name, &[4 * c, m.cross]);
    }
    if let Some(adm) = m.adm {
        out.push(&format!("{prefix}label_emb.0.0.weight"), &[4 * c, adm]);
    }
    out
}

pub fn unet_diffusers(prefix: &str, m: Measures, inputs: u64) -> File {
    let c = m.channels;
    let proj: Vec<u64> = if m.is_linear { vec![2 * c, 2 * c] } else { vec![2 * c, 2 * c, 1, 1] };
    let mut out = file(
        prefix,
        &[
            ("conv_in.weight", &[c, inputs, 3, 3]),
            ("time_embedding.linear_1.weight", &[4 * c, c]),
            ("down_blocks.0.resnets.0.norm1.weight", &[c]),
            ("down_blocks.1.attentions.0.proj_in.weight", &proj),
            ("mid_block.resnets.0.norm1.weight", &[4 * c]),
            ("up_blocks.0.resnets.0.norm1.weight", &[8 * c]),
            ("conv_norm_out.weight", &[c]),
            ("conv_out.weight", &[4, c, 3, 3]),
        ],
    );
    for layer in 0..m.depth {
        let name = format!("{prefix}down_blocks.1.attentions.0.transformer_blocks.{layer}");
        out.push(&format!("{name}.attn2.to_k.weight"), &[2 * c, m.cross]);
    }
    if m.middle {
        let name = format!("{prefix}mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight");
        out.push(&name, &[4 * c, m.cross]);
    }
    if let Some(adm) = m.adm {
        out.push(&format!("{prefix}add_embedding.linear_1.weight"), &[4 * c, adm]);
    }
    out
}

pub fn vae_compvis(prefix: &str, latents: u64) -> File {
    let mut out = file(
        prefix,
        &[
            ("encoder.conv_in.weight", &[128, 3, 3, 3]),
            ("encoder.down.0.block.0.norm1.weight", &[128]),
            ("encoder.mid.block_1.norm1.weight", &[512]),
            ("decoder.conv_in.weight", &[512, latents, 3, 3]),
            ("decoder.mid.block_1.norm1.weight", &[512]),
            ("decoder.mid.attn_1.q.weight", &[512, 512, 1, 1]),
            ("decoder.up.0.block.0.norm1.weight", &[256]),
            ("decoder.conv_out.weight", &[3, 128, 3, 3]),
        ],
    );
    if latents == 4 {
        out.push(&format!("{prefix}quant_conv.weight"), &[8, 8, 1, 1]);
        out.push(&format!("{prefix}post_quant_conv.weight"), &[4, 4, 1, 1]);
    }
    out
}

pub fn vae_diffusers(prefix: &str, latents: u64) -> File {
    file(
        prefix,
        &[
            ("encoder.conv_in.weight", &[128, 3, 3, 3]),
            ("encoder.down_blocks.0.resnets.0.norm1.weight", &[128]),
            ("decoder.conv_in.weight", &[512, latents, 3, 3]),
            ("decoder.mid_block.resnets.0.norm1.weight", &[512]),
            ("decoder.mid_block.attentions.0.to_q.weight", &[512, 512]),
            ("decoder.up_blocks.0.resnets.0.norm1.weight", &[512]),
            ("decoder.conv_out.weight", &[3, 128, 3, 3]),
        ],
    )
}

fn clip(prefix: &str, width: u64) -> File {
    file(
        prefix,
        &[
            ("embeddings.token_embedding.weight", &[49408, width]),
            ("embeddings.position_embedding.weight", &[77, width]),
            ("encoder.layers.0.self_attn.q_proj.weight", &[width, width]),
            ("encoder.layers.11.self_attn.q_proj.weight", &[width, width]),
            ("final_layer_norm.weight", &[width]),
        ],
    )
}

fn openclip(prefix: &str, width: u64) -> File {
    file(
        prefix,
        &[
            ("positional_embedding", &[77, width]),
            ("text_projection", &[width, width]),
            ("token_embedding.weight", &[49408, width]),
            ("transformer.resblocks.0.attn.in_proj_weight", &[3 * width, width]),
            ("transformer.resblocks.9.mlp.c_proj.bias", &[width]),
            ("ln_final.weight", &[width]),
        ],
    )
}

fn t5(prefix: &str, width: u64) -> File {
    file(
        prefix,
        &[
            ("shared.weight", &[32128, width]),
            ("encoder.block.0.layer.0.SelfAttention.q.weight", &[width, width]),
            ("encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight", &[32, 64]),
            ("encoder.block.23.layer.1.DenseReluDense.wi_0.weight", &[10240, width]),
            ("encoder.final_layer_norm.weight", &[width]),
        ],
    )
}

const NETWORK: &str = "model.diffusion_model.";
const VAE: &str = "first_stage_model.";

fn sd1_checkpoint(inputs: u64) -> File {
    unet_compvis(NETWORK, SD1, inputs)
        .with(vae_compvis(VAE, 4))
        .with(clip("cond_stage_model.transformer.text_model.", 768))
}

fn sd2_checkpoint(inputs: u64) -> File {
    unet_compvis(NETWORK, SD2, inputs).with(vae_compvis(VAE, 4)).with(openclip("cond_stage_model.model.", 1024))
}

pub fn sdxl_checkpoint(inputs: u64) -> File {
    sdxl_of(SDXL, inputs)
}

fn sdxl_of(measures: Measures, inputs: u64) -> File {
    unet_compvis(NETWORK, measures, inputs)
        .with(vae_compvis(VAE, 4))
        .with(clip("conditioner.embedders.0.transformer.text_model.", 768))
        .with(openclip("conditioner.embedders.1.model.", 1280))
}

fn flux_bfl(prefix: &str, inputs: u64, is_dev: bool) -> File {
    let mut out = file(
        prefix,
        &[
            ("img_in.weight", &[3072, inputs]),
            ("txt_in.weight", &[3072, 4096]),
            ("vector_in.in_layer.weight", &[3072, 768]),
            ("time_in.in_layer.weight", &[3072, 256]),
            ("double_blocks.0.img_attn.norm.key_norm.scale", &[128]),
            ("double_blocks.0.img_attn.qkv.weight", &[9216, 3072]),
            ("double_blocks.0.img_mod.lin.weight", &[18432, 3072]),
            ("double_blocks.18.txt_attn.qkv.weight", &[9216, 3072]),
            ("single_blocks.0.linear1.weight", &[21504, 3072]),
            ("single_blocks.37.linear2.weight", &[3072, 15360]),
            ("final_layer.linear.weight", &[64, 3072]),
        ],
    );
    if is_dev {
        out.push(&format!("{prefix}guidance_in.in_layer.weight"), &[3072, 256]);
    }
    out
}

pub fn flux_diffusers(inputs: u64, is_dev: bool) -> File {
    let mut out = file(
        "",
        &[
            ("x_embedder.weight", &[3072, inputs]),
            ("context_embedder.weight", &[3072, 4096]),
            ("time_text_embed.timestep_embedder.linear_1.weight", &[3072, 256]),
            ("transformer_blocks.0.attn.add_k_proj.weight", &[3072, 3072]),
            ("transformer_blocks.0.attn.norm_q.weight", &[128]),
            ("transformer_blocks.18.attn.to_q.weight", &[3072, 3072]),
            ("single_transformer_blocks.0.attn.norm_q.weight", &[128]),
            ("single_transformer_blocks.0.proj_mlp.weight", &[12288, 3072]),
            ("proj_out.weight", &[64, 3072]),
        ],
    );
    if is_dev {
        out.push("time_text_embed.guidance_embedder.linear_1.weight", &[3072, 256]);
    }
    out
}

fn sd3(prefix: &str, width: u64, positions: u64, blocks: u64) -> File {
    let last = format!("joint_blocks.{}.x_block.attn.qkv.weight", blocks - 1);
    file(
        prefix,
        &[
            ("x_embedder.proj.weight", &[width, 16, 2, 2]),
            ("pos_embed", &[1, positions, width]),
            ("joint_blocks.0.context_block.adaLN_modulation.1.bias", &[6 * width]),
            ("joint_blocks.0.x_block.attn.qkv.weight", &[3 * width, width]),
            (&last, &[3 * width, width]),
            ("final_layer.linear.weight", &[64, width]),
        ],
    )
}

fn flux2(prefix: &str, text: u64) -> File {
    file(
        prefix,
        &[
            ("img_in.weight", &[6144, 128]),
            ("txt_in.weight", &[6144, text]),
            ("double_stream_modulation_img.lin.weight", &[36864, 6144]),
            ("single_stream_modulation.lin.weight", &[18432, 6144]),
            ("double_blocks.0.img_attn.norm.key_norm.scale", &[128]),
            ("double_blocks.0.img_attn.qkv.weight", &[18432, 6144]),
            ("single_blocks.0.linear1.weight", &[55296, 6144]),
        ],
    )
}

fn chroma(prefix: &str) -> File {
    file(
        prefix,
        &[("distilled_guidance_layer.in_proj.bias", &[5120]), ("distilled_guidance_layer.in_proj.weight", &[5120, 64])],
    )
    .with(flux_bfl(prefix, 64, false))
}

fn lora(layers: &[(&str, u64)]) -> File {
    let mut out = File::default();
    for (layer, inputs) in layers {
        out.push(&format!("{layer}.lora_down.weight"), &[16, *inputs]);
        out.push(&format!("{layer}.lora_up.weight"), &[640, 16]);
        out.push(&format!("{layer}.alpha"), &[]);
    }
    out
}

fn peft(layers: &[(&str, u64)]) -> File {
    let mut out = File::default();
    for (layer, inputs) in layers {
        out.push(&format!("{layer}.lora_A.weight"), &[16, *inputs]);
        out.push(&format!("{layer}.lora_B.weight"), &[640, 16]);
    }
    out
}

const NO_TEXT: &[&str] = &["vae", "text_encoder", "text_encoder_2"];
const ALL_SD: &[Family] = &[Family::Sd1, Family::Sd2, Family::Sdxl];

impl Case {
    fn new(what: &'static str, file: File, kind: Kind, families: &'static [Family]) -> Self {
        Self {
            what,
            file,
            kind,
            families,
            edition: None,
            variant: Variant::Normal,
            prediction: None,
            naming: None,
            missing: &[],
        }
    }

    fn network(what: &'static str, file: File, kind: Kind, family: &'static [Family], naming: Naming) -> Self {
        let prediction = match family {
            [Family::Sd1 | Family::Sdxl | Family::SdxlRefiner] => Some(Prediction::Epsilon),
            [Family::Flux1 | Family::Flux2 | Family::Sd3 | Family::Chroma] => Some(Prediction::Flow),
            _ => None,
        };
        Self { naming: Some(naming), prediction, ..Self::new(what, file, kind, family) }
    }

    fn edition(self, edition: &'static str) -> Self {
        Self { edition: Some(edition), ..self }
    }

    fn variant(self, variant: Variant) -> Self {
        Self { variant, ..self }
    }

    fn predicts(self, prediction: Prediction) -> Self {
        Self { prediction: Some(prediction), ..self }
    }

    fn named(self, naming: Naming) -> Self {
        Self { naming: Some(naming), ..self }
    }

    fn lacks(self, missing: &'static [&'static str]) -> Self {
        Self { missing, ..self }
    }
}

/// All files with what they are.
pub fn cases() -> Vec<Case> {
    let mut cases = checkpoints();
    cases.extend(networks());
    cases.extend(parts());
    cases.extend(loras());
    cases.extend(adapters());
    cases.extend(unknown());
    cases
}

fn checkpoints() -> Vec<Case> {
    use Family::{Sd1, Sd2, Sdxl, SdxlRefiner};
    use Kind::Checkpoint;
    use Naming::{CompVis, Sgm};
    let case = Case::network;
    let tiny_sdxl =
        Measures { cross: 96, channels: 32, adm: Some(64 + 6 * 8), is_linear: true, depth: 4, middle: true };
    let tiny_sd1 = Measures { cross: 32, channels: 32, adm: None, is_linear: false, depth: 1, middle: true };
    vec![
        case("SD 1.5", sd1_checkpoint(4), Checkpoint, &[Sd1], CompVis),
        case("SD 1.5 inpainting", sd1_checkpoint(9), Checkpoint, &[Sd1], CompVis).variant(Variant::Inpaint),
        case("instruct-pix2pix", sd1_checkpoint(8), Checkpoint, &[Sd1], CompVis).variant(Variant::InstructPix2Pix),
        case(
            "SD 1.4 without text_model",
            unet_compvis(NETWORK, SD1, 4).with(vae_compvis(VAE, 4)).with(clip("cond_stage_model.transformer.", 768)),
            Checkpoint,
            &[Sd1],
            CompVis,
        ),
        case(
            "SD 1.5 without VAE",
            unet_compvis(NETWORK, SD1, 4).with(clip("cond_stage_model.transformer.text_model.", 768)),
            Checkpoint,
            &[Sd1],
            CompVis,
        )
        .lacks(&["vae"]),
        case("SD 2.1 base", sd2_checkpoint(4), Checkpoint, &[Sd2], CompVis),
        case(
            "SD 2.1 that notes v",
            sd2_checkpoint(4).noting("modelspec.prediction_type", "v"),
            Checkpoint,
            &[Sd2],
            CompVis,
        )
        .predicts(Prediction::V),
        case("SD 2.1 by its step", sd2_checkpoint(4).noting("global_step", "110000"), Checkpoint, &[Sd2], CompVis)
            .predicts(Prediction::V),
        case("SD 2.1 base by its step", sd2_checkpoint(4).noting("global_step", "220000"), Checkpoint, &[Sd2], CompVis)
            .predicts(Prediction::Epsilon),
        case("SD 2 inpainting", sd2_checkpoint(9), Checkpoint, &[Sd2], CompVis)
            .variant(Variant::Inpaint)
            .predicts(Prediction::Epsilon),
        case("SD 2 depth", sd2_checkpoint(5), Checkpoint, &[Sd2], CompVis)
            .variant(Variant::Depth)
            .predicts(Prediction::Epsilon),
        case(
            "SD 2 upscaler",
            unet_compvis(NETWORK, Measures { channels: 256, ..SD2 }, 7).with(openclip("cond_stage_model.model.", 1024)),
            Checkpoint,
            &[Sd2],
            CompVis,
        )
        .variant(Variant::Upscale)
        .edition("x4-upscaler")
        .predicts(Prediction::V)
        .lacks(&["vae"]),
        case("SDXL base", sdxl_checkpoint(4), Checkpoint, &[Sdxl], Sgm),
        case("SDXL inpainting", sdxl_checkpoint(9), Checkpoint, &[Sdxl], Sgm).variant(Variant::Inpaint),
        case("SDXL edit", sdxl_checkpoint(8), Checkpoint, &[Sdxl], Sgm).variant(Variant::InstructPix2Pix),
        case(
            "SDXL v-prediction",
            sdxl_checkpoint(4).with(file("", &[("v_pred", &[]), ("ztsnr", &[])])),
            Checkpoint,
            &[Sdxl],
            Sgm,
        )
        .predicts(Prediction::V),
        case(
            "Playground 2.5",
            sdxl_checkpoint(4).with(file("", &[("edm_mean", &[1, 4, 1, 1]), ("edm_std", &[1, 4, 1, 1])])),
            Checkpoint,
            &[Sdxl],
            Sgm,
        )
        .predicts(Prediction::Edm),
        case("SSD-1B", sdxl_of(SSD_1B, 4), Checkpoint, &[Sdxl], Sgm).edition("ssd-1b"),
        case("Segmind Vega", sdxl_of(VEGA, 4), Checkpoint, &[Sdxl], Sgm).edition("segmind-vega"),
        case(
            "SDXL with leftovers of a LoRA",
            sdxl_checkpoint(4).with(lora(&[("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 2048)])),
            Checkpoint,
            &[Sdxl],
            Sgm,
        ),
        case(
            "SDXL refiner",
            unet_compvis(NETWORK, REFINER, 4)
                .with(vae_compvis(VAE, 4))
                .with(openclip("conditioner.embedders.0.model.", 1280)),
            Checkpoint,
            &[SdxlRefiner],
            Sgm,
        ),
        case(
            "tiny SDXL",
            unet_compvis(NETWORK, tiny_sdxl, 4)
                .with(vae_compvis(VAE, 4))
                .with(clip("conditioner.embedders.0.transformer.text_model.", 32))
                .with(openclip("conditioner.embedders.1.model.", 64)),
            Checkpoint,
            &[Sdxl],
            Sgm,
        ),
        case(
            "tiny SD 1",
            unet_compvis(NETWORK, tiny_sd1, 9)
                .with(vae_compvis(VAE, 4))
                .with(clip("cond_stage_model.transformer.text_model.", 32)),
            Checkpoint,
            &[Sd1],
            CompVis,
        )
        .variant(Variant::Inpaint),
        case(
            "FLUX.1 dev all in one",
            flux_bfl(NETWORK, 64, true)
                .with(vae_compvis("vae.", 16))
                .with(clip("text_encoders.clip_l.transformer.text_model.", 768))
                .with(t5("text_encoders.t5xxl.transformer.", 4096)),
            Checkpoint,
            &[Family::Flux1],
            Naming::Bfl,
        )
        .edition("dev"),
        case(
            "FLUX.1 fp8 all in one",
            flux_bfl(NETWORK, 64, false).stored_as("F8_E4M3").with(vae_compvis("vae.", 16)),
            Checkpoint,
            &[Family::Flux1],
            Naming::Bfl,
        )
        .edition("schnell")
        .lacks(&["text_encoder", "text_encoder_2"]),
        case(
            "SD 3 medium with CLIP",
            sd3(NETWORK, 1536, 36864, 24)
                .with(vae_compvis(VAE, 16))
                .with(clip("text_encoders.clip_l.transformer.text_model.", 768))
                .with(clip("text_encoders.clip_g.transformer.text_model.", 1280)),
            Checkpoint,
            &[Family::Sd3],
            Sgm,
        )
        .edition("medium")
        .lacks(&["text_encoder_3"]),
    ]
}

fn networks() -> Vec<Case> {
    use Family::{Chroma, Flux1, Flux2, Other, Sd1, Sd2, Sd3, Sdxl, SdxlRefiner};
    use Kind::{Transformer, Unet};
    use Naming::{Bfl, CompVis, Diffusers, Own, Sgm};
    let case = Case::network;
    let flux = |what, file: File, naming| case(what, file, Transformer, &[Flux1], naming).lacks(NO_TEXT);
    vec![
        case("SDXL Lightning's UNet", unet_diffusers("", SDXL, 4), Unet, &[Sdxl], Diffusers).lacks(NO_TEXT),
        case("SDXL UNet for inpainting", unet_diffusers("", SDXL, 9), Unet, &[Sdxl], Diffusers)
            .variant(Variant::Inpaint)
            .lacks(NO_TEXT),
        case("SD 1.5 UNet", unet_diffusers("", SD1, 4), Unet, &[Sd1], Diffusers).lacks(&["vae", "text_encoder"]),
        case("SD 2 UNet", unet_diffusers("", SD2, 4), Unet, &[Sd2], Diffusers).lacks(&["vae", "text_encoder"]),
        case("refiner's UNet", unet_diffusers("", REFINER, 4), Unet, &[SdxlRefiner], Diffusers)
            .lacks(&["vae", "text_encoder_2"]),
        case("bare SDXL UNet in CompVis' names", unet_compvis("", SDXL, 4), Unet, &[Sdxl], Sgm).lacks(NO_TEXT),
        case("bare SD 1 UNet in CompVis' names", unet_compvis("diffusion_model.", SD1, 4), Unet, &[Sd1], CompVis)
            .lacks(&["vae", "text_encoder"]),
        case("Kolors' UNet", unet_diffusers("", KOLORS, 4), Unet, &[Other("kolors")], Diffusers),
        case(
            "Stable Video Diffusion",
            unet_compvis(NETWORK, Measures { adm: Some(768), ..SD2 }, 8)
                .with(file(NETWORK, &[("input_blocks.1.1.time_stack.0.attn1.to_k.weight", &[320, 320])])),
            Unet,
            &[Other("video_unet")],
            CompVis,
        )
        .variant(Variant::Unusual),
        flux("FLUX.1 dev", flux_bfl("", 64, true), Bfl).edition("dev"),
        flux("FLUX.1 schnell", flux_bfl("", 64, false), Bfl).edition("schnell"),
        flux("FLUX.1 Fill", flux_bfl("", 384, true), Bfl).edition("dev").variant(Variant::Fill),
        flux("FLUX.1 Depth", flux_bfl("", 128, true), Bfl).edition("dev").variant(Variant::Control),
        flux("Flex.2", flux_bfl("", 196, true), Bfl).edition("dev").variant(Variant::Unusual),
        flux("FLUX.1 dev under a prefix", flux_bfl(NETWORK, 64, true), Bfl).edition("dev"),
        flux("FLUX.1 dev in diffusers' names", flux_diffusers(64, true), Diffusers).edition("dev"),
        flux("FLUX.1 schnell in diffusers' names", flux_diffusers(64, false), Diffusers).edition("schnell"),
        flux("FLUX.1 Fill in diffusers' names", flux_diffusers(384, true), Diffusers)
            .edition("dev")
            .variant(Variant::Fill),
        flux("FLUX.1 fp8", flux_fp8(), Bfl).edition("dev"),
        flux("FLUX.1 nf4", flux_nf4(), Bfl).edition("dev"),
        case("FLUX.2 dev", flux2("", 15360), Transformer, &[Flux2], Bfl).edition("dev").lacks(&["vae", "text_encoder"]),
        case("FLUX.2 klein", flux2("", 7680), Transformer, &[Flux2], Bfl)
            .edition("klein-4b")
            .lacks(&["vae", "text_encoder"]),
        case("Chroma", chroma(""), Transformer, &[Chroma], Bfl).lacks(&["vae", "text_encoder"]),
        case("SD 3.5 large", sd3(NETWORK, 2432, 36864, 38), Transformer, &[Sd3], Sgm).edition("3.5-large").lacks(&[
            "vae",
            "text_encoder",
            "text_encoder_2",
            "text_encoder_3",
        ]),
        case("SD 3.5 medium", sd3("", 1536, 147_456, 24), Transformer, &[Sd3], Sgm).edition("3.5-medium").lacks(&[
            "vae",
            "text_encoder",
            "text_encoder_2",
            "text_encoder_3",
        ]),
        case(
            "Wan",
            file(
                "",
                &[("patch_embedding.weight", &[1536, 16, 1, 2, 2]), ("blocks.0.cross_attn.q.weight", &[1536, 1536])],
            ),
            Transformer,
            &[Other("wan")],
            Own,
        ),
        case(
            "Qwen-Image",
            file(
                "",
                &[
                    ("transformer_blocks.0.img_mod.1.weight", &[18432, 3072]),
                    ("transformer_blocks.0.attn.add_k_proj.weight", &[3072, 3072]),
                ],
            ),
            Transformer,
            &[Other("qwen_image")],
            Own,
        ),
        case(
            "Z-Image",
            file("", &[("cap_embedder.0.weight", &[2560]), ("context_refiner.0.attention.qkv.weight", &[11520, 3840])]),
            Transformer,
            &[Other("z_image")],
            Own,
        ),
    ]
}

fn parts() -> Vec<Case> {
    use Family::{Chroma, Flux1, Flux2, Sd1, Sd2, Sd3, Sdxl, SdxlRefiner};
    use Kind::{ImageEncoder, TextEncoder, Vae};
    use Naming::{CompVis, Diffusers, OpenClip, Transformers};
    let case = Case::new;
    vec![
        case("VAE of 4 channels", vae_diffusers("", 4), Vae, ALL_SD).named(Diffusers),
        case("VAE of 4 channels in CompVis' names", vae_compvis("", 4), Vae, ALL_SD).named(CompVis),
        case("VAE under a prefix", vae_compvis(VAE, 4), Vae, ALL_SD).named(CompVis),
        case(
            "VAE that notes SDXL",
            vae_compvis("", 4).noting("modelspec.architecture", "stable-diffusion-xl-v1-base/vae"),
            Vae,
            &[Sdxl],
        )
        .named(CompVis),
        case("FLUX.1 autoencoder", vae_compvis("", 16), Vae, &[Flux1, Sd3]).named(CompVis),
        case("FLUX.2 autoencoder", vae_diffusers("", 32), Vae, &[Flux2]).named(Diffusers),
        case("CLIP-L", clip("text_model.", 768), TextEncoder, &[Sd1, Sdxl, Flux1, Sd3])
            .edition("clip-l")
            .named(Transformers),
        case("CLIP-L without text_model", clip("", 768), TextEncoder, &[Sd1, Sdxl, Flux1, Sd3])
            .edition("clip-l")
            .named(Transformers),
        case("OpenCLIP bigG", openclip("", 1280), TextEncoder, &[Sdxl, SdxlRefiner, Sd3])
            .edition("openclip-bigg")
            .named(OpenClip),
        case("OpenCLIP H", clip("text_model.", 1024), TextEncoder, &[Sd2]).edition("openclip-h").named(Transformers),
        case("T5-XXL", t5("", 4096), TextEncoder, &[Flux1, Sd3, Chroma]).edition("t5-xxl").named(Transformers),
        case(
            "image encoder",
            file(
                "vision_model.",
                &[("embeddings.class_embedding", &[1280]), ("embeddings.patch_embedding.weight", &[1280, 3, 14, 14])],
            ),
            ImageEncoder,
            &[],
        )
        .named(Transformers),
        case(
            "tiny autoencoder",
            file("", &[("decoder.1.weight", &[64, 4, 3, 3]), ("decoder.3.conv.0.weight", &[64, 64, 3, 3])]),
            Vae,
            ALL_SD,
        )
        .edition("taesd")
        .named(Naming::Own),
    ]
}

fn loras() -> Vec<Case> {
    use Family::{Chroma, Flux1, Other, Sd1, Sd2, Sd3, Sdxl};
    use Kind::Lora;
    use Naming::{Bfl, Diffusers, Kohya, Own, Peft};
    let case = |what, file: File, families, naming| Case::new(what, file, Lora, families).named(naming).edition("lora");
    let block = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k";
    let loha = file(
        block,
        &[(".hada_w1_a", &[640, 8]), (".hada_w1_b", &[8, 2048]), (".hada_w2_a", &[640, 8]), (".hada_w2_b", &[8, 2048])],
    );
    let lokr = file(block, &[(".lokr_w1", &[16, 32]), (".lokr_w2", &[40, 64])]);
    let mut dora = lora(&[("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768)]);
    dora.push("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.dora_scale", &[320, 1]);
    vec![
        case(
            "kohya SD 1",
            lora(&[
                ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768),
                ("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768),
            ]),
            &[Sd1],
            Kohya,
        ),
        case(
            "kohya SD 2",
            lora(&[("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 1024)]),
            &[Sd2],
            Kohya,
        ),
        case(
            "kohya SDXL",
            lora(&[
                (block, 2048),
                ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 768),
                ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", 1280),
            ]),
            &[Sdxl],
            Kohya,
        ),
        case(
            "SDXL slider of self-attention",
            lora(&[("lora_unet_input_blocks_7_1_transformer_blocks_5_attn1_to_k", 1280)]),
            &[Sdxl],
            Kohya,
        ),
        case(
            "text encoders only",
            lora(&[
                ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768),
                ("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280),
            ]),
            &[Sdxl],
            Kohya,
        ),
        case("one that tells nothing", lora(&[("lora_unet_mid_block_resnets_0_conv1", 1280)]), ALL_SD, Kohya),
        case(
            "one that notes its base",
            lora(&[("lora_unet_mid_block_resnets_0_conv1", 1280)]).noting("ss_base_model_version", "sdxl_base_v1-0"),
            &[Sdxl],
            Kohya,
        ),
        case(
            "PEFT SDXL",
            peft(&[("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 2048)]),
            &[Sdxl],
            Peft,
        ),
        case(
            "diffusers of old",
            file(
                "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.",
                &[("to_k_lora.down.weight", &[4, 768]), ("to_k_lora.up.weight", &[320, 4])],
            ),
            &[Sd1],
            Diffusers,
        ),
        case(
            "kohya FLUX.1",
            lora(&[
                ("lora_unet_double_blocks_0_img_attn_qkv", 3072),
                ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768),
            ]),
            &[Flux1],
            Kohya,
        ),
        case("diffusers FLUX.1", peft(&[("transformer.single_transformer_blocks.0.attn.to_q", 3072)]), &[Flux1], Peft),
        case("BFL FLUX.1", peft(&[("diffusion_model.double_blocks.0.img_attn.qkv", 3072)]), &[Flux1], Bfl),
        case(
            "XLabs FLUX.1",
            file(
                "double_blocks.0.processor.",
                &[("qkv_lora1.down.weight", &[16, 3072]), ("qkv_lora1.up.weight", &[9216, 16])],
            ),
            &[Flux1],
            Own,
        ),
        case(
            "Chroma",
            lora(&[
                ("lora_unet_double_blocks_0_img_attn_qkv", 3072),
                ("lora_unet_distilled_guidance_layer_in_proj", 64),
            ]),
            &[Chroma],
            Kohya,
        ),
        case(
            "SD 3",
            peft(&[
                ("transformer.transformer_blocks.0.attn.add_k_proj", 1536),
                ("transformer.transformer_blocks.0.attn.to_q", 1536),
            ]),
            &[Sd3],
            Peft,
        ),
        case("Wan", peft(&[("diffusion_model.blocks.0.cross_attn.q", 1536)]), &[Other("wan")], Bfl),
        case("LoHa", loha, &[Sdxl], Kohya).edition("loha"),
        case("LoKr", lokr, &[Sdxl], Kohya).edition("lokr"),
        case("DoRA", dora, &[Sd1], Kohya).edition("dora"),
        case(
            "full difference",
            file("lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k", &[(".diff", &[320, 768])]),
            &[Sd1],
            Kohya,
        )
        .edition("full"),
    ]
}

fn adapters() -> Vec<Case> {
    use Family::{Flux1, Sd1, Sd2, Sd3, Sdxl};
    use Kind::{ControlNet, Hypernetwork, IpAdapter, T2iAdapter, TextualInversion, Upscaler};
    use Naming::{CompVis, Diffusers, Own};
    let case = Case::new;
    let half = |prefix: &str, m, extra: &str, shape: &[u64]| {
        let mut out = unet_compvis(prefix, m, 4);
        out.tensors.retain(|(name, ..)| !name.contains(".out.") && !name.contains("output_blocks"));
        out.with(file(prefix, &[(extra, shape)]))
    };
    let half_diffusers = |m, extra: &str| {
        let mut out = unet_diffusers("", m, 4);
        out.tensors.retain(|(name, ..)| !name.starts_with("conv_out") && !name.starts_with("up_blocks"));
        out.with(file("", &[("controlnet_cond_embedding.conv_in.weight", &[16, 3, 3, 3]), (extra, &[320, 320, 1, 1])]))
    };
    let hint = "input_hint_block.0.weight";
    let ip =
        |width| file("", &[("image_proj.proj.weight", &[3072, 1024]), ("ip_adapter.1.to_k_ip.weight", &[320, width])]);
    vec![
        case("ControlNet of SD 1", half("control_model.", SD1, hint, &[16, 3, 3, 3]), ControlNet, &[Sd1])
            .named(CompVis),
        case("ControlNet of SD 1 without prefix", half("", SD1, hint, &[16, 3, 3, 3]), ControlNet, &[Sd1])
            .named(CompVis),
        case(
            "ControlNet with its model",
            half("control_model.", SD1, hint, &[16, 3, 3, 3]).with(sd1_checkpoint(4)),
            ControlNet,
            &[Sd1],
        )
        .named(CompVis),
        case("ControlNet of SD 2", half("control_model.", SD2, hint, &[16, 3, 3, 3]), ControlNet, &[Sd2])
            .named(CompVis),
        case("ControlNet of SDXL", half_diffusers(SDXL, "controlnet_down_blocks.0.weight"), ControlNet, &[Sdxl])
            .named(Diffusers),
        case("union ControlNet of SDXL", half_diffusers(SDXL, "task_embedding"), ControlNet, &[Sdxl])
            .edition("union")
            .named(Diffusers),
        case(
            "control-LoRA",
            file("", &[("lora_controlnet", &[]), ("input_hint_block.0.weight", &[16, 3, 3, 3])]),
            ControlNet,
            ALL_SD,
        )
        .edition("control-lora")
        .named(CompVis),
        case(
            "ControlNet of FLUX.1",
            file(
                "",
                &[
                    ("controlnet_x_embedder.weight", &[3072, 64]),
                    ("controlnet_blocks.0.weight", &[3072, 3072]),
                    ("transformer_blocks.0.attn.norm_added_k.weight", &[128]),
                    ("single_transformer_blocks.0.attn.norm_q.weight", &[128]),
                ],
            ),
            ControlNet,
            &[Flux1],
        )
        .named(Diffusers),
        case(
            "ControlNet of SD 3",
            file(
                "",
                &[
                    ("controlnet_blocks.0.weight", &[1536, 1536]),
                    ("pos_embed.proj.weight", &[1536, 16, 2, 2]),
                    ("transformer_blocks.0.attn.to_q.weight", &[1536, 1536]),
                ],
            ),
            ControlNet,
            &[Sd3],
        )
        .named(Diffusers),
        case(
            "XLabs ControlNet",
            file(
                "",
                &[
                    ("input_hint_block.0.weight", &[16, 3, 3, 3]),
                    ("pos_embed_input.weight", &[3072, 64]),
                    ("double_blocks.0.img_attn.qkv.weight", &[9216, 3072]),
                ],
            ),
            ControlNet,
            &[Flux1],
        )
        .named(Own),
        case("IP-Adapter of SD 1", ip(768), IpAdapter, &[Sd1]).named(Own),
        case("IP-Adapter of SDXL", ip(2048), IpAdapter, &[Sdxl]).named(Own),
        case("IP-Adapter FaceID", ip(2048).with(lora(&[("ip_adapter.0.to_q_lora", 640)])), IpAdapter, &[Sdxl])
            .named(Own),
        case(
            "T2I-Adapter of SDXL",
            file(
                "adapter.",
                &[("body.0.resnets.0.block1.weight", &[320, 320, 3, 3]), ("conv_in.weight", &[320, 768, 3, 3])],
            ),
            T2iAdapter,
            &[Sdxl],
        )
        .named(Diffusers),
        case("embedding of SD 1", file("", &[("emb_params", &[4, 768])]), TextualInversion, &[Sd1]).named(Own),
        case("embedding of SD 2", file("", &[("emb_params", &[4, 1024])]), TextualInversion, &[Sd2]).named(Own),
        case(
            "embedding of SDXL",
            file("", &[("clip_l", &[4, 768]), ("clip_g", &[4, 1280])]),
            TextualInversion,
            &[Sdxl],
        )
        .named(Own),
        case("embedding by its word", file("", &[("<cat-toy>", &[768])]), TextualInversion, &[Sd1]).named(Own),
        case("embedding of a pickle", file("", &[("string_to_param.*", &[2, 768])]), TextualInversion, &[Sd1])
            .named(Own),
        case(
            "hypernetwork",
            file("", &[("768.0.linear.0.weight", &[1536, 768]), ("320.0.linear.0.weight", &[640, 320])]),
            Hypernetwork,
            &[Sd1],
        )
        .named(Own),
        case(
            "old ESRGAN",
            file("", &[("model.0.weight", &[64, 3, 3, 3]), ("model.1.sub.0.RDB1.conv1.0.weight", &[32, 64, 3, 3])]),
            Upscaler,
            &[],
        )
        .edition("esrgan")
        .named(Own),
        case(
            "Real-ESRGAN",
            file(
                "",
                &[
                    ("conv_first.weight", &[64, 3, 3, 3]),
                    ("body.0.rdb1.conv1.weight", &[32, 64, 3, 3]),
                    ("conv_body.weight", &[64, 64, 3, 3]),
                    ("conv_last.weight", &[3, 64, 3, 3]),
                ],
            ),
            Upscaler,
            &[],
        )
        .edition("real-esrgan")
        .named(Own),
        case(
            "BSRGAN",
            file(
                "",
                &[
                    ("conv_first.weight", &[64, 3, 3, 3]),
                    ("RRDB_trunk.0.RDB1.conv1.weight", &[32, 64, 3, 3]),
                    ("trunk_conv.weight", &[64, 64, 3, 3]),
                ],
            ),
            Upscaler,
            &[],
        )
        .edition("bsrgan")
        .named(Own),
        case(
            "compact Real-ESRGAN",
            file(
                "",
                &[("body.0.weight", &[64, 3, 3, 3]), ("body.1.weight", &[64]), ("body.2.weight", &[64, 64, 3, 3])],
            ),
            Upscaler,
            &[],
        )
        .edition("real-esrgan-compact")
        .named(Own),
    ]
}

/// FLUX.1 with weights packed to 4 bits.
pub fn flux_nf4() -> File {
    let mut nf4 = flux_bfl("", 1, true);
    nf4.push("double_blocks.0.img_attn.qkv.weight.quant_state.bitsandbytes__nf4", &[128]);
    nf4
}

/// SDXL's UNet in 8 bits.
pub fn unet_fp8() -> File {
    unet_diffusers("", SDXL, 4).stored_as("F8_E4M3")
}

/// FLUX.1 in 8 bits.
pub fn flux_fp8() -> File {
    flux_bfl("", 64, true).stored_as("F8_E4M3")
}

fn unknown() -> Vec<Case> {
    use Family::{Chroma, Flux1, Flux2, Sd1, Sd2, Sdxl};
    let case = |what, file: File, near| Case::new(what, file, Kind::Unknown, near);
    let mut headless = unet_compvis(NETWORK, SD1, 4);
    headless.tensors.retain(|(name, ..)| !name.contains("time_embed") && !name.contains(".out."));
    let mut no_text = flux_bfl("", 64, true);
    no_text.tensors.retain(|(name, ..)| !name.starts_with("txt_in") && !name.starts_with("vector_in"));
    let sound = file("", &[("encoder.weight", &[8, 8]), ("decoder.bias", &[8])]);
    let odd = Measures { cross: 999, ..SD1 };
    vec![
        case("something else", sound, &[]),
        case("a UNet without its ends", headless, &[Sd1, Sd2, Sdxl]),
        case("FLUX without its text", no_text, &[Chroma, Flux1, Flux2]),
        Case::new("a UNet of no family's width", unet_compvis("", odd, 4), Kind::Unet, &[Sd1, Sd2])
            .named(Naming::CompVis),
    ]
}
