//! One card: its context, its memory and the kernels loaded on it.

use super::super::sentence::out_of_memory;
use super::driver;
use super::sentence::{cannot_load, cannot_open};
use super::stream::Queue;
use super::{Properties, RawDevice, checked, handle, refusal, sentence};
use crate::error::{Error, Result};
use crate::gpu::RawStream;
use crate::gpu::kernels::{Kernel, Module, image_for};
use cudarc::driver::sys::{self, CUcontext, CUdevice, CUfunction, CUmodule};
use std::collections::HashMap;
use std::ffi::{CString, c_int};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The primary context of one card, released when dropped.
pub struct Context {
    device: CUdevice,
    context: CUcontext,
}

// SAFETY: the driver API is thread-safe, and a context may be current in any number of threads; the handles are plain values.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// The context of the card `index`, which must exist.
    pub fn retain(index: usize) -> Result<Self> {
        let device = handle(index)?;
        // A thread that waits sleeps instead of spinning, which leaves its core to evaluators and other searches. Other code of this
        // process may have opened the card already; then it keeps its own way, which is no error.
        let waits = sys::CUctx_flags_enum::CU_CTX_SCHED_BLOCKING_SYNC as u32;
        // SAFETY: no pointers.
        let _ = unsafe { driver::cuDevicePrimaryCtxSetFlags_v2(device, waits) };
        let mut context = ptr::null_mut();
        // SAFETY: writes one handle; released in `drop`.
        refusal(unsafe { driver::cuDevicePrimaryCtxRetain(&mut context, device) })
            .map_err(|refusal| cannot_open(&refusal, index))?;
        Ok(Context { device, context })
    }

    /// Makes this context current for the calls of this thread, since the thread may have served another card before.
    pub fn enter(&self) -> Result<()> {
        // SAFETY: the context is retained.
        checked(unsafe { driver::cuCtxSetCurrent(self.context) }, "cuCtxSetCurrent")
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: retained once, released once. A `drop` cannot report an error.
        let _ = unsafe { driver::cuDevicePrimaryCtxRelease_v2(self.device) };
    }
}

/// A kernel that can be launched.
pub struct Loaded {
    /// The build's data on the kernel.
    pub kernel: &'static Kernel,
    /// The driver's handle, valid as long as its module.
    pub function: CUfunction,
    /// The most dynamic shared memory that a block may use, bytes.
    pub shared_bytes: usize,
}

/// The card.
pub struct Card {
    context: Context,
    properties: Properties,
    kernels: HashMap<&'static str, Loaded>,
    modules: Vec<CUmodule>,
    /// An error from freeing memory, which `drop` cannot report.
    free_failed: AtomicBool,
}

// SAFETY: modules and functions are plain values, usable from every thread in which their context is current; `Context::enter`
// precedes every use.
unsafe impl Send for Card {}
// SAFETY: as above.
unsafe impl Sync for Card {}

impl Card {
    /// Opens the card with all kernels of `modules` loaded. Nothing is loaded later, since a capture does not allow it.
    pub fn open(context: Context, properties: Properties, modules: &'static [Module]) -> Result<Self> {
        context.enter()?;
        let kernels = HashMap::new();
        let mut card = Card { context, properties, kernels, modules: Vec::new(), free_failed: AtomicBool::new(false) };
        modules.iter().try_for_each(|module| card.load(module))?;
        Ok(card)
    }

    fn load(&mut self, module: &'static Module) -> Result<()> {
        let image = image_for(module, self.properties.capability).ok_or_else(|| {
            Error::Failed(format!("internal error: no code of '{}' for {}", module.name, self.properties.name))
        })?;
        // The image is aligned as the driver's own tools align cubins, and it ends in a zero, as PTX needs.
        let mut aligned = vec![0_u64; image.bytes.len() / size_of::<u64>() + 1];
        bytemuck::cast_slice_mut(&mut aligned)[..image.bytes.len()].copy_from_slice(image.bytes);
        let mut handle = ptr::null_mut();
        // SAFETY: the image is a whole cubin, with its length in its header, or text that ends in zero; it is copied.
        refusal(unsafe { driver::cuModuleLoadData(&mut handle, aligned.as_ptr().cast()) })
            .map_err(|refusal| cannot_load(&refusal, module.name, &self.properties.name))?;
        self.modules.push(handle);
        for kernel in module.kernels {
            let loaded = self.find(handle, kernel)?;
            self.kernels.insert(kernel.name, loaded);
        }
        Ok(())
    }

    /// The kernel in its module, with permission for all the shared memory that a block can have.
    fn find(&self, module: CUmodule, kernel: &'static Kernel) -> Result<Loaded> {
        use sys::CUfunction_attribute_enum::*;
        let during = |call: &str| format!("{call} of kernel '{}'", kernel.name);
        let name = CString::new(kernel.name)
            .map_err(|_| Error::Failed(format!("internal error: kernel name {:?}", kernel.name)))?;
        let mut function = ptr::null_mut();
        // SAFETY: the module is loaded, the name ends in zero.
        let code = unsafe { driver::cuModuleGetFunction(&mut function, module, name.as_ptr()) };
        checked(code, &during("cuModuleGetFunction"))?;
        let mut fixed: c_int = 0;
        // This query also makes a driver with lazy loading load the kernel now.
        // SAFETY: writes one integer; the function is of a loaded module.
        let code = unsafe { driver::cuFuncGetAttribute(&mut fixed, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, function) };
        checked(code, &during("cuFuncGetAttribute"))?;
        let fixed = usize::try_from(fixed).unwrap_or(0);
        let shared_bytes = self.properties.shared_memory_per_block.saturating_sub(fixed);
        // Beyond 48 KiB a kernel needs permission for the shared memory of its launches.
        // SAFETY: no pointers but the function.
        let code = unsafe {
            driver::cuFuncSetAttribute(
                function,
                CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                c_int::try_from(shared_bytes).unwrap_or(c_int::MAX),
            )
        };
        checked(code, &during("cuFuncSetAttribute"))?;
        Ok(Loaded { kernel, function, shared_bytes })
    }

    /// Makes calls of this thread refer to this card.
    pub fn enter(&self) -> Result<()> {
        self.context.enter()
    }

    /// The kernel `name`.
    pub fn kernel(&self, name: &str) -> Result<&Loaded> {
        self.kernels.get(name).ok_or_else(|| Error::Failed(format!("internal error: there is no kernel '{name}'")))
    }

    /// `Failed` if memory could not be freed since the last call.
    pub fn check_frees(&self) -> Result<()> {
        match self.free_failed.swap(false, Ordering::Relaxed) {
            true => Err(Error::Failed("internal error: the GPU's memory could not be freed".to_owned())),
            false => Ok(()),
        }
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        if self.enter().is_ok() {
            for module in &self.modules {
                // SAFETY: loaded in this context and unloaded once. Streams and buffers keep the card alive, so none is left that
                // could run its kernels. A dead context refuses the call and has nothing left to free.
                let _ = unsafe { driver::cuModuleUnload(*module) };
            }
        }
    }
}

impl RawDevice for Card {
    fn properties(&self) -> &Properties {
        &self.properties
    }

    fn open_stream(self: Arc<Self>) -> Result<Box<dyn RawStream>> {
        Ok(Box::new(Queue::open(self)?))
    }

    fn memory(&self) -> Result<(usize, usize)> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two integers.
        checked(unsafe { driver::cuMemGetInfo_v2(&mut free, &mut total) }, "cuMemGetInfo")?;
        Ok((free, total))
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        // The driver refuses to allocate zero bytes.
        if bytes == 0 {
            return Ok(0);
        }
        self.enter()?;
        let mut address = 0;
        // SAFETY: writes one address; `free` gives it back.
        refusal(unsafe { driver::cuMemAlloc_v2(&mut address, bytes) }).map_err(|refusal| match refusal.code {
            sentence::code::OUT_OF_MEMORY => out_of_memory(bytes, self.memory().ok()),
            _ => sentence::at_work(&refusal, "cuMemAlloc"),
        })?;
        Ok(address)
    }

    fn free(&self, address: u64, bytes: usize) {
        if bytes == 0 {
            return;
        }
        // SAFETY: allocated by `allocate`, freed once; the driver waits for work that was queued before.
        let done = self.enter().and_then(|()| checked(unsafe { driver::cuMemFree_v2(address) }, "cuMemFree"));
        if done.is_err() {
            self.free_failed.store(true, Ordering::Relaxed);
        }
    }
}
