//! What is sent.

use serde_json::{Value, json};

use super::{answer, call, provider, replay, source};
use crate::generation::{GenerationRequest, ImageFormat, ImageSize, Seed, SizeWish, SourceImage, Wish};
use crate::providers::ErrorKind;
use crate::providers::scripted::{encoded, request};

const ANSWER: &str = include_str!("../fixtures/text_to_image.json");

/// The head and the body of the request that `asked` becomes.
async fn sent(model: &Value, asked: &GenerationRequest) -> (String, Value) {
    let (width, height) = match asked.size {
        SizeWish::Exact(size) => (size.width.get(), size.height.get()),
        SizeWish::ModelDefault | SizeWish::Aspect(_) => (8, 8),
    };
    let (base_url, sent) = replay(made(width, height)).await;
    provider(&base_url, model).generate(asked, &call()).await.unwrap();
    split(&sent.await.unwrap())
}

fn split(request: &str) -> (String, Value) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), serde_json::from_str(body).unwrap())
}

/// An answer with a picture that says it is of this size.
fn made(width: u32, height: u32) -> Vec<u8> {
    use base64::Engine as _;
    let mut bytes = encoded(ImageSize::new(8, 8).unwrap(), ImageFormat::Png).to_vec();
    // Large pictures take their time; the header says enough to who does not look at the pixels.
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let data = base64::engine::general_purpose::STANDARD.encode(bytes);
    let parts = json!([{ "inlineData": { "mimeType": "image/png", "data": data } }]);
    answer(200, &[], &json!({ "candidates": [{ "content": { "parts": parts } }] }).to_string())
}

fn exact(width: u32, height: u32) -> SizeWish {
    SizeWish::Exact(ImageSize::new(width, height).unwrap())
}

fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The only resolution of the older model.
fn flash() -> Value {
    json!({
        "id": "gemini-2.5-flash-image", "aspect_ratios": { "1:1": "1024x1024", "16:9": "1344x768" },
        "parameters": { "safetySettings": [
            { "category": "HARM_CATEGORY_DANGEROUS_CONTENT", "threshold": "BLOCK_MEDIUM_AND_ABOVE" },
        ] },
    })
}

fn pro() -> Value {
    json!({ "id": "gemini-3-pro-image", "image_sizes": ["1K", "2K", "4K"], "size": "1024x1024" })
}

#[tokio::test]
async fn a_picture_is_asked_for_as_recorded() {
    let asked =
        GenerationRequest { size: exact(1344, 768), ..GenerationRequest::new("A paper boat on a puddle, macro photo") };
    let (head, body) = sent(&flash(), &asked).await;
    assert!(head.starts_with("POST /v1beta/models/gemini-2.5-flash-image:generateContent HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("x-goog-api-key: easel\r\n"), "{head}");
    assert_eq!(body, recorded(include_str!("../fixtures/text_to_image.request.json")));
}

#[tokio::test]
async fn an_edit_is_asked_for_as_recorded() {
    let mut model = pro();
    model["parameters"] = json!({ "generationConfig": { "responseModalities": ["TEXT", "IMAGE"] } });
    let asked = GenerationRequest {
        image: Some(source(1, ImageFormat::Png)),
        size: exact(2048, 2048),
        ..GenerationRequest::new("Turn the wall green")
    };
    let (_, body) = sent(&model, &asked).await;
    let mut expected = recorded(include_str!("../fixtures/edit.request.json"));
    // The same picture, written by another encoder.
    expected["contents"][0]["parts"][1]["inlineData"]["data"] =
        body["contents"][0]["parts"][1]["inlineData"]["data"].clone();
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_words_come_first_then_the_picture_to_edit_then_those_to_look_at() {
    use base64::Engine as _;
    let (first, second, third) =
        (source(2, ImageFormat::Png), source(3, ImageFormat::Jpeg), source(4, ImageFormat::Webp));
    let asked = GenerationRequest {
        image: Some(first.clone()),
        reference_images: vec![second.clone(), third.clone()],
        ..request()
    };
    let (_, body) = sent(&flash(), &asked).await;
    let inline = |image: &SourceImage| {
        let data = base64::engine::general_purpose::STANDARD.encode(&image.bytes);
        json!({ "inlineData": { "mimeType": image.format.mime_type(), "data": data } })
    };
    let parts = json!([{ "text": "a teapot" }, inline(&first), inline(&second), inline(&third)]);
    assert_eq!(body["contents"], json!([{ "role": "user", "parts": parts }]));
    // Without a size of its own, the model decides.
    assert_eq!(body["generationConfig"], json!({ "responseModalities": ["IMAGE"] }));
}

#[tokio::test]
async fn every_size_of_the_table_is_asked_for_by_its_ratio_and_resolution() {
    let mut model = pro();
    model["image_sizes"] = json!(["512", "1K", "2K", "4K"]);
    for (size, ratio, resolution) in [
        (exact(1024, 1024), "1:1", "1K"),
        (exact(512, 512), "1:1", "512"),
        (exact(4096, 4096), "1:1", "4K"),
        (exact(848, 1264), "2:3", "1K"),
        (exact(2528, 1696), "3:2", "2K"),
        (exact(1376, 768), "16:9", "1K"),
        (exact(3072, 5504), "9:16", "4K"),
        (exact(448, 600), "3:4", "512"),
        (exact(6336, 2688), "21:9", "4K"),
        (SizeWish::ModelDefault, "1:1", "1K"),
    ] {
        let (_, body) = sent(&model, &GenerationRequest { size, ..request() }).await;
        let expected = json!({ "aspectRatio": ratio, "imageSize": resolution });
        assert_eq!(body["generationConfig"]["imageConfig"], expected, "{size:?}");
    }
}

#[tokio::test]
async fn a_ratio_is_sent_as_the_nearest_one_and_must_be_recognisable() {
    for (wished, sent_ratio, (width, height), is_fine) in [
        ("16:9", "16:9", (1376, 768), true),
        // A few pixels more or less than the table says are the model's own business.
        ("16:9", "16:9", (1344, 768), true),
        ("2:1", "16:9", (1376, 768), true),
        ("5:1", "21:9", (1584, 672), true),
        ("1:1", "1:1", (64, 64), true),
        ("16:9", "16:9", (1024, 1024), false),
        ("16:9", "16:9", (768, 1376), false),
        ("4:3", "4:3", (1376, 768), false),
    ] {
        let (base_url, sent) = replay(made(width, height)).await;
        let asked = GenerationRequest { size: SizeWish::Aspect(wished.parse().unwrap()), ..request() };
        let result = provider(&base_url, &pro()).generate(&asked, &call()).await;
        let expected = json!({ "aspectRatio": sent_ratio, "imageSize": "1K" });
        assert_eq!(split(&sent.await.unwrap()).1["generationConfig"]["imageConfig"], expected, "{wished}");
        let kind = result.err().map(|error| error.kind());
        assert_eq!(kind, (!is_fine).then_some(ErrorKind::Protocol), "{wished} {width}x{height}");
    }
}

#[tokio::test]
async fn what_is_made_of_a_picture_has_its_size_or_its_ratio() {
    for ((width, height), ratio, resolution) in
        [((2048, 2048), "1:1", "2K"), ((100, 100), "1:1", "1K"), ((640, 360), "16:9", "1K"), ((896, 1200), "3:4", "1K")]
    {
        let size = ImageSize::new(width, height).unwrap();
        let image = SourceImage { size, ..source(8, ImageFormat::Png) };
        let asked = GenerationRequest { image: Some(image), ..request() };
        let (base_url, sent) = replay(made(width, height)).await;
        provider(&base_url, &pro()).generate(&asked, &call()).await.unwrap();
        let expected = json!({ "aspectRatio": ratio, "imageSize": resolution });
        assert_eq!(split(&sent.await.unwrap()).1["generationConfig"]["imageConfig"], expected, "{size}");
    }
}

#[tokio::test]
async fn what_the_table_does_not_hold_is_not_asked_for() {
    let closed = provider("http://127.0.0.1:1", &pro());
    for size in [exact(1024, 1000), exact(512, 512), exact(792, 336)] {
        let call = call();
        let error = closed.generate(&GenerationRequest { size, ..request() }, &call).await.unwrap_err();
        assert_eq!((error.kind(), call.upstream_calls()), (ErrorKind::Unsupported, 0), "{size:?}");
    }
}

#[tokio::test]
async fn a_seed_is_sent_where_it_fits_and_named_where_it_does_not() {
    for (seed, sent_seed) in [(0, true), (7, true), (2_147_483_647, true), (2_147_483_648, false), (Seed::MAX, false)] {
        let (base_url, sent) = replay(answer(200, &[], ANSWER)).await;
        let asked = GenerationRequest { seed: Seed::new(seed), ..request() };
        let generation = provider(&base_url, &flash()).generate(&asked, &call()).await.unwrap();
        let (_, body) = split(&sent.await.unwrap());
        let told = sent_seed.then(|| Seed::new(seed).unwrap());
        assert_eq!(body["generationConfig"].get("seed"), sent_seed.then(|| json!(seed)).as_ref());
        assert_eq!(generation.images[0].seed, told);
        assert_eq!(generation.ignored, if sent_seed { vec![] } else { vec![Wish::Seed] });
    }
    let asked = GenerationRequest { seed: Seed::new(Seed::MAX), strict: true, ..request() };
    let call = call();
    let error = provider("http://127.0.0.1:1", &flash()).generate(&asked, &call).await.unwrap_err();
    assert_eq!((error.kind(), call.upstream_calls()), (ErrorKind::Unsupported, 0));
}

#[tokio::test]
async fn the_picture_to_edit_counts_among_those_that_are_taken() {
    let mut model = flash();
    model["limits"] = json!({ "max_reference_images": 2 });
    let pictures = vec![source(2, ImageFormat::Png); 2];
    let two = GenerationRequest { reference_images: pictures, ..request() };
    let (_, body) = sent(&model, &two).await;
    assert_eq!(body["contents"][0]["parts"].as_array().unwrap().len(), 3);
    let three = GenerationRequest { image: Some(source(2, ImageFormat::Png)), ..two };
    let call = call();
    let error = provider("http://127.0.0.1:1", &model).generate(&three, &call).await.unwrap_err();
    assert_eq!((error.kind(), call.upstream_calls()), (ErrorKind::Unsupported, 0));
}

#[tokio::test]
async fn parameters_are_sent_and_never_in_the_way() {
    let mut model = pro();
    model["parameters"] = json!({
        "systemInstruction": { "parts": [{ "text": "Draw in ink." }] },
        "generationConfig": { "temperature": 0.4, "imageConfig": { "personGeneration": "ALLOW_ADULT" } },
    });
    let (_, body) = sent(&model, &GenerationRequest { seed: Seed::new(3), ..request() }).await;
    let expected = json!({
        "contents": [{ "role": "user", "parts": [{ "text": "a teapot" }] }],
        "systemInstruction": { "parts": [{ "text": "Draw in ink." }] },
        "generationConfig": {
            "responseModalities": ["IMAGE"], "temperature": 0.4, "seed": 3,
            "imageConfig": { "personGeneration": "ALLOW_ADULT", "aspectRatio": "1:1", "imageSize": "1K" },
        },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn the_path_is_put_before_the_query_of_the_base() {
    for (base, id, line) in [
        ("/v1beta/", "a", "POST /v1beta/models/a:generateContent HTTP/1.1"),
        ("", "models/a", "POST /models/a:generateContent HTTP/1.1"),
        ("/x?tenant=2", "a", "POST /x/models/a:generateContent?tenant=2 HTTP/1.1"),
        ("/v1beta", "a/b ?c", "POST /v1beta/models/a%2Fb%20%3Fc:generateContent HTTP/1.1"),
    ] {
        let (base_url, asked) = replay(answer(200, &[], ANSWER)).await;
        let base_url = base_url.replace("/v1beta", base);
        provider(&base_url, &json!({ "id": id })).generate(&request(), &call()).await.unwrap();
        let asked = asked.await.unwrap();
        assert!(asked.starts_with(line), "{base}: {asked}");
    }
}
