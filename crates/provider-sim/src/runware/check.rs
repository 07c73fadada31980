//! What the value of a field has to be.

use serde_json::Value;

use super::error::TaskError;
use crate::image_in;

/// What the value of a field has to be.
#[derive(Debug)]
pub(super) enum Check {
    Int {
        min: u64,
        max: u64,
        step: u64,
    },
    Number {
        min: f64,
        max: f64,
    },
    Text {
        min: usize,
        max: usize,
    },
    OneOf(&'static [&'static str]),
    /// `OneOf` in any case.
    AnyCase(&'static [&'static str]),
    /// One of these, or something that begins with one that ends in `*`.
    Names(&'static [&'static str]),
    Flag,
    Uuid,
    Air,
    Url,
    Image,
    Object(&'static [(&'static str, Check)]),
    List {
        of: &'static Check,
        most: usize,
    },
    /// Whatever the model's own schema says.
    Any,
}

/// Whether a value is what it has to be.
pub(super) fn check(name: &str, value: &Value, wanted: &Check) -> Result<(), TaskError> {
    let refuse =
        |what: String| TaskError::parameter("invalid", name, format!("Invalid value for '{name}'. It must be {what}."));
    let text = value.as_str();
    let fits = match wanted {
        Check::Int { min, max, step } => {
            let fits = value.as_u64().is_some_and(|n| (*min..=*max).contains(&n) && n.is_multiple_of(*step));
            return if fits {
                Ok(())
            } else {
                let error = refuse(format!("an integer between {min} and {max} in multiples of {step}"));
                let error = error.with_bound("type", "integer").with_bound("min", *min).with_bound("max", *max);
                Err(if *step > 1 { error.with_bound("multiplier", *step) } else { error })
            };
        }
        Check::Number { min, max } => {
            let fits = value.as_f64().is_some_and(|n| (*min..=*max).contains(&n));
            return if fits {
                Ok(())
            } else {
                let error = refuse(format!("a number between {min} and {max}"));
                Err(error.with_bound("type", "float").with_bound("min", *min).with_bound("max", *max))
            };
        }
        Check::Text { min, max } => {
            let fits = text.is_some_and(|text| (*min..=*max).contains(&text.chars().count()));
            return if fits {
                Ok(())
            } else {
                let error = refuse(format!("a text of {min} to {max} characters"));
                Err(error.with_bound("type", "string").with_bound("min", *min).with_bound("max", *max))
            };
        }
        Check::Object(fields) => {
            let Some(object) = value.as_object() else {
                return Err(refuse("an object".to_owned()).with_bound("type", "object"));
            };
            for (key, value) in object {
                let inner = format!("{name}.{key}");
                match fields.iter().find(|(known, _)| known == key) {
                    Some((_, wanted)) => check(&inner, value, wanted)?,
                    None => return Err(TaskError::unknown_parameter(&inner)),
                }
            }
            return Ok(());
        }
        Check::List { of, most } => {
            let Some(items) = value.as_array().filter(|items| (1..=*most).contains(&items.len())) else {
                let error = refuse(format!("an array of 1 to {most} items"));
                return Err(error.with_bound("type", "array").with_bound("max", *most));
            };
            return items.iter().try_for_each(|item| check(name, item, of));
        }
        Check::OneOf(names) => text.is_some_and(|text| names.contains(&text)),
        Check::AnyCase(names) => text.is_some_and(|text| names.iter().any(|name| name.eq_ignore_ascii_case(text))),
        Check::Names(names) => text.is_some_and(|text| {
            names.iter().any(|name| name.strip_suffix('*').map_or(*name == text, |start| text.starts_with(start)))
        }),
        Check::Flag => value.is_boolean(),
        Check::Uuid => text.is_some_and(is_uuid),
        Check::Air => text.is_some_and(is_air),
        Check::Url => text.is_some_and(|text| text.starts_with("https://") || text.starts_with("http://")),
        Check::Image => text.is_some_and(|text| is_uuid(text) || image_in::read(text).is_some()),
        Check::Any => true,
    };
    let what = match wanted {
        Check::OneOf(names) | Check::AnyCase(names) | Check::Names(names) => format!("one of {}", names.join(", ")),
        Check::Flag => "true or false".to_owned(),
        Check::Uuid => "a UUID v4".to_owned(),
        Check::Air => "an AIR identifier (source:id@version)".to_owned(),
        Check::Url => "a URL".to_owned(),
        Check::Image => "an image as UUID, URL, data URI or base64".to_owned(),
        Check::Int { .. } | Check::Number { .. } | Check::Text { .. } | Check::Object(_) | Check::List { .. } => {
            String::new()
        }
        Check::Any => String::new(),
    };
    if fits { Ok(()) } else { Err(refuse(what)) }
}

pub(super) fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12] && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// `source:id@version`.
pub(super) fn is_air(text: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.split_once(':')
        .and_then(|(source, rest)| Some((source, rest.split_once('@')?)))
        .is_some_and(|(source, (id, version))| word(source) && word(id) && word(version))
}
