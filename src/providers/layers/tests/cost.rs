//! What is told of the cost.

use std::num::NonZeroU32;

use serde_json::json;

use super::{HOUR, Layered, ask, call, policy};
use crate::generation::{Generation, GenerationRequest, Limits, Model, ProviderId, Usage};
use crate::providers::Prices;
use crate::providers::scripted::{Scripted, Step, model, pictures, request};

#[tokio::test(start_paused = true)]
async fn a_sum_of_parts_is_known_only_where_every_part_is() {
    let part = |cost: Option<f64>, tokens: Option<u64>| {
        let usage = tokens.map(|output_image| Usage { output_image, ..Usage::default() });
        Step::Answer(Generation { cost_usd: cost, usage, ..pictures(&request()) })
    };
    for (parts, cost, tokens) in [
        ([part(Some(0.5), Some(3)), part(Some(0.25), Some(4))], Some(0.75), Some(7)),
        ([part(Some(0.5), None), part(None, Some(4))], None, None),
        ([part(None, Some(3)), part(Some(0.25), None)], None, None),
        ([part(None, None), part(None, None)], None, None),
    ] {
        let limits = Limits { max_count: NonZeroU32::new(1), ..Limits::default() };
        let provider = Scripted::new(vec![Model { limits, ..model("m") }], parts);
        let two = GenerationRequest { count: NonZeroU32::new(2).unwrap(), ..request() };
        let made = ask(&provider, &policy(1), &two, HOUR).await.result.unwrap();
        assert_eq!((made.cost_usd, made.usage.map(|usage| usage.output_image)), (cost, tokens));
    }
}

#[tokio::test(start_paused = true)]
async fn the_cost_is_the_providers_own_word_or_what_the_table_knows() {
    let table = json!({ "a_kind": { "known": {
        "source": "the list", "as_of": "2026-10-02", "per_image": 0.04, "per_million_tokens": { "output_image": 30 },
    } } });
    let prices = Prices::read(&[table]).unwrap().of(&ProviderId::new("p"), "a_kind");
    let limits = Limits { max_count: NonZeroU32::new(1), ..Limits::default() };
    let counted = Usage { output_image: 1000, ..Usage::default() };
    let told = |cost: Option<f64>, usage: Option<Usage>| Generation { cost_usd: cost, usage, ..pictures(&request()) };
    for (price_key, part, expected) in [
        (Some("known"), told(Some(0.5), Some(counted)), Some(1.0)),
        (Some("known"), told(Some(0.0), None), Some(0.0)),
        (Some("known"), told(None, Some(counted)), Some(0.06)),
        (Some("known"), told(None, None), Some(0.08)),
        (Some("known"), told(Some(f64::NAN), None), Some(0.08)),
        (Some("known"), told(Some(-1.0), None), Some(0.08)),
        (Some("other"), told(None, Some(counted)), None),
        (Some("other"), told(Some(f64::INFINITY), None), None),
        (None, told(None, Some(counted)), None),
        (None, told(Some(0.5), None), Some(1.0)),
    ] {
        let price_key = price_key.map(str::to_owned);
        let model = Model { limits: limits.clone(), price_key, ..model("m") };
        let provider = Scripted::new(vec![model], [Step::Answer(part.clone()), Step::Answer(part.clone())]);
        let layered = Layered::with_prices(&[&provider], &policy(1), prices.clone());
        let two = GenerationRequest { count: NonZeroU32::new(2).unwrap(), ..request() };
        let made = layered.provider.generate(&two, &call(HOUR)).await.unwrap();
        assert_eq!(made.cost_usd, expected, "{part:?}");
        if let Some(cost) = expected.filter(|cost| *cost > 0.0) {
            layered.counted(&format!("easel_provider_cost_usd_total{{provider=\"p\",model=\"m\"}} {cost:?}"));
        }
    }
}
