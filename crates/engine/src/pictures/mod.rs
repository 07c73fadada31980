//! Pictures as bytes: reading the files that come with a job, and the arithmetic on pixels around inpainting, which is
//! Pillow's to the last bit, as diffusers does it there. No tensors, and no files of our own.

mod overlay;
mod read;
mod region;
mod resize;

pub use overlay::lay_over;
pub use read::{Backdrop, MAX_BASE64, read};
pub use region::Region;

/// A picture that comes with a request.
#[derive(Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Rows of red, green and blue bytes.
    pub rgb: Vec<u8>,
}

/// Megabytes of bytes help nobody in a log.
impl std::fmt::Debug for Pixels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pixels({}x{})", self.width, self.height)
    }
}

impl Pixels {
    /// Black.
    fn black(width: u32, height: u32) -> Self {
        Self { width, height, rgb: vec![0; 3 * width as usize * height as usize] }
    }

    /// How bright each pixel is, from 0 to 255, as Pillow's `convert("L")` (ITU-R 601).
    pub fn brightness(&self) -> impl Iterator<Item = u8> {
        self.rgb.as_chunks::<3>().0.iter().map(|&[red, green, blue]| {
            let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471 + 0x8000;
            (sum >> 16).to_le_bytes()[0]
        })
    }

    /// The row at `y` as bytes; empty beyond the picture.
    fn row(&self, y: u32) -> &[u8] {
        let stride = 3 * self.width as usize;
        self.rgb.get(y as usize * stride..).and_then(|rows| rows.get(..stride)).unwrap_or_default()
    }

    /// The part of the picture in a region that lies within it.
    #[must_use]
    pub fn crop(&self, region: Region) -> Self {
        let (from, to) = (3 * region.left as usize, 3 * region.right as usize);
        let rows = (region.top..region.bottom).flat_map(|y| self.row(y).get(from..to).unwrap_or_default());
        Self { width: region.width(), height: region.height(), rgb: rows.copied().collect() }
    }

    /// Lays another picture on this one, its corner at `(left, top)`, which may lie outside.
    fn paste(&mut self, other: &Self, left: i64, top: i64) {
        let first = left.max(0);
        let last = (left + i64::from(other.width)).min(i64::from(self.width));
        let Ok(length) = usize::try_from(last - first) else { return };
        let stride = 3 * self.width as usize;
        for (y, row) in (top..).zip(other.rgb.chunks_exact((3 * other.width as usize).max(1))) {
            let (Ok(y), Ok(to), Ok(from)) = (usize::try_from(y), usize::try_from(first), usize::try_from(first - left))
            else {
                continue;
            };
            let target = self.rgb.get_mut(y * stride + 3 * to..).and_then(|rows| rows.get_mut(..3 * length));
            if let (Some(target), Some(source)) = (target, row.get(3 * from..3 * (from + length)))
                && y < self.height as usize
            {
                target.copy_from_slice(source);
            }
        }
    }
}
