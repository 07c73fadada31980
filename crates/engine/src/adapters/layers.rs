//! Which component a layer's name speaks of: every trainer has its own word for it.

/// How the rest of a name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// With dots, as the layers of a model.
    Dotted,
    /// With underscores for the dots.
    Joined,
}

/// The components that a name may mean, in the order in which they are tried, and what remains of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Spoken<'a> {
    /// Names of components.
    pub components: &'static [&'static str],
    /// How the rest is written.
    pub spelling: Spelling,
    /// The layer.
    pub layer: &'a str,
}

/// The network that draws.
pub const DENOISER: &[&str] = &["unet", "transformer"];
const FIRST_TEXT: &[&str] = &["text_encoder"];
const SECOND_TEXT: &[&str] = &["text_encoder_2"];
/// A name that says nothing of the component.
const ANY: &[&str] = &["unet", "transformer", "text_encoder", "text_encoder_2"];

const JOINED: [(&str, &[&str]); 8] = [
    ("lora_unet_", DENOISER),
    ("lora_transformer_", DENOISER),
    ("lycoris_", DENOISER),
    ("lora_te1_", FIRST_TEXT),
    ("lora_te2_", SECOND_TEXT),
    // FLUX's T5, which sd-scripts counts after SD3's two CLIPs.
    ("lora_te3_", SECOND_TEXT),
    ("lora_te_", FIRST_TEXT),
    ("lora_prior_unet_", DENOISER),
];

const DOTTED: [(&str, &[&str]); 14] = [
    ("unet.", DENOISER),
    ("transformer.", DENOISER),
    ("model.diffusion_model.", DENOISER),
    ("diffusion_model.", DENOISER),
    ("lora_unet.", DENOISER),
    ("text_encoders.clip_l.transformer.", FIRST_TEXT),
    ("text_encoders.clip_g.transformer.", SECOND_TEXT),
    ("text_encoders.t5xxl.transformer.", SECOND_TEXT),
    ("clip_l.transformer.", FIRST_TEXT),
    ("clip_l.", FIRST_TEXT),
    ("clip_g.", SECOND_TEXT),
    ("t5xxl.", SECOND_TEXT),
    ("text_encoder.", FIRST_TEXT),
    ("text_encoder_2.", SECOND_TEXT),
];

/// PEFT wraps the model twice.
const WRAPPED: &str = "base_model.model.";

/// What a layer's name speaks of.
pub fn spoken(name: &str) -> Spoken<'_> {
    let mut name = name;
    while let Some(inner) = name.strip_prefix(WRAPPED) {
        name = inner;
    }
    let found = |table: &[(&str, &'static [&'static str])], spelling| {
        table
            .iter()
            .find_map(|(prefix, components)| Some(Spoken { components, spelling, layer: name.strip_prefix(prefix)? }))
    };
    let spoken = found(&JOINED, Spelling::Joined).or_else(|| found(&DOTTED, Spelling::Dotted));
    let mut spoken = spoken.unwrap_or(Spoken { components: ANY, spelling: Spelling::Dotted, layer: name });
    // `unet.base_model.model.…` occurs too.
    while let Some(inner) = spoken.layer.strip_prefix(WRAPPED) {
        spoken.layer = inner;
    }
    spoken
}
