//! What the engine's process gets to see of our environment. It needs none of the keys of other providers, and whatever
//! reads its memory, its core file or `/proc` should find none.

use std::ffi::{OsStr, OsString};

/// Variables that pass: what a process needs to find its files and its language, and what its own libraries read.
const NAMES: [&str; 11] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "TZ",
    "LANG",
    "GLIBC_TUNABLES",
    // By their full names: `NVIDIA_API_KEY` is the key of a cloud.
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "NVIDIA_TF32_OVERRIDE",
];

/// Families that pass: the language, the linker, memory, Rust, the engine itself, and the libraries of libtorch.
const PREFIXES: [&str; 22] = [
    "LC_",
    "XDG_",
    "LD_",
    "MALLOC_",
    "RUST_",
    "EASEL_ENGINE_",
    "LIBTORCH",
    "TORCH_",
    "PYTORCH_",
    "ATEN_",
    "OMP_",
    "GOMP_",
    "KMP_",
    "MKL_",
    "ONEDNN_",
    "DNNL_",
    "CUDA_",
    "CUBLAS_",
    "CUBLASLT_",
    "CUDNN_",
    "NVRTC_",
    "NCCL_",
];

/// Words that name a secret, whatever family it is in.
const SECRET: [&str; 5] = ["KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL"];

/// The variables of this process that the engine inherits.
#[expect(
    clippy::disallowed_methods,
    reason = "no setting is read here: these variables are handed on unread, all others are kept back"
)]
pub(super) fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| passes(name))
}

fn passes(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let known = NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    known && !name.split('_').any(|word| SECRET.iter().any(|secret| word.trim_end_matches('S') == *secret))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::passes;

    #[test]
    fn what_the_engine_and_its_libraries_read_passes() {
        for name in [
            "PATH",
            "HOME",
            "LC_ALL",
            "LD_LIBRARY_PATH",
            "CUDA_VISIBLE_DEVICES",
            "NVIDIA_VISIBLE_DEVICES",
            "PYTORCH_CUDA_ALLOC_CONF",
            "OMP_NUM_THREADS",
            "GOMP_SPINCOUNT",
            "ATEN_CPU_CAPABILITY",
            "ONEDNN_MAX_CPU_ISA",
            "EASEL_ENGINE_LOG",
            "RUST_BACKTRACE",
        ] {
            assert!(passes(OsStr::new(name)), "{name}");
        }
    }

    #[test]
    fn secrets_and_strangers_do_not() {
        for name in [
            "OPENAI_API_KEY",
            "RUNWARE_API_KEY",
            "NVIDIA_API_KEY",
            "EASEL_ADMIN_TOKEN",
            "EASEL_PROVIDERS__OPENAI__CONFIG__API_KEY",
            "EASEL_ENGINE_TOKEN",
            "CUDA_SECRETS",
            "XDG_PASSWORD",
            "AWS_SECRET_ACCESS_KEY",
            "http_proxy",
            "PATHS",
            "STUDIO",
        ] {
            assert!(!passes(OsStr::new(name)), "{name}");
        }
    }
}
