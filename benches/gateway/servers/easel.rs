//! The gateway under test.

use std::error::Error;
use std::process::Command;

use provider_sim::Simulator;

use super::{Running, Server, Workplace, free_port};
use crate::load::Target;

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
    fn name(&self) -> &'static str {
        "Easel"
    }

    fn target(&self, running: &Running, _: &Simulator, size: &str) -> Target {
        Target::post(running.port, "/api/generate-image", &format!(r#"{{"prompt":"a fox","size":"{size}"}}"#))
    }

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
        Running::launch(command, port, "/healthz", &workplace.path().join("easel.log"))
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

impl Easel {
    /// A request that the cache answers from the second time on.
    pub fn seeded(running: &Running, size: &str) -> Target {
        let body = format!(r#"{{"prompt":"a fox","size":"{size}","seed":7}}"#);
        Target::post(running.port, "/api/generate-image", &body)
    }
}
