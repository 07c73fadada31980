//! The words of `generateContent`: the body that is sent.

use reqwest::Url;
use serde_json::{Map, Value, json};

use super::sizes::{Shape, Sizes};
use crate::generation::{AspectRatio, GenerationRequest, ImageSize, Seed, SizeWish, SourceImage};
use crate::providers::{Error, ErrorKind, upstream};

/// One model as the service knows it.
#[derive(Debug, Clone)]
pub(super) struct WireModel {
    /// Where it is asked.
    pub endpoint: Url,
    /// What it makes.
    pub sizes: Sizes,
    /// What is asked for when the request does not say; `None` leaves it to the model.
    pub size: Option<ImageSize>,
    /// Pictures that it takes in all, the one that is edited included.
    pub max_pictures: Option<u32>,
    /// Fields that are always sent.
    pub parameters: Map<String, Value>,
}

/// Seeds upstream are 32 bits with a sign; a larger one is left out, or refused where it must count.
pub(super) fn seed(request: &GenerationRequest) -> Result<Option<Seed>, Error> {
    let Some(seed) = request.seed else { return Ok(None) };
    let fits = i32::try_from(seed.get()).is_ok();
    if !fits && request.strict {
        return Err(Error::new(ErrorKind::Unsupported, format!("the provider's seeds end at {}", i32::MAX)));
    }
    Ok(fits.then_some(seed))
}

impl WireModel {
    /// The size that is asked for; `None` leaves it to the model.
    pub(super) fn shape(&self, request: &GenerationRequest) -> Result<Option<&Shape>, Error> {
        let exact = |size: ImageSize| {
            let shape = self.sizes.find(size);
            shape.ok_or_else(|| Error::new(ErrorKind::Unsupported, format!("the provider does not make {size}")))
        };
        match (request.size, &request.image) {
            (SizeWish::Exact(size), _) => exact(size).map(Some),
            (SizeWish::Aspect(ratio), _) => Ok(self.sizes.nearest(ratio, self.size)),
            // What is made of a picture is as large as it, or has its ratio.
            (SizeWish::ModelDefault, Some(image)) if self.size.is_some() => {
                let ratio = AspectRatio { width: image.size.width, height: image.size.height };
                Ok(self.sizes.find(image.size).or_else(|| self.sizes.nearest(ratio, self.size)))
            }
            (SizeWish::ModelDefault, _) => self.size.map(exact).transpose(),
        }
    }

    /// The body for `request`, from which what the model does not understand was taken out.
    pub(super) fn request(
        &self,
        request: &GenerationRequest,
        shape: Option<&Shape>,
        seed: Option<Seed>,
    ) -> Result<Map<String, Value>, Error> {
        let pictures = request.image.iter().chain(&request.reference_images);
        if let Some(most) = self.max_pictures.filter(|most| pictures.clone().count() > *most as usize) {
            let sentence = format!("the provider takes at most {most} pictures, the one that is edited included");
            return Err(Error::new(ErrorKind::Unsupported, sentence));
        }
        // Words alone are of no use to anybody here, so they are not asked for.
        let mut body = object(json!({ "generationConfig": { "responseModalities": ["IMAGE"] } }));
        merge(&mut body, self.parameters.clone());
        let words = std::iter::once(json!({ "text": request.prompt }));
        let parts: Vec<Value> = words.chain(pictures.map(inline)).collect();
        let mut config = Map::new();
        if let Some(shape) = shape {
            let mut image = object(json!({ "aspectRatio": shape.ratio }));
            if let Some(resolution) = shape.resolution {
                image.insert("imageSize".to_owned(), json!(resolution.as_str()));
            }
            config.insert("imageConfig".to_owned(), Value::Object(image));
        }
        if let Some(seed) = seed {
            config.insert("seed".to_owned(), json!(seed.get()));
        }
        merge(
            &mut body,
            object(json!({ "contents": [{ "role": "user", "parts": parts }], "generationConfig": config })),
        );
        Ok(body)
    }
}

fn inline(image: &SourceImage) -> Value {
    json!({ "inlineData": { "mimeType": image.format.mime_type(), "data": upstream::to_base64(image) } })
}

/// The fields of what was written as an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

/// Puts `over` over `under`; objects become one.
fn merge(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (Some(Value::Object(before)), Value::Object(fields)) => merge(before, fields),
            (_, value) => {
                under.insert(name, value);
            }
        }
    }
}
