//! The load: keep-alive connections that ask and read whole answers, checked for their status and length only.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Whom to ask for what.
pub struct Target<'a> {
    pub port: u16,
    pub path: &'static str,
    pub body: &'a str,
}

type Failure = Box<dyn Error + Send + Sync>;

/// Asks so many times over so many connections.
///
/// # Errors
/// When an answer is not 200, or shorter than the picture in it must be.
pub fn run(target: &Target<'_>, requests: usize, concurrency: usize, at_least: usize) -> Result<(), Failure> {
    let left = AtomicUsize::new(requests);
    std::thread::scope(|scope| {
        let askers: Vec<_> = (0..concurrency).map(|_| scope.spawn(|| ask(target, &left, at_least))).collect();
        askers.into_iter().try_for_each(|asker| asker.join().unwrap_or_else(|_| Err("a connection panicked".into())))
    })
}

fn ask(target: &Target<'_>, left: &AtomicUsize, at_least: usize) -> Result<(), Failure> {
    let stream = TcpStream::connect(("127.0.0.1", target.port))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::with_capacity(256 << 10, stream);
    let request = format!(
        "POST {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{}",
        target.path,
        target.port,
        target.body.len(),
        target.body
    );
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        reader.get_mut().write_all(request.as_bytes())?;
        let (status, length) = read_answer(&mut reader)?;
        if status != 200 || length < at_least {
            return Err(format!("{} answered {status} with {length} bytes", target.path).into());
        }
    }
    Ok(())
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
