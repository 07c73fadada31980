//! The peer that most people use: the `LiteLLM` proxy, in Python.

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

use provider_sim::Simulator;

use super::{Running, Server, Workplace, free_port, peers};
use crate::load::Target;

/// The proxy with one worker.
pub struct LiteLlm(PathBuf);

impl LiteLlm {
    /// The proxy, where it is installed.
    pub fn find() -> Option<Self> {
        Some(peers()?.join("bin/litellm")).filter(|path| path.exists()).map(Self)
    }
}

impl Server for LiteLlm {
    fn name(&self) -> &'static str {
        "LiteLLM"
    }

    fn slowness(&self) -> usize {
        20
    }

    fn start(&self, workplace: &Workplace, upstream: &Simulator) -> Result<Running, Box<dyn Error>> {
        let port = free_port()?;
        let config = format!(
            "model_list:
  - model_name: any
    litellm_params: {{ model: openai/sim-any, api_base: '{}', api_key: none }}
litellm_settings: {{ telemetry: false, num_retries: 0, drop_params: true }}
",
            upstream.base_url()
        );
        let file = workplace.path().join("litellm.yaml");
        std::fs::write(&file, config)?;
        let mut command = Command::new(&self.0);
        command.arg("--config").arg(file).args(["--host", "127.0.0.1", "--num_workers", "1", "--port"]);
        // It would fetch its price list; and without keys it starts only when told that this is meant.
        command.arg(port.to_string()).env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
        command.env("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true");
        Running::launch(command, port, "/health/liveliness", &workplace.path().join("litellm.log"))
    }

    fn target(&self, running: &Running, _: &Simulator, size: &str) -> Target {
        let body = format!(r#"{{"model":"any","prompt":"a fox","size":"{size}"}}"#);
        Target::post(running.port, "/v1/images/generations", &body)
    }
}
