//! Long and weighted prompts against transformers' CLIP on the same chunks with the same weights; and texts that are known.
//!
//! `docs/PROMPTS.md` has the rules; `tools/parity/prompts.py` writes the fixture.

#![expect(clippy::expect_used, reason = "a failing test may panic")]

use crate::parity_report::Recorder;
use crate::support::{difference, fixtures, pipeline, read, request};
use easel_engine::pipelines::Request;
use easel_engine::pool::Pool;
use easel_engine_protocol::Options;
use serde::Deserialize;
use tch::Device;

/// States against their largest number.
const MODULE: f64 = 2e-6;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    family: String,
    prompt: String,
    negative: String,
    long: bool,
    weights: bool,
    clip_skip: u32,
}

fn cases() -> Vec<Case> {
    tch::set_num_threads(1);
    serde_json::from_slice(&std::fs::read(fixtures().join("prompts/cases.json")).expect("cases")).expect("cases")
}

fn asked(case: &Case) -> Request {
    let clip_skip = (case.clip_skip > 0).then_some(case.clip_skip);
    let options =
        Options { long_prompts: case.long, prompt_weights: case.weights, clip_skip, ..request(&case.family).options };
    let (prompt, negative) = (case.prompt.clone(), Some(case.negative.clone()));
    Request { prompt, negative_prompt: negative, options, ..request(&case.family) }
}

#[test]
fn states_are_those_of_transformers() {
    let expected = read(&fixtures().join("prompts/expected.safetensors"));
    let mut compared = 0;
    for case in cases() {
        let mut recorder = Recorder { stop: true, ..Recorder::default() };
        let (pipeline, pool) = (pipeline(&case.family), Pool::new(Device::Cpu));
        pipeline.generate(&asked(&case), &pool, &mut recorder).expect_err("stopped");
        for (ours, theirs) in [
            ("prompt_embeds", "prompt"),
            ("negative_prompt_embeds", "negative"),
            ("pooled", "prompt.pooled"),
            ("negative_pooled", "negative.pooled"),
        ] {
            let Some(theirs) = expected.get(&format!("{}.{theirs}", case.name)) else { continue };
            let off = difference(&recorder.dumped[ours], theirs) / theirs.abs().max().double_value(&[]);
            println!("{:10} {ours:24} {off:.1e} of {MODULE:.0e}", case.name);
            assert!(off <= MODULE, "{}: {ours} is off by {off:.1e}", case.name);
            compared += 1;
        }
        let cut = recorder.warnings.iter().any(|warning| warning.contains("cut off"));
        assert_eq!(cut, case.name == "cut", "{}: {:?}", case.name, recorder.warnings);
    }
    assert_eq!(compared, expected.len());
}

/// Without the options, brackets are characters and what does not fit is cut off, as in diffusers.
#[test]
fn nothing_is_read_that_was_not_asked_for() {
    let (pipeline, pool) = (pipeline("sdxl"), Pool::new(Device::Cpu));
    let states = |prompt: &str, options: Options| {
        let mut recorder = Recorder { stop: true, ..Recorder::default() };
        let request = Request { prompt: prompt.to_owned(), options, ..request("sdxl") };
        pipeline.generate(&request, &pool, &mut recorder).expect_err("stopped");
        recorder.dumped.remove("prompt_embeds").expect("states")
    };
    let weights = Options { prompt_weights: true, ..Options::default() };
    let long = Options { long_prompts: true, ..Options::default() };
    let plain = states("a red cat", Options::default());
    assert_eq!(states("a red cat", weights.clone()), plain);
    assert_eq!(states("a red cat", long.clone()), plain);
    assert_ne!(states("a (red:1.0) cat", Options::default()), plain);
    assert_eq!(states("a (red:1.0) cat", weights.clone()), plain);
    assert_ne!(states("a (red:1.5) cat", weights), plain);
    assert_eq!(states("a (red) cat", long), states("a (red) cat", Options::default()));
}
