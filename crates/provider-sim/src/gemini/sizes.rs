//! Pixels of ratios and sizes.

use super::models::Model;

/// Width and height.
type Pixels = (u32, u32);

/// Width and height of the first model and of the others at 1K, by ratio.
const RATIOS: &[(&str, Pixels, Pixels)] = &[
    ("1:1", (1024, 1024), (1024, 1024)),
    ("2:3", (832, 1248), (848, 1264)),
    ("3:2", (1248, 832), (1264, 848)),
    ("3:4", (864, 1184), (896, 1200)),
    ("4:3", (1184, 864), (1200, 896)),
    ("4:5", (896, 1152), (928, 1152)),
    ("5:4", (1152, 896), (1152, 928)),
    ("9:16", (768, 1344), (768, 1376)),
    ("16:9", (1344, 768), (1376, 768)),
    ("21:9", (1536, 672), (1584, 672)),
];

/// Those of 3.1 flash alone.
const EXTREME: &[(&str, Pixels)] =
    &[("1:4", (512, 2048)), ("4:1", (2048, 512)), ("1:8", (384, 3072)), ("8:1", (3072, 384))];

/// The ratios that a model takes.
pub(super) fn ratios(model: &Model) -> Vec<&'static str> {
    let extreme = EXTREME.iter().map(|(ratio, _)| *ratio).filter(|_| model.extreme_ratios);
    RATIOS.iter().map(|(ratio, ..)| *ratio).chain(extreme).collect()
}

/// The pixels of a ratio and a size that the model takes.
pub(super) fn pixels(model: &Model, ratio: &str, size: &str) -> Pixels {
    let usual = RATIOS.iter().find(|(name, ..)| *name == ratio);
    let extreme = EXTREME.iter().find(|(name, _)| *name == ratio);
    let (width, height) = match (usual, extreme) {
        (Some((_, first, _)), _) if model.is_first => *first,
        (Some((.., later)), _) => *later,
        (None, Some((_, pixels))) => *pixels,
        (None, None) => (1024, 1024),
    };
    match size {
        "512" => (width / 2, height / 2),
        "2K" => (width * 2, height * 2),
        "4K" => (width * 4, height * 4),
        _ => (width, height),
    }
}

/// The ratio that is nearest to that of a picture.
pub(super) fn nearest(model: &Model, (width, height): (u32, u32)) -> &'static str {
    let wanted = (f64::from(width.max(1)) / f64::from(height.max(1))).ln();
    let distance = |ratio: &str| {
        let (width, height) = pixels(model, ratio, "1K");
        ((f64::from(width) / f64::from(height)).ln() - wanted).abs()
    };
    ratios(model).into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or("1:1")
}
