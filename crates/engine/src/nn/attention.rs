//! Multi-head attention, without the projections around it.

use tch::{Device, Kind, Tensor};
use torch_shim::kernels;

use super::WIDE;
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

/// Products of a picture's queries and keys above which the kernel of our own computes it: about a millisecond.
const MANY_PRODUCTS: i64 = 1 << 26;

/// The widest heads of our own kernel: of wider ones, libtorch's products of matrices are as quick.
const WIDEST: i64 = 160;

/// Whether this attention is large enough for our own kernel, and one that it takes. How many pictures there are does not
/// matter: what one becomes must not depend on it.
fn is_ours(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<bool> {
    let single = [query, key, value].into_iter().all(kernels::takes);
    if !single || query.stride().last() != Some(&1) || !kernels::can_attend() {
        return Ok(false);
    }
    let ((_, heads, tokens, width), (_, _, count, _)) = (query.size4()?, key.size4()?);
    let is_large = heads * width >= WIDE && heads * width * tokens * count > MANY_PRODUCTS;
    Ok(is_large && width <= WIDEST && key.size() == value.size())
}

/// Scaled dot-product attention over split heads.
pub fn attend(query: &Tensor, key: &Tensor, value: &Tensor, mask: Mask) -> Result<Tensor> {
    if mask == Mask::None && is_ours(query, key, value)? {
        let (batch, heads, tokens, width) = query.size4()?;
        let out = Tensor::f_empty([batch, tokens, heads, width], (Kind::Float, Device::Cpu))?;
        let mut split = out.f_transpose(1, 2)?;
        kernels::attend(query, key, value, &mut split)?;
        return Ok(split);
    }
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

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::{Mask, attend, is_ours, split_heads};

    /// Many tokens and few, sums of many keys, and what our own kernel does not take: other strides, and wide heads.
    #[test]
    fn large_attention_is_attention() {
        let noise = |tokens: i64| torch_shim::Generator::new(4).unwrap().randn(&[2, tokens, 360]).unwrap();
        let ours_here = torch_shim::kernels::can_attend();
        for (tokens, count, heads, ours) in [
            (500, 390, 9, true),
            (2600, 77, 3, true),
            (48, 20_000, 20, true),
            (400, 390, 9, false),
            (600, 600, 1, false),
        ] {
            let [query, key, value] =
                [noise(tokens), noise(count), noise(count).flip([1]) + 1.0].map(|x| split_heads(&x, heads).unwrap());
            assert_eq!(is_ours(&query, &key, &value).unwrap(), ours && ours_here, "{tokens}×{count}");
            let turned = query.transpose(2, 3).contiguous().transpose(2, 3);
            assert!(!is_ours(&turned, &key, &value).unwrap());
            let attended = attend(&query, &key, &value, Mask::None).unwrap();
            let [q, k, v] = [&query, &key, &value].map(|x| x.to_kind(Kind::Double));
            let expected = Tensor::scaled_dot_product_attention::<&Tensor>(&q, &k, &v, None, 0.0, false, None, false);
            let off = |x: &Tensor| (x.to_kind(Kind::Double) - &expected).abs().max().double_value(&[]);
            let libtorch =
                Tensor::scaled_dot_product_attention::<&Tensor>(&query, &key, &value, None, 0.0, false, None, false);
            let (ours, theirs) = (off(&attended), off(&libtorch));
            assert!(ours < 2.0 * theirs, "{tokens}×{count}: {ours:e} where libtorch is {theirs:e} off");
        }
    }
}
