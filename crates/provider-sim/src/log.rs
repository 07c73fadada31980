//! What was asked, as far as it is remembered.

use std::collections::VecDeque;
use std::sync::Mutex;

use crate::state::lock;
use crate::{Request, Vendor};

/// Requests that are remembered, and bytes of all their bodies; the oldest ones are forgotten. The last one stays,
/// whatever its size.
const REQUESTS: usize = 1_000;
const BYTES: usize = 16 << 20;

/// What was asked, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requests: VecDeque<(Vendor, Request)>,
    bytes: usize,
}

impl Log {
    pub fn add(&self, vendor: Vendor, request: &Request) {
        let mut inner = lock(&self.0);
        inner.bytes += request.body.len();
        inner.requests.push_back((vendor, request.clone()));
        while inner.requests.len() > 1 && (inner.requests.len() > REQUESTS || inner.bytes > BYTES) {
            if let Some((_, oldest)) = inner.requests.pop_front() {
                inner.bytes -= oldest.body.len();
            }
        }
    }

    /// Those of one vendor, or of all.
    pub fn read(&self, vendor: Option<Vendor>) -> Vec<Request> {
        let inner = lock(&self.0);
        let wanted = inner.requests.iter().filter(|(whose, _)| vendor.is_none_or(|vendor| vendor == *whose));
        wanted.map(|(_, request)| request.clone()).collect()
    }

    pub fn clear(&self) {
        *lock(&self.0) = Inner::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_large_is_forgotten_sooner_and_the_last_one_is_not() {
        let log = Log::default();
        let request = |length: usize| Request {
            method: "POST".to_owned(),
            path: length.to_string(),
            headers: Vec::new(),
            body: vec![0; length],
        };
        (0..3).for_each(|_| log.add(Vendor::OpenAi, &request(BYTES / 2)));
        assert_eq!(log.read(None).len(), 2);
        log.add(Vendor::Gemini, &request(BYTES + 1));
        log.add(Vendor::Gemini, &request(3));
        assert_eq!(log.read(None).iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["3"]);
        (0..2_000).for_each(|_| log.add(Vendor::Runware, &request(1)));
        assert_eq!((log.read(None).len(), log.read(Some(Vendor::OpenAi)).len()), (REQUESTS, 0));
    }
}
