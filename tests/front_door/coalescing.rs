//! Identical requests that are under way together.

use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::easel::{Answer, Easel, client};
use crate::leaving::ask;
use crate::upstreams::in_order;

fn seeded() -> Value {
    json!({ "prompt": "a fox", "size": "64x48", "seed": 7 })
}

async fn at_once(easel: &Easel, count: usize, wish: &Value) -> Vec<Answer> {
    let mut all = JoinSet::new();
    for _ in 0..count {
        let (client, url, wish) = (client(), easel.url("/api/generate-image"), wish.clone());
        all.spawn(async move { Answer::read(client.post(url).json(&wish).send().await.unwrap()).await });
    }
    all.join_all().await
}

#[tokio::test]
async fn twenty_seeded_ones_are_one_call_and_unseeded_ones_are_not_shared() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::slow(Duration::from_millis(700)));
    let easel = Easel::start(&in_order(&[&upstream], r#"timeout = "20s""#)).await;
    let answers = at_once(&easel, 20, &seeded()).await;
    assert_eq!(upstream.hits(), 1);
    let calls: u64 = answers.iter().map(|answer| answer.body["attempts"][0]["calls"].as_u64().unwrap()).sum();
    assert_eq!(calls, 1);
    for answer in &answers {
        assert_eq!(answer.pictures(), [(64, 48)]);
        assert_eq!(answer.body["images"], answers[0].body["images"]);
    }
    let count = |cache| answers.iter().filter(|answer| answer.body["cache"] == cache).count();
    assert_eq!((count("miss"), count("coalesced") + count("hit")), (1, 19));

    let unseeded = json!({ "prompt": "a fox", "size": "64x48" });
    let answers = at_once(&easel, 5, &unseeded).await;
    assert!(answers.iter().all(|answer| answer.body["cache"] == "bypass"));
    assert_eq!(upstream.hits(), 6);
}

#[tokio::test]
async fn a_failure_is_told_to_all_and_sent_once() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour { delay: Duration::from_millis(500), ..Behaviour::failing(Fault::Refused) });
    let easel = Easel::start(&in_order(&[&upstream], "attempts = 1")).await;
    for answer in at_once(&easel, 8, &seeded()).await {
        answer.assert_problem(422, "content_rejected");
    }
    assert_eq!(upstream.hits(), 1);
}

#[tokio::test]
async fn the_first_leaves_and_the_others_get_their_picture() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::slow(Duration::from_millis(900)));
    let easel = Easel::start(&in_order(&[&upstream], r#"timeout = "10s""#)).await;
    let seeded = seeded();
    let leaver = ask(&easel, &seeded).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    let (answers, ()) = tokio::join!(at_once(&easel, 3, &seeded), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(leaver);
    });
    assert!(answers.iter().all(|answer| answer.pictures() == [(64, 48)]));
    assert_eq!((upstream.hits(), upstream.counts().abandoned), (1, 0));
}

#[tokio::test]
async fn when_all_leave_the_upstream_is_let_go() {
    let upstream = Simulator::start().await;
    upstream.fail(Fault::Hang);
    let easel = Easel::start(&in_order(&[&upstream], r#"timeout = "60s""#)).await;
    let (first, second) = (ask(&easel, &seeded()).await, ask(&easel, &seeded()).await);
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    drop(first);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(upstream.counts().in_flight, 1);
    drop(second);
    let gone = upstream.settles(Duration::from_secs(1), |counts| counts.in_flight + counts.live_connections == 0).await;
    assert!(gone, "{:?}", upstream.counts());
}

#[tokio::test]
async fn what_is_to_be_finished_is_finished_kept_and_waited_for_at_the_end() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::slow(Duration::from_millis(1200)));
    let mut easel = Easel::start(&in_order(&[&upstream], r#"timeout = "10s""#)).await;
    let finish = |seed: u32| json!({ "prompt": "a fox", "size": "64x48", "seed": seed, "on_disconnect": "finish" });
    let leaver = ask(&easel, &finish(7)).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    drop(leaver);
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 0).await);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let answer = easel.generate(&seeded()).await;
    assert_eq!((answer.body["cache"].as_str(), upstream.hits(), upstream.counts().abandoned), (Some("hit"), 1, 0));

    let leaver = ask(&easel, &finish(8)).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    drop(leaver);
    tokio::time::sleep(Duration::from_millis(200)).await;
    easel.terminate();
    assert_eq!(easel.ended().await.code(), Some(0), "{}", easel.log());
    assert_eq!((upstream.hits(), upstream.counts().abandoned), (2, 0), "{}", easel.log());
    assert!(!easel.log().contains("cut off"), "{}", easel.log());
}

#[tokio::test]
async fn what_cannot_be_finished_before_the_end_is_cut_off_and_said() {
    let upstream = Simulator::start().await;
    upstream.fail(Fault::Hang);
    let config = format!("server.drain = \"1s\"\n{}", in_order(&[&upstream], r#"timeout = "60s""#));
    let mut easel = Easel::start(&config).await;
    let finish = json!({ "prompt": "a fox", "size": "64x48", "on_disconnect": "finish" });
    let leaver = ask(&easel, &finish).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    drop(leaver);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(upstream.counts().in_flight, 1);
    let begun = std::time::Instant::now();
    easel.terminate();
    assert_eq!(easel.ended().await.code(), Some(0), "{}", easel.log());
    assert!((1..6).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert!(easel.logs("work at providers cut off").await, "{}", easel.log());
    assert!(upstream.settles(Duration::from_secs(1), |counts| counts.live_connections == 0).await);
}
