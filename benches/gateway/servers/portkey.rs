//! A peer in JavaScript: the Portkey gateway.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use provider_sim::Simulator;

use super::{Running, Server, Workplace, free_port, peers};
use crate::load::Target;

/// The gateway under Node.
pub struct Portkey {
    node: PathBuf,
    script: PathBuf,
}

impl Portkey {
    /// The gateway, where it is installed.
    pub fn find() -> Option<Self> {
        let folder = peers()?;
        let script = folder.join("portkey/node_modules/@portkey-ai/gateway/build/start-server.js");
        let node = folder.join("bin/node");
        (script.exists() && node.exists()).then_some(Self { node, script })
    }
}

impl Server for Portkey {
    fn name(&self) -> &'static str {
        "Portkey"
    }

    fn slowness(&self) -> usize {
        10
    }

    fn start(&self, workplace: &Workplace, _: &Simulator) -> Result<Running, Box<dyn Error>> {
        let port = free_port()?;
        let mut command = Command::new(&self.node);
        command.arg(&self.script).args(["--headless", &format!("--port={port}")]);
        Running::launch(command, port, "/", &workplace.path().join("portkey.log"))
    }

    fn target(&self, running: &Running, upstream: &Simulator, size: &str) -> Target {
        let body = format!(r#"{{"model":"sim-any","prompt":"a fox","size":"{size}"}}"#);
        Target::post(running.port, "/v1/images/generations", &body).with_headers(&format!(
            "authorization: Bearer none\r\nx-portkey-provider: openai\r\nx-portkey-custom-host: {}\r\n",
            upstream.base_url()
        ))
    }
}
