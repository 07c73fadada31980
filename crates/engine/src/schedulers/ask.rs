//! What is asked of a schedule.

use super::sigmas::linspace;

/// What a schedule is made for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ask {
    /// How many steps.
    pub steps: u32,
    /// The noise levels, where the pipeline lays them itself (FLUX); only flow matching takes them. They are shifted like
    /// the class's own.
    pub sigmas: Option<Vec<f64>>,
    /// Into how many tokens the picture is cut, for schedules that shift with its size.
    pub image_seq_len: Option<u32>,
}

impl Ask {
    /// This many steps.
    pub fn steps(steps: u32) -> Self {
        Self { steps, ..Self::default() }
    }

    /// This many steps of FLUX, whose pipelines lay the noise levels evenly from 1 to `1 / steps`, for a picture that is cut
    /// into this many tokens.
    pub fn flux(steps: u32, image_seq_len: u32) -> Self {
        let laid = linspace(1.0, 1.0 / f64::from(steps), steps as usize);
        Self { steps, sigmas: Some(laid), image_seq_len: Some(image_seq_len) }
    }
}

#[cfg(test)]
mod tests {
    use super::Ask;

    #[test]
    fn levels_of_flux_go_down_evenly() {
        let levels = |steps| Ask::flux(steps, 4).sigmas.unwrap();
        assert_eq!(levels(4), [1.0, 0.75, 0.5, 0.25]);
        assert_eq!(levels(1), [1.0]);
        assert_eq!(levels(0), [0.0; 0]);
    }
}
