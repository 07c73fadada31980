//! The single answer to "can this provider make a picture now".

/// What `is_available` says: deterministic in configuration and observed state, and found out without I/O.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// It can.
    Available,
    /// It cannot.
    Unavailable {
        /// A stable category for machines (`no_key`, `engine_restarting`, …).
        reason: &'static str,
        /// What is the matter, for people: lower case, no full stop.
        detail: String,
        /// What to do about it: which variable to set, which command to run.
        remedy: String,
    },
}

impl Availability {
    /// Whether a picture can be made now.
    pub fn is_available(&self) -> bool {
        matches!(self, Self::Available)
    }
}
