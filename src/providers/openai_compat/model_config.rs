//! `[providers.<id>.config.models.<key>]`: one model, by its own keys, the rules of its family and its dialect.

use std::num::NonZeroU32;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Spoken;
use super::dialect::{Dialect, DialectName, Name, Place, Route};
use super::easel::{EaselModel, Fallback};
use super::request::{SizeField, WireModel};
use super::rules::Rules;
use crate::generation::{Defaults, ImageFormat, Installed, Limits, Model, ModelKey, Ratios, Support, Supports};
use crate::providers::BuildError;
use crate::providers::declared::{DeclaredLimits, DeclaredSize};

/// Whatever is absent is as the model's family and the dialect have it; what neither knows counts as supported,
/// unlimited and left to the upstream.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelConfig {
    /// Its name upstream; another Easel needs none.
    id: Option<String>,
    /// Its name for people; absent, the key.
    name: Option<String>,
    /// Other names that requests may use.
    #[serde(default)]
    aliases: Vec<String>,
    /// The model of the vendor whose rules it obeys, where its `id` does not say so (a deployment's name).
    rules: Option<String>,
    /// What is sent as `response_format`, such as `b64_json` or `url`; `none` where the field is refused.
    response_format: Option<String>,
    /// Fields that are sent with every request as they are (`quality`, `background`, …).
    #[serde(default)]
    parameters: Map<String, Value>,
    /// What the upstream calls its fields, where it is not what its dialect says.
    #[serde(default)]
    pub(super) fields: FieldNames,
    /// How sizes are written.
    size_as: Option<SizeAs>,
    /// How pictures are sent.
    edits: Option<Route>,
    /// How pictures with a mask are sent; absent: as `edits`.
    inpainting: Option<Route>,
    /// The file formats that can be asked for with `output_format`.
    output_formats: Option<Vec<Format>>,
    /// Whether previews can be streamed.
    streams: Option<bool>,
    /// How far it goes.
    #[serde(default)]
    limits: DeclaredLimits,
    /// The size that is sent when none is asked for.
    size: Option<DeclaredSize>,
    /// The steps that are sent when none are asked for.
    steps: Option<u32>,
    /// The guidance that is sent when none is asked for.
    guidance_scale: Option<f64>,
    /// The negative prompt that is sent when none is given.
    negative_prompt: Option<String>,
    /// The scheduler that is sent when none is named.
    scheduler: Option<String>,
    /// Whether `size` is sent.
    pub(super) supports_size: Option<bool>,
    /// Whether a seed is sent.
    pub(super) supports_seed: Option<bool>,
    /// Whether a negative prompt is sent.
    pub(super) supports_negative_prompt: Option<bool>,
    /// Whether steps are sent.
    pub(super) supports_steps: Option<bool>,
    /// Whether a guidance scale is sent.
    pub(super) supports_guidance_scale: Option<bool>,
    /// Whether a scheduler is sent.
    pub(super) supports_scheduler: Option<bool>,
    /// Whether a picture to start from is sent.
    pub(super) supports_image: Option<bool>,
    /// Whether a mask is sent.
    pub(super) supports_mask: Option<bool>,
    /// Whether the strength is sent.
    pub(super) supports_strength: Option<bool>,
    /// Whether pictures to look at are sent.
    pub(super) supports_reference_images: Option<bool>,
    /// Whether adapters are sent.
    pub(super) supports_loras: Option<bool>,
}

/// `fields = { … }`: names that replace the dialect's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FieldNames {
    n: Option<Name>,
    size: Option<Name>,
    width: Option<Name>,
    height: Option<Name>,
    aspect_ratio: Option<Name>,
    pub(super) seed: Option<Name>,
    pub(super) negative_prompt: Option<Name>,
    pub(super) steps: Option<Name>,
    pub(super) guidance_scale: Option<Name>,
    pub(super) scheduler: Option<Name>,
    pub(super) strength: Option<Name>,
}

/// `size_as`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SizeAs {
    /// `"1024x768"`.
    Size,
    /// Two numbers.
    WidthAndHeight,
    /// `"4:3"`; there are no sizes.
    AspectRatio,
}

/// One of `output_formats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    Png,
    Jpeg,
    Webp,
}

impl From<Format> for ImageFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Png => Self::Png,
            Format::Jpeg => Self::Jpeg,
            Format::Webp => Self::Webp,
        }
    }
}

impl ModelConfig {
    /// A model of another Easel that the other Easel chooses.
    pub(super) fn any_of_easel() -> Self {
        Self { name: Some("Whatever the other Easel chooses".to_owned()), ..Self::default() }
    }

    /// What is listed, and how it is asked.
    pub(super) fn build(
        self,
        key: &str,
        dialect: DialectName,
        fallback: Option<Fallback>,
        at: &str,
    ) -> Result<(Model, Spoken), BuildError> {
        let is_blank = |id: &String| id.trim().is_empty();
        if key.trim().is_empty() || self.id.as_ref().is_some_and(is_blank) {
            return Err(BuildError::config(at, "a model's key and id are not blank"));
        }
        match dialect.images_api() {
            Some(dialect) if self.id.is_some() || !dialect.sends_model => self.images(key, dialect, at),
            Some(_) => Err(BuildError::config(at, "missing field `id`: the model's name upstream")),
            None => self.easel(key, fallback, at),
        }
    }

    fn images(self, key: &str, dialect: &'static Dialect, at: &str) -> Result<(Model, Spoken), BuildError> {
        let rules = self.find_rules(at)?;
        self.check_parameters(rules, at)?;
        let places = self.places(&dialect.places);
        let edits = self.edits.clone().unwrap_or_else(|| dialect.edits.clone());
        let inpainting = match (&self.inpainting, &self.edits) {
            (Some(route), _) | (None, Some(route)) => route.clone(),
            (None, None) => dialect.inpainting.clone(),
        };
        let size_as = self.size_as.unwrap_or(SizeAs::Size);
        let supports = self.supports(&places, &edits, &inpainting, rules, size_as);
        let usual = Limits {
            max_count: dialect.max_count.and_then(NonZeroU32::new),
            ratios: if size_as == SizeAs::AspectRatio { Ratios::Passed } else { Ratios::Sized },
            ..rules.map(Rules::limits).unwrap_or_default()
        };
        let usual = Limits { max_count: usual.max_count.or(rules.and_then(|rules| rules.limits().max_count)), ..usual };
        let limits = self.limits.limits_over(usual, &format!("{at}.limits"))?;
        let outputs = match &self.output_formats {
            Some(formats) => formats.iter().copied().map(ImageFormat::from).collect(),
            None => rules.map_or(dialect.outputs, |rules| rules.outputs).to_vec(),
        };
        let response_format = match (&self.response_format, rules) {
            (Some(word), _) if word == "none" => None,
            (Some(word), _) => Some(Name::Owned(word.clone())),
            (None, Some(rules)) if !rules.takes_response_format => None,
            (None, _) => dialect.response_format.map(Name::Borrowed),
        };
        let named = |name: &Option<Name>, usual: &'static str| name.clone().unwrap_or(Name::Borrowed(usual));
        let wire = WireModel {
            id: self.id.clone().filter(|_| dialect.sends_model),
            parameters: self.parameters.clone(),
            parameters_in_prompt: matches!(dialect.places.seed, Place::Extra(_)),
            count: named(&self.fields.n, "n"),
            size: match size_as {
                SizeAs::Size => SizeField::Size(named(&self.fields.size, "size")),
                SizeAs::WidthAndHeight => SizeField::Sides {
                    width: named(&self.fields.width, "width"),
                    height: named(&self.fields.height, "height"),
                },
                SizeAs::AspectRatio => SizeField::Ratio(named(&self.fields.aspect_ratio, "aspect_ratio")),
            },
            response_format,
            edits,
            inpainting,
            outputs,
            reads: rules.map_or(dialect.reads, |rules| rules.reads),
            streams: self.streams.unwrap_or(rules.is_some_and(|rules| rules.streams)),
            seeds_count_up: dialect.seeds_count_up,
            rules,
            defaults: self.sent_defaults(&supports),
            places,
        };
        Ok((self.model(key, supports, limits), Spoken::Images(Box::new(wire))))
    }

    fn easel(self, key: &str, fallback: Option<Fallback>, at: &str) -> Result<(Model, Spoken), BuildError> {
        let given = [
            ("rules", self.rules.is_some()),
            ("response_format", self.response_format.is_some()),
            ("fields", self.fields != FieldNames::default()),
            ("size_as", self.size_as.is_some()),
            ("edits", self.edits.is_some()),
            ("inpainting", self.inpainting.is_some()),
            ("output_formats", self.output_formats.is_some()),
            ("streams", self.streams.is_some()),
        ];
        if let Some((name, _)) = given.iter().find(|(_, given)| *given) {
            return Err(BuildError::config(format!("{at}.{name}"), "another Easel has no such thing to choose"));
        }
        self.check_parameters(None, at)?;
        let undeclared = Supports::all(Support::Undeclared);
        let supports = self.declared_supports(undeclared);
        let usual = Limits { max_count: NonZeroU32::new(10), ratios: Ratios::Passed, ..Limits::default() };
        let limits = self.limits.limits_over(usual, &format!("{at}.limits"))?;
        let wire = EaselModel {
            id: self.id.clone(),
            fallback,
            parameters: self.parameters.clone(),
            defaults: self.sent_defaults(&supports),
        };
        Ok((self.model(key, supports, limits), Spoken::Easel(wire)))
    }

    fn model(self, key: &str, supports: Supports, limits: Limits) -> Model {
        Model {
            key: ModelKey::new(key),
            defaults: self.defaults(),
            name: self.name.unwrap_or_else(|| key.to_owned()),
            aliases: self.aliases,
            installed: Installed::Yes,
            price_key: self.rules.filter(|rules| rules != "none").or(self.id),
            digest: None,
            supports,
            limits,
        }
    }

    /// The rules that it names, else those of its `id`.
    fn find_rules(&self, at: &str) -> Result<Option<&'static Rules>, BuildError> {
        match self.rules.as_deref() {
            Some("none") => Ok(None),
            Some(name) => Rules::of(name).map(Some).ok_or_else(|| {
                let message = format!("no rules are known for `{name}`: name a model of OpenAI, or \"none\"");
                BuildError::config(format!("{at}.rules"), message)
            }),
            None => Ok(self.id.as_deref().and_then(Rules::of)),
        }
    }

    fn check_parameters(&self, rules: Option<&Rules>, at: &str) -> Result<(), BuildError> {
        const OURS: [&str; 10] =
            ["model", "prompt", "n", "size", "image", "image[]", "images", "mask", "stream", "partial_images"];
        let at = format!("{at}.parameters");
        for (name, value) in &self.parameters {
            if OURS.contains(&name.as_str()) {
                return Err(BuildError::config(
                    at,
                    format!("`{name}` is set by each request and cannot be fixed here"),
                ));
            }
            if let Some(message) = rules.and_then(|rules| rules.refusal(name, value)) {
                return Err(BuildError::config(at, message));
            }
        }
        let fixed = |name: &str| self.parameters.get(name).and_then(Value::as_str);
        if rules.is_some() && fixed("background") == Some("transparent") && fixed("output_format") == Some("jpeg") {
            return Err(BuildError::config(at, "a transparent `background` cannot be had as jpeg"));
        }
        Ok(())
    }

    fn defaults(&self) -> Defaults {
        Defaults {
            size: self.size.map(|size| size.0),
            steps: self.steps,
            guidance_scale: self.guidance_scale,
            negative_prompt: self.negative_prompt.clone(),
            scheduler: self.scheduler.clone(),
        }
    }

    /// A default that the model does not understand is not sent either.
    fn sent_defaults(&self, supports: &Supports) -> Defaults {
        let mut defaults = self.defaults();
        defaults.size = defaults.size.filter(|_| supports.size.is_sent());
        defaults.steps = defaults.steps.filter(|_| supports.steps.is_sent());
        defaults.guidance_scale = defaults.guidance_scale.filter(|_| supports.guidance_scale.is_sent());
        defaults.negative_prompt = defaults.negative_prompt.filter(|_| supports.negative_prompt.is_sent());
        defaults.scheduler = defaults.scheduler.filter(|_| supports.scheduler.is_sent());
        defaults
    }
}
