//! A client that leaves takes its work with it.

use std::time::Duration;

use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::easel::Easel;
use crate::upstreams::in_order;

fn wish() -> Value {
    json!({ "prompt": "a fox", "size": "64x48" })
}

/// Asks for a picture over a connection that the test can close.
pub async fn ask(easel: &Easel, wish: &Value) -> TcpStream {
    let body = wish.to_string();
    begin(easel, &body, body.len()).await
}

/// Sends so many bytes of the body, and leaves it to the test to send the others.
pub async fn begin(easel: &Easel, body: &str, sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", easel.port())).await.unwrap();
    let head = format!(
        "POST /api/generate-image HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{}",
        easel.port(),
        body.len(),
        &body[..sent]
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn the_upstream_is_let_go_within_a_second_and_nobody_else_is_asked() {
    for fault in [Fault::Hang, Fault::HangMidBody] {
        let (first, second) = (Simulator::start().await, Simulator::start().await);
        first.fail(fault);
        let easel = Easel::start(&in_order(&[&first, &second], r#"timeout = "60s", attempts = 3"#)).await;
        let stream = ask(&easel, &wish()).await;
        assert!(first.settles(Duration::from_secs(5), |counts| counts.in_flight == 1).await, "{fault}");
        drop(stream);
        let gone =
            first.settles(Duration::from_secs(1), |counts| counts.in_flight + counts.live_connections == 0).await;
        assert!(gone, "{fault}: {:?}", first.counts());
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!((first.hits(), second.hits()), (1, 0), "{fault}");
    }
}

#[tokio::test]
async fn one_client_that_leaves_does_not_disturb_another() {
    let upstream = Simulator::start().await;
    upstream.set(Behaviour::slow(Duration::from_millis(700)));
    let easel = Easel::start(&in_order(&[&upstream], r#"timeout = "10s""#)).await;
    let leaver = ask(&easel, &wish()).await;
    let stayer = json!({ "prompt": "a cat", "size": "64x48" });
    let (answer, ()) = tokio::join!(easel.generate(&stayer), async {
        assert!(upstream.settles(Duration::from_secs(5), |counts| counts.in_flight == 2).await);
        drop(leaver);
    });
    assert_eq!(answer.pictures(), [(64, 48)]);
    assert_eq!(upstream.counts().abandoned, 1);
}
