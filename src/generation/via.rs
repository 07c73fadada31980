//! The way of a request through several Easels, so that two of them that name each other notice it.

use std::fmt;
use std::str::FromStr;

/// The ids of the Easels that a request has come through, in order; each process has one of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Via(Vec<String>);

/// The text is no list of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a way is a list of ids of letters, digits and hyphens with commas between them")]
pub struct MalformedVia;

impl Via {
    /// The header that carries it from one Easel to the next.
    pub const HEADER: &'static str = "x-easel-via";

    /// More Easels than these one after the other are a mistake.
    pub const MOST: usize = 4;

    /// Longest id.
    const LONGEST: usize = 64;

    /// Whether it leads through this one.
    pub fn contains(&self, id: &str) -> bool {
        self.0.iter().any(|known| known == id)
    }

    /// How many Easels it leads through.
    pub fn hops(&self) -> usize {
        self.0.len()
    }

    /// The same way, gone on to this one.
    #[must_use]
    pub fn through(mut self, id: &str) -> Self {
        self.0.push(id.to_owned());
        self
    }
}

impl FromStr for Via {
    type Err = MalformedVia;

    fn from_str(text: &str) -> Result<Self, MalformedVia> {
        let is_id = |id: &&str| {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            !id.is_empty() && id.len() <= Self::LONGEST && id.bytes().all(is_plain)
        };
        let ids = text.split(',').map(str::trim);
        ids.map(|id| Some(id).filter(is_id).map(str::to_owned).ok_or(MalformedVia)).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{MalformedVia, Via};

    #[test]
    fn a_way_is_written_as_it_is_read() {
        let way: Via = "a-1,b ,  c".parse().unwrap();
        assert_eq!((way.hops(), way.to_string()), (3, "a-1, b, c".to_owned()));
        assert!(way.contains("b") && !way.contains("d"));
        let further = way.through("d");
        assert_eq!(further.to_string().parse(), Ok(further));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "a,,b", "a b", "a\r\nx: y", "ä", &"x".repeat(65)] {
            assert_eq!(text.parse::<Via>(), Err(MalformedVia), "{text}");
        }
    }
}
