//! The answer of another Easel.

use bytes::Bytes;
use serde::Deserialize;

use crate::generation::{GeneratedImage, Generation, Seed, Wish};
use crate::providers::openai_compat::Upstream;
use crate::providers::upstream::{self, Lifted, Text};
use crate::providers::{Error, ErrorKind};

/// Sentences of another Easel that are passed on, and how long each may be.
const MAX_WARNINGS: usize = 16;
const MAX_SENTENCE: usize = 500;

/// Soft wishes: the only ones that are ever left out.
const SOFT: [Wish; 6] =
    [Wish::Seed, Wish::NegativePrompt, Wish::Steps, Wish::GuidanceScale, Wish::Scheduler, Wish::Strength];

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    images: Vec<Image<'a>>,
    #[serde(default)]
    provider: Option<String>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    fallback: Option<Fallback>,
    #[serde(default)]
    ignored: Vec<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    cost_usd: Option<f64>,
}

#[derive(Deserialize)]
struct Fallback {
    #[serde(default)]
    used: bool,
}

#[derive(Deserialize)]
struct Image<'a> {
    #[serde(borrow, default)]
    b64_json: Option<Text<'a>>,
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    seed: Option<u64>,
}

/// A picture or its address, and its seed.
enum Found {
    Picture(GeneratedImage),
    Address(String, Option<Seed>),
}

/// Reads the body of a 200.
pub(super) async fn read(body: Vec<u8>, upstream: &Upstream) -> Result<Generation, Error> {
    let (mut generation, found) = upstream::decode(body, decode).await?;
    let own = upstream.client.origin();
    for found in found {
        generation.images.push(match found {
            Found::Picture(image) => image,
            Found::Address(address, seed) => {
                let picture = upstream.fetcher.picture(&address, own.as_ref()).await?;
                GeneratedImage { data: picture.bytes.into(), format: picture.format, size: picture.size, seed }
            }
        });
    }
    Ok(generation)
}

fn decode(body: &Bytes) -> Result<(Generation, Vec<Found>), Error> {
    let lifted = Lifted::new(body);
    let answer: Answer<'_> = upstream::parse(&lifted)?;
    if answer.images.is_empty() {
        return Err(Error::new(ErrorKind::NoImage, "the provider answered without a picture"));
    }
    let found = answer.images.iter().enumerate().map(|(index, image)| image.found(index, &lifted));
    let found = found.collect::<Result<Vec<_>, _>>()?;
    let mut warnings: Vec<_> = answer.warnings.iter().filter_map(|text| sentence(text)).take(MAX_WARNINGS).collect();
    if answer.fallback.is_some_and(|fallback| fallback.used)
        && let (Some(provider), Some(model)) = (&answer.provider, &answer.model)
        && let Some(text) = sentence(&format!("the other Easel fell back to {provider}/{model}"))
    {
        warnings.push(text);
    }
    let ignored = answer.ignored.iter().filter_map(|name| SOFT.into_iter().find(|wish| wish.field() == name));
    let cost_usd = answer.cost_usd.filter(|cost| cost.is_finite() && *cost >= 0.0);
    let generation = Generation { ignored: ignored.collect(), warnings, cost_usd, ..Generation::default() };
    Ok((generation, found))
}

/// A sentence that may be shown, cut where it goes on for too long.
pub(super) fn sentence(text: &str) -> Option<String> {
    let text: String = text.chars().filter(|c| !c.is_control()).take(MAX_SENTENCE).collect();
    (!text.trim().is_empty()).then_some(text)
}

impl Image<'_> {
    fn found(&self, index: usize, lifted: &Lifted<'_>) -> Result<Found, Error> {
        let seed = self.seed.and_then(Seed::new);
        let text = self.b64_json.as_ref().map(|text| lifted.shared(&text.0)).filter(|text| !text.is_empty());
        match (text, &self.url) {
            (Some(text), _) => upstream::from_base64(index, &text, seed).map(Found::Picture),
            (None, Some(url)) => Ok(Found::Address(url.clone(), seed)),
            (None, None) => Err(Error::new(ErrorKind::NoImage, format!("picture {index} of the answer is missing"))),
        }
    }
}
