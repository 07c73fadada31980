//! The small built-in model draws what it is asked for: its pictures of random captions are read back from their pixels.
//! `EASEL_TEST_LEVEL=long` asks for all captions that the model brings, otherwise a few.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "helpers of tests may panic as tests do"
)]

mod picture_reader;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use easel_engine::parts::ModelParts;
use easel_engine::pipelines::{Observer, Pipeline, Request, Sdxl};
use easel_engine::pool::Pool;
use easel_engine_protocol::{Dtype, ModelSource, PipelineKind};

use picture_reader::{Random, Scene, Words, draw, random_scene};

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/shapes")
}

#[expect(clippy::disallowed_methods, reason = "the level is the test runner's to say, not a setting")]
fn is_long() -> bool {
    std::env::var("EASEL_TEST_LEVEL").is_ok_and(|level| level == "long")
}

/// Watches nothing.
struct Blind;

impl Observer for Blind {
    fn step(&mut self, _: u32, _: u32, _: u32) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

struct Painter {
    pipeline: Sdxl,
    pool: Pool,
    words: Words,
}

impl Painter {
    fn open() -> Self {
        let parts = ModelParts::open(&ModelSource::whole(model(), PipelineKind::Sdxl)).unwrap();
        let pipeline = Sdxl::open(parts, tch::Device::Cpu, Dtype::Fp32).unwrap();
        Self { pipeline, pool: Pool::new(tch::Device::Cpu), words: Words::open(&model()) }
    }

    /// What the picture of a caption shows, at the model's default steps.
    fn paint_and_read(&self, caption: &str, seed: u64) -> Scene {
        let side = u32::try_from(self.words.canvas).unwrap();
        let request = Request {
            prompt: caption.to_owned(),
            seeds: vec![seed],
            steps: self.words.steps,
            guidance_scale: self.words.guidance_scale,
            width: side,
            height: side,
            ..Request::default()
        };
        let pictures = self.pipeline.generate(&request, &self.pool, &mut Blind).unwrap();
        self.words.read(&pictures[0].rgb)
    }
}

#[test]
fn random_captions_are_drawn_as_asked() {
    let painter = Painter::open();
    let (count, needed) = if is_long() { (200, 190) } else { (24, 22) };
    let asked = &painter.words.captions[..count];
    let (mut right, mut right_by_chance, mut faults) = (0, 0, Vec::new());
    for (seed, (caption, scene)) in (0..).zip(asked) {
        let seen = painter.paint_and_read(caption, seed);
        if seen.is_right(scene) {
            right += 1;
        } else {
            faults.push(format!("{caption}: {seen:?}"));
        }
        right_by_chance += usize::from(seen.is_right(&other_scene(&painter.words, scene)));
    }
    println!("report: {right} of {count} captions are drawn as asked, {needed} are needed");
    assert!(right >= needed, "{right} of {count} captions are drawn as asked:\n{}", faults.join("\n"));
    assert_eq!(right_by_chance, 0, "what was not asked for must not be found");
}

#[test]
fn the_caption_of_the_readme_is_drawn_exactly() {
    let painter = Painter::open();
    let asked = Scene {
        size: "large".to_owned(),
        colour: "red".to_owned(),
        shape: "circle".to_owned(),
        place: "center".to_owned(),
        ground: "blue".to_owned(),
    };
    for seed in [7, 42] {
        let seen = painter.paint_and_read("a large red circle in the center on a blue background", seed);
        assert_eq!(seen, asked, "seed {seed}");
    }
}

#[test]
fn the_reader_reads_drawings_without_a_mistake() {
    let words = Words::open(&model());
    let mut random = Random(99);
    for _ in 0..if is_long() { 1000 } else { 100 } {
        let scene = random_scene(&words, &mut random);
        let seen = words.read(&draw(&words, &scene, &mut random));
        assert_eq!(seen, scene);
        assert!(!seen.is_right(&other_scene(&words, &scene)));
    }
}

#[test]
fn the_reader_tells_each_attribute_apart() {
    let words = Words::open(&model());
    let mut random = Random(3);
    let scene = random_scene(&words, &mut random);
    let seen = words.read(&draw(&words, &scene, &mut random));
    let other = other_scene(&words, &scene);
    assert!(seen.is_right(&scene));
    for wrong in [
        Scene { colour: other.colour, ..scene.clone() },
        Scene { shape: other.shape, ..scene.clone() },
        Scene { place: other.place, ..scene.clone() },
        Scene { ground: other.ground, ..scene.clone() },
    ] {
        assert!(!seen.is_right(&wrong), "{wrong:?}");
    }
}

#[test]
fn the_reader_sees_no_shape_where_there_is_none() {
    let words = Words::open(&model());
    let len = 3 * words.canvas * words.canvas;
    assert_eq!(words.read(&vec![200; len]).shape, "");
    let mut random = Random(5);
    let noise: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
    assert_eq!(words.read(&noise).shape, "");
}

/// The scene with every attribute replaced by the next one of its table.
fn other_scene(words: &Words, scene: &Scene) -> Scene {
    Scene {
        size: next(&words.sizes, &scene.size),
        colour: next(&words.palette, &scene.colour),
        shape: next(&words.shapes, &scene.shape),
        place: next(&words.places, &scene.place),
        ground: next(&words.palette, &scene.ground),
    }
}

fn next<T>(table: &[(String, T)], name: &str) -> String {
    let place = table.iter().position(|(other, _)| other == name).unwrap();
    table[(place + 1) % table.len()].0.clone()
}
