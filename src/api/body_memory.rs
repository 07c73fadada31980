//! The memory that all request bodies together may take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const UNIT: usize = 1024;

/// What is left of it.
#[derive(Debug, Clone)]
pub struct BodyMemory(Arc<Semaphore>);

/// A share of it, given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    all: BodyMemory,
    permit: Option<OwnedSemaphorePermit>,
}

impl BodyMemory {
    /// So many bytes, in steps of a KiB.
    pub fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new((bytes / UNIT).min(Semaphore::MAX_PERMITS))))
    }

    /// Nothing yet.
    pub(super) fn share(&self) -> Share {
        Share { all: self.clone(), permit: None }
    }
}

impl Share {
    /// Takes what a body of `total` bytes needs; false if there is not enough left.
    pub(super) fn grow_to(&mut self, total: usize) -> bool {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Ok(more) = u32::try_from(total.div_ceil(UNIT).saturating_sub(held)) else { return false };
        if more == 0 {
            return true;
        }
        let Ok(permit) = Arc::clone(&self.all.0).try_acquire_many_owned(more) else { return false };
        match &mut self.permit {
            Some(held) => held.merge(permit),
            None => self.permit = Some(permit),
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_body_holds_another_cannot_and_it_comes_back() {
        let memory = BodyMemory::new(10 * UNIT);
        let mut first = memory.share();
        assert!(first.grow_to(1) && first.grow_to(8 * UNIT));
        let mut second = memory.share();
        assert!(second.grow_to(2 * UNIT));
        assert!(!second.grow_to(2 * UNIT + 1));
        drop(first);
        assert!(second.grow_to(10 * UNIT));
    }
}
