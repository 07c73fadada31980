//! Drawing: whole pictures of any size, quickly. Nothing here knows requests.

mod drawing;

pub(crate) use drawing::{Drawing, Format};

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// A picture that can be drawn any number of times and is the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Picture {
    /// Width in pixels; at least 1.
    pub width: u32,
    /// Height in pixels; at least 1.
    pub height: u32,
    /// What it shows: others look different.
    pub subject: u64,
    /// About how large it is when encoded; `None` for whatever it compresses to.
    pub bytes: Option<usize>,
}

impl Picture {
    /// What a prompt looks like: another prompt, seed or place in a series gives another picture.
    pub fn subject(prompt: &str, seed: u64, index: u32) -> u64 {
        let mut hasher = DefaultHasher::new();
        (prompt, seed, index).hash(&mut hasher);
        hasher.finish()
    }

    /// The picture as PNG: a gradient between two colours, ending in as much noise as its size asks for.
    pub fn encode(&self) -> Vec<u8> {
        let (width, height) = (self.width.max(1), self.height.max(1));
        let mut pixels = self.pixels();
        let Some(bytes) = self.bytes else {
            return write_png(width, height, &pixels, png::Compression::Fast);
        };
        // A general-purpose level, because the fast one's fixed code makes noise larger than it is.
        let plain = write_png(width, height, &pixels, png::Compression::Balanced);
        let noise_length = bytes.saturating_sub(plain.len()).min(pixels.len());
        let mut noise = Noise(self.subject | 1);
        let first = pixels.len() - noise_length;
        pixels.iter_mut().skip(first).for_each(|pixel| *pixel = noise.next());
        write_png(width, height, &pixels, png::Compression::Balanced)
    }

    /// The gradient alone, three bytes a pixel.
    fn pixels(&self) -> Vec<u8> {
        self.gradient(self.width.max(1)).repeat(self.height.max(1) as usize)
    }

    fn gradient(&self, width: u32) -> Vec<u8> {
        let [r, g, b, dr, dg, db, ..] = self.subject.to_le_bytes();
        (0..width)
            .flat_map(|x| {
                let along = u8::try_from(u64::from(x) * 255 / u64::from(width)).unwrap_or(u8::MAX);
                let mix = |from: u8, to: u8| {
                    let (from, to, along) = (u16::from(from), u16::from(to), u16::from(along));
                    u8::try_from((from * (255 - along) + to * along) / 255).unwrap_or(u8::MAX)
                };
                [mix(r, dr), mix(g, dg), mix(b, db)]
            })
            .collect()
    }
}

#[expect(clippy::expect_used, reason = "writing a PNG with right dimensions into memory cannot fail")]
fn write_png(width: u32, height: u32, pixels: &[u8], compression: png::Compression) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(compression);
    encoder.set_filter(png::Filter::Up);
    let mut writer = encoder.write_header().expect("a header into memory");
    writer.write_image_data(pixels).expect("as many pixels as the header says");
    writer.finish().expect("an end into memory");
    file
}

/// Marsaglia's xorshift64*: bytes that do not compress.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u8 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes().first().copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn decode(file: &[u8]) -> (u32, u32) {
        let mut reader = png::Decoder::new(Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        reader.finish().unwrap();
        (info.width, info.height)
    }

    #[test]
    fn pictures_are_whole_and_of_the_asked_size() {
        for (width, height) in [(1, 1), (7, 3), (128, 128), (1024, 512)] {
            let file = Picture { width, height, subject: 9, bytes: None }.encode();
            assert_eq!(decode(&file), (width, height));
        }
    }

    #[test]
    fn pictures_are_about_as_large_as_asked() {
        let small = Picture { width: 256, height: 256, subject: 1, bytes: Some(1 << 10) }.encode();
        assert!(small.len().abs_diff(1 << 10) < 300, "{}", small.len());
        let large = Picture { width: 512, height: 512, subject: 1, bytes: Some(512 << 10) }.encode();
        assert!(large.len().abs_diff(512 << 10) < 8 << 10, "{}", large.len());
        assert_eq!(decode(&large), (512, 512));
    }

    #[test]
    fn prompt_seed_and_place_change_the_picture_and_nothing_else_does() {
        let subject = Picture::subject("a fox", 1, 0);
        assert_eq!(subject, Picture::subject("a fox", 1, 0));
        for other in [Picture::subject("a cat", 1, 0), Picture::subject("a fox", 2, 0), Picture::subject("a fox", 1, 1)]
        {
            assert_ne!(subject, other);
        }
    }
}
