//! The load: keep-alive connections that ask and read whole answers, checked for their status and length only.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest wait for a part of an answer.
const LIMIT: Duration = Duration::from_mins(2);

/// Whom to ask for what.
pub struct Target {
    port: u16,
    path: String,
    request: String,
}

impl Target {
    pub fn post(port: u16, path: &str, body: &str) -> Self {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len(),
        );
        Self { port, path: path.to_owned(), request }
    }

    pub fn get(port: u16, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
        Self { port, path: path.to_owned(), request }
    }

    /// The same with these lines, each with its end, among the headers.
    pub fn with_headers(mut self, lines: &str) -> Self {
        self.request = self.request.replacen("\r\n\r\n", &format!("\r\n{lines}\r\n"), 1);
        self
    }
}

type Failure = Box<dyn Error + Send + Sync>;

/// Asks so many times over so many connections; how long each answer took.
///
/// # Errors
/// When an answer is not 200, or shorter than the picture in it must be.
pub fn run(
    target: &Target,
    requests: usize,
    concurrency: usize,
    at_least: usize,
) -> Result<Vec<Duration>, Box<dyn Error>> {
    let left = AtomicUsize::new(requests);
    let took: Result<Vec<Vec<Duration>>, Failure> = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..concurrency).map(|_| scope.spawn(|| ask(target, &left, at_least))).collect();
        let joined =
            askers.into_iter().map(|asker| asker.join().unwrap_or_else(|_| Err("a connection panicked".into())));
        joined.collect()
    });
    took.map(|took| took.concat()).map_err(|failure| failure.to_string().into())
}

/// One answer, whole: status line, headers and body.
pub fn fetch(target: &Target) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut stream = TcpStream::connect(("127.0.0.1", target.port))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(target.request.replacen("\r\n\r\n", "\r\nconnection: close\r\n\r\n", 1).as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

fn ask(target: &Target, left: &AtomicUsize, at_least: usize) -> Result<Vec<Duration>, Failure> {
    let stream = TcpStream::connect(("127.0.0.1", target.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let mut took = Vec::new();
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        let asked = Instant::now();
        reader.get_mut().write_all(target.request.as_bytes())?;
        let (status, length) = read_answer(&mut reader)?;
        if status != 200 || length < at_least {
            return Err(format!("{} answered {status} with {length} bytes", target.path).into());
        }
        took.push(asked.elapsed());
    }
    Ok(took)
}

/// The status and the length of the body.
fn read_answer(reader: &mut BufReader<TcpStream>) -> Result<(u16, usize), Failure> {
    let status = line(reader)?.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status line")?;
    let mut length = 0;
    let mut chunked = false;
    loop {
        let header = line(reader)?.to_ascii_lowercase();
        match header.split_once(':') {
            None => break,
            Some(("content-length", value)) => length = value.trim().parse()?,
            Some(("transfer-encoding", _)) => chunked = true,
            Some(_) => {}
        }
    }
    if !chunked {
        discard(reader, length)?;
        return Ok((status, length));
    }
    let mut total = 0;
    loop {
        let chunk = usize::from_str_radix(line(reader)?.split(';').next().unwrap_or_default(), 16)?;
        discard(reader, chunk)?;
        line(reader)?;
        total += chunk;
        if chunk == 0 {
            return Ok((status, total));
        }
    }
}

fn line(reader: &mut BufReader<TcpStream>) -> Result<String, Failure> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err("the connection was closed".into());
    }
    line.truncate(line.trim_end().len());
    Ok(line)
}

fn discard(reader: &mut BufReader<TcpStream>, length: usize) -> Result<(), Failure> {
    let read = std::io::copy(&mut reader.take(u64::try_from(length)?), &mut std::io::sink())?;
    if read == u64::try_from(length)? { Ok(()) } else { Err("the answer is shorter than it says".into()) }
}
