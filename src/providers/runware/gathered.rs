//! What has come of a task so far, over one answer or several, and what becomes of it.

use std::num::NonZeroU32;
use std::time::Duration;

use reqwest::StatusCode;

use super::answer::{Answer, Made};
use super::error::{self, Failure};
use crate::generation::Seed;
use crate::providers::Error;

/// Results and errors of one task.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// Its results, in the order in which they came.
    pub made: Vec<Made>,
    /// What went wrong with it.
    pub failures: Vec<Failure>,
    /// The status of the answer to the task itself; 200 where it was looked up.
    pub status: StatusCode,
    /// When to come back, where the answer says so.
    pub retry_after: Option<Duration>,
}

impl Gathered {
    /// Adds what an answer says; whether it brought a result that was not there yet.
    pub(super) fn add(&mut self, answer: Answer) -> bool {
        let before = self.made.len();
        for made in answer.made {
            let is_known = made.id.is_some() && self.made.iter().any(|known| known.id == made.id);
            if !is_known {
                self.made.push(made);
            }
        }
        self.failures.extend(answer.failures);
        self.made.len() > before
    }

    /// Whether as many results are there as were asked for.
    pub(super) fn is_complete(&self, count: NonZeroU32) -> bool {
        self.made.len() >= count.get() as usize
    }

    /// The error that it is, where it is one.
    pub(super) fn failure(&self) -> Option<Error> {
        let failed = !self.failures.is_empty() || !self.status.is_success();
        failed.then(|| error::of_answer(self.status, &self.failures, self.retry_after, self.charged()))
    }

    /// What was charged, as far as it was said.
    pub(super) fn charged(&self) -> Option<f64> {
        self.made.iter().filter_map(|made| made.cost).reduce(|sum, cost| sum + cost)
    }

    /// What all of it cost; `None` unless every result says so, since a part of the truth would pass for the whole.
    pub(super) fn cost(&self) -> Option<f64> {
        self.made.iter().map(|made| made.cost).sum::<Option<f64>>().filter(|_| !self.made.is_empty())
    }

    /// Puts results into the order of their seeds, which with a seed of the caller's is the order of the pictures;
    /// without one, or where a result does not tell its own, they stay as they came.
    pub(super) fn order_by_seed(&mut self, asked: Option<Seed>) {
        if asked.is_some() && self.made.iter().all(|made| made.seed.is_some()) {
            self.made.sort_by_key(|made| made.seed);
        }
    }
}
