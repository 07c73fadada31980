//! What recorded answers of real servers become.

use std::time::Duration;

use base64::Engine as _;
use serde_json::json;

use super::{KEY, answer, call, provider, replay};
use crate::generation::{Generation, ImageFormat, ImageSize, Seed};
use crate::providers::openai_compat::client::Refused;
use crate::providers::openai_compat::error::of_answer;
use crate::providers::scripted::{encoded, request};
use crate::providers::{Error, ErrorKind};
use crate::secret::SecretRef;

const JSON: &str = "content-type: application/json";

async fn ask(answer: Vec<u8>) -> Result<Generation, Error> {
    let (base_url, _asked) = replay(answer).await;
    provider(&base_url, &json!({ "id": "any" })).generate(&request(), &call()).await
}

/// Everything that an error says to anybody: the sentence, the hint and the causes.
fn everything(error: &Error) -> String {
    let mut said = format!("{error} {:?} {error:?}", error.hint());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        said = format!("{said} {error} {error:?}");
        cause = error.source();
    }
    said
}

#[tokio::test]
async fn pictures_of_every_dialect_are_read() {
    for body in [
        include_str!("../fixtures/gpt_image.json"),
        include_str!("../fixtures/vllm_omni.json"),
        include_str!("../fixtures/local_ai.json"),
    ] {
        for kind in [JSON, "content-type: text/plain", "x-nothing: 1"] {
            let generation = ask(answer(200, &[kind], body)).await.unwrap();
            let image = &generation.images[0];
            assert_eq!((image.format, image.size), (ImageFormat::Png, ImageSize::new(1, 1).unwrap()));
            assert_eq!(image.data.file().len(), 69);
        }
    }
}

#[tokio::test]
async fn errors_of_every_dialect_are_understood_and_not_repeated() {
    let cases: [(u16, &str, ErrorKind); 18] = [
        (400, include_str!("../fixtures/moderation_blocked.json"), ErrorKind::ContentRejected),
        (429, include_str!("../fixtures/rate_limit.json"), ErrorKind::RateLimited),
        (429, include_str!("../fixtures/quota.json"), ErrorKind::QuotaExhausted),
        (400, include_str!("../fixtures/bad_size.json"), ErrorKind::Unsupported),
        (400, include_str!("../fixtures/unknown_parameter.json"), ErrorKind::Unsupported),
        (401, include_str!("../fixtures/bad_key.json"), ErrorKind::Unauthorized),
        (404, include_str!("../fixtures/model_not_found.json"), ErrorKind::ModelNotFound),
        (400, include_str!("../fixtures/sd_cpp_error.json"), ErrorKind::InvalidRequest),
        (422, include_str!("../fixtures/vllm_error.json"), ErrorKind::InvalidRequest),
        (503, include_str!("../fixtures/vllm_error.json"), ErrorKind::Overloaded),
        (500, include_str!("../fixtures/local_ai_error.json"), ErrorKind::Unavailable),
        (200, include_str!("../fixtures/moderation_blocked.json"), ErrorKind::ContentRejected),
        (200, include_str!("../fixtures/local_ai_error.json"), ErrorKind::Protocol),
        (200, include_str!("../fixtures/xai_refused.json"), ErrorKind::ContentRejected),
        (200, include_str!("../fixtures/local_ai_url.json"), ErrorKind::Protocol),
        (200, r#"{"data":[]}"#, ErrorKind::NoImage),
        (200, r#"{"created":1}"#, ErrorKind::Protocol),
        (200, r#"["canary"#, ErrorKind::Protocol),
    ];
    for (status, body, kind) in cases {
        let error = ask(answer(status, &[JSON], body)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status} {body}");
        let said = everything(&error);
        assert!(!said.contains("canary") && !said.contains("example"), "{status} {body}: {said}");
    }
}

#[tokio::test]
async fn statuses_without_a_word_are_understood() {
    for (status, kind) in [
        (204, ErrorKind::Protocol),
        (302, ErrorKind::Protocol),
        (400, ErrorKind::InvalidRequest),
        (402, ErrorKind::QuotaExhausted),
        (403, ErrorKind::Unauthorized),
        (404, ErrorKind::ModelNotFound),
        (408, ErrorKind::Timeout),
        (429, ErrorKind::RateLimited),
        (500, ErrorKind::Unavailable),
        (502, ErrorKind::Unavailable),
        (503, ErrorKind::Overloaded),
        (504, ErrorKind::Timeout),
    ] {
        let headers = ["location: http://127.0.0.1:1/canary", "retry-after: 7"];
        let error = ask(answer(status, &headers, "")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert!(!everything(&error).contains("canary"));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a key must come from somewhere")]
fn an_echoed_key_reaches_nobody() {
    // A variable that every process has, so that no test needs to write the environment.
    let key = SecretRef { env: "PATH".to_owned() }.resolve().unwrap();
    let path = std::env::var("PATH").unwrap();
    let body = include_str!("../fixtures/echoed_key.json");
    let status = reqwest::StatusCode::BAD_REQUEST;
    let own = body.replace(KEY, &path.replace('/', "."));
    for body in [&body.to_owned(), &own] {
        let refused = Refused { status, headers: reqwest::header::HeaderMap::new(), body: body.clone().into_bytes() };
        let said = everything(&of_answer(&refused, false, Some(&key)));
        assert!(!said.contains(&path), "{said}");
    }
}

#[tokio::test]
async fn base64_is_read_however_it_is_written() {
    let bytes = encoded(ImageSize::new(8, 8).unwrap(), ImageFormat::Jpeg);
    let plain = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let lines: Vec<_> = plain.as_bytes().chunks(76).map(|line| String::from_utf8_lossy(line)).collect();
    for text in [
        plain.clone(),
        format!("data:image/jpeg;base64,{plain}"),
        lines.join("\\n"),
        plain.trim_end_matches('=').to_owned(),
        plain.replace('/', "\\/"),
        format!("  {plain}\\n"),
    ] {
        let body = format!(r#"{{"data":[{{"b64_json":"{text}"}}]}}"#);
        let generation = ask(answer(200, &[JSON], &body)).await.unwrap();
        assert_eq!(generation.images[0].data.file(), bytes, "{text}");
    }
}

#[tokio::test]
async fn a_large_answer_is_read_too() {
    // Noise does not compress: 1500 x 1500 pixels are more than the limit of what is decoded on the spot.
    let mut state = 1_u32;
    let picture = image::RgbImage::from_fn(1500, 1500, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let [_, a, b, c] = state.to_le_bytes();
        image::Rgb([a, b, c])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let bytes = bytes.into_inner();
    assert!(bytes.len() > 6 << 20);
    let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
    let body = format!(r#"{{"data":[{{"b64_json":"{text}"}}]}}"#);
    assert_eq!(ask(answer(200, &[JSON], &body)).await.unwrap().images[0].data.file(), bytes);
}

#[tokio::test]
async fn only_the_first_of_several_pictures_is_known_to_come_from_the_seed() {
    let (base_url, _asked) = {
        let body = include_str!("../fixtures/vllm_omni.json");
        let item = body.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']')).unwrap().0;
        replay(answer(200, &[JSON], &format!(r#"{{"data":[{item},{item}]}}"#))).await
    };
    let mut asked = request();
    asked.seed = Some(Seed::from(5));
    asked.count = std::num::NonZeroU32::new(2).unwrap();
    let generation = provider(&base_url, &json!({ "id": "any" })).generate(&asked, &call()).await.unwrap();
    let seeds: Vec<_> = generation.images.iter().map(|image| image.seed).collect();
    assert_eq!(seeds, [Some(Seed::from(5)), None]);
}
