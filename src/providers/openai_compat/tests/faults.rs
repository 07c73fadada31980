//! The stand-in failing in each of its ways.

use std::sync::Arc;
use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::json;

use super::{call, provider};
use crate::generation::{GenerationRequest, ImageSize, SizeWish};
use crate::providers::scripted::{request, wrapped};
use crate::providers::{Error, ErrorKind, Policy, Provider};

fn asked() -> GenerationRequest {
    GenerationRequest { size: SizeWish::Exact(ImageSize::new(64, 64).unwrap()), ..request() }
}

fn layered(simulator: &Simulator, timeout: Duration, attempts: u32) -> Arc<dyn Provider> {
    let policy = Policy { timeout, attempts, backoff: Duration::from_millis(1), ..Policy::default() };
    wrapped(provider(&simulator.base_url(), &json!({ "id": "sim-any" })), &policy)
}

async fn failure(simulator: &Simulator, timeout: Duration) -> Error {
    layered(simulator, timeout, 1).generate(&asked(), &call()).await.unwrap_err()
}

#[tokio::test]
async fn all_is_well_without_a_fault() {
    let simulator = Simulator::start().await;
    let generation = layered(&simulator, Duration::from_secs(5), 1).generate(&asked(), &call()).await.unwrap();
    assert_eq!((generation.images.len(), simulator.hits()), (1, 1));
}

#[tokio::test]
async fn each_fault_is_an_error_of_its_kind_after_one_call() {
    let simulator = Simulator::start().await;
    let cases = [
        (Fault::Status(400), ErrorKind::InvalidRequest),
        (Fault::Status(401), ErrorKind::Unauthorized),
        (Fault::Status(404), ErrorKind::ModelNotFound),
        (Fault::Status(500), ErrorKind::Unavailable),
        (Fault::Status(503), ErrorKind::Overloaded),
        (Fault::RateLimit(Some(9)), ErrorKind::RateLimited),
        (Fault::Quota, ErrorKind::QuotaExhausted),
        (Fault::Refused, ErrorKind::ContentRejected),
        (Fault::Reset, ErrorKind::Unavailable),
        (Fault::ResetMidBody, ErrorKind::Protocol),
        (Fault::Close, ErrorKind::Unavailable),
        (Fault::TruncatedBody, ErrorKind::Protocol),
        (Fault::TruncatedJson, ErrorKind::Protocol),
        (Fault::EmptyData, ErrorKind::NoImage),
        (Fault::EmptyItem, ErrorKind::NoImage),
        (Fault::Html, ErrorKind::Protocol),
        (Fault::InvalidBase64, ErrorKind::Protocol),
        (Fault::NotAPicture, ErrorKind::Protocol),
        (Fault::HalfPicture, ErrorKind::Protocol),
        (Fault::CorruptPicture, ErrorKind::Protocol),
        (Fault::FewerPictures, ErrorKind::NoImage),
        (Fault::WrongSize, ErrorKind::Protocol),
    ];
    for (fault, kind) in cases {
        simulator.reset();
        simulator.fail(fault);
        let error = failure(&simulator, Duration::from_secs(5)).await;
        assert_eq!(error.kind(), kind, "{fault}: {error}");
        assert_eq!(simulator.hits(), 1, "{fault}");
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
async fn a_stand_in_that_is_not_there_is_unavailable() {
    let simulator = Simulator::start().await;
    let provider = layered(&simulator, Duration::from_secs(5), 1);
    simulator.stop();
    let error = provider.generate(&asked(), &call()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.to_string(), "the provider cannot be reached");
}

#[tokio::test]
async fn an_address_that_speaks_no_tls_is_unavailable() {
    let simulator = Simulator::start().await;
    let address = simulator.base_url().replace("http://", "https://");
    let error = provider(&address, &json!({ "id": "any" })).generate(&asked(), &call()).await.unwrap_err();
    assert_eq!((error.kind(), simulator.hits()), (ErrorKind::Unavailable, 0));
}

#[tokio::test]
async fn what_passes_is_repeated_as_often_as_the_policy_says() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::CorruptPicture).times(2));
    let call = call();
    layered(&simulator, Duration::from_secs(5), 3).generate(&asked(), &call).await.unwrap();
    assert_eq!((simulator.hits(), call.upstream_calls()), (3, 3));
}

#[tokio::test]
async fn whoever_leaves_takes_the_call_along() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::slow(Duration::from_secs(20)));
    let provider = layered(&simulator, Duration::from_secs(30), 1);
    let (asked, call) = (asked(), call());
    let left = tokio::time::timeout(Duration::from_millis(200), provider.generate(&asked, &call)).await;
    assert!(left.is_err());
    assert!(simulator.settles(Duration::from_secs(5), |counts| counts.in_flight == 0).await);
}
