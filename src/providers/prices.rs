//! What pictures cost where their provider does not say: list prices by kind and by the model's name upstream. The
//! prices themselves stand in `config/prices.toml` and nowhere in the code.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::BuildError;
use super::declared::DeclaredSize;
use crate::generation::{GeneratedImage, Generation, ImageSize, ProviderId, Usage};

/// Every known price, by kind or provider and then by model.
#[derive(Debug, Clone, Default)]
pub struct Prices(BTreeMap<String, BTreeMap<String, Price>>);

/// The prices of one provider's models.
#[derive(Debug, Clone, Default)]
pub struct ModelPrices(BTreeMap<String, Price>);

/// What one model costs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Declared")]
struct Price {
    tokens: Option<PerMillionTokens>,
    images: Option<PerImage>,
}

/// US dollars for a million tokens of each sort; absent where nobody said.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerMillionTokens {
    input_text: Option<f64>,
    input_image: Option<f64>,
    output_image: Option<f64>,
    output_text: Option<f64>,
}

/// US dollars for a picture.
#[derive(Debug, Clone, PartialEq)]
enum PerImage {
    Any(f64),
    BySize(Vec<(ImageSize, f64)>),
}

/// An entry as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    source: String,
    as_of: String,
    per_million_tokens: Option<PerMillionTokens>,
    per_image: Option<DeclaredPerImage>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a price, or prices by size")]
enum DeclaredPerImage {
    Any(f64),
    BySize(BTreeMap<String, f64>),
}

impl Prices {
    /// Reads tables of prices; an entry of a later one takes the place of an earlier one's.
    ///
    /// # Errors
    /// The entry that cannot be.
    pub fn read(tables: &[Value]) -> Result<Self, BuildError> {
        let mut all = Self::default();
        for table in tables {
            let read: BTreeMap<String, BTreeMap<String, Price>> =
                serde_path_to_error::deserialize(table).map_err(|error| {
                    let key = error.path().to_string();
                    BuildError::config(key, error.into_inner().to_string())
                })?;
            for (owner, models) in read {
                all.0.entry(owner).or_default().extend(models);
            }
        }
        Ok(all)
    }

    /// The prices of the provider `id` of this kind; what is known of the provider itself counts more.
    pub fn of(&self, id: &ProviderId, kind: &str) -> ModelPrices {
        let mut prices = self.0.get(kind).cloned().unwrap_or_default();
        prices.extend(self.0.get(id.as_str()).cloned().unwrap_or_default());
        ModelPrices(prices)
    }
}

impl ModelPrices {
    /// What the pictures of `generation` cost that the model of this name upstream made; `None` where it is not known.
    pub fn cost(&self, model: &str, generation: &Generation) -> Option<f64> {
        let price = self.0.get(model).or_else(|| self.0.get(undated(model)?))?;
        let by_tokens = price.tokens.zip(generation.usage).and_then(|(tokens, usage)| tokens.cost(usage));
        by_tokens.or_else(|| price.images.as_ref()?.cost(&generation.images))
    }
}

impl PerMillionTokens {
    fn cost(self, usage: Usage) -> Option<f64> {
        // No picture comes of nothing: the provider did not count what it made.
        if usage.output_image == 0 && usage.output_text == 0 {
            return None;
        }
        let sorts = [
            (usage.input_text, self.input_text),
            (usage.input_image, self.input_image),
            (usage.output_image, self.output_image),
            (usage.output_text, self.output_text),
        ];
        let millionths =
            sorts.into_iter().filter(|(count, _)| *count > 0).map(|(count, price)| Some(as_f64(count) * price?));
        // Divided once, so that sums of round prices stay round.
        Some(millionths.sum::<Option<f64>>()? / 1e6)
    }

    fn prices(self) -> impl Iterator<Item = f64> {
        [self.input_text, self.input_image, self.output_image, self.output_text].into_iter().flatten()
    }
}

impl PerImage {
    fn cost(&self, images: &[GeneratedImage]) -> Option<f64> {
        let price = |image: &GeneratedImage| match self {
            Self::Any(price) => Some(*price),
            Self::BySize(prices) => prices.iter().find(|(size, _)| *size == image.size).map(|(_, price)| *price),
        };
        images.iter().map(price).sum()
    }

    fn prices(&self) -> Vec<f64> {
        match self {
            Self::Any(price) => vec![*price],
            Self::BySize(prices) => prices.iter().map(|(_, price)| *price).collect(),
        }
    }
}

impl TryFrom<Declared> for Price {
    type Error = String;

    fn try_from(declared: Declared) -> Result<Self, String> {
        if declared.source.trim().is_empty() {
            return Err("source is empty: say where the price is from".to_owned());
        }
        if !is_date(&declared.as_of) {
            return Err(format!("`{}` is no date: write as_of as \"2026-10-02\"", declared.as_of));
        }
        let images = declared.per_image.map(PerImage::try_from).transpose()?;
        let tokens = declared.per_million_tokens;
        let token_prices = tokens.into_iter().flat_map(PerMillionTokens::prices);
        let prices: Vec<f64> = token_prices.chain(images.iter().flat_map(PerImage::prices)).collect();
        if prices.is_empty() {
            return Err("it names no price: write per_million_tokens or per_image".to_owned());
        }
        match prices.into_iter().find(|price| !price.is_finite() || *price < 0.0) {
            Some(price) => Err(format!("{price} is no price")),
            None => Ok(Self { tokens, images }),
        }
    }
}

impl TryFrom<DeclaredPerImage> for PerImage {
    type Error = String;

    fn try_from(declared: DeclaredPerImage) -> Result<Self, String> {
        let sized = |(size, price)| Ok((DeclaredSize::try_from(size)?.0, price));
        match declared {
            DeclaredPerImage::Any(price) => Ok(Self::Any(price)),
            DeclaredPerImage::BySize(prices) => {
                prices.into_iter().map(sized).collect::<Result<_, _>>().map(Self::BySize)
            }
        }
    }
}

/// `2026-10-02`.
fn is_date(text: &str) -> bool {
    let part = |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse::<u8>().ok());
    let is_plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    is_plain
        && part(5..7).is_some_and(|month| (1..=12).contains(&month))
        && part(8..10).is_some_and(|day| (1..=31).contains(&day))
}

/// `gpt-image-2` of `gpt-image-2-2026-04-21`.
fn undated(model: &str) -> Option<&str> {
    let (name, date) = model.split_at_checked(model.len().checked_sub(10)?)?;
    name.strip_suffix('-').filter(|_| is_date(date))
}

#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::scripted::{pictures, request};

    fn prices(entry: &Value) -> Result<ModelPrices, BuildError> {
        let mut entry = entry.clone();
        for (key, value) in [("source", "the list"), ("as_of", "2026-10-02")] {
            entry.as_object_mut().unwrap().entry(key).or_insert(json!(value));
        }
        Ok(Prices::read(&[json!({ "a_kind": { "m": entry } })])?.of(&ProviderId::new("p"), "a_kind"))
    }

    fn counted(usage: Usage) -> Generation {
        Generation { usage: Some(usage), ..pictures(&request()) }
    }

    #[test]
    fn tokens_of_each_sort_have_their_price() {
        let entry = json!({ "per_million_tokens": { "input_text": 5, "input_image": 8, "output_image": 32 } });
        let prices = prices(&entry).unwrap();
        let cost = |input_text, input_image, output_image, output_text| {
            prices.cost("m", &counted(Usage { input_text, input_image, output_image, output_text }))
        };
        assert_eq!(cost(10, 40, 4160, 0), Some(0.13349));
        assert_eq!(cost(0, 0, 1, 0), Some(0.000_032));
        // Nothing was counted that was made, or something that has no price.
        assert_eq!(cost(10, 40, 0, 0), None);
        assert_eq!(cost(10, 40, 4160, 1), None);
        assert_eq!(prices.cost("m", &pictures(&request())), None);
        assert_eq!(prices.cost("n", &counted(Usage { output_image: 9, ..Usage::default() })), None);
    }

    #[test]
    fn pictures_have_a_price_each_and_by_size() {
        let two = GenerationRequestOf(2).pictures();
        assert_eq!(prices(&json!({ "per_image": 0.04 })).unwrap().cost("m", &two), Some(0.08));
        assert_eq!(prices(&json!({ "per_image": 0 })).unwrap().cost("m", &two), Some(0.0));
        let by_size = json!({ "per_image": { "16x16": 0.02, "32x32": 0.05 } });
        assert_eq!(prices(&by_size).unwrap().cost("m", &two), Some(0.04));
        assert_eq!(prices(&json!({ "per_image": { "32x32": 0.05 } })).unwrap().cost("m", &two), None);
        // Tokens count where they are counted.
        let both = json!({ "per_image": 0.04, "per_million_tokens": { "output_image": 30 } });
        let usage = Usage { output_image: 1290, ..Usage::default() };
        assert_eq!(prices(&both).unwrap().cost("m", &counted(usage)), Some(0.0387));
        assert_eq!(prices(&both).unwrap().cost("m", &two), Some(0.08));
    }

    struct GenerationRequestOf(u32);

    impl GenerationRequestOf {
        fn pictures(&self) -> Generation {
            let mut request = request();
            request.count = std::num::NonZeroU32::new(self.0).unwrap();
            pictures(&request)
        }
    }

    #[test]
    fn later_tables_providers_and_exact_names_count_more() {
        let entry = |price: f64| json!({ "source": "s", "as_of": "2026-01-31", "per_image": price });
        let shipped = json!({ "a_kind": { "m": entry(1.0), "n": entry(2.0) }, "b_kind": { "m": entry(3.0) } });
        let own = json!({ "a_kind": { "n": entry(4.0), "n-2026-02-01": entry(5.0) }, "studio": { "m": entry(6.0) } });
        let all = Prices::read(&[shipped, own]).unwrap();
        let one = pictures(&request());
        for (provider, kind, model, expected) in [
            ("p", "a_kind", "m", Some(1.0)),
            ("p", "a_kind", "n", Some(4.0)),
            ("p", "a_kind", "n-2026-02-01", Some(5.0)),
            ("p", "a_kind", "n-2026-02-02", Some(4.0)),
            ("p", "a_kind", "n-2026-13-02", None),
            ("p", "a_kind", "n-mini", None),
            ("p", "a_kind", "2026-02-02", None),
            ("p", "b_kind", "m", Some(3.0)),
            ("p", "c_kind", "m", None),
            ("studio", "a_kind", "m", Some(6.0)),
            ("studio", "a_kind", "n", Some(4.0)),
        ] {
            let cost = all.of(&ProviderId::new(provider), kind).cost(model, &one);
            assert_eq!(cost, expected, "{provider} {kind} {model}");
        }
    }

    #[test]
    fn entries_that_cannot_be_are_told() {
        for (entry, expected) in [
            (json!({}), "it names no price"),
            (json!({ "per_million_tokens": {} }), "it names no price"),
            (json!({ "per_image": -0.01 }), "-0.01 is no price"),
            (json!({ "per_image": "free" }), "a price, or prices by size"),
            (json!({ "per_image": { "big": 1 } }), "`big` is no size"),
            (json!({ "per_million_tokens": { "output_images": 1 } }), "unknown field `output_images`"),
            (json!({ "per_picture": 1 }), "unknown field `per_picture`"),
            (json!({ "per_image": 1, "as_of": "yesterday" }), "`yesterday` is no date"),
            (json!({ "per_image": 1, "source": " " }), "source is empty"),
        ] {
            let said = prices(&entry).unwrap_err().to_string();
            assert!(said.starts_with("a_kind.m") && said.contains(expected), "{said}\ndoes not say\n{expected}");
        }
    }
}
