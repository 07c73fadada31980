//! `state.db` under the data folder: what cannot be rebuilt. For now that is the current model.
//!
//! The file is made on the first save. One that cannot be read is a warning, never a failed start.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _};

use crate::gateway::{CurrentStore, StoreError};

/// The name of the file.
const FILE: &str = "state.db";

/// The version of its tables.
const VERSION: i64 = 1;

/// The database.
pub struct StateDb {
    path: PathBuf,
    connection: Mutex<Option<Connection>>,
}

impl StateDb {
    /// The database in this folder. Nothing is opened yet.
    pub fn new(data_dir: &Path) -> Self {
        Self { path: data_dir.join(FILE), connection: Mutex::new(None) }
    }

    fn read(&self) -> Result<Option<String>, rusqlite::Error> {
        self.with_connection(|connection| {
            let sql = "SELECT value FROM setting WHERE key = 'current_model'";
            connection.query_row(sql, [], |row| row.get(0)).optional()
        })
    }

    fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, rusqlite::Error> {
        let mut held = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let connection = match held.take() {
            Some(connection) => connection,
            None => open(&self.path)?,
        };
        // A connection that failed is not kept: the next call opens the file afresh.
        let result = work(&connection);
        if result.is_ok() {
            *held = Some(connection);
        }
        result
    }
}

fn open(path: &Path) -> Result<Connection, rusqlite::Error> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS setting (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    )?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection)
}

impl CurrentStore for StateDb {
    fn load(&self) -> Option<String> {
        if !self.path.exists() {
            return None;
        }
        self.read().unwrap_or_else(|error| {
            tracing::warn!(file = %self.path.display(), %error, "the state cannot be read; the current model is forgotten");
            None
        })
    }

    fn save(&self, model: &str) -> Result<(), StoreError> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        self.with_connection(|connection| {
            let sql = "INSERT INTO setting (key, value) VALUES ('current_model', ?1) \
                       ON CONFLICT (key) DO UPDATE SET value = excluded.value";
            connection.execute(sql, [model])
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

    #[test]
    fn what_was_saved_is_there_after_a_restart_and_nothing_is_made_before() -> Outcome {
        let folder = tempfile::tempdir()?;
        let data_dir = folder.path().join("not/yet/there");
        let state = StateDb::new(&data_dir);
        assert_eq!(state.load(), None);
        assert!(!data_dir.exists());
        state.save("local/shapes")?;
        state.save("openai/x")?;
        assert_eq!(state.load().as_deref(), Some("openai/x"));
        assert_eq!(StateDb::new(&data_dir).load().as_deref(), Some("openai/x"));
        Ok(())
    }

    #[test]
    fn a_broken_file_is_no_model_and_saving_says_so() -> Outcome {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join(FILE), vec![b'x'; 8192])?;
        let state = StateDb::new(folder.path());
        assert_eq!(state.load(), None);
        assert!(state.save("a/b").is_err());
        Ok(())
    }
}
