//! What the stand-in remembers: its behaviour, what it was asked, what it counts and what it drew last.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;

use crate::{Behaviour, Fault, Picture, Request};

/// Requests that are remembered; older ones are forgotten.
const REMEMBERED: usize = 1_000;
/// Drawn pictures that are kept, so that a benchmark measures its subject and not this pencil.
const KEPT_PICTURES: usize = 4;

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests for pictures that were read whole.
    pub hits: usize,
    /// Requests for pictures that are being answered.
    pub in_flight: usize,
    /// Requests for pictures whose client left before the answer was sent.
    pub abandoned: usize,
    /// Open connections, busy or idle.
    pub live_connections: usize,
}

#[derive(Debug)]
pub(crate) struct State {
    address: SocketAddr,
    behaviour: Mutex<Behaviour>,
    requests: Mutex<VecDeque<Request>>,
    drawn: Mutex<VecDeque<(Picture, Arc<str>)>>,
    hits: AtomicUsize,
    in_flight: AtomicUsize,
    abandoned: AtomicUsize,
    live_connections: AtomicUsize,
}

impl State {
    pub fn new(address: SocketAddr, behaviour: Behaviour) -> Self {
        Self {
            address,
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
            drawn: Mutex::default(),
            hits: AtomicUsize::new(0),
            in_flight: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
            live_connections: AtomicUsize::new(0),
        }
    }

    /// `http://host:port` as the client of this request knows it.
    pub fn origin(&self, request: &Request) -> String {
        request.header("host").map_or_else(|| format!("http://{}", self.address), |host| format!("http://{host}"))
    }

    pub fn behaviour(&self) -> Behaviour {
        lock(&self.behaviour).clone()
    }

    pub fn set(&self, behaviour: Behaviour) {
        *lock(&self.behaviour) = behaviour;
    }

    pub fn requests(&self) -> Vec<Request> {
        lock(&self.requests).iter().cloned().collect()
    }

    pub fn counts(&self) -> Counts {
        Counts {
            hits: self.hits.load(Ordering::SeqCst),
            in_flight: self.in_flight.load(Ordering::SeqCst),
            abandoned: self.abandoned.load(Ordering::SeqCst),
            live_connections: self.live_connections.load(Ordering::SeqCst),
        }
    }

    /// Forgets what was counted and recorded; what is happening now still counts.
    pub fn forget(&self) {
        self.hits.store(0, Ordering::SeqCst);
        self.abandoned.store(0, Ordering::SeqCst);
        lock(&self.requests).clear();
    }

    /// Records a request for pictures and says how it is to be answered.
    pub fn admit(&self, request: &Request) -> (Behaviour, Option<Fault>) {
        self.hits.fetch_add(1, Ordering::SeqCst);
        let mut requests = lock(&self.requests);
        if requests.len() == REMEMBERED {
            requests.pop_front();
        }
        requests.push_back(request.clone());
        let mut behaviour = lock(&self.behaviour);
        let fault = behaviour.take_fault();
        (behaviour.clone(), fault)
    }

    pub fn abandon(&self) {
        self.abandoned.fetch_add(1, Ordering::SeqCst);
    }

    /// The picture in base64.
    pub fn drawn(&self, picture: Picture) -> Arc<str> {
        let mut drawn = lock(&self.drawn);
        if let Some((_, text)) = drawn.iter().find(|(kept, _)| *kept == picture) {
            return Arc::clone(text);
        }
        let text: Arc<str> = Arc::from(BASE64.encode(picture.encode()));
        if drawn.len() == KEPT_PICTURES {
            drawn.pop_front();
        }
        drawn.push_back((picture, Arc::clone(&text)));
        text
    }

    pub fn connection(self: &Arc<Self>) -> Counted {
        Counted::new(Arc::clone(self), |state| &state.live_connections)
    }

    pub fn flight(self: &Arc<Self>) -> Counted {
        Counted::new(Arc::clone(self), |state| &state.in_flight)
    }
}

/// Counts as one for as long as it lives.
pub(crate) struct Counted {
    state: Arc<State>,
    counter: fn(&State) -> &AtomicUsize,
}

impl Counted {
    fn new(state: Arc<State>, counter: fn(&State) -> &AtomicUsize) -> Self {
        counter(&state).fetch_add(1, Ordering::SeqCst);
        Self { state, counter }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.counter)(&self.state).fetch_sub(1, Ordering::SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
