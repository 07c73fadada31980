//! The tokenizers that ship with the engine give the ids that transformers gives with those of the published models
//! (`tools/parity/shipped_tokenizers.py`).

use std::collections::BTreeMap;
use std::path::Path;

use easel_engine::tokenizer::{ClipTokenizer, Encoded, Shipped, T5Tokenizer, TokenizerSource};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    prompts: Vec<String>,
    #[serde(flatten)]
    tokenizers: BTreeMap<String, Tokenizer>,
}

#[derive(Deserialize)]
struct Tokenizer {
    pad: i64,
    length: usize,
    /// Without padding.
    ids: Vec<Vec<i64>>,
}

/// A prompt and a length to ids.
type Encode = Box<dyn Fn(&str, usize) -> Encoded>;

#[test]
fn ids_are_those_of_the_published_models() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers-shipped.json");
    let expected: Expected = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert!(expected.prompts.len() >= 60);
    let clip = |shipped| {
        let tokenizer = ClipTokenizer::open(TokenizerSource::Shipped(shipped)).unwrap();
        move |prompt: &str, length| -> Encoded {
            assert_eq!(tokenizer.length(), length);
            tokenizer.encode(prompt).unwrap()
        }
    };
    let t5 = T5Tokenizer::open(TokenizerSource::Shipped(Shipped::T5)).unwrap();
    let encoders: [(&str, Encode); 3] = [
        ("clip", Box::new(clip(Shipped::Clip))),
        ("openclip", Box::new(clip(Shipped::OpenClip))),
        ("t5", Box::new(move |prompt, length| t5.encode(prompt, length).unwrap())),
    ];
    let mut wrong = Vec::new();
    for (name, encode) in &encoders {
        let tokenizer = &expected.tokenizers[*name];
        assert_eq!(tokenizer.ids.len(), expected.prompts.len());
        for (prompt, ids) in expected.prompts.iter().zip(&tokenizer.ids) {
            let mut wanted = ids.clone();
            wanted.resize(tokenizer.length, tokenizer.pad);
            let found = encode(prompt, tokenizer.length).ids;
            if found != wanted {
                let end = found.len().min(ids.len() + 4);
                wrong.push(format!("{name}: {prompt:?}: {:?} for {ids:?}", &found[..end]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
