//! The engine against diffusers on tiny FLUX pipelines with random weights: token ids, text states, pooled text, the
//! transformer, the decoder, the latents of every step and the images, in fp32 on the CPU.
//!
//! `docs/parity.md` says how near it comes and which planted bug each test catches.

#[expect(dead_code, reason = "random configs are compared elsewhere")]
mod flux_support;
mod parity_report;
#[macro_use]
#[path = "parity_report/fixtures.rs"]
mod fixtures;

use std::path::{Path, PathBuf};

use easel_engine::pipelines::Request;
use easel_engine::tokenizer::T5Tokenizer;
use flux_support::Fixture;
use parity_report::{IMAGE, LATENTS, MODULE, Recorder, Report};
use serde::Deserialize;

fixtures! {
    { texts: check_texts, transformer: check_transformer, vae: check_vae, pictures: check_pictures }
    schnell "schnell", dev "dev", old_t5 "old-t5", single_stream "single-stream",
}

#[derive(Deserialize)]
struct Expected {
    lengths: Vec<usize>,
    pad: i64,
    prompts: Vec<String>,
    /// Whole, with the end but without padding.
    ids: Vec<Vec<i64>>,
}

fn tokenizers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers-t5")
}

/// `tokenizer.json` and `spiece.model` give the ids of transformers, at every length.
#[test]
fn t5_ids_are_those_of_transformers() {
    let expected: Expected =
        serde_json::from_slice(&std::fs::read(tokenizers().join("expected.json")).unwrap()).unwrap();
    assert!(expected.prompts.len() >= 60 && expected.lengths.len() >= 3);
    let mut wrong = Vec::new();
    for name in ["whole", "pieces"] {
        let tokenizer = T5Tokenizer::open(&tokenizers().join(name)).unwrap();
        for (prompt, whole) in expected.prompts.iter().zip(&expected.ids) {
            for &length in &expected.lengths {
                let mut ids = whole.clone();
                if ids.len() > length {
                    let end = ids[ids.len() - 1];
                    ids.truncate(length - 1);
                    ids.push(end);
                }
                ids.resize(length, expected.pad);
                let encoded = tokenizer.encode(prompt, length).unwrap();
                if encoded.ids != ids || encoded.truncated.is_some() != (whole.len() > length) {
                    wrong.push(format!("{name}, {length}: {prompt:?}: {:?} for {ids:?}", encoded.ids));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn t5_hands_back_what_does_not_fit() {
    let tokenizer = T5Tokenizer::open(&tokenizers().join("whole")).unwrap();
    let cut = tokenizer.encode("the dog the dog  the red cat", 6).unwrap();
    assert_eq!(cut.truncated.as_deref(), Some("red cat"));
    assert_eq!(cut.ids.len(), 6);
    assert_eq!(tokenizer.encode("the dog the dog the", 6).unwrap().truncated, None);
}

#[test]
fn broken_t5_folders_are_refused() {
    let error = T5Tokenizer::open(&tokenizers().join("pairs")).unwrap_err();
    assert_eq!(error.to_string(), "pairs: spiece.model: its model_type is 2; only a unigram model (1) is supported");
    let folder = tempfile::tempdir().unwrap();
    let open = || T5Tokenizer::open(folder.path()).unwrap_err();
    assert!(open().to_string().contains("neither tokenizer.json nor spiece.model"), "{}", open());
    assert!(open().hint().is_some());
    let spiece = folder.path().join("spiece.model");
    let whole = std::fs::read(tokenizers().join("pieces/spiece.model")).unwrap();
    // Cut off anywhere, or with a byte turned over, it is refused or read; nothing else happens.
    for length in (0..whole.len()).step_by(97) {
        std::fs::write(&spiece, &whole[..length]).unwrap();
        if let Ok(tokenizer) = T5Tokenizer::open(folder.path()) {
            tokenizer.encode("the red squirrel", 8).unwrap();
        }
    }
    std::fs::write(&spiece, b"not a protobuf").unwrap();
    assert!(open().to_string().contains("spiece.model: not a SentencePiece model"), "{}", open());
    std::fs::write(folder.path().join("tokenizer_config.json"), r#"{"extra_ids": -1}"#).unwrap();
    assert!(open().to_string().contains("extra_ids is -1"), "{}", open());
    std::fs::write(folder.path().join("tokenizer.json"), "[]").unwrap();
    std::fs::write(folder.path().join("tokenizer_config.json"), "{}").unwrap();
    assert!(open().to_string().contains("tokenizer.json"), "{}", open());
}

/// What is computed together is rounded otherwise in its last places, no more.
#[test]
fn pictures_made_together_are_those_made_alone() {
    let fixture = Fixture::committed("schnell");
    let run = fixture.runs.iter().find(|run| run.name == "two-seeds").unwrap();
    let (together, alone) = (fixture.latents(run, 2), fixture.latents(run, 1));
    assert!(together.len() == 2 && alone.len() == 2);
    for (together, alone) in together.iter().zip(&alone) {
        let difference = (together - alone).abs().max().double_value(&[]);
        assert!(difference < 5e-6, "{difference}");
    }
}

/// Jobs that are computed together get what each gets alone: all that is told of their steps, the latents and the
/// pictures; and one that is broken off stops no other. Each picture by itself in the network, it is the same to the bit.
#[test]
fn jobs_together_are_what_they_are_alone() {
    let mut compared = 0;
    for name in ["schnell", "dev", "old-t5", "single-stream"] {
        let fixture = Fixture::committed(name);
        for run in &fixture.runs {
            let [other, first] = fixture.pair(run);
            let stopped = Request { prompt: "a cat".to_owned(), ..first.clone() };
            let requests = [stopped.clone(), first, stopped, other];
            let together =
                fixture.generate_together(&requests, recorders(4, Recorder { stop: true, ..Recorder::default() }));
            let (made, recorder) = &together[0];
            assert!(made.as_ref().is_err_and(|error| error.to_string().contains("cancelled")), "{made:?}");
            assert!(!recorder.dumped.contains_key("image"), "who has gone is told nothing more");
            for (request, (made, ours)) in requests.iter().zip(&together).skip(1) {
                let alone = fixture.generate(request).expect("a picture");
                assert_eq!(ours.warnings, alone.warnings);
                assert_eq!(ours.dumped.keys().collect::<Vec<_>>(), alone.dumped.keys().collect::<Vec<_>>());
                for (key, theirs) in &alone.dumped {
                    compared += 1;
                    assert!(ours.dumped[key].equal(theirs), "{name}: {}: {}: {key}", run.name, request.prompt);
                }
                assert_eq!(made.as_ref().expect("pictures").len(), request.seeds.len());
            }
        }
    }
    println!("report: {compared} tensors of jobs together and alone are equal to the bit");
}

/// So many, of which this is the first.
fn recorders(count: usize, first: Recorder) -> Vec<Recorder> {
    std::iter::once(first).chain(std::iter::repeat_with(Recorder::default)).take(count).collect()
}

/// A step of several jobs is long where each picture is a call by itself: who goes in the middle of one is not waited for.
#[test]
fn who_goes_within_a_step_is_told_nothing_of_it() {
    let fixture = Fixture::committed("schnell");
    let [first, other] = fixture.pair(&fixture.runs[0]);
    let together =
        fixture.generate_together(&[first, other], recorders(2, Recorder { gone: true, ..Recorder::default() }));
    let [(gone, heard), (stays, all)] = together.as_slice() else { panic!("two requests have two results") };
    assert!(gone.as_ref().is_err_and(|error| error.to_string().contains("cancelled")), "{gone:?}");
    assert!(!heard.dumped.contains_key("step_0"));
    assert!(stays.is_ok() && all.dumped.contains_key("image"));
}

/// Where pictures of several jobs stand in one call of the network, as on a GPU, each is told its own prompts: those of
/// diffusers' prompt are diffusers', behind two of another, and those two are what they are alone.
#[test]
fn jobs_in_one_batch_are_what_they_are_alone() {
    for name in ["schnell", "dev", "old-t5", "single-stream"] {
        let fixture = Fixture::committed(name);
        let mut report = Report::default();
        for run in &fixture.runs {
            // At least one call has pictures of both.
            let requests = fixture.pair(run).map(|request| Request { together: 3, ..request });
            let together = fixture.generate_together(&requests, recorders(2, Recorder::default()));
            fixture.check_run(run, &together[1].1, &mut report);
            let alone = fixture.generate(&Request { together: 1, ..requests[0].clone() }).expect("pictures");
            for (key, theirs) in &alone.dumped {
                let limit = match key.rsplit('.').next() {
                    Some("image") => IMAGE,
                    _ => LATENTS.max(MODULE * theirs.abs().max().double_value(&[])),
                };
                report.absolute(&format!("{} {key}", run.name), &together[0].1.dumped[key], theirs, limit);
            }
        }
        report.finish(&format!("{name}: in one batch"));
    }
}

#[test]
fn what_flux_does_not_do_is_refused_by_name() {
    let fixture = Fixture::committed("schnell");
    let refused = |change: fn(&mut Request)| fixture.refused(change);
    let text = |change: fn(&mut Request)| refused(change).to_string();
    assert_eq!(text(|request| request.width = 40), "width 40 is not a multiple of 16; the nearest are 32 and 48");
    let tokens = text(|request| request.options.max_sequence_length = Some(513));
    assert_eq!(tokens, "max_sequence_length is 513, not from 1 to 512");
    assert!(text(|request| request.options.clip_skip = Some(1)).starts_with("options.clip_skip is given"));
    assert!(text(|request| request.options.true_cfg_scale = Some(f64::NAN)).contains("true_cfg_scale is NaN"));
    assert!(text(|request| request.strength = Some(0.5)).contains("strength is given, which needs an image"));
    let class = serde_json::json!({"_class_name": "EulerDiscreteScheduler"});
    let other: Request = Request { scheduler: class.as_object().cloned(), ..fixture.request(&fixture.runs[0]) };
    assert!(fixture.generate(&other).unwrap_err().to_string().contains("EulerDiscreteScheduler"));
}

/// Numbers of a text of any ids, in bfloat16: T5's norms and sums are made in single precision.
#[test]
fn t5_in_bf16_is_near() {
    let cosine = Fixture::committed("schnell").t5_in_bf16();
    println!("bf16: cosine {cosine:.6} to fp32");
    assert!(cosine > 0.9995, "{cosine}");
}
