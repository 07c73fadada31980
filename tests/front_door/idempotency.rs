//! `Idempotency-Key`: a request that is sent again gets the answer that it got, or would have got.

use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::easel::{Answer, Easel};
use crate::upstreams::in_order;

fn wish() -> Value {
    json!({ "prompt": "a fox", "size": "64x48" })
}

async fn one_upstream() -> (Easel, Simulator) {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&in_order(&[&upstream], r#"timeout = "20s""#)).await;
    (easel, upstream)
}

/// That `again` is `first` once more, to the byte.
#[track_caller]
fn assert_replayed(first: &Answer, again: &Answer) {
    assert_eq!(again.header("idempotency-replayed"), "true", "{}", again.body);
    assert_eq!((first.status, &first.bytes), (again.status, &again.bytes));
    for name in [
        "content-type",
        "cache-control",
        "x-request-id",
        "x-easel-provider",
        "x-easel-model",
        "x-easel-attempts",
        "x-easel-cache",
        "server-timing",
    ] {
        assert_eq!(first.header(name), again.header(name), "{name}");
    }
}

/// Sends the request over a connection that the test can close.
async fn send(easel: &Easel, key: &str, wish: &Value) -> TcpStream {
    let body = wish.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", easel.port())).await.unwrap();
    let head = format!(
        "POST /api/generate-image HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n\
         idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
        easel.port(),
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_to_the_byte_also_after_a_restart() {
    let wish = wish();
    let (easel, upstream) = one_upstream().await;
    let first = easel.generate_once("order 1", &wish).await;
    assert_eq!((first.pictures(), first.header("idempotency-replayed")), (vec![(64, 48)], ""));
    // The same in other words: other order and spelling of the same values.
    let spelled = r#"{ "size":"64x48", "n":1.0, "seed":null, "prompt":"a fox" }"#;
    let spelled: Value = serde_json::from_str(spelled).unwrap();
    for again in [easel.generate_once("order 1", &wish).await, easel.generate_once("order 1", &spelled).await] {
        assert_replayed(&first, &again);
    }
    let easel = easel.killed_and_started_again().await;
    assert_replayed(&first, &easel.generate_once("order 1", &wish).await);
    assert_eq!(upstream.hits(), 1);
    assert!(easel.logs("replay_of").await, "{}", easel.log());
    // Another key is another request, and so is none.
    assert_ne!(easel.generate_once("order 2", &wish).await.bytes, first.bytes);
    easel.generate(&wish).await;
    assert_eq!(upstream.hits(), 3);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let wish = wish();
    let (easel, upstream) = one_upstream().await;
    upstream.set(Behaviour::slow(Duration::from_millis(600)));
    let mut other = wish.clone();
    other["timeout_ms"] = json!(9000);
    let (first, ()) = tokio::join!(easel.generate_once("k", &wish), async {
        assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
        let refused = easel.generate_once("k", &other).await;
        refused.assert_problem(422, "idempotency_key_reused");
    });
    for change in [json!({ "prompt": "a cat", "size": "64x48" }), other] {
        let refused = easel.generate_once("k", &change).await;
        refused.assert_problem(422, "idempotency_key_reused");
        assert_eq!(refused.body["field"], "Idempotency-Key");
    }
    assert_replayed(&first, &easel.generate_once("k", &wish).await);
    assert_eq!(upstream.hits(), 1);
}

#[tokio::test]
async fn twins_under_way_wait_for_the_first() {
    let wish = wish();
    let (easel, upstream) = one_upstream().await;
    upstream.set(Behaviour::slow(Duration::from_millis(600)));
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(easel.generate_once("twins", &wish));
    }
    let answers = futures_util::future::join_all(all).await;
    let (first, again): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|answer| answer.header("idempotency-replayed").is_empty());
    assert_eq!((first.len(), again.len(), upstream.hits()), (1, 4, 1));
    for answer in &again {
        assert_replayed(&first[0], answer);
    }
}

#[tokio::test]
async fn what_may_pass_is_told_to_twins_and_not_kept() {
    let wish = wish();
    let (easel, upstream) = one_upstream().await;
    for (fault, status, code) in [
        (Fault::Status(503), 503, "provider_overloaded"),
        (Fault::Status(500), 503, "provider_unavailable"),
        (Fault::Status(401), 502, "provider_unauthorized"),
        (Fault::HalfPicture, 502, "provider_protocol"),
    ] {
        upstream.reset();
        upstream.set(Behaviour { delay: Duration::from_millis(500), ..Behaviour::failing(fault).times(1) });
        let key = format!("may pass {code}");
        let (first, twin) = tokio::join!(easel.generate_once(&key, &wish), easel.generate_once(&key, &wish));
        for answer in [&first, &twin] {
            answer.assert_problem(status, code);
        }
        assert_eq!((&first.bytes, upstream.hits()), (&twin.bytes, 1), "{fault}");
        assert_eq!(first.header("retry-after"), twin.header("retry-after"));
        let retried = easel.generate_once(&key, &wish).await;
        assert_eq!((retried.pictures(), retried.header("idempotency-replayed")), (vec![(64, 48)], ""), "{fault}");
    }
}

#[tokio::test]
async fn a_refused_prompt_stays_refused_and_what_no_provider_saw_is_not_kept() {
    let wish = wish();
    let (easel, upstream) = one_upstream().await;
    upstream.fail(Fault::Refused);
    let first = easel.generate_once("refused", &wish).await;
    first.assert_problem(422, "content_rejected");
    upstream.reset();
    let again = easel.generate_once("refused", &wish).await;
    again.assert_problem(422, "content_rejected");
    assert_replayed(&first, &again);
    assert_eq!(upstream.hits(), 0);

    // These hold nothing on to the key.
    let unknown = json!({ "prompt": "a fox", "model": "nobody" });
    easel.generate_once("free", &unknown).await.assert_problem(404, "unknown_model");
    easel.generate_once("free", &json!({ "prompt": "" })).await.assert_problem(422, "invalid_field");
    assert_eq!(easel.generate_once("free", &wish).await.status, 200);
}

#[tokio::test]
async fn a_twin_takes_over_from_a_first_that_leaves() {
    let wish = wish();
    let (easel, upstream) = one_upstream().await;
    upstream.set(Behaviour::slow(Duration::from_millis(800)));
    let first = send(&easel, "k", &wish).await;
    assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
    let (twins, ()) =
        tokio::join!(async { tokio::join!(easel.generate_once("k", &wish), easel.generate_once("k", &wish)) }, async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            drop(first);
        });
    assert_eq!((twins.0.pictures(), &twins.0.bytes), (vec![(64, 48)], &twins.1.bytes));
    assert_eq!((upstream.hits(), upstream.counts().abandoned), (2, 1));
}

#[tokio::test]
async fn a_retry_finds_what_was_finished_after_its_client_had_left() {
    let (easel, upstream) = one_upstream().await;
    upstream.set(Behaviour::slow(Duration::from_millis(800)));
    let mut finish = wish();
    finish["on_disconnect"] = json!("finish");
    for (key, pause) in [("while it runs", 200), ("afterwards", 1200)] {
        upstream.reset();
        upstream.set(Behaviour::slow(Duration::from_millis(800)));
        let first = send(&easel, key, &finish).await;
        assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await);
        drop(first);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let retried = easel.generate_once(key, &finish).await;
        assert_eq!((retried.pictures(), upstream.hits()), (vec![(64, 48)], 1), "{key}");
        assert_replayed(&retried, &easel.generate_once(key, &finish).await);
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_is_refused() {
    let wish = wish();
    let (easel, upstream) = one_upstream().await;
    for key in ["", &"k".repeat(256), "caf\u{e9}", "tab\there"] {
        let answer = easel.generate_once(key, &wish).await;
        answer.assert_problem(422, "invalid_field");
        assert_eq!(answer.body["field"], "Idempotency-Key");
    }
    assert_eq!(upstream.hits(), 0);
    assert_eq!(easel.generate_once(&"k".repeat(255), &wish).await.status, 200);
}

#[tokio::test]
async fn killed_at_any_moment_it_has_whole_answers_or_none() {
    let wish = json!({ "prompt": "a fox", "size": "320x320" });
    let (mut easel, upstream) = one_upstream().await;
    upstream.set(Behaviour::default().with_bytes(300_000));
    for round in 0..4_u64 {
        let mut all = JoinSet::new();
        for number in 0..12 {
            let mut stream = send(&easel, &format!("k{number}"), &wish).await;
            all.spawn(async move {
                // Whatever comes, until it is killed.
                let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
        let answers = easel.data().join("answers");
        let written = || std::fs::read_dir(&answers).map_or(0, Iterator::count) as u64;
        crate::easel::eventually(Duration::from_secs(20), || written() > round * 3).await;
        easel = easel.killed_and_started_again().await;
        all.shutdown().await;
        for number in 0..12 {
            // Old or new, each is whole.
            assert_eq!(easel.generate_once(&format!("k{number}"), &wish).await.pictures().len(), 1);
        }
        let unfinished = std::fs::read_dir(easel.data().join("answers"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        assert_eq!(unfinished.count(), 0, "what was torn is cleared away with the first answer that is kept");
        if round < 3 {
            std::fs::remove_dir_all(easel.data().join("answers")).unwrap();
            easel = easel.killed_and_started_again().await;
        }
    }
}

#[tokio::test]
async fn a_full_disk_costs_the_replay_and_not_the_answer() {
    let wish = json!({ "prompt": "a fox", "size": "320x320" });
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::default().with_bytes(300_000));
    let easel = Easel::start_with_small_files(&in_order(&[&upstream], r#"timeout = "20s""#), 16).await;
    for _ in 0..2 {
        let answer = easel.generate_once("k", &wish).await;
        assert_eq!((answer.pictures().len(), answer.header("idempotency-replayed")), (1, ""));
    }
    assert!(easel.logs("an answer could not be kept").await, "{}", easel.log());
    assert_eq!((upstream.hits(), std::fs::read_dir(easel.data().join("answers")).unwrap().count()), (2, 0));
}

#[tokio::test]
async fn answers_are_bounded_in_bytes() {
    let wish = json!({ "prompt": "a fox", "size": "320x320" });
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::default().with_bytes(100_000));
    let settings = format!("storage.answers_max = \"500 KiB\"\n{}", in_order(&[&upstream], "attempts = 1"));
    let easel = Easel::start(&settings).await;
    for number in 0..8 {
        assert_eq!(easel.generate_once(&format!("k{number}"), &wish).await.status, 200);
        let entries = std::fs::read_dir(easel.data().join("answers")).unwrap();
        let bytes: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(bytes <= 500 << 10, "{bytes}");
    }
    assert_eq!(easel.generate_once("k7", &wish).await.header("idempotency-replayed"), "true");
    assert_eq!(easel.generate_once("k0", &wish).await.header("idempotency-replayed"), "");
}
