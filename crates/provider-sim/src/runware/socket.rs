//! The WebSocket: a session that opens with a key, frames that carry the same arrays as REST, and results that wait for
//! a session whose socket was lost. What a fault does to an answer it does to a frame; where it takes the time or the
//! connection, there is no frame, or no socket any more.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use super::error::TaskError;
use super::lookups;
use crate::answer;
use crate::http::Connection;
use crate::json::{at, put};
use crate::state::State;
use crate::vendor::Vendor;
use crate::{Fault, Request};

/// Whether a request opens a WebSocket at one of the vendor's paths.
pub(crate) fn opens_socket(request: &Request) -> bool {
    request.header("upgrade").is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"))
        && matches!(request.route(), "/runware/v1" | "/v1" | "/v1/")
}

/// Serves the socket until one of the two ends it.
pub(crate) async fn serve_socket(mut connection: Connection, request: &Request, state: &State) {
    let key = derive_accept_key(request.header("sec-websocket-key").unwrap_or_default().as_bytes());
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: {key}\r\n\r\n"
    );
    if connection.write(head.as_bytes()).await.is_err() {
        return;
    }
    let (stream, unread) = connection.into_parts();
    let config = WebSocketConfig::default().max_message_size(Some(256 << 20)).max_frame_size(Some(256 << 20));
    let socket = WebSocketStream::from_partially_read(stream, unread, Role::Server, Some(config)).await;
    let mut session = Session { socket, name: None, opening: request, state };
    while let Some(Ok(message)) = session.socket.next().await {
        let Message::Text(text) = message else { continue };
        if session.hear(text.as_str()).await.is_none() {
            return;
        }
    }
}

struct Session<'a> {
    socket: WebSocketStream<TcpStream>,
    /// Its name, once a key was shown.
    name: Option<String>,
    /// The request that opened it.
    opening: &'a Request,
    state: &'a State,
}

impl Session<'_> {
    /// Answers one frame; `None` when the socket is lost.
    async fn hear(&mut self, text: &str) -> Option<()> {
        let frame: Value = serde_json::from_str(text).unwrap_or_default();
        let tasks = frame.as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(login) = tasks.iter().find(|task| task["taskType"] == "authentication") {
            return self.login(login).await;
        }
        let Some(name) = self.name.clone() else {
            return self.say(refused("missingApiKey", "The first task must be an authentication.")).await;
        };
        let request = Request { body: text.into(), method: "POST".to_owned(), ..self.opening.clone() };
        let buys = tasks.iter().any(|task| !lookups::is_one(task["taskType"].as_str().unwrap_or_default()));
        let flight = buys.then(|| self.state.flight(Vendor::Runware));
        let (mut behaviour, fault) = if buys {
            self.state.admit(Vendor::Runware, &request)
        } else {
            self.state.admit_lookup(Vendor::Runware, &request)
        };
        // The key was shown when the session began.
        behaviour.key = None;
        let reply = answer::reply((Vendor::Runware, super::answer), &request, &behaviour, fault, self.state);
        tokio::time::sleep(behaviour.delay).await;
        drop(flight);
        let frames = frames(&reply.body, behaviour.shape);
        match fault {
            Some(Fault::Hang | Fault::HangMidBody | Fault::EmptyBody(_)) => Some(()),
            Some(Fault::LostAfter) => {
                for frame in frames {
                    self.state.tasks().keep_frame(&name, frame);
                }
                None
            }
            Some(Fault::Reset | Fault::Close | Fault::LostBefore | Fault::ResetMidBody | Fault::TruncatedBody) => None,
            Some(Fault::TruncatedJson) => {
                for frame in frames {
                    self.say(frame.chars().take(frame.chars().count() / 2).collect()).await?;
                }
                Some(())
            }
            _ => {
                for frame in frames {
                    self.say(frame).await?;
                }
                Some(())
            }
        }
    }

    async fn login(&mut self, task: &Value) -> Option<()> {
        let key = self.state.behaviour().key;
        if key.is_some() && key.as_deref() != task["apiKey"].as_str() {
            return self.say(refused("invalidApiKey", "Invalid API key.")).await;
        }
        let known = task["connectionSessionUUID"].as_str().map(str::to_owned);
        let name = known.unwrap_or_else(|| self.state.tasks().session());
        let item = json!({ "taskType": "authentication", "connectionSessionUUID": name });
        self.say(json!({ "data": [item] }).to_string()).await?;
        for frame in self.state.tasks().take_frames(&name) {
            self.say(frame).await?;
        }
        self.name = Some(name);
        Some(())
    }

    async fn say(&mut self, frame: String) -> Option<()> {
        self.socket.send(Message::text(frame)).await.ok()
    }
}

fn refused(code: &str, message: &str) -> String {
    let task = json!({ "taskType": "authentication" });
    let mut item = TaskError::new(401, code, message).item(&task);
    put(&mut item, "parameter", "apiKey");
    put(&mut item, "type", "string");
    json!({ "errors": [item] }).to_string()
}

/// The body as frames: each result in one of its own, as they come from different workers; then the errors.
fn frames(body: &[u8], shape: u8) -> Vec<String> {
    let whole = || vec![String::from_utf8_lossy(body).into_owned()];
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return whole() };
    let Some(items) = at(&value, "/data").as_array().filter(|_| shape == 0) else { return whole() };
    let errors = value.get("errors").map(|errors| json!({ "errors": errors }).to_string());
    items.iter().map(|item| json!({ "data": [item] }).to_string()).chain(errors).collect()
}
