//! Answers as events: `"stream": true`.

use std::time::{Duration, Instant};

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};

use crate::easel::{Answer, Easel, client};
use crate::upstreams::in_order;

fn wish(more: &Value) -> Value {
    let mut wish = json!({ "prompt": "a fox", "size": "64x48", "stream": true });
    for (field, value) in more.as_object().unwrap() {
        wish[field] = value.clone();
    }
    wish
}

/// Providers that stream previews.
fn streaming(upstreams: &[&Simulator], policy: &str) -> String {
    in_order(upstreams, policy).replace("id = \"sim-any\"", "id = \"sim-any\"\nstreams = true")
}

/// One event, or a comment, which has no name.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    name: String,
    data: Value,
}

/// A stream as it is read.
struct Reader {
    response: reqwest::Response,
    text: String,
}

impl Reader {
    async fn open(easel: &Easel, wish: &Value) -> Self {
        let request = client().post(easel.url("/api/generate-image")).json(wish);
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!((response.status().as_u16(), header("content-type")), (200, "text/event-stream"));
        assert_eq!((header("cache-control"), header("x-accel-buffering")), ("no-store", "no"));
        assert!(!header("x-request-id").is_empty());
        Self { response, text: String::new() }
    }

    /// The next event or comment; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let end = loop {
            if let Some(end) = self.text.find("\n\n") {
                break end;
            }
            let Some(chunk) = self.response.chunk().await.unwrap() else {
                assert_eq!(self.text, "", "it ended within an event");
                return None;
            };
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        };
        let block: String = self.text.drain(..end + 2).collect();
        if block.starts_with(':') {
            return Some(Event { name: String::new(), data: Value::Null });
        }
        let lines: Vec<&str> = block.trim_end().split('\n').collect();
        assert_eq!(lines.len(), 2, "{lines:?}");
        let (name, data) = (lines[0], lines[1]);
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        Some(Event { name, data: serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap() })
    }

    async fn all(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            all.push(event);
        }
        all
    }
}

async fn events(easel: &Easel, wish: &Value) -> Vec<Event> {
    Reader::open(easel, wish).await.all().await
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

/// The answer that the last event holds.
#[track_caller]
fn completed(events: &[Event]) -> Answer {
    let last = events.last().unwrap();
    assert_eq!(last.name, "completed", "{events:?}");
    let headers = reqwest::header::HeaderMap::new();
    Answer { status: 200, headers, bytes: last.data.to_string().into(), body: last.data.clone() }
}

#[tokio::test]
async fn previews_come_first_and_then_the_very_answer() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&streaming(&[&upstream], "attempts = 1")).await;
    for number in 0..=3_usize {
        let seen = events(&easel, &wish(&json!({ "partial_images": number, "negative_prompt": "blur" }))).await;
        let expected: Vec<&str> = std::iter::repeat_n("partial_image", number).chain(["completed"]).collect();
        assert_eq!(names(&seen), expected);
        for (step, event) in seen.iter().take(number).enumerate() {
            let preview = &event.data;
            assert_eq!((&preview["index"], &preview["step"]), (&json!(0), &json!(step)), "{preview}");
            let as_answer = json!({ "images": [preview] });
            let shown = Answer { body: as_answer, ..completed(&seen) };
            assert_eq!((shown.pictures(), &preview["mime_type"]), (vec![(64, 48)], &json!("image/png")));
        }
        let answer = completed(&seen);
        assert_eq!((answer.pictures(), answer.attempts()), (vec![(64, 48)], vec!["first ok - 1".to_owned()]));
        // All that the usual answer has, and nothing else.
        let usual = easel.generate(&wish(&json!({ "stream": false }))).await;
        let keys = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&answer.body), keys(&usual.body));
        assert_eq!(keys(&answer.body["images"][0]), keys(&usual.body["images"][0]));
    }
    assert!(easel.logs("streamed to its end").await, "{}", easel.log());
}

#[tokio::test]
async fn each_of_several_pictures_has_its_own_previews() {
    let upstream = Simulator::start().await;
    let config =
        streaming(&[&upstream], "attempts = 1").replace("streams = true", "streams = true\nlimits = { max_count = 1 }");
    let easel = Easel::start(&config).await;
    let seen = events(&easel, &wish(&json!({ "partial_images": 1, "n": 3 }))).await;
    assert_eq!(completed(&seen).pictures().len(), 3);
    let indices: Vec<_> = seen.iter().map(|event| event.data["index"].clone()).collect();
    assert_eq!(indices, [json!(0), json!(1), json!(2), Value::Null]);
}

#[tokio::test]
async fn previews_arrive_while_the_picture_is_made_and_leaving_lets_the_upstream_go() {
    let upstream = Simulator::start().await;
    // Half of the events, then nothing more.
    upstream.fail(Fault::HangMidBody);
    let easel = Easel::start(&streaming(&[&upstream], r#"timeout = "60s""#)).await;
    let mut reader = Reader::open(&easel, &wish(&json!({ "partial_images": 3 }))).await;
    let first = tokio::time::timeout(Duration::from_secs(5), reader.next()).await.expect("a preview in time").unwrap();
    assert_eq!((first.name.as_str(), upstream.in_flight()), ("partial_image", 1));
    drop(reader);
    let gone = upstream.settles(Duration::from_secs(1), |counts| counts.in_flight + counts.live_connections == 0).await;
    assert!(gone, "{:?}", upstream.counts());
    assert!(easel.logs("a stream was left before its end").await, "{}", easel.log());
    // The same where nothing has been shown yet.
    upstream.fail(Fault::Hang);
    let reader = Reader::open(&easel, &wish(&json!({}))).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    drop(reader);
    assert!(upstream.settles(Duration::from_secs(1), |counts| counts.in_flight == 0).await, "{:?}", upstream.counts());
    assert_eq!(easel.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn an_error_in_the_middle_leads_to_the_next_provider_or_is_told() {
    let (first, second) = (Simulator::start().await, Simulator::start().await);
    first.fail(Fault::ErrorIn200);
    let easel = Easel::start(&streaming(&[&first, &second], r#"timeout = "10s""#)).await;
    let seen = events(&easel, &wish(&json!({ "partial_images": 2 }))).await;
    assert_eq!(names(&seen), ["partial_image", "partial_image", "partial_image", "completed"]);
    let steps: Vec<_> = seen.iter().take(3).map(|event| event.data["step"].clone()).collect();
    assert_eq!(steps, [0, 0, 1]);
    let answer = completed(&seen);
    assert_eq!(answer.pictures(), [(64, 48)]);
    assert_eq!(answer.attempts(), ["first failed unavailable 1", "second ok - 1"]);
    assert_eq!(answer.body["fallback"], json!({ "used": true, "policy": "auto" }));

    let wish = wish(&json!({ "partial_images": 2, "provider": "first", "fallback": "never" }));
    let seen = events(&easel, &wish).await;
    assert_eq!(names(&seen), ["partial_image", "error"]);
    let problem = &seen[1].data;
    assert_eq!((&problem["status"], &problem["code"]), (&json!(503), &json!("provider_unavailable")));
    assert_eq!(problem["type"], "urn:easel:problem:provider_unavailable");
    assert_eq!(problem["attempts"][0]["provider"], "first");
    for member in ["title", "detail", "hint", "request_id"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {problem}");
    }
    let id = problem["request_id"].as_str().unwrap();
    let said = easel.log().lines().any(|line| line.contains(id) && line.contains("\"failed\""));
    assert!(said, "{}", easel.log());
}

#[tokio::test]
async fn what_is_wrong_before_a_provider_is_asked_is_an_error_as_ever() {
    let upstream = Simulator::start().await;
    let config = streaming(&[&upstream], "attempts = 1")
        .replace("streams = true", "streams = true\nlimits = { max_side = 128 }");
    let easel = Easel::start(&config).await;
    for (more, status, code) in [
        (json!({ "model": "nope" }), 404, "unknown_model"),
        (json!({ "size": "640x640" }), 422, "unsupported"),
        (json!({ "n": 0 }), 422, "invalid_field"),
        (json!({ "image": "AAAA" }), 422, "invalid_field"),
        (json!({ "partial_images": 4 }), 422, "invalid_field"),
        (json!({ "partial_images": -1 }), 422, "invalid_field"),
        (json!({ "partial_images": 1.5 }), 422, "invalid_field"),
        (json!({ "stream": "yes" }), 422, "invalid_field"),
        (json!({ "stream": false, "partial_images": 2 }), 422, "missing_field"),
    ] {
        easel.generate(&wish(&more)).await.assert_problem(status, code);
    }
    assert_eq!(easel.generate(&wish(&json!({ "stream": null, "partial_images": 0 }))).await.pictures().len(), 1);
    let refused = easel.generate_once("k", &wish(&json!({}))).await;
    assert_eq!(refused.assert_problem(422, "conflicting_fields").body["field"], "stream");
    assert_eq!(upstream.hits(), 1);
    let alone = Easel::start(crate::upstreams::NO_DEFAULTS).await;
    alone.generate(&wish(&json!({}))).await.assert_problem(503, "nothing_available");
}

#[tokio::test]
async fn kept_and_shared_pictures_come_without_previews() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&streaming(&[&upstream], "attempts = 1")).await;
    let seeded = wish(&json!({ "seed": 7, "partial_images": 2 }));
    upstream.set(Behaviour::slow(Duration::from_millis(500)));
    let (first, joined) = tokio::join!(events(&easel, &seeded), async {
        assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
        events(&easel, &seeded).await
    });
    assert_eq!(names(&first), ["partial_image", "partial_image", "completed"]);
    assert_eq!((names(&joined), &completed(&joined).body["cache"]), (vec!["completed"], &json!("coalesced")));
    let kept = events(&easel, &seeded).await;
    assert_eq!((names(&kept), &completed(&kept).body["cache"]), (vec!["completed"], &json!("hit")));
    assert_eq!(upstream.hits(), 1);
    // The one for whom they are made leaves; the other one has them all the same.
    let seeded = wish(&json!({ "seed": 8, "partial_images": 2 }));
    let leaver = Reader::open(&easel, &seeded).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    let stayer = Reader::open(&easel, &seeded).await;
    drop(leaver);
    assert_eq!(completed(&stayer.all().await).pictures(), [(64, 48)]);
    assert_eq!(upstream.hits(), 2);
}

#[tokio::test]
async fn the_end_has_addresses_where_they_are_asked_for() {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&streaming(&[&upstream], "attempts = 1")).await;
    let seen = events(&easel, &wish(&json!({ "partial_images": 1, "response_format": "url" }))).await;
    assert!(seen[0].data["b64_json"].is_string());
    let image = &completed(&seen).body["images"][0];
    assert_eq!(image["b64_json"], Value::Null);
    let url = image["url"].as_str().unwrap();
    assert_eq!(client().get(url).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn something_is_sent_while_nothing_happens() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::slow(Duration::from_millis(10_500)));
    let easel = Easel::start(&streaming(&[&upstream], r#"timeout = "30s""#)).await;
    let begun = Instant::now();
    let seen = events(&easel, &wish(&json!({}))).await;
    assert_eq!(names(&seen), ["", "completed"]);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_slow_reader_loses_previews_at_most() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::default().with_bytes(3_000_000));
    let config = streaming(&[&upstream], r#"timeout = "30s""#)
        .replace("streams = true", "streams = true\nlimits = { max_count = 1 }");
    let easel = Easel::start(&config).await;
    // Far more than the buffers on the way hold.
    let wish = wish(&json!({ "partial_images": 3, "n": 4, "size": "1024x1024" }));
    let mut reader = Reader::open(&easel, &wish).await;
    assert!(upstream.settles(Duration::from_secs(30), |counts| counts.in_flight == 0 && upstream.hits() == 4).await);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut seen = Vec::new();
    while let Some(event) = reader.next().await {
        seen.push(event);
    }
    assert_eq!(completed(&seen).pictures().len(), 4);
    assert!(seen.len() < 13, "none was lost: {}", seen.len());
}
