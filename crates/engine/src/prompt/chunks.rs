//! Tokens in chunks that a text encoder can read: as many words as fit between begin and end, broken at a comma where one
//! is near. As `tokenize_line` of AUTOMATIC1111's web UI does it (`modules/sd_hijack_clip.py`).

/// What a prompt is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRules {
    /// Words of a chunk, begin and end not counted: 75 for CLIP.
    pub words: usize,
    /// The token of a comma, if there is one.
    pub comma: Option<i64>,
    /// How many words may move to the next chunk so that it begins after a comma; 0 cuts where the chunk is full.
    pub backtrack: usize,
}

/// A part of a prompt, tokenized.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Tokens that weigh the same.
    Tokens(Vec<i64>, f64),
    /// What follows begins a new chunk.
    Break,
}

/// The words of one chunk.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chunk {
    /// Tokens and how much each weighs; begin, end and padding are left to who encodes them, and weigh 1.
    pub words: Vec<(i64, f64)>,
}

/// Cuts a prompt into chunks, at least one.
pub fn chunks(pieces: &[Piece], rules: &ChunkRules) -> Vec<Chunk> {
    let mut cutter = Cutter { rules: *rules, done: Vec::new(), current: Vec::new(), comma: None };
    for piece in pieces {
        match piece {
            Piece::Break => cutter.end(),
            Piece::Tokens(tokens, weight) => tokens.iter().for_each(|&token| cutter.push(token, *weight)),
        }
    }
    if !cutter.current.is_empty() || cutter.done.is_empty() {
        cutter.end();
    }
    cutter.done
}

struct Cutter {
    rules: ChunkRules,
    done: Vec<Chunk>,
    current: Vec<(i64, f64)>,
    /// Where the last comma of the current chunk is.
    comma: Option<usize>,
}

impl Cutter {
    fn push(&mut self, token: i64, weight: f64) {
        if Some(token) == self.rules.comma {
            self.comma = Some(self.current.len());
        } else if self.current.len() == self.rules.words
            && let Some(comma) = self.comma
            && self.current.len() - comma <= self.rules.backtrack
        {
            let moved = self.current.split_off(comma + 1);
            self.end();
            self.current = moved;
        }
        if self.current.len() == self.rules.words {
            self.end();
        }
        self.current.push((token, weight));
    }

    fn end(&mut self) {
        self.comma = None;
        self.done.push(Chunk { words: std::mem::take(&mut self.current) });
    }
}

#[cfg(test)]
mod tests {
    use super::{ChunkRules, Piece, chunks};

    const COMMA: i64 = 9;

    fn cut(tokens: &[i64], backtrack: usize) -> Vec<Vec<i64>> {
        let rules = ChunkRules { words: 4, comma: Some(COMMA), backtrack };
        let found = chunks(&[Piece::Tokens(tokens.to_vec(), 1.0)], &rules);
        found.into_iter().map(|chunk| chunk.words.into_iter().map(|(token, _)| token).collect()).collect()
    }

    #[test]
    fn full_chunks_end() {
        assert_eq!(cut(&[], 0), [Vec::<i64>::new()]);
        assert_eq!(cut(&[1, 2, 3, 4], 0), [vec![1, 2, 3, 4]]);
        assert_eq!(cut(&[1, 2, 3, 4, 5], 0), [vec![1, 2, 3, 4], vec![5]]);
    }

    #[test]
    fn what_follows_a_near_comma_moves_on() {
        assert_eq!(cut(&[1, COMMA, 3, 4, 5], 3), [vec![1, COMMA], vec![3, 4, 5]]);
        assert_eq!(cut(&[1, COMMA, 3, 4, 5], 2), [vec![1, COMMA, 3, 4], vec![5]], "too far back");
        assert_eq!(cut(&[1, COMMA, 3, 4, 5], 0), [vec![1, COMMA, 3, 4], vec![5]], "switched off");
        // The last comma counts, and one that ends a chunk moves nothing.
        assert_eq!(cut(&[COMMA, 2, COMMA, 4, 5], 4), [vec![COMMA, 2, COMMA], vec![4, 5]]);
        assert_eq!(cut(&[1, 2, 3, COMMA, 5], 4), [vec![1, 2, 3, COMMA], vec![5]]);
        assert_eq!(cut(&[1, 2, 3, 4, COMMA, 6], 4), [vec![1, 2, 3, 4], vec![COMMA, 6]], "a comma waits for no other");
    }

    #[test]
    fn breaks_end_chunks_and_weights_stay_with_their_words() {
        let rules = ChunkRules { words: 4, comma: None, backtrack: 20 };
        let pieces = [Piece::Tokens(vec![1, 2], 1.5), Piece::Break, Piece::Break, Piece::Tokens(vec![3], 0.5)];
        let words: Vec<_> = chunks(&pieces, &rules).into_iter().map(|chunk| chunk.words).collect();
        assert_eq!(words, [vec![(1, 1.5), (2, 1.5)], vec![], vec![(3, 0.5)]]);
        assert_eq!(chunks(&[Piece::Tokens(vec![1], 1.0), Piece::Break], &rules).len(), 1, "nothing follows the break");
    }
}
