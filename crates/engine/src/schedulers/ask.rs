//! What is asked of a schedule.

/// What a schedule is made for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ask {
    /// How many steps.
    pub steps: u32,
    /// Whether the pipeline lays the noise levels, evenly from 1 to `1 / steps` (FLUX); only flow matching follows. They are
    /// shifted like the class's own.
    pub evenly: bool,
    /// Into how many tokens the picture is cut, for schedules that shift with its size.
    pub image_seq_len: Option<u32>,
}

impl Ask {
    /// This many steps.
    pub fn steps(steps: u32) -> Self {
        Self { steps, ..Self::default() }
    }

    /// This many steps of FLUX, for a picture that is cut into this many tokens.
    pub fn flux(steps: u32, image_seq_len: u32) -> Self {
        Self { steps, evenly: true, image_seq_len: Some(image_seq_len) }
    }
}
