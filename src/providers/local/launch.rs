//! How the engine is started.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use crate::generation::ProviderId;

/// How the engine is started.
#[derive(Debug, Clone)]
pub(super) struct Launch {
    /// Whose engine it is.
    pub id: ProviderId,
    /// Its executable; `None` when there is none.
    pub executable: Option<PathBuf>,
    /// Where its socket goes.
    pub data_dir: PathBuf,
    /// `--device`.
    pub device: Option<String>,
    /// `--threads`.
    pub threads: Option<NonZeroU16>,
    /// `--memory`: bytes by device.
    pub memory: Vec<(String, u64)>,
    /// `--max-batch`.
    pub max_batch: NonZeroU16,
    /// How long it may take until it takes jobs.
    pub ready_timeout: Duration,
}
