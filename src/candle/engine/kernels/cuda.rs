//! Kernels on a CUDA device.

use candle_core::cuda_backend::cudarc::driver::{
    DevicePtrMut as _, DeviceRepr, LaunchConfig, PushKernelArg as _,
};
use candle_core::cuda_backend::{CudaStorageSlice, WrapErr as _};
use candle_core::{CudaDevice, CudaStorage, Result};

use super::launch::{File, Launch, Memory, THREADS};

/// What nvcc made of the files, one constant a file.
#[expect(unreachable_pub, reason = "cudaforge writes them so")]
mod ptx {
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

impl File {
    /// Its name among the modules of a device, and what nvcc made of it.
    fn module(self) -> (&'static str, &'static str) {
        match self {
            File::Activation => ("ckpt_regen_activation", ptx::ACTIVATION),
            File::BatchNorm => ("ckpt_regen_batch_norm", ptx::BATCH_NORM),
            File::Depthwise => ("ckpt_regen_depthwise", ptx::DEPTHWISE),
            File::Loss => ("ckpt_regen_loss", ptx::LOSS),
            File::MaxPool => ("ckpt_regen_max_pool", ptx::MAX_POOL),
            File::Optimizer => ("ckpt_regen_optimizer", ptx::OPTIMIZER),
        }
    }
}

/// A kernel's last argument.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
struct Sizes<S>(S);

// SAFETY: the driver copies as many bytes as the kernel's parameter has; that this is the same struct is
// promised to `Launch::run`.
#[expect(unsafe_code, reason = "for every struct of sizes, in one place")]
unsafe impl<S: Copy> DeviceRepr for Sizes<S> {}

/// Queues the kernel `name`, and does not wait for it.
///
/// # Safety
/// As of [`Launch::run`]; the memory is this device's.
#[expect(unsafe_code, reason = "as Launch::run")]
pub(super) unsafe fn launch<S: Copy>(
    device: &CudaDevice,
    launch: Launch,
    name: &str,
    memory: &[Memory],
    sizes: S,
) -> Result<()> {
    let (module, ptx) = launch.file.module();
    let function = device.get_or_load_custom_func(name, module, ptx)?;
    let config = LaunchConfig {
        grid_dim: (launch.blocks as u32, 1, 1),
        block_dim: (THREADS as u32, 1, 1),
        // A number of up to 8 bytes for each warp.
        shared_mem_bytes: (THREADS / 32 * 8) as u32,
    };
    let sizes = Sizes(sizes);
    let mut arguments = function.builder();
    for tensor in memory {
        arguments.arg(&tensor.start);
    }
    arguments.arg(&sizes);
    // SAFETY: promised by the caller.
    unsafe { arguments.launch(config) }.w()?;
    Ok(())
}

/// The address of a storage, on the device's stream. What other streams have queued for it comes first.
pub(super) fn start(storage: &mut CudaStorage) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    Ok(match &mut storage.slice {
        CudaStorageSlice::U32(slice) => slice.device_ptr_mut(&stream).0,
        CudaStorageSlice::I64(slice) => slice.device_ptr_mut(&stream).0,
        CudaStorageSlice::F32(slice) => slice.device_ptr_mut(&stream).0,
        CudaStorageSlice::F64(slice) => slice.device_ptr_mut(&stream).0,
        _ => candle_core::bail!("no kernel takes elements of this type"),
    })
}
