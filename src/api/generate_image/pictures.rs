//! Pictures that come with a request: a data URI, base64, or an address that is fetched safely. Each is checked to its
//! last byte before any provider sees it; no pixel is decoded.

use base64_simd::{STANDARD, forgiving_decode_to_vec};
use bytes::Bytes;

use crate::api::error::{ApiError, Code};
use crate::container;
use crate::fetch::{Fetcher, Picture, Rules};
use crate::generation::{GenerationRequest, SourceImage};

/// The pictures as they were written.
pub(super) struct GivenPictures {
    pub(super) image: Option<String>,
    pub(super) mask: Option<String>,
    pub(super) reference_images: Vec<String>,
}

impl GivenPictures {
    /// Each with its field, as it was written: a request that is sent again need not be fetched again.
    pub(super) fn written(&self) -> impl Iterator<Item = &str> {
        let image = self.image.iter().map(|text| ("image", text));
        let mask = self.mask.iter().map(|text| ("mask", text));
        let references = self.reference_images.iter().map(|text| ("reference_images", text));
        image.chain(mask).chain(references).flat_map(|(field, text)| [field, text.as_str()])
    }

    /// Reads all of them into `request`.
    pub(super) async fn read(self, fetcher: &Fetcher, request: &mut GenerationRequest) -> Result<(), ApiError> {
        if let Some(text) = self.image {
            request.image = Some(read("image", text, fetcher).await?);
        }
        if let Some(text) = self.mask {
            let mask = read("mask", text, fetcher).await?;
            if let Some(image) = request.image.as_ref().filter(|image| image.size != mask.size) {
                return Err(refused("mask", &format!("it is {} and `image` is {}", mask.size, image.size)));
            }
            request.mask = Some(mask);
        }
        for (index, text) in self.reference_images.into_iter().enumerate() {
            request.reference_images.push(read(&format!("reference_images[{index}]"), text, fetcher).await?);
        }
        Ok(())
    }
}

async fn read(field: &str, text: String, fetcher: &Fetcher) -> Result<SourceImage, ApiError> {
    let text = text.trim();
    let Picture { bytes, format, size } = if is_address(text) {
        let found = fetcher.picture(text, None).await;
        found.map_err(|error| {
            let detail = error.to_string();
            refused(field, &detail).with_source(error)
        })?
    } else {
        inline(text, fetcher.rules()).map_err(|why| refused(field, &why))?
    };
    Ok(SourceImage { bytes, format, size })
}

/// Whether the text is an address: base64 has no colon, and a data URI has its own scheme.
fn is_address(text: &str) -> bool {
    !starts_with(text, "data:") && text.get(..64).unwrap_or(text).contains("://")
}

fn starts_with(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
}

fn inline(text: &str, rules: &Rules) -> Result<Picture, String> {
    let base64 = if starts_with(text, "data:") {
        let (head, base64) = text.split_once(',').ok_or("the data URI holds nothing")?;
        if !head.to_ascii_lowercase().ends_with(";base64") {
            return Err("a data URI must be a base64 one: data:image/png;base64,…".to_owned());
        }
        base64
    } else {
        text
    };
    if base64.len() / 4 * 3 > rules.max_bytes.saturating_add(2) {
        return Err(format!("it is larger than {} bytes", rules.max_bytes));
    }
    let bytes = STANDARD.decode_to_vec(base64).or_else(|_| forgiving_decode_to_vec(base64.as_bytes()));
    let bytes = Bytes::from(bytes.map_err(|_| "it is neither a data URI nor base64 nor an https:// address")?);
    let declared = container::identify(&bytes).map_err(|error| format!("it {error}"))?;
    let (width, height) = (declared.size.width.get(), declared.size.height.get());
    if width.max(height) > rules.max_side || declared.size.pixels() > rules.max_pixels {
        let (side, pixels) = (rules.max_side, rules.max_pixels);
        return Err(format!("it is {}; at most {side} pixels a side and {pixels} in all are taken", declared.size));
    }
    let found = container::walk(&bytes).map_err(|error| format!("it {error}"))?;
    Ok(Picture { bytes, format: found.format, size: found.size })
}

fn refused(field: &str, why: &str) -> ApiError {
    let hint = "send a whole PNG, JPEG or WebP as a data URI, as base64, or as an https:// address";
    ApiError::new(Code::InvalidField, format!("`{field}` cannot be used: {why}"), hint).with_field(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules::for_tests(&[])
    }

    /// A whole PNG of 3x2 pixels.
    fn png() -> Vec<u8> {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::new(3, 2).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn base64_and_data_uris_are_read_in_their_usual_spellings() {
        let base64 = STANDARD.encode_to_string(png());
        let broken_lines: String =
            base64.as_bytes().chunks(20).flat_map(|line| [line, b"\r\n"].concat()).map(char::from).collect();
        let unpadded = base64.trim_end_matches('=').to_owned();
        let uri = format!("data:image/png;base64,{base64}");
        let loud = format!("DATA:image/jpeg;name=a.jpg;BASE64,{base64}");
        for text in [&base64, &broken_lines, &unpadded, &uri, &loud] {
            let picture = inline(text, &rules()).unwrap();
            assert_eq!((picture.size.to_string().as_str(), picture.bytes.to_vec()), ("3x2", png()));
        }
    }

    #[test]
    fn what_is_no_whole_picture_is_refused_with_a_reason() {
        let cut = STANDARD.encode_to_string(&png()[..40]);
        let text = STANDARD.encode_to_string(b"<svg xmlns='http://www.w3.org/2000/svg'/>");
        for (given, why) in [
            ("???", "neither a data URI"),
            ("data:image/png;base64", "holds nothing"),
            ("data:image/png,abc", "must be a base64 one"),
            (text.as_str(), "neither PNG"),
            (cut.as_str(), "cut off"),
            ("", "neither PNG"),
        ] {
            let said = inline(given, &rules()).unwrap_err();
            assert!(said.contains(why), "{given}: {said}");
        }
    }

    #[test]
    fn size_counts_before_content() {
        let base64 = STANDARD.encode_to_string(png());
        let small = Rules { max_bytes: 10, ..rules() };
        assert!(inline(&base64, &small).unwrap_err().contains("larger than 10 bytes"));
        for rules in [Rules { max_side: 2, ..rules() }, Rules { max_pixels: 5, ..rules() }] {
            assert!(inline(&base64, &rules).unwrap_err().starts_with("it is 3x2; at most"));
        }
    }

    #[test]
    fn addresses_are_told_from_base64() {
        for address in ["https://a/b.png", "HTTP://a", "ftp://x", " https://a".trim()] {
            assert!(is_address(address), "{address}");
        }
        for other in ["iVBORw0KGgo", "data:image/png;base64,http://", "DATA:,x://"] {
            assert!(!is_address(other), "{other}");
        }
    }
}
