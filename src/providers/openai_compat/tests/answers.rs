//! What recorded answers of real servers become.

use base64::Engine as _;
use serde_json::json;

use super::{answer, call, provider, replay};
use crate::generation::{Generation, ImageFormat, ImageSize, Seed, Usage};
use crate::providers::Error;
use crate::providers::scripted::{encoded, request};

pub(super) const JSON: &str = "content-type: application/json";

pub(super) async fn ask(answer: Vec<u8>) -> Result<Generation, Error> {
    let (base_url, _asked) = replay(answer).await;
    provider(&base_url, &json!({ "id": "any" })).generate(&request(), &call()).await
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

#[tokio::test]
async fn what_it_cost_is_read() {
    let generation = ask(answer(200, &[JSON], include_str!("../fixtures/gpt_image.json"))).await.unwrap();
    let usage = Usage { input_text: 14, output_image: 1584, ..Usage::default() };
    assert_eq!((generation.usage, generation.cost_usd), (Some(usage), None));
    let generation = ask(answer(200, &[JSON], include_str!("../fixtures/local_ai.json"))).await.unwrap();
    assert_eq!((generation.usage, generation.cost_usd), (None, None));
    let body =
        include_str!("../fixtures/vllm_omni.json").replacen('{', r#"{"usage":{"cost_in_usd_ticks":200000000},"#, 1);
    let generation = ask(answer(200, &[JSON], &body)).await.unwrap();
    assert_eq!((generation.usage, generation.cost_usd), (None, Some(0.02)));
}

#[tokio::test]
async fn pictures_are_read_out_of_addresses_that_hold_them_and_under_another_name() {
    let bytes = encoded(ImageSize::new(8, 8).unwrap(), ImageFormat::Webp);
    let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
    for body in [
        format!(r#"{{"data":[{{"url":"data:image/webp;base64,{text}","b64_json":null}}]}}"#),
        format!(r#"{{"images":[{{"url":"data:image/webp;base64,{text}","b64_json":""}}]}}"#),
        format!(
            r#"{{"error":null,"data":[{{"b64_json":"{text}","respect_moderation":true,"finish_reason":"stop"}}]}}"#
        ),
        format!(
            r#"{{"error":"","data":[{{"b64_json":"{text}","content_filter_results":{{"hate":{{"filtered":false}}}}}}]}}"#
        ),
    ] {
        assert_eq!(ask(answer(200, &[JSON], &body)).await.unwrap().images[0].data.file(), bytes, "{body}");
    }
}
