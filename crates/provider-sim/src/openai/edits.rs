//! `POST /v1/images/edits`: pictures that are to be changed, as files of a form or inside JSON, and what the vendor
//! demands of them.

use image::ImageFormat;
use serde_json::Value;

use super::asked::{Asked, read_model, refuse_unknown};
use super::error::VendorError;
use super::fields::Fields;
use super::models::{DEFAULT_SIZE, Family, Model};
use crate::image_in::{self, Named, Seen};
use crate::{Behaviour, Request};

/// Pictures in one request.
const MOST_IMAGES: usize = 16;
/// Largest picture, and largest mask.
const LARGEST_IMAGE: usize = 50 << 20;
const LARGEST_MASK: usize = 4 << 20;
/// What a picture costs.
const TOKENS: usize = 388;

/// Reads a request as the vendor does.
pub(super) fn read(request: &Request, behaviour: &Behaviour, origin: String) -> Result<Asked, VendorError> {
    let form = Fields::form(request);
    let is_form = form.is_some();
    let fields = form.map_or_else(|| Fields::json(request), Ok)?;
    let model = read_model(&fields)?;
    if !model.family.edits() {
        return Err(VendorError::value("model", model.id, &["gpt-image-1.5", "gpt-image-2", "dall-e-2"]));
    }
    let further: &[&str] = if is_form { &["input_fidelity"] } else { &["input_fidelity", "images", "mask"] };
    refuse_unknown(&fields, model.family, further)?;
    read_fidelity(&fields, model)?;
    let images = if is_form { files(&fields, model.family)? } else { named(&fields)? };
    let first = images.first().copied().flatten();
    let auto = behaviour.size.unwrap_or_else(|| auto_size(model.family, first));
    let mut asked = Asked::read_common(&fields, model, auto, origin)?;
    asked.is_edit = true;
    asked.image_tokens = TOKENS * images.len();
    // Other pictures in, other pictures out.
    let contents = fields.files.iter().map(|file| file.content.as_slice());
    asked.wish.subject = format!("{} {:?}", asked.wish.subject, digest(contents, &fields));
    Ok(asked)
}

fn digest<'a>(files: impl Iterator<Item = &'a [u8]>, fields: &Fields) -> u64 {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    files.for_each(|file| file.hash(&mut hasher));
    fields.get("images").map(Value::to_string).hash(&mut hasher);
    hasher.finish()
}

fn read_fidelity(fields: &Fields, model: &Model) -> Result<(), VendorError> {
    let fidelity = fields.one_of("input_fidelity", &["high", "low"])?;
    let fits = match model.family {
        Family::GptImage1 => model.id != "gpt-image-1-mini" || fidelity == Some("low"),
        Family::Compatible => true,
        Family::GptImage2 | Family::DallE2 | Family::DallE3 => false,
    };
    if fidelity.is_none() || fits {
        return Ok(());
    }
    let message = format!("The model '{}' does not support this 'input_fidelity'.", model.id);
    Err(VendorError::parameter("input_fidelity", "invalid_input_fidelity_model", message))
}

/// The pictures of a form: `image[]` for each of several, `image` for one.
fn files(fields: &Fields, family: Family) -> Result<Vec<Option<Seen>>, VendorError> {
    let named =
        |names: &[&str]| fields.files.iter().filter(|file| names.contains(&file.name.as_str())).collect::<Vec<_>>();
    if let Some(stranger) = fields.files.iter().find(|file| !["image", "image[]", "mask"].contains(&file.name.as_str()))
    {
        let message = format!("Unknown parameter: '{}'.", stranger.name);
        return Err(VendorError::parameter(&stranger.name, "unknown_parameter", message));
    }
    if family != Family::Compatible && named(&["image"]).len() > 1 {
        let message = "Duplicate parameter: 'image'. You provided multiple values for this parameter, whereas only one \
                       is allowed. If you are trying to provide a list of values, use the array syntax instead e.g. \
                       'image[]=<value>'.";
        return Err(VendorError::parameter("image", "duplicate_parameter", message));
    }
    let images = named(&["image", "image[]"]);
    if images.is_empty() {
        return Err(VendorError::missing("image"));
    }
    if images.len() > MOST_IMAGES {
        let message =
            format!("Invalid 'image': too many images. Expected at most {MOST_IMAGES}, got {}.", images.len());
        return Err(VendorError::parameter("image", "array_above_max_length", message));
    }
    let seen = images
        .iter()
        .map(|file| {
            let seen = image_in::look(&file.content).filter(|_| file.content.len() < LARGEST_IMAGE);
            seen.ok_or_else(|| {
                let message = "The provided image file is not a PNG, WebP or JPEG of less than 50MB.";
                VendorError::parameter("image", "invalid_image_file", message)
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    if let (Some(mask), Some(first)) = (named(&["mask"]).first(), seen.first()) {
        check_mask(&mask.content, *first, family)?;
    }
    Ok(seen.into_iter().map(Some).collect())
}

fn check_mask(mask: &[u8], image: Seen, family: Family) -> Result<(), VendorError> {
    let refuse = |reason: &str| {
        let message = format!("Invalid mask image format - {reason}");
        Err(VendorError::parameter("mask", "invalid_mask_image_format", message))
    };
    match image_in::look(mask) {
        None => refuse("the mask is no picture"),
        Some(_) if mask.len() >= LARGEST_MASK => refuse("mask is larger than 4MB"),
        Some(seen) if (seen.width, seen.height) != (image.width, image.height) => {
            refuse("mask size does not match image size")
        }
        Some(_) if family == Family::Compatible => Ok(()),
        Some(seen) if seen.format != ImageFormat::Png => refuse("mask must be a PNG"),
        Some(seen) if !seen.has_alpha => refuse("mask image missing alpha channel"),
        Some(_) => Ok(()),
    }
}

/// The pictures of the JSON form: `images: [{image_url}, {file_id}]`.
fn named(fields: &Fields) -> Result<Vec<Option<Seen>>, VendorError> {
    let images = match fields.get("images") {
        Some(Value::Array(images)) if !images.is_empty() => images,
        Some(Value::Array(_)) | None => return Err(VendorError::missing("images")),
        Some(other) => return Err(VendorError::wrong_type("images", "an array", other)),
    };
    let mask = fields.get("mask");
    images
        .iter()
        .chain(mask)
        .map(|image| match (image["image_url"].as_str(), image["file_id"].as_str()) {
            (None, Some(_)) => Ok(None),
            (Some(url), None) => match image_in::read(url) {
                Some(Named::File(seen)) => Ok(Some(seen)),
                Some(Named::Address) => Ok(None),
                None => Err(VendorError::parameter("images", "invalid_image_file", "The image URL holds no image.")),
            },
            (Some(_), Some(_)) | (None, None) => Err(VendorError::missing("images[0].image_url")),
        })
        .collect()
}

/// The size of a changed picture for which nothing is said.
fn auto_size(family: Family, first: Option<Seen>) -> (u32, u32) {
    match (family, first) {
        (Family::Compatible, Some(seen)) => (seen.width, seen.height),
        (Family::GptImage1, Some(seen)) if seen.width > seen.height => (1536, 1024),
        (Family::GptImage1, Some(seen)) if seen.width < seen.height => (1024, 1536),
        _ => DEFAULT_SIZE,
    }
}
