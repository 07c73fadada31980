//! The engine's process under test: started from its binary on a socket of its own, spoken to in plain HTTP.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use easel_engine_protocol::{EngineError, Event, GenerateJob, ModelSource, PipelineKind, Status};
use tempfile::TempDir;

/// How long anything here may take at most; far more than it does.
pub const LIMIT: Duration = Duration::from_mins(1);

/// A pipeline of the fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines").join(name).join("model")
}

/// A short job for the model at `path`.
pub fn job(path: &Path) -> GenerateJob {
    GenerateJob {
        seeds: vec![7],
        steps: 3,
        guidance_scale: 3.0,
        width: 64,
        height: 64,
        ..GenerateJob::new(ModelSource::whole(path, PipelineKind::Sdxl), "a painting of a red squirrel")
    }
}

/// A running engine; it ends with the test that started it.
pub struct Engine {
    pub child: Child,
    pub socket: PathBuf,
    _dir: TempDir,
}

impl Engine {
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts an engine with more arguments, and waits until it answers.
    pub fn start_with(arguments: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let socket = dir.path().join("run/engine.sock");
        let child = command(&socket).args(arguments).spawn().unwrap();
        let engine = Self { child, socket, _dir: dir };
        wait_until("the engine answers", || UnixStream::connect(&engine.socket).is_ok());
        engine
    }

    pub fn status(&self) -> Status {
        let answer = self.send("GET /v1/status", b"");
        assert_eq!(answer.status, 200);
        serde_json::from_reader(answer.body).unwrap()
    }

    /// Sends a job; its events, or the status and error of the refusal.
    pub fn generate(&self, job: &GenerateJob) -> Result<Events, (u16, EngineError)> {
        let answer = self.send("POST /v1/generate", &serde_json::to_vec(job).unwrap());
        if answer.status == 200 {
            return Ok(Events(BufReader::new(answer.body)));
        }
        Err((answer.status, serde_json::from_reader(answer.body).unwrap()))
    }

    /// Sends one request; `route` is a method and a path.
    pub fn send(&self, route: &str, body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let head = format!(
            "{route} HTTP/1.1\r\nhost: engine\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        // A body that is refused by its length may be cut off while it is sent; the answer says why.
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        Answer::read(stream)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `easel-engine serve` on one thread; it ends when the test does, for its standard input ends then.
pub fn command(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_easel-engine"));
    command.args(["serve", "--device", "cpu", "--threads", "1", "--exit-with-stdin", "--socket"]).arg(socket);
    command.stdin(Stdio::piped()).stderr(Stdio::null());
    command
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        sleep(Duration::from_millis(5));
    }
}

/// An answer whose body can be read as it comes.
pub struct Answer {
    pub status: u16,
    pub body: Box<dyn Read>,
}

impl Answer {
    fn read(stream: UnixStream) -> Self {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let status = line.split(' ').nth(1).expect("a status line").parse().unwrap();
        let mut is_chunked = false;
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
            is_chunked |= line.eq_ignore_ascii_case("transfer-encoding: chunked\r\n");
        }
        let body: Box<dyn Read> = if is_chunked { Box::new(Chunked { reader, left: 0 }) } else { Box::new(reader) };
        Self { status, body }
    }
}

/// The body of a chunked answer. A connection that ends early is an error, as an answer that was cut off.
struct Chunked {
    reader: BufReader<UnixStream>,
    left: usize,
}

impl Read for Chunked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut size = String::new();
            while size.trim().is_empty() {
                size.clear();
                if self.reader.read_line(&mut size)? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            self.left = usize::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
        }
        let most = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

/// The events of a job as they come. Dropping it closes the connection.
pub struct Events(BufReader<Box<dyn Read>>);

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("the stream was cut off");
        (read > 0).then(|| serde_json::from_str(&line).unwrap())
    }
}

/// Copies a model folder to a place where it can be changed.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
