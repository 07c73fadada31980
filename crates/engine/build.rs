//! Finds libtorch for the linker and writes its folder into the binaries, so that they run without a wrapper.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=build.rs");
    #[expect(clippy::disallowed_methods, reason = "cargo hands a build script its settings in no other way")]
    let libtorch = env::var_os("LIBTORCH");
    let Some(libtorch) = libtorch else {
        println!("cargo::error=LIBTORCH does not say where libtorch is: `make build` fetches it and builds with it");
        return;
    };
    let lib = Path::new(&libtorch).join("lib");
    if !lib.join("libtorch_cpu.so").exists() {
        println!(
            "cargo::error=there is no libtorch_cpu.so in {} (from LIBTORCH): `make build` fetches one",
            lib.display()
        );
        return;
    }
    println!("cargo::rustc-link-arg=-L{}", lib.display());
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    // The CUDA library registers itself when it is loaded and nothing refers to a symbol of it, so a linker
    // that drops what is not needed would silently leave an engine without CUDA.
    if lib.join("libtorch_cuda.so").exists() {
        println!("cargo::rustc-link-arg=-Wl,--no-as-needed,-ltorch_cuda,--as-needed");
    }
}
