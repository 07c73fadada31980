//! Bodies that are too long, endless, too slow, or no text at all: answered or closed in time, in bounded memory.

use std::time::{Duration, Instant};

use provider_sim::Simulator;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::easel::{Easel, client};
use crate::upstreams::in_order;

/// Memory that a debug build takes at most, whatever it is sent: the longest body twice, and itself.
const BOUND: u64 = 128 << 20;

async fn easel_with(settings: &str) -> (Easel, Simulator) {
    let upstream = Simulator::start().await;
    let easel = Easel::start(&format!("{settings}\n{}", in_order(&[&upstream], "attempts = 1"))).await;
    (easel, upstream)
}

/// Sends what it is given until it is through or the other side has had enough; then reads what was answered.
async fn send(easel: &Easel, head: &str, body: impl Iterator<Item = Vec<u8>>) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", easel.port())).await.unwrap();
    let head = format!("POST /api/generate-image HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n{head}\r\n\r\n", easel.port());
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        writer.write_all(head.as_bytes()).await?;
        for piece in body {
            writer.write_all(&piece).await?;
        }
        std::io::Result::Ok(())
    };
    let reading = async {
        let mut answer = vec![0; 4096];
        let read = tokio::time::timeout(Duration::from_secs(20), reader.read(&mut answer)).await;
        answer.truncate(read.expect("no answer in time").unwrap_or(0));
        String::from_utf8_lossy(&answer).into_owned()
    };
    // Whoever answers first: a server may answer before it has read everything.
    tokio::pin!(reading);
    tokio::select! {
        answer = &mut reading => answer,
        _ = writing => reading.await,
    }
}

fn megabytes(count: usize) -> impl Iterator<Item = Vec<u8>> {
    std::iter::repeat_n(vec![b'x'; 1 << 20], count)
}

#[tokio::test]
async fn a_hundred_megabytes_are_413_and_not_kept() {
    let (easel, upstream) = easel_with("").await;
    let announced = format!("content-type: application/json\r\ncontent-length: {}", 100 << 20);
    let answer = send(&easel, &announced, megabytes(100)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("body_too_large") && answer.contains("application/problem+json"), "{answer}");
    let chunk = [b"100000\r\n".to_vec(), vec![b' '; 1 << 20], b"\r\n".to_vec()].concat();
    let chunked = "content-type: application/json\r\ntransfer-encoding: chunked";
    let answer = send(&easel, chunked, std::iter::repeat_n(chunk, 100)).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(easel.peak_memory() < BOUND, "{} MB", easel.peak_memory() >> 20);
    assert_eq!(easel.get("/healthz").await.status, 200);
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn many_long_bodies_at_once_share_a_bounded_memory() {
    let (easel, _upstream) = easel_with("server.body_memory = \"64 MiB\"\nlimits.requests_per_minute = 0").await;
    let url = easel.url("/api/generate-image");
    let client = client();
    let mut askers = JoinSet::new();
    for _ in 0..12 {
        let request = client.post(&url).header("content-type", "application/json").body(vec![b' '; 20 << 20]);
        askers.spawn(async move { request.send().await.map(|response| response.status().as_u16()) });
    }
    let mut refused = 0;
    for status in askers.join_all().await {
        // A connection that was closed while it still sent is a refusal too.
        let status = status.unwrap_or(503);
        assert!([400, 503].contains(&status), "{status}");
        refused += u32::from(status == 503);
    }
    println!("{refused} of 12 were refused, at most {} MB were held", easel.peak_memory() >> 20);
    assert!(easel.peak_memory() < BOUND + (64 << 20), "{} MB", easel.peak_memory() >> 20);
    assert_eq!(easel.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_body_that_never_ends_is_408_in_time() {
    let (easel, upstream) = easel_with("server.body_timeout = \"1s\"").await;
    let begun = Instant::now();
    let head = "content-type: application/json\r\ncontent-length: 1000";
    let answer = send(&easel, head, std::iter::once(br#"{"prompt":"#.to_vec())).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body_timeout"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn a_body_that_comes_drop_by_drop_is_408_in_time() {
    let (easel, _upstream) = easel_with("server.body_timeout = \"1s\"").await;
    let mut stream = TcpStream::connect(("127.0.0.1", easel.port())).await.unwrap();
    let head = format!(
        "POST /api/generate-image HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n\
         content-length: 100000\r\n\r\n",
        easel.port()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let begun = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let mut answer = [0; 12];
    tokio::select! {
        read = reader.read_exact(&mut answer) => drop(read.unwrap()),
        () = async { while writer.write_all(b" ").await.is_ok() { tokio::time::sleep(Duration::from_millis(50)).await } } => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => {}
    }
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_head_that_never_ends_is_closed_in_time() {
    let (easel, _upstream) = easel_with("server.header_timeout = \"1s\"").await;
    let mut stream = TcpStream::connect(("127.0.0.1", easel.port())).await.unwrap();
    stream.write_all(b"POST /api/generate-image HTTP/1.1\r\nhost: 127.0").await.unwrap();
    let begun = Instant::now();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "still open after {:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_no_json_is_400() {
    let (easel, upstream) = easel_with("limits.requests_per_minute = 0").await;
    let nested = "[".repeat(200_000);
    let cases: [&[u8]; 12] = [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\"prompt\"",
        b"{\"prompt\":\"a\"}}",
        b"{\"prompt\":\"\xff\xfe\"}",
        b"\xff\xfe\x00",
        b"{\"prompt\":\"\\ud800\"}",
        b"{\"prompt\":\"a\",}",
        b"{\"prompt\":\"a\",\"seed\":1e999}",
        nested.as_bytes(),
    ];
    for case in cases {
        let shown = String::from_utf8_lossy(case.get(..case.len().min(30)).unwrap()).into_owned();
        let answer = easel.post("/api/generate-image", "application/json", case.to_vec()).await;
        assert!([400, 422].contains(&answer.status), "{shown}: {} {}", answer.status, answer.body);
        answer.assert_problem(answer.status, answer.body["code"].as_str().unwrap());
    }
    assert_eq!(upstream.hits(), 0);
    assert_eq!(easel.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn the_same_field_twice_is_refused() {
    let (easel, upstream) = easel_with("").await;
    let twice = r#"{"prompt":"a","prompt":"b"}"#;
    let answer = easel.post("/api/generate-image", "application/json", twice).await;
    assert!([400, 422].contains(&answer.status), "{} {}", answer.status, answer.body);
    assert_eq!(upstream.hits(), 0);
}

#[tokio::test]
async fn two_lengths_are_no_length() {
    let (easel, upstream) = easel_with("").await;
    let head = "content-type: application/json\r\ncontent-length: 18\r\ntransfer-encoding: chunked";
    let answer = send(&easel, head, std::iter::once(br#"{"prompt":"a fox"}"#.to_vec())).await;
    assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{answer}");
    assert_eq!(upstream.hits(), 0);
}
