//! Answers that come as events.

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{answer, call, provider, replay, source};
use crate::generation::{Generation, GenerationRequest, ImageFormat, PartialImage, Usage};
use crate::providers::scripted::{request, wrapped};
use crate::providers::{Error, ErrorKind, Policy};

const EVENTS: &str = "content-type: text/event-stream; charset=utf-8";

fn asked() -> GenerationRequest {
    GenerationRequest { partial_images: 2, ..request() }
}

/// What came of an answer, the previews that were shown, and what was sent.
async fn stream(reply: Vec<u8>, asked: &GenerationRequest) -> (Result<Generation, Error>, Vec<PartialImage>, Value) {
    let (base_url, sent) = replay(reply).await;
    let (partials, mut shown) = mpsc::channel(16);
    let call = call().with_partials(partials);
    let made = provider(&base_url, &json!({ "id": "gpt-image-1.5" })).generate(asked, &call).await;
    drop(call);
    let mut previews = Vec::new();
    while let Some(preview) = shown.recv().await {
        previews.push(preview);
    }
    (made, previews, sent.await.unwrap().json())
}

fn event(kind: &str, side: u32, further: &Value) -> String {
    use base64::Engine as _;
    let picture = base64::engine::general_purpose::STANDARD.encode(&source(side, side, ImageFormat::Png).bytes);
    let mut data = json!({ "type": kind, "b64_json": picture, "created_at": 1_794_000_003, "output_format": "png" });
    data.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    format!("event: {kind}\ndata: {data}\n\n")
}

fn partial(side: u32, index: u32) -> String {
    event("image_generation.partial_image", side, &json!({ "partial_image_index": index }))
}

fn completed(side: u32) -> String {
    let usage = json!({
        "input_tokens": 14, "input_tokens_details": { "text_tokens": 14, "image_tokens": 0 }, "output_tokens": 1056,
        "total_tokens": 1070,
    });
    event("image_generation.completed", side, &json!({ "usage": usage }))
}

fn sides(made: &Generation) -> Vec<u32> {
    made.images.iter().map(|image| image.size.width.get()).collect()
}

#[tokio::test]
async fn the_recorded_events_are_shown_and_end_in_a_picture() {
    let reply = answer(200, &[EVENTS], include_str!("../fixtures/gpt_image_events.txt"));
    let (made, previews, sent) = stream(reply, &asked()).await;
    assert_eq!((&sent["stream"], &sent["partial_images"]), (&json!(true), &json!(2)));
    let made = made.unwrap();
    assert_eq!(made.images.len(), 1);
    assert_eq!(made.usage, Some(Usage { input_text: 14, output_image: 1056, ..Usage::default() }));
    let places: Vec<_> = previews.iter().map(|preview| (preview.index, preview.step)).collect();
    assert_eq!(places, [(0, 0), (0, 1)]);
}

#[tokio::test]
async fn nothing_is_streamed_when_nobody_looks() {
    for (partial_images, watched) in [(0, true), (2, false)] {
        let (base_url, sent) = replay(answer(200, &[], include_str!("../fixtures/gpt_image.json"))).await;
        let (partials, shown) = mpsc::channel(16);
        let call = call().with_partials(partials);
        let _shown = watched.then_some(shown);
        let asked = GenerationRequest { partial_images, ..request() };
        provider(&base_url, &json!({ "id": "gpt-image-1.5" })).generate(&asked, &call).await.unwrap();
        let sent = sent.await.unwrap();
        assert_eq!((sent.json().get("stream"), sent.header("accept")), (None, Some("application/json")));
    }
}

#[tokio::test]
async fn only_models_that_stream_are_asked_to() {
    let ask = async |model: Value| {
        let (base_url, sent) = replay(answer(200, &[], include_str!("../fixtures/gpt_image.json"))).await;
        let (partials, _shown) = mpsc::channel(16);
        let asked = GenerationRequest { partial_images: 9, ..request() };
        provider(&base_url, &model).generate(&asked, &call().with_partials(partials)).await.unwrap();
        sent.await.unwrap().json().get("partial_images").cloned()
    };
    assert_eq!(ask(json!({ "id": "any" })).await, None);
    assert_eq!(ask(json!({ "id": "dall-e-3" })).await, None);
    assert_eq!(ask(json!({ "id": "gpt-image-1", "streams": false })).await, None);
    // No more than the vendor makes; an answer that is no stream will do.
    assert_eq!(ask(json!({ "id": "gpt-image-1" })).await, Some(json!(3)));
    assert_eq!(ask(json!({ "id": "any", "streams": true })).await, Some(json!(3)));
}

#[tokio::test]
async fn events_are_known_by_their_beginning_too() {
    for begin in ["", ": hello\n\n"] {
        let events = [begin, &partial(8, 0), &completed(8)].concat();
        let (made, previews, _) = stream(answer(200, &["content-type: text/plain"], &events), &asked()).await;
        assert_eq!((sides(&made.unwrap()), previews.len()), (vec![8], 1));
    }
}

#[tokio::test]
async fn several_pictures_come_in_their_order() {
    let asked = GenerationRequest { count: NonZeroU32::new(2).unwrap(), ..asked() };
    let events = [partial(1, 0), completed(8), partial(2, 0), completed(16), "data: [DONE]\n\n".to_owned()].concat();
    let (made, previews, _) = stream(answer(200, &[EVENTS], &events), &asked).await;
    let made = made.unwrap();
    assert_eq!(sides(&made), [8, 16]);
    assert_eq!(made.usage.map(|usage| usage.output_image), Some(2112));
    let places: Vec<_> = previews.iter().map(|preview| (preview.index, preview.step)).collect();
    assert_eq!(places, [(0, 0), (1, 0)]);
    let numbered = |side, index: u32| event("image_edit.completed", side, &json!({ "image_index": index }));
    let events = [numbered(16, 1), numbered(8, 0), numbered(32, 0)].concat();
    let (made, _, _) = stream(answer(200, &[EVENTS], &events), &asked).await;
    assert_eq!(sides(&made.unwrap()), [8, 16]);
}

#[tokio::test]
async fn what_is_no_picture_event_is_passed_over() {
    let events = [
        ": keep-alive\n\n".to_owned(),
        "event: image_generation.queued\ndata: {\"type\":\"image_generation.queued\"}\n\n".to_owned(),
        "data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"*\"}\n\n".to_owned(),
        "data: {\"type\":\"image_generation.partial_image\"}\n\n".to_owned(),
        completed(8),
        "data: not even json".to_owned(),
    ];
    let (made, previews, _) = stream(answer(200, &[EVENTS], &events.concat()), &asked()).await;
    assert_eq!((sides(&made.unwrap()), previews.len()), (vec![8], 0));
}

#[tokio::test]
async fn a_stream_that_fails_is_a_failure_of_its_kind() {
    let error = |text: &str| [partial(8, 0), format!("event: error\ndata: {text}\n\n")].concat();
    let cases = [
        (partial(8, 0), ErrorKind::NoImage),
        (String::new(), ErrorKind::NoImage),
        ("data: [DONE]\n\n".to_owned(), ErrorKind::NoImage),
        (completed(8).trim_end().to_owned(), ErrorKind::NoImage),
        ("data: {\"type\": canary}\n\n".to_owned(), ErrorKind::Protocol),
        ("data: {\"type\":\"image_generation.completed\"}\n\n".to_owned(), ErrorKind::NoImage),
        (
            "data: {\"type\":\"image_generation.completed\",\"b64_json\":\"*canary\"}\n\n".to_owned(),
            ErrorKind::Protocol,
        ),
        (
            error(r#"{"error":{"message":"canary","type":"image_generation_user_error","code":"moderation_blocked"}}"#),
            ErrorKind::ContentRejected,
        ),
        (error(r#"{"error":{"message":"canary","type":"server_error","code":null}}"#), ErrorKind::Unavailable),
        (error(r#"{"error":"canary"}"#), ErrorKind::Unavailable),
        (error(r#"{"type":"error","code":"rate_limit_exceeded","message":"canary"}"#), ErrorKind::RateLimited),
        (
            error(r#"{"type":"image_generation.completed","b64_json":"x","respect_moderation":false}"#),
            ErrorKind::ContentRejected,
        ),
    ];
    for (events, kind) in cases {
        let (made, _, _) = stream(answer(200, &[EVENTS], &events), &asked()).await;
        let error = made.unwrap_err();
        assert_eq!(error.kind(), kind, "{events}: {error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_off_is_a_protocol_error() {
    let mut reply = answer(200, &[EVENTS], &[partial(8, 0), completed(8)].concat());
    reply.truncate(reply.len() - 40);
    let (made, previews, _) = stream(reply, &asked()).await;
    assert_eq!((made.unwrap_err().kind(), previews.len()), (ErrorKind::Protocol, 1));
}

#[tokio::test]
async fn the_limit_of_an_attempt_holds_for_streams() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}/v1", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "the test ends its runtime, and this with it")]
    let upstream = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut [0; 8192]).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
        connection.write_all([head, &partial(8, 0)].concat().as_bytes()).await.unwrap();
        while connection.write_all(b": still here\n\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (partials, mut shown) = mpsc::channel(16);
    let policy = Policy { timeout: Duration::from_millis(300), ..Policy::default() };
    let provider = wrapped(provider(&base_url, &json!({ "id": "gpt-image-2" })), &policy);
    let error = provider.generate(&asked(), &call().with_partials(partials)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(shown.recv().await.is_some());
    // Whoever goes on sending learns that nobody listens any more.
    tokio::time::timeout(Duration::from_secs(10), upstream).await.unwrap().unwrap();
}
