//! The same request again: from memory where it may be, anew where it must be.

use std::time::Duration;

use provider_sim::{Fault, Simulator};
use serde_json::{Value, json};

use crate::easel::{Answer, Easel};
use crate::upstreams::in_order;

fn wish(more: &Value) -> Value {
    let mut wish = json!({ "prompt": "a fox", "size": "64x48", "seed": 7 });
    for (field, value) in more.as_object().unwrap() {
        wish[field] = value.clone();
    }
    wish
}

/// What the answer says about where its pictures are from.
fn cache(answer: &Answer) -> &str {
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.header("x-easel-cache"), answer.body["cache"]);
    answer.body["cache"].as_str().unwrap()
}

#[tokio::test]
async fn a_seeded_request_is_made_once_and_says_so() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    let first = easel.generate(&wish(&json!({}))).await;
    let second = easel.generate(&wish(&json!({ "timeout_ms": 9000, "fallback": "never", "cache": "any" }))).await;
    assert_eq!((cache(&first), cache(&second), upstream.hits()), ("miss", "hit", 1));
    assert_eq!(first.body["images"], second.body["images"]);
    assert_eq!((first.attempts(), second.attempts()), (vec!["first ok - 1".into()], vec!["first ok - 0".into()]));
    assert_eq!((&second.body["cost_usd"], &second.body["provider"]), (&json!(0.0), &json!("first")));
    assert_eq!(second.body["request_id"], second.header("x-request-id"));
    assert_ne!(first.body["request_id"], second.body["request_id"]);
    // By another name it is the same model.
    let named = easel.generate(&wish(&json!({ "model": "first/any" }))).await;
    assert_eq!((cache(&named), upstream.hits()), ("hit", 1));
}

#[tokio::test]
async fn whatever_shapes_the_picture_makes_another_request_of_it() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    assert_eq!(cache(&easel.generate(&wish(&json!({}))).await), "miss");
    let changes = [
        json!({ "prompt": "a fox " }),
        json!({ "negative_prompt": "" }),
        json!({ "n": 2 }),
        json!({ "size": "48x64" }),
        json!({ "seed": 8 }),
        json!({ "steps": 9 }),
        json!({ "guidance_scale": 7 }),
        json!({ "scheduler": "euler" }),
        json!({ "strict": true }),
        json!({ "output_format": "webp" }),
        json!({ "output_format": "png" }),
    ];
    for (number, change) in changes.iter().enumerate() {
        assert_eq!(cache(&easel.generate(&wish(change)).await), "miss", "{change}");
        assert_eq!(upstream.hits(), number + 2, "{change}");
        assert_eq!(cache(&easel.generate(&wish(change)).await), "hit", "{change}");
    }
}

#[tokio::test]
async fn the_request_says_what_the_cache_may_do() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    for (asked, caches) in [
        (json!({ "seed": null }), ["bypass", "bypass"]),
        (json!({ "seed": -1, "cache": "auto" }), ["bypass", "bypass"]),
        (json!({ "cache": "never" }), ["bypass", "bypass"]),
        (json!({ "seed": null, "cache": "any" }), ["miss", "hit"]),
        (json!({ "cache": "any" }), ["miss", "hit"]),
    ] {
        for expected in caches {
            assert_eq!(cache(&easel.generate(&wish(&asked)).await), expected, "{asked}");
        }
    }
    assert_eq!(upstream.hits(), 8);
}

#[tokio::test]
async fn failures_and_broken_pictures_are_not_kept() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    for fault in [Fault::Status(503), Fault::HalfPicture, Fault::WrongSize, Fault::EmptyData, Fault::Refused] {
        upstream.fail(fault);
        let answer = easel.generate(&wish(&json!({}))).await;
        assert_ne!(answer.status, 200, "{fault}");
    }
    upstream.reset();
    assert_eq!(cache(&easel.generate(&wish(&json!({}))).await), "miss");
}

#[tokio::test]
async fn kept_pictures_outlive_their_provider_and_come_in_the_order_of_turns() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    let easel = Easel::start(&in_order(&[&first, &second], "attempts = 1")).await;
    assert_eq!(cache(&easel.generate(&wish(&json!({}))).await), "miss");
    first.fail(Fault::Status(503));
    let again = easel.generate(&wish(&json!({}))).await;
    assert_eq!((cache(&again), again.attempts()), ("hit", vec!["first ok - 0".to_owned()]));
    // What the second made is found when its turn comes: the first is asked before.
    let other = wish(&json!({ "seed": 8 }));
    easel.generate(&other).await;
    let again = easel.generate(&other).await;
    assert_eq!(cache(&again), "hit");
    assert_eq!(again.attempts(), ["first failed overloaded 1", "second ok - 0"]);
    assert_eq!((first.hits(), second.hits()), (3, 1));
}

#[tokio::test]
async fn bounds_are_kept_and_nothing_is_kept_where_the_cache_is_off() {
    let upstream = Simulator::start().await;
    for settings in [r#"cache.max_bytes = "0 B""#, r#"cache.max_entry = "1 B""#, r#"cache.ttl = "1ms""#] {
        let easel = Easel::start(&format!("{settings}\n{}", in_order(&[&upstream], "attempts = 1"))).await;
        for _ in 0..2 {
            assert_ne!(cache(&easel.generate(&wish(&json!({}))).await), "hit", "{settings}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(upstream.hits(), 6);
}
