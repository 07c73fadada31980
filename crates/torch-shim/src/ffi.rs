//! The functions of `shim.cpp` and the kernels as Rust sees them, and how their answers are read.
#![expect(unsafe_code, reason = "what is declared and read here is C")]

use std::ffi::{CStr, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::{Error, Result};

/// `at::Generator`, of which only pointers are held.
#[repr(C)]
pub(crate) struct CGenerator {
    _opaque: [u8; 0],
}

// SAFETY: these are the declarations of the C++ beside it, line for line; its calling convention is C's.
unsafe extern "C" {
    fn easel_shim_free_text(said: *mut c_char);
    pub(crate) fn easel_shim_generator_new(seed: u64, out: *mut *mut CGenerator) -> *mut c_char;
    pub(crate) fn easel_shim_generator_free(generator: *mut CGenerator);
    pub(crate) fn easel_shim_generator_randn(
        generator: *mut CGenerator,
        shape: *const i64,
        dimensions: usize,
        out: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub(crate) fn easel_shim_contiguous(tensor: *const C_tensor, format: i32, out: *mut *mut C_tensor) -> *mut c_char;
    pub(crate) fn easel_shim_is_contiguous(tensor: *const C_tensor, format: i32, out: *mut bool) -> *mut c_char;
    pub(crate) fn easel_shim_gelu_tanh(x: *const C_tensor, out: *const C_tensor) -> *mut c_char;
    pub(crate) fn easel_shim_norm_turn(
        x: *const C_tensor,
        weight: *const C_tensor,
        turns: *const C_tensor,
        eps: f64,
        out: *const C_tensor,
    ) -> *mut c_char;
    pub(crate) fn easel_shim_group_norm(
        x: *const C_tensor,
        time: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        groups: i64,
        eps: f64,
        silu: bool,
        out: *const C_tensor,
    ) -> *mut c_char;
    pub(crate) fn easel_shim_group_norm_terms(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        groups: i64,
        eps: f64,
        terms: *const C_tensor,
    ) -> *mut c_char;
    pub(crate) fn easel_shim_group_normed(
        x: *const C_tensor,
        terms: *const C_tensor,
        silu: bool,
        out: *const C_tensor,
    ) -> *mut c_char;
    pub(crate) fn easel_shim_rounded(function: i64, numbers: *mut f32, count: i64) -> *mut c_char;
    pub(crate) fn easel_shim_gated_gelu(x: *const C_tensor, out: *const C_tensor) -> *mut c_char;
    pub(crate) fn easel_shim_can_attend() -> bool;
    pub(crate) fn easel_shim_attend(
        query: *const C_tensor,
        key: *const C_tensor,
        value: *const C_tensor,
        out: *const C_tensor,
    ) -> *mut c_char;
    pub(crate) fn easel_shim_set_attention(flash: bool, math: bool) -> *mut c_char;
    pub(crate) fn easel_shim_attention(flash: *mut bool, math: *mut bool) -> *mut c_char;
    pub(crate) fn easel_shim_memory_install() -> *mut c_char;
    pub(crate) fn easel_shim_memory_stats(
        in_use: *mut u64,
        idle: *mut u64,
        peak: *mut u64,
        reset_peak: bool,
    ) -> *mut c_char;
    pub(crate) fn easel_shim_memory_release_idle() -> *mut c_char;
}

/// Reads and frees what a function of the shim has said.
///
/// # Safety
///
/// `said` must come from a function of the shim and not have been read before.
pub(crate) unsafe fn read(said: *mut c_char) -> Result<()> {
    if said.is_null() {
        return Ok(());
    }
    // SAFETY: it is a text that ends with a zero, and nobody else holds it.
    let text = unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned();
    // SAFETY: the shim made it, and it is not used again.
    unsafe { easel_shim_free_text(said) };
    Err(Error(text))
}

/// Takes over the tensor that a function of the shim has written to `out`.
///
/// # Safety
///
/// `said` is as for [`read`]; if it is null, `out` must be an `at::Tensor` that the shim made and nobody else owns.
pub(crate) unsafe fn tensor(said: *mut c_char, out: *mut C_tensor) -> Result<Tensor> {
    // SAFETY: as promised by the caller.
    unsafe { read(said) }?;
    // SAFETY: as promised by the caller; tch holds tensors as the shim makes them.
    Ok(unsafe { Tensor::from_ptr(out) })
}
