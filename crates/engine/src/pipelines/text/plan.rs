//! A prompt as one encoder takes it: rows of ids, and how much each token weighs.

use easel_engine_protocol::Options;

use crate::Result;
use crate::prompt::{self, Chunk, ChunkRules, Piece, Span};
use crate::tokenizer::ClipTokenizer;

/// Words that may move to the next chunk for it to begin after a comma: the web UI's own default.
const BACKTRACK: usize = 20;

/// What is asked of prompts beside the plain recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Prompts that do not fit go on in further rows.
    pub long: bool,
    /// Brackets weigh words.
    pub weights: bool,
}

/// A prompt for one encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What is encoded, row by row; the states are laid one after the other.
    pub rows: Vec<Row>,
    /// What did not fit, for people.
    pub left_out: Option<String>,
}

/// Ids of the encoder's length.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Begin, words, end, padding.
    pub ids: Vec<i64>,
    /// How much each weighs; `None` where all weigh the same.
    pub weights: Option<Vec<f32>>,
}

impl Reading {
    /// What a request asks for.
    pub fn of(options: &Options) -> Self {
        Self { long: options.long_prompts, weights: options.prompt_weights }
    }

    /// A prompt for the encoder behind this tokenizer.
    pub fn plan(self, prompt: &str, tokenizer: &ClipTokenizer) -> Result<Plan> {
        if !self.long && !self.weights {
            let encoded = tokenizer.encode(prompt)?;
            let left_out = encoded.truncated.map(|text| format!("\"{text}\" is"));
            return Ok(Plan { rows: vec![Row { ids: encoded.ids, weights: None }], left_out });
        }
        let spans = if self.weights {
            prompt::parse(prompt)
        } else {
            vec![Span::Text { text: prompt.to_owned(), weight: 1.0 }]
        };
        let mut pieces = Vec::with_capacity(spans.len());
        for span in spans {
            match span {
                Span::Text { text, weight } => pieces.push(Piece::Tokens(tokenizer.words(&text)?, weight)),
                // Where there is one row, a break is nothing.
                Span::Break if self.long => pieces.push(Piece::Break),
                Span::Break => {}
            }
        }
        // What is cut off is cut where the row is full, whatever commas there are.
        let backtrack = if self.long { BACKTRACK } else { 0 };
        let rules = ChunkRules { words: tokenizer.most_words(), comma: tokenizer.comma()?, backtrack };
        let mut chunks = prompt::chunks(&pieces, &rules);
        let mut left_out = None;
        if !self.long && chunks.len() > 1 {
            let rest: usize = chunks.drain(1..).map(|chunk| chunk.words.len()).sum();
            left_out = Some(format!("the last {rest} tokens are"));
        }
        let rows = chunks.iter().map(|chunk| Row::of(chunk, tokenizer)).collect::<Result<_>>()?;
        Ok(Plan { rows, left_out })
    }
}

impl Plan {
    /// Goes on with empty rows up to this number.
    pub fn extend(&mut self, rows: usize, tokenizer: &ClipTokenizer) -> Result<()> {
        if self.rows.len() < rows {
            self.rows.resize(rows, Row::of(&Chunk::default(), tokenizer)?);
        }
        Ok(())
    }
}

impl Row {
    fn of(chunk: &Chunk, tokenizer: &ClipTokenizer) -> Result<Self> {
        let words: Vec<i64> = chunk.words.iter().map(|(id, _)| *id).collect();
        let ids = tokenizer.framed(&words)?;
        #[expect(clippy::cast_possible_truncation, reason = "states are multiplied in single precision")]
        let weigh = |weight: f64| weight as f32;
        let mut weights: Vec<f32> =
            std::iter::once(1.0).chain(chunk.words.iter().map(|(_, weight)| weigh(*weight))).collect();
        weights.resize(ids.len(), 1.0);
        let plain = weights.iter().all(|weight| weight.total_cmp(&1.0).is_eq());
        Ok(Self { ids, weights: (!plain).then_some(weights) })
    }
}
