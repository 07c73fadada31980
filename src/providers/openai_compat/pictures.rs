//! Given pictures in a body: under which names, and as files or as text.

use serde_json::{Map, Value, json};

use super::dialect::{Name, Pictures, Route};
use super::request::{Body, WireModel, put};
use crate::generation::{GenerationRequest, SourceImage};
use crate::providers::upstream;
use crate::providers::{Error, ErrorKind};

impl WireModel {
    /// The body with the request's pictures in it, as the route wants them.
    pub(super) async fn with_pictures(
        &self,
        mut fields: Map<String, Value>,
        request: &GenerationRequest,
        route: &Route,
    ) -> Result<Body, Error> {
        let mut images = Vec::new();
        for image in request.image.iter().chain(&request.reference_images) {
            images.push(if self.reads.contains(&image.format) {
                image.clone()
            } else {
                upstream::as_png(image).await?
            });
        }
        let first = usize::from(request.image.is_some());
        let mask = match (&request.mask, &request.image) {
            (Some(mask), Some(image)) => Some(upstream::mask(mask, image.size, route.mask_repaints.polarity()).await?),
            (_, None) | (None, _) => None,
        };
        let named = route.name(images, first)?;
        let mask_name = || {
            let message = "the model takes no mask with its pictures";
            route.mask.clone().ok_or_else(|| Error::new(ErrorKind::Unsupported, message))
        };
        if route.pictures == Pictures::Files {
            let mut files: Vec<_> = named
                .into_iter()
                .flat_map(|(name, images, _)| images.into_iter().map(move |i| (name.clone(), i)))
                .collect();
            if let Some(mask) = mask {
                files.push((mask_name()?, mask));
            }
            return Ok(Body::Form { fields, files });
        }
        let mut given: Vec<_> = named;
        if let Some(mask) = mask {
            given.push((mask_name()?, vec![mask], false));
        }
        for (name, images, is_list) in given {
            let mut texts = Vec::new();
            for image in images {
                texts.push(in_json(route.pictures, image).await?);
            }
            let value = if is_list { Value::Array(texts) } else { texts.pop().unwrap_or_default() };
            put(&mut fields, &name, value);
        }
        Ok(Body::Json(fields))
    }
}

/// Pictures under one name, and whether it is a list.
type Named = (Name, Vec<SourceImage>, bool);

impl Route {
    /// The pictures under their names; the first `first` of them are the picture, the others references.
    fn name(&self, mut images: Vec<SourceImage>, first: usize) -> Result<Vec<Named>, Error> {
        let mut named = Vec::new();
        if let Some(name) = &self.reference_images {
            let references = images.split_off(first.min(images.len()));
            if !references.is_empty() {
                named.push((name.clone(), references, true));
            }
            if !images.is_empty() {
                named.insert(0, (self.image.clone(), images, false));
            }
        } else if images.len() == 1 {
            named.push((self.image.clone(), images, false));
        } else if let Some(name) = &self.images {
            named.push((name.clone(), images, true));
        } else {
            return Err(Error::new(ErrorKind::Unsupported, "the model takes one picture at a time")
                .with_hint("leave out `reference_images`"));
        }
        Ok(named)
    }
}

/// A picture as a JSON value.
async fn in_json(pictures: Pictures, image: SourceImage) -> Result<Value, Error> {
    let text = move || match pictures {
        Pictures::Base64 => upstream::to_base64(&image),
        Pictures::Files | Pictures::DataUri | Pictures::UrlObject => upstream::to_data_uri(&image),
    };
    let text = tokio::task::spawn_blocking(text)
        .await
        .map_err(|broken| Error::new(ErrorKind::Internal, "writing a picture as text broke off").with_source(broken))?;
    Ok(match pictures {
        Pictures::UrlObject => json!({ "type": "image_url", "url": text }),
        Pictures::Files | Pictures::DataUri | Pictures::Base64 => Value::String(text),
    })
}
