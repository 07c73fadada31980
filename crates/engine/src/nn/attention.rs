//! Multi-head attention, without the projections around it.

use tch::{Kind, Tensor};

use crate::Result;

/// `(batch, tokens, heads·dim)` to `(batch, heads, tokens, dim)`, as a view.
pub fn split_heads(x: &Tensor, heads: i64) -> Result<Tensor> {
    let (batch, tokens, width) = x.size3()?;
    Ok(x.f_view([batch, tokens, heads, width / heads])?.f_transpose(1, 2)?)
}

/// `(batch, heads, tokens, dim)` to `(batch, tokens, heads·dim)`.
pub fn merge_heads(x: &Tensor) -> Result<Tensor> {
    let (batch, heads, tokens, dim) = x.size4()?;
    Ok(x.f_transpose(1, 2)?.f_reshape([batch, tokens, heads * dim])?)
}

/// Who may look at whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mask {
    /// Everyone at everyone.
    None,
    /// Everyone at itself and what came before.
    Causal,
}

/// Scaled dot-product attention over split heads.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, mask: Mask) -> Result<Tensor> {
    let causal = mask == Mask::Causal;
    Ok(Tensor::f_scaled_dot_product_attention::<&Tensor>(query, key, value, None, 0.0, causal, None, false)?)
}

/// Attention over split heads whose scores are multiplied by `scale` and to which `bias`, which must spread to
/// `(batch, heads, tokens, tokens)`, is added.
pub fn attend_with_bias(query: &Tensor, key: &Tensor, value: &Tensor, bias: &Tensor, scale: f64) -> Result<Tensor> {
    Ok(Tensor::f_scaled_dot_product_attention(query, key, value, Some(bias), 0.0, false, scale, false)?)
}

/// [`attend`] in single precision, for models whose scores overflow in half.
pub fn attend_in_single(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let kind = query.f_kind()?;
    let single = |x: &Tensor| x.f_totype(Kind::Float);
    Ok(attend(&single(query)?, &single(key)?, &single(value)?, Mask::None)?.f_totype(kind)?)
}
