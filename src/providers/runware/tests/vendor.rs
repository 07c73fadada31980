//! A vendor that answers as it is told: tasks by one list, look-ups by another, pictures by a third.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::PIXEL;

/// What happens to one request.
#[derive(Debug, Clone)]
pub(super) enum Turn {
    /// This status and body, in which `<ID>`, `<PX>` and `<ORIGIN>` stand for the task, a picture and the vendor.
    Say(u16, String),
    /// The same with this header.
    SayWith(u16, &'static str, String),
    /// The connection ends without a word.
    Drop,
    /// The answer breaks off in its middle.
    BreakOff(String),
    /// Nothing, until the client leaves.
    Hang,
}

/// One result as the vendor writes it.
pub(super) const RESULT: &str = r#"{"taskType":"imageInference","taskUUID":"<ID>","imageUUID":"00000000-0000-4000-8000-000000000001","imageBase64Data":"<PX>","seed":55,"cost":0.04}"#;

/// The answer to a look-up of a task that there is not.
pub(super) const NO_SUCH_TASK: &str =
    r#"{"data":[],"errors":[{"code":"taskNotFound","message":"canary","taskUUID":"<ID>","taskType":"getResponse"}]}"#;

pub(super) fn ok(body: &str) -> Turn {
    Turn::Say(200, body.to_owned())
}

/// A list of these results.
pub(super) fn results(results: &[&str]) -> Turn {
    Turn::Say(200, format!(r#"{{"data":[{}]}}"#, results.join(",")))
}

#[derive(Default)]
struct Script {
    tasks: VecDeque<Turn>,
    look_ups: VecDeque<Turn>,
    pictures: VecDeque<Turn>,
    asked: Vec<(String, Value)>,
}

/// The vendor. What its lists do not say: a result for a task, and that nothing is known for a look-up.
pub(super) struct Vendor {
    origin: String,
    script: Arc<Mutex<Script>>,
    _connections: JoinSet<()>,
}

impl Vendor {
    pub(super) async fn start(tasks: impl IntoIterator<Item = Turn>, look_ups: impl IntoIterator<Item = Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            tasks: tasks.into_iter().collect(),
            look_ups: look_ups.into_iter().collect(),
            ..Script::default()
        };
        let script = Arc::new(Mutex::new(script));
        let mut connections = JoinSet::new();
        let (shared, own) = (Arc::clone(&script), origin.clone());
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, Arc::clone(&shared), own.clone()));
            }
        });
        Self { origin, script, _connections: connections }
    }

    pub(super) fn base_url(&self) -> String {
        format!("{}/v1", self.origin)
    }

    /// What is said when a result is fetched, in order; afterwards the picture.
    pub(super) fn fetched(&self, turns: impl IntoIterator<Item = Turn>) {
        self.script.lock().unwrap().pictures.extend(turns);
    }

    /// The tasks of this kind that it was sent, in order.
    pub(super) fn asked(&self, kind: &str) -> Vec<Value> {
        let script = self.script.lock().unwrap();
        let asked = script.asked.iter().filter(|(_, task)| task["taskType"] == kind);
        asked.map(|(_, task)| task.clone()).collect()
    }

    /// The heads of all its requests.
    pub(super) fn heads(&self) -> Vec<String> {
        self.script.lock().unwrap().asked.iter().map(|(head, _)| head.clone()).collect()
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>, origin: String) {
    let Some((head, body)) = read(&mut stream).await else { return };
    let task = serde_json::from_slice::<Value>(&body).map_or(Value::Null, |body| body[0].clone());
    let turn = {
        let mut script = script.lock().unwrap();
        let turn = if head.starts_with("GET ") {
            script.pictures.pop_front()
        } else if task["taskType"] == "imageInference" {
            script.tasks.pop_front().or_else(|| Some(results(&[RESULT])))
        } else {
            script.look_ups.pop_front().or_else(|| Some(Turn::Say(404, NO_SUCH_TASK.to_owned())))
        };
        script.asked.push((head, task.clone()));
        turn
    };
    let id = task["taskUUID"].as_str().unwrap_or_default().to_owned();
    let filled = |text: &str| text.replace("<ID>", &id).replace("<PX>", PIXEL).replace("<ORIGIN>", &origin);
    let answer = |status: u16, header: &str, body: &[u8]| {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {length}\r\nconnection: close\r\n{header}\r\n");
        [head.as_bytes(), body].concat()
    };
    let bytes = match turn {
        None => answer(200, "", &base64_simd::STANDARD.decode_to_vec(PIXEL).unwrap()),
        Some(Turn::Say(status, body)) => answer(status, "content-type: application/json\r\n", filled(&body).as_bytes()),
        Some(Turn::SayWith(status, header, body)) => answer(status, &format!("{header}\r\n"), filled(&body).as_bytes()),
        Some(Turn::Drop) => return,
        Some(Turn::BreakOff(body)) => {
            let mut bytes = answer(200, "", filled(&body).as_bytes());
            bytes.truncate(bytes.len() - 20);
            bytes
        }
        Some(Turn::Hang) => {
            let _ = stream.read(&mut [0]).await;
            return;
        }
    };
    let _ = stream.write_all(&bytes).await;
    let _ = stream.shutdown().await;
}

/// The head and the body of a request.
async fn read(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if bytes.len() - end - 4 >= length.unwrap_or(0_usize) {
                return Some((head, bytes[end + 4..].to_vec()));
            }
        }
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}
