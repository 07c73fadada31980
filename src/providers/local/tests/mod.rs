//! The kind over a stand-in for the engine: which models are offered, what is sent, and what becomes of a process that
//! ends. The real engine is tested behind the front door.

mod configuration;
mod folder;
mod requests;
mod stand_in;
mod supervision;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::Config;
use crate::fetch::{Fetcher, Rules};
use crate::generation::{Generation, GenerationRequest, ModelKey, ProviderId};
use crate::providers::scripted::request;
use crate::providers::{BuildError, Call, Environment, Error, Kind, Provider};

/// A house of its own: models, a data folder and an engine.
struct House {
    folder: TempDir,
}

impl House {
    /// With one sound model, `shapes`.
    fn new() -> Self {
        let house = Self { folder: tempfile::tempdir().unwrap() };
        folder::write(&house.path("models/shapes"));
        house
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    fn environment(&self) -> Environment {
        Environment {
            default_model: None,
            library_roots: vec![self.path("models")],
            hub_cache: Some(self.path("hub")),
            executable_dirs: vec![self.path("bin")],
            data_dir: self.path("data"),
            fetcher: Arc::new(Fetcher::new(Rules::for_tests(&[]))),
        }
    }

    fn build(&self, config: Value) -> Result<Arc<dyn Provider>, BuildError> {
        Kind::of::<Config>().build(&ProviderId::new("here"), config, &self.environment()).map(|built| built.first)
    }

    /// A provider of `shapes` whose engine is this script.
    fn with_engine(&self, script: &str) -> Arc<dyn Provider> {
        self.install(script);
        self.build(json!({ "models": { "shapes": shapes() }, "ready_timeout": "5s" })).unwrap()
    }

    fn install(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.path("bin/easel-engine");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Sockets that lie about.
    fn sockets(&self) -> usize {
        std::fs::read_dir(self.path("data/run")).map_or(0, Iterator::count)
    }
}

fn shapes() -> Value {
    json!({ "pipeline": "sdxl", "source": "file:shapes", "steps": 20, "guidance_scale": 3.0 })
}

fn call() -> Call {
    Call::new(ModelKey::new("shapes"), Instant::now() + Duration::from_secs(30), "r")
}

/// The prompt tells the stand-in what to do.
fn prompt(prompt: &str) -> GenerationRequest {
    GenerationRequest { prompt: prompt.to_owned(), ..request() }
}

async fn ask(provider: &Arc<dyn Provider>, what: &str) -> Result<Generation, Error> {
    let call = call();
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, provider.generate(&prompt(what), &call)).await.expect("an answer in time")
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
