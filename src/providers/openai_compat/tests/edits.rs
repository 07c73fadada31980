//! How pictures are sent.

use std::num::NonZeroU32;

use base64::Engine as _;
use image::GenericImageView as _;
use serde_json::{Value, json};

use super::{Part, Sent, answer, call, replay, source, speaking};
use crate::generation::{GenerationRequest, ImageFormat, ImageSize, Seed, SizeWish, SourceImage, Support, Wish};
use crate::providers::ErrorKind;
use crate::providers::scripted::request;

/// What the upstream was sent, and what was ignored.
async fn edit(dialect: &str, model: Value, asked: &GenerationRequest) -> (Sent, Vec<Wish>) {
    let (base_url, sent) = replay(answer(200, &[], include_str!("../fixtures/gpt_image.json"))).await;
    let generation = speaking(dialect, &base_url, &model).generate(asked, &call()).await.unwrap();
    (sent.await.unwrap(), generation.ignored)
}

async fn refusal(dialect: &str, model: Value, asked: &GenerationRequest) -> (ErrorKind, String) {
    let call = call();
    let error = speaking(dialect, "http://127.0.0.1:1/v1", &model).generate(asked, &call).await.unwrap_err();
    assert_eq!(call.upstream_calls(), 0, "{error}");
    (error.kind(), error.to_string())
}

/// White in the left half.
fn half_white(width: u32, height: u32, format: image::ImageFormat) -> SourceImage {
    let picture = image::RgbImage::from_fn(width, height, |x, _| image::Rgb([if x < width / 2 { 255 } else { 0 }; 3]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    let format = if format == image::ImageFormat::Png { ImageFormat::Png } else { ImageFormat::Webp };
    SourceImage { bytes: bytes.into_inner().into(), format, size: ImageSize::new(width, height).unwrap() }
}

fn file(name: &str, file: &str, kind: &str, source: &SourceImage) -> Part {
    Part { name: name.to_owned(), file: Some((file.to_owned(), kind.to_owned())), content: source.bytes.to_vec() }
}

fn text(source: &SourceImage) -> String {
    base64::engine::general_purpose::STANDARD.encode(&source.bytes)
}

#[tokio::test]
async fn an_edit_is_a_form_with_the_pictures_and_the_mask() {
    let (cat, hat) = (source(32, 16, ImageFormat::Png), source(8, 8, ImageFormat::Jpeg));
    let asked = GenerationRequest {
        image: Some(cat.clone()),
        reference_images: vec![hat.clone()],
        mask: Some(half_white(32, 16, image::ImageFormat::Png)),
        size: SizeWish::Exact(ImageSize::new(1024, 1024).unwrap()),
        count: NonZeroU32::new(2).unwrap(),
        output_format: Some(ImageFormat::Jpeg),
        output_quality: Some(70),
        ..GenerationRequest::new("put a hat on the cat")
    };
    let model = json!({
        "id": "gpt-image-1.5", "parameters": { "input_fidelity": "high", "moderation": "low", "quality": "high" },
    });
    let (sent, _) = edit("openai", model, &asked).await;
    assert_eq!(sent.line(), "POST /v1/images/edits HTTP/1.1");
    assert!(sent.header("content-length").is_some(), "{}", sent.head);
    let (fields, mut files) = sent.form();
    assert_eq!(
        fields,
        json!({
            "input_fidelity": "high", "quality": "high", "model": "gpt-image-1.5", "prompt": "put a hat on the cat",
            "n": "2", "size": "1024x1024", "output_format": "jpeg", "output_compression": "70",
        })
    );
    let mask = files.pop().unwrap();
    assert_eq!(files, [file("image[]", "0.png", "image/png", &cat), file("image[]", "1.jpeg", "image/jpeg", &hat)]);
    assert_eq!((mask.name.as_str(), mask.file.unwrap().1.as_str()), ("mask", "image/png"));
    let mask = image::load_from_memory_with_format(&mask.content, image::ImageFormat::Png).unwrap();
    assert_eq!((mask.dimensions(), mask.color()), ((32, 16), image::ColorType::Rgba8));
    for (x, y, pixel) in mask.pixels() {
        assert_eq!(pixel.0[3], if x < 16 { 0 } else { 255 }, "{x} {y}");
    }
}

#[tokio::test]
async fn a_single_picture_is_no_list() {
    let cat = source(8, 8, ImageFormat::Webp);
    for asked in [
        GenerationRequest { image: Some(cat.clone()), ..request() },
        GenerationRequest { reference_images: vec![cat.clone()], ..request() },
    ] {
        let (sent, _) = edit("openai", json!({ "id": "any" }), &asked).await;
        let (fields, files) = sent.form();
        assert_eq!(fields, json!({ "model": "any", "prompt": "a teapot", "n": "1", "response_format": "b64_json" }));
        assert_eq!(files, [file("image", "0.webp", "image/webp", &cat)]);
    }
}

#[tokio::test]
async fn more_pictures_than_the_model_takes_are_not_sent() {
    let many = |count| vec![source(8, 8, ImageFormat::Png); count];
    let asked = GenerationRequest { image: many(1).pop(), reference_images: many(16), ..request() };
    let (kind, message) = refusal("openai", json!({ "id": "gpt-image-2" }), &asked).await;
    assert_eq!(
        (kind, message.as_str()),
        (ErrorKind::Unsupported, "17 pictures are given, and the model takes at most 16")
    );
    let asked = GenerationRequest { reference_images: many(15), ..asked };
    let (sent, _) = edit("openai", json!({ "id": "gpt-image-2" }), &asked).await;
    assert_eq!(sent.form().1.len(), 16);
}

#[tokio::test]
async fn files_that_the_upstream_does_not_read_become_png() {
    let asked = GenerationRequest { image: Some(half_white(8, 8, image::ImageFormat::WebP)), ..request() };
    let (sent, _) = edit("sdcpp", json!({}), &asked).await;
    let (_, files) = sent.form();
    assert_eq!((files[0].name.as_str(), files[0].file.clone().unwrap().1.as_str()), ("image[]", "image/png"));
    let seen = image::load_from_memory_with_format(&files[0].content, image::ImageFormat::Png).unwrap();
    assert_eq!((seen.get_pixel(3, 0).0[0], seen.get_pixel(4, 0).0[0]), (255, 0));
}

#[tokio::test]
async fn stable_diffusion_cpp_repaints_what_is_white() {
    let asked = GenerationRequest {
        image: Some(source(8, 8, ImageFormat::Png)),
        mask: Some(half_white(8, 8, image::ImageFormat::WebP)),
        strength: Some(0.5),
        ..request()
    };
    let (sent, ignored) = edit("sdcpp", json!({}), &asked).await;
    let (fields, files) = sent.form();
    assert_eq!(fields["prompt"], "a teapot <sd_cpp_extra_args>{\"strength\":0.5}</sd_cpp_extra_args>");
    assert_eq!(files[1].name, "mask");
    let mask = image::load_from_memory_with_format(&files[1].content, image::ImageFormat::Png).unwrap();
    assert_eq!((mask.get_pixel(3, 0).0, mask.get_pixel(4, 0).0), ([255; 4], [0, 0, 0, 255]));
    assert_eq!(ignored, []);
}

#[tokio::test]
async fn local_ai_takes_pictures_as_text_and_masks_elsewhere() {
    let (cat, hat) = (source(8, 8, ImageFormat::Png), source(8, 8, ImageFormat::Jpeg));
    let asked = GenerationRequest {
        image: Some(cat.clone()),
        reference_images: vec![hat.clone()],
        seed: Some(Seed::from(7)),
        ..request()
    };
    let (sent, _) = edit("localai", json!({ "id": "flux" }), &asked).await;
    assert_eq!(sent.line(), "POST /v1/images/generations HTTP/1.1");
    assert_eq!(
        sent.json(),
        json!({
            "model": "flux", "prompt": "a teapot", "n": 1, "response_format": "b64_json", "seed": 7,
            "file": text(&cat), "ref_images": [text(&hat)],
        })
    );
    let asked = GenerationRequest {
        reference_images: Vec::new(),
        mask: Some(half_white(8, 8, image::ImageFormat::Png)),
        steps: NonZeroU32::new(12),
        negative_prompt: Some("blurry".to_owned()),
        ..asked
    };
    let (sent, ignored) = edit("localai", json!({ "id": "flux" }), &asked).await;
    assert_eq!(sent.line(), "POST /v1/images/inpainting HTTP/1.1");
    let (fields, files) = sent.form();
    assert_eq!((&fields["steps"], &fields["prompt"], fields.get("seed")), (&json!("12"), &json!("a teapot"), None));
    assert_eq!(files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["image", "mask"]);
    let mask = image::load_from_memory_with_format(&files[1].content, image::ImageFormat::Png).unwrap();
    assert_eq!((mask.get_pixel(3, 0).0[0], mask.get_pixel(4, 0).0[0]), (255, 0));
    assert_eq!(ignored, [Wish::Seed, Wish::NegativePrompt]);
    let (kind, _) = refusal("localai", json!({ "id": "flux" }), &GenerationRequest { strict: true, ..asked }).await;
    assert_eq!(kind, ErrorKind::Unsupported);
}

#[tokio::test]
async fn a_server_that_wants_json_is_described_by_keys() {
    let (cat, hat) = (source(8, 8, ImageFormat::Png), source(8, 8, ImageFormat::Jpeg));
    let grok = json!({
        "id": "grok-imagine-image", "size_as": "aspect_ratio", "supports_seed": false,
        "edits": { "pictures": "url_object", "images": "images" },
    });
    let object =
        |kind: &str, source| json!({ "type": "image_url", "url": format!("data:{kind};base64,{}", text(source)) });
    let asked = GenerationRequest { image: Some(cat.clone()), ..request() };
    let (sent, _) = edit("openai", grok.clone(), &asked).await;
    assert_eq!(sent.line(), "POST /v1/images/edits HTTP/1.1");
    assert_eq!(sent.json()["image"], object("image/png", &cat));
    let asked = GenerationRequest { reference_images: vec![hat.clone()], ..asked };
    let (sent, _) = edit("openai", grok.clone(), &asked).await;
    assert_eq!(sent.json()["images"], json!([object("image/png", &cat), object("image/jpeg", &hat)]));
    let masked = GenerationRequest { mask: Some(half_white(8, 8, image::ImageFormat::Png)), ..asked.clone() };
    assert_eq!(refusal("openai", grok, &masked).await.0, ErrorKind::Unsupported);

    let together = json!({
        "id": "flux", "response_format": "base64", "size_as": "width_and_height",
        "edits": { "path": "images/generations", "pictures": "data_uri", "image": "image_url" },
    });
    let asked = GenerationRequest {
        reference_images: Vec::new(),
        size: SizeWish::Exact(ImageSize::new(768, 512).unwrap()),
        ..asked
    };
    let (sent, _) = edit("openai", together.clone(), &asked).await;
    assert_eq!(
        sent.json(),
        json!({
            "model": "flux", "prompt": "a teapot", "n": 1, "width": 768, "height": 512, "response_format": "base64",
            "image_url": format!("data:image/png;base64,{}", text(&cat)),
        })
    );
    let two = GenerationRequest { reference_images: vec![hat], ..asked };
    assert_eq!(refusal("openai", together, &two).await.0, ErrorKind::Unsupported);
}

#[test]
fn what_a_model_makes_of_pictures_is_known_beforehand() {
    let supports = |dialect: &str, model: Value| {
        let provider = speaking(dialect, "http://127.0.0.1:1/v1", &model);
        let supports = provider.capabilities().models[0].supports;
        (supports.image, supports.mask, supports.reference_images, supports.strength)
    };
    let (yes, no, undeclared) = (Support::Yes, Support::No, Support::Undeclared);
    assert_eq!(supports("openai", json!({ "id": "any" })), (undeclared, undeclared, undeclared, no));
    assert_eq!(
        supports("openai", json!({ "id": "any", "supports_strength": true })),
        (undeclared, undeclared, undeclared, yes)
    );
    assert_eq!(supports("openai", json!({ "id": "gpt-image-2" })), (yes, yes, yes, no));
    assert_eq!(supports("openai", json!({ "id": "dall-e-3" })), (no, no, no, no));
    assert_eq!(supports("openai", json!({ "id": "dall-e-2" })), (yes, yes, no, no));
    assert_eq!(supports("openai", json!({ "id": "any", "supports_image": false })).0, no);
    assert_eq!(supports("openai", json!({ "id": "any", "edits": {} })), (undeclared, no, no, no));
    assert_eq!(supports("localai", json!({ "id": "any" })), (undeclared, undeclared, undeclared, no));
    assert_eq!(supports("sdcpp", json!({})), (undeclared, undeclared, undeclared, undeclared));
}
