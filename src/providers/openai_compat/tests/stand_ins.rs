//! Each dialect against a stand-in that keeps its server's rules, when all is well and when it is not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator, Vendor};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{call, source, speaking};
use crate::generation::{AspectRatio, GenerationRequest, ImageFormat, ImageSize, Seed, SizeWish, SourceImage, Usage};
use crate::providers::scripted::{request, wrapped};
use crate::providers::{ErrorKind, Policy, Provider, Recovery};

/// A dialect, the stand-in that speaks it, and a model of it.
fn rows() -> [(&'static str, Vendor, Value); 6] {
    let grok = json!({
        "id": "grok-imagine-image", "size_as": "aspect_ratio", "supports_seed": false,
        "supports_negative_prompt": false, "edits": { "pictures": "url_object", "images": "images" },
    });
    [
        ("openai", Vendor::OpenAi, json!({ "id": "gpt-image-1.5" })),
        ("openai", Vendor::Vllm, json!({ "id": "qwen", "fields": { "steps": "num_inference_steps" } })),
        ("openai", Vendor::Xai, grok),
        ("localai", Vendor::LocalAi, json!({ "id": "flux.1-dev-ggml" })),
        ("sdcpp", Vendor::SdCpp, json!({})),
        ("easel", Vendor::Easel, json!({})),
    ]
}

fn at(simulator: &Simulator, row: &(&str, Vendor, Value), timeout: Duration) -> Arc<dyn Provider> {
    let policy = Policy { timeout, attempts: 1, ..Policy::default() };
    wrapped(speaking(row.0, &simulator.url(row.1), &row.2), &policy)
}

/// Everything that the row's model understands of a request with many wishes.
fn wishes(vendor: Vendor) -> GenerationRequest {
    let sized = SizeWish::Exact(ImageSize::new(1024, 1024).unwrap());
    let plain = GenerationRequest { size: sized, ..request() };
    match vendor {
        Vendor::OpenAi => {
            GenerationRequest { output_format: Some(ImageFormat::Webp), output_quality: Some(50), ..plain }
        }
        Vendor::Xai => {
            GenerationRequest { size: SizeWish::Aspect("16:9".parse::<AspectRatio>().unwrap()), ..request() }
        }
        Vendor::Vllm | Vendor::LocalAi | Vendor::SdCpp | Vendor::Easel => GenerationRequest {
            seed: Some(Seed::from(5)),
            steps: NonZeroU32::new(9),
            negative_prompt: Some("blurry".to_owned()),
            ..plain
        },
        Vendor::Runware | Vendor::Gemini => unreachable!(),
    }
}

#[tokio::test]
async fn every_dialect_makes_pictures() {
    let simulator = Simulator::start().await;
    for row in rows() {
        let asked = GenerationRequest { count: NonZeroU32::new(2).unwrap(), ..wishes(row.1) };
        let made = at(&simulator, &row, Duration::from_secs(20)).generate(&asked, &call()).await;
        let made = made.unwrap_or_else(|error| panic!("{:?}: {error:?}", row.1));
        assert_eq!(made.images.len(), 2, "{:?}", row.1);
        let seeds: Vec<_> = made.images.iter().map(|image| image.seed.map(Seed::get)).collect();
        let expected = match row.1 {
            // Each picture of LocalAI is a call of its own.
            Vendor::LocalAi | Vendor::SdCpp | Vendor::Easel => [Some(5), Some(6)],
            Vendor::Vllm => [Some(5), None],
            Vendor::OpenAi | Vendor::Xai | Vendor::Runware | Vendor::Gemini => [None, None],
        };
        assert_eq!(seeds, expected, "{:?}", row.1);
        match row.1 {
            Vendor::OpenAi => {
                assert_eq!(made.images[0].format, ImageFormat::Webp);
                assert!(made.usage.is_some_and(|usage| usage.output_image > 0 && usage != Usage::default()));
            }
            Vendor::Xai => assert_eq!(made.cost_usd, Some(0.02)),
            Vendor::Easel => assert_eq!(made.cost_usd, Some(0.0013)),
            Vendor::Vllm | Vendor::LocalAi | Vendor::SdCpp | Vendor::Runware | Vendor::Gemini => {}
        }
    }
}

fn mask(side: u32) -> SourceImage {
    let picture = image::GrayImage::from_fn(side, side, |x, _| image::Luma([if x < side / 2 { 255 } else { 0 }]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let bytes = bytes.into_inner().into();
    SourceImage { bytes, format: ImageFormat::Png, size: ImageSize::new(side, side).unwrap() }
}

#[tokio::test]
async fn every_dialect_that_edits_takes_pictures_and_masks() {
    let simulator = Simulator::start().await;
    for row in rows().into_iter().filter(|row| row.1 != Vendor::Vllm) {
        let provider = at(&simulator, &row, Duration::from_secs(20));
        let image = source(1024, 1024, ImageFormat::Png);
        let size = wishes(row.1).size;
        let edit = GenerationRequest { image: Some(image), size, ..request() };
        let looking = GenerationRequest { reference_images: vec![source(8, 8, ImageFormat::Jpeg)], ..edit.clone() };
        let painting = GenerationRequest { mask: Some(mask(1024)), ..edit.clone() };
        for asked in [edit, looking, painting] {
            let has_mask = asked.mask.is_some();
            let made = provider.generate(&asked, &call()).await;
            if has_mask && row.1 == Vendor::Xai {
                assert_eq!(made.unwrap_err().kind(), ErrorKind::Unsupported);
                continue;
            }
            assert_eq!(made.unwrap_or_else(|error| panic!("{:?}: {error:?}", row.1)).images.len(), 1);
        }
    }
}

#[tokio::test]
async fn the_vendors_own_models_take_what_they_are_sent() {
    let simulator = Simulator::start().await;
    let parameters = [
        ("gpt-image-1.5", json!({ "quality": "high", "background": "transparent", "input_fidelity": "high" })),
        ("gpt-image-1-mini", json!({ "moderation": "low", "input_fidelity": "low", "output_format": "webp" })),
        ("gpt-image-2", json!({ "quality": "low", "background": "opaque", "output_compression": 9 })),
        ("gpt-image-2.6-flare", json!({ "output_format": "jpeg", "output_compression": 9 })),
    ];
    for (id, parameters) in parameters {
        let row = ("openai", Vendor::OpenAi, json!({ "id": id, "parameters": parameters }));
        let provider = at(&simulator, &row, Duration::from_secs(20));
        let plain = GenerationRequest {
            size: SizeWish::Exact(ImageSize::new(1024, 1024).unwrap()),
            output_quality: Some(70),
            ..request()
        };
        let edit = GenerationRequest {
            image: Some(source(64, 48, ImageFormat::Png)),
            mask: Some(SourceImage { size: ImageSize::new(64, 48).unwrap(), ..mask(64) }),
            ..plain.clone()
        };
        for format in [None, Some(ImageFormat::Png), Some(ImageFormat::Jpeg), Some(ImageFormat::Webp)] {
            for asked in [&plain, &edit] {
                let asked = GenerationRequest { output_format: format, ..asked.clone() };
                let made = provider.generate(&asked, &call()).await;
                let made = made.unwrap_or_else(|error| panic!("{id} {format:?}: {error:?}"));
                let is_possible = format.filter(|format| !(id == "gpt-image-1.5" && *format == ImageFormat::Jpeg));
                assert!(is_possible.is_none_or(|format| made.images[0].format == format), "{id} {format:?}");
            }
        }
    }
}

#[tokio::test]
async fn previews_are_shown_while_a_picture_is_made_and_while_it_is_edited() {
    let simulator = Simulator::start().await;
    for (fault, shape) in [(None, 0), (None, 1), (Some(Fault::UrlInsteadOfBase64), 0)] {
        for image in [None, Some(source(64, 64, ImageFormat::Png))] {
            simulator.set(Behaviour { fault, shape, ..Behaviour::default() });
            let row = ("openai", Vendor::OpenAi, json!({ "id": "gpt-image-2" }));
            let (partials, mut shown) = mpsc::channel(16);
            let asked = GenerationRequest {
                partial_images: 2,
                image,
                size: SizeWish::Exact(ImageSize::new(1024, 1024).unwrap()),
                ..request()
            };
            let call = call().with_partials(partials);
            let made = at(&simulator, &row, Duration::from_secs(20)).generate(&asked, &call).await.unwrap();
            drop(call);
            assert_eq!(made.images.len(), 1);
            let mut steps = Vec::new();
            while let Some(preview) = shown.recv().await {
                steps.push(preview.step);
            }
            assert_eq!(steps, if fault.is_none() { vec![0, 1] } else { Vec::new() });
        }
    }
}

#[tokio::test]
async fn a_refusal_is_final_whoever_says_it_and_however() {
    let simulator = Simulator::start().await;
    for row in rows() {
        for form in 0..row.1.refusals() {
            for shape in [0, 1] {
                simulator.reset();
                simulator.set(Behaviour::failing(Fault::RefusedAs(form)).with_shape(shape));
                let error =
                    at(&simulator, &row, Duration::from_secs(20)).generate(&wishes(row.1), &call()).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ContentRejected, "{:?} {form} {shape}: {error:?}", row.1);
                assert_eq!((error.recovery(), simulator.hits()), (Recovery::Final, 1));
            }
        }
    }
}

/// Whether the fault spoils nothing that the row's request needs.
fn is_harmless(fault: Fault, vendor: Vendor) -> bool {
    // It has ratios and no sizes, and its JPEG files no checksums.
    let is_unseen = vendor == Vendor::Xai && matches!(fault, Fault::WrongSize | Fault::CorruptPicture);
    is_unseen || matches!(fault, Fault::PlainText | Fault::UrlInsteadOfBase64 | Fault::UrlRedirect(0))
}

#[tokio::test]
async fn no_fault_of_any_server_passes_for_a_success_or_is_asked_twice() {
    let simulator = Simulator::start().await;
    for row in rows() {
        for fault in Fault::prompt_ones() {
            simulator.reset();
            simulator.fail(fault);
            // A new one each time: what one failure taught its layers is not the next one's business.
            let asked = GenerationRequest { output_format: None, ..wishes(row.1) };
            let made = at(&simulator, &row, Duration::from_secs(20)).generate(&asked, &call()).await;
            assert_eq!(simulator.counts_of(row.1).hits, 1, "{:?} {fault}", row.1);
            match made {
                Ok(_) => assert!(is_harmless(fault, row.1), "{:?} {fault} passed", row.1),
                Err(error) => {
                    assert!(!is_harmless(fault, row.1), "{:?} {fault}: {error:?}", row.1);
                    let said = error.to_string();
                    assert!(!said.contains("127.0.0.1") && !said.contains("stand"), "{:?} {fault}: {said}", row.1);
                }
            }
        }
    }
}

#[tokio::test]
async fn faults_in_a_stream_are_failures_too() {
    let simulator = Simulator::start().await;
    let row = ("openai", Vendor::OpenAi, json!({ "id": "gpt-image-1.5" }));
    let asked = GenerationRequest { partial_images: 2, output_format: None, ..wishes(Vendor::OpenAi) };
    for fault in Fault::prompt_ones() {
        simulator.reset();
        simulator.fail(fault);
        let (partials, _shown) = mpsc::channel(16);
        let provider = at(&simulator, &row, Duration::from_secs(20));
        let made = provider.generate(&asked, &call().with_partials(partials)).await;
        // What comes after the last picture is not read.
        let is_harmless = is_harmless(fault, row.1) || fault == Fault::MorePictures;
        match made {
            Ok(_) => assert!(is_harmless, "{fault} passed"),
            Err(error) => assert!(!is_harmless, "{fault}: {error:?}"),
        }
        assert_eq!(simulator.hits(), 1, "{fault}");
    }
}

#[tokio::test]
async fn the_limits_of_the_rules_are_those_of_the_vendor() {
    let simulator = Simulator::start().await;
    let row = ("openai", Vendor::OpenAi, json!({ "id": "gpt-image-2" }));
    let limits = speaking(row.0, &simulator.url(row.1), &row.2).capabilities().models[0].limits.clone();
    let provider = at(&simulator, &row, Duration::from_secs(20));
    for (width, height, is_within) in [
        (816, 816, true),
        (800, 800, false),
        (1440, 480, true),
        (480, 1440, true),
        (1456, 480, false),
        (3840, 1280, true),
        (3856, 1296, false),
        (1000, 1000, false),
        (3840, 2176, false),
    ] {
        let size = ImageSize::new(width, height).unwrap();
        let multiple = limits.size_multiple.unwrap().get();
        let declared = width % multiple == 0
            && height % multiple == 0
            && width.max(height) <= limits.max_side.unwrap()
            && (limits.min_pixels.unwrap()..=limits.max_pixels.unwrap()).contains(&size.pixels())
            && width.max(height) <= width.min(height) * limits.max_ratio.unwrap().get();
        assert_eq!(declared, is_within, "{size}");
        let made = provider.generate(&GenerationRequest { size: SizeWish::Exact(size), ..request() }, &call()).await;
        assert_eq!(made.is_ok(), is_within, "{size}: {made:?}");
    }
}
