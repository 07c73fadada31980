//! One file: a line of JSON about it, then the body. A body that is shorter or longer than the line says is no body.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Entry, Name, Opened, index};

/// The layout of the files.
const FORMAT: u32 = 1;
/// The longest line.
const LONGEST_LINE: u64 = 1 << 20;
/// What names of unfinished files begin with; no finished one's does.
const UNFINISHED: &str = ".unfinished-";

/// The line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Frame {
    format: u32,
    /// Milliseconds since 1970.
    expires: u64,
    length: u64,
    head: Value,
}

impl Frame {
    pub(super) fn new(expires: SystemTime, length: u64, head: Value) -> Self {
        Self { format: FORMAT, expires: milliseconds(expires), length, head }
    }

    pub(super) fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        if line.len() as u64 > LONGEST_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there is too much to say about it"));
        }
        Ok(line)
    }
}

pub(super) fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Writes a whole file under its name, or leaves nothing.
pub(super) fn write(
    folder: &Path,
    name: &Name,
    line: &[u8],
    length: u64,
    body: impl IntoIterator<Item = Bytes>,
) -> io::Result<()> {
    let unfinished = folder.join(format!("{UNFINISHED}{}", Uuid::new_v4().simple()));
    let written = fill(&unfinished, line, length, body).and_then(|file| {
        fs::rename(&unfinished, folder.join(name.as_str()))?;
        // Until now it was ours alone; the lock goes with it.
        drop(file);
        File::open(folder)?.sync_all()
    });
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn fill(path: &Path, line: &[u8], length: u64, body: impl IntoIterator<Item = Bytes>) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // As long as its process lives; whoever can take the lock knows that it does not.
    match file.lock() {
        Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
        Ok(()) | Err(_) => {}
    }
    file.write_all(line)?;
    let mut written = 0;
    for piece in body {
        file.write_all(&piece)?;
        written += piece.len() as u64;
    }
    if written != length {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the body is not as long as was said"));
    }
    file.sync_all()?;
    Ok(file)
}

/// Reads a file; `None` where there is none that is whole and has not expired.
pub(super) fn read<H: DeserializeOwned>(path: &Path) -> io::Result<Option<Entry<H>>> {
    let Some(mut file) = existing(path)? else { return Ok(None) };
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or_default());
    file.read_to_end(&mut bytes)?;
    let bytes = Bytes::from(bytes);
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return Ok(None) };
    let body = bytes.slice(end + 1..);
    let Some(frame) = frame(bytes.get(..end).unwrap_or_default()) else { return Ok(None) };
    let expires = UNIX_EPOCH + Duration::from_millis(frame.expires);
    if frame.length != body.len() as u64 || expires <= SystemTime::now() {
        return Ok(None);
    }
    let Ok(head) = serde_json::from_value(frame.head) else { return Ok(None) };
    Ok(Some(Entry { head, expires, body }))
}

/// Opens a file at the beginning of its body; `None` where there is none that is whole and has not expired.
pub(super) fn open<H: DeserializeOwned>(path: &Path) -> io::Result<Option<Opened<H>>> {
    let Some(file) = existing(path)? else { return Ok(None) };
    let size = file.metadata()?.len();
    let mut line = Vec::new();
    let mut reader = BufReader::new(file).take(LONGEST_LINE);
    reader.read_until(b'\n', &mut line)?;
    let mut file = reader.into_inner().into_inner();
    let Some(frame) = line.strip_suffix(b"\n").and_then(frame) else { return Ok(None) };
    let expires = UNIX_EPOCH + Duration::from_millis(frame.expires);
    let begin = line.len() as u64;
    if begin + frame.length != size || expires <= SystemTime::now() {
        return Ok(None);
    }
    let Ok(head) = serde_json::from_value(frame.head) else { return Ok(None) };
    file.seek(SeekFrom::Start(begin))?;
    Ok(Some(Opened { head, expires, file, begin, length: frame.length }))
}

/// Opens what lies there if it is a file itself: a link could lead anywhere, and a pipe would never answer.
fn existing(path: &Path) -> io::Result<Option<File>> {
    let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    let opened = fs::symlink_metadata(path).and_then(|found| found.is_file().then(|| File::open(path)).transpose());
    match opened {
        Err(error) if is_missing(&error) => Ok(None),
        opened => opened,
    }
}

/// When a whole file expires and what it takes on disk; `None` where it is no file of ours, or not whole.
pub(super) fn look(path: &Path) -> Option<(u64, u64)> {
    let file = existing(path).ok()??;
    let size = file.metadata().ok()?.len();
    let mut line = Vec::new();
    BufReader::new(file).take(LONGEST_LINE).read_until(b'\n', &mut line).ok()?;
    let frame = frame(line.strip_suffix(b"\n")?)?;
    (line.len() as u64 + frame.length == size).then(|| (frame.expires, index::on_disk(size)))
}

fn frame(line: &[u8]) -> Option<Frame> {
    serde_json::from_slice(line).ok().filter(|frame: &Frame| frame.format == FORMAT)
}

/// Whether a file of this name is an unfinished one whose process has ended.
pub(super) fn is_left_behind(path: &Path, name: &str) -> bool {
    let is_ours = |file: &File| file.try_lock().is_ok();
    name.starts_with(UNFINISHED) && existing(path).is_ok_and(|file| file.as_ref().is_some_and(is_ours))
}
