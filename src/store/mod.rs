//! Files that outlive the process: what was given to a caller and may be asked for again.
//!
//! A file has its name at once and whole, or not at all: it is written under another name, made durable and renamed.
//! A room of files is bounded in bytes, and each file in time. No HTTP here, and no knowledge of what the files hold.

mod file;
mod index;
mod name;

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use file::Frame;
use index::Index;
pub use name::Name;

/// One folder of files. Clones are the same folder.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    most: u64,
    /// What lies in the folder; read when it is first needed.
    index: Mutex<Option<Index>>,
}

/// What is put into a store, beside its name.
#[derive(Debug, Clone)]
pub struct Draft<H, B> {
    /// What the reader needs to know about the body; a JSON value.
    pub head: H,
    /// From when on it is gone.
    pub expires: SystemTime,
    /// Bytes of the body.
    pub length: u64,
    /// The body, piece by piece.
    pub body: B,
}

/// What comes out of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<H> {
    /// What was said about the body.
    pub head: H,
    /// From when on it is gone.
    pub expires: SystemTime,
    /// The body.
    pub body: Bytes,
}

/// A file that is to be read piece by piece.
#[derive(Debug)]
pub struct Opened<H> {
    /// What was said about the body.
    pub head: H,
    /// From when on it is gone.
    pub expires: SystemTime,
    /// The file, at the beginning of the body; it stays readable when it is removed meanwhile.
    pub file: File,
    /// Where in the file the body begins.
    pub begin: u64,
    /// Bytes of the body.
    pub length: u64,
}

impl Store {
    /// A store of at most `most` bytes in this folder; 0: nothing is ever kept. Nothing is opened or made yet.
    pub fn new(folder: &Path, most: u64) -> Self {
        Self(Arc::new(Inner { folder: folder.to_owned(), most, index: Mutex::default() }))
    }

    /// Whether it keeps anything at all.
    pub fn is_on(&self) -> bool {
        self.0.most > 0
    }

    /// Writes a file. When it returns without an error, the file is there after a power cut, too. To make room, the
    /// files that expire first are removed.
    ///
    /// # Errors
    /// Whatever kept it from being durable; then nothing of it is left.
    pub fn write<H: Serialize>(&self, name: &Name, draft: Draft<H, impl IntoIterator<Item = Bytes>>) -> io::Result<()> {
        let Draft { head, expires, length, body } = draft;
        let line = Frame::new(expires, length, serde_json::to_value(head)?).line()?;
        let size = index::on_disk(line.len() as u64 + length);
        if size > self.0.most {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than the whole store may be"));
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0.folder)?;
        let reserved = self.reserve(size)?;
        file::write(&self.0.folder, name, &line, length, body)?;
        drop(reserved);
        self.with_index(|index| {
            index.insert(name.clone(), file::milliseconds(expires), size);
            Ok(())
        })
    }

    /// Makes room for a file.
    fn reserve(&self, size: u64) -> io::Result<Reserved<'_>> {
        let gone = self.with_index(|index| Ok(index.reserve(size, self.0.most)))?;
        let full = || io::Error::new(io::ErrorKind::StorageFull, "files that are being written fill the whole store");
        let gone = gone.ok_or_else(full)?;
        let reserved = Reserved { store: self, size };
        gone.iter().try_for_each(|name| self.delete(name))?;
        Ok(reserved)
    }

    /// Reads a file; `None` when there is none, or it has expired, or it is not whole.
    ///
    /// # Errors
    /// Whatever kept it from being read.
    pub fn read<H: DeserializeOwned>(&self, name: &Name) -> io::Result<Option<Entry<H>>> {
        file::read(&self.0.folder.join(name.as_str()))
    }

    /// Opens a file; `None` as for [`Self::read`].
    ///
    /// # Errors
    /// Whatever kept it from being opened.
    pub fn open<H: DeserializeOwned>(&self, name: &Name) -> io::Result<Option<Opened<H>>> {
        file::open(&self.0.folder.join(name.as_str()))
    }

    /// Whether a file of this name is there, as far as is known: it may have made room for another one.
    pub fn holds(&self, name: &Name) -> bool {
        self.with_index(|index| Ok(index.holds(name))).unwrap_or(false)
    }

    /// Removes a file if it is there.
    ///
    /// # Errors
    /// Whatever kept it from being removed.
    pub fn remove(&self, name: &Name) -> io::Result<()> {
        self.with_index(|index| {
            index.remove(name);
            self.delete(name)
        })
    }

    /// Removes what has expired, and what a process left half written when it ended. How many files went.
    ///
    /// # Errors
    /// Whatever kept a file from being removed.
    pub fn sweep(&self) -> io::Result<usize> {
        self.with_index(|index| {
            let expired = index.expired(file::milliseconds(SystemTime::now()));
            expired.iter().try_for_each(|name| self.delete(name))?;
            Ok(expired.len())
        })
    }

    /// Bytes on disk, as far as is known.
    ///
    /// # Errors
    /// Whatever kept the folder from being read.
    pub fn bytes(&self) -> io::Result<u64> {
        self.with_index(|index| Ok(index.bytes()))
    }

    /// [`Self::write`] where blocking is fine.
    ///
    /// # Errors
    /// The same.
    pub async fn put<H, B>(&self, name: Name, draft: Draft<H, B>) -> io::Result<()>
    where
        H: Serialize + Send + 'static,
        B: IntoIterator<Item = Bytes> + Send + 'static,
    {
        let store = self.clone();
        aside(move || store.write(&name, draft)).await
    }

    /// [`Self::read`] where blocking is fine.
    ///
    /// # Errors
    /// The same.
    pub async fn get<H: DeserializeOwned + Send + 'static>(&self, name: Name) -> io::Result<Option<Entry<H>>> {
        let store = self.clone();
        aside(move || store.read(&name)).await
    }

    /// [`Self::open`] where blocking is fine.
    ///
    /// # Errors
    /// The same.
    pub async fn look_up<H: DeserializeOwned + Send + 'static>(&self, name: Name) -> io::Result<Option<Opened<H>>> {
        let store = self.clone();
        aside(move || store.open(&name)).await
    }

    /// [`Self::sweep`] where blocking is fine.
    ///
    /// # Errors
    /// The same.
    pub async fn tidy(&self) -> io::Result<usize> {
        let store = self.clone();
        aside(move || store.sweep()).await
    }

    fn with_index<T>(&self, work: impl FnOnce(&mut Index) -> io::Result<T>) -> io::Result<T> {
        let mut held: MutexGuard<'_, Option<Index>> = self.0.index.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() {
            *held = Some(Index::load(&self.0.folder)?);
        }
        let Some(index) = held.as_mut() else { return Err(io::Error::other("there is no index")) };
        work(index)
    }

    fn delete(&self, name: &Name) -> io::Result<()> {
        match fs::remove_file(self.0.folder.join(name.as_str())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// Room that was set aside for a file that is being written.
struct Reserved<'a> {
    store: &'a Store,
    size: u64,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut held = self.store.0.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = held.as_mut() {
            index.release(self.size);
        }
    }
}

async fn aside<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|broken| Err(io::Error::other(broken)))
}
