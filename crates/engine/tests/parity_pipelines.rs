//! The engine against diffusers on tiny pipelines with random weights: token ids, text states, one UNet call, the
//! decoder, the latents of every step and the images, in fp32 on the CPU.
//!
//! `docs/parity.md` says how near it comes and which planted bug each test catches.

mod parity_support;

use easel_engine_protocol::Dtype;
use parity_support::Fixture;
use tch::Kind;

macro_rules! fixture {
    ($module:ident, $folder:literal) => {
        mod $module {
            use super::parity_support::Fixture;

            #[test]
            fn texts() {
                Fixture::committed($folder).check_texts().finish(concat!($folder, ": texts"));
            }

            #[test]
            fn noise() {
                Fixture::committed($folder).check_noise().finish(concat!($folder, ": noise"));
            }

            #[test]
            fn unet() {
                Fixture::committed($folder).check_unet().finish(concat!($folder, ": unet"));
            }

            #[test]
            fn vae() {
                Fixture::committed($folder).check_vae().finish(concat!($folder, ": vae"));
            }

            #[test]
            fn pictures() {
                Fixture::committed($folder).check_pictures().finish(concat!($folder, ": pictures"));
            }
        }
    };
}

fixture!(base, "base");
fixture!(two_levels_zero_snr, "two-levels-zero-snr");
fixture!(four_levels_conv, "four-levels-conv");
fixture!(scale_shift_quiet, "scale-shift-quiet");
fixture!(plain_vae, "plain-vae");
fixture!(asymmetric, "asymmetric");
fixture!(sd, "sd");
fixture!(sd_inpaint, "sd-inpaint");
fixture!(sd_two, "sd-two");
fixture!(sdxl_edits, "sdxl-edits");
fixture!(sdxl_refiner, "sdxl-refiner");

/// Pictures in bf16 are the same pictures: so many decibels from fp32.
#[test]
fn bf16_is_near() {
    let fixture = Fixture::committed("base");
    let run = fixture.runs.iter().find(|run| run.name == "leading").expect("a run");
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
    let run = fixture.runs.iter().find(|run| run.name == "long-prompt").expect("a run");
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
    let mut recorder = parity_support::Recorder::default();
    let pictures = model.generate(&request, &mut recorder).expect("three pictures");
    let mut report = parity_support::Report::default();
    let image = &recorder.dumped["image_1.image"];
    report.absolute("the second of three", image, fixture.tensor("leading.image"), parity_support::IMAGE);
    report.finish("base: batch");
    assert_eq!(pictures.iter().map(|picture| picture.seed).collect::<Vec<_>>(), [3, run.seed, 11]);
    assert_ne!(pictures[0].rgb, pictures[1].rgb);
}
