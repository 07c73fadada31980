//! What an answer says about tokens and money, in the spellings that are known.

use serde_json::Value;

use crate::generation::Usage;

/// xAI counts in these: <https://docs.x.ai/developers/cost-tracking>
const TICKS_PER_DOLLAR: f64 = 1e10;

/// `usage` as the Images API writes it; `None` where it counts nothing.
pub(super) fn tokens(usage: &Value) -> Option<Usage> {
    let number = |object: &Value, name: &str| object.get(name).and_then(Value::as_u64);
    let split = |whole: &str, details: &str| {
        let parts = usage.get(details)?;
        let (text, image) = (number(parts, "text_tokens"), number(parts, "image_tokens"));
        let known = text.unwrap_or(0) + image.unwrap_or(0);
        // Details that do not add up to the whole are no details.
        (known > 0 && number(usage, whole).is_none_or(|whole| whole == known)).then_some((text?, image?))
    };
    // Without details, what is read is the prompt, and what is written are pictures.
    let (input_text, input_image) =
        split("input_tokens", "input_tokens_details").unwrap_or((number(usage, "input_tokens").unwrap_or(0), 0));
    let (output_text, output_image) =
        split("output_tokens", "output_tokens_details").unwrap_or((0, number(usage, "output_tokens").unwrap_or(0)));
    let found = Usage { input_text, input_image, output_image, output_text };
    (found != Usage::default()).then_some(found)
}

/// What it cost in US dollars: in the usage, else beside it.
pub(super) fn cost(usage: Option<&Value>, beside: [Option<&Value>; 2]) -> Option<f64> {
    let money = |value: &Value| value.as_f64().filter(|cost| cost.is_finite() && *cost >= 0.0);
    let within = |name: &str| usage.and_then(|usage| usage.get(name)).and_then(money);
    within("cost_in_usd_ticks")
        .map(|ticks| ticks / TICKS_PER_DOLLAR)
        .or_else(|| within("cost_usd"))
        .or_else(|| within("cost"))
        .or_else(|| beside.into_iter().flatten().find_map(money))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_read_with_and_without_details() {
        let usage = |input_text, input_image, output_image, output_text| {
            Some(Usage { input_text, input_image, output_image, output_text })
        };
        let details = |text: u64, image: u64| json!({ "text_tokens": text, "image_tokens": image });
        let cases = [
            (
                json!({
                    "input_tokens": 50, "input_tokens_details": details(10, 40), "output_tokens": 4160,
                    "output_tokens_details": details(0, 4160), "total_tokens": 4210,
                }),
                usage(10, 40, 4160, 0),
            ),
            (json!({ "input_tokens": 14, "output_tokens": 1584 }), usage(14, 0, 1584, 0)),
            (
                json!({ "input_tokens": 14, "input_tokens_details": details(3, 4), "output_tokens": 5 }),
                usage(14, 0, 5, 0),
            ),
            (
                json!({ "input_tokens": 0, "output_tokens": 0, "input_tokens_details": details(0, 0), "prompt_tokens": 0 }),
                None,
            ),
            (json!({ "cost_in_usd_ticks": 5 }), None),
            (json!("none"), None),
        ];
        for (text, expected) in cases {
            assert_eq!(tokens(&text), expected, "{text}");
        }
    }

    #[test]
    fn money_is_read_wherever_it_stands() {
        let cases = [
            (json!({ "cost_in_usd_ticks": 200_000_000_u64 }), None, Some(0.02)),
            (json!({ "cost": 0.04 }), Some(json!(9.0)), Some(0.04)),
            (json!({}), Some(json!(0.5)), Some(0.5)),
            (json!({ "cost": "0.5" }), None, None),
            (json!({ "cost": -1.0 }), None, None),
        ];
        for (usage, beside, expected) in cases {
            assert_eq!(cost(Some(&usage), [None, beside.as_ref()]), expected, "{usage}");
        }
        assert_eq!(cost(None, [None, None]), None);
    }
}
