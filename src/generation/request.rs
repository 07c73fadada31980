//! What is asked for, in the shape that it keeps from the left edge to a provider.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{AspectRatio, ImageFormat, ImageSize, Lora, SourceImage, Via};

/// A request for pictures, already checked: every value in it can be.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRequest {
    /// What the pictures show; not blank.
    pub prompt: String,
    /// What they must not show. Absent and empty differ for local models.
    pub negative_prompt: Option<String>,
    /// Which provider and model were named.
    pub target: Target,
    /// What the caller said about falling back; absent: automatic when nothing was named, never when something was.
    pub fallback: Option<FallbackPolicy>,
    /// How many pictures.
    pub count: NonZeroU32,
    /// How large.
    pub size: SizeWish,
    /// Picture `i` uses `seed + i`; absent: the provider draws.
    pub seed: Option<Seed>,
    /// Denoising steps.
    pub steps: Option<NonZeroU32>,
    /// Classifier-free guidance; finite, not negative.
    pub guidance_scale: Option<f64>,
    /// A scheduler by its name.
    pub scheduler: Option<String>,
    /// The picture to start from.
    pub image: Option<SourceImage>,
    /// What of it is repainted: white; black stays. As large as `image`, and never without it.
    pub mask: Option<SourceImage>,
    /// Pictures to look at.
    pub reference_images: Vec<SourceImage>,
    /// How far from `image` to go, from 0 to 1; never without `image`.
    pub strength: Option<f64>,
    /// Adapters, in order.
    pub loras: Vec<Lora>,
    /// Soft wishes become hard.
    pub strict: bool,
    /// The file format of the answer; absent: as the provider made it.
    pub output_format: Option<ImageFormat>,
    /// How good a lossy file is, from 1 to 100; absent: what is usual for the format.
    pub output_quality: Option<u8>,
    /// Whether the parameters are written into the file.
    pub embed_parameters: bool,
    /// How many previews of each picture are wished for, where they can be had.
    pub partial_images: u8,
    /// What the cache may do.
    pub cache: CacheWish,
    /// What becomes of the work when the caller leaves; absent: as the provider's policy says.
    pub on_disconnect: Option<OnDisconnect>,
    /// The caller's own time limit for the whole chain.
    pub timeout: Option<Duration>,
    /// The Easels that it has come through, this one included.
    pub via: Via,
}

/// What the cache may do for a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CacheWish {
    /// Replay pictures of the very same request if it has a seed, and keep them.
    #[default]
    Auto,
    /// The same without a seed: any earlier pictures of the request will do.
    Any,
    /// Neither look nor keep.
    Never,
}

/// What becomes of work that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It is given up.
    Cancel,
    /// It is finished and kept, because leaving it would not save anything.
    Finish,
}

/// What a request names: either, both or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// A provider's id or alias, as the caller wrote it.
    pub provider: Option<String>,
    /// A model key, `provider/key`, or an alias, as the caller wrote it.
    pub model: Option<String>,
}

/// Whether the next candidate is tried when one fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackPolicy {
    /// It is.
    Auto,
    /// What was named or nothing.
    Never,
}

/// The wished size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SizeWish {
    /// The model's own.
    ModelDefault,
    /// This size exactly: a hard wish.
    Exact(ImageSize),
    /// The provider's nearest size to this ratio.
    Aspect(AspectRatio),
}

/// A seed from 0 to 2^53-1, so that every JSON reader keeps it whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seed(u64);

impl GenerationRequest {
    /// A request for one picture of `prompt` that names nothing and wishes for nothing.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self {
            prompt: prompt.into(),
            negative_prompt: None,
            target: Target::default(),
            fallback: None,
            count: NonZeroU32::MIN,
            size: SizeWish::ModelDefault,
            seed: None,
            steps: None,
            guidance_scale: None,
            scheduler: None,
            image: None,
            mask: None,
            reference_images: Vec::new(),
            strength: None,
            loras: Vec::new(),
            strict: false,
            output_format: None,
            output_quality: None,
            embed_parameters: false,
            partial_images: 0,
            cache: CacheWish::Auto,
            on_disconnect: None,
            timeout: None,
            via: Via::default(),
        }
    }
}

impl From<u32> for Seed {
    fn from(value: u32) -> Self {
        Self(value.into())
    }
}

impl Seed {
    /// The largest seed.
    pub const MAX: u64 = (1 << 53) - 1;

    /// A seed; `None` above [`Self::MAX`].
    pub fn new(value: u64) -> Option<Self> {
        (value <= Self::MAX).then_some(Self(value))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The seed of picture `index` of a request: `self + index`, starting over at 0 past [`Self::MAX`].
    #[must_use]
    pub fn offset(self, index: u32) -> Self {
        Self((self.0 + u64::from(index)) & Self::MAX)
    }
}
