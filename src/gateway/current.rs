//! Where the process-wide current model is remembered across restarts.

use std::sync::{Mutex, PoisonError};

/// Why the current model could not be saved.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// Remembers one model by its `provider/key`.
pub trait CurrentStore: Send + Sync {
    /// The remembered model, if any. A store that cannot be read has none and says so in the log.
    fn load(&self) -> Option<String>;

    /// Remembers `model`.
    ///
    /// # Errors
    /// Whatever kept it from being durable.
    fn save(&self, model: &str) -> Result<(), StoreError>;
}

/// A store that forgets with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Option<String>>);

impl CurrentStore for MemoryStore {
    fn load(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn save(&self, model: &str) -> Result<(), StoreError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(model.to_owned());
        Ok(())
    }
}
