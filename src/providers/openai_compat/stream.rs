//! An answer that comes as events: previews while a picture is on its way, then the picture.
//! <https://platform.openai.com/docs/api-reference/images-streaming>

use bytes::Bytes;
use reqwest::Response;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{Expected, Found};
use super::{error, refusal, usage};
use crate::generation::{GeneratedImage, Generation, GenerationRequest, PartialImage};
use crate::providers::upstream::{self, Event, Events, Lifted, MAX_ANSWER, Text};
use crate::providers::{Call, Error, ErrorKind};
use crate::secret::Secret;

/// What an event came to.
enum Told {
    Preview { image: GeneratedImage, step: Option<u32>, index: Option<u32> },
    Picture { found: Found, index: Option<u32>, read: Read },
    Nothing,
}

#[derive(Default)]
struct Read {
    usage: Option<crate::generation::Usage>,
    cost_usd: Option<f64>,
}

/// The data of an event.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(rename = "type", default)]
    kind: Option<Value>,
    #[serde(borrow, default)]
    b64_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(default)]
    partial_image_index: Option<Value>,
    /// Which picture, where several are made; not every server says so.
    #[serde(default)]
    image_index: Option<Value>,
    #[serde(default)]
    index: Option<Value>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    code: Option<Value>,
    #[serde(default)]
    param: Option<Value>,
    #[serde(default)]
    message: Option<Value>,
    #[serde(default)]
    respect_moderation: Option<Value>,
    #[serde(default)]
    content_filter_results: Option<Value>,
}

/// Reads events, of which `piece` came already, until the pictures are there, and shows the previews among them.
pub(super) async fn read(
    mut piece: Bytes,
    mut response: Response,
    request: &GenerationRequest,
    call: &Call,
    expected: &Expected<'_>,
) -> Result<Generation, Error> {
    let mut events = Events::new(MAX_ANSWER);
    let mut pictures = Pictures { all: Vec::new(), asked: request.count.get(), shown: 0 };
    let mut generation = Generation::default();
    loop {
        for event in events.push(&piece)? {
            match told(event, expected.key).await? {
                Told::Nothing => {}
                Told::Preview { image, step, index } => pictures.show(image, step, index, call),
                Told::Picture { found, index, read } => {
                    generation.usage = sum(generation.usage, read.usage);
                    generation.cost_usd = sum(generation.cost_usd, read.cost_usd);
                    let place = index.unwrap_or_else(|| pictures.next());
                    pictures.complete(found.fetched(place as usize, expected).await?, index);
                }
            }
        }
        if pictures.are_there() {
            // What follows the last picture (a mark of the end) is of no use.
            break;
        }
        let Some(next) = response.chunk().await.map_err(upstream::of_body)? else { break };
        piece = next;
    }
    generation.images = pictures.in_order(expected)?;
    Ok(generation)
}

/// The pictures that were made so far, each with its place.
struct Pictures {
    all: Vec<(u32, GeneratedImage)>,
    asked: u32,
    /// Previews of the picture that is on its way.
    shown: u32,
}

impl Pictures {
    fn next(&self) -> u32 {
        let is_free = |index: &u32| self.all.iter().all(|(known, _)| known != index);
        (0..self.asked).find(is_free).unwrap_or(self.asked)
    }

    fn are_there(&self) -> bool {
        self.all.len() >= self.asked as usize
    }

    fn show(&mut self, image: GeneratedImage, step: Option<u32>, index: Option<u32>, call: &Call) {
        let index = index.filter(|index| *index < self.asked).unwrap_or_else(|| self.next());
        call.show_partial(PartialImage { index, step: step.unwrap_or(self.shown), image });
        self.shown += 1;
    }

    /// Takes a picture to its place; there is none for more than were asked for.
    fn complete(&mut self, image: GeneratedImage, index: Option<u32>) {
        let is_free = |index: &u32| *index < self.asked && self.all.iter().all(|(known, _)| known != index);
        let index = index.filter(is_free).unwrap_or_else(|| self.next());
        if index < self.asked {
            self.all.push((index, image));
            self.shown = 0;
        }
    }

    fn in_order(mut self, expected: &Expected<'_>) -> Result<Vec<GeneratedImage>, Error> {
        if self.all.is_empty() {
            return Err(Error::new(ErrorKind::NoImage, "the provider's events ended without a picture"));
        }
        self.all.sort_by_key(|(index, _)| *index);
        let seeded =
            |(index, image): (u32, GeneratedImage)| GeneratedImage { seed: expected.seed(index as usize), ..image };
        Ok(self.all.into_iter().map(seeded).collect())
    }
}

async fn told(event: Event, key: Option<&Secret>) -> Result<Told, Error> {
    let Event { name, data } = event;
    if data.trim_ascii() == b"[DONE]" {
        return Ok(Told::Nothing);
    }
    let key = key.cloned();
    upstream::decode(data, move |data| decode(&name, data, key.as_ref())).await
}

fn decode(name: &str, data: &Bytes, key: Option<&Secret>) -> Result<Told, Error> {
    let lifted = Lifted::new(data);
    let read: Data<'_> = upstream::parse(&lifted)?;
    if let Some(error) = read.error.as_ref().filter(|error| error::is_one(error)) {
        return Err(error::of_event(error, key));
    }
    let kind = read.kind.as_ref().and_then(Value::as_str).unwrap_or(name);
    if kind == "error" {
        let fields = [("code", &read.code), ("param", &read.param), ("message", &read.message)];
        let fields = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        return Err(error::of_event(&Value::Object(fields.collect()), key));
    }
    if refusal::is_flagged(read.respect_moderation.as_ref())
        || refusal::is_filtered(read.content_filter_results.as_ref())
    {
        return Err(error::refused());
    }
    let is_preview = kind.ends_with(".partial_image");
    if !is_preview && !kind.ends_with(".completed") {
        return Ok(Told::Nothing);
    }
    let number = |value: &Option<Value>| value.as_ref().and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let index = number(&read.image_index).or_else(|| number(&read.index));
    let found = Found::read(index.unwrap_or(0) as usize, read.b64_json.as_ref(), read.url.as_ref(), &lifted);
    if is_preview {
        // A preview that cannot be read is not worth a failure: the picture is still to come.
        let Ok(Found::Picture(image)) = found else { return Ok(Told::Nothing) };
        return Ok(Told::Preview { image, step: number(&read.partial_image_index), index });
    }
    let cost_usd = usage::cost(read.usage.as_ref(), [None, None]);
    Ok(Told::Picture {
        found: found?,
        index,
        read: Read { usage: read.usage.as_ref().and_then(usage::tokens), cost_usd },
    })
}

fn sum<T: std::ops::Add<Output = T>>(before: Option<T>, more: Option<T>) -> Option<T> {
    match (before, more) {
        (Some(before), Some(more)) => Some(before + more),
        (known, None) | (None, known) => known,
    }
}
