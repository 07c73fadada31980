//! The words of a task: what is sent for pictures, and what is sent to learn what became of them. Pure.
//! <https://runware.ai/docs/image-inference/api-reference>

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::air::is_air;
use super::schedulers;
use crate::generation::{Defaults, GenerationRequest, ImageFormat, ImageSize, Lora, Seed, SizeWish, SourceImage, Wish};
use crate::providers::{Error, ErrorKind, upstream};

/// What the vendor makes of a prompt that is shorter: an error, also for a single ideograph.
const SHORTEST_PROMPT: usize = 2;
/// The vendor's bounds of `outputQuality`.
const QUALITY: (u8, u8) = (20, 99);
/// The vendor's largest `CFGScale`.
const MAX_GUIDANCE: f64 = 50.0;
/// The vendor's bound of an adapter's weight, on either side.
const MAX_WEIGHT: f64 = 4.0;

/// The fields that each request sets; none of them can be fixed in the configuration.
pub(super) const SET_BY_REQUESTS: [&str; 22] = [
    "taskType",
    "taskUUID",
    "apiKey",
    "model",
    "positivePrompt",
    "negativePrompt",
    "seedImage",
    "maskImage",
    "referenceImages",
    "inputs",
    "strength",
    "width",
    "height",
    "steps",
    "CFGScale",
    "scheduler",
    "seed",
    "lora",
    "numberResults",
    "outputType",
    "safety",
    "includeCost",
];

/// One model as the vendor knows it.
#[derive(Debug, Clone)]
pub(super) struct WireModel {
    /// Its name, `source:id@version`.
    pub air: String,
    /// Where pictures that the caller gives are put.
    pub image_input: ImageInput,
    /// Fields that are sent with every task as they are.
    pub parameters: Map<String, Value>,
    /// What is sent where the request says nothing.
    pub defaults: Defaults,
    /// Longest prompt in characters, where that is known.
    pub max_prompt_chars: Option<usize>,
}

/// Where a given picture goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ImageInput {
    /// `seedImage` and `maskImage`; further ones into `referenceImages`: SD, SDXL, FLUX.1 and their kin.
    #[default]
    SeedImage,
    /// All of them into `referenceImages`: FLUX.1 Kontext, Qwen-Image-Edit, Seedream.
    ReferenceImages,
    /// All of them into `inputs.referenceImages`: FLUX.2, Grok, GPT Image.
    Inputs,
    /// As `SeedImage`, but inside `inputs`, as the schemas of FLUX.1 Fill and others spell it by now.
    InputsSeedImage,
}

impl ImageInput {
    /// Whether there is a picture to start from, as opposed to pictures to look at.
    pub(super) fn starts_from_picture(self) -> bool {
        match self {
            Self::SeedImage | Self::InputsSeedImage => true,
            Self::ReferenceImages | Self::Inputs => false,
        }
    }
}

/// How results come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OutputType {
    /// Inside the answer.
    #[default]
    Base64,
    /// By address, and fetched from there.
    Url,
}

/// What is sent of the configuration's `safety`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SafetyMode {
    /// No check after all.
    None,
    /// The quick one.
    Fast,
    /// The thorough one.
    Full,
}

/// What every task of a provider has in common.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Habits {
    /// How results come.
    pub output_type: OutputType,
    /// The check that is asked for, if one is.
    pub safety: Option<SafetyMode>,
}

/// A task without its identity, which is put in when it is sent.
pub(super) struct Task {
    fields: Map<String, Value>,
    /// The seed that is sent.
    pub seed: Option<Seed>,
    /// Soft wishes that are not sent.
    pub ignored: Vec<Wish>,
}

impl WireModel {
    /// The task for `request`, from which what the model does not understand was taken out.
    pub(super) fn task(&self, request: &GenerationRequest, habits: Habits) -> Result<Task, Error> {
        self.check_prompt(&request.prompt)?;
        let defaults = &self.defaults;
        let mut ignored = Vec::new();
        let mut drop_wish = |wish: Wish| ignored.push(wish);
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        };
        put("model", json!(self.air));
        put("positivePrompt", json!(request.prompt));
        let negative_prompt = request.negative_prompt.as_ref().or(defaults.negative_prompt.as_ref());
        // An empty one is the caller's way of having none at all.
        if let Some(text) = negative_prompt.filter(|text| !text.is_empty()) {
            if self.is_right_length(text) {
                put("negativePrompt", json!(text));
            } else {
                drop_wish(Wish::NegativePrompt);
            }
        }
        self.pictures(request, &mut put);
        put("strength", json!(request.strength));
        if let Some(size) = self.size(request) {
            put("width", json!(size.width));
            put("height", json!(size.height));
        }
        put("steps", json!(request.steps.map(std::num::NonZeroU32::get).or(defaults.steps)));
        let guidance = request.guidance_scale.or(defaults.guidance_scale);
        put("CFGScale", json!(guidance.filter(|guidance| *guidance <= MAX_GUIDANCE)));
        if guidance.is_some_and(|guidance| guidance > MAX_GUIDANCE) {
            drop_wish(Wish::GuidanceScale);
        }
        let wished = request.scheduler.as_deref().map(schedulers::find);
        put("scheduler", json!(wished.unwrap_or(defaults.scheduler.as_deref().and_then(schedulers::find))));
        if wished == Some(None) {
            drop_wish(Wish::Scheduler);
        }
        put("lora", loras(&request.loras)?);
        // The vendor's seeds start at 1.
        let seed = request.seed.filter(|seed| seed.get() > 0);
        if seed != request.seed {
            drop_wish(Wish::Seed);
        }
        put("seed", json!(seed.map(Seed::get)));
        if request.count.get() > 1 {
            put("numberResults", json!(request.count));
        }
        output(request, habits, &mut put);
        // What the configuration fixes stands behind what the request says, except for how the answer is delivered.
        for (name, value) in &self.parameters {
            fields.entry(name).or_insert_with(|| value.clone());
        }
        fields.entry("deliveryMethod").or_insert_with(|| json!("sync"));
        match ignored.first() {
            Some(wish) if request.strict => Err(Error::new(
                ErrorKind::Unsupported,
                format!("the provider cannot do what was asked because of `{}`", wish.field()),
            )),
            Some(_) | None => Ok(Task { fields, seed, ignored }),
        }
    }

    /// The size that is sent; `None` for a model that takes none.
    fn size(&self, request: &GenerationRequest) -> Option<ImageSize> {
        match request.size {
            SizeWish::Exact(size) => Some(size),
            SizeWish::ModelDefault | SizeWish::Aspect(_) => self.defaults.size,
        }
    }

    fn pictures(&self, request: &GenerationRequest, put: &mut impl FnMut(&str, Value)) {
        let references = request.reference_images.iter().map(given);
        let given = request.image.iter().map(given);
        let list = |pictures: Vec<Value>| (!pictures.is_empty()).then_some(Value::Array(pictures));
        let all = || list(given.clone().chain(references.clone()).collect());
        let apart = || {
            let mask = request.mask.as_ref().map(self::given);
            let named = [
                ("seedImage", given.clone().next()),
                ("maskImage", mask),
                ("referenceImages", list(references.clone().collect())),
            ];
            named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)))
        };
        match self.image_input {
            ImageInput::SeedImage => apart().for_each(|(name, value)| put(&name, value)),
            ImageInput::InputsSeedImage => {
                let inputs: Map<String, Value> = apart().collect();
                put("inputs", if inputs.is_empty() { Value::Null } else { Value::Object(inputs) });
            }
            ImageInput::ReferenceImages => put("referenceImages", json!(all())),
            ImageInput::Inputs => {
                put("inputs", all().map_or(Value::Null, |pictures| json!({ "referenceImages": pictures })));
            }
        }
    }

    fn is_right_length(&self, text: &str) -> bool {
        let length = text.chars().count();
        length >= SHORTEST_PROMPT && self.max_prompt_chars.is_none_or(|most| length <= most)
    }

    /// Another provider may take what is too short or too long for this one.
    fn check_prompt(&self, prompt: &str) -> Result<(), Error> {
        if self.is_right_length(prompt) {
            return Ok(());
        }
        let most = self.max_prompt_chars.map_or_else(|| "any number of".to_owned(), |most| most.to_string());
        let sentence = format!("the model takes prompts of {SHORTEST_PROMPT} to {most} characters");
        Err(Error::new(ErrorKind::Unsupported, sentence))
    }
}

impl Task {
    /// The body that asks for the pictures under this identity.
    pub(super) fn body(&self, id: Uuid) -> Result<Vec<u8>, Error> {
        written(&Sent { kind: "imageInference", id, fields: &self.fields })
    }
}

/// The body that asks for the state and the results of a task.
pub(super) fn get_response(id: Uuid) -> Result<Vec<u8>, Error> {
    written(&Sent { kind: "getResponse", id, fields: &Map::new() })
}

/// The body that asks for what was once sent and answered under an identity.
pub(super) fn get_task_details(id: Uuid) -> Result<Vec<u8>, Error> {
    written(&Sent { kind: "getTaskDetails", id, fields: &Map::new() })
}

#[derive(Serialize)]
struct Sent<'a> {
    #[serde(rename = "taskType")]
    kind: &'static str,
    #[serde(rename = "taskUUID", serialize_with = "write_id")]
    id: Uuid,
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
}

fn write_id<S: Serializer>(id: &Uuid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// A list of this one task, which is what the vendor reads.
fn written(task: &Sent<'_>) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(&[task])
        .map_err(|error| Error::new(ErrorKind::Internal, "the task could not be written").with_source(error))
}

/// The caller's own format is asked for, so that nothing needs to be converted.
fn output(request: &GenerationRequest, habits: Habits, put: &mut impl FnMut(&str, Value)) {
    put(
        "outputType",
        match habits.output_type {
            OutputType::Base64 => json!("base64Data"),
            OutputType::Url => json!("URL"),
        },
    );
    let format = request.output_format.map(|format| match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPG",
        ImageFormat::Webp => "WEBP",
    });
    put("outputFormat", json!(format));
    put("outputQuality", json!(request.output_quality.map(|quality| quality.clamp(QUALITY.0, QUALITY.1))));
    let mode = habits.safety.map(|mode| match mode {
        SafetyMode::None => "none",
        SafetyMode::Fast => "fast",
        SafetyMode::Full => "full",
    });
    if let Some(mode) = mode {
        put("safety", json!({ "checkContent": true, "mode": mode }));
    }
    put("includeCost", json!(true));
}

fn loras(loras: &[Lora]) -> Result<Value, Error> {
    if loras.is_empty() {
        return Ok(Value::Null);
    }
    let items = loras.iter().map(|lora| {
        if !is_air(&lora.name) {
            let sentence = "the provider knows adapters by names like civitai:82098@87153 only";
            return Err(Error::new(ErrorKind::Unsupported, sentence));
        }
        if lora.weight.abs() > MAX_WEIGHT {
            let sentence = format!("the provider takes weights of adapters from -{MAX_WEIGHT} to {MAX_WEIGHT}");
            return Err(Error::new(ErrorKind::Unsupported, sentence));
        }
        Ok(json!({ "model": lora.name, "weight": lora.weight }))
    });
    items.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn given(picture: &SourceImage) -> Value {
    Value::String(upstream::to_data_uri(picture))
}
