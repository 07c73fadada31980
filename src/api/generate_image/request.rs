//! The body of `POST /api/generate-image`, and how it becomes a [`GenerationRequest`].

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use utoipa::ToSchema;

use super::form::{Form, ResponseFormatField};
use super::pictures::GivenPictures;
use crate::api::error::{ApiError, Code};
use crate::api::fields::{Unread, Whole, invalid};
use crate::api::state::Bounds;
use crate::generation::{
    AspectRatio, CacheWish, FallbackPolicy, GenerationRequest, ImageFormat, ImageSize, Lora, OnDisconnect, Seed,
    SizeWish, Target,
};

/// The longest side that anything is asked for, whatever a provider could do.
const MAX_SIDE: i64 = 16384;

/// Most adapters in one request.
const MAX_LORAS: usize = 16;

/// What is wished for. `null` is the same as leaving a field out. `controlnets`, which is not in this build, answers 422
/// `unsupported` when it holds something.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct GenerateImageRequest {
    /// What the pictures show.
    #[schema(min_length = 1, max_length = 32000)]
    prompt: String,
    /// What they must not show.
    #[schema(max_length = 32000)]
    negative_prompt: Option<String>,
    /// A provider's id or alias.
    #[schema(max_length = 256)]
    provider: Option<String>,
    /// A model key, `provider/key`, or an alias.
    #[schema(max_length = 256)]
    model: Option<String>,
    /// Whether the next provider is tried when one fails. Absent: `auto` when neither a provider nor a model is
    /// named, else `never`.
    fallback: Option<FallbackField>,
    /// How many pictures. Default 1; `[limits] max_images` sets the most.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 10)]
    n: Option<Whole>,
    /// Pixels across; with `height`. Default: the model's. A hard wish.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 16384)]
    width: Option<Whole>,
    /// Pixels down; with `width`.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 16384)]
    height: Option<Whole>,
    /// `width` and `height` in one, such as `1024x1024`.
    #[schema(pattern = "^[0-9]{1,5}x[0-9]{1,5}$")]
    size: Option<String>,
    /// Such as `16:9`: the provider's nearest size.
    #[schema(pattern = "^[0-9]{1,3}:[0-9]{1,3}$")]
    aspect_ratio: Option<String>,
    /// From 0; picture i uses seed + i. Absent or -1: the provider draws one.
    #[schema(value_type = Option<i64>, minimum = -1, maximum = 9_007_199_254_740_991_i64)]
    seed: Option<Whole>,
    /// Denoising steps. Default: the model's.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1000)]
    steps: Option<Whole>,
    /// Classifier-free guidance. Default: the model's.
    #[schema(minimum = 0, maximum = 100)]
    guidance_scale: Option<f64>,
    /// A scheduler by its name. Default: the model's.
    #[schema(min_length = 1, max_length = 64)]
    scheduler: Option<String>,
    /// How far from `image` to go: 0 keeps it, 1 forgets it. Default: the model's. Needs `image`.
    #[schema(minimum = 0, maximum = 1)]
    strength: Option<f64>,
    /// Soft wishes (`seed`, `negative_prompt`, `steps`, `guidance_scale`, `scheduler`, `strength`) are honoured or the provider is passed
    /// over. Default false.
    strict: Option<bool>,
    /// The picture to start from: a data URI, base64, or an address that is fetched safely. A hard wish. Without a
    /// size, the answer is as large as it, or as near to it as the model comes.
    #[schema(min_length = 1)]
    image: Option<String>,
    /// What of `image` is repainted: white; black stays. As large as `image`; spelled like it.
    #[schema(min_length = 1)]
    mask: Option<String>,
    /// Pictures to look at; each spelled like `image`.
    #[schema(max_items = 16)]
    reference_images: Option<Vec<String>>,
    /// Adapters, by the names that the provider knows.
    #[schema(max_items = 16)]
    loras: Option<Vec<LoraField>>,
    /// Not in this build; an empty list is fine.
    #[schema(value_type = Option<Vec<Object>>)]
    controlnets: Option<Unread>,
    /// The file format of the pictures. Absent: as the provider made them.
    output_format: Option<FormatField>,
    /// How good a JPEG or WebP is, where it is Easel or the provider who encodes it; 100 is lossless in WebP.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 100)]
    output_quality: Option<Whole>,
    /// Whether the parameters are written into the file, as web UIs for Stable Diffusion do. Default false.
    embed_parameters: Option<bool>,
    /// How the pictures come: in the answer as base64 (`b64_json`, the default), or as addresses where whoever has them
    /// can fetch them for a while (`url`).
    response_format: Option<ResponseFormatField>,
    /// Whether the answer comes as events while it is made (`text/event-stream`). Not with an `Idempotency-Key`. Default
    /// false.
    stream: Option<bool>,
    /// Previews of each picture, where its provider has any; with `stream`. Default 0.
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 3)]
    partial_images: Option<Whole>,
    /// What may be done with pictures of the same request. `auto` (the default): with a `seed`, those that are kept or
    /// under way are taken, and new ones are kept. `any`: the same without a seed, whatever pictures there are. `never`:
    /// neither.
    cache: Option<CacheField>,
    /// What becomes of the work when the client leaves and nobody else waits for it: it is given up (`cancel`), or
    /// finished and kept where `cache` allows (`finish`). Absent: as the provider's policy says.
    on_disconnect: Option<OnDisconnectField>,
    /// The caller's own limit for the whole request in milliseconds; the process has its own, too.
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3_600_000)]
    timeout_ms: Option<Whole>,
}

/// One of `loras`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct LoraField {
    /// Its name.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// How strongly it acts; 1 is as trained. Default 1.
    #[schema(minimum = -10, maximum = 10)]
    weight: Option<f64>,
}

/// `fallback`
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FallbackField {
    Auto,
    Never,
}

/// `output_format`
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum FormatField {
    Png,
    Jpeg,
    Webp,
}

/// `cache`
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CacheField {
    Auto,
    Any,
    Never,
}

/// `on_disconnect`
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OnDisconnectField {
    Cancel,
    Finish,
}

/// A request that has been checked.
pub(super) struct Checked {
    pub(super) request: GenerationRequest,
    /// The pictures that come with it, not read yet.
    pub(super) given: GivenPictures,
    pub(super) form: Form,
}

impl GenerateImageRequest {
    /// Checks everything that does not depend on a provider.
    pub(super) fn check(mut self, bounds: &Bounds) -> Result<Checked, ApiError> {
        self.refuse_unsupported()?;
        let form = Form::of(self.response_format, self.stream);
        let size = self.size_wish()?;
        check_text("prompt", &self.prompt, bounds.max_prompt_chars)?;
        if self.prompt.trim().is_empty() {
            return Err(invalid("prompt", "more than blank"));
        }
        if let Some(text) = &self.negative_prompt {
            check_text("negative_prompt", text, bounds.max_prompt_chars)?;
        }
        for (field, name) in [("provider", &self.provider), ("model", &self.model), ("scheduler", &self.scheduler)] {
            if name.as_ref().is_some_and(|name| name.trim().is_empty() || name.len() > 256) {
                return Err(invalid(field, "a name of 1 to 256 bytes"));
            }
        }
        if self.guidance_scale.is_some_and(|scale| !(0.0..=100.0).contains(&scale)) {
            return Err(invalid("guidance_scale", "from 0 to 100"));
        }
        let given = self.given_pictures(bounds)?;
        let loras = self.loras()?;
        let count = positive("n", self.n, i64::from(bounds.max_images))?.unwrap_or(NonZeroU32::MIN);
        let timeout = positive("timeout_ms", self.timeout_ms, 3_600_000)?;
        let quality = positive("output_quality", self.output_quality, 100)?;
        let partial_images = form.previews(self.partial_images)?;
        let request = GenerationRequest {
            negative_prompt: self.negative_prompt,
            target: Target { provider: self.provider, model: self.model },
            fallback: self.fallback.map(FallbackField::policy),
            count,
            size,
            seed: seed(self.seed)?,
            steps: positive("steps", self.steps, 1000)?,
            guidance_scale: self.guidance_scale,
            scheduler: self.scheduler,
            strict: self.strict.unwrap_or(false),
            output_format: self.output_format.map(FormatField::format),
            cache: self.cache.map_or(CacheWish::Auto, CacheField::wish),
            on_disconnect: self.on_disconnect.map(OnDisconnectField::wish),
            timeout: timeout.map(|milliseconds| Duration::from_millis(milliseconds.get().into())),
            loras,
            strength: self.strength,
            output_quality: quality.and_then(|quality| u8::try_from(quality.get()).ok()),
            embed_parameters: self.embed_parameters.unwrap_or(false),
            partial_images,
            ..GenerationRequest::new(self.prompt)
        };
        Ok(Checked { request, given, form })
    }

    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        if self.controlnets == Some(Unread::Given) {
            let detail = "this build does not support `controlnets` yet with what was sent";
            return Err(ApiError::new(Code::Unsupported, detail, "leave `controlnets` out").with_field("controlnets"));
        }
        Ok(())
    }

    /// The pictures as they were written, to be read when all else is in order.
    fn given_pictures(&mut self, bounds: &Bounds) -> Result<GivenPictures, ApiError> {
        let reference_images = self.reference_images.take().unwrap_or_default();
        let most = bounds.max_reference_images;
        if reference_images.len() > most {
            return Err(invalid("reference_images", &format!("a list of at most {most}")));
        }
        let given = GivenPictures { image: self.image.take(), mask: self.mask.take(), reference_images };
        let needs_image = [("mask", given.mask.is_some()), ("strength", self.strength.is_some())];
        if let Some((field, _)) = needs_image.iter().find(|(_, wished)| *wished && given.image.is_none()) {
            let detail = format!("`{field}` is about `image`, which is missing");
            return Err(ApiError::new(Code::MissingField, detail, "send `image`, too").with_field("image"));
        }
        if self.strength.is_some_and(|strength| !(0.0..=1.0).contains(&strength)) {
            return Err(invalid("strength", "from 0 to 1"));
        }
        Ok(given)
    }

    fn loras(&mut self) -> Result<Vec<Lora>, ApiError> {
        let given = self.loras.take().unwrap_or_default();
        if given.len() > MAX_LORAS {
            return Err(invalid("loras", &format!("a list of at most {MAX_LORAS}")));
        }
        let one = |(index, field): (usize, LoraField)| {
            if field.name.trim().is_empty() || field.name.len() > 256 {
                return Err(invalid(&format!("loras[{index}].name"), "a name of 1 to 256 bytes"));
            }
            let weight = field.weight.unwrap_or(1.0);
            if !(-10.0..=10.0).contains(&weight) {
                return Err(invalid(&format!("loras[{index}].weight"), "from -10 to 10"));
            }
            Ok(Lora { name: field.name, weight })
        };
        given.into_iter().enumerate().map(one).collect()
    }

    fn size_wish(&self) -> Result<SizeWish, ApiError> {
        let sides = (side("width", self.width)?, side("height", self.height)?);
        let named = [
            ("width and height", sides.0.is_some() || sides.1.is_some()),
            ("size", self.size.is_some()),
            ("aspect_ratio", self.aspect_ratio.is_some()),
        ];
        let given: Vec<&str> = named.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        if given.len() > 1 {
            let detail = format!("{} say the same thing twice", given.join(" and "));
            return Err(ApiError::new(Code::ConflictingFields, detail, "send one of them"));
        }
        match sides {
            (Some(width), Some(height)) => return Ok(SizeWish::Exact(ImageSize { width, height })),
            (Some(_), None) => return Err(half_a_size("height")),
            (None, Some(_)) => return Err(half_a_size("width")),
            (None, None) => {}
        }
        if let Some(text) = &self.size {
            let size: Option<ImageSize> = text.parse().ok();
            let fits = |size: &ImageSize| i64::from(size.width.get().max(size.height.get())) <= MAX_SIDE;
            let must = "two sides from 1 to 16384, such as \"1024x1024\"";
            return size.filter(fits).map(SizeWish::Exact).ok_or_else(|| invalid("size", must));
        }
        let Some(text) = &self.aspect_ratio else { return Ok(SizeWish::ModelDefault) };
        let ratio: Option<AspectRatio> = text.parse().ok();
        let sane = |ratio: &AspectRatio| {
            let (width, height) = (ratio.width.get(), ratio.height.get());
            width.max(height) <= 999 && width <= height * 16 && height <= width * 16
        };
        let must = "a ratio such as \"16:9\", no slimmer than 1:16";
        ratio.filter(sane).map(SizeWish::Aspect).ok_or_else(|| invalid("aspect_ratio", must))
    }
}

impl FallbackField {
    fn policy(self) -> FallbackPolicy {
        match self {
            Self::Auto => FallbackPolicy::Auto,
            Self::Never => FallbackPolicy::Never,
        }
    }
}

impl CacheField {
    fn wish(self) -> CacheWish {
        match self {
            Self::Auto => CacheWish::Auto,
            Self::Any => CacheWish::Any,
            Self::Never => CacheWish::Never,
        }
    }
}

impl OnDisconnectField {
    fn wish(self) -> OnDisconnect {
        match self {
            Self::Cancel => OnDisconnect::Cancel,
            Self::Finish => OnDisconnect::Finish,
        }
    }
}

impl FormatField {
    fn format(self) -> ImageFormat {
        match self {
            Self::Png => ImageFormat::Png,
            Self::Jpeg => ImageFormat::Jpeg,
            Self::Webp => ImageFormat::Webp,
        }
    }
}

fn half_a_size(missing: &str) -> ApiError {
    let detail = format!("`{missing}` is missing: width and height come together");
    ApiError::new(Code::MissingField, detail, format!("send `{missing}`, or `size` for both")).with_field(missing)
}

fn check_text(field: &str, text: &str, most: usize) -> Result<(), ApiError> {
    if text.len() > most && text.chars().count() > most {
        return Err(invalid(field, &format!("at most {most} characters")));
    }
    if text.contains('\0') { Err(invalid(field, "free of NUL characters")) } else { Ok(()) }
}

fn side(field: &str, value: Option<Whole>) -> Result<Option<NonZeroU32>, ApiError> {
    positive(field, value, MAX_SIDE)
}

fn positive(field: &str, value: Option<Whole>, most: i64) -> Result<Option<NonZeroU32>, ApiError> {
    let Some(Whole(value)) = value else { return Ok(None) };
    let number = u32::try_from(value).ok().and_then(NonZeroU32::new).filter(|_| value <= most);
    number.map(Some).ok_or_else(|| invalid(field, &format!("from 1 to {most}")))
}

fn seed(value: Option<Whole>) -> Result<Option<Seed>, ApiError> {
    match value {
        None | Some(Whole(-1)) => Ok(None),
        Some(Whole(value)) => u64::try_from(value)
            .ok()
            .and_then(Seed::new)
            .map(Some)
            .ok_or_else(|| invalid("seed", "from 0 to 9007199254740991, or -1 for any")),
    }
}
