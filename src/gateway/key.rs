//! What makes two requests the same: digests over everything that shapes the pictures, and over everything that was said.
//!
//! Pure. A field that is added to [`GenerationRequest`] does not compile here until it was decided what it is.

use sha2::{Digest as _, Sha256};

use crate::generation::{
    CacheWish, FallbackPolicy, GenerationRequest, ImageFormat, Lora, ModelId, OnDisconnect, SizeWish, SourceImage,
};

/// Raised when what is digested, or how, changes its meaning.
const VERSION: u64 = 1;

/// Who shares pictures with whom: what one scope has made is never shown to another. It has no default, so that
/// nobody shares by accident.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    name: String,
    once: Option<[u8; 32]>,
}

impl Scope {
    /// All callers share, as where there is nobody to tell apart.
    pub fn everybody() -> Self {
        Self { name: String::new(), once: None }
    }

    /// Only this caller's own requests share.
    pub fn of(caller: &str) -> Self {
        Self { name: format!("caller {caller}"), once: None }
    }

    /// The request is one that its caller may send again (by an idempotency key, say): what was finished although the
    /// caller had left is for the next request of this name, with a seed or without.
    #[must_use]
    pub fn once(mut self, name: [u8; 32]) -> Self {
        self.once = Some(name);
        self
    }
}

/// The identity of finished pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

/// What of the finished pictures is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keep {
    /// They are, for the same request again.
    Always,
    /// Only if nobody was there to take them.
    Unclaimed,
    /// Nothing.
    Never,
}

/// One request's part of its keys: computed once, used for each of its candidates.
#[derive(Debug, Clone)]
pub(super) struct Sharing {
    /// The digest of what shapes the pictures; `None` where the request is shared with no other.
    pictures: Option<[u8; 32]>,
    scope: Scope,
    pub keep: Keep,
}

impl Sharing {
    /// What `request` allows: with a seed the very same pictures are meant, `any` takes whatever there is, and without
    /// either everybody gets pictures of their own.
    pub(super) fn of(request: &GenerationRequest, scope: &Scope) -> Self {
        let replayed = match request.cache {
            CacheWish::Never => return Self { pictures: None, scope: scope.clone(), keep: Keep::Never },
            CacheWish::Any => true,
            CacheWish::Auto => request.seed.is_some(),
        };
        let mut scope = scope.clone();
        if replayed {
            scope.once = None;
        }
        let keep = if replayed {
            Keep::Always
        } else if scope.once.is_some() {
            Keep::Unclaimed
        } else {
            return Self { pictures: None, scope, keep: Keep::Never };
        };
        Self { pictures: Some(pictures(request)), scope, keep }
    }

    /// The key of what `model` makes of the request; `digest` is the content of the model, where it is known.
    pub(super) fn key(&self, model: &ModelId, digest: Option<&str>) -> Option<Key> {
        let mut ink = Ink::new("key");
        ink.bytes(self.scope.name.as_bytes());
        ink.maybe(self.scope.once.as_ref(), |ink, once| ink.bytes(once));
        ink.bytes(model.provider.as_str().as_bytes());
        ink.bytes(model.key.as_str().as_bytes());
        ink.maybe(digest, |ink, digest| ink.bytes(digest.as_bytes()));
        ink.bytes(&self.pictures?);
        Some(Key(ink.dry()))
    }
}

/// The identity of all that a request says, how it wants to be treated included, and of what is said `beside` it.
pub fn fingerprint<'a>(request: &GenerationRequest, beside: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let (pictures, circumstances) = write(request);
    let mut ink = Ink::new("request");
    ink.bytes(&pictures.dry());
    ink.bytes(&circumstances.dry());
    beside.into_iter().for_each(|text| ink.text(text));
    ink.dry()
}

/// The identity of what shapes the pictures, and of the way that the request has come: else two Easels that name each
/// other, and are asked for the same picture at once, would wait for one another.
fn pictures(request: &GenerationRequest) -> [u8; 32] {
    let mut ink = write(request).0;
    ink.text(&request.via.to_string());
    ink.dry()
}

/// Writes what shapes the pictures into the first digest and all the rest into the second.
fn write(request: &GenerationRequest) -> (Ink, Ink) {
    let GenerationRequest {
        prompt,
        negative_prompt,
        count,
        size,
        seed,
        steps,
        guidance_scale,
        scheduler,
        image,
        mask,
        reference_images,
        strength,
        loras,
        strict,
        output_format,
        output_quality,
        embed_parameters,
        // Who makes the pictures stands in the key as what the names were resolved to.
        target,
        // The rest says how the request is treated, not what it is.
        fallback,
        partial_images,
        cache,
        on_disconnect,
        timeout,
        // It is another one after a restart of whoever sent the request on.
        via: _,
    } = request;

    let mut ink = Ink::new("pictures");
    ink.text(prompt);
    ink.maybe(negative_prompt.as_deref(), Ink::text);
    ink.number(count.get().into());
    ink.size(*size);
    ink.maybe(seed.as_ref(), |ink, seed| ink.number(seed.get()));
    ink.maybe(steps.as_ref(), |ink, steps| ink.number(steps.get().into()));
    ink.maybe(guidance_scale.as_ref(), |ink, scale| ink.float(*scale));
    ink.maybe(scheduler.as_deref(), Ink::text);
    ink.maybe(image.as_ref(), Ink::source);
    ink.maybe(mask.as_ref(), Ink::source);
    ink.number(reference_images.len() as u64);
    for reference in reference_images {
        ink.source(reference);
    }
    ink.maybe(strength.as_ref(), |ink, strength| ink.float(*strength));
    ink.number(loras.len() as u64);
    for Lora { name, weight } in loras {
        ink.text(name);
        ink.float(*weight);
    }
    ink.number((*strict).into());
    ink.maybe(output_format.as_ref(), |ink, format| ink.number(format_number(*format)));
    ink.maybe(output_quality.as_ref(), |ink, quality| ink.number((*quality).into()));
    ink.number((*embed_parameters).into());

    let mut rest = Ink::new("circumstances");
    rest.maybe(target.provider.as_deref(), Ink::text);
    rest.maybe(target.model.as_deref(), Ink::text);
    rest.maybe(fallback.as_ref(), |ink, policy| {
        ink.number(match policy {
            FallbackPolicy::Auto => 0,
            FallbackPolicy::Never => 1,
        });
    });
    rest.number((*partial_images).into());
    rest.number(match cache {
        CacheWish::Auto => 0,
        CacheWish::Any => 1,
        CacheWish::Never => 2,
    });
    rest.maybe(on_disconnect.as_ref(), |ink, wish| {
        ink.number(match wish {
            OnDisconnect::Cancel => 0,
            OnDisconnect::Finish => 1,
        });
    });
    rest.maybe(timeout.as_ref(), |ink, limit| ink.bytes(&limit.as_nanos().to_le_bytes()));
    (ink, rest)
}

fn format_number(format: ImageFormat) -> u64 {
    match format {
        ImageFormat::Png => 0,
        ImageFormat::Jpeg => 1,
        ImageFormat::Webp => 2,
    }
}

/// A digest of values in order, each so that no two lists of values read the same.
struct Ink(Sha256);

impl Ink {
    fn new(what: &str) -> Self {
        let mut ink = Self(Sha256::new());
        ink.text(what);
        ink.number(VERSION);
        ink
    }

    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn float(&mut self, number: f64) {
        // Adding zero makes one zero of the two that there are.
        self.number((number + 0.0).to_bits());
    }

    fn maybe<T: ?Sized>(&mut self, value: Option<&T>, write: impl FnOnce(&mut Self, &T)) {
        self.number(value.is_some().into());
        if let Some(value) = value {
            write(self, value);
        }
    }

    fn size(&mut self, size: SizeWish) {
        let (kind, width, height) = match size {
            SizeWish::ModelDefault => (0, 0, 0),
            SizeWish::Exact(size) => (1, size.width.get(), size.height.get()),
            SizeWish::Aspect(ratio) => (2, ratio.width.get(), ratio.height.get()),
        };
        for number in [kind, width, height] {
            self.number(number.into());
        }
    }

    /// Format and size follow from the bytes.
    fn source(&mut self, image: &SourceImage) {
        let SourceImage { bytes, format: _, size: _ } = image;
        self.bytes(bytes);
    }

    fn dry(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}
