//! Compiles the CUDA kernels of the candle engine, in builds with the feature `cuda`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "cuda")]
    kernels();
}

/// For the GPU in this machine, or the one that `CUDA_COMPUTE_CAP` names, as candle's own.
#[cfg(feature = "cuda")]
fn kernels() {
    let folder = std::path::Path::new("src/candle/engine/kernels");
    let kernels = cudaforge::KernelBuilder::new()
        .source_dir(folder)
        .watch([folder.join("kernel.cuh")])
        .args(["-std=c++17", "-O3"])
        .build_ptx();
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    kernels
        .and_then(|kernels| kernels.write(std::path::Path::new(&out).join("kernels.rs")))
        .unwrap_or_else(|err| panic!("the kernels of {}: {err}", folder.display()));
}
