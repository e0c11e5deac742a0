//! Build script: names the shared library for the dynamic linker.

/// Number of the binary interface, as `FIELDFIT_ABI` in `src/abi.rs`: a program runs with every library of the same number.
const ABI: u32 = 0;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos" | "ios") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libfieldfit.{ABI}.dylib");
        }
        Ok("windows") => {}
        Ok(_) | Err(_) => println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libfieldfit.so.{ABI}"),
    }
}
