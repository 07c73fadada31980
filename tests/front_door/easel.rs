//! The gateway's own binary, started for one test and ended with it.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// Longest wait for anything that should take a moment.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A running gateway.
pub struct Easel {
    child: Child,
    port: u16,
    client: reqwest::Client,
    log: Arc<Mutex<String>>,
    folder: TempDir,
    _readers: JoinSet<()>,
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
    /// The body, where it is JSON.
    pub body: Value,
}

impl Easel {
    /// Starts it with this configuration over the defaults, and none of the environment.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    /// Starts it with this configuration and these variables.
    pub async fn start_with(config: &str, variables: &[(&str, &str)]) -> Self {
        Self::launch(Command::new(env!("CARGO_BIN_EXE_easel")), new_folder(config), variables).await
    }

    /// Starts it where no file can grow beyond `blocks` of 512 bytes (or of 1024, as the shell counts).
    pub async fn start_with_small_files(config: &str, blocks: u32) -> Self {
        let mut command = Command::new("/bin/sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_easel"));
        Self::launch(command, new_folder(config), &[]).await
    }

    /// Kills it as a power cut would and starts it again over the same files.
    pub async fn killed_and_started_again(self) -> Self {
        let Self { mut child, folder, .. } = self;
        child.kill().await.unwrap();
        Self::launch(Command::new(env!("CARGO_BIN_EXE_easel")), folder, &[]).await
    }

    async fn launch(mut command: Command, folder: TempDir, variables: &[(&str, &str)]) -> Self {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--config"])
            .arg(folder.path().join("easel.toml"))
            .env_clear()
            .env("HOME", folder.path())
            .env("EASEL_STORAGE__DATA_DIR", folder.path().join("data"))
            .env("EASEL_LOG__FORMAT", "json")
            .envs(variables.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&log);
        let mut readers = JoinSet::new();
        readers.spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let client = client();
        let mut easel = Self { child, port: 0, client, log, folder, _readers: readers };
        easel.wait_until_ready().await;
        easel
    }

    async fn wait_until_ready(&mut self) {
        let begun = Instant::now();
        loop {
            if let Some(port) = port_in(&self.log()) {
                self.port = port;
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "not ready ({ended:?}): {}", self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Everything that it logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log says this.
    pub async fn logs(&self, text: &str) -> bool {
        eventually(PATIENCE, || self.log().contains(text)).await
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn process(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::read(self.client.get(self.url(path)).send().await.unwrap()).await
    }

    /// Asks for a picture.
    pub async fn generate(&self, body: &Value) -> Answer {
        self.post("/api/generate-image", "application/json", body.to_string()).await
    }

    /// Asks for a picture under an `Idempotency-Key`.
    pub async fn generate_once(&self, key: &str, body: &Value) -> Answer {
        self.generate_with("idempotency-key", key, body).await
    }

    /// Asks for a picture with one more header.
    pub async fn generate_with(&self, name: &str, value: &str, body: &Value) -> Answer {
        let request = self.client.post(self.url("/api/generate-image")).header(name, value).json(body);
        Answer::read(request.send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(self.url(path)).header("content-type", content_type).body(body);
        Answer::read(request.send().await.unwrap()).await
    }

    /// Sends SIGTERM; it goes on running.
    pub fn terminate(&self) {
        let sent = std::process::Command::new("kill").args(["-TERM", &self.process().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it did not end in time").unwrap()
    }

    /// The most memory that it ever held, in bytes (`VmHWM`).
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Answer {
    pub async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap().to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Self { status, headers, bytes, body }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// That it is the error of this status and code, in the documented shape and whole.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) -> &Self {
        let shown = String::from_utf8_lossy(&self.bytes);
        assert_eq!((self.status, self.body["code"].as_str()), (status, Some(code)), "{shown}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{shown}");
        assert_eq!(self.body["status"], status, "{shown}");
        assert_eq!(self.body["type"], format!("urn:easel:problem:{code}"), "{shown}");
        for member in ["title", "detail", "hint", "request_id"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "no {member}: {shown}");
        }
        assert_eq!(self.body["request_id"], self.header("x-request-id"), "{shown}");
        self
    }

    /// The pictures, each decoded to its last pixel: their sizes.
    pub fn pictures(&self) -> Vec<(u32, u32)> {
        use base64::Engine as _;
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        let images = self.body["images"].as_array().unwrap();
        images
            .iter()
            .map(|item| {
                let file =
                    base64::engine::general_purpose::STANDARD.decode(item["b64_json"].as_str().unwrap()).unwrap();
                let picture = image::load_from_memory(&file).unwrap();
                assert_eq!(
                    (item["width"].as_u64(), item["height"].as_u64()),
                    (Some(picture.width().into()), Some(picture.height().into()))
                );
                (picture.width(), picture.height())
            })
            .collect()
    }

    /// `attempts` as `provider outcome reason calls`, one a line.
    pub fn attempts(&self) -> Vec<String> {
        let attempts = self.body["attempts"].as_array().cloned().unwrap_or_default();
        attempts
            .iter()
            .map(|attempt| {
                format!(
                    "{} {} {} {}",
                    attempt["provider"].as_str().unwrap(),
                    attempt["outcome"].as_str().unwrap(),
                    attempt["reason"].as_str().unwrap_or("-"),
                    attempt["calls"]
                )
            })
            .collect()
    }
}

fn new_folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("easel.toml"), config).unwrap();
    folder
}

/// A client that gives up in the end, and asks nobody but whom it is told.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::Client::builder().no_proxy().tls_certs_only([]);
    builder.timeout(PATIENCE * 3).build().unwrap()
}

/// Waits until it is so; whether it came to be so in time.
pub async fn eventually(within: Duration, mut so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while !so() {
        if begun.elapsed() > within {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

/// The port of the address that the log announces.
fn port_in(log: &str) -> Option<u16> {
    let (_, rest) = log.split_once("serving on http://127.0.0.1:")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|port| *port != 0)
}
