//! The answer as events: partial pictures, then each picture whole.

use super::asked::Asked;
use super::error::VendorError;
use super::output::{created, described, usage};
use crate::http::Reply;
use crate::pictures::Item;
use crate::{Behaviour, Fault};

/// The events. A fault that spoils pictures spoils the last event; one that leaves none out leaves it out.
pub(super) fn events(asked: &Asked, items: &[Item], behaviour: &Behaviour, fault: Option<Fault>) -> Reply {
    let kind = if asked.is_edit { "image_edit" } else { "image_generation" };
    let (partial, completed) = (format!("{kind}.partial_image"), format!("{kind}.completed"));
    let mut events: Vec<(Option<&str>, String)> = Vec::new();
    let data = |kind: &str, item: &Item, further: &str| {
        let picture = match item {
            Item::Base64(text) => format!(r#""b64_json":"{text}","#),
            Item::Address(url) => format!(r#""url":"{url}","#),
            Item::Nothing => String::new(),
        };
        format!(r#"{{"type":"{kind}",{picture}"created_at":{},{}{further}}}"#, created(), described(asked))
    };
    let error = match fault {
        Some(Fault::ErrorIn200) => Some(VendorError::of_status(500)),
        fault => fault.and_then(Fault::refusal).map(VendorError::refused),
    };
    // An error in the middle needs a middle.
    let partials = if error.is_some() { asked.partials.max(1) } else { asked.partials };
    for index in 0..partials {
        let item = items.first().unwrap_or(&Item::Nothing);
        let further = format!(r#","partial_image_index":{index}"#);
        events.push((Some(&partial), data(&partial, item, &further)));
    }
    if let Some(error) = error {
        events.truncate(1);
        events.push((Some("error"), error.body(behaviour.shape).to_string()));
        return Reply::events(events);
    }
    let none = matches!(fault, Some(Fault::NoPicture(_)));
    for item in items.iter().filter(|_| !none) {
        let further = format!(r#","usage":{}"#, usage(asked, 1));
        events.push((Some(&completed), data(&completed, item, &further)));
    }
    if behaviour.shape > 0 {
        events.push((None, "[DONE]".to_owned()));
    }
    Reply::events(events)
}
