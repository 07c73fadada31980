//! The WebSocket: its gate, its frames, and what becomes of results when it is lost.

use futures_util::{SinkExt as _, StreamExt as _};
use provider_sim::{Behaviour, Fault, Simulator};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::runware::{UUID, task, with};

struct Socket(WebSocketStream<TcpStream>);

impl Socket {
    async fn open(simulator: &Simulator) -> Self {
        let stream = TcpStream::connect(simulator.address()).await.unwrap();
        let url = format!("ws://{}/runware/v1", simulator.address());
        Self(client_async(url, stream).await.unwrap().0)
    }

    async fn say(&mut self, tasks: Value) {
        self.0.send(Message::text(tasks.to_string())).await.unwrap();
    }

    /// The next frame; nothing when the socket is lost.
    async fn hear(&mut self) -> Option<Value> {
        let next = tokio::time::timeout(std::time::Duration::from_secs(5), self.0.next()).await.unwrap();
        serde_json::from_str(next?.ok()?.to_text().unwrap()).ok()
    }

    async fn login(&mut self, further: &Value) -> Value {
        self.say(json!([with(&json!({ "taskType": "authentication", "apiKey": "right" }), further)])).await;
        self.hear().await.unwrap()
    }
}

#[tokio::test]
async fn nothing_is_heard_before_the_key() {
    let simulator = Simulator::start().await;
    simulator.set(Behaviour::default().with_key("right"));
    let mut socket = Socket::open(&simulator).await;
    socket.say(json!([task(UUID)])).await;
    assert_eq!(socket.hear().await.unwrap()["errors"][0]["code"], "missingApiKey");
    let wrong = socket.login(&json!({ "apiKey": "wrong" })).await;
    assert_eq!(
        (&wrong["errors"][0]["code"], &wrong["errors"][0]["taskType"]),
        (&json!("invalidApiKey"), &json!("authentication"))
    );
    assert!(socket.login(&json!({})).await["data"][0]["connectionSessionUUID"].is_string());
    socket.say(json!([{ "taskType": "ping", "ping": true }])).await;
    assert_eq!(socket.hear().await.unwrap(), json!({ "data": [{ "taskType": "ping", "pong": true }] }));
    assert_eq!(simulator.hits(), 0);
}

#[tokio::test]
async fn each_result_has_a_frame_and_errors_have_theirs() {
    let simulator = Simulator::start().await;
    let mut socket = Socket::open(&simulator).await;
    socket.login(&json!({})).await;
    let other = with(&task("9d1d1d39-90f1-4cfd-8a3c-9a53b8a74e55"), &json!({ "width": 1 }));
    socket.say(json!([with(&task(UUID), &json!({ "numberResults": 2, "seed": 5 })), other])).await;
    for seed in [5, 6] {
        let frame = socket.hear().await.unwrap();
        assert_eq!((frame["data"].as_array().unwrap().len(), &frame["data"][0]["seed"]), (1, &json!(seed)));
    }
    assert_eq!(socket.hear().await.unwrap()["errors"][0]["code"], "invalidWidth");
    assert_eq!((simulator.hits(), simulator.counts().runs), (1, 1));
}

#[tokio::test]
async fn results_wait_for_the_session_to_come_back() {
    let simulator = Simulator::start().await;
    let mut socket = Socket::open(&simulator).await;
    let session = socket.login(&json!({})).await["data"][0]["connectionSessionUUID"].clone();
    simulator.set(Behaviour::failing(Fault::LostAfter).times(1));
    socket.say(json!([with(&task(UUID), &json!({ "numberResults": 2 }))])).await;
    assert_eq!(socket.hear().await, None);
    let mut again = Socket::open(&simulator).await;
    let back = again.login(&json!({ "connectionSessionUUID": session })).await;
    assert_eq!(back["data"][0]["connectionSessionUUID"], session);
    for _ in 0..2 {
        assert_eq!(again.hear().await.unwrap()["data"][0]["taskUUID"], UUID);
    }
    assert_eq!(simulator.hits(), 1);
}

#[tokio::test]
async fn faults_meet_frames() {
    let simulator = Simulator::start().await;
    for fault in [Fault::Reset, Fault::Close, Fault::LostBefore] {
        simulator.reset();
        simulator.fail(fault);
        let mut socket = Socket::open(&simulator).await;
        socket.login(&json!({})).await;
        socket.say(json!([task(UUID)])).await;
        assert_eq!(socket.hear().await, None, "{fault}");
        assert_eq!(simulator.counts().runs, 0, "{fault}");
    }
    simulator.set(Behaviour::failing(Fault::Hang).times(1));
    let mut socket = Socket::open(&simulator).await;
    socket.login(&json!({})).await;
    socket.say(json!([task(UUID)])).await;
    socket.say(json!([{ "taskType": "getResponse", "taskUUID": UUID }])).await;
    assert_eq!(socket.hear().await.unwrap()["data"][0]["status"], "success", "the answer is lost, the work is not");
    simulator.fail(Fault::Quota);
    socket.say(json!([task("9d1d1d39-90f1-4cfd-8a3c-9a53b8a74e55")])).await;
    assert_eq!(socket.hear().await.unwrap()["errors"][0]["code"], "insufficientCredits");
}
