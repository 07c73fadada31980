//! Names of files that cannot lead out of their folder.

use std::fmt::Write as _;

use uuid::Uuid;

/// The longest name.
const LONGEST: usize = 120;

/// The name of a file in a store: 1 to 120 of `a-z`, `0-9`, `-`, `_` and `.`, and no dot in front.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// A name that came from elsewhere; `None` if it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        let is_one = (1..=LONGEST).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('.');
        is_one.then(|| Self(text.to_owned()))
    }

    /// The name for a digest.
    pub fn of_digest(digest: &[u8; 32]) -> Self {
        let mut name = String::with_capacity(64);
        for byte in digest {
            // Writing to a string cannot fail.
            let _ = write!(name, "{byte:02x}");
        }
        Self(name)
    }

    /// A name that nobody can guess: 244 random bits.
    pub fn unguessable() -> Self {
        Self(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    /// The same name with an ending such as `png`; `None` if that makes no name.
    pub fn with_ending(&self, ending: &str) -> Option<Self> {
        Self::parse(&format!("{}.{ending}", self.0))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
