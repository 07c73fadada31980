//! What is sent: the fields of a request as the model's dialect spells them, as JSON or as a form with files.

use serde_json::{Map, Value, json};

use super::dialect::{Name, Place, Places, Route};
use super::extra::Extra;
use super::rules::{self, MAX_PARTIAL_IMAGES, Rules};
use crate::generation::{Defaults, GenerationRequest, ImageFormat, ImageSize, Seed, SizeWish, SourceImage, Wish};
use crate::providers::{Error, ErrorKind};

/// One model as the upstream knows it.
#[derive(Debug, Clone)]
pub(super) struct WireModel {
    /// Its name upstream, where one is sent.
    pub id: Option<String>,
    /// Fields that are always sent.
    pub parameters: Map<String, Value>,
    /// Whether those go into the prompt's arguments instead.
    pub parameters_in_prompt: bool,
    /// Where the wishes go.
    pub places: Places,
    /// What the count is called.
    pub count: Name,
    /// How the size is written.
    pub size: SizeField,
    /// `response_format`, where it is sent.
    pub response_format: Option<Name>,
    /// Where a request with pictures goes.
    pub edits: Route,
    /// Where a request with a mask goes.
    pub inpainting: Route,
    /// The file formats that can be asked for.
    pub outputs: Vec<ImageFormat>,
    /// The file formats of given pictures that are read; others become PNG.
    pub reads: &'static [ImageFormat],
    /// Whether previews can be streamed.
    pub streams: bool,
    /// Whether picture `i` comes from `seed + i`.
    pub seeds_count_up: bool,
    /// The rules of the vendor's own models.
    pub rules: Option<&'static Rules>,
    /// What is sent where the request says nothing.
    pub defaults: Defaults,
}

/// How a size is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SizeField {
    /// As `1024x768` in this field.
    Size(Name),
    /// As two numbers.
    Sides { width: Name, height: Name },
    /// As `4:3` in this field; there are no sizes.
    Ratio(Name),
}

/// A request ready to be sent.
#[derive(Debug)]
pub(super) struct Prepared {
    /// What is appended to the base.
    pub path: Name,
    /// What is sent.
    pub body: Body,
    /// Whether events are asked for.
    pub is_streamed: bool,
    /// Wishes that could not be sent after all.
    pub ignored: Vec<Wish>,
}

/// A body.
#[derive(Debug)]
pub(super) enum Body {
    /// One JSON object.
    Json(Map<String, Value>),
    /// A form.
    Form {
        /// Its plain fields.
        fields: Map<String, Value>,
        /// Its files by their field, in order.
        files: Vec<(Name, SourceImage)>,
    },
}

impl WireModel {
    /// The body for `request`, from which what the model does not understand was taken out; with this many previews.
    pub(super) async fn prepare(&self, request: &GenerationRequest, previews: u8) -> Result<Prepared, Error> {
        self.check(request)?;
        let route = match (&request.image, &request.mask, request.reference_images.as_slice()) {
            (None, None, []) => None,
            (_, Some(_), _) => Some(&self.inpainting),
            (_, None, _) => Some(&self.edits),
        };
        let (wished, ignored) = without(request, route.map_or(&[], |route| route.ignores))?;
        let mut fields = self.fields(&wished, route);
        let is_streamed = self.streams && previews > 0;
        if is_streamed {
            fields.insert("stream".to_owned(), json!(true));
            fields.insert("partial_images".to_owned(), json!(previews.min(MAX_PARTIAL_IMAGES)));
        }
        let (path, body) = match route {
            None => (Name::Borrowed("images/generations"), Body::Json(fields)),
            Some(route) => (route.path.clone(), self.with_pictures(fields, &wished, route).await?),
        };
        Ok(Prepared { path, body, is_streamed, ignored })
    }

    /// What the vendor would refuse and no declared limit says.
    fn check(&self, request: &GenerationRequest) -> Result<(), Error> {
        let Some(rules) = self.rules else { return Ok(()) };
        let length = request.prompt.chars().count();
        if length > rules.prompt_chars {
            let most = rules.prompt_chars;
            let message = format!("the prompt has {length} characters, and the model takes at most {most}");
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint("shorten the prompt"));
        }
        let pictures = request.reference_images.len() + usize::from(request.image.is_some());
        if pictures > rules.max_pictures as usize {
            let message = format!("{pictures} pictures are given, and the model takes at most {}", rules.max_pictures);
            return Err(Error::new(ErrorKind::Unsupported, message).with_hint("send fewer pictures"));
        }
        Ok(())
    }

    fn fields(&self, request: &GenerationRequest, route: Option<&Route>) -> Map<String, Value> {
        let fixed = self.parameters.clone();
        let (mut fields, mut extra) =
            if self.parameters_in_prompt { (Map::new(), Extra::new(fixed)) } else { (fixed, Extra::default()) };
        if self.rules.is_some() {
            Rules::trim(&mut fields, route.is_some());
        }
        put(&mut fields, "model", json!(self.id));
        // In its place before the others; what belongs into it is known only after them.
        put(&mut fields, "prompt", json!(""));
        put(&mut fields, &self.count, json!(request.count));
        self.put_size(&mut fields, request.size);
        put(&mut fields, "response_format", json!(self.response_format));
        self.put_output(&mut fields, request);

        let (places, defaults) = (&self.places, &self.defaults);
        let mut negative = None;
        let mut place = |place: &Place, value: Value| match place {
            Place::Field(name) => put(&mut fields, name, value),
            Place::Extra(path) => extra.put(path, value),
            Place::AfterPipe => negative = value.as_str().map(str::to_owned),
            Place::Nowhere => {}
        };
        place(&places.seed, json!(request.seed.map(Seed::get)));
        let steps = json!(request.steps.map(std::num::NonZeroU32::get).or(defaults.steps));
        match route.and_then(|route| route.steps.as_ref()) {
            Some(name) => place(&Place::Field(name.clone()), steps),
            None => place(&places.steps, steps),
        }
        place(&places.scheduler, json!(request.scheduler.as_ref().or(defaults.scheduler.as_ref())));
        place(&places.guidance_scale, json!(request.guidance_scale.or(defaults.guidance_scale)));
        let negative_prompt = request.negative_prompt.as_ref().or(defaults.negative_prompt.as_ref());
        place(&places.negative_prompt, json!(negative_prompt));
        place(&places.strength, json!(request.strength));
        if !request.loras.is_empty() {
            let loras = request.loras.iter().map(|lora| json!({ "path": lora.name, "multiplier": lora.weight }));
            place(&places.loras, loras.collect());
        }
        let prompt = self.prompt(&request.prompt, negative.as_deref(), &extra);
        put(&mut fields, "prompt", json!(prompt));
        fields
    }

    /// The prompt with what the dialect puts into it, and without what would be taken for such.
    fn prompt(&self, prompt: &str, negative: Option<&str>, extra: &Extra) -> String {
        let mut text = prompt.to_owned();
        if self.places.negative_prompt == Place::AfterPipe {
            text = text.replace('|', ",");
            if let Some(negative) = negative.filter(|negative| !negative.trim().is_empty()) {
                text = format!("{text}|{}", negative.replace('|', ","));
            }
        }
        if self.parameters_in_prompt { extra.behind(&text) } else { text }
    }

    fn put_size(&self, fields: &mut Map<String, Value>, wish: SizeWish) {
        let size = match wish {
            SizeWish::Exact(size) => Some(size),
            SizeWish::ModelDefault => self.defaults.size,
            SizeWish::Aspect(ratio) => {
                if let SizeField::Ratio(name) = &self.size {
                    put(fields, name, json!(ratio.to_string()));
                }
                return;
            }
        };
        let Some(ImageSize { width, height }) = size else { return };
        match &self.size {
            SizeField::Size(name) => put(fields, name, json!(format!("{width}x{height}"))),
            SizeField::Sides { width: across, height: down } => {
                put(fields, across, json!(width));
                put(fields, down, json!(height));
            }
            SizeField::Ratio(_) => {}
        }
    }

    /// The file format that is wished for, where it can be asked for, so that nothing need be converted.
    fn put_output(&self, fields: &mut Map<String, Value>, request: &GenerationRequest) {
        let is_transparent = fields.get("background").is_some_and(|background| background == "transparent");
        let possible =
            |format: &ImageFormat| self.outputs.contains(format) && !(is_transparent && *format == ImageFormat::Jpeg);
        if let Some(format) = request.output_format.filter(possible) {
            put(fields, "output_format", json!(rules::word(format)));
        }
        if self.outputs.is_empty() {
            return;
        }
        let is_lossy = fields.get("output_format").is_some_and(|format| format == "jpeg" || format == "webp");
        if is_lossy {
            put(fields, "output_compression", json!(request.output_quality));
        } else {
            fields.remove("output_compression");
        }
    }
}

/// The request without the wishes that this route does not understand, and those that it held.
fn without(request: &GenerationRequest, unknown: &[Wish]) -> Result<(GenerationRequest, Vec<Wish>), Error> {
    let mut request = request.clone();
    let mut ignored = Vec::new();
    for wish in unknown {
        let held = match wish {
            Wish::Seed => request.seed.take().is_some(),
            Wish::NegativePrompt => request.negative_prompt.take().is_some(),
            Wish::Steps => request.steps.take().is_some(),
            Wish::GuidanceScale => request.guidance_scale.take().is_some(),
            Wish::Scheduler => request.scheduler.take().is_some(),
            Wish::Strength => request.strength.take().is_some(),
            Wish::Count
            | Wish::Size
            | Wish::AspectRatio
            | Wish::Image
            | Wish::Mask
            | Wish::ReferenceImages
            | Wish::Loras => false,
        };
        if held && request.strict {
            let message = format!("`{}` is not understood together with a mask", wish.field());
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        if held {
            ignored.push(*wish);
        }
    }
    Ok((request, ignored))
}

/// Sets a field, unless there is nothing to set it to.
pub(super) fn put(fields: &mut Map<String, Value>, name: &str, value: Value) {
    if !value.is_null() {
        fields.insert(name.to_owned(), value);
    }
}
