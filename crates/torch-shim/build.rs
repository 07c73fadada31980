//! Builds `shim.cpp` and the kernels against the libtorch that `LIBTORCH` names, the one that `tch` is built against.

use std::env;
use std::path::Path;

const SOURCES: [&str; 4] = ["src/shim.cpp", "src/kernels.cpp", "src/pictures.cpp", "src/attend.cpp"];

fn main() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");
    println!("cargo::rerun-if-changed=build.rs");
    for source in SOURCES.iter().chain(&["src/said.h", "src/lanes.h"]) {
        println!("cargo::rerun-if-changed={source}");
    }
    #[expect(clippy::disallowed_methods, reason = "cargo hands a build script its settings in no other way")]
    let libtorch = env::var_os("LIBTORCH");
    let Some(libtorch) = libtorch else {
        println!("cargo::error=LIBTORCH does not say where libtorch is: `make build` fetches it and builds with it");
        return;
    };
    let (include, lib) = (Path::new(&libtorch).join("include"), Path::new(&libtorch).join("lib"));
    if !include.join("ATen").is_dir() {
        println!(
            "cargo::error=there are no headers of libtorch in {} (from LIBTORCH): `make build` fetches them",
            include.display()
        );
        return;
    }
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // Headers of others: their warnings are theirs.
        .flag(format!("-isystem{}", include.display()))
        .flag(format!("-isystem{}", include.join("torch/csrc/api/include").display()))
        .warnings(true)
        .extra_warnings(true)
        // Loops over numbers are vectors only when they are optimised, in builds for tests too.
        .opt_level(3)
        .flag("-fno-math-errno")
        .flag("-fno-trapping-math")
        .files(SOURCES)
        .compile("easel_torch_shim");
    println!("cargo::rustc-link-search=native={}", lib.display());
    println!("cargo::rustc-link-lib=dylib=torch_cpu");
    println!("cargo::rustc-link-lib=dylib=c10");
    // For this crate's own tests; who depends on it says where libtorch is by itself.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
}
