//! The order in which a picture's numbers lie in memory.
#![expect(unsafe_code, reason = "tensors are C++ objects")]

use std::ptr;

use tch::Tensor;

use crate::{Result, ffi};

/// The order in which the numbers of `(batch, channels, height, width)` lie in memory. Shapes and results are the same in
/// either; which one a kernel is quicker in is the kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryFormat {
    /// Width runs fastest, then height, channels and batch.
    Contiguous,
    /// Channels run fastest, then width, height and batch. For tensors of four dimensions.
    ChannelsLast,
}

impl MemoryFormat {
    /// The tensor in this format: itself where it is so already, else a copy.
    pub fn of(self, tensor: &Tensor) -> Result<Tensor> {
        let mut out = ptr::null_mut();
        // SAFETY: the tensor is alive for the call and only read, and `out` can be written to; what is written there
        // is a reference of its own.
        unsafe { ffi::tensor(ffi::easel_shim_contiguous(tensor.as_ptr(), self.number(), &raw mut out), out) }
    }

    /// Whether the tensor lies in this format without gaps. A picture of one pixel or one channel lies in both.
    pub fn holds(self, tensor: &Tensor) -> Result<bool> {
        let mut out = false;
        // SAFETY: the tensor is alive for the call and only read, and `out` can be written to.
        unsafe { ffi::read(ffi::easel_shim_is_contiguous(tensor.as_ptr(), self.number(), &raw mut out)) }?;
        Ok(out)
    }

    /// As `shim.cpp` knows it.
    fn number(self) -> i32 {
        match self {
            Self::Contiguous => 0,
            Self::ChannelsLast => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::{Kind, Tensor};

    use super::MemoryFormat;

    #[test]
    fn only_the_order_in_memory_changes() {
        let plain = Tensor::arange(24, (Kind::Float, tch::Device::Cpu)).view([1, 2, 3, 4]);
        let last = MemoryFormat::ChannelsLast.of(&plain).unwrap();
        assert_eq!(last, plain);
        assert_eq!((plain.stride(), last.stride()), (vec![24, 12, 4, 1], vec![24, 1, 8, 2]));
        assert!(MemoryFormat::ChannelsLast.holds(&last).unwrap() && !MemoryFormat::Contiguous.holds(&last).unwrap());
        assert!(!MemoryFormat::ChannelsLast.holds(&plain).unwrap() && MemoryFormat::Contiguous.holds(&plain).unwrap());
        let same = MemoryFormat::ChannelsLast.of(&last).unwrap();
        assert_eq!(same.data_ptr(), last.data_ptr(), "no copy where there is nothing to do");
        assert_eq!(MemoryFormat::Contiguous.of(&last).unwrap().stride(), plain.stride());
    }

    #[test]
    fn three_dimensions_have_no_channels_last() {
        let error = MemoryFormat::ChannelsLast.of(&Tensor::from_slice(&[1.0_f32; 6]).view([1, 2, 3])).unwrap_err();
        assert!(error.to_string().contains("rank 4"), "{error}");
    }
}
