//! The app under test is the app: the same `App` as in `easel serve`, on a port of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::JoinHandle;
use std::time::Duration;

use easel::app::App;
use easel::settings::Sources;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// What a test starts from: any free port, a folder of its own, no log, no limit on the caller.
const BASE: &str = r#"
[server]
address = "127.0.0.1:0"
drain = "5s"
[log]
level = "off"
[limits]
requests_per_minute = 0
"#;

/// A running Easel. It is stopped when it is dropped.
pub struct TestApp {
    /// `http://127.0.0.1:<port>`
    pub url: String,
    /// Where it listens.
    pub address: SocketAddr,
    data_dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    stop_now: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: reqwest::header::HeaderMap,
    /// Its body.
    pub bytes: Vec<u8>,
}

impl TestApp {
    /// Starts it with these settings over the compiled-in defaults. The providers of the defaults are disabled unless
    /// `config` holds a table of theirs (`[providers.local…`, `[providers.openai…`).
    pub fn start(config: &str) -> Self {
        let data_dir = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(config, data_dir)
    }

    /// The same with a data folder that was there before, as after a restart.
    pub fn start_in(config: &str, data_dir: TempDir) -> Self {
        let app = App::build(settings(config, data_dir.path())).expect("the app builds");
        let address = app.address().expect("the app is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let (stop_now, stopped_now) = oneshot::channel::<()>();
        let run = move || {
            let until = |channel: oneshot::Receiver<()>| async {
                // A sender that is gone means the same as a message.
                let _ = channel.await;
            };
            actix_web::rt::System::new().block_on(app.run(until(stopped), until(stopped_now)))
        };
        let thread = std::thread::Builder::new().name("easel-under-test".to_owned()).spawn(run);
        Self {
            url: format!("http://{address}"),
            address,
            data_dir,
            stop: Some(stop),
            stop_now: Some(stop_now),
            thread: Some(thread.expect("a thread")),
        }
    }

    /// The URL of a path.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Answer {
        read(client().get(self.at(path))).await
    }

    /// `POST path` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        read(client().post(self.at(path)).json(body)).await
    }

    /// `POST /api/generate-image`.
    pub async fn generate(&self, body: &Value) -> Answer {
        self.post("/api/generate-image", body).await
    }

    /// Begins the shutdown, as SIGTERM does.
    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    /// Ends it as SIGTERM does, waits, and hands back the data folder for another start.
    pub fn stop(mut self) -> TempDir {
        self.begin_stop();
        self.join();
        std::mem::replace(&mut self.data_dir, tempfile::tempdir().expect("a temporary folder"))
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the app does not panic").expect("the app ends well");
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        drop(self.stop.take());
        drop(self.stop_now.take());
        if !std::thread::panicking() {
            self.join();
        }
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {}", String::from_utf8_lossy(&self.bytes)))
    }

    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as a problem: the documented shape with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["type"], format!("urn:easel:problem:{code}"));
        assert_eq!(body["request_id"], self.header("x-request-id"));
        for text in ["title", "detail", "hint", "request_id"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{text}: {body}");
        }
        body
    }
}

/// Sends a request and reads the whole answer.
pub async fn read(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    Answer { status, headers, bytes: answer.bytes().await.expect("a whole body").to_vec() }
}

/// A client that gives up after 30 seconds and follows nothing.
pub fn client() -> reqwest::Client {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        // Another test of the process may have been first.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .tls_certs_only([])
        .build()
        .expect("a client")
}

/// Settings of `config` over [`BASE`] over the defaults.
pub fn settings(config: &str, data_dir: &Path) -> easel::settings::Settings {
    let mut texts = vec![BASE.to_owned()];
    for id in ["gemini", "local", "openai", "runware"] {
        if !config.contains(&format!("[providers.{id}")) {
            texts.push(format!("[providers.{id}]\nenabled = false\n"));
        }
    }
    texts.push(format!("[storage]\ndata_dir = {:?}\n", data_dir.display().to_string()));
    texts.push(config.to_owned());
    let sources = Sources { texts, ..Sources::default() };
    sources.load().unwrap_or_else(|error| panic!("the settings are wrong:\n{error}")).settings
}
