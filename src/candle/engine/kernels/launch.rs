//! How a kernel is launched: on which tensors, in how many blocks.

use std::cell::Cell;

use candle_core::{
    CpuStorage, CudaStorage, DType, Device, Error, InplaceOp1, Layout, Result, Tensor,
};

/// Threads of a block; `BLOCK` in `kernel.cuh`.
pub(super) const THREADS: usize = 256;

/// The file of a kernel.
#[derive(Debug, Clone, Copy)]
pub(super) enum File {
    Activation,
    BatchNorm,
    Depthwise,
    Loss,
    MaxPool,
    Optimizer,
}

/// One launch of a kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Launch {
    pub(super) file: File,
    /// Its name, without the type of the elements.
    pub(super) kernel: &'static str,
    /// The type of the elements, F32 or F64.
    pub(super) dtype: DType,
    pub(super) blocks: usize,
}

impl Launch {
    /// Runs the kernel, with pointers to the tensors that it writes, to those that it reads, and its
    /// sizes: the same struct as in its file, of the same layout.
    ///
    /// # Safety
    /// The kernel takes so many pointers, to elements of these types, and these sizes; what it reads and
    /// writes by them lies inside the tensors.
    #[expect(unsafe_code, reason = "a kernel is believed what it is declared to be")]
    pub(super) unsafe fn run<S: Copy>(
        self,
        writes: &[&Tensor],
        reads: &[&Tensor],
        sizes: S,
    ) -> Result<()> {
        let tensors = || writes.iter().chain(reads);
        let Some(device) = tensors().next().map(|tensor| tensor.device()) else {
            candle_core::bail!("{} is given no tensor", self.kernel);
        };
        let memory = tensors().map(|tensor| {
            Ok(Memory {
                start: address(tensor)?,
                bytes: tensor.elem_count() * tensor.dtype().size_in_bytes(),
            })
        });
        let memory = memory.collect::<Result<Vec<_>>>()?;
        let suffix = self.dtype.as_str();
        let name = format!("{}_{suffix}", self.kernel);
        // SAFETY: as of this function.
        unsafe { self.queue(device, &name, &memory, sizes)? };
        // On another stream, candle waits for what was done with a tensor when its address was last asked
        // for.
        tensors().try_for_each(|tensor| address(tensor).map(drop))
    }

    /// # Safety
    /// As of [`Launch::run`], with the memory of the tensors, which is on `device`.
    #[expect(unsafe_code, reason = "as Launch::run")]
    unsafe fn queue<S: Copy>(
        self,
        device: &Device,
        name: &str,
        memory: &[Memory],
        sizes: S,
    ) -> Result<()> {
        match device {
            #[cfg(feature = "cuda")]
            // SAFETY: as of this function.
            Device::Cuda(device) => unsafe {
                super::cuda::launch(device, self, name, memory, sizes)
            },
            #[cfg(test)]
            Device::Cpu => {
                super::emulator::launch(name, self.blocks, memory, sizes);
                Ok(())
            }
            device => {
                let tensors = memory
                    .iter()
                    .map(|Memory { start, bytes }| format!("{bytes} bytes at {start:#x}"));
                candle_core::bail!(
                    "{name} of {:?}, {} blocks, {}, {} bytes of sizes: no kernels run on {:?}",
                    self.file,
                    self.blocks,
                    tensors.collect::<Vec<_>>().join(", "),
                    size_of_val(&sizes),
                    device.location()
                )
            }
        }
    }
}

/// The memory of a tensor's elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) start: u64,
    pub(super) bytes: usize,
}

/// Where the first element of a contiguous tensor is.
pub(super) fn address(tensor: &Tensor) -> Result<u64> {
    if !tensor.is_contiguous() {
        return Err(Error::RequiresContiguous { op: "kernel" }.bt());
    }
    let address = Address::default();
    tensor.inplace_op1(&address)?;
    Ok(address.0.get())
}

/// As an operation, since only those are shown a tensor's memory.
#[derive(Debug, Default)]
struct Address(Cell<u64>);

impl InplaceOp1 for Address {
    fn name(&self) -> &'static str {
        "address"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let start = match storage {
            CpuStorage::U32(numbers) => numbers.as_mut_ptr() as u64,
            CpuStorage::I64(numbers) => numbers.as_mut_ptr() as u64,
            CpuStorage::F32(numbers) => numbers.as_mut_ptr() as u64,
            CpuStorage::F64(numbers) => numbers.as_mut_ptr() as u64,
            _ => candle_core::bail!("no kernel takes elements of this type"),
        };
        let size = candle_core::backend::BackendStorage::dtype(storage).size_in_bytes();
        self.0.set(start + (layout.start_offset() * size) as u64);
        Ok(())
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, storage: &mut CudaStorage, layout: &Layout) -> Result<()> {
        let start = super::cuda::start(storage)?;
        let size = candle_core::backend::BackendStorage::dtype(storage).size_in_bytes();
        self.0.set(start + (layout.start_offset() * size) as u64);
        Ok(())
    }

    #[cfg(not(feature = "cuda"))]
    fn cuda_fwd(&self, _: &mut CudaStorage, _: &Layout) -> Result<()> {
        Err(Error::NotCompiledWithCudaSupport)
    }
}
