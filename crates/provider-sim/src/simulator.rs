//! The handle of a running stand-in.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::state::State;
use crate::{Behaviour, Counts, Fault, Request, Vendor, server};

/// A stand-in on a port of its own. It has its own thread and runtime, so that a test that blocks does not stop it;
/// dropping it closes the port and every connection.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Simulator {
    /// Starts on a free port of the loopback address, ready to be asked.
    ///
    /// # Panics
    /// When no port can be had: a test cannot go on without its stand-in.
    #[expect(clippy::expect_used, clippy::unused_async, reason = "made for tests, which are async and may fail")]
    pub async fn start() -> Self {
        Self::bind("127.0.0.1:0", Behaviour::default()).expect("a free port on the loopback address")
    }

    /// Starts on this address.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn bind(address: &str, behaviour: Behaviour) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::new(address, behaviour));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("provider-sim".to_owned()).spawn(move || {
            runtime.block_on(async {
                // The listener was bound above: connections queue from then on, so this cannot come too late.
                if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                    server::serve(listener, shared, stopped).await;
                }
            });
        })?;
        Ok(Self { address, state, stop: Some(stop), thread: Some(thread) })
    }

    /// What an `OpenAI` client calls its base URL: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What a client of this vendor calls its base URL. Runware's WebSocket has the same address with `ws://`.
    pub fn url(&self, vendor: Vendor) -> String {
        format!("http://{}{}", self.address, vendor.base_path())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Behaves so from the next request on.
    pub fn set(&self, behaviour: Behaviour) {
        self.state.set(behaviour);
    }

    /// Fails in this way from the next request on; all else as by default.
    pub fn fail(&self, fault: Fault) {
        self.set(Behaviour::failing(fault));
    }

    /// Behaves so for one request for pictures each, in this order; then as before.
    pub fn script(&self, behaviours: Vec<Behaviour>) {
        self.state.script(behaviours);
    }

    /// Requests for pictures so far.
    pub fn hits(&self) -> usize {
        self.counts().hits
    }

    /// Requests for pictures that are being answered.
    pub fn in_flight(&self) -> usize {
        self.counts().in_flight
    }

    /// Open connections, busy or idle.
    pub fn live_connections(&self) -> usize {
        self.counts().live_connections
    }

    /// Everything that is counted.
    pub fn counts(&self) -> Counts {
        self.state.counts()
    }

    /// Requests for pictures, oldest first, as they came in.
    pub fn requests(&self) -> Vec<Request> {
        self.state.requests(None)
    }

    /// What is counted of one vendor; connections and fetched pictures are counted for all together only.
    pub fn counts_of(&self, vendor: Vendor) -> Counts {
        self.state.counts_of(vendor)
    }

    /// Requests for pictures of this vendor, oldest first.
    pub fn requests_of(&self, vendor: Vendor) -> Vec<Request> {
        self.state.requests(Some(vendor))
    }

    /// Requests that buy nothing, oldest first: lists of models, Runware's `getResponse` and the like.
    pub fn lookups(&self) -> Vec<Request> {
        self.state.lookups()
    }

    /// Forgets what was counted, recorded and stored, and behaves by default again.
    pub fn reset(&self) {
        self.state.forget();
        self.state.set(Behaviour::default());
    }

    /// Waits until the counts are as wished; whether they came to be so in time.
    pub async fn settles(&self, within: Duration, wished: impl Fn(Counts) -> bool) -> bool {
        let deadline = Instant::now() + within;
        while !wished(self.counts()) {
            if Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// Closes the port and every connection; afterwards a connection is refused.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.end();
    }
}
