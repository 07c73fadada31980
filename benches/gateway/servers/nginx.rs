//! The floor: nginx, a plain proxy that looks at nothing.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use provider_sim::Simulator;

use super::{Running, Server, Workplace, free_port};
use crate::load::Target;

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
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn target(&self, running: &Running, _: &Simulator, size: &str) -> Target {
        let body = format!(r#"{{"model":"sim-any","prompt":"a fox","size":"{size}"}}"#);
        Target::post(running.port, "/v1/images/generations", &body)
    }

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
    location /files/ {{ root {folder}; sendfile on; tcp_nopush on; default_type application/json; }}
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
        Running::launch(command, port, "/healthz", &workplace.path().join("nginx.log"))
    }
}

impl Nginx {
    /// A file that it hands out from disk, and how it is asked for it.
    pub fn file(workplace: &Workplace, running: &Running, content: &[u8]) -> std::io::Result<Target> {
        let folder = workplace.path().join("files");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("answer.json"), content)?;
        Ok(Target::get(running.port, "/files/answer.json"))
    }
}
