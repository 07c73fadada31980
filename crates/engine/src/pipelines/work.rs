//! Which kind of work a request asks for. What does not go together is refused here, before anything is computed.

use super::Request;
use crate::pictures::{Pixels, Region, lay_over};
use crate::{Error, Result};

/// A kind of work, its pictures already as large as what is computed.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// From the text alone.
    Text,
    /// From a picture.
    Image {
        /// What it begins from.
        image: Pixels,
        /// How far it goes from there.
        strength: f64,
    },
    /// In place of a part of a picture.
    Inpaint {
        /// What it begins from.
        image: Pixels,
        /// Where it is repainted: white is, black stays.
        mask: Pixels,
        /// How far it goes from `image`.
        strength: f64,
        /// Where the result is laid into, if only a part of the picture is computed.
        frame: Option<Frame>,
    },
}

/// A picture of which a part is computed.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    original: Pixels,
    mask: Pixels,
    region: Region,
}

impl Frame {
    /// The whole picture, with what was made in its place.
    pub fn with(&self, made: &Pixels) -> Pixels {
        lay_over(&self.original, &self.mask, made, self.region)
    }
}

/// How far pictures go from where they begin when nobody says; pipelines differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strengths {
    /// From a picture.
    pub image: f64,
    /// In place of a part of one.
    pub inpaint: f64,
}

impl Work {
    /// What is asked for. Pictures of another size are brought to it as diffusers does.
    pub fn of(request: &Request, strengths: Strengths) -> Result<Self> {
        let (width, height) = (request.width, request.height);
        if let Some(strength) = request.strength
            && !(0.0..=1.0).contains(&strength)
        {
            return Err(Error::invalid(format!("strength is {strength}, not from 0 to 1")));
        }
        let Some(image) = &request.image else {
            return match (&request.mask, request.mask_padding, request.strength) {
                (None, None, None) => Ok(Self::Text),
                (Some(_), ..) => Err(needs("mask", "an image")),
                (None, Some(_), _) => Err(needs("mask_padding", "an image and a mask")),
                (None, None, Some(_)) => Err(needs("strength", "an image")),
            };
        };
        let Some(mask) = &request.mask else {
            if request.mask_padding.is_some() {
                return Err(needs("mask_padding", "a mask"));
            }
            let strength = request.strength.unwrap_or(strengths.image);
            return Ok(Self::Image { image: image.resized(width, height), strength });
        };
        let strength = request.strength.unwrap_or(strengths.inpaint);
        let Some(padding) = request.mask_padding else {
            let (image, mask) = (image.resized(width, height), mask.resized(width, height));
            return Ok(Self::Inpaint { image, mask, strength, frame: None });
        };
        if (image.width, image.height) != (mask.width, mask.height) {
            return Err(Error::invalid(format!(
                "the image has {}x{} pixels and the mask {}x{}; mask_padding needs both of one size",
                image.width, image.height, mask.width, mask.height
            )));
        }
        let region = Region::around(mask, (width, height), padding).ok_or_else(|| {
            Error::invalid("the mask is black everywhere, so mask_padding has nothing to go around")
                .with_hint("paint white where the picture is to change")
        })?;
        let part = |picture: &Pixels| picture.crop(region).fitted(width, height);
        let frame = Frame { original: image.clone(), mask: mask.clone(), region };
        Ok(Self::Inpaint { image: part(image), mask: part(mask), strength, frame: Some(frame) })
    }

    /// How far it goes from where it begins; 1 where it begins with nothing.
    pub fn strength(&self) -> f64 {
        match self {
            Self::Text => 1.0,
            Self::Image { strength, .. } | Self::Inpaint { strength, .. } => *strength,
        }
    }
}

fn needs(field: &str, what: &str) -> Error {
    Error::invalid(format!("{field} is given, which needs {what}"))
}

#[cfg(test)]
mod tests {
    use super::{Strengths, Work};
    use crate::pictures::Pixels;
    use crate::pipelines::Request;

    const STRENGTHS: Strengths = Strengths { image: 0.8, inpaint: 1.0 };

    fn grey(width: u32, height: u32, value: u8) -> Pixels {
        Pixels { width, height, rgb: vec![value; 3 * width as usize * height as usize] }
    }

    fn request() -> Request {
        Request { width: 16, height: 8, ..Request::default() }
    }

    fn refused(request: &Request) -> String {
        Work::of(request, STRENGTHS).unwrap_err().to_string()
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        let picture = || Some(grey(4, 4, 255));
        assert_eq!(refused(&Request { mask: picture(), ..request() }), "mask is given, which needs an image");
        assert_eq!(refused(&Request { strength: Some(0.5), ..request() }), "strength is given, which needs an image");
        let padding = Request { image: picture(), mask_padding: Some(3), ..request() };
        assert_eq!(refused(&padding), "mask_padding is given, which needs a mask");
        for strength in [-0.1, 1.1, f64::NAN] {
            let far = Request { image: picture(), strength: Some(strength), ..request() };
            assert!(refused(&far).starts_with("strength is "));
        }
        let sizes = Request { image: picture(), mask: Some(grey(4, 5, 255)), mask_padding: Some(1), ..request() };
        assert!(refused(&sizes).contains("4x4 pixels and the mask 4x5"));
        let black = Request { image: picture(), mask: Some(grey(4, 4, 0)), mask_padding: Some(1), ..request() };
        assert!(refused(&black).contains("black everywhere"));
    }

    #[test]
    fn pictures_come_out_as_large_as_what_is_computed() {
        let request = Request { image: Some(grey(5, 9, 7)), mask: Some(grey(3, 3, 255)), ..request() };
        let Work::Inpaint { image, mask, strength, frame } = Work::of(&request, STRENGTHS).unwrap() else {
            panic!("there is a mask");
        };
        assert_eq!((image, mask), (grey(16, 8, 7), grey(16, 8, 255)));
        assert!((strength - 1.0).abs() < 1e-12 && frame.is_none());
    }
}
