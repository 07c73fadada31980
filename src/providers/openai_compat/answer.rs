//! The pictures in the body of a 200, and what they cost; anything else in it is an error.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::error;
use super::refusal;
use super::usage;
use crate::fetch::{Fetcher, Origin};
use crate::generation::{GeneratedImage, Generation, Seed};
use crate::providers::upstream::{self, Lifted, Text};
use crate::providers::{Error, ErrorKind};
use crate::secret::Secret;

/// Longest address of a picture that is looked at.
const MAX_ADDRESS: usize = 8 << 10;

/// What is known before the answer comes.
pub(super) struct Expected<'a> {
    /// The seed that was sent.
    pub seed: Option<Seed>,
    /// Whether picture `i` comes from `seed + i`.
    pub seeds_count_up: bool,
    /// Fetches pictures that are answered by their address.
    pub fetcher: &'a Fetcher,
    /// Where addresses may lead whatever it is.
    pub own: Option<&'a Origin>,
    /// The key, so that an answer that holds it does not bring it into the log.
    pub key: Option<&'a Secret>,
}

impl Expected<'_> {
    /// The seed of picture `index`, where it is known.
    pub(super) fn seed(&self, index: usize) -> Option<Seed> {
        let offset = u32::try_from(index).ok()?;
        self.seed.filter(|_| index == 0 || self.seeds_count_up).map(|seed| seed.offset(offset))
    }
}

/// Reads a whole answer, and fetches the pictures that it only names.
pub(super) async fn read(body: Vec<u8>, expected: &Expected<'_>) -> Result<Generation, Error> {
    let key = expected.key.cloned();
    let read = upstream::decode(body, move |body| decode(body, key.as_ref())).await?;
    let mut generation = Generation { cost_usd: read.cost_usd, usage: read.usage, ..Generation::default() };
    for (index, found) in read.found.into_iter().enumerate() {
        let image = found.fetched(index, expected).await?;
        generation.images.push(GeneratedImage { seed: expected.seed(index), ..image });
    }
    Ok(generation)
}

struct Read {
    found: Vec<Found>,
    cost_usd: Option<f64>,
    usage: Option<crate::generation::Usage>,
}

/// A picture, or where it is.
pub(super) enum Found {
    Picture(GeneratedImage),
    Address(String),
}

impl Found {
    /// Picture `index` from its base64, else from its `data:` URI, else where it is.
    pub(super) fn read(
        index: usize,
        base64: Option<&Text<'_>>,
        url: Option<&Text<'_>>,
        lifted: &Lifted<'_>,
    ) -> Result<Self, Error> {
        let original = |text: &Text<'_>| {
            let text = lifted.shared(&text.0);
            Some(text.slice_ref(text.trim_ascii())).filter(|text| !text.is_empty())
        };
        if let Some(base64) = base64.and_then(original) {
            return upstream::from_base64(index, &base64, None).map(Self::Picture);
        }
        let address = url
            .and_then(original)
            .ok_or_else(|| Error::new(ErrorKind::NoImage, format!("item {index} of the answer holds no picture")))?;
        if address.starts_with(b"data:") {
            return upstream::from_base64(index, &address, None).map(Self::Picture);
        }
        let address = String::from_utf8(address.to_vec()).ok().filter(|address| address.len() <= MAX_ADDRESS);
        let broken = || Error::new(ErrorKind::Protocol, format!("item {index} of the answer holds no address"));
        address.map(Self::Address).ok_or_else(broken)
    }

    /// The picture, fetched where only its address is known.
    pub(super) async fn fetched(self, index: usize, expected: &Expected<'_>) -> Result<GeneratedImage, Error> {
        match self {
            Self::Picture(image) => Ok(image),
            Self::Address(address) => {
                let picture = expected.fetcher.picture(&address, expected.own).await?;
                tracing::debug!(index, "a picture was answered by its address and fetched");
                Ok(GeneratedImage {
                    data: picture.bytes.into(),
                    format: picture.format,
                    size: picture.size,
                    seed: None,
                })
            }
        }
    }
}

/// A 200. Everything is optional: compatible servers leave out and add what they like.
#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, default)]
    data: Option<Vec<Item<'a>>>,
    /// What some call `data`.
    #[serde(borrow, default)]
    images: Option<Vec<Item<'a>>>,
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    usage: Option<Value>,
    #[serde(default)]
    cost: Option<Value>,
    #[serde(default)]
    cost_usd: Option<Value>,
    /// What the prompt itself was found to be.
    #[serde(default)]
    prompt_filter_results: Option<Value>,
    #[serde(default)]
    respect_moderation: Option<Value>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    b64_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    url: Option<Text<'a>>,
    #[serde(default)]
    respect_moderation: Option<Value>,
    #[serde(default)]
    content_filter_results: Option<Value>,
    #[serde(default)]
    finish_reason: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

fn decode(body: &Bytes, key: Option<&Secret>) -> Result<Read, Error> {
    let lifted = Lifted::new(body);
    let answer: Answer<'_> = upstream::parse(&lifted)?;
    if let Some(error) = answer.error.filter(error::is_one) {
        return Err(error::of_success(&error, key));
    }
    if refusal::is_flagged(answer.respect_moderation.as_ref())
        || refusal::is_filtered(answer.prompt_filter_results.as_ref())
    {
        return Err(error::refused());
    }
    let Some(items) = answer.data.or(answer.images) else {
        return Err(Error::new(ErrorKind::Protocol, "the provider's answer has no data"));
    };
    if items.is_empty() {
        return Err(Error::new(ErrorKind::NoImage, "the provider answered without a picture"));
    }
    // One refused picture among several is a refusal, whatever else is wrong with the others.
    if items.iter().any(Item::is_refused) {
        return Err(error::refused());
    }
    let found = items.iter().enumerate().map(|(index, item)| item.found(index, &lifted, key));
    let usage = answer.usage.as_ref();
    Ok(Read {
        found: found.collect::<Result<_, _>>()?,
        cost_usd: usage::cost(usage, [answer.cost_usd.as_ref(), answer.cost.as_ref()]),
        usage: usage.and_then(usage::tokens),
    })
}

impl Item<'_> {
    /// Whether it says that its picture was refused.
    fn is_refused(&self) -> bool {
        refusal::is_flagged(self.respect_moderation.as_ref())
            || refusal::is_filtered(self.content_filter_results.as_ref())
            || self.finish_reason.as_ref().and_then(Value::as_str).is_some_and(refusal::is_filter_word)
    }

    fn found(&self, index: usize, lifted: &Lifted<'_>, key: Option<&Secret>) -> Result<Found, Error> {
        if let Some(error) = self.error.as_ref().filter(|error| error::is_one(error)) {
            return Err(error::of_success(error, key));
        }
        Found::read(index, self.b64_json.as_ref(), self.url.as_ref(), lifted)
    }
}
