//! Which kernels attention may use.
#![expect(unsafe_code, reason = "the settings are libtorch's")]

use crate::{Result, ffi};

/// Which kernels scaled dot-product attention may choose from, for the whole process. Where none that is allowed can take
/// the tensors, libtorch reports an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// The one that never holds all scores at once (Dao et al. 2022): linear memory.
    pub flash: bool,
    /// Two products of matrices with a softmax between them: takes everything, quadratic memory.
    pub math: bool,
}

impl Attention {
    /// What is allowed now.
    pub fn allowed() -> Result<Self> {
        let mut allowed = Self { flash: false, math: false };
        // SAFETY: both can be written to.
        unsafe { ffi::read(ffi::easel_shim_attention(&raw mut allowed.flash, &raw mut allowed.math)) }?;
        Ok(allowed)
    }

    /// Allows these from now on.
    pub fn allow(self) -> Result<()> {
        // SAFETY: it is given two booleans.
        unsafe { ffi::read(ffi::easel_shim_set_attention(self.flash, self.math)) }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::Attention;

    fn attend(x: &Tensor) -> tch::Result<Tensor> {
        Tensor::f_scaled_dot_product_attention::<&Tensor>(x, x, x, None, 0.0, false, None, false)
    }

    /// One test, because the setting is the process's.
    #[test]
    fn what_is_allowed_is_what_computes() {
        let before = Attention::allowed().unwrap();
        let x = Tensor::randn([1, 2, 40, 8], (Kind::Float, Device::Cpu));
        Attention { flash: true, math: false }.allow().unwrap();
        let flash = attend(&x).unwrap();
        assert_eq!(Attention::allowed().unwrap(), Attention { flash: true, math: false });
        Attention { flash: false, math: true }.allow().unwrap();
        let math = attend(&x).unwrap();
        Attention { flash: false, math: false }.allow().unwrap();
        let none = attend(&x);
        before.allow().unwrap();
        assert!(flash.allclose(&math, 1e-5, 1e-6, false) && none.is_err());
    }
}
