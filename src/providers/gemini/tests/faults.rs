//! The stand-in failing in each of its ways.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator, Spelling, Vendor};
use serde_json::json;

use super::{call, provider, source};
use crate::generation::{GenerationRequest, ImageFormat, ImageSize, SizeWish, Usage};
use crate::providers::scripted::{request, wrapped};
use crate::providers::{Error, ErrorKind, Policy, Provider};

fn asked() -> GenerationRequest {
    GenerationRequest { size: SizeWish::Exact(ImageSize::new(512, 512).unwrap()), ..request() }
}

fn layered(simulator: &Simulator, timeout: Duration, attempts: u32) -> Arc<dyn Provider> {
    let policy = Policy { timeout, attempts, backoff: Duration::from_millis(1), ..Policy::default() };
    let model = json!({ "id": "gemini-3.1-flash-image", "image_sizes": ["512", "1K", "2K"], "size": "512x512" });
    wrapped(provider(&simulator.url(Vendor::Gemini), &model), &policy)
}

/// How one attempt fails.
async fn failure(simulator: &Simulator, timeout: Duration) -> Error {
    let result = layered(simulator, timeout, 1).generate(&asked(), &call()).await;
    // Nobody wants to read a picture.
    result.map(|generation| generation.images.len()).unwrap_err()
}

#[tokio::test]
async fn all_is_well_without_a_fault_however_it_is_written() {
    let simulator = Simulator::start().await;
    for shape in 0..4 {
        simulator.reset();
        simulator.set(Behaviour::default().with_shape(shape));
        let generation = layered(&simulator, Duration::from_secs(20), 1).generate(&asked(), &call()).await.unwrap();
        assert_eq!((generation.images.len(), simulator.hits()), (1, 1), "{shape}");
        let usage = generation.usage.unwrap();
        assert_eq!((usage.output_image, usage.input_image), (747, 0), "{shape}");
    }
}

#[tokio::test]
async fn several_pictures_are_several_calls_and_pictures_go_along() {
    let simulator = Simulator::start().await;
    let edit = GenerationRequest {
        count: NonZeroU32::new(2).unwrap(),
        image: Some(source(32, ImageFormat::Jpeg)),
        reference_images: vec![source(16, ImageFormat::Png), source(16, ImageFormat::Webp)],
        size: SizeWish::Aspect("3:2".parse().unwrap()),
        ..request()
    };
    let generation = layered(&simulator, Duration::from_secs(20), 1).generate(&edit, &call()).await.unwrap();
    let sizes: Vec<_> = generation.images.iter().map(|image| image.size.to_string()).collect();
    assert_eq!((sizes, simulator.hits()), (vec!["632x424".to_owned(); 2], 2));
    let usage = Usage { input_text: 4, input_image: 6 * 258, output_image: 2 * 747, output_text: 2 * 210 };
    assert_eq!(generation.usage, Some(usage));
}

#[tokio::test]
async fn each_fault_is_an_error_of_its_kind_after_one_call() {
    let simulator = Simulator::start().await;
    let cases = [
        (Fault::Status(400), ErrorKind::InvalidRequest),
        (Fault::Status(401), ErrorKind::Unauthorized),
        (Fault::Status(403), ErrorKind::Unauthorized),
        (Fault::Status(404), ErrorKind::ModelNotFound),
        (Fault::Status(499), ErrorKind::Internal),
        (Fault::Status(500), ErrorKind::Unavailable),
        (Fault::Status(503), ErrorKind::Overloaded),
        (Fault::Status(504), ErrorKind::Timeout),
        (Fault::InvalidKey, ErrorKind::Unauthorized),
        (Fault::UnknownModel, ErrorKind::ModelNotFound),
        (Fault::RateLimit(None), ErrorKind::RateLimited),
        (Fault::RateLimit(Some(9)), ErrorKind::RateLimited),
        (Fault::Quota, ErrorKind::QuotaExhausted),
        (Fault::QuotaAs(1), ErrorKind::QuotaExhausted),
        (Fault::NoRetry, ErrorKind::Unavailable),
        (Fault::AskAgain, ErrorKind::Unavailable),
        (Fault::EmptyBody(504), ErrorKind::Timeout),
        (Fault::Page(502), ErrorKind::Unavailable),
        (Fault::Reset, ErrorKind::Unavailable),
        (Fault::ResetMidBody, ErrorKind::Protocol),
        (Fault::Close, ErrorKind::Unavailable),
        (Fault::LostAfter, ErrorKind::Unavailable),
        (Fault::TruncatedBody, ErrorKind::Protocol),
        (Fault::TruncatedJson, ErrorKind::Protocol),
        (Fault::ErrorIn200, ErrorKind::Unavailable),
        (Fault::EmptyData, ErrorKind::NoImage),
        (Fault::EmptyItem, ErrorKind::NoImage),
        (Fault::Html, ErrorKind::Protocol),
        (Fault::InvalidBase64, ErrorKind::Protocol),
        (Fault::NotAPicture, ErrorKind::Protocol),
        (Fault::HalfPicture, ErrorKind::Protocol),
        (Fault::FewerPictures, ErrorKind::NoImage),
        (Fault::WrongSize, ErrorKind::Protocol),
        (Fault::UrlInsteadOfBase64, ErrorKind::NoImage),
    ];
    for (fault, kind) in cases {
        simulator.reset();
        simulator.fail(fault);
        let error = failure(&simulator, Duration::from_secs(20)).await;
        assert_eq!(error.kind(), kind, "{fault}: {error}");
        assert_eq!(simulator.hits(), 1, "{fault}");
    }
}

#[tokio::test]
async fn a_changed_byte_is_seen_where_the_file_has_checksums() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::CorruptPicture);
    // This one draws PNG; a JPEG has no checksums, and pixels are not looked at.
    let model = json!({ "id": "gemini-2.5-flash-image", "aspect_ratios": { "1:1": "1024x1024" } });
    let policy = Policy { attempts: 1, ..Policy::default() };
    let layered = wrapped(provider(&simulator.url(Vendor::Gemini), &model), &policy);
    assert_eq!(layered.generate(&request(), &call()).await.err().map(|error| error.kind()), Some(ErrorKind::Protocol));
}

#[tokio::test]
async fn every_form_of_a_refusal_and_of_no_picture_is_told_apart() {
    let simulator = Simulator::start().await;
    for form in 0..Vendor::Gemini.refusals() {
        simulator.fail(Fault::RefusedAs(form));
        assert_eq!(failure(&simulator, Duration::from_secs(20)).await.kind(), ErrorKind::ContentRejected, "{form}");
    }
    for form in 0..Vendor::Gemini.no_pictures() {
        simulator.fail(Fault::NoPicture(form));
        assert_eq!(failure(&simulator, Duration::from_secs(20)).await.kind(), ErrorKind::NoImage, "{form}");
    }
}

#[tokio::test]
async fn the_delay_is_read_in_the_services_own_spelling() {
    let simulator = Simulator::start().await;
    for (fault, delay) in [
        (Fault::RateLimit(Some(31)), Duration::from_secs(31)),
        (Fault::RateLimitAs(Spelling::Body, 1500), Duration::from_millis(1500)),
        (Fault::RateLimitAs(Spelling::Seconds, 2000), Duration::from_secs(2)),
    ] {
        simulator.fail(fault);
        let alone = provider(&simulator.url(Vendor::Gemini), &json!({ "id": "gemini-3.1-flash-image" }));
        let error = alone.generate(&request(), &call()).await.err().unwrap();
        assert_eq!(error.retry_after(), Some(delay), "{fault}");
    }
}

#[tokio::test]
async fn the_right_answer_by_another_name_and_too_many_pictures_are_no_failure() {
    let simulator = Simulator::start().await;
    for fault in [Fault::PlainText, Fault::MorePictures] {
        simulator.fail(fault);
        let generation = layered(&simulator, Duration::from_secs(20), 1).generate(&asked(), &call()).await.unwrap();
        assert_eq!(generation.images.len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn whatever_takes_too_long_is_left() {
    let simulator = Simulator::start().await;
    for fault in [Fault::Hang, Fault::HangMidBody, Fault::Drip(10)] {
        simulator.fail(fault);
        let error = failure(&simulator, Duration::from_millis(300)).await;
        assert_eq!(error.kind(), ErrorKind::Timeout, "{fault}");
        assert!(simulator.settles(Duration::from_secs(5), |counts| counts.in_flight == 0).await, "{fault}");
    }
}

#[tokio::test]
async fn the_services_own_check_of_the_key_is_passed() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::default().with_key("easel"));
    layered(&simulator, Duration::from_secs(20), 1).generate(&asked(), &call()).await.unwrap();
    simulator.set(Behaviour::default().with_key("another"));
    assert_eq!(failure(&simulator, Duration::from_secs(20)).await.kind(), ErrorKind::Unauthorized);
}
