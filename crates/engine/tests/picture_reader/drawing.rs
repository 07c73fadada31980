//! Plain drawings of scenes, as the model was trained on: what the reader is proven on.

use super::geometry::{Outline, contains};
use super::{Rgb, Scene, Words};

/// Samples along each side of a pixel.
const SAMPLES: u32 = 4;
const PLACE_JITTER: f64 = 2.5;
const SIZE_JITTER: f64 = 0.05;
const COLOUR_JITTER: f64 = 6.0;

/// Numbers that are the same on every run (splitmix64, Steele et al. 2014).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn pick<'a, T>(&mut self, table: &'a [(String, T)]) -> &'a (String, T) {
        &table[usize::try_from(self.next() % table.len() as u64).unwrap()]
    }

    /// Between minus and plus `reach`.
    fn jitter(&mut self, reach: f64) -> f64 {
        let thousandths = u32::try_from(self.next() % 2001).unwrap();
        (f64::from(thousandths) / 1000.0 - 1.0) * reach
    }
}

/// A scene whose object differs in colour from its ground.
pub fn random_scene(words: &Words, random: &mut Random) -> Scene {
    let colour = random.pick(&words.palette).0.clone();
    let ground = loop {
        let ground = &random.pick(&words.palette).0;
        if *ground != colour {
            break ground.clone();
        }
    };
    Scene {
        size: random.pick(&words.sizes).0.clone(),
        shape: random.pick(&words.shapes).0.clone(),
        place: random.pick(&words.places).0.clone(),
        colour,
        ground,
    }
}

/// The scene as rows of red, green and blue bytes, a little off in place, size and colour.
pub fn draw(words: &Words, scene: &Scene, random: &mut Random) -> Vec<u8> {
    let place = find(&words.places, &scene.place);
    let (x, y) = (place.0 + random.jitter(PLACE_JITTER), place.1 + random.jitter(PLACE_JITTER));
    let half = find(&words.sizes, &scene.size) * (1.0 + random.jitter(SIZE_JITTER));
    let mut coloured = |name: &str| find(&words.palette, name).map(|channel| channel + random.jitter(COLOUR_JITTER));
    let (ink, ground) = (coloured(&scene.colour), coloured(&scene.ground));
    let outline: Outline =
        find(&words.shapes, &scene.shape).iter().map(|(u, v)| (x + u * half, y + v * half)).collect();
    let side = u32::try_from(words.canvas).unwrap();
    let reach = half + 2.0;
    let may_be_covered = |px: u32, py: u32| (f64::from(px) - x).abs() < reach && (f64::from(py) - y).abs() < reach;
    let pixels = (0..side * side).map(|i| (i % side, i / side));
    let part = |(px, py)| if may_be_covered(px, py) { coverage(&outline, px, py) } else { 0.0 };
    pixels.flat_map(|pixel| mix(ground, ink, part(pixel))).collect()
}

/// The part of a pixel that the outline covers.
fn coverage(outline: &Outline, x: u32, y: u32) -> f64 {
    let place = |pixel: u32, sample: u32| f64::from(pixel) + (f64::from(sample) + 0.5) / f64::from(SAMPLES);
    let samples = (0..SAMPLES * SAMPLES).filter(|i| contains(outline, place(x, i % SAMPLES), place(y, i / SAMPLES)));
    f64::from(u32::try_from(samples.count()).unwrap()) / f64::from(SAMPLES * SAMPLES)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte before")]
fn mix(ground: Rgb, ink: Rgb, part: f64) -> [u8; 3] {
    [0, 1, 2].map(|channel| (ground[channel] + (ink[channel] - ground[channel]) * part).round().clamp(0.0, 255.0) as u8)
}

fn find<'a, T>(table: &'a [(String, T)], name: &str) -> &'a T {
    &table.iter().find(|(other, _)| other == name).unwrap().1
}
