//! The servers that are measured: how each is started, when it is ready, and how it ends.

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use provider_sim::Simulator;
use tempfile::TempDir;

use crate::process;

/// Longest wait for a server to be ready.
const PATIENCE: Duration = Duration::from_secs(10);

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
    fn start(&self, workplace: &Workplace, upstream: &Simulator) -> Result<Running, Box<dyn Error>>;
}

/// A server that is ready.
pub struct Running {
    child: Child,
    pub port: u16,
    /// From just before the start of the process until its first 200.
    pub ready_after: Duration,
}

impl Running {
    fn launch(mut command: Command, port: u16, log: &Path) -> Result<Self, Box<dyn Error>> {
        command.stdin(Stdio::null()).stdout(File::create(log)?).stderr(File::options().append(true).open(log)?);
        let begun = Instant::now();
        let mut running = Self { child: command.spawn()?, port, ready_after: Duration::ZERO };
        while !answers(port) {
            if let Some(status) = running.child.try_wait()? {
                return Err(format!("it ended with {status}: {}", std::fs::read_to_string(log)?).into());
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("not ready after {PATIENCE:?}: {}", std::fs::read_to_string(log)?).into());
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

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let request = format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n");
    let mut status = [0; 12];
    let _ = stream.set_read_timeout(Some(PATIENCE));
    stream.write_all(request.as_bytes()).is_ok() && stream.read_exact(&mut status).is_ok() && status == *b"HTTP/1.1 200"
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// The gateway under test.
pub struct Easel {
    proxy: bool,
}

impl Easel {
    /// As it comes, with nothing set but where it listens and keeps its state.
    pub const DEFAULT: Self = Self { proxy: false };
    /// With the stand-in as its only provider.
    pub const PROXY: Self = Self { proxy: true };
}

impl Server for Easel {
    fn start(&self, workplace: &Workplace, upstream: &Simulator) -> Result<Running, Box<dyn Error>> {
        let port = free_port()?;
        let data = workplace.path().join("data");
        let mut config = format!("server.address = \"127.0.0.1:{port}\"\nstorage.data_dir = \"{}\"\n", data.display());
        if self.proxy {
            config.push_str(&format_proxy(&upstream.base_url()));
        }
        let file = workplace.path().join("easel.toml");
        std::fs::write(&file, config)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_easel"));
        command.arg("serve").arg("--config").arg(file);
        Running::launch(command, port, &workplace.path().join("easel.log"))
    }
}

fn format_proxy(base_url: &str) -> String {
    format!(
        r#"
limits.requests_per_minute = 0
providers.local.enabled = false
providers.openai.enabled = false

[providers.sim]
kind = "openai_compat"
default_model = "any"

[providers.sim.config]
base_url = "{base_url}"

[providers.sim.config.models.any]
id = "sim-any"
name = "Stand-in"
"#
    )
}

/// The floor: a plain proxy that looks at nothing.
pub struct Nginx(PathBuf);

impl Nginx {
    /// Where Debian and others put it; a user's search path often lacks it.
    pub fn find() -> Option<Self> {
        ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx", "/opt/homebrew/bin/nginx"]
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .map(Self)
    }
}

impl Server for Nginx {
    fn start(&self, workplace: &Workplace, upstream: &Simulator) -> Result<Running, Box<dyn Error>> {
        let port = free_port()?;
        let folder = workplace.path().display();
        let config = format!(
            "daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log {folder}/nginx-access.log;
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-f; uwsgi_temp_path {folder}/nginx-u; scgi_temp_path {folder}/nginx-s;
  keepalive_requests 1000000;
  upstream pictures {{ server {}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location = /healthz {{ return 200 'ok'; }}
    location / {{
      proxy_pass http://pictures; proxy_http_version 1.1; proxy_set_header Connection '';
      proxy_max_temp_file_size 0;
    }}
  }}
}}
",
            upstream.address()
        );
        let file = workplace.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = Command::new(&self.0);
        command.arg("-p").arg(workplace.path()).arg("-e").arg(workplace.path().join("nginx-early.log"));
        command.arg("-c").arg(file);
        Running::launch(command, port, &workplace.path().join("nginx.log"))
    }
}
