//! One list of faults, and every vendor knows all of it.

use std::collections::BTreeSet;
use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator, Spelling, Vendor};
use serde_json::{Value, json};

use crate::{post, send};

/// The cheapest request for a picture.
fn asking(vendor: Vendor) -> (&'static str, Value) {
    match vendor {
        Vendor::OpenAi => ("/images/generations", json!({ "model": "sim-any", "prompt": "a fox", "size": "64x48" })),
        Vendor::Runware => ("", json!([task("6f2f3b0e-1d0b-4c8e-9b6f-0f3a0c8d1a11")])),
        Vendor::Gemini => (
            "/models/gemini-3.1-flash-image:generateContent",
            json!({ "contents": [{ "parts": [{ "text": "a fox" }] }],
            "generationConfig": { "imageConfig": { "imageSize": "512" } } }),
        ),
        Vendor::LocalAi | Vendor::SdCpp | Vendor::Vllm => {
            ("/images/generations", json!({ "prompt": "a fox", "size": "64x48", "response_format": "b64_json" }))
        }
        Vendor::Xai => ("/images/generations", json!({ "prompt": "a fox", "response_format": "b64_json" })),
        Vendor::Easel => ("/api/generate-image", json!({ "prompt": "a fox", "width": 64, "height": 48 })),
    }
}

fn task(uuid: &str) -> Value {
    json!({
        "taskType": "imageInference", "taskUUID": uuid, "model": "runware:100@1", "positivePrompt": "a fox",
        "width": 128, "height": 128, "numberResults": 2, "outputType": "base64Data", "outputFormat": "PNG",
    })
}

/// What a client can tell apart: nothing for a broken connection.
async fn outcome(simulator: &Simulator, vendor: Vendor) -> Option<(u16, String, String)> {
    let (path, body) = asking(vendor);
    let response = send(simulator, vendor, path, &body).await.ok()?;
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    let told = ["retry-after", "retry-after-ms", "x-should-retry"].map(|name| response.headers().get(name).cloned());
    let body = response.text().await.ok()?;
    let body = serde_json::from_str::<Value>(&body).map_or(body.clone(), |mut value| {
        value.as_object_mut().map(|object| object.remove("created"));
        value.to_string()
    });
    Some((status, format!("{kind:?} {told:?}"), body))
}

#[tokio::test]
async fn every_fault_changes_the_answer_of_every_vendor() {
    for vendor in Vendor::ALL {
        let simulator = Simulator::start().await;
        let right = outcome(&simulator, vendor).await.unwrap();
        assert_eq!(right.0, 200, "{vendor:?}: {}", right.2);
        for fault in Fault::prompt_ones() {
            simulator.reset();
            simulator.fail(fault);
            assert_ne!(outcome(&simulator, vendor).await.as_ref(), Some(&right), "{vendor:?} {fault}");
            assert_eq!(simulator.counts_of(vendor).hits, 1, "{vendor:?} {fault}");
            assert_eq!(simulator.requests_of(vendor).len(), 1, "{vendor:?} {fault}");
        }
    }
}

#[tokio::test]
async fn forms_of_refusals_and_of_empty_answers_differ() {
    for vendor in Vendor::ALL {
        let simulator = Simulator::start().await;
        for (count, fault) in [
            (vendor.refusals(), Fault::RefusedAs as fn(u8) -> Fault),
            (vendor.no_pictures(), Fault::NoPicture),
            (vendor.quotas(), Fault::QuotaAs),
        ] {
            let mut seen = BTreeSet::new();
            for form in 0..count {
                simulator.reset();
                simulator.fail(fault(form));
                seen.insert(outcome(&simulator, vendor).await);
            }
            // Two of the empty answers are the same where the vendor knows only two.
            let least = usize::from(if count == vendor.no_pictures() && count == 3 { 2 } else { count });
            assert!(seen.len() >= least, "{vendor:?} {}: {seen:?}", fault(0));
        }
    }
}

#[tokio::test]
async fn delays_are_told_in_every_spelling() {
    for vendor in Vendor::ALL {
        let simulator = Simulator::start().await;
        let (path, body) = asking(vendor);
        for spelling in Spelling::ALL {
            simulator.reset();
            simulator.fail(Fault::RateLimitAs(spelling, 1_500));
            let response = send(&simulator, vendor, path, &body).await.unwrap();
            assert_eq!(response.status(), 429, "{vendor:?}");
            let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            let (told, milliseconds) = (header("retry-after"), header("retry-after-ms"));
            let text = response.text().await.unwrap();
            let expected = match spelling {
                Spelling::Seconds => told.as_deref() == Some("2"),
                Spelling::Float => told.as_deref() == Some("1.5"),
                Spelling::Date => told.is_some_and(|told| told.ends_with(" GMT")),
                Spelling::Milliseconds => milliseconds.as_deref() == Some("1500") && told.is_none(),
                Spelling::Body => told.is_none() && milliseconds.is_none() && text.contains("1.5s"),
            };
            assert!(expected, "{vendor:?} {spelling:?}: {text}");
        }
    }
}

#[tokio::test]
async fn a_script_is_played_once_and_then_all_is_as_before() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::Status(500)));
    let script = [Fault::Status(503), Fault::Quota].map(Behaviour::failing);
    simulator.script(script.into_iter().chain([Behaviour::default()]).collect());
    let mut statuses = Vec::new();
    for vendor in [Vendor::OpenAi, Vendor::Runware, Vendor::Gemini, Vendor::Easel] {
        let (path, body) = asking(vendor);
        statuses.push(post(&simulator, vendor, path, &body).await.0);
    }
    assert_eq!(statuses, [503, 402, 200, 500]);
    assert_eq!((simulator.hits(), simulator.counts_of(Vendor::Runware).hits), (4, 1));
}

#[tokio::test]
async fn whoever_leaves_is_counted_with_the_vendor() {
    for vendor in Vendor::ALL {
        let simulator = Simulator::start().await;
        simulator.fail(Fault::Hang);
        let (path, body) = asking(vendor);
        let url = format!("{}{path}", simulator.url(vendor));
        let left = crate::client(Duration::from_millis(100)).post(url).json(&body).send().await;
        assert!(left.unwrap_err().is_timeout());
        let gone = simulator.settles(Duration::from_secs(1), |counts| counts.in_flight == 0 && counts.abandoned == 1);
        assert!(gone.await, "{vendor:?}");
        assert_eq!(simulator.counts_of(vendor).abandoned, 1, "{vendor:?}");
    }
}

#[tokio::test]
async fn a_key_is_asked_for_in_the_vendors_way() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::default().with_key("right"));
    for vendor in Vendor::ALL {
        let (path, body) = asking(vendor);
        let url = format!("{}{path}", simulator.url(vendor));
        let header = if vendor == Vendor::Gemini { "x-goog-api-key" } else { "authorization" };
        let before = if vendor == Vendor::Gemini { "" } else { "Bearer " };
        for (key, status) in [("right", 200), ("wrong", if vendor == Vendor::Gemini { 400 } else { 401 })] {
            let request = crate::client(Duration::from_secs(5)).post(&url).header(header, format!("{before}{key}"));
            assert_eq!(request.json(&body).send().await.unwrap().status(), status, "{vendor:?} {key}");
        }
    }
}

#[tokio::test]
async fn a_byte_a_second_is_a_byte_a_second() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::Drip(1));
    let (path, body) = asking(Vendor::OpenAi);
    let mut response = send(&simulator, Vendor::OpenAi, path, &body).await.unwrap();
    let begun = std::time::Instant::now();
    assert_eq!(response.chunk().await.unwrap().unwrap().len(), 1);
    assert!(begun.elapsed() > Duration::from_millis(600), "{:?}", begun.elapsed());
}
