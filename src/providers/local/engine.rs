//! One engine process: started, watched, spoken to over its socket, and ended with its value.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use easel_engine_protocol::{GenerateJob, OPENMP_SPINS, PROTOCOL, Status};
use tokio::sync::{OnceCell, watch};

use super::environment;
use super::error::not_understood;
use super::launch::Launch;
use super::log;
use crate::providers::{Error, ErrorKind, http};

/// How often a starting engine is asked whether it is ready.
const POLL: Duration = Duration::from_millis(15);
/// Time for one answer about readiness.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// Time that an engine gets to end by itself before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// A process that was started. Dropping it ends the process.
pub(super) struct Engine {
    process: Arc<Mutex<Process>>,
    http: reqwest::Client,
    ready_timeout: Duration,
    ready: OnceCell<()>,
    ended: watch::Receiver<bool>,
}

struct Process {
    child: Child,
    /// The engine ends when this is closed, even if we are killed.
    stdin: Option<ChildStdin>,
    socket: PathBuf,
    /// It was told to end.
    told: bool,
}

impl Engine {
    /// Starts a process that will serve on `socket`. `on_end` is told when it has ended by itself.
    pub(super) fn start(
        launch: &Launch,
        executable: &std::path::Path,
        socket: PathBuf,
        on_end: impl FnOnce() + Send + 'static,
    ) -> Result<Self, Error> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Unavailable, "the engine cannot be started").with_source(error)
        };
        let mut command = Command::new(executable);
        command.arg("serve").arg("--socket").arg(&socket).arg("--exit-with-stdin");
        if let Some(device) = &launch.device {
            command.arg("--device").arg(device);
        }
        if let Some(threads) = launch.threads {
            command.arg("--threads").arg(threads.to_string());
        }
        for (device, bytes) in &launch.memory {
            command.arg("--memory").arg(format!("{device}={bytes}"));
        }
        command.arg("--max-batch").arg(launch.max_batch.to_string());
        command.arg("--cache").arg(launch.data_dir.join("engine"));
        // The engine would set it by itself, and begin anew for it: that is a quarter of a second until it is ready.
        let (name, value) = OPENMP_SPINS;
        command.env_clear().env(name, value).envs(environment::inherited());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        // Ctrl-C in a terminal reaches every process of a group. This one ends when we let it, after what runs is done.
        command.process_group(0);
        let mut child = command.spawn().map_err(failed)?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        tracing::info!(provider = %launch.id, pid = child.id(), "engine started");

        let (tell, ended) = watch::channel(false);
        let process = Arc::new(Mutex::new(Process { child, stdin, socket: socket.clone(), told: false }));
        let client =
            http::client_builder().ok().and_then(|builder| builder.unix_socket(socket).no_proxy().build().ok());
        let http = client.ok_or_else(|| Error::new(ErrorKind::Internal, "the HTTP client could not be made"))?;
        let watched = Arc::clone(&process);
        let provider = launch.id.to_string();
        let watching = std::thread::Builder::new().name("engine log".to_owned()).spawn(move || {
            if let Some(stderr) = stderr {
                log::forward(&provider, stderr);
            }
            // The log ends with the process; what little is between is waited for.
            let status = loop {
                // Not in the `match` itself, which would keep the lock while it sleeps.
                let waited = lock(&watched).child.try_wait();
                match waited {
                    Ok(Some(status)) => break status.to_string(),
                    Ok(None) => std::thread::sleep(POLL),
                    Err(error) => break error.to_string(),
                }
            };
            tracing::info!(provider, status, "engine ended");
            let mut process = lock(&watched);
            process.kill();
            let told = process.told;
            drop(process);
            if !told {
                on_end();
            }
            tell.send_replace(true);
        });
        let engine = Self { process, http, ready_timeout: launch.ready_timeout, ready: OnceCell::new(), ended };
        watching.map_err(failed)?;
        Ok(engine)
    }

    /// Whether the process still runs, as far as is known.
    pub(super) fn is_alive(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Whether the process has ended or does so within `limit`.
    pub(super) async fn ends_within(&self, limit: Duration) -> bool {
        let mut ended = self.ended.clone();
        // An error means that the watching thread is gone, and it goes after the process.
        tokio::time::timeout(limit, ended.wait_for(|ended| *ended)).await.is_ok()
    }

    /// Waits until the engine takes jobs. Whoever waits first asks; who comes later, or after one who left, goes on.
    pub(super) async fn ready(&self) -> Result<(), Error> {
        self.ready.get_or_try_init(|| self.become_ready()).await.copied()
    }

    async fn become_ready(&self) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            if !self.is_alive() {
                return Err(Error::new(ErrorKind::Unavailable, "the engine ended before it was ready")
                    .with_hint("its log says why"));
            }
            if let Some(status) = self.status().await {
                if status.protocol == PROTOCOL {
                    tracing::info!(ready_ms = started.elapsed().as_millis(), devices = ?status.devices, "engine ready");
                    return Ok(());
                }
                self.kill();
                return Err(not_understood("another version of the protocol"));
            }
            if started.elapsed() > self.ready_timeout {
                self.kill();
                let limit = self.ready_timeout.as_millis();
                return Err(Error::new(ErrorKind::Unavailable, format!("the engine was not ready within {limit} ms"))
                    .with_hint("its log says why; ready_timeout may be too short"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn status(&self) -> Option<Status> {
        let response = self.http.get("http://engine/v1/status").timeout(STATUS_TIMEOUT).send().await.ok()?;
        response.json().await.ok()
    }

    /// Sends a job; its events follow in the body.
    pub(super) async fn generate(&self, job: &GenerateJob) -> Result<reqwest::Response, reqwest::Error> {
        self.http.post("http://engine/v1/generate").json(job).send().await.map_err(reqwest::Error::without_url)
    }

    fn kill(&self) {
        lock(&self.process).kill();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let deadline = Instant::now() + GRACE;
        let mut process = lock(&self.process);
        process.told = true;
        process.stdin.take();
        drop(process);
        // The lock is taken anew each time: the watching thread wants it too.
        while Instant::now() < deadline {
            if !matches!(lock(&self.process).child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        lock(&self.process).kill();
    }
}

impl Process {
    /// Ends the process and takes its socket away; one that is gone already is as good.
    fn kill(&mut self) {
        self.stdin.take();
        if matches!(self.child.try_wait(), Ok(None)) {
            // Both can only fail for a process that is gone.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn lock(process: &Mutex<Process>) -> MutexGuard<'_, Process> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}
