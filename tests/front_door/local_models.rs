//! What tests of the engine behind the front door share: whether there is an engine, and copies of a tiny, untrained model
//! that a test may break. No test here.
//!
//! The binary `easel-engine` is taken from beside `easel`, or from where `EASEL_ENGINE` says (`make test` builds it first).
//! Where there is none, each test says by name that it was not run.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::easel::Easel;
use crate::upstreams::PROMPT;

/// The engine's executable, if there is one.
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment what they may use")]
pub fn engine() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_BIN_EXE_easel")).with_file_name("easel-engine");
    Some(std::env::var_os("EASEL_ENGINE").map_or_else(beside, PathBuf::from)).filter(|path| path.is_file())
}

pub fn not_run(what: &str) {
    println!("report: not run: {what} (no easel-engine beside easel: `cargo build --workspace` makes it)");
}

/// A folder with models that a test may break.
pub struct Models(TempDir);

impl Models {
    /// Copies of a tiny model under these names.
    pub fn copies(names: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/engine/tests/fixtures/pipelines/asymmetric/model");
        for name in names {
            copy(Path::new(origin), &folder.path().join(name));
        }
        Self(folder)
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    /// Settings of a local provider with these models, after whatever `others` say.
    pub fn config(&self, engine: &Path, names: &[&str], others: &str) -> String {
        let mut config = format!(
            r#"library.roots = ["{}"]
{others}
[providers.local]
kind = "local"
enabled = true
priority = 9
policy = {{ timeout = "60s" }}
default_model = "{}"

[providers.local.config]
engine = "{}"
device = "cpu"
threads = 1
"#,
            self.0.path().display(),
            names[0],
            engine.display()
        );
        for name in names {
            write!(
                config,
                "[providers.local.config.models.{name}]\npipeline = \"sdxl\"\nsource = \"file:{name}\"\nsteps = 1\n\
                 guidance_scale = 1.0\n"
            )
            .unwrap();
        }
        config
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// A picture that the tiny model makes in a moment.
pub fn quick() -> Value {
    json!({ "prompt": PROMPT, "size": "64x64", "seed": 7 })
}

/// The lines of the log with this message.
pub fn lines(easel: &Easel, message: &str) -> Vec<Value> {
    let log = easel.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}
