//! A process that speaks like the engine: this very test binary, started by a script in the engine's place. What it does
//! with a job is what the job's prompt says.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use base64::Engine as _;
use easel_engine_protocol::{
    AdapterReport, DeviceStatus, EngineError, EngineErrorKind, Event, GenerateJob, PROTOCOL, Status, Timings,
    UnmatchedLayer,
};
use serde::Serialize;

use crate::generation::{ImageFormat, ImageSize};
use crate::providers::scripted::encoded;

const SOCKET: &str = "EASEL_TEST_ENGINE_SOCKET";
const VERSION: &str = "EASEL_TEST_ENGINE_PROTOCOL";

/// A script that becomes the stand-in, speaking this version of the protocol.
pub(super) fn script(protocol: u32) -> String {
    let binary = std::env::current_exe().unwrap();
    // The arguments are `serve --socket PATH …`.
    format!(
        "#!/bin/sh\n{SOCKET}=\"$3\" {VERSION}={protocol} exec '{}' --exact providers::local::tests::stand_in::serve \
         --ignored --nocapture\n",
        binary.display()
    )
}

/// The stand-in that speaks the right version.
pub(super) fn sound() -> String {
    script(PROTOCOL)
}

#[test]
#[ignore = "it is no test: the tests beside it start it as the engine"]
#[expect(clippy::disallowed_methods, reason = "the script above says so")]
fn serve() {
    let (Ok(socket), Ok(protocol)) = (std::env::var(SOCKET), std::env::var(VERSION)) else { return };
    let socket = Path::new(&socket);
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    eprintln!("a line of the stand-in's log");
    std::thread::Builder::new()
        .spawn(|| {
            // As with `--exit-with-stdin`.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            std::process::exit(0);
        })
        .unwrap();
    let listener = UnixListener::bind(socket).unwrap();
    let protocol = protocol.parse().unwrap();
    for connection in listener.incoming() {
        let (connection, beside) = (connection.unwrap(), socket.with_file_name("job.json"));
        std::thread::Builder::new().spawn(move || while answer(&connection, protocol, &beside).is_some() {}).unwrap();
    }
}

/// Answers one request; `None` when the connection is done with.
fn answer(connection: &UnixStream, protocol: u32, beside: &Path) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        (reader.read_line(&mut head).ok()? > 0).then_some(())?;
    }
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    if head.starts_with("GET /v1/status ") {
        let devices = vec![DeviceStatus { name: "cpu".to_owned(), ..DeviceStatus::default() }];
        let status = Status {
            protocol,
            version: String::new(),
            pid: std::process::id(),
            devices,
            models: Vec::new(),
            queued: 0,
            running: 0,
        };
        return whole(connection, 200, &status);
    }
    std::fs::write(beside, &body).unwrap();
    let job: GenerateJob = serde_json::from_slice(&body).unwrap();
    let (kind, status) = match job.prompt.as_str() {
        "memory" => (EngineErrorKind::OutOfMemory, 507),
        "broken" => (EngineErrorKind::ModelBroken, 424),
        _ => return events(connection, &job, beside),
    };
    let message = format!("{}/unet is not what it should be", job.model.path.display());
    whole(connection, status, &EngineError { kind, message, hint: Some("mend it".to_owned()) })
}

fn whole(mut connection: &UnixStream, status: u16, body: &impl Serialize) -> Option<()> {
    let body = serde_json::to_string(body).unwrap();
    write!(connection, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()
}

fn events(mut connection: &UnixStream, job: &GenerateJob, beside: &Path) -> Option<()> {
    write!(connection, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").ok()?;
    let mut tell = |event: &Event| {
        let line = serde_json::to_string(event).unwrap() + "\n";
        write!(connection, "{:x}\r\n{line}\r\n", line.len()).ok()
    };
    tell(&Event::Queued { ahead: 0 })?;
    tell(&Event::Step { image: 0, step: 1, steps: job.steps })?;
    match job.prompt.as_str() {
        "die" => std::process::abort(),
        "cut" => {
            connection.shutdown(std::net::Shutdown::Both).ok()?;
            return None;
        }
        "wait" => {
            // Only the client's leaving ends this.
            let _ = (&mut &*connection).read(&mut [0]);
            std::fs::write(beside.with_file_name("cancelled"), "").unwrap();
            return None;
        }
        "fail" => {
            let message = "the scheduler_config.json asks for what is not honoured".to_owned();
            tell(&Event::Failed { error: EngineError { kind: EngineErrorKind::InvalidRequest, message, hint: None } })?;
            return write!(connection, "0\r\n\r\n").ok();
        }
        "preview" => {
            let size = ImageSize::new(16, 16).unwrap();
            let good = base64::engine::general_purpose::STANDARD.encode(encoded(size, ImageFormat::Png));
            for (step, png_base64) in [(1, good.clone()), (2, "AAAA".to_owned()), (3, good)] {
                tell(&Event::Preview { image: 0, step, png_base64 })?;
            }
        }
        "adapters" => {
            let unmatched = vec![UnmatchedLayer { name: "attic".to_owned(), nearest: None }];
            let whole = AdapterReport { matched: 5, total: 5, ..AdapterReport::default() };
            let part = AdapterReport { matched: 3, total: 4, unmatched, ..AdapterReport::default() };
            // What was said of an attempt that is made once more does not count twice.
            for adapters in [vec![whole.clone()], vec![whole, part]] {
                tell(&Event::Adapters { adapters })?;
            }
        }
        "long" => tell(&Event::Warning { message: "the prompt was cut after 77 tokens".to_owned() })?,
        _ => {}
    }
    let size = ImageSize::new(job.width, job.height).unwrap();
    for (index, seed) in (0..).zip(&job.seeds) {
        let png_base64 = base64::engine::general_purpose::STANDARD.encode(encoded(size, ImageFormat::Png));
        tell(&Event::Image { image: index, seed: *seed, width: job.width, height: job.height, png_base64 })?;
    }
    tell(&Event::Done { timings: Timings::default() })?;
    write!(connection, "0\r\n\r\n").ok()
}
