//! What it reaches and what it does not, on loopback alone.
//!
//! 127.0.0.2 plays the public internet: the fetchers of these tests take it, and nothing else, for public. At the same
//! port of 127.0.0.1 and of `[::1]` a canary counts connections, which there must be none of.

mod content;
mod hosts;
mod names;
mod proxy;
mod redirects;
mod spellings;
mod time;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{FetchError, Fetcher, Origin, Picture, Resolve, Rules};
use crate::container::sample::encoded;
use crate::generation::{ImageFormat, ImageSize};

/// What plays the public internet.
const PUBLIC: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// Where the canary sits.
const PRIVATE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Stands in every URL of these tests and in no error.
const SECRET: &str = "canary-signature-5150";

fn is_public_here(address: IpAddr) -> bool {
    address == PUBLIC
}

/// Rules that refuse for no other reason than an address.
fn rules() -> Rules {
    Rules { allow_http: true, timeout: Duration::from_secs(10), ..Rules::for_tests(&[]) }
}

/// A fetcher for which 127.0.0.2 alone is public.
fn fetcher(rules: Rules, names: &Arc<Names>) -> Fetcher {
    Fetcher::assemble(rules, Arc::clone(names) as Arc<dyn Resolve>, is_public_here)
}

fn picture(format: ImageFormat) -> Vec<u8> {
    encoded(ImageSize::new(37, 21).unwrap(), format).to_vec()
}

/// The category of a failure, after a look at what is told about it.
#[track_caller]
fn category(outcome: Result<Picture, FetchError>) -> &'static str {
    let Err(error) = outcome else { return "a picture" };
    assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        assert!(!cause.to_string().contains(SECRET), "{cause}");
        source = cause.source();
    }
    error.category()
}

/// Names whose meaning a test decides. Each name has its turns, of which the last one stays.
#[derive(Default)]
struct Names {
    turns: Mutex<Vec<(String, VecDeque<Vec<IpAddr>>)>>,
    lookups: AtomicUsize,
}

impl Names {
    fn new<const N: usize>(names: [(&str, &[&[IpAddr]]); N]) -> Arc<Self> {
        let turns = names.map(|(name, turns)| (name.to_owned(), turns.iter().map(|turn| turn.to_vec()).collect()));
        Arc::new(Self { turns: Mutex::new(turns.into()), lookups: AtomicUsize::new(0) })
    }

    /// Every name means this machine.
    fn all_private() -> Arc<Self> {
        Self::new([("", &[&[PRIVATE]])])
    }

    fn lookups(&self) -> usize {
        self.lookups.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        self.lookups.fetch_add(1, Ordering::SeqCst);
        let mut turns = self.turns.lock().unwrap();
        let (_, turns) =
            turns.iter_mut().find(|(known, _)| known == name || known.is_empty()).ok_or(io::ErrorKind::NotFound)?;
        if turns.len() > 1 {
            return Ok(turns.pop_front().unwrap());
        }
        turns.front().cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// What a server does with a request: it gets the path, and the connection to answer on.
type Script = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// Pieces of an answer with pauses before them; a closed connection after the last one, unless it hangs.
#[derive(Clone, Default)]
struct Answer {
    pieces: Vec<(Duration, Vec<u8>)>,
    hangs: bool,
}

impl Answer {
    /// A whole answer.
    fn new(status: u16, headers: &[&str], body: &[u8]) -> Self {
        let length = format!("content-length: {}", body.len());
        Self::raw(status, &[headers, &[&length]].concat(), body)
    }

    /// An answer with these headers and no others.
    fn raw(status: u16, headers: &[&str], body: &[u8]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Whatever\r\nconnection: close\r\n");
        for header in headers {
            head = format!("{head}{header}\r\n");
        }
        let bytes = [format!("{head}\r\n").as_bytes(), body].concat();
        Self { pieces: vec![(Duration::ZERO, bytes)], hangs: false }
    }

    fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, &[&format!("location: {location}"), "set-cookie: a=b"], b"")
    }

    fn png() -> Self {
        Self::new(200, &["content-type: image/png"], &picture(ImageFormat::Png))
    }

    /// Nothing more comes, and the connection stays.
    fn then_hangs(mut self) -> Self {
        self.hangs = true;
        self
    }
}

/// One port: a server at 127.0.0.2, and canaries at 127.0.0.1 and `[::1]` (where the machine has it).
struct Site {
    port: u16,
    tasks: JoinSet<()>,
    requests: Arc<Mutex<Vec<String>>>,
    canary: Arc<AtomicUsize>,
}

impl Site {
    /// A site whose server answers by the path.
    async fn new(script: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let (port, public, private) = listeners().await;
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(public, Arc::new(script), Arc::clone(&requests)));
        let canary = Arc::new(AtomicUsize::new(0));
        for listener in private {
            let canary = Arc::clone(&canary);
            tasks.spawn(async move {
                while listener.accept().await.is_ok() {
                    canary.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { port, tasks, requests, canary }
    }

    /// A site that nothing should ever ask.
    async fn silent() -> Self {
        Self::new(|_| Answer::default()).await
    }

    /// A server at the private address, beside the canary that would have been there.
    async fn private(script: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((PRIVATE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, Arc::new(script), Arc::clone(&requests)));
        Self { port, tasks, requests, canary: Arc::default() }
    }

    /// A URL of this site at `host`.
    fn url(&self, host: &str, path: &str) -> String {
        format!("http://{host}:{}{path}?signature={SECRET}", self.port)
    }

    fn origin(&self, host: &str) -> Origin {
        format!("http://{host}:{}", self.port).parse().unwrap()
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Connections to the canaries so far, those included that are just being made.
    async fn reached(&mut self) -> usize {
        assert!(self.tasks.try_join_next().is_none(), "a server ended");
        // A connection that stands is accepted in one of the next turns of this runtime.
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.canary.load(Ordering::SeqCst)
    }
}

/// The three listeners at one port.
async fn listeners() -> (u16, TcpListener, Vec<TcpListener>) {
    let has_v6 = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok();
    for _ in 0..50 {
        let public = TcpListener::bind((PUBLIC, 0)).await.unwrap();
        let port = public.local_addr().unwrap().port();
        let Ok(canary) = TcpListener::bind((PRIVATE, port)).await else { continue };
        if !has_v6 {
            return (port, public, vec![canary]);
        }
        let Ok(canary_v6) = TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await else { continue };
        return (port, public, vec![canary, canary_v6]);
    }
    panic!("no port is free at all addresses");
}

async fn serve(listener: TcpListener, script: Script, requests: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    while let Ok((connection, _)) = listener.accept().await {
        connections.spawn(answer(connection, Arc::clone(&script), Arc::clone(&requests)));
    }
}

async fn answer(mut connection: TcpStream, script: Script, requests: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
    requests.lock().unwrap().push(request);
    let answer = script(&path);
    for (pause, piece) in answer.pieces {
        tokio::time::sleep(pause).await;
        if connection.write_all(&piece).await.is_err() {
            return;
        }
    }
    if answer.hangs {
        std::future::pending::<()>().await;
    }
    let _ = connection.shutdown().await;
}

/// A socket address as the host and port of a URL.
fn at(address: IpAddr, port: u16) -> String {
    SocketAddr::new(address, port).to_string()
}
