//! What a provider counted, where it counts in tokens and not in money.

/// Tokens of one request; 0 where the provider did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of text that were read.
    pub input_text: u64,
    /// Tokens of pictures that were read.
    pub input_image: u64,
    /// Tokens of pictures that were made.
    pub output_image: u64,
    /// Tokens of text that was written, thinking included.
    pub output_text: u64,
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            input_text: self.input_text.saturating_add(other.input_text),
            input_image: self.input_image.saturating_add(other.input_image),
            output_image: self.output_image.saturating_add(other.output_image),
            output_text: self.output_text.saturating_add(other.output_text),
        }
    }
}
