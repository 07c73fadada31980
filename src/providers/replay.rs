//! An upstream for tests that answers one request with exactly the bytes it is given. It exists in tests only; what
//! knows a vendor's rules is the stand-in.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Environment;
use crate::fetch::{Fetcher, Rules};

/// What a kind that knows no files gets from the process.
pub(crate) fn environment(default_model: Option<&str>) -> Environment {
    Environment {
        default_model: default_model.map(str::to_owned),
        library_roots: Vec::new(),
        hub_cache: None,
        executable_dirs: Vec::new(),
        data_dir: std::path::PathBuf::new(),
        fetcher: Arc::new(Fetcher::new(Rules::for_tests(&[]))),
    }
}

/// The upstream's address with `path` behind it, and what `read` makes of the request that it was sent.
pub(crate) async fn replay<T: Send + 'static>(
    path: &str,
    answer: Vec<u8>,
    read: fn(&[u8]) -> T,
) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}{path}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "the test awaits it or ends its runtime")]
    let asked = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !is_whole(&request) {
            let mut chunk = [0; 4096];
            let length = connection.read(&mut chunk).await.unwrap();
            assert!(length > 0, "the request was cut off");
            request.extend_from_slice(&chunk[..length]);
        }
        connection.write_all(&answer).await.unwrap();
        connection.shutdown().await.unwrap();
        read(&request)
    });
    (base_url, asked)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

/// An answer in HTTP/1.1.
pub(crate) fn answer(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n", body.len());
    for header in headers {
        head = format!("{head}{header}\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}
