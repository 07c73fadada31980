//! The forms in which a prompt or a picture is refused.

use super::inference::Flagged;

/// The codes of refusals that are errors, in the order of their forms.
const CODES: [&str; 9] = [
    "contentPolicyViolation",
    "invalidProviderContent",
    "providerContentPolicyViolation",
    "sensitiveContentDetected",
    "unsafeContentDetected",
    "nsfwContentDetected",
    "promptBlocked",
    "imageBlocked",
    "moderationFailed",
];

#[expect(clippy::cast_possible_truncation, reason = "the list above is short")]
const ERRORS: u8 = CODES.len() as u8;

/// An error with each of the codes, then an error on 200, then all pictures flagged, then only the last one.
pub(crate) const REFUSALS: u8 = ERRORS + 3;

/// What a refusal looks like.
pub(super) enum Refusal {
    None,
    Error {
        status: Option<u16>,
        form: u8,
    },
    /// The pictures are there, and paid for.
    Flag(Flagged),
}

impl Refusal {
    pub fn of(form: u8) -> Self {
        match (form % REFUSALS).checked_sub(ERRORS) {
            None => Self::Error { status: Some(400), form: form % REFUSALS },
            Some(0) => Self::Error { status: None, form: 0 },
            Some(1) => Self::Flag(Flagged::All),
            Some(_) => Self::Flag(Flagged::Last),
        }
    }
}

/// The code of a form that is an error.
pub(super) fn code(form: u8) -> &'static str {
    CODES.get(usize::from(form)).copied().unwrap_or("contentPolicyViolation")
}
