//! What a client sees of every fault, so that a test that plants one knows what it planted.

use std::time::{Duration, Instant};

use provider_sim::{Behaviour, Fault, Simulator};
use reqwest::Response;
use serde_json::{Value, json};

use crate::{base64_of, client, decode, dimensions};

async fn ask_for(simulator: &Simulator, body: &Value) -> reqwest::Result<Response> {
    let url = format!("{}/images/generations", simulator.base_url());
    client(Duration::from_secs(5)).post(url).json(body).send().await
}

/// Two pictures of 64 × 48 from the model that takes any size.
async fn ask(simulator: &Simulator) -> reqwest::Result<Response> {
    ask_for(simulator, &json!({ "model": "sim-any", "prompt": "a fox", "n": 2, "size": "64x48" })).await
}

async fn answer_to(fault: Fault) -> Value {
    let simulator = Simulator::start().await;
    simulator.fail(fault);
    let response = ask(&simulator).await.unwrap();
    assert_eq!(response.status(), 200, "{fault}");
    response.json().await.unwrap()
}

fn first_file(answer: &Value) -> Vec<u8> {
    decode(&answer["data"][0]["b64_json"])
}

#[tokio::test]
async fn without_a_fault_it_draws_what_was_asked_and_remembers_it() {
    let simulator = Simulator::start().await;
    let answer: Value = ask(&simulator).await.unwrap().json().await.unwrap();
    assert_eq!(answer["data"].as_array().unwrap().len(), 2);
    assert_eq!(dimensions(&first_file(&answer)).unwrap(), (64, 48));
    assert_ne!(answer["data"][0], answer["data"][1]);
    assert_eq!(simulator.hits(), 1);
    let requests = simulator.requests();
    assert_eq!(requests[0].json()["prompt"], "a fox");
    assert_eq!(requests[0].header("Content-Type"), Some("application/json"));
}

#[tokio::test]
async fn statuses_carry_the_vendors_errors() {
    let cases = [
        (Fault::Status(401), 401, json!("invalid_api_key")),
        (Fault::Status(402), 402, json!("insufficient_quota")),
        (Fault::Status(403), 403, Value::Null),
        (Fault::Status(404), 404, json!("model_not_found")),
        (Fault::Status(500), 500, Value::Null),
        (Fault::Status(503), 503, Value::Null),
        (Fault::RateLimit(None), 429, json!("rate_limit_exceeded")),
        (Fault::Quota, 429, json!("insufficient_quota")),
        (Fault::Refused, 400, json!("moderation_blocked")),
    ];
    let simulator = Simulator::start().await;
    for (fault, status, code) in cases {
        simulator.fail(fault);
        let response = ask(&simulator).await.unwrap();
        assert_eq!(response.status(), status, "{fault}");
        assert!(response.headers().get("retry-after").is_none(), "{fault}");
        let body: Value = response.json().await.unwrap();
        assert_eq!(body["error"]["code"], code, "{fault}");
        assert!(body["error"]["message"].is_string(), "{fault}");
    }
    simulator.fail(Fault::RateLimit(Some(12)));
    assert_eq!(ask(&simulator).await.unwrap().headers()["retry-after"], "12");
}

#[tokio::test]
async fn a_fault_that_meets_two_requests_leaves_the_third_alone() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::Status(500)).times(2));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(ask(&simulator).await.unwrap().status().as_u16());
    }
    assert_eq!(statuses, [500, 500, 200]);
    assert_eq!(simulator.hits(), 3);
}

#[tokio::test]
async fn broken_connections_break() {
    let simulator = Simulator::start().await;
    for fault in [Fault::Reset, Fault::Close] {
        simulator.fail(fault);
        assert!(ask(&simulator).await.is_err(), "{fault}");
    }
    for fault in [Fault::TruncatedBody, Fault::ResetMidBody] {
        simulator.fail(fault);
        let response = ask(&simulator).await.unwrap();
        assert_eq!(response.status(), 200, "{fault}");
        assert!(response.bytes().await.is_err(), "{fault}");
    }
}

#[test]
fn a_reset_is_a_reset_and_a_close_is_not() {
    use std::io::{Read as _, Write as _};
    let simulator = Simulator::bind("127.0.0.1:0", Behaviour::failing(Fault::Reset)).unwrap();
    let read = |simulator: &Simulator| {
        let mut stream = std::net::TcpStream::connect(simulator.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(b"POST /v1/images/generations HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        stream.read(&mut [0; 16])
    };
    assert_eq!(read(&simulator).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    simulator.fail(Fault::Close);
    assert_eq!(read(&simulator).unwrap(), 0);
}

#[tokio::test]
async fn silence_lasts_until_the_client_leaves_and_then_nothing_is_left() {
    let simulator = Simulator::start().await;
    for fault in [Fault::Hang, Fault::HangMidBody, Fault::Drip(20)] {
        simulator.reset();
        simulator.fail(fault);
        let url = format!("{}/images/generations", simulator.base_url());
        let body = json!({ "model": "sim-any", "prompt": "a fox", "size": "64x48" });
        let begun = Instant::now();
        let request = client(Duration::from_millis(300)).post(url).json(&body).send();
        let outcome = async { request.await?.bytes().await }.await;
        assert!(outcome.unwrap_err().is_timeout(), "{fault}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{fault}");
        let gone = simulator.settles(Duration::from_secs(1), |counts| counts.in_flight + counts.live_connections == 0);
        assert!(gone.await, "{fault}: {:?}", simulator.counts());
        assert_eq!(simulator.counts().abandoned, 1, "{fault}");
    }
}

#[tokio::test]
async fn a_slow_answer_is_whole() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::failing(Fault::Drip(20_000)).with_delay(Duration::from_millis(200)));
    let begun = Instant::now();
    let answer: Value = ask(&simulator).await.unwrap().json().await.unwrap();
    assert!(begun.elapsed() > Duration::from_millis(200));
    assert_eq!(dimensions(&first_file(&answer)).unwrap(), (64, 48));
    assert_eq!(simulator.counts().abandoned, 0);
}

#[tokio::test]
async fn answers_that_call_themselves_200_are_wrong_as_named() {
    assert_eq!(answer_to(Fault::EmptyData).await["data"], json!([]));
    assert_eq!(answer_to(Fault::EmptyItem).await["data"], json!([{}]));
    assert_eq!(answer_to(Fault::FewerPictures).await["data"].as_array().unwrap().len(), 1);
    let text = answer_to(Fault::InvalidBase64).await["data"][0]["b64_json"].as_str().unwrap().to_owned();
    assert!(base64_of(&text).is_none());
    assert!(dimensions(&first_file(&answer_to(Fault::NotAPicture).await)).is_none());
    assert!(dimensions(&first_file(&answer_to(Fault::HalfPicture).await)).is_none());
    assert!(dimensions(&first_file(&answer_to(Fault::CorruptPicture).await)).is_none());
    assert_eq!(dimensions(&first_file(&answer_to(Fault::WrongSize).await)).unwrap(), (72, 48));

    let simulator = Simulator::start().await;
    simulator.fail(Fault::TruncatedJson);
    let body = ask(&simulator).await.unwrap().bytes().await.unwrap();
    assert!(serde_json::from_slice::<Value>(&body).is_err());
    simulator.fail(Fault::Html);
    let page = ask(&simulator).await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/html"));
}

#[tokio::test]
async fn addresses_lead_to_the_pictures() {
    let simulator = Simulator::start().await;
    simulator.fail(Fault::UrlInsteadOfBase64);
    let answer: Value = ask(&simulator).await.unwrap().json().await.unwrap();
    let url = answer["data"][0]["url"].as_str().unwrap().to_owned();
    let file = client(Duration::from_secs(5)).get(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(dimensions(&file).unwrap(), (64, 48));
}
