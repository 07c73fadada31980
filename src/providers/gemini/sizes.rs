//! The sizes that a model makes. Requests name a ratio and a resolution; which pixels come of the two stands in a table.

use serde::Deserialize;

use crate::generation::{AspectRatio, Generation, ImageSize};
use crate::providers::{Error, ErrorKind};

/// A ratio by its name on the wire, and its pixels at 1K.
pub(super) type Ratio = (String, ImageSize);

/// What the Gemini 3 models make at 1K; 2K and 4K have exactly twice and four times the sides.
/// <https://ai.google.dev/gemini-api/docs/image-generation#aspect_ratios_and_image_size>
const GEMINI_3: [(&str, u32, u32); 10] = [
    ("1:1", 1024, 1024),
    ("2:3", 848, 1264),
    ("3:2", 1264, 848),
    ("3:4", 896, 1200),
    ("4:3", 1200, 896),
    ("4:5", 928, 1152),
    ("5:4", 1152, 928),
    ("9:16", 768, 1376),
    ("16:9", 1376, 768),
    ("21:9", 1584, 672),
];

/// `imageSize` as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Resolution {
    #[serde(rename = "512")]
    Half,
    #[serde(rename = "1K")]
    OneK,
    #[serde(rename = "2K")]
    TwoK,
    #[serde(rename = "4K")]
    FourK,
}

/// A size and what is asked for to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// What comes back.
    pub size: ImageSize,
    /// `aspectRatio`.
    pub ratio: String,
    /// `imageSize`; `None` where the model has one resolution only and is not sent any.
    pub resolution: Option<Resolution>,
}

/// All sizes of a model, smaller ones first.
#[derive(Debug, Clone)]
pub(super) struct Sizes(Vec<Shape>);

impl Resolution {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Half => "512",
            Self::OneK => "1K",
            Self::TwoK => "2K",
            Self::FourK => "4K",
        }
    }

    /// The size of a ratio that has `size` at 1K; `None` where there is none.
    fn of(self, size: ImageSize) -> Option<ImageSize> {
        let (width, height) = (size.width.get(), size.height.get());
        let times = |factor: u32| ImageSize::new(width.checked_mul(factor)?, height.checked_mul(factor)?);
        match self {
            Self::Half => ImageSize::new(width / 2, height / 2).filter(|half| half.width.get() * 2 == width),
            Self::OneK => Some(size),
            Self::TwoK => times(2),
            Self::FourK => times(4),
        }
    }
}

/// The ratios of the Gemini 3 models.
pub(super) fn gemini_3() -> Vec<Ratio> {
    let sized = |(name, width, height): (&str, u32, u32)| Some((name.to_owned(), ImageSize::new(width, height)?));
    GEMINI_3.into_iter().filter_map(sized).collect()
}

impl Shape {
    /// A ratio is honoured where it is recognisable; whether the pixels must be the very ones is not for here to say.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when a picture has another ratio than the one that was asked for.
    pub(super) fn check(&self, generation: &Generation) -> Result<(), Error> {
        let ratio = |size: ImageSize| f64::from(size.width.get()) / f64::from(size.height.get());
        let is_other = |size: ImageSize| (ratio(size) / ratio(self.size)).ln().abs() > 0.05;
        match generation.images.iter().find(|image| is_other(image.size)) {
            Some(image) => {
                let sentence = format!("the picture is {} where {} was asked for", image.size, self.ratio);
                Err(Error::new(ErrorKind::Protocol, sentence))
            }
            None => Ok(()),
        }
    }
}

impl Sizes {
    /// Every ratio at every resolution; without resolutions, every ratio once.
    ///
    /// # Errors
    /// The size that two of them have in common, so that it could be asked for in two ways.
    pub(super) fn new(ratios: &[Ratio], resolutions: &[Resolution]) -> Result<Self, ImageSize> {
        let mut shapes = Vec::new();
        for (ratio, size) in ratios {
            let mut add = |size: ImageSize, resolution: Option<Resolution>| {
                shapes.push(Shape { size, ratio: ratio.clone(), resolution });
            };
            if resolutions.is_empty() {
                add(*size, None);
            }
            // The vendor's table has 792x168 for the widest ratio at 512, which is not that ratio. What comes back is not
            // known, so it is not promised.
            let told = |resolution: &&Resolution| !(**resolution == Resolution::Half && ratio == "21:9");
            for resolution in resolutions.iter().filter(told) {
                if let Some(size) = resolution.of(*size) {
                    add(size, Some(*resolution));
                }
            }
        }
        shapes.sort_by_key(|shape| (shape.size.pixels(), shape.size.width));
        let mut pairs = shapes.iter().zip(shapes.iter().skip(1));
        match pairs.find(|(one, two)| one.size == two.size) {
            Some((twice, _)) => Err(twice.size),
            None => Ok(Self(shapes)),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<ImageSize> {
        self.0.iter().map(|shape| shape.size).collect()
    }

    /// How exactly this size is asked for.
    pub(super) fn find(&self, size: ImageSize) -> Option<&Shape> {
        self.0.iter().find(|shape| shape.size == size)
    }

    /// How the nearest to a ratio is asked for, as close as may be to the pixels of `usual`.
    pub(super) fn nearest(&self, ratio: AspectRatio, usual: Option<ImageSize>) -> Option<&Shape> {
        let shape = |width: u32, height: u32| (f64::from(width) / f64::from(height)).ln();
        let wished = shape(ratio.width.get(), ratio.height.get());
        let pixels = usual.map_or(1 << 20, ImageSize::pixels);
        let distance = |at: &Shape| {
            let off = (shape(at.size.width.get(), at.size.height.get()) - wished).abs();
            (off, at.size.pixels().abs_diff(pixels))
        };
        self.0.iter().min_by(|one, two| {
            let (one, two) = (distance(one), distance(two));
            one.0.total_cmp(&two.0).then(one.1.cmp(&two.1))
        })
    }
}
