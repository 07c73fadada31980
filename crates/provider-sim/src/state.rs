//! What the stand-in remembers: its behaviour, what it was asked, what it counts and what it drew last.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::counts::{Counted, Counts, Tally, count};
use crate::log::Log;
use crate::picture::Drawing;
use crate::runware::Tasks;
use crate::vendor::Vendor;
use crate::{Behaviour, Fault, Request};

/// Drawn pictures that are kept, so that a benchmark measures its subject and not this pencil.
const KEPT_PICTURES: usize = 4;

#[derive(Debug)]
pub(crate) struct State {
    address: SocketAddr,
    plan: Mutex<Plan>,
    requests: Log,
    lookups: Log,
    drawn: Mutex<VecDeque<(Drawing, Arc<str>)>>,
    all: Arc<Tally>,
    each: [Arc<Tally>; Vendor::ALL.len()],
    tasks: Tasks,
}

/// How the next requests for pictures are answered.
#[derive(Debug)]
struct Plan {
    /// One for each of the next requests.
    script: VecDeque<Behaviour>,
    /// For all that follow.
    usual: Behaviour,
}

impl State {
    pub fn new(address: SocketAddr, behaviour: Behaviour) -> Self {
        Self {
            address,
            plan: Mutex::new(Plan { script: VecDeque::new(), usual: behaviour }),
            requests: Log::default(),
            lookups: Log::default(),
            drawn: Mutex::default(),
            all: Arc::default(),
            each: Default::default(),
            tasks: Tasks::default(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://host:port` as the client of this request knows it.
    pub fn origin(&self, request: &Request) -> String {
        request.header("host").map_or_else(|| format!("http://{}", self.address), |host| format!("http://{host}"))
    }

    /// What follows when the script has ended.
    pub fn behaviour(&self) -> Behaviour {
        lock(&self.plan).usual.clone()
    }

    /// How many requests the script still waits for.
    pub fn scripted(&self) -> usize {
        lock(&self.plan).script.len()
    }

    pub fn set(&self, behaviour: Behaviour) {
        *lock(&self.plan) = Plan { script: VecDeque::new(), usual: behaviour };
    }

    pub fn script(&self, behaviours: Vec<Behaviour>) {
        lock(&self.plan).script = behaviours.into();
    }

    /// Requests for pictures, of one vendor or of all.
    pub fn requests(&self, vendor: Option<Vendor>) -> Vec<Request> {
        self.requests.read(vendor)
    }

    /// Requests that buy nothing.
    pub fn lookups(&self) -> Vec<Request> {
        self.lookups.read(None)
    }

    pub fn counts(&self) -> Counts {
        self.all.counts()
    }

    pub fn counts_of(&self, vendor: Vendor) -> Counts {
        self.tally(vendor).counts()
    }

    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Forgets what was counted, recorded and stored; what is happening now still counts.
    pub fn forget(&self) {
        self.all.forget();
        self.each.iter().for_each(|tally| tally.forget());
        self.requests.clear();
        self.lookups.clear();
        self.tasks.forget();
    }

    /// Records a request for pictures and says how it is to be answered.
    pub fn admit(&self, vendor: Vendor, request: &Request) -> (Behaviour, Option<Fault>) {
        count(&self.all.hits);
        count(&self.tally(vendor).hits);
        self.requests.add(vendor, request);
        let mut plan = lock(&self.plan);
        if let Some(mut behaviour) = plan.script.pop_front() {
            let fault = behaviour.take_fault();
            return (behaviour, fault);
        }
        let fault = plan.usual.take_fault();
        (plan.usual.clone(), fault)
    }

    /// Records a request that buys nothing and says how it is to be answered.
    pub fn admit_lookup(&self, vendor: Vendor, request: &Request) -> (Behaviour, Option<Fault>) {
        count(&self.all.lookups);
        count(&self.tally(vendor).lookups);
        self.lookups.add(vendor, request);
        let behaviour = self.behaviour();
        let fault = behaviour.lookups;
        (Behaviour { delay: std::time::Duration::ZERO, ..behaviour }, fault)
    }

    pub fn abandon(&self, vendor: Vendor) {
        count(&self.all.abandoned);
        count(&self.tally(vendor).abandoned);
    }

    pub fn count_fetch(&self) {
        count(&self.all.fetches);
    }

    pub fn count_run(&self) {
        count(&self.all.runs);
        count(&self.tally(Vendor::Runware).runs);
    }

    /// The picture in base64.
    pub fn drawn(&self, drawing: Drawing) -> Arc<str> {
        let mut drawn = lock(&self.drawn);
        if let Some((_, text)) = drawn.iter().find(|(kept, _)| *kept == drawing) {
            return Arc::clone(text);
        }
        let text: Arc<str> = Arc::from(BASE64.encode(drawing.encode()));
        if drawn.len() == KEPT_PICTURES {
            drawn.pop_front();
        }
        drawn.push_back((drawing, Arc::clone(&text)));
        text
    }

    pub fn connection(&self) -> Counted {
        Counted::new(&self.all, |tally| &tally.live_connections)
    }

    pub fn flight(&self, vendor: Vendor) -> [Counted; 2] {
        [&self.all, self.tally(vendor)].map(|tally| Counted::new(tally, |tally| &tally.in_flight))
    }

    fn tally(&self, vendor: Vendor) -> &Arc<Tally> {
        let at = Vendor::ALL.iter().position(|other| *other == vendor).unwrap_or(0);
        self.each.get(at).unwrap_or(&self.all)
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
