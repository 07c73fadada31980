//! SIGTERM: what runs is finished within a limit, nothing new begins, and the end is a good one.

use std::time::{Duration, Instant};

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::json;

use crate::easel::{Easel, client};
use crate::upstreams::in_order;

#[tokio::test]
async fn a_running_request_gets_its_picture_and_the_end_is_good() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::slow(Duration::from_secs(1)));
    let mut easel = Easel::start(&in_order(&[&upstream], r#"timeout = "10s""#)).await;
    let wish = json!({ "prompt": "a fox", "size": "64x48" });
    let (answer, ()) = tokio::join!(easel.generate(&wish), async {
        assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
        easel.terminate();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let late = tokio::net::TcpStream::connect(("127.0.0.1", easel.port())).await;
        assert!(late.is_err(), "it still accepts connections");
    });
    assert_eq!(answer.pictures(), [(64, 48)]);
    assert_eq!(easel.ended().await.code(), Some(0), "{}", easel.log());
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_off_and_said() {
    let upstream = Simulator::start().await;
    upstream.fail(Fault::Hang);
    let config = format!("server.drain = \"1s\"\n{}", in_order(&[&upstream], r#"timeout = "60s""#));
    let mut easel = Easel::start(&config).await;
    let url = easel.url("/api/generate-image");
    let client = client();
    let mut asking = tokio::task::JoinSet::new();
    asking.spawn(async move { client.post(url).json(&json!({ "prompt": "a fox" })).send().await });
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    let begun = Instant::now();
    easel.terminate();
    assert_eq!(easel.ended().await.code(), Some(0), "{}", easel.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(easel.logs("cut off").await, "{}", easel.log());
    assert!(upstream.settles(Duration::from_secs(1), |counts| counts.live_connections == 0).await);
}

#[tokio::test]
async fn an_idle_gateway_ends_at_once() {
    let upstream = Simulator::start().await;
    let mut easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    let begun = Instant::now();
    easel.terminate();
    assert_eq!(easel.ended().await.code(), Some(0), "{}", easel.log());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
}
