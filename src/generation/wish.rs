//! What a caller may wish for beyond the prompt.

/// A wish by the request field that carries it.
///
/// *Hard* wishes are honoured or the candidate is skipped. *Soft* ones are passed where understood and otherwise
/// named in the answer's `ignored`; `strict` makes them hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wish {
    /// `n`.
    Count,
    /// `width`, `height` or `size`.
    Size,
    /// `aspect_ratio`; the nearest size of the provider will do.
    AspectRatio,
    /// `seed`.
    Seed,
    /// `negative_prompt`.
    NegativePrompt,
    /// `steps`.
    Steps,
    /// `guidance_scale`.
    GuidanceScale,
    /// `scheduler`.
    Scheduler,
    /// `strength`.
    Strength,
    /// `image`.
    Image,
    /// `mask`.
    Mask,
    /// `reference_images`.
    ReferenceImages,
    /// `loras`.
    Loras,
}

impl Wish {
    /// The request field.
    pub fn field(self) -> &'static str {
        match self {
            Self::Count => "n",
            Self::Size => "size",
            Self::AspectRatio => "aspect_ratio",
            Self::Seed => "seed",
            Self::NegativePrompt => "negative_prompt",
            Self::Steps => "steps",
            Self::GuidanceScale => "guidance_scale",
            Self::Scheduler => "scheduler",
            Self::Strength => "strength",
            Self::Image => "image",
            Self::Mask => "mask",
            Self::ReferenceImages => "reference_images",
            Self::Loras => "loras",
        }
    }

    /// Whether a candidate that cannot honour the wish may be used all the same.
    pub fn is_soft(self) -> bool {
        match self {
            Self::Seed
            | Self::NegativePrompt
            | Self::Steps
            | Self::GuidanceScale
            | Self::Scheduler
            | Self::Strength => true,
            Self::Count
            | Self::Size
            | Self::AspectRatio
            | Self::Image
            | Self::Mask
            | Self::ReferenceImages
            | Self::Loras => false,
        }
    }
}
