//! The dialects as tables: what a server that speaks the Images API calls things, and where it wants them. A section's
//! `dialect` picks a row; a model's own keys replace single cells of it.
//!
//! Nothing here sends anything or knows a request's values.

use std::borrow::Cow;

use serde::Deserialize;

use crate::generation::{ImageFormat, Wish};
use crate::providers::upstream::Polarity;

/// A name on the wire.
pub(super) type Name = Cow<'static, str>;

/// `dialect` of a section.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum DialectName {
    /// The vendor's own, and that of most others.
    #[default]
    OpenAi,
    /// `LocalAI`.
    LocalAi,
    /// The server of stable-diffusion.cpp.
    SdCpp,
    /// Another Easel, by its own API.
    Easel,
}

/// One dialect of the Images API.
#[derive(Debug)]
pub(super) struct Dialect {
    /// Whether the model's name is sent.
    pub sends_model: bool,
    /// Where the wishes go that the Images API does not know.
    pub places: Places,
    /// `response_format`, where it is sent.
    pub response_format: Option<&'static str>,
    /// Where a request with pictures goes.
    pub edits: Route,
    /// Where a request with a mask goes.
    pub inpainting: Route,
    /// The file formats that can be asked for with `output_format`.
    pub outputs: &'static [ImageFormat],
    /// The file formats of given pictures that it reads; others become PNG.
    pub reads: &'static [ImageFormat],
    /// Whether picture `i` of an answer comes from `seed + i`; otherwise only the first one is known to come from it.
    pub seeds_count_up: bool,
    /// Pictures in one call.
    pub max_count: Option<u32>,
}

/// Where a wish goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Into a field of the body.
    Field(Name),
    /// Into the JSON that stable-diffusion.cpp takes out of the prompt, at this path.
    Extra(&'static [&'static str]),
    /// Behind a pipe at the end of the prompt.
    AfterPipe,
    /// Nowhere: it is not understood.
    Nowhere,
}

/// Where each wish goes.
#[derive(Debug, Clone)]
pub(super) struct Places {
    pub seed: Place,
    pub negative_prompt: Place,
    pub steps: Place,
    pub guidance_scale: Place,
    pub scheduler: Place,
    pub strength: Place,
    /// As a list of `{"path", "multiplier"}`.
    pub loras: Place,
}

/// How given pictures are sent. In a model's configuration it is written as `edits = { … }` or `inpainting = { … }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// What is appended to the base.
    #[serde(default = "edits_path")]
    pub path: Name,
    /// As what they are sent.
    #[serde(default)]
    pub pictures: Pictures,
    /// The name of a single picture.
    #[serde(default = "image_name")]
    pub image: Name,
    /// The name of all pictures where there are several.
    pub images: Option<Name>,
    /// The name of the reference images where they do not go with the picture.
    pub reference_images: Option<Name>,
    /// The name of the mask.
    pub mask: Option<Name>,
    /// What of the mask is repainted.
    #[serde(default)]
    pub mask_repaints: Repaints,
    /// The name of the steps where it is another one here.
    pub steps: Option<Name>,
    /// Wishes that are not understood here although they are elsewhere.
    #[serde(skip)]
    pub ignores: &'static [Wish],
}

/// As what pictures are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pictures {
    /// As files of a form.
    #[default]
    Files,
    /// As `data:` URIs in JSON.
    DataUri,
    /// As base64 in JSON.
    Base64,
    /// As `{"type": "image_url", "url": "data:…"}` in JSON.
    UrlObject,
}

/// What of a mask is repainted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Repaints {
    /// What is transparent.
    #[default]
    Transparent,
    /// What is white.
    White,
}

impl Repaints {
    pub(super) fn polarity(self) -> Polarity {
        match self {
            Self::Transparent => Polarity::Transparent,
            Self::White => Polarity::White,
        }
    }
}

fn edits_path() -> Name {
    Name::Borrowed("images/edits")
}

fn image_name() -> Name {
    Name::Borrowed("image")
}

const fn field(name: &'static str) -> Place {
    Place::Field(Name::Borrowed(name))
}

/// A single picture is `image`, several are `image[]`, as the vendor's own libraries write them.
const EDITS: Route = Route {
    path: Name::Borrowed("images/edits"),
    pictures: Pictures::Files,
    image: Name::Borrowed("image"),
    images: Some(Name::Borrowed("image[]")),
    reference_images: None,
    mask: Some(Name::Borrowed("mask")),
    mask_repaints: Repaints::Transparent,
    steps: None,
    ignores: &[],
};

/// <https://platform.openai.com/docs/api-reference/images>
pub(super) static OPENAI: Dialect = Dialect {
    sends_model: true,
    places: Places {
        seed: field("seed"),
        negative_prompt: field("negative_prompt"),
        steps: field("steps"),
        guidance_scale: field("guidance_scale"),
        scheduler: field("scheduler"),
        strength: Place::Nowhere,
        loras: Place::Nowhere,
    },
    response_format: Some("b64_json"),
    edits: EDITS,
    inpainting: EDITS,
    outputs: &[],
    reads: &[ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp],
    seeds_count_up: false,
    max_count: None,
};

/// <https://localai.io/features/image-generation/>: pictures are made one after the other, so one a call loses nothing
/// and gives each its seed. Inpainting takes hardly anything and answers addresses.
pub(super) static LOCAL_AI: Dialect = Dialect {
    sends_model: true,
    places: Places {
        seed: field("seed"),
        negative_prompt: Place::AfterPipe,
        steps: field("step"),
        guidance_scale: Place::Nowhere,
        scheduler: Place::Nowhere,
        strength: Place::Nowhere,
        loras: Place::Nowhere,
    },
    response_format: Some("b64_json"),
    edits: Route {
        path: Name::Borrowed("images/generations"),
        pictures: Pictures::Base64,
        image: Name::Borrowed("file"),
        images: None,
        reference_images: Some(Name::Borrowed("ref_images")),
        mask: None,
        mask_repaints: Repaints::White,
        steps: None,
        ignores: &[],
    },
    inpainting: Route {
        path: Name::Borrowed("images/inpainting"),
        pictures: Pictures::Files,
        image: Name::Borrowed("image"),
        images: None,
        reference_images: None,
        mask: Some(Name::Borrowed("mask")),
        mask_repaints: Repaints::White,
        steps: Some(Name::Borrowed("steps")),
        ignores: &[Wish::Seed, Wish::NegativePrompt],
    },
    outputs: &[],
    reads: &[ImageFormat::Png, ImageFormat::Jpeg],
    seeds_count_up: false,
    max_count: Some(1),
};

/// <https://github.com/leejet/stable-diffusion.cpp/blob/master/examples/server/api.md>: whatever the Images API does not
/// know goes as JSON into the prompt.
pub(super) static SD_CPP: Dialect = Dialect {
    sends_model: false,
    places: Places {
        seed: Place::Extra(&["seed"]),
        negative_prompt: Place::Extra(&["negative_prompt"]),
        steps: Place::Extra(&["sample_params", "sample_steps"]),
        guidance_scale: Place::Extra(&["sample_params", "guidance", "txt_cfg"]),
        scheduler: Place::Extra(&["sample_params", "sample_method"]),
        strength: Place::Extra(&["strength"]),
        loras: Place::Extra(&["lora"]),
    },
    response_format: None,
    edits: SD_CPP_EDITS,
    inpainting: SD_CPP_EDITS,
    // WebP cannot be asked for in an edit.
    outputs: &[ImageFormat::Png, ImageFormat::Jpeg],
    reads: &[ImageFormat::Png, ImageFormat::Jpeg],
    seeds_count_up: true,
    max_count: None,
};

const SD_CPP_EDITS: Route = Route { image: Name::Borrowed("image[]"), mask_repaints: Repaints::White, ..EDITS };

impl DialectName {
    /// The row of the table; another Easel does not speak the Images API.
    pub(super) fn images_api(self) -> Option<&'static Dialect> {
        match self {
            Self::OpenAi => Some(&OPENAI),
            Self::LocalAi => Some(&LOCAL_AI),
            Self::SdCpp => Some(&SD_CPP),
            Self::Easel => None,
        }
    }
}

impl Place {
    /// Whether a wish goes anywhere.
    pub(super) fn is_somewhere(&self) -> bool {
        *self != Self::Nowhere
    }
}

impl Route {
    /// Whether more than one picture can be sent.
    pub(super) fn takes_several(&self) -> bool {
        self.images.is_some() || self.reference_images.is_some()
    }
}
