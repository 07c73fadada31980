//! The words in which an identity is told.

use std::fmt;

/// What kind of model a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A diffusion network with other components: a single-file checkpoint, or a model folder.
    Checkpoint,
    /// A UNet alone.
    Unet,
    /// A diffusion transformer alone.
    Transformer,
    /// An image autoencoder alone.
    Vae,
    /// One or several text encoders alone.
    TextEncoder,
    /// An image encoder, as IP-Adapters need it.
    ImageEncoder,
    /// A LoRA or one of its kin.
    Lora,
    /// An embedding: textual inversion.
    TextualInversion,
    /// A hypernetwork.
    Hypernetwork,
    /// A ControlNet.
    ControlNet,
    /// A T2I-Adapter.
    T2iAdapter,
    /// An IP-Adapter.
    IpAdapter,
    /// An image upscaler.
    Upscaler,
    /// None that is known.
    Unknown,
}

/// A family of models that share an architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Stable Diffusion 1.x.
    Sd1,
    /// Stable Diffusion 2.x.
    Sd2,
    /// Stable Diffusion XL.
    Sdxl,
    /// The refiner of Stable Diffusion XL.
    SdxlRefiner,
    /// Stable Diffusion 3 and 3.5.
    Sd3,
    /// FLUX.1.
    Flux1,
    /// FLUX.2.
    Flux2,
    /// Chroma.
    Chroma,
    /// One that is recognised and not run, by its name.
    Other(&'static str),
}

/// What a diffusion network takes for input besides noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Variant {
    /// Nothing.
    #[default]
    Normal,
    /// A mask and the masked picture: 9 channels.
    Inpaint,
    /// A picture to change: 8 channels.
    InstructPix2Pix,
    /// A depth map: 5 channels.
    Depth,
    /// A small picture: 7 channels.
    Upscale,
    /// FLUX.1 Fill: a mask and the masked picture, 384 packed channels.
    Fill,
    /// FLUX.1 Depth and Canny: a control picture, 128 packed channels.
    Control,
    /// A number of channels that is none of these.
    Unusual,
}

/// What a diffusion network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity.
    V,
    /// As EDM scales it (Playground 2.5).
    Edm,
    /// The flow.
    Flow,
}

/// Whose names a file's tensors have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Naming {
    /// CompVis' latent-diffusion: `model.diffusion_model.`, `cond_stage_model.`.
    CompVis,
    /// Stability's generative-models: as CompVis, with `conditioner.embedders.`.
    Sgm,
    /// OpenCLIP: `transformer.resblocks.`.
    OpenClip,
    /// Black Forest Labs: `double_blocks.`.
    Bfl,
    /// diffusers.
    Diffusers,
    /// transformers.
    Transformers,
    /// kohya's scripts: `lora_unet_`.
    Kohya,
    /// PEFT: `lora_A`.
    Peft,
    /// The model's own.
    Own,
}

/// How sure an identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Confidence {
    /// The kind or the family is not known.
    None,
    /// The structure or a note in the file says so, and not every shape.
    Likely,
    /// Names and shapes are those of one signature alone.
    Certain,
}

impl Kind {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Unet => "unet",
            Self::Transformer => "transformer",
            Self::Vae => "vae",
            Self::TextEncoder => "text_encoder",
            Self::ImageEncoder => "image_encoder",
            Self::Lora => "lora",
            Self::TextualInversion => "textual_inversion",
            Self::Hypernetwork => "hypernetwork",
            Self::ControlNet => "controlnet",
            Self::T2iAdapter => "t2i_adapter",
            Self::IpAdapter => "ip_adapter",
            Self::Upscaler => "upscaler",
            Self::Unknown => "unknown",
        }
    }
}

impl Family {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd1 => "sd1",
            Self::Sd2 => "sd2",
            Self::Sdxl => "sdxl",
            Self::SdxlRefiner => "sdxl_refiner",
            Self::Sd3 => "sd3",
            Self::Flux1 => "flux1",
            Self::Flux2 => "flux2",
            Self::Chroma => "chroma",
            Self::Other(name) => name,
        }
    }

    /// The components that make a picture, by diffusers' names; nothing is known of other families.
    pub(super) fn needs(self) -> &'static [&'static str] {
        match self {
            Self::Sd1 | Self::Sd2 => &["unet", "vae", "text_encoder"],
            Self::Sdxl => &["unet", "vae", "text_encoder", "text_encoder_2"],
            Self::SdxlRefiner => &["unet", "vae", "text_encoder_2"],
            Self::Sd3 => &["transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3"],
            Self::Flux1 => &["transformer", "vae", "text_encoder", "text_encoder_2"],
            Self::Flux2 | Self::Chroma => &["transformer", "vae", "text_encoder"],
            Self::Other(_) => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
