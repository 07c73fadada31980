//! Server-sent events, put together from whatever pieces they come in.
//! <https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>
//!
//! Only events that a blank line has ended are handed out; ids and retry times are not kept, since nothing is resumed.

use crate::providers::{Error, ErrorKind};

/// Reads events. Holds no more than one unfinished event, which has an upper bound.
#[derive(Debug)]
pub struct Events {
    /// Longest event in bytes, its field names included.
    most: usize,
    /// What came and was not read yet: the beginning of a line.
    unread: Vec<u8>,
    /// How much of it is known to hold no end of line.
    searched: usize,
    /// Whether the last line ended with a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    /// Whether anything was read: only the very first bytes may be a mark of the byte order.
    started: bool,
    name: String,
    data: Vec<u8>,
    has_data: bool,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name; empty where it has none.
    pub name: String,
    /// Its data.
    pub data: Vec<u8>,
}

impl Events {
    /// A reader of events of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            unread: Vec::new(),
            searched: 0,
            after_return: false,
            started: false,
            name: String::new(),
            data: Vec::new(),
            has_data: false,
        }
    }

    /// Takes the next piece of the stream and returns the events that it completes.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when an event is longer than allowed.
    pub fn push(&mut self, piece: &[u8]) -> Result<Vec<Event>, Error> {
        self.unread.extend_from_slice(piece);
        let mut events = Vec::new();
        let mut start = 0;
        while let Some(length) = self.line(start) {
            let line = self.unread.get(start..start + length).unwrap_or_default();
            let end = self.unread.get(start + length).copied();
            let is_first = !std::mem::replace(&mut self.started, true);
            // The second half of a line end that came in two.
            let is_rest = std::mem::replace(&mut self.after_return, end == Some(b'\r')) && line.is_empty();
            if !(is_rest && end == Some(b'\n')) {
                let line = if is_first { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
                if line.is_empty() {
                    events.extend(take(&mut self.name, &mut self.data, &mut self.has_data));
                } else {
                    read(line, &mut self.name, &mut self.data, &mut self.has_data);
                }
            }
            start += length + 1;
            self.searched = 0;
        }
        self.unread.drain(..start);
        self.searched = self.unread.len();
        if self.data.len() + self.unread.len() > self.most {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("an event of the provider's answer is longer than {} bytes", self.most),
            ));
        }
        Ok(events)
    }

    /// How long the line at `start` is, if its end is there.
    fn line(&self, start: usize) -> Option<usize> {
        let from = start + self.searched;
        let found = memchr::memchr2(b'\n', b'\r', self.unread.get(from..)?)?;
        Some(self.searched + found)
    }
}

/// What a blank line ends; an event without data is none.
fn take(name: &mut String, data: &mut Vec<u8>, has_data: &mut bool) -> Option<Event> {
    let (name, data) = (std::mem::take(name), std::mem::take(data));
    std::mem::take(has_data).then_some(Event { name, data })
}

/// Reads one line that is not blank.
fn read(line: &[u8], name: &mut String, data: &mut Vec<u8>, has_data: &mut bool) {
    let (field, value) = match memchr::memchr(b':', line) {
        // A comment: `: keep-alive`.
        Some(0) => return,
        Some(colon) => (line.get(..colon).unwrap_or_default(), line.get(colon + 1..).unwrap_or_default()),
        None => (line, [].as_slice()),
    };
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match field {
        b"event" => *name = String::from_utf8_lossy(value).into_owned(),
        b"data" => {
            if std::mem::replace(has_data, true) {
                data.push(b'\n');
            }
            data.extend_from_slice(value);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Event, Events};
    use crate::providers::ErrorKind;

    fn event(name: &str, data: &str) -> Event {
        Event { name: name.to_owned(), data: data.as_bytes().to_vec() }
    }

    fn all(text: &str) -> Vec<Event> {
        Events::new(1 << 20).push(text.as_bytes()).unwrap()
    }

    #[test]
    fn events_are_read_as_the_standard_says() {
        let cases: [(&str, Vec<Event>); 12] = [
            ("event: a\ndata: 1\n\n", vec![event("a", "1")]),
            ("data:1\r\ndata: 2\r\n\r\n", vec![event("", "1\n2")]),
            ("data: 1\rdata:  2\r\rdata: 3\r\r", vec![event("", "1\n 2"), event("", "3")]),
            ("\u{feff}data: 1\n\n", vec![event("", "1")]),
            ("data: \u{feff}1\n\n\u{feff}data: 2\n\n", vec![event("", "\u{feff}1")]),
            (": comment\n\n:\n\ndata: 1\n: within\n\n", vec![event("", "1")]),
            ("event: a\n\ndata: 1\n\n", vec![event("", "1")]),
            ("data\n\ndata:\ndata\n\n", vec![event("", ""), event("", "\n")]),
            ("id: 7\nretry: 9\nfield: x\ndata: {\"a\": \"b: c\"}\n\n", vec![event("", "{\"a\": \"b: c\"}")]),
            ("data: [DONE]\n\n", vec![event("", "[DONE]")]),
            ("data: 1\n\ndata: cut off\n", vec![event("", "1")]),
            ("\n\n\r\n\r\r", Vec::new()),
        ];
        for (text, expected) in cases {
            assert_eq!(all(text), expected, "{text:?}");
        }
    }

    #[test]
    fn an_event_without_end_is_not_collected_forever() {
        for line in ["data: xxxxxxxxx\n", "xxxxxxxxx", "data: x"] {
            let mut events = Events::new(1000);
            let failed = (0..1000).find_map(|_| events.push(line.as_bytes()).err());
            assert_eq!(failed.map(|error| error.kind()), Some(ErrorKind::Protocol), "{line:?}");
        }
        let mut events = Events::new(100);
        for _ in 0..1000 {
            assert_eq!(events.push(b"data: 1\n\n").unwrap(), [event("", "1")]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn the_pieces_do_not_matter(
            lines in prop::collection::vec(("(event|data|id|)", "[ :a-c\u{e4}]{0,6}", "(\n|\r|\r\n)"), 0..24),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut text = String::new();
            for (field, value, end) in &lines {
                if !field.is_empty() {
                    text.extend([field.as_str(), ":", value.as_str()]);
                }
                text.push_str(end);
            }
            let bytes = text.as_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut events = Events::new(1 << 20);
            let mut found = Vec::new();
            for pair in cuts.windows(2) {
                found.extend(events.push(&bytes[pair[0]..pair[1]]).unwrap());
            }
            prop_assert_eq!(found, all(&text));
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..32), 0..8)) {
            let mut events = Events::new(64);
            for piece in pieces {
                if events.push(&piece).is_err() {
                    break;
                }
            }
        }
    }
}
