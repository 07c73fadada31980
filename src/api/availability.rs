//! How an answer says whether a provider can make a picture now. It decides nothing.

use serde::Serialize;
use utoipa::ToSchema;

use crate::generation::Availability;

/// Whether a provider can make a picture now, and why not where not.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AvailabilityView {
    /// Whether it can make a picture now.
    pub available: bool,
    /// Why not, for people.
    #[schema(required)]
    pub reason: Option<String>,
    /// Why not, for machines: a stable category.
    #[schema(required)]
    pub reason_code: Option<&'static str>,
    /// What to do about it.
    #[schema(required)]
    pub setup: Option<String>,
}

impl From<Availability> for AvailabilityView {
    fn from(availability: Availability) -> Self {
        match availability {
            Availability::Available => Self { available: true, reason: None, reason_code: None, setup: None },
            Availability::Unavailable { reason, detail, remedy } => {
                Self { available: false, reason: Some(detail), reason_code: Some(reason), setup: Some(remedy) }
            }
        }
    }
}
