//! Every prompt becomes the ids that transformers makes of it, whichever way the tokenizer lies on the disk
//! (`fixtures/tokenizers`, by `tools/parity/clip_tokenizers.py`).

#![expect(clippy::unwrap_used, reason = "a failing test may panic")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use easel_engine::tokenizer::ClipTokenizer;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    prompts: Vec<String>,
    folders: BTreeMap<String, Folder>,
}

#[derive(Deserialize)]
struct Folder {
    length: usize,
    pad: i64,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    /// Without the padding at the end.
    ids: Vec<i64>,
    truncated: bool,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(root().join("expected.json")).unwrap()).unwrap()
}

#[test]
fn ids_are_those_of_transformers() {
    let expected = expected();
    assert!(expected.folders.len() >= 10 && expected.prompts.len() >= 50);
    let mut wrong = Vec::new();
    for (name, folder) in &expected.folders {
        let tokenizer = ClipTokenizer::open(&root().join(name)).unwrap();
        assert_eq!(tokenizer.length(), folder.length, "{name}");
        for (prompt, row) in expected.prompts.iter().zip(&folder.rows) {
            let encoded = tokenizer.encode(prompt).unwrap();
            let mut ids = row.ids.clone();
            ids.resize(folder.length, folder.pad);
            if encoded.ids != ids || encoded.truncated.is_some() != row.truncated {
                wrong.push(format!(
                    "{name}: {prompt:?}: {:?} for {:?}, cut off {:?}",
                    encoded.ids, row.ids, encoded.truncated
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_does_not_fit_is_handed_back() {
    let tokenizer = ClipTokenizer::open(&root().join("pair-short")).unwrap();
    // Ten words fit between the two marks.
    assert_eq!(tokenizer.encode("dog the dog the dog the dog the dog the").unwrap().truncated, None);
    let cut = tokenizer.encode("dog the dog the dog the dog the dog the  Red Café, cat").unwrap();
    assert_eq!(cut.truncated.as_deref(), Some("Red Café, cat"));
    assert_eq!(cut.ids.len(), 12);
}

#[test]
fn broken_folders_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = || ClipTokenizer::open(folder.path()).unwrap_err().to_string();
    assert!(open().contains("neither tokenizer.json nor both of vocab.json and merges.txt"), "{}", open());
    for file in ["vocab.json", "merges.txt"] {
        std::fs::copy(root().join("pair").join(file), folder.path().join(file)).unwrap();
    }
    assert!(ClipTokenizer::open(folder.path()).is_ok());
    let config = |text: &str| std::fs::write(folder.path().join("tokenizer_config.json"), text).unwrap();
    config(r#"{"pad_token": "<pad>"}"#);
    assert!(open().contains("the vocabulary has no <pad>"), "{}", open());
    config(r#"{"padding_side": "left"}"#);
    assert!(open().contains("padding_side is \"left\""), "{}", open());
    config(r#"{"model_max_length": 2}"#);
    assert!(open().contains("model_max_length is 2"), "{}", open());
    config("{");
    assert!(open().contains("tokenizer_config.json: EOF"), "{}", open());
    config("{}");
    std::fs::write(folder.path().join("vocab.json"), r#"{"a": 0}"#).unwrap();
    assert!(open().contains("vocab.json"), "{}", open());
    std::fs::write(folder.path().join("tokenizer.json"), "[]").unwrap();
    assert!(open().contains("tokenizer.json"), "{}", open());
}
