//! Request fields: their types on the wire, and what is said when one cannot be.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::{ApiError, Code};
use crate::nearest::nearest;

/// A whole number, also when written `4.0`; beyond 64 bits it is the nearest that fits, which no limit lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole(pub(super) i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Whole, E> {
                Ok(Whole(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole(i64::try_from(value).unwrap_or(i64::MAX)))
            }

            #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what is wanted")]
            fn visit_f64<E: Error>(self, value: f64) -> Result<Whole, E> {
                if value.fract() == 0.0 { Ok(Whole(value as i64)) } else { Err(E::custom("must be a whole number")) }
            }
        }
        deserializer.deserialize_any(Number)
    }
}

/// A field that this build does not read: whether it holds anything is all that is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// An empty list.
    Empty,
    /// Anything else.
    Given,
}

impl<'de> Deserialize<'de> for Unread {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Unread;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_bool<E: Error>(self, _: bool) -> Result<Unread, E> {
                Ok(Unread::Given)
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<Unread, E> {
                Ok(Unread::Given)
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<Unread, E> {
                Ok(Unread::Given)
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Unread, E> {
                Ok(Unread::Given)
            }

            fn visit_str<E: Error>(self, _: &str) -> Result<Unread, E> {
                Ok(Unread::Given)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unread, A::Error> {
                let mut seen = Unread::Empty;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    seen = Unread::Given;
                }
                Ok(seen)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unread, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Unread::Given)
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

/// What serde says about a field that does not fit, in our words and without repeating the value.
pub(super) fn refused(field: &str, message: &str) -> ApiError {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let hint = "the schema of the body is under /swagger-ui/";
    if let (true, [name, known @ ..]) = (message.starts_with("unknown field"), names.as_slice()) {
        let hint = nearest(name, known.iter().copied())
            .map_or_else(|| format!("known fields: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
        return ApiError::new(Code::UnknownField, format!("`{name}` is not a field of this request"), hint)
            .with_field(*name);
    }
    if let (true, Some(name)) = (message.starts_with("missing field"), names.first()) {
        return ApiError::new(Code::MissingField, format!("`{name}` is missing"), hint).with_field(*name);
    }
    if let (true, Some(name)) = (message.starts_with("duplicate field"), names.first()) {
        let detail = format!("`{name}` is given more than once");
        return ApiError::new(Code::ConflictingFields, detail, "give it once").with_field(*name);
    }
    let expected = message.rsplit_once(", expected ").map(|(_, expected)| expected);
    let expected = expected.map(|expected| expected.split(" at line ").next().unwrap_or(expected));
    let expected = match expected {
        Some("f64") => "a number",
        Some(expected) => expected.strip_prefix("one of ").unwrap_or(expected),
        None if message.contains("whole number") => "a whole number",
        None => "something else",
    };
    ApiError::new(Code::InvalidField, format!("`{field}` must be {expected}"), hint).with_field(field)
}

/// A field whose value is out of its range.
pub(super) fn invalid(field: &str, must: &str) -> ApiError {
    let hint = format!("`{field}` must be {must}");
    ApiError::new(Code::InvalidField, format!("`{field}` cannot be that"), hint).with_field(field)
}
