//! A picture as a file of one of the formats, and the name that says which.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder as _};

use crate::Picture;

/// The formats that are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    Png,
    Jpeg,
    Webp,
}

impl Format {
    const ALL: [Self; 3] = [Self::Png, Self::Jpeg, Self::Webp];

    /// As `OpenAI` writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
        }
    }

    /// Of `png`, `jpeg`, `jpg` or `webp`, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        let name = if name.eq_ignore_ascii_case("jpg") { "jpeg" } else { name };
        Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    pub fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// A picture as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Drawing {
    pub picture: Picture,
    pub format: Format,
    /// Whether it has an alpha channel, whose left half is transparent. JPEG has none.
    pub alpha: bool,
}

impl Drawing {
    /// The whole file.
    #[expect(clippy::expect_used, reason = "writing a picture with right dimensions into memory cannot fail")]
    pub fn encode(&self) -> Vec<u8> {
        let alpha = self.alpha && self.format != Format::Jpeg;
        if self.format == Format::Png && !alpha {
            return self.picture.encode();
        }
        let (width, height) = (self.picture.width.max(1), self.picture.height.max(1));
        let mut pixels = self.picture.pixels();
        let mut color = ExtendedColorType::Rgb8;
        if alpha {
            color = ExtendedColorType::Rgba8;
            let row = width as usize;
            pixels = pixels
                .chunks(3)
                .enumerate()
                .flat_map(|(at, pixel)| {
                    let opacity = if at % row < row / 2 { 0 } else { u8::MAX };
                    pixel.iter().copied().chain([opacity])
                })
                .collect();
        }
        let mut file = Cursor::new(Vec::new());
        match self.format {
            Format::Png => PngEncoder::new(&mut file).write_image(&pixels, width, height, color),
            Format::Jpeg => JpegEncoder::new_with_quality(&mut file, 80).write_image(&pixels, width, height, color),
            Format::Webp => WebPEncoder::new_lossless(&mut file).write_image(&pixels, width, height, color),
        }
        .expect("a picture into memory");
        file.into_inner()
    }

    /// The name from which it can be drawn again.
    pub fn name(&self) -> String {
        let Picture { width, height, subject, bytes } = self.picture;
        let channels = if self.alpha { "rgba" } else { "rgb" };
        format!("{width}x{height}-{subject}-{}-{channels}.{}", bytes.unwrap_or(0), self.format.name())
    }

    /// What this is the name of.
    pub fn from_name(name: &str) -> Option<Self> {
        let (stem, extension) = name.rsplit_once('.')?;
        let mut words = stem.split('-');
        let (width, height) = words.next()?.split_once('x')?;
        let (width, height): (u32, u32) = (width.parse().ok()?, height.parse().ok()?);
        if width.max(height) > 4200 || width.min(height) < 1 {
            return None;
        }
        let subject = words.next()?.parse().ok()?;
        let bytes = words.next()?.parse().ok().filter(|bytes| *bytes > 0);
        let alpha = words.next()? == "rgba";
        Some(Self { picture: Picture { width, height, subject, bytes }, format: Format::parse(extension)?, alpha })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_whole_and_its_name_leads_back_to_it() {
        for format in Format::ALL {
            for alpha in [false, true] {
                let picture = Picture { width: 30, height: 20, subject: 7, bytes: None };
                let drawing = Drawing { picture, format, alpha };
                assert_eq!(Drawing::from_name(&drawing.name()), Some(drawing));
                let read = image::load_from_memory(&drawing.encode()).unwrap();
                assert_eq!((read.width(), read.height()), (30, 20), "{format:?}");
                assert_eq!(read.color().has_alpha(), alpha && format != Format::Jpeg, "{format:?}");
            }
        }
    }
}
