//! What the vendor's models take, as a table: sizes, counts, files, and the values of the fields that a configuration
//! may fix. A model that stands here is never sent what it refuses; one that does not is sent what is declared.
//! <https://platform.openai.com/docs/api-reference/images>

use std::num::NonZeroU32;

use serde_json::{Map, Value};

use crate::generation::{ImageFormat, ImageSize, Limits};

/// The rules of one family of models.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Rules {
    /// The names of its models; a name with a hyphen and more behind it is one of them, too.
    names: &'static [&'static str],
    /// The only sizes; empty: any size of the newer models' form.
    sizes: &'static [(u32, u32)],
    /// Whether any size is made that is large enough and not too slim.
    any_size: bool,
    /// Pictures in one call.
    max_count: u32,
    /// Characters of a prompt.
    pub prompt_chars: usize,
    /// Pictures that an edit takes, the first one included; 0: there are no edits.
    pub max_pictures: u32,
    /// Whether previews can be streamed.
    pub streams: bool,
    /// Whether `response_format` is taken; otherwise the answer is base64 in any case.
    pub takes_response_format: bool,
    /// What `output_format` may be; empty: the field is refused.
    pub outputs: &'static [ImageFormat],
    /// What files it reads.
    pub reads: &'static [ImageFormat],
    /// What `quality` may be.
    quality: &'static [&'static str],
    /// What `background` may be; empty: the field is refused.
    background: &'static [&'static str],
    /// What `input_fidelity` may be; empty: the field is refused.
    input_fidelity: &'static [&'static str],
    /// What `moderation` may be; empty: the field is refused.
    moderation: &'static [&'static str],
    /// What `style` may be; empty: the field is refused.
    style: &'static [&'static str],
}

/// Most previews of a picture.
pub(super) const MAX_PARTIAL_IMAGES: u8 = 3;

const ALL: &[ImageFormat] = &[ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Webp];
const SHADES: &[&str] = &["transparent", "opaque", "auto"];
const QUALITIES: &[&str] = &["low", "medium", "high", "auto"];
const NEWER_QUALITIES: &[&str] = &["low", "medium", "high", "xhigh", "max", "auto"];

/// What all GPT image models have in common, and all that is known of the ones to come.
const GPT_IMAGE: Rules = Rules {
    names: &["gpt-image", "chatgpt-image"],
    sizes: &[],
    any_size: false,
    max_count: 10,
    prompt_chars: 32_000,
    max_pictures: 16,
    streams: true,
    takes_response_format: false,
    outputs: ALL,
    reads: ALL,
    quality: NEWER_QUALITIES,
    background: SHADES,
    input_fidelity: &["high", "low"],
    moderation: &["auto", "low"],
    style: &[],
};

const THREE_SIZES: &[(u32, u32)] = &[(1024, 1024), (1536, 1024), (1024, 1536)];

/// The more specific name wins.
static TABLE: &[Rules] = &[
    GPT_IMAGE,
    Rules { names: &["gpt-image-1", "gpt-image-1.5"], sizes: THREE_SIZES, quality: QUALITIES, ..GPT_IMAGE },
    Rules {
        names: &["gpt-image-1-mini"],
        sizes: THREE_SIZES,
        quality: QUALITIES,
        input_fidelity: &["low"],
        ..GPT_IMAGE
    },
    Rules {
        names: &["gpt-image-2"],
        any_size: true,
        quality: QUALITIES,
        // It makes no transparent ones.
        background: &["opaque", "auto"],
        input_fidelity: &[],
        ..GPT_IMAGE
    },
    Rules {
        names: &["gpt-image-2.5", "gpt-image-2.6", "chatgpt-image-latest"],
        any_size: true,
        input_fidelity: &[],
        ..GPT_IMAGE
    },
    Rules {
        names: &["dall-e-3"],
        sizes: &[(1024, 1024), (1792, 1024), (1024, 1792)],
        max_count: 1,
        prompt_chars: 4000,
        max_pictures: 0,
        streams: false,
        takes_response_format: true,
        outputs: &[],
        quality: &["standard", "hd"],
        background: &[],
        input_fidelity: &[],
        moderation: &[],
        style: &["vivid", "natural"],
        ..GPT_IMAGE
    },
    Rules {
        names: &["dall-e-2"],
        sizes: &[(256, 256), (512, 512), (1024, 1024)],
        prompt_chars: 1000,
        max_pictures: 1,
        streams: false,
        takes_response_format: true,
        outputs: &[],
        reads: &[ImageFormat::Png],
        quality: &["standard"],
        background: &[],
        input_fidelity: &[],
        moderation: &[],
        ..GPT_IMAGE
    },
];

impl Rules {
    /// The rules of the model of this name, which may have a maker before it (`openai/gpt-image-2`).
    pub(super) fn of(id: &str) -> Option<&'static Self> {
        let id = id.rsplit('/').next().unwrap_or(id);
        let fits = |name: &&&str| id.strip_prefix(**name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'));
        let rows = TABLE.iter().flat_map(|rules| rules.names.iter().map(move |name| (name, rules)));
        let fitting = rows.filter(|(name, _)| fits(name));
        fitting.max_by_key(|(name, _)| name.len()).map(|(_, rules)| rules)
    }

    /// How far its models go.
    pub(super) fn limits(&self) -> Limits {
        let (min_pixels, max_pixels) = (655_360, 8_294_400);
        let sizes = self.sizes.iter().filter_map(|(width, height)| ImageSize::new(*width, *height)).collect();
        let limits = Limits {
            max_count: NonZeroU32::new(self.max_count),
            sizes,
            max_reference_images: Some(self.max_pictures),
            ..Limits::default()
        };
        if !self.any_size {
            return limits;
        }
        Limits {
            size_multiple: NonZeroU32::new(16),
            max_side: Some(3840),
            min_pixels: Some(min_pixels),
            max_pixels: Some(max_pixels),
            max_ratio: NonZeroU32::new(3),
            ..limits
        }
    }

    /// What is wrong with a field that the configuration fixes, if anything is.
    pub(super) fn refusal(&self, name: &str, value: &Value) -> Option<String> {
        let allowed = match name {
            "quality" => self.quality,
            "background" => self.background,
            "input_fidelity" => self.input_fidelity,
            "moderation" => self.moderation,
            "style" => self.style,
            "output_format" => {
                let known = value.as_str().is_some_and(|value| self.outputs.iter().any(|known| word(*known) == value));
                let names: Vec<_> = self.outputs.iter().map(|known| word(*known)).collect();
                return (!known).then(|| refused(name, &names));
            }
            "output_compression" => {
                let fits = value.as_u64().is_some_and(|value| value <= 100) && !self.outputs.is_empty();
                return (!fits).then(|| format!("`{name}` is not what the model takes: it takes 0 to 100, if any"));
            }
            "response_format" => return Some("`response_format` has a key of its own".to_owned()),
            _ => return None,
        };
        let known = value.as_str().is_some_and(|value| allowed.contains(&value));
        (!known).then(|| refused(name, allowed))
    }

    /// Takes out of the fields that a configuration fixes what this very request does not take.
    pub(super) fn trim(fields: &mut Map<String, Value>, is_edit: bool) {
        let not_here: &[&str] = if is_edit { &["moderation", "style"] } else { &["input_fidelity"] };
        fields.retain(|name, _| !not_here.contains(&name.as_str()));
    }
}

fn refused(name: &str, allowed: &[&str]) -> String {
    if allowed.is_empty() {
        return format!("`{name}` is not taken by the model");
    }
    format!("`{name}` is not what the model takes: it takes {}", allowed.join(", "))
}

/// The format as `output_format` spells it.
pub(super) fn word(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "png",
        ImageFormat::Jpeg => "jpeg",
        ImageFormat::Webp => "webp",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(id: &str) -> &'static Rules {
        Rules::of(id).unwrap()
    }

    #[test]
    fn each_model_finds_its_row() {
        for (id, first) in [
            ("gpt-image-1", "gpt-image-1"),
            ("gpt-image-1.5-2025-12-16", "gpt-image-1"),
            ("gpt-image-1-mini", "gpt-image-1-mini"),
            ("gpt-image-2-2026-04-21", "gpt-image-2"),
            ("openai/gpt-image-2", "gpt-image-2"),
            ("gpt-image-2.5-flare-2026-09-08", "gpt-image-2.5"),
            ("gpt-image-2.6-sunburst", "gpt-image-2.5"),
            ("chatgpt-image-latest", "gpt-image-2.5"),
            ("chatgpt-image-2", "gpt-image"),
            ("gpt-image-9", "gpt-image"),
            ("dall-e-3", "dall-e-3"),
        ] {
            assert_eq!(rules(id).names[0], first, "{id}");
        }
        for id in ["", "gpt-4", "gpt-imagery", "dall-e-30", "flux", "dall-e-3/other"] {
            assert_eq!(Rules::of(id), None, "{id}");
        }
    }

    #[test]
    fn each_row_knows_its_sizes() {
        let limits = rules("gpt-image-1.5").limits();
        let sizes: Vec<_> = limits.sizes.iter().map(ToString::to_string).collect();
        assert_eq!(sizes, ["1024x1024", "1536x1024", "1024x1536"]);
        assert_eq!((limits.max_count, limits.max_reference_images), (NonZeroU32::new(10), Some(16)));
        let limits = rules("gpt-image-2").limits();
        assert!(limits.sizes.is_empty());
        assert_eq!(
            (limits.max_side, limits.min_pixels, limits.max_pixels),
            (Some(3840), Some(655_360), Some(8_294_400))
        );
        assert_eq!((limits.size_multiple, limits.max_ratio), (NonZeroU32::new(16), NonZeroU32::new(3)));
        let limits = rules("dall-e-3").limits();
        assert_eq!((limits.max_count, limits.max_reference_images), (NonZeroU32::new(1), Some(0)));
    }

    #[test]
    fn what_a_model_does_not_take_is_told() {
        let cases = [
            ("gpt-image-1.5", "quality", json!("high"), None),
            ("gpt-image-1.5", "quality", json!("hd"), Some("it takes low, medium, high, auto")),
            ("gpt-image-1.5", "quality", json!("max"), Some("it takes low, medium, high, auto")),
            ("gpt-image-2.5-flare", "quality", json!("max"), None),
            ("dall-e-3", "quality", json!("hd"), None),
            ("gpt-image-1", "background", json!("transparent"), None),
            ("gpt-image-2", "background", json!("transparent"), Some("it takes opaque, auto")),
            ("gpt-image-1", "input_fidelity", json!("high"), None),
            ("gpt-image-1-mini", "input_fidelity", json!("high"), Some("it takes low")),
            ("gpt-image-2", "input_fidelity", json!("low"), Some("`input_fidelity` is not taken by the model")),
            ("gpt-image-1", "moderation", json!("none"), Some("it takes auto, low")),
            ("gpt-image-1", "output_format", json!("gif"), Some("it takes png, jpeg, webp")),
            ("gpt-image-1", "output_compression", json!(101), Some("it takes 0 to 100, if any")),
            ("gpt-image-1", "response_format", json!("b64_json"), Some("has a key of its own")),
            ("gpt-image-1", "style", json!("vivid"), Some("`style` is not taken by the model")),
            ("dall-e-3", "style", json!("vivid"), None),
            ("dall-e-3", "output_format", json!("png"), Some("`output_format` is not taken by the model")),
            ("gpt-image-2", "user", json!("me"), None),
        ];
        for (id, name, value, expected) in cases {
            let said = rules(id).refusal(name, &value);
            match expected {
                None => assert_eq!(said, None, "{id} {name} {value}"),
                Some(end) => assert!(said.as_ref().is_some_and(|said| said.ends_with(end)), "{id} {name}: {said:?}"),
            }
        }
    }
}
