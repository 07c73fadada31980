//! Who watches the pictures of a batch: every request hears of its own alone.

use std::cell::RefCell;

use tch::Tensor;

use super::job::Member;
use super::{Maker, going_on};
use crate::pipelines::denoise::{Clean, Done, Watch, Watched};
use crate::{Error, Result};

/// Some pictures of a request that follow each other.
pub(super) struct Segment {
    /// Which of the members.
    pub member: usize,
    /// The place of the first in the request.
    pub first: u32,
    pub seeds: Vec<u64>,
}

/// Those who watch the pictures of a batch.
pub(super) struct Crowd<'c, 'a, M: Maker + ?Sized> {
    pub members: &'c RefCell<Vec<Member<'a, M>>>,
    pub segments: &'c [Segment],
}

/// Whether any of these members waits for what a call of the network would say. It is asked before each, as a step of many
/// calls is long.
pub(super) fn is_awaited<M: Maker + ?Sized>(members: &mut [Member<'_, M>], counts: &[(usize, usize)]) -> bool {
    let mut waits = false;
    for &(at, _) in counts {
        let Some(member) = members.get_mut(at).filter(|member| member.made.is_ok()) else { continue };
        match going_on(member.observer) {
            Ok(()) => waits = true,
            Err(error) => member.end(error),
        }
    }
    waits
}

impl<M: Maker + ?Sized> Crowd<'_, '_, M> {
    /// Calls `tell` for everyone who still waits, with the rows of what is theirs.
    fn each(&mut self, mut tell: impl FnMut(&mut Watched<'_>, i64, i64) -> Result<()>) {
        let mut members = self.members.borrow_mut();
        let mut row = 0;
        for segment in self.segments {
            let count = i64::try_from(segment.seeds.len()).unwrap_or(i64::MAX);
            if let Some(member) = members.get_mut(segment.member).filter(|member| member.made.is_ok())
                && let Err(error) = tell(&mut member.watched(segment.first), row, count)
            {
                member.end(error);
            }
            row += count;
        }
    }
}

impl<M: Maker + ?Sized> Watch for Crowd<'_, '_, M> {
    fn dump(&mut self, name: &str, tensor: &Tensor) -> Result<()> {
        self.each(|watched, row, count| watched.dump(name, &tensor.f_narrow(0, row, count)?));
        Ok(())
    }

    /// Goes on while anyone waits; rows of those who do not stay in the batch.
    fn step(&mut self, done: Done, clean: &mut Clean<'_>) -> Result<()> {
        let mut seen = None;
        self.each(|watched, row, count| {
            watched.step(Done { pictures: count, ..done }, &mut || {
                if seen.is_none() {
                    seen = Some(clean()?);
                }
                let own = seen.as_ref().and_then(Option::as_ref).map(|all| all.f_narrow(0, row, count));
                Ok(own.transpose()?)
            })
        });
        let members = self.members.borrow();
        let waits = |segment: &Segment| members.get(segment.member).is_some_and(|member| member.made.is_ok());
        if self.segments.iter().any(waits) { Ok(()) } else { Err(Error::cancelled()) }
    }
}
