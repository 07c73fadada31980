//! One attempt at a task: sent once at most, and never again while its fate is unknown. What became of a request whose
//! answer was lost is asked for by the task's identity, which costs nothing.
//!
//! A task that the vendor does not know is sent under the *same* identity by the next attempt: should the first request
//! turn up after all, the vendor can tell that both are one. Requests for pictures are counted as upstream calls;
//! look-ups are not, and are bounded by their pauses and by the attempt's time.

use std::time::Duration;

use reqwest::StatusCode;

use super::answer::{self, Answer, Reading};
use super::client::{Client, Lost, Reply};
use super::error;
use super::gathered::Gathered;
use super::open_tasks::Open;
use super::wire::{self, Task};
use crate::generation::GenerationRequest;
use crate::providers::{Call, Error, ErrorKind, Recovery};

/// Pauses between look-ups: the first one, by how much each is longer than the one before, and the longest.
const PAUSES: (Duration, f64, Duration) = (Duration::from_secs(1), 1.5, Duration::from_secs(10));
/// Look-ups that may fail in a row while it is not even known that the task arrived.
const MAX_FAILURES: u32 = 2;
/// Look-ups in a row that may bring nothing of a task that did arrive.
const MAX_SILENCE: u32 = 4;

/// One attempt.
pub(super) struct Attempt<'a> {
    pub client: &'a Client,
    pub task: &'a Task,
    pub request: &'a GenerationRequest,
    pub call: &'a Call,
}

/// What became of the one request for pictures.
enum Posted {
    /// This is all there is to it.
    Answered(Gathered),
    /// The task is known and under way.
    Accepted(Gathered),
    /// The vendor has seen the task's identity before.
    SeenBefore(Error),
    /// There is nothing to look for.
    Over(Error),
    /// It may have run.
    Lost(Error),
}

impl Attempt<'_> {
    /// Everything that came of the task. It stays open on an error.
    pub(super) async fn run(&self, open: &mut Open) -> Result<Gathered, Error> {
        if open.was_sent()
            && let Some(gathered) = self.follow(open, false, Gathered::default()).await?
        {
            return Ok(gathered);
        }
        let is_first = !open.was_sent();
        match self.post(open).await? {
            Posted::Answered(gathered) => Ok(gathered),
            Posted::Accepted(gathered) => Ok(self.follow(open, true, gathered).await?.unwrap_or_default()),
            Posted::Over(error) => Err(error),
            // The loss says more than whatever kept it from being looked up.
            Posted::Lost(error) => match self.follow(open, false, Gathered::default()).await {
                Ok(Some(gathered)) => Ok(gathered),
                Ok(None) | Err(_) => Err(error),
            },
            // Seen before, says the vendor: by an earlier attempt, which did arrive then, or else by a mistake.
            Posted::SeenBefore(error) if is_first => {
                let found = self.follow(open, false, Gathered::default()).await?;
                if found.is_none() {
                    open.close();
                }
                found.ok_or(error)
            }
            Posted::SeenBefore(error) => self.follow(open, true, Gathered::default()).await?.ok_or(error),
        }
    }

    async fn post(&self, open: &mut Open) -> Result<Posted, Error> {
        let body = self.task.body(open.id())?;
        let read_as = reading(open, false);
        let is_first = !open.was_sent();
        open.sending();
        self.call.count_upstream_call();
        let Reply { status, retry_after, body } = match self.client.post(body, open.key()).await {
            Ok(reply) => reply,
            Err(Lost { error, leaves_doubt: true }) => return Ok(Posted::Lost(error)),
            Err(Lost { error, leaves_doubt: false }) => {
                if is_first {
                    open.close();
                }
                return Ok(Posted::Over(error));
            }
        };
        let answer = match answer::read(body, read_as).await {
            Ok(answer) => answer,
            Err(error) if status.is_success() => return Ok(Posted::Lost(error)),
            Err(_) => Answer::default(),
        };
        let is_running = answer.is_running;
        let mut gathered = Gathered { status, retry_after, ..Gathered::default() };
        gathered.add(answer);
        if gathered.is_complete(self.request.count) {
            return Ok(Posted::Answered(gathered));
        }
        if let Some(error) = gathered.failure() {
            if gathered.failures.iter().any(error::Failure::is_conflict) {
                return Ok(Posted::SeenBefore(error));
            }
            let may_have_run = status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT;
            let may_pass = error.recovery() == Recovery::Retry;
            return Ok(if may_have_run && may_pass { Posted::Lost(error) } else { Posted::Answered(gathered) });
        }
        Ok(if is_running { Posted::Accepted(gathered) } else { Posted::Answered(gathered) })
    }

    /// Asks for the task until all of it is there; `None` when the vendor does not know it. `is_known` says that it
    /// does.
    async fn follow(&self, open: &Open, mut is_known: bool, mut gathered: Gathered) -> Result<Option<Gathered>, Error> {
        let (mut pause, factor, longest) = PAUSES;
        let (mut failures, mut silence) = (0, 0);
        let mut looks_at_once = !is_known;
        loop {
            if !std::mem::take(&mut looks_at_once) {
                if self.call.remaining() <= pause {
                    return Err(Error::new(ErrorKind::Timeout, "the provider was not done in time"));
                }
                tokio::time::sleep(pause).await;
                pause = pause.mul_f64(factor).min(longest);
            }
            match self.look_up(open).await {
                Ok(Some(answer)) => {
                    (is_known, failures) = (true, 0);
                    let is_running = answer.is_running;
                    let is_over = answer.empty > 0 && !is_running;
                    let brought = gathered.add(answer);
                    if is_over || gathered.is_complete(self.request.count) || !gathered.failures.is_empty() {
                        return Ok(Some(gathered));
                    }
                    silence = if is_running || brought { 0 } else { silence + 1 };
                }
                Ok(None) if !is_known => return Ok(None),
                Ok(None) => silence += 1,
                Err(error) => {
                    failures += 1;
                    let may_pass = error.recovery() == Recovery::Retry;
                    if !may_pass || (!is_known && failures >= MAX_FAILURES) {
                        return Err(error);
                    }
                }
            }
            if silence >= MAX_SILENCE {
                return Ok(Some(gathered));
            }
        }
    }

    /// What the vendor knows of the task: of one that is under way, else of one that is over. `None`: nothing.
    async fn look_up(&self, open: &Open) -> Result<Option<Answer>, Error> {
        for body in [wire::get_response(open.id())?, wire::get_task_details(open.id())?] {
            let Reply { status, retry_after, body } =
                self.client.post(body, open.key()).await.map_err(|lost| lost.error)?;
            let mut answer = match answer::read(body, reading(open, true)).await {
                Ok(answer) => answer,
                Err(error) if status.is_success() => return Err(error),
                Err(_) => Answer::default(),
            };
            let says_unknown = answer.failures.iter().any(error::Failure::says_unknown);
            answer.failures.retain(|failure| !failure.says_unknown());
            if answer.is_about_task() {
                return Ok(Some(answer));
            }
            let may_not_know = status.is_success()
                || matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY);
            if !answer.failures.is_empty() || !(says_unknown || may_not_know) {
                return Err(error::of_answer(status, &answer.failures, retry_after, None));
            }
        }
        Ok(None)
    }
}

fn reading(open: &Open, is_look_up: bool) -> Reading {
    Reading { task: open.id(), is_look_up, key: open.key().clone() }
}
