//! The engine against diffusers on tiny pipelines with random weights: token ids, text states, one UNet call, the
//! decoder, the latents of every step and the images, in fp32 on the CPU.
//!
//! `docs/parity.md` says how near it comes and which planted bug each test catches.

mod parity_report;
#[expect(dead_code, reason = "random configs are compared elsewhere")]
mod parity_support;
#[macro_use]
#[path = "parity_report/fixtures.rs"]
mod fixtures;

use easel_engine_protocol::Dtype;
use parity_report::{IMAGE, LATENTS, MODULE, Recorder, Report};
use parity_support::Fixture;
use tch::Kind;

fixtures! {
    { texts: check_texts, noise: check_noise, unet: check_unet, vae: check_vae, pictures: check_pictures }
    base "base",
    two_levels_zero_snr "two-levels-zero-snr",
    four_levels_conv "four-levels-conv",
    scale_shift_quiet "scale-shift-quiet",
    plain_vae "plain-vae",
    asymmetric "asymmetric",
    sd "sd",
    sd_inpaint "sd-inpaint",
    sd_two "sd-two",
    sdxl_edits "sdxl-edits",
    sdxl_refiner "sdxl-refiner",
}

/// Pictures in bf16 are the same pictures: so many decibels from fp32.
#[test]
fn bf16_is_near() {
    let fixture = Fixture::committed("base");
    let run = fixture.run("leading");
    let image = fixture.generate(&fixture.open(Dtype::Bf16), run).dumped.remove("image").expect("an image");
    let difference = image.to_kind(Kind::Float) - fixture.tensor("leading.image");
    let psnr = -10.0 * difference.square().mean(Kind::Double).double_value(&[]).log10();
    println!("bf16: {psnr:.1} dB from fp32");
    assert!(psnr > 40.0, "{psnr:.1} dB");
}

/// A prompt that does not fit is cut off, and the pipeline says what was.
#[test]
fn a_long_prompt_warns() {
    let fixture = Fixture::committed("base");
    let run = fixture.run("long-prompt");
    let warnings = fixture.generate(&fixture.open(Dtype::Fp32), run).warnings;
    assert!(warnings.iter().any(|warning| warning.contains("a dog, the red squirrel")), "{warnings:?}");
}

/// Pictures of a request do not depend on each other.
#[test]
fn a_picture_is_the_same_at_any_place() {
    use easel_engine::pipelines::Request;
    let fixture = Fixture::committed("base");
    let run = &fixture.runs[0];
    let request = Request { seeds: vec![3, run.seed, 11], ..run.request(&fixture.folder) };
    let model = fixture.open(Dtype::Fp32);
    let mut recorder = Recorder::default();
    let pictures = model.generate(&request, &mut recorder).expect("three pictures");
    let mut report = Report::default();
    let image = &recorder.dumped["image_1.image"];
    report.absolute("the second of three", image, fixture.tensor("leading.image"), IMAGE);
    report.finish("base: batch");
    assert_eq!(pictures.iter().map(|picture| picture.seed).collect::<Vec<_>>(), [3, run.seed, 11]);
    assert_ne!(pictures[0].rgb, pictures[1].rgb);
}

/// Jobs that are computed together get what each gets alone: all that is told of their steps, the latents and the pictures;
/// and one that is broken off stops no other. Each picture by itself in the UNet, it is the same to the bit.
#[test]
#[expect(clippy::disallowed_methods, reason = "tests are told by the environment how much to do")]
fn jobs_together_are_what_they_are_alone() {
    use easel_engine::pipelines::{Request, Together};
    let long = std::env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long");
    let mut compared = 0;
    for name in ["base", "two-levels-zero-snr", "plain-vae", "sd", "sd-inpaint", "sdxl-edits"] {
        let fixture = Fixture::committed(name);
        let model = fixture.open(Dtype::Fp32);
        for run in fixture.runs.iter().step_by(if long { 1 } else { 3 }) {
            let first = run.request(&fixture.folder);
            let mut image = first.image.clone();
            if let Some(image) = &mut image {
                image.rgb.reverse();
            }
            let other = Request { prompt: "the red dog".to_owned(), seeds: vec![3, 11], image, ..first.clone() };
            let stopped = Request { prompt: "a cat".to_owned(), ..first.clone() };
            let requests = [stopped.clone(), first, stopped, other];
            let mut recorders: Vec<Recorder> =
                [true, false, false, false].map(|stop| Recorder { stop, ..Recorder::default() }).into_iter().collect();
            let mut together: Vec<Together<'_>> =
                requests.iter().zip(&mut recorders).map(|(request, observer)| Together { request, observer }).collect();
            let made = model.pipeline.generate_together(&mut together, &model.pool);
            assert!(made[0].as_ref().is_err_and(|error| error.to_string().contains("cancelled")), "{:?}", made[0]);
            assert!(!recorders[0].dumped.contains_key("image"), "who has gone is told nothing more");
            for at in 1..4 {
                let mut alone = Recorder::default();
                let pictures = model.generate(&requests[at], &mut alone).expect("a picture");
                let made = made[at].as_ref().expect("a picture");
                let ours = &recorders[at];
                assert_eq!(ours.warnings, alone.warnings);
                assert_eq!(ours.dumped.keys().collect::<Vec<_>>(), alone.dumped.keys().collect::<Vec<_>>());
                for (key, theirs) in &alone.dumped {
                    compared += 1;
                    assert!(ours.dumped[key].equal(theirs), "{name}: {}.{at}.{key}", run.name);
                }
                assert!(*made == pictures);
            }
        }
    }
    println!("report: {compared} tensors of jobs together and alone are equal to the bit");
}

/// Where pictures of several jobs stand in one call of the UNet, as on a GPU, each is told its own prompt.
#[test]
fn jobs_in_one_batch_are_what_they_are_alone() {
    use easel_engine::pipelines::{Request, Together};
    for (name, rescale) in [("base", 0.0), ("plain-vae", 0.0), ("sd", 0.7), ("sd-inpaint", 0.0), ("sdxl-edits", 0.7)] {
        let fixture = Fixture::committed(name);
        let model = fixture.open(Dtype::Fp32);
        let mut first = fixture.runs[0].request(&fixture.folder);
        assert!(first.guidance_scale > 1.0, "{name}");
        first.options.guidance_rescale = rescale;
        let other = Request { prompt: "the red dog".to_owned(), seeds: vec![3, 11], ..first.clone() };
        let requests = [first, other].map(|request| Request { together: 3, ..request });
        let mut recorders = [Recorder::default(), Recorder::default()];
        let mut together: Vec<Together<'_>> = requests
            .iter()
            .zip(&mut recorders)
            .map(|(request, observer)| Together {
                request,
                observer: observer as &mut dyn easel_engine::pipelines::Observer,
            })
            .collect();
        for made in model.pipeline.generate_together(&mut together, &model.pool) {
            made.expect("pictures");
        }
        let mut report = Report::default();
        for (ours, request) in recorders.iter().zip(&requests) {
            let mut alone = Recorder::default();
            let request = Request { together: 1, ..request.clone() };
            model.generate(&request, &mut alone).expect("pictures");
            for (key, theirs) in &alone.dumped {
                let limit = match key.rsplit('.').next() {
                    Some("image") => IMAGE,
                    _ => LATENTS.max(MODULE * theirs.abs().max().double_value(&[])),
                };
                report.absolute(&format!("{} {key}", request.prompt), &ours.dumped[key], theirs, limit);
            }
        }
        report.finish(&format!("{name}: in one batch"));
    }
}
