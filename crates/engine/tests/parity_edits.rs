//! What pipelines do beside numbers that are compared: previews, tiles, pictures computed together, and refusals. The numbers
//! of every kind of work are compared in `parity_pipelines`.

#[expect(dead_code, reason = "only whole requests are made here")]
mod parity_report;
#[expect(dead_code, reason = "only whole requests are made here")]
mod parity_support;

use std::ops::ControlFlow;

use easel_engine::models::vae::Tiling;
use easel_engine::pictures::Pixels;
use easel_engine::pipelines::{Observer, Picture, Request};
use easel_engine_protocol::{Dtype, EngineErrorKind, Lora, Options};
use parity_report::Recorder;
use parity_support::{Fixture, Model};

fn request(fixture: &Fixture, run: &str) -> Request {
    fixture.run(run).request(&fixture.folder)
}

/// The sentence with which a request is refused as one that cannot be.
fn refused(model: &Model, request: &Request) -> String {
    let made = model.generate(request, &mut Recorder::default()).map(|_| ());
    assert!(made.is_err(), "it was not refused");
    let error = made.map_or_else(|error| error, |()| easel_engine::Error::internal("it was not refused"));
    assert_eq!(error.kind(), EngineErrorKind::InvalidRequest, "{error}");
    error.to_string()
}

#[test]
fn what_a_pipeline_does_not_do_is_refused_by_name() {
    let fixture = Fixture::committed("sd");
    let model = fixture.open(Dtype::Fp32);
    let text = || request(&fixture, "text");
    let with = |options: Options| Request { options, ..text() };
    for (field, asked) in [
        ("mask_padding", Request { mask_padding: Some(4), ..text() }),
        ("strength", Request { strength: Some(0.5), ..text() }),
        ("guidance_rescale", with(Options { guidance_rescale: 1.5, ..Options::default() })),
        ("clip_skip", with(Options { clip_skip: Some(9), ..Options::default() })),
        ("true_cfg_scale", with(Options { true_cfg_scale: Some(2.0), ..Options::default() })),
        ("preview_every", with(Options { preview_every: Some(0), ..Options::default() })),
        ("strength", Request { strength: Some(0.01), ..request(&fixture, "image-whole") }),
        (
            "the image",
            Request {
                mask: Some(Pixels { width: 8, height: 8, rgb: vec![255; 192] }),
                ..request(&fixture, "inpaint-crop")
            },
        ),
    ] {
        let said = refused(&model, &asked);
        assert!(said.contains(field) || field == "clip_skip" && said.contains("layers"), "{field}: {said}");
    }
    let lora = Lora { path: "lora.safetensors".into(), weight: 1.0, text_encoder_weight: None };
    let missing = model.generate(&Request { loras: vec![lora], ..text() }, &mut Recorder::default());
    assert!(missing.is_err(), "an adapter that is not there is never passed over");
}

#[test]
fn a_model_for_inpainting_and_a_refiner_refuse_what_they_were_not_made_for() {
    let fixture = Fixture::committed("sd-inpaint");
    let text = Request { image: None, mask: None, strength: None, ..request(&fixture, "inpaint") };
    assert!(refused(&fixture.open(Dtype::Fp32), &text).contains("only repaints a part of a picture"));
    let fixture = Fixture::committed("sdxl-refiner");
    let text = Request { image: None, strength: None, ..request(&fixture, "image") };
    assert!(refused(&fixture.open(Dtype::Fp32), &text).contains("it refines pictures and draws none"));
}

/// Counts previews, and ends the request after so many parts of its decoding.
#[derive(Default)]
struct Watcher {
    previews: Vec<(u32, u32, u32, u32)>,
    parts: u32,
    last: Option<u32>,
}

impl Observer for Watcher {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn preview(&mut self, image: u32, step: u32, preview: &Pixels) {
        assert_eq!(u32::try_from(preview.rgb.len()), Ok(3 * preview.width * preview.height));
        self.previews.push((image, step, preview.width, preview.height));
    }

    fn is_cancelled(&mut self) -> bool {
        self.parts += 1;
        self.last.is_some_and(|last| self.parts > last)
    }
}

#[test]
fn previews_come_as_often_as_asked_and_a_pixel_is_a_latent() {
    let fixture = Fixture::committed("sdxl-edits");
    let options = Options { preview_every: Some(2), ..Options::default() };
    let request = Request { options, steps: 5, seeds: vec![1, 2], together: 2, ..request(&fixture, "text-three") };
    let mut watcher = Watcher::default();
    fixture.open(Dtype::Fp32).generate(&request, &mut watcher).expect("two pictures");
    assert_eq!(watcher.previews, [(0, 2, 6, 5), (1, 2, 6, 5), (0, 4, 6, 5), (1, 4, 6, 5)]);
}

#[test]
fn a_request_ends_between_the_tiles_of_its_pictures() {
    let fixture = Fixture::committed("sd");
    let model = fixture.open(Dtype::Fp32);
    let tiled = Request { tiling: Some(Tiling { tile: 32, overlap: 0.25 }), ..request(&fixture, "image") };
    let mut whole = Watcher::default();
    model.generate(&tiled, &mut whole).expect("a picture");
    assert_eq!(whole.parts, 18, "nine tiles are encoded and nine decoded");
    for last in [0, 4, 8, 9, 17] {
        let mut watcher = Watcher { last: Some(last), ..Watcher::default() };
        let error = model.generate(&tiled, &mut watcher).expect_err("it ends");
        assert_eq!((error.kind(), watcher.parts), (EngineErrorKind::Cancelled, last + 1));
    }
}

/// Tiles change a picture little, and only near their edges.
#[test]
fn tiles_give_nearly_the_same_picture() {
    let fixture = Fixture::committed("sd");
    let model = fixture.open(Dtype::Fp32);
    let make = |tiling| {
        let request = Request { tiling, ..request(&fixture, "inpaint") };
        model.generate(&request, &mut Recorder::default()).expect("a picture").remove(0)
    };
    let (whole, tiled) = (make(None), make(Some(Tiling { tile: 56, overlap: 0.25 })));
    let large = make(Some(Tiling { tile: 64, overlap: 0.25 }));
    assert_eq!((whole.width, whole.height), (tiled.width, tiled.height));
    assert_ne!(whole.rgb, tiled.rgb, "it was made in tiles");
    assert_eq!(whole.rgb, large.rgb, "a picture that fits into a tile is made in one");
}

#[test]
fn where_the_mask_is_black_the_picture_stays_to_the_byte() {
    let fixture = Fixture::committed("sdxl-edits");
    let request = request(&fixture, "inpaint-crop");
    let Picture { width, height, rgb, .. } =
        fixture.open(Dtype::Fp32).generate(&request, &mut Recorder::default()).expect("a picture").remove(0);
    let (image, mask) = (request.image.expect("an image"), request.mask.expect("a mask"));
    assert_eq!((width, height), (image.width, image.height), "as large as what came in, not as what was computed");
    let mut kept = 0;
    for ((made, original), mask) in rgb.chunks_exact(3).zip(image.rgb.chunks_exact(3)).zip(mask.rgb.chunks_exact(3)) {
        if mask == [0, 0, 0] {
            assert_eq!(made, original);
            kept += 1;
        }
    }
    assert!(kept > 1000, "{kept} pixels are black in the mask");
}
