//! What the handlers and layers of all workers share.

use std::sync::Arc;
use std::time::Duration;

use super::auth::Admin;
use super::body_memory::BodyMemory;
use super::hosts::Hosts;
use super::idempotency::Answers;
use super::in_flight::InFlight;
use super::pictures::Pictures;
use super::rate_limit::RateLimit;
use crate::fetch::Fetcher;
use crate::gateway::Gateway;
use crate::metrics::Metrics;

/// Everything that a request meets.
pub struct State {
    /// The id of this very process, by which it knows a request that comes back to it.
    pub instance: String,
    /// Decides and does.
    pub gateway: Gateway,
    /// Fetches the pictures that a request names by URL.
    pub fetcher: Arc<Fetcher>,
    /// How much one request may ask.
    pub bounds: Bounds,
    /// Who may use an administrator's route.
    pub admin: Admin,
    /// Which names a request may be made to.
    pub hosts: Hosts,
    /// How often one caller may ask.
    pub rate_limit: RateLimit,
    /// The memory that bodies may take.
    pub body_memory: BodyMemory,
    /// Answers for whoever asks again.
    pub answers: Answers,
    /// Pictures for whoever asked for their addresses.
    pub pictures: Pictures,
    /// What runs now.
    pub in_flight: Arc<InFlight>,
    /// What is counted.
    pub metrics: Metrics,
}

/// How much one request may ask.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Longest JSON body in bytes.
    pub json_limit: usize,
    /// Time for a whole body.
    pub body_timeout: Duration,
    /// Pictures in one request.
    pub max_images: u32,
    /// Reference images in one request.
    pub max_reference_images: usize,
    /// Characters of a prompt.
    pub max_prompt_chars: usize,
    /// Whether prompts go to the log.
    pub log_prompts: bool,
}
