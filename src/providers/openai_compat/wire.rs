//! The words of the Images API: the body that is sent, and the pictures in the answer.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error;
use crate::generation::{Defaults, GeneratedImage, Generation, GenerationRequest, Seed, SizeWish};
use crate::providers::upstream::{self, Lifted, Text};
use crate::providers::{Error, ErrorKind};

/// One model as the upstream knows it.
#[derive(Debug, Clone)]
pub(super) struct WireModel {
    /// Its name upstream.
    pub id: String,
    /// How pictures are asked for.
    pub response_format: ResponseFormat,
    /// Fields that are always sent.
    pub parameters: Map<String, Value>,
    /// What the upstream calls its fields.
    pub fields: FieldNames,
    /// What is sent where the request says nothing.
    pub defaults: Defaults,
}

/// The `response_format` that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseFormat {
    /// Base64 in the answer.
    B64Json,
    /// Nothing: the upstream refuses the field.
    None,
}

/// What the upstream calls the fields that the Images API itself does not have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FieldNames {
    seed: String,
    negative_prompt: String,
    steps: String,
    guidance_scale: String,
    scheduler: String,
}

impl Default for FieldNames {
    fn default() -> Self {
        Self {
            seed: "seed".to_owned(),
            negative_prompt: "negative_prompt".to_owned(),
            steps: "steps".to_owned(),
            guidance_scale: "guidance_scale".to_owned(),
            scheduler: "scheduler".to_owned(),
        }
    }
}

impl WireModel {
    /// The body for `request`, from which what the model does not understand was taken out.
    pub(super) fn request(&self, request: &GenerationRequest) -> Map<String, Value> {
        let mut body = self.parameters.clone();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                body.insert(name.to_owned(), value);
            }
        };
        put("model", json!(self.id));
        put("prompt", json!(request.prompt));
        put("n", json!(request.count));
        put(
            "size",
            match request.size {
                SizeWish::Exact(size) => json!(size.to_string()),
                SizeWish::ModelDefault | SizeWish::Aspect(_) => json!(self.defaults.size.map(|size| size.to_string())),
            },
        );
        match self.response_format {
            ResponseFormat::B64Json => put("response_format", json!("b64_json")),
            ResponseFormat::None => {}
        }
        let defaults = &self.defaults;
        let negative_prompt = request.negative_prompt.as_ref().or(defaults.negative_prompt.as_ref());
        put(&self.fields.negative_prompt, json!(negative_prompt));
        put(&self.fields.seed, json!(request.seed.map(Seed::get)));
        put(&self.fields.steps, json!(request.steps.map(std::num::NonZeroU32::get).or(defaults.steps)));
        put(&self.fields.guidance_scale, json!(request.guidance_scale.or(defaults.guidance_scale)));
        put(&self.fields.scheduler, json!(request.scheduler.as_ref().or(defaults.scheduler.as_ref())));
        body
    }
}

/// The pictures in the body of a 200; anything else in it is an error.
pub(super) async fn read(body: Vec<u8>, seed: Option<Seed>) -> Result<Generation, Error> {
    upstream::decode(body, move |body| decode(body, seed)).await
}

/// A 200. Everything is optional: compatible servers leave out and add what they like.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Option<Vec<Item<'a>>>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    b64_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    /// Some upstreams refuse a picture with a 200.
    #[serde(default)]
    respect_moderation: Option<bool>,
}

fn decode(body: &[u8], seed: Option<Seed>) -> Result<Generation, Error> {
    let lifted = Lifted::new(body);
    let answer: Answer<'_> = upstream::parse(&lifted)?;
    if let Some(error) = answer.error.filter(|error| !error.is_null()) {
        return Err(error::of_success(&error));
    }
    let Some(items) = answer.data else {
        return Err(Error::new(ErrorKind::Protocol, "the provider's answer has no data"));
    };
    if items.is_empty() {
        return Err(Error::new(ErrorKind::NoImage, "the provider answered without a picture"));
    }
    let images = items.iter().enumerate().map(|(index, item)| {
        // One seed for several pictures: only the first is known to come from it.
        item.picture(index, &lifted, seed.filter(|_| index == 0))
    });
    let images = images.collect::<Result<Vec<_>, Error>>()?;
    Ok(Generation { images, ..Generation::default() })
}

impl Item<'_> {
    fn picture(&self, index: usize, lifted: &Lifted<'_>, seed: Option<Seed>) -> Result<GeneratedImage, Error> {
        if self.respect_moderation == Some(false) {
            return Err(error::refused());
        }
        let text = self.b64_json.as_ref().map(|text| lifted.original(&text.0)).map(<[u8]>::trim_ascii);
        match (text.filter(|text| !text.is_empty()), &self.url) {
            (Some(text), _) => upstream::from_base64(index, text, seed),
            (None, Some(_)) => Err(Error::new(
                ErrorKind::Protocol,
                "the provider answered with an address in place of the picture, which is not fetched",
            )
            .with_hint("set response_format = \"b64_json\" for the model in the configuration")),
            (None, None) => Err(Error::new(ErrorKind::NoImage, format!("item {index} of the answer holds no picture"))),
        }
    }
}
