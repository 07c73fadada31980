//! The life of the engine's process. Every test here starts processes of its own and ends them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{House, ask, call, prompt, shapes, stand_in};
use crate::generation::Availability;
use crate::providers::{ErrorKind, Provider};

fn reason(provider: &Arc<dyn Provider>) -> Option<&'static str> {
    match provider.is_available() {
        Availability::Available => None,
        Availability::Unavailable { reason, .. } => Some(reason),
    }
}

/// Whether `is` comes to be so within five seconds.
async fn comes(is: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !is() {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    true
}

#[tokio::test]
async fn an_engine_is_started_on_first_use_and_kept() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    assert_eq!((reason(&provider), house.sockets()), (None, 0));
    ask(&provider, "x").await.unwrap();
    ask(&provider, "x").await.unwrap();
    let names: Vec<_> =
        std::fs::read_dir(house.path("data/run")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_str().unwrap().ends_with("-1.sock")), "{names:?}");
    assert!(!names.iter().any(|name| name.to_str().unwrap().ends_with("-2.sock")), "{names:?}");
}

#[tokio::test]
async fn requests_that_come_at_once_share_one_start() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    let (one, two, three) = tokio::join!(ask(&provider, "x"), ask(&provider, "x"), ask(&provider, "x"));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(house.sockets(), 2, "one socket and the record of the last job");
}

#[tokio::test]
async fn an_engine_that_dies_fails_its_request_at_once_and_the_next_one_has_a_new_engine() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    for _ in 0..3 {
        let started = Instant::now();
        let error = ask(&provider, "die").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        // A picture in between forgives the end before.
        ask(&provider, "x").await.unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_keeps_dying_is_started_later_and_later() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    ask(&provider, "die").await.unwrap_err();
    assert_eq!(reason(&provider), None);
    ask(&provider, "die").await.unwrap_err();
    assert_eq!(reason(&provider), Some("engine_restarting"));
    let error = ask(&provider, "x").await.unwrap_err();
    assert!(error.retry_after().is_some_and(|pause| pause <= Duration::from_secs(1)), "{error:?}");
    tokio::time::sleep(Duration::from_millis(1050)).await;
    assert_eq!(reason(&provider), None);
    ask(&provider, "x").await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_cut_is_a_failure_though_the_engine_lives() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    assert_eq!(ask(&provider, "cut").await.unwrap_err().kind(), ErrorKind::Unavailable);
    ask(&provider, "x").await.unwrap();
}

#[tokio::test]
async fn whoever_leaves_cancels_the_job() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    ask(&provider, "x").await.unwrap();
    let (asked, call) = (prompt("wait"), call());
    let left = tokio::time::timeout(Duration::from_millis(300), provider.generate(&asked, &call)).await;
    assert!(left.is_err());
    assert!(comes(|| house.path("data/run/cancelled").exists()).await);
}

#[tokio::test]
async fn a_program_that_is_no_engine_is_not_waited_for() {
    let house = House::new();
    let started = Instant::now();
    let error = ask(&house.with_engine("#!/bin/sh\necho no >&2\nexit 3\n"), "x").await.unwrap_err();
    assert_eq!(error.to_string(), "the engine ended before it was ready");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());

    let error = ask(&house.with_engine(&stand_in::script(99)), "x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);

    house.install("no program at all");
    let provider = house.build(json!({ "models": { "shapes": shapes() } })).unwrap();
    let error = ask(&provider, "x").await.unwrap_err();
    assert_eq!(error.to_string(), "the engine cannot be started");
}

#[tokio::test]
async fn an_engine_that_is_never_ready_is_killed() {
    let house = House::new();
    house.install("#!/bin/sh\nexec sleep 60\n");
    let config = json!({ "models": { "shapes": shapes() }, "ready_timeout": "200ms" });
    let provider = house.build(config).unwrap();
    let error = ask(&provider, "x").await.unwrap_err();
    assert_eq!(error.to_string(), "the engine was not ready within 200 ms");
}

#[tokio::test]
async fn the_engine_ends_with_its_provider() {
    let house = House::new();
    let provider = house.with_engine(&stand_in::sound());
    ask(&provider, "x").await.unwrap();
    let socket = std::fs::read_dir(house.path("data/run")).unwrap().map(|entry| entry.unwrap().path());
    let socket = socket.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "sock")).unwrap();
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok());
    drop(provider);
    assert!(std::os::unix::net::UnixStream::connect(&socket).is_err());
    assert!(!socket.exists());
}

#[tokio::test]
async fn an_idle_engine_is_ended_and_started_again_when_needed() {
    let house = House::new();
    house.install(&stand_in::sound());
    let config = json!({ "models": { "shapes": shapes() }, "idle_timeout": "150ms" });
    let provider = house.build(config).unwrap();
    for _ in 0..3 {
        ask(&provider, "x").await.unwrap();
        assert!(comes(|| house.sockets() == 1).await, "the socket is gone, the record of the last job is not");
    }
    // Ends that were asked for are not held against it.
    assert_eq!(reason(&provider), None);
}

#[tokio::test]
async fn a_data_folder_too_deep_for_a_socket_is_no_obstacle() {
    let house = House::new();
    house.install(&stand_in::sound());
    let mut environment = house.environment();
    environment.data_dir = house.path(&"deep/".repeat(30));
    let kind = crate::providers::Kind::of::<super::Config>();
    let config = json!({ "models": { "shapes": shapes() } });
    let provider = kind.build(&crate::generation::ProviderId::new("here"), config, &environment).unwrap().first;
    ask(&provider, "x").await.unwrap();
}
