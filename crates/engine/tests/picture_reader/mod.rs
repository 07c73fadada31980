//! Reads a picture of the small built-in model back: which colour, shape, place, size and ground do its pixels show?
//! The same steps as `tools/shapes/reader.py`, with the tables that the model brings in `words.json`; nothing learned.

mod drawing;
mod geometry;

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

pub use drawing::{Random, draw, random_scene};
use geometry::{Bitmap, Outline};

pub type Rgb = [f64; 3];

/// The five attributes that a caption asks for or a picture shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    pub size: String,
    pub colour: String,
    pub shape: String,
    pub place: String,
    pub ground: String,
}

impl Scene {
    /// Whether the picture shows what decides: all but the size.
    pub fn is_right(&self, asked: &Self) -> bool {
        (&self.colour, &self.shape, &self.place, &self.ground)
            == (&asked.colour, &asked.shape, &asked.place, &asked.ground)
    }
}

/// What the model's folder says of its words and pictures.
pub struct Words {
    pub canvas: usize,
    pub steps: u32,
    pub guidance_scale: f64,
    pub palette: Vec<(String, Rgb)>,
    pub places: Vec<(String, (f64, f64))>,
    pub sizes: Vec<(String, f64)>,
    pub shapes: Vec<(String, Outline)>,
    pub captions: Vec<(String, Scene)>,
    frame: usize,
    far: f64,
    few: usize,
    alike: f64,
}

impl Words {
    pub fn open(model: &Path) -> Self {
        let path = model.join("words.json");
        let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let words: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(words["columns"], serde_json::json!(["caption", "size", "colour", "shape", "place", "ground"]));
        let reader = &words["reader"];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let captions = words["captions"].as_array().unwrap().iter().map(|row| {
            let [size, colour, shape, place, ground] = [1, 2, 3, 4, 5].map(|column| text(&row[column]));
            (text(&row[0]), Scene { size, colour, shape, place, ground })
        });
        Self {
            canvas: count(&words["canvas"]),
            steps: count(&words["steps"]).try_into().unwrap(),
            guidance_scale: number(&words["guidance_scale"]),
            palette: table(&words["palette"], |rgb| [number(&rgb[0]), number(&rgb[1]), number(&rgb[2])]),
            places: table(&words["places"], point),
            sizes: table(&words["sizes"], number),
            shapes: table(&words["shapes"], |outline| outline.as_array().unwrap().iter().map(point).collect()),
            captions: captions.collect(),
            frame: count(&reader["frame"]),
            far: number(&reader["far"]),
            few: count(&reader["few"]),
            alike: number(&reader["alike"]),
        }
    }

    /// What the picture shows; an attribute that cannot be told is empty. `rgb` holds rows of red, green and blue bytes.
    pub fn read(&self, rgb: &[u8]) -> Scene {
        let side = self.canvas;
        assert_eq!(rgb.len(), 3 * side * side, "the picture is not {side}x{side}");
        let pixels: Vec<Rgb> = rgb.chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(f64::from)).collect();
        let ground = self.ground(&pixels);
        let nothing = Scene {
            size: String::new(),
            colour: String::new(),
            shape: String::new(),
            place: String::new(),
            ground: self.nearest_colour(ground),
        };
        let candidates: Vec<(f64, Rgb)> =
            pixels.iter().map(|p| (distance(*p, ground).sqrt(), *p)).filter(|(far, _)| *far > self.far).collect();
        if candidates.len() < self.few {
            return nothing;
        }
        let half = median(candidates.iter().map(|(far, _)| *far));
        let ink = median_rgb(candidates.iter().filter(|(far, _)| *far >= half).map(|(_, p)| *p));
        let object = pixels.iter().map(|p| distance(*p, ink) < distance(*p, ground)).collect();
        let Some(piece) = Bitmap::new(side, object).largest_piece() else { return nothing };
        let bounds = piece.bounds();
        let (x, y) = bounds.centre();
        let (area, centroid) = piece.area_and_centroid();
        let overlap = |outline| piece.overlap(&geometry::laid_over(outline, area, centroid));
        let overlaps = self.shapes.iter().map(|(name, outline)| (name, overlap(outline)));
        let (shape, overlap) = overlaps.reduce(|best, other| if other.1 > best.1 { other } else { best }).unwrap();
        Scene {
            size: nearest(&self.sizes, |size| (size - bounds.half_side()).abs()),
            colour: self.nearest_colour(ink),
            shape: if overlap >= self.alike { shape.clone() } else { String::new() },
            place: nearest(&self.places, |place| (place.0 - x).powi(2) + (place.1 - y).powi(2)),
            ..nothing
        }
    }

    /// The median of the picture's frame.
    fn ground(&self, pixels: &[Rgb]) -> Rgb {
        let inner = self.frame..self.canvas - self.frame;
        let in_frame = |i: usize| !(inner.contains(&(i % self.canvas)) && inner.contains(&(i / self.canvas)));
        median_rgb(pixels.iter().enumerate().filter(|(i, _)| in_frame(*i)).map(|(_, p)| *p))
    }

    fn nearest_colour(&self, rgb: Rgb) -> String {
        nearest(&self.palette, |colour| distance(*colour, rgb))
    }
}

fn nearest<T>(table: &[(String, T)], distance: impl Fn(&T) -> f64) -> String {
    table.iter().min_by(|a, b| distance(&a.1).total_cmp(&distance(&b.1))).unwrap().0.clone()
}

fn distance(a: Rgb, b: Rgb) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

fn median_rgb(pixels: impl Iterator<Item = Rgb>) -> Rgb {
    let pixels: Vec<Rgb> = pixels.collect();
    [0, 1, 2].map(|channel| median(pixels.iter().map(|p| p[channel])))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] }
}

fn table<T>(value: &Value, read: impl Fn(&Value) -> T) -> Vec<(String, T)> {
    let map: &Map<String, Value> = value.as_object().unwrap();
    map.iter().map(|(name, value)| (name.clone(), read(value))).collect()
}

fn point(value: &Value) -> (f64, f64) {
    (number(&value[0]), number(&value[1]))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn count(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}
