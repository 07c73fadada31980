//! From bytes to the encoder's numbers, and from the decoder's to bytes.

use tch::{Device, Kind, Tensor};

use crate::pictures::Pixels;
use crate::{Error, Result};

/// `(1, 3, h, w)` from -1 to 1, in single precision on the CPU. The numbers lie as the bytes do, pixel by pixel, as in diffusers:
/// the order decides which kernels the encoder's convolutions take.
pub fn of_picture(picture: &Pixels) -> Result<Tensor> {
    let rows = [1, i64::from(picture.height), i64::from(picture.width), 3];
    let bytes = Tensor::f_from_slice(&picture.rgb)?.f_view(rows)?.f_permute([0, 3, 1, 2])?;
    let mut unit = bytes.f_totype(Kind::Float)?.f_div_scalar_(255.0)?;
    Ok(unit.f_mul_scalar_(2.0)?.f_sub_scalar_(1.0)?)
}

/// -1…1 to 0…1, cut off outside, in single precision on the CPU.
pub fn to_unit_range(decoded: &Tensor) -> Result<Tensor> {
    let image = decoded.f_mul_scalar(0.5)?.f_add_scalar_(0.5)?.f_clamp_(0.0, 1.0)?;
    Ok(image.f_to(Device::Cpu)?.f_totype(Kind::Float)?)
}

/// `(1, 3, h, w)` in 0…1 to rows of red, green and blue bytes; halves are rounded to even, as NumPy does.
pub fn to_rgb(image: &Tensor) -> Result<Vec<u8>> {
    let (batch, channels, height, width) = image.size4()?;
    if (batch, channels) != (1, 3) {
        return Err(Error::broken(format!("vae: decodes to {channels} channels, a picture has 3")));
    }
    let bytes = image.f_squeeze_dim(0)?.f_permute([1, 2, 0])?.f_mul_scalar(255.0)?.f_round_()?;
    // A NaN has no byte; as black it would pass for a picture.
    if bytes.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
        return Err(Error::internal("the picture came out as not-a-number")
            .with_hint("compute in fp32 or bf16: fp16 overflows in some models"));
    }
    let bytes = bytes.f_totype(Kind::Uint8)?.f_contiguous()?;
    let count = usize::try_from(height * width * 3).unwrap_or_default();
    let mut rgb = vec![0; count];
    bytes.f_copy_data_u8(&mut rgb, count)?;
    Ok(rgb)
}

#[cfg(test)]
mod tests {
    use tch::Tensor;

    use super::{to_rgb, to_unit_range};

    #[test]
    fn channels_become_pixels() {
        // Two pixels; what lies outside is cut off.
        let decoded = [0.2, 1.8, 2.3, -3.0, 254.4, 600.0].map(|byte: f32| byte / 255.0 * 2.0 - 1.0);
        let image = to_unit_range(&Tensor::from_slice(&decoded).view([1, 3, 1, 2])).unwrap();
        assert_eq!(to_rgb(&image).unwrap(), [0, 2, 254, 2, 0, 255]);
    }

    #[test]
    fn halves_round_to_even() {
        let halves = [0.5_f32, 2.5, 4.5].map(|byte| byte / 255.0);
        let exact = halves.map(|value| (value * 255.0).to_bits());
        assert_eq!(exact, [0.5_f32, 2.5, 4.5].map(f32::to_bits), "halves");
        assert_eq!(to_rgb(&Tensor::from_slice(&halves).view([1, 3, 1, 1])).unwrap(), [0, 2, 4]);
    }

    #[test]
    fn not_a_number_is_no_picture() {
        let error = to_rgb(&Tensor::from_slice(&[f32::NAN; 3]).view([1, 3, 1, 1])).unwrap_err();
        assert!(error.to_string().contains("not-a-number"), "{error}");
    }

    #[test]
    fn four_channels_are_no_picture() {
        assert!(to_rgb(&Tensor::from_slice(&[0.0_f32; 4]).view([1, 4, 1, 1])).is_err());
    }
}
