//! SIGTERM: what runs is finished within a limit, nothing new begins, and the end is a good one.

use std::time::{Duration, Instant};

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::easel::{Easel, client};
use crate::leaving::{ask, begin};
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
        let late = TcpStream::connect(("127.0.0.1", easel.port())).await;
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

#[tokio::test]
async fn whoever_joined_work_of_another_thread_gets_its_picture_though_the_first_client_leaves() {
    for leaves_first in [true, false] {
        let upstream = Simulator::start().await;
        upstream.set(Behaviour::slow(Duration::from_millis(1500)));
        let mut easel = Easel::start(&in_order(&[&upstream], r#"timeout = "10s""#)).await;
        let wish = json!({ "prompt": "a fox", "size": "64x48", "seed": 7 });
        // Connections are given to the server's threads in turn: the second one's is not the one that does the work.
        let leaver = ask(&easel, &wish).await;
        assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
        let (answer, ()) = tokio::join!(easel.generate(&wish), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            if leaves_first {
                drop(leaver);
                tokio::time::sleep(Duration::from_millis(100)).await;
                easel.terminate();
            } else {
                easel.terminate();
                tokio::time::sleep(Duration::from_millis(100)).await;
                drop(leaver);
            }
        });
        assert_eq!(answer.pictures(), [(64, 48)]);
        assert_eq!(answer.body["cache"], "coalesced");
        assert_eq!(easel.ended().await.code(), Some(0), "{}", easel.log());
        assert_eq!((upstream.hits(), upstream.counts().abandoned), (1, 0), "{}", easel.log());
        assert!(!easel.log().contains("cut off"), "{}", easel.log());
    }
}

#[tokio::test]
async fn work_that_a_running_request_begins_after_the_signal_is_finished_too() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::slow(Duration::from_millis(1200)));
    let mut easel = Easel::start(&in_order(&[&upstream], r#"timeout = "10s""#)).await;
    let body = json!({ "prompt": "a fox", "size": "64x48", "on_disconnect": "finish" }).to_string();
    let mut client = begin(&easel, &body, 10).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    easel.terminate();
    tokio::time::sleep(Duration::from_millis(300)).await;
    client.write_all(&body.as_bytes()[10..]).await.unwrap();
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await, "{}", easel.log());
    drop(client);
    assert_eq!(easel.ended().await.code(), Some(0), "{}", easel.log());
    assert_eq!((upstream.hits(), upstream.counts().abandoned), (1, 0), "{}", easel.log());
    assert!(!easel.log().contains("cut off"), "{}", easel.log());
}

#[tokio::test]
async fn the_second_signal_ends_it_at_once() {
    let upstream = Simulator::start().await;
    upstream.fail(Fault::Hang);
    let mut easel = Easel::start(&in_order(&[&upstream], r#"timeout = "60s""#)).await;
    let _waits = ask(&easel, &json!({ "prompt": "a fox", "on_disconnect": "finish" })).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    let begun = Instant::now();
    easel.terminate();
    assert!(easel.logs("shutting down").await);
    easel.terminate();
    easel.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}: {}", begun.elapsed(), easel.log());
}
