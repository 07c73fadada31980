//! `Idempotency-Key`: a request that is sent again gets the answer that its first sending got.
//!
//! A twin that comes while the first is under way waits for it; another request under the same key is refused. Kept is
//! what would come out the same again: pictures, and what was wrong with the request in a provider's eyes. What may pass
//! is told to the twins that wait, and not kept.

use std::collections::HashMap;
use std::future::{Future, Ready, ready};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use actix_web::body::BoxBody;
use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, HttpResponse, Responder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::answer_body::{AnswerBody, Segment};
use super::error::{ApiError, Code};
use super::rate_limit;
use super::recorded::{Head, Record, Recorded, Replay};
use super::request_id::RequestId;
use crate::gateway::Scope;
use crate::generation::AttemptOutcome;
use crate::store::{Draft, Name, Store};

/// The request header.
const HEADER: &str = "idempotency-key";
/// The longest key.
const LONGEST: usize = 255;
/// How long an answer is kept.
const KEPT_FOR: Duration = Duration::from_hours(24);
/// The folder of the answers, below `[storage] data_dir`.
const FOLDER: &str = "answers";

/// The caller's name for a request, if it gave one: a digest of caller and key.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdempotencyKey(Option<[u8; 32]>);

/// A request that its caller may send again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Once {
    key: [u8; 32],
    /// The digest of all that is asked.
    request: [u8; 32],
}

/// Answers for whoever asks again.
#[derive(Debug)]
pub struct Answers {
    store: Store,
    running: Arc<Running>,
}

/// The requests with a key that are under way.
type Running = Mutex<HashMap<Name, First>>;

/// A request that is under way, as its twins see it.
#[derive(Debug)]
struct First {
    request: [u8; 32],
    told: watch::Receiver<Option<Recorded>>,
}

/// What is kept of an answer beside its body.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// The digest of the request.
    request: [u8; 32],
    answer: Head,
}

/// An answer: a new one, or one that was given before.
pub(super) enum Reply<T> {
    New(T),
    Again(Replay),
}

/// Whose turn it is to do the work under a key; without it nobody's.
struct Turn {
    running: Arc<Running>,
    name: Name,
    tell: watch::Sender<Option<Recorded>>,
}

impl FromRequest for IdempotencyKey {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let mut given = request.headers().get_all(HEADER);
        let Some(key) = given.next() else { return ready(Ok(Self(None))) };
        let key = key.as_bytes();
        let printable = key.iter().all(|byte| (b' '..=b'~').contains(byte));
        if given.next().is_some() || !printable || !(1..=LONGEST).contains(&key.len()) {
            let hint = format!("send one `Idempotency-Key` of 1 to {LONGEST} printable ASCII characters");
            let error = ApiError::new(Code::InvalidField, "`Idempotency-Key` cannot be that", hint);
            return ready(Err(error.with_field("Idempotency-Key")));
        }
        let caller = request.peer_addr().map(|address| rate_limit::key(address.ip()).to_string());
        let mut digest = Sha256::new();
        digest.update(caller.unwrap_or_default());
        digest.update(b"\n");
        digest.update(key);
        ready(Ok(Self(Some(digest.finalize().into()))))
    }
}

impl IdempotencyKey {
    /// The request under this key; `request` makes the digest of all that is asked.
    pub(super) fn of(self, request: impl FnOnce() -> [u8; 32]) -> Option<Once> {
        self.0.map(|key| Once { key, request: request() })
    }

    /// Whether the caller gave one.
    pub(super) fn is_given(&self) -> bool {
        self.0.is_some()
    }

    /// The scope of a request under this key.
    pub(super) fn scope(&self, scope: Scope) -> Scope {
        match self.0 {
            Some(name) => scope.once(name),
            None => scope,
        }
    }
}

impl Answers {
    /// The answers below this data folder, in at most so many bytes; 0: none is kept, and only twins that are under way
    /// together get the same.
    pub fn new(data_dir: &Path, most: u64) -> Self {
        Self { store: Store::new(&data_dir.join(FOLDER), most), running: Arc::default() }
    }

    /// Forgets what has expired.
    pub async fn tidy(&self) {
        if let Err(error) = self.store.tidy().await {
            tracing::warn!(%error, "the folder of answers cannot be tidied");
        }
    }

    /// The answer that was given before, else what `work` comes to.
    pub(super) async fn once<T: Record>(
        &self,
        once: Option<Once>,
        id: &RequestId,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<Reply<T>, ApiError> {
        let Some(Once { key, request }) = once else { return work.await.map(Reply::New) };
        let turn = match self.turn(Name::of_digest(&key), request).await? {
            Ok(turn) => turn,
            Err(answer) => return Ok(Reply::Again(Replay(answer))),
        };
        match work.await {
            Ok(answer) => {
                self.keep(turn, request, answer.recorded()).await;
                Ok(Reply::New(answer))
            }
            Err(error) => {
                let recorded = Recorded::of_error(&error, id);
                if is_final(&error) {
                    self.keep(turn, request, recorded).await;
                } else {
                    turn.tell.send_replace(Some(recorded));
                }
                Err(error)
            }
        }
    }

    /// The turn to do the work, or the answer that makes it needless.
    async fn turn(&self, name: Name, request: [u8; 32]) -> Result<Result<Turn, Recorded>, ApiError> {
        let turn = loop {
            let mut twin = match self.enter(&name, request)? {
                Ok(turn) => break turn,
                Err(twin) => twin,
            };
            // Without an answer, the first was given up: one of those who wait is the next to try.
            if let Ok(told) = twin.wait_for(Option::is_some).await
                && let Some(answer) = told.clone()
            {
                return Ok(Err(answer));
            }
        };
        let kept = self.store.get::<Kept>(name).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "a stored answer cannot be read");
            None
        });
        let Some(kept) = kept else { return Ok(Ok(turn)) };
        if kept.head.request != request {
            return Err(reused());
        }
        let answer = Recorded { head: kept.head.answer, body: vec![Segment::Text(kept.body)] };
        turn.tell.send_replace(Some(answer.clone()));
        Ok(Err(answer))
    }

    /// The turn, or what the one whose turn it is will tell.
    fn enter(
        &self,
        name: &Name,
        request: [u8; 32],
    ) -> Result<Result<Turn, watch::Receiver<Option<Recorded>>>, ApiError> {
        let mut running = lock(&self.running);
        if let Some(first) = running.get(name) {
            return if first.request == request { Ok(Err(first.told.clone())) } else { Err(reused()) };
        }
        let (tell, told) = watch::channel(None);
        running.insert(name.clone(), First { request, told });
        Ok(Ok(Turn { running: Arc::clone(&self.running), name: name.clone(), tell }))
    }

    /// Tells the twins and keeps the answer. The turn lasts until it is durable, even if the caller leaves meanwhile.
    async fn keep(&self, turn: Turn, request: [u8; 32], answer: Recorded) {
        turn.tell.send_replace(Some(answer.clone()));
        if !self.store.is_on() {
            return;
        }
        let store = self.store.clone();
        let written = tokio::task::spawn_blocking(move || {
            let body = AnswerBody::new(answer.body);
            let (head, expires, length) =
                (Kept { request, answer: answer.head }, SystemTime::now() + KEPT_FOR, body.length());
            let written = store.write(&turn.name, Draft { head, expires, length, body });
            drop(turn);
            written
        });
        let problem = match written.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(broken) => broken.to_string(),
        };
        tracing::warn!(error = problem, "an answer could not be kept: sent again, its request will be done again");
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.name);
    }
}

impl<T: Responder<Body = BoxBody>> Responder for Reply<T> {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse<BoxBody> {
        match self {
            Self::New(answer) => answer.respond_to(request),
            Self::Again(replay) => replay.respond_to(request),
        }
    }
}

/// Whether the same request would fare no better: a provider was asked and did not like it.
fn is_final(error: &ApiError) -> bool {
    let asked = |attempts: &Vec<crate::generation::Attempt>| {
        attempts.iter().any(|attempt| attempt.outcome == AttemptOutcome::Failed)
    };
    error.code.status().is_client_error() && error.told.attempts.as_ref().is_some_and(asked)
}

fn reused() -> ApiError {
    let detail = "this `Idempotency-Key` was sent with another request";
    let hint = "send a new key with a new request, or the very same request again";
    ApiError::new(Code::KeyReused, detail, hint).with_field("Idempotency-Key")
}

fn lock(running: &Running) -> MutexGuard<'_, HashMap<Name, First>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}
