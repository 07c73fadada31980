//! The memory of tensors on the CPU: kept between uses, and counted.
//!
//! libtorch has malloc give every large block back to the kernel, which clears its pages anew when it is needed
//! again. After [`install`], freed blocks of a mebibyte or more stay with the process and are used again: in parts, and
//! together where they lie side by side. What is in use and idle together exceeds what was once in use (since
//! [`release_idle`]) by 32 MiB at most. On other systems than Linux nothing changes and nothing is counted.
#![expect(unsafe_code, reason = "the allocator is libtorch's")]

use crate::{Result, ffi};

/// Bytes in blocks of a mebibyte or more, of the whole process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Held by tensors.
    pub in_use: u64,
    /// Freed, and kept for the next ones.
    pub idle: u64,
    /// The most that was in use at once, since [`begin_peak`].
    pub peak: u64,
}

/// Lets tensors on the CPU lie in kept blocks from now on, for the whole process; again changes nothing.
pub fn install() -> Result<()> {
    // SAFETY: it takes nothing, and libtorch allows it at any time: each block knows how it is freed.
    unsafe { ffi::read(ffi::easel_shim_memory_install()) }
}

/// What is held now.
pub fn now() -> Result<Memory> {
    stats(false)
}

/// Counts the peak anew from what is in use now; tells what was before.
pub fn begin_peak() -> Result<Memory> {
    stats(true)
}

/// Gives all idle blocks back to the system: worth it when no tensor will be needed for a while.
pub fn release_idle() -> Result<()> {
    // SAFETY: it takes nothing and touches no block that is in use.
    unsafe { ffi::read(ffi::easel_shim_memory_release_idle()) }
}

fn stats(reset_peak: bool) -> Result<Memory> {
    let mut memory = Memory { in_use: 0, idle: 0, peak: 0 };
    // SAFETY: all three can be written to.
    unsafe {
        ffi::read(ffi::easel_shim_memory_stats(
            &raw mut memory.in_use,
            &raw mut memory.idle,
            &raw mut memory.peak,
            reset_peak,
        ))?;
    }
    Ok(memory)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::{begin_peak, install, now, release_idle};

    const MIB: u64 = 1 << 20;

    fn mebibytes(count: i64) -> Tensor {
        Tensor::ones([count << 18], (Kind::Float, Device::Cpu))
    }

    /// One test, because the memory is the process's; the other tests of this crate take no large blocks but one, which
    /// cannot be had.
    #[test]
    fn blocks_are_kept_counted_used_again_and_given_back() {
        let before = mebibytes(3);
        install().unwrap();
        install().unwrap();
        drop(before);
        assert_eq!(now().unwrap().in_use, 0, "what was there before is not counted, and freed as it was had");

        let a = mebibytes(8);
        let b = mebibytes(4);
        assert_eq!(a.sum(Kind::Float).double_value(&[]).to_bits(), 2_097_152.0_f64.to_bits());
        let (at, memory) = (a.data_ptr(), now().unwrap());
        assert_eq!((memory.in_use, memory.idle, memory.peak), (12 * MIB, 0, 12 * MIB));
        assert_eq!(at.addr() % 64, 0, "as aligned as libtorch's own");

        drop(a);
        assert_eq!((now().unwrap().in_use, now().unwrap().idle), (4 * MIB, 8 * MIB));
        let again = mebibytes(8);
        assert_eq!((again.data_ptr(), now().unwrap().idle), (at, 0), "the same block");
        drop(again);
        // What is kept adds at most 32 MiB to what was once in use: what would make it more goes, the oldest first.
        drop(mebibytes(100));
        assert_eq!((now().unwrap().in_use, now().unwrap().idle), (4 * MIB, 100 * MIB));
        let c = mebibytes(80);
        let d = mebibytes(20);
        assert_eq!((now().unwrap().in_use, now().unwrap().idle, now().unwrap().peak), (104 * MIB, 0, 104 * MIB));
        let at = c.data_ptr().addr();
        assert_eq!(d.data_ptr().addr(), at + usize::try_from(80 * MIB).unwrap(), "parts of one block");
        drop(c);
        drop(d);
        let whole = mebibytes(100);
        assert_eq!((whole.data_ptr().addr(), now().unwrap().idle), (at, 0), "one block again");
        drop(whole);
        let more = mebibytes(120);
        assert_eq!((now().unwrap().in_use, now().unwrap().idle), (124 * MIB, 12 * MIB), "no more went than had to");
        assert_eq!(more.min().double_value(&[]).to_bits(), 1.0_f64.to_bits());
        drop(more);
        assert_eq!(begin_peak().unwrap().peak, 124 * MIB);
        assert_eq!((now().unwrap().peak, now().unwrap().idle), (4 * MIB, 132 * MIB));
        release_idle().unwrap();
        assert_eq!((now().unwrap().in_use, now().unwrap().idle), (4 * MIB, 0));
        drop(b);
        release_idle().unwrap();

        // Blocks wander between threads.
        std::thread::scope(|threads| {
            for _ in 0..4 {
                threads.spawn(|| {
                    for count in 1..40 {
                        let ones = mebibytes(count % 5 + 1);
                        assert_eq!(ones.min().double_value(&[]).to_bits(), 1.0_f64.to_bits());
                    }
                });
            }
        });
        assert_eq!(now().unwrap().in_use, 0);
        let error = Tensor::f_empty([1 << 50], (Kind::Float, Device::Cpu)).unwrap_err().to_string();
        assert!(error.contains("can't allocate memory"), "{error}");
        release_idle().unwrap();
    }
}
