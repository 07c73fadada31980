//! CLIP's vocabulary from its merges, as its own code makes it: the bytes, the bytes that end a word, what each merge
//! gives, and the two marks. <https://github.com/openai/CLIP/blob/main/clip/simple_tokenizer.py>

use tokenizers::models::bpe::{Merges, Vocab};

use crate::{Error, Result};

/// What ends a word in the vocabulary.
pub(super) const END_OF_WORD: &str = "</w>";

/// Ids by token, and the merges in order.
pub(super) fn read(text: &str) -> Result<(Vocab, Merges)> {
    let mut merges = Merges::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with("#version")) {
        let Some((left, right)) = line.split_once(' ') else {
            return Err(Error::broken(format!("merges.txt: `{line}` is not two tokens")));
        };
        merges.push((left.to_owned(), right.to_owned()));
    }
    let bytes: Vec<String> = alphabet().map(String::from).collect();
    let ends = bytes.iter().map(|byte| format!("{byte}{END_OF_WORD}"));
    let joined = merges.iter().map(|(left, right)| format!("{left}{right}"));
    let marks = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let tokens = bytes.iter().cloned().chain(ends).chain(joined).chain(marks);
    Ok(((0..).zip(tokens).map(|(id, token)| (token, id)).collect(), merges))
}

/// The characters that stand for the bytes: themselves where they can be seen, then others from 256 on.
fn alphabet() -> impl Iterator<Item = char> {
    let seen = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    let unseen = 256 - ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ').count();
    seen.chain(('\u{100}'..).take(unseen))
}
