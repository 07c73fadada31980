//! The memory of one phase while it computes: set aside when it begins, measured when it ends.

use tch::Device;

use super::free::Resident;
use super::known::Key;
use super::learned::Subject;
use super::ledger::Ledger;
use super::plan::{Phase, Thrift};
use super::shelf::Room;
use super::{Built, Pool};
use crate::Result;

/// A phase that is under way.
#[derive(Debug)]
pub struct Computing {
    pool: Pool,
    subject: Subject,
    estimate: u64,
    /// What there was when it began: the process's memory, and the networks' share of it. A GPU is not measured.
    before: Option<(Resident, u64)>,
    room: Option<Room<Key, Built>>,
}

impl Computing {
    pub(super) fn begin(pool: &Pool, phase: &Phase, thrift: Thrift) -> Result<Self> {
        let (subject, estimate) = (phase.subject(), phase.computing(thrift));
        let bytes = pool.learned.borrow().correct(&subject, estimate);
        let room = pool.shelf.room(bytes).map_err(|shortage| pool.no_room(phase.kind.words(), shortage))?;
        let marked = if pool.device == Device::Cpu { Resident::mark() } else { None };
        let before = marked.map(|resident| (resident, pool.held()));
        pool.tell();
        Ok(Self { pool: pool.clone(), subject, estimate, before, room: Some(room) })
    }
}

impl Drop for Computing {
    fn drop(&mut self) {
        drop(self.room.take());
        self.pool.tell();
        let Some(((before, held), now)) = self.before.zip(Resident::now()) else {
            return;
        };
        // Networks that were loaded meanwhile are not what computing takes.
        let loaded = self.pool.held().saturating_sub(held);
        let measured = before.grown(now).saturating_sub(loaded);
        self.pool.learned.borrow_mut().note(self.subject.clone(), self.estimate, measured);
        tracing::debug!(phase = ?self.subject.0, estimate = self.estimate, measured, "phase done");
    }
}

impl Pool {
    fn held(&self) -> u64 {
        self.shelf.with(Ledger::held)
    }
}

impl Phase {
    /// What its estimate is for.
    pub(super) fn subject(&self) -> Subject {
        let kind = self.needs.iter().max_by_key(|need| need.bytes.max(need.mapped)).map(|need| need.kind);
        (self.kind, self.class().to_owned(), kind.unwrap_or(tch::Kind::Float))
    }
}
