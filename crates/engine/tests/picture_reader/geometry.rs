//! Bitmaps, outlines and bounding boxes.

/// A closed polygon; x to the right, y down.
pub type Outline = Vec<(f64, f64)>;

/// A square of pixels that are in or out.
pub struct Bitmap {
    side: u16,
    bits: Vec<bool>,
}

impl Bitmap {
    pub fn new(side: usize, bits: Vec<bool>) -> Self {
        Self { side: side.try_into().unwrap(), bits }
    }

    fn index(&self, x: u16, y: u16) -> usize {
        usize::from(y) * usize::from(self.side) + usize::from(x)
    }

    pub fn get(&self, x: u16, y: u16) -> bool {
        self.bits[self.index(x, y)]
    }

    /// The largest piece that hangs together by edges.
    pub fn largest_piece(mut self) -> Option<Self> {
        let mut largest = Vec::new();
        for y in 0..self.side {
            for x in 0..self.side {
                let piece = self.take_piece(x, y);
                if piece.len() > largest.len() {
                    largest = piece;
                }
            }
        }
        let mut bits = vec![false; self.bits.len()];
        for (x, y) in &largest {
            bits[self.index(*x, *y)] = true;
        }
        (!largest.is_empty()).then_some(Self { side: self.side, bits })
    }

    /// Removes the piece at a pixel, and gives its pixels.
    fn take_piece(&mut self, x: u16, y: u16) -> Vec<(u16, u16)> {
        let (mut piece, mut stack) = (Vec::new(), vec![(x, y)]);
        while let Some((x, y)) = stack.pop() {
            let index = self.index(x, y);
            if !std::mem::take(&mut self.bits[index]) {
                continue;
            }
            piece.push((x, y));
            let last = self.side - 1;
            let around = [(x.checked_sub(1), Some(y)), (Some(x), y.checked_sub(1))];
            stack.extend(around.into_iter().filter_map(|(x, y)| x.zip(y)));
            stack.extend([(x + 1, y), (x, y + 1)].into_iter().filter(|(x, y)| *x <= last && *y <= last));
        }
        piece
    }

    /// Pixels that are in, and the mean of their centres.
    pub fn area_and_centroid(&self) -> (f64, (f64, f64)) {
        let (mut area, mut x_sum, mut y_sum) = (0.0, 0.0, 0.0);
        for y in 0..self.side {
            for x in (0..self.side).filter(|x| self.get(*x, y)) {
                area += 1.0;
                x_sum += f64::from(x) + 0.5;
                y_sum += f64::from(y) + 0.5;
            }
        }
        (area, (x_sum / area, y_sum / area))
    }

    /// Intersection over union of the pixels that are in and the filled outline.
    pub fn overlap(&self, outline: &Outline) -> f64 {
        let (mut both, mut either) = (0_u32, 0_u32);
        for y in 0..self.side {
            for x in 0..self.side {
                let (a, b) = (self.get(x, y), contains(outline, f64::from(x) + 0.5, f64::from(y) + 0.5));
                both += u32::from(a && b);
                either += u32::from(a || b);
            }
        }
        f64::from(both) / f64::from(either.max(1))
    }

    /// The box around all pixels that are in.
    pub fn bounds(&self) -> Bounds {
        let mut bounds = Bounds { left: self.side, top: self.side, right: 0, bottom: 0 };
        for y in 0..self.side {
            for x in 0..self.side {
                if self.get(x, y) {
                    bounds.left = bounds.left.min(x);
                    bounds.top = bounds.top.min(y);
                    bounds.right = bounds.right.max(x + 1);
                    bounds.bottom = bounds.bottom.max(y + 1);
                }
            }
        }
        bounds
    }
}

/// A box of pixels; right and bottom are the first ones outside.
pub struct Bounds {
    pub left: u16,
    pub top: u16,
    pub right: u16,
    pub bottom: u16,
}

impl Bounds {
    pub fn centre(&self) -> (f64, f64) {
        (f64::midpoint(self.left.into(), self.right.into()), f64::midpoint(self.top.into(), self.bottom.into()))
    }

    /// Half of the longer side.
    pub fn half_side(&self) -> f64 {
        f64::from((self.right - self.left).max(self.bottom - self.top)) / 2.0
    }
}

/// The outline scaled on both axes alike and moved, so that it has this area and this centroid. A bounding box would
/// hang on the last pixel of a star's tip.
pub fn laid_over(outline: &Outline, area: f64, centroid: (f64, f64)) -> Outline {
    let (own_area, own_centroid) = area_and_centroid(outline);
    let scale = (area / own_area).sqrt();
    let lay =
        |(x, y): &(f64, f64)| (centroid.0 + (x - own_centroid.0) * scale, centroid.1 + (y - own_centroid.1) * scale);
    outline.iter().map(lay).collect()
}

/// By the shoelace formula.
fn area_and_centroid(outline: &Outline) -> (f64, (f64, f64)) {
    let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
    for ((x0, y0), (x1, y1)) in outline.iter().zip(outline.iter().cycle().skip(1)) {
        let cross = x0 * y1 - x1 * y0;
        area += cross / 2.0;
        x += (x0 + x1) * cross / 6.0;
        y += (y0 + y1) * cross / 6.0;
    }
    (area.abs(), (x / area, y / area))
}

/// Whether a point lies in an outline: an odd number of edges lies to its left.
pub fn contains(outline: &Outline, x: f64, y: f64) -> bool {
    let next = outline.iter().cycle().skip(1);
    outline.iter().zip(next).fold(false, |odd, ((x0, y0), (x1, y1))| {
        let crosses = (*y0 > y) != (*y1 > y) && x > x0 + (y - y0) / (y1 - y0) * (x1 - x0);
        odd ^ crosses
    })
}
