//! The syntax that weighs words: `(more)`, `[less]`, `(this much:1.3)`, `\(` for a bracket that is meant as one, and `BREAK`.
//!
//! Read as `parse_prompt_attention` of AUTOMATIC1111's web UI reads it (`modules/prompt_parser.py`), oddities included: a
//! bracket that nobody closes weighs everything after it, and one that nobody opened is a character.

/// What a round bracket multiplies by when it names no number, and a square one divides by.
const STEP: f64 = 1.1;
/// The word that begins a new chunk.
const BREAK: &str = "BREAK";

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Span {
    /// Words that weigh the same.
    Text {
        /// The words, without the syntax.
        text: String,
        /// How much they weigh; 1 is as they stand.
        weight: f64,
    },
    /// What follows begins a new chunk.
    Break,
}

/// Reads a prompt. Never empty, and no two texts with the same weight follow each other.
pub fn parse(prompt: &str) -> Vec<Span> {
    let mut reader = Reader::default();
    let mut rest = prompt;
    while !rest.is_empty() {
        rest = reader.token(rest);
    }
    reader.finish()
}

#[derive(Debug, Default)]
struct Reader {
    spans: Vec<Span>,
    /// Where each open bracket begins.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Reader {
    /// Takes the next token off a text that has one, and gives what is left.
    fn token<'a>(&mut self, text: &'a str) -> &'a str {
        if let Some(after) = text.strip_prefix('\\') {
            // A backslash makes a bracket or a backslash a character; before anything else it is nothing.
            let escaped = after.chars().next().filter(|c| matches!(c, '(' | ')' | '[' | ']' | '\\'));
            let Some(escaped) = escaped else {
                self.push("");
                return after;
            };
            let (escaped, rest) = after.split_at(escaped.len_utf8());
            self.push(escaped);
            return rest;
        }
        if let Some(rest) = text.strip_prefix('(') {
            self.round.push(self.spans.len());
            return rest;
        }
        if let Some(rest) = text.strip_prefix('[') {
            self.square.push(self.spans.len());
            return rest;
        }
        if let Some((weight, length)) = number(text) {
            let (token, rest) = text.split_at(length);
            match self.round.pop() {
                Some(start) => self.weigh(start, weight),
                None => self.text(token),
            }
            return rest;
        }
        for (bracket, is_round, factor) in [(')', true, STEP), (']', false, STEP.recip())] {
            let Some(rest) = text.strip_prefix(bracket) else { continue };
            match if is_round { self.round.pop() } else { self.square.pop() } {
                Some(start) => self.weigh(start, factor),
                None => self.text(&bracket.to_string()),
            }
            return rest;
        }
        // A colon that is no weight stands alone, everything else up to the next mark together.
        let end = text.char_indices().skip(1).find(|(_, c)| matches!(c, '\\' | '(' | ')' | '[' | ']' | ':'));
        let end = if text.starts_with(':') { 1 } else { end.map_or(text.len(), |(at, _)| at) };
        let (token, rest) = text.split_at(end);
        self.text(token);
        rest
    }

    /// A text that may hold breaks: the word alone, with the white space around it.
    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = next_break(rest) {
            let (before, after) = rest.split_at(at);
            self.push(before.trim_end());
            self.spans.push(Span::Break);
            rest = after.strip_prefix(BREAK).unwrap_or_default().trim_start();
        }
        self.push(rest);
    }

    fn push(&mut self, text: &str) {
        self.spans.push(Span::Text { text: text.to_owned(), weight: 1.0 });
    }

    fn weigh(&mut self, start: usize, factor: f64) {
        for span in self.spans.iter_mut().skip(start) {
            if let Span::Text { weight, .. } = span {
                *weight *= factor;
            }
        }
    }

    fn finish(mut self) -> Vec<Span> {
        for start in std::mem::take(&mut self.round) {
            self.weigh(start, STEP);
        }
        for start in std::mem::take(&mut self.square) {
            self.weigh(start, STEP.recip());
        }
        let mut merged = Vec::<Span>::with_capacity(self.spans.len());
        for span in self.spans {
            if let (Span::Text { text, weight }, Some(Span::Text { text: last, weight: same })) =
                (&span, merged.last_mut())
                && weight.total_cmp(same).is_eq()
            {
                last.push_str(text);
                continue;
            }
            merged.push(span);
        }
        if merged.is_empty() {
            merged.push(Span::Text { text: String::new(), weight: 1.0 });
        }
        merged
    }
}

/// A weight at the beginning of a text, `:1.3)` with spaces where they do not hurt, and how many bytes it takes.
fn number(text: &str) -> Option<(f64, usize)> {
    let inside = text.strip_prefix(':')?;
    let (written, _) = inside.split_once(')')?;
    let digits = written.trim().strip_prefix(['+', '-']).unwrap_or(written.trim());
    if digits.is_empty() || !digits.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return None;
    }
    Some((written.trim().parse().ok()?, written.len() + 2))
}

/// Where the next `BREAK` begins that is a word of its own.
fn next_break(text: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(BREAK).map(|(at, _)| at).find(|&at| {
        let (before, after) = text.split_at(at);
        let after = after.strip_prefix(BREAK).unwrap_or_default();
        !before.ends_with(is_word) && !after.starts_with(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::{Span, parse};

    /// The weighed texts; a break is empty and weighs -1.
    fn weighed(prompt: &str) -> Vec<(String, f64)> {
        let round = |weight: f64| (weight * 1e6).round() / 1e6;
        parse(prompt)
            .into_iter()
            .map(|span| match span {
                Span::Text { text, weight } => (text, round(weight)),
                Span::Break => (String::new(), -1.0),
            })
            .collect()
    }

    fn check(prompt: &str, expected: &[(&str, f64)]) {
        let expected: Vec<_> = expected.iter().map(|(text, weight)| ((*text).to_owned(), *weight)).collect();
        assert_eq!(weighed(prompt), expected, "{prompt}");
    }

    #[test]
    fn brackets_weigh() {
        check("a red cat", &[("a red cat", 1.0)]);
        check("a (red) cat", &[("a ", 1.0), ("red", 1.1), (" cat", 1.0)]);
        check("a ((red)) cat", &[("a ", 1.0), ("red", 1.21), (" cat", 1.0)]);
        check("a [red] cat", &[("a ", 1.0), ("red", 0.909_091), (" cat", 1.0)]);
        check("a (red:1.3) cat", &[("a ", 1.0), ("red", 1.3), (" cat", 1.0)]);
        check("a (red: 0.5 ) cat", &[("a ", 1.0), ("red", 0.5), (" cat", 1.0)]);
        check("(red:-1)", &[("red", -1.0)]);
        check("(a (red:2) cat:1.5)", &[("a ", 1.5), ("red", 3.0), (" cat", 1.5)]);
        check("([a])", &[("a", 1.0)]);
    }

    #[test]
    fn what_is_not_closed_weighs_to_the_end_and_what_is_not_opened_is_text() {
        check("a (red cat", &[("a ", 1.0), ("red cat", 1.1)]);
        check("a [red cat", &[("a ", 1.0), ("red cat", 0.909_091)]);
        check("a red) cat]", &[("a red) cat]", 1.0)]);
        check("red:1.3) cat", &[("red:1.3) cat", 1.0)]);
    }

    #[test]
    fn backslashes_make_brackets_characters() {
        check(r"\(red\) \[cat\] \\", &[(r"(red) [cat] \", 1.0)]);
        check(r"a\red", &[("ared", 1.0)]);
        check(r"(\(red\):1.2)", &[("(red)", 1.2)]);
    }

    #[test]
    fn numbers_that_are_none_are_text() {
        check("(red:blue)", &[("red:blue", 1.1)]);
        check("(red:1.2.3)", &[("red:1.2.3", 1.1)]);
        check("(red:)", &[("red:", 1.1)]);
        check("a:b", &[("a:b", 1.0)]);
        check("(red:.5)", &[("red", 0.5)]);
    }

    #[test]
    fn breaks_are_words_of_their_own() {
        check("a BREAK b", &[("a", 1.0), ("", -1.0), ("b", 1.0)]);
        check("aBREAK b", &[("aBREAK b", 1.0)]);
        check("(a BREAK b:1.5)", &[("a", 1.5), ("", -1.0), ("b", 1.5)]);
        check("BREAK", &[("", 1.0), ("", -1.0), ("", 1.0)]);
    }

    #[test]
    fn nothing_is_one_empty_text() {
        check("", &[("", 1.0)]);
        check("()", &[("", 1.0)]);
    }
}
