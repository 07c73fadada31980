//! What a picture is made from besides its noise, and what of it can be computed once.

use tch::Tensor;

use crate::models::transformer::TextKeys;

/// What a picture is made from besides its noise. All of one batch size, that of the latents.
#[derive(Debug, Clone, Copy)]
pub struct Conditions<'a> {
    /// `(batch, tokens, cross_attention_dim)`.
    pub text: &'a Tensor,
    /// `(batch, width)`: the pooled text, where the config says `text_time`.
    pub pooled: Option<&'a Tensor>,
    /// `(batch, n)`: sizes and crops, where the config says `text_time`.
    pub time_ids: Option<&'a Tensor>,
    /// `(batch, time_cond_proj_dim)`: the guidance embedding, where the config has one; zeros when absent.
    pub guidance: Option<&'a Tensor>,
}

/// What of [`Conditions`] is the same at every step.
#[derive(Debug)]
pub struct Conditioning {
    pub(super) texts: Vec<TextKeys>,
    pub(super) added: Option<Tensor>,
    pub(super) guidance: Option<Tensor>,
}
