//! The servers that are measured: how each is started, when it is ready, how it is asked, and how it ends.

mod easel;
mod litellm;
mod nginx;
mod portkey;

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use provider_sim::Simulator;
use tempfile::TempDir;

pub use easel::Easel;
pub use litellm::LiteLlm;
pub use nginx::Nginx;
pub use portkey::Portkey;

use crate::load::Target;
use crate::process;

/// Longest wait for a server to be ready: one that is written in Python compiles itself on its first start.
const PATIENCE: Duration = Duration::from_mins(2);

/// A folder for configuration and logs, gone at the end.
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new() -> std::io::Result<Self> {
        tempfile::tempdir().map(Self)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Something that can be started.
pub trait Server {
    /// Its name, as it heads a column.
    fn name(&self) -> &'static str;

    /// How many times slower it is than the others, roughly: so many fewer requests it gets.
    fn slowness(&self) -> usize {
        1
    }

    fn start(&self, workplace: &Workplace, upstream: &Simulator) -> Result<Running, Box<dyn Error>>;

    /// A request for a picture of this size.
    fn target(&self, running: &Running, upstream: &Simulator, size: &str) -> Target;
}

/// A server that is ready.
pub struct Running {
    child: Child,
    pub port: u16,
    /// From just before the start of the process until its first 200.
    pub ready_after: Duration,
}

impl Running {
    fn launch(mut command: Command, port: u16, ready: &str, log: &Path) -> Result<Self, Box<dyn Error>> {
        command.stdin(Stdio::null()).stdout(File::create(log)?).stderr(File::options().append(true).open(log)?);
        let begun = Instant::now();
        let mut running = Self { child: command.spawn()?, port, ready_after: Duration::ZERO };
        while !answers(port, ready) {
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("it ended with {status}: {}", end_of(log)?).into());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("not ready after {PATIENCE:?}: {}", end_of(log)?).into());
            }
            std::thread::sleep(Duration::from_micros(250));
        }
        running.ready_after = begun.elapsed();
        Ok(running)
    }

    pub fn processor_time(&self) -> Result<Duration, Box<dyn Error>> {
        process::processor_time(&process::family(self.child.id())?)
    }

    /// Memory now, in MB.
    pub fn memory(&self) -> Result<f64, Box<dyn Error>> {
        self.read_memory("VmRSS")
    }

    /// The most memory that it ever held, in MB.
    pub fn peak_memory(&self) -> Result<f64, Box<dyn Error>> {
        self.read_memory("VmHWM")
    }

    fn read_memory(&self, field: &str) -> Result<f64, Box<dyn Error>> {
        let bytes = process::memory(&process::family(self.child.id())?, field)?;
        Ok(f64::from(u32::try_from(bytes / 1024)?) / 1024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's workers end by themselves when their master is gone only if it is asked, not killed.
        let _ = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log.
fn end_of(log: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(log)?;
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n"))
}

fn answers(port: u16, ready: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let request = format!("GET {ready} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    let mut status = [0; 12];
    let _ = stream.set_read_timeout(Some(PATIENCE));
    stream.write_all(request.as_bytes()).is_ok() && stream.read_exact(&mut status).is_ok() && status == *b"HTTP/1.1 200"
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Where `tools/setup_test_env.py peers` has put the peers that are no system packages; `make bench` says so.
fn peers() -> Option<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "a bench has no settings")]
    let folder = std::env::var_os("EASEL_BENCH_PEERS")?;
    Some(PathBuf::from(folder))
}

/// The upstream itself, asked without anything between.
pub fn direct(upstream: &Simulator, size: &str) -> Target {
    let body = format!(r#"{{"model":"sim-any","prompt":"a fox","size":"{size}"}}"#);
    Target::post(upstream.address().port(), "/v1/images/generations", &body)
}
