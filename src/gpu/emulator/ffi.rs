//! A safe interface to the emulator's C++ functions (interface.cpp).
//!
//! The C++ side checks addresses against the live allocations before it touches memory. A kernel may still write anywhere: the
//! emulator exists to test that kernels keep to their buffers.

use crate::gpu::Shape;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;

/// Room for a sentence.
const SENTENCE_BYTES: usize = 1024;

/// A launch as one call.
pub struct Launch<'a> {
    pub kernel: &'a str,
    pub shape: Shape,
    pub arguments: &'a [u8],
    pub order: i32,
    pub seed: u64,
}

/// The end of a launch.
pub enum Outcome {
    Done,
    /// Nothing ran.
    Refused(String),
    /// A kernel did something forbidden.
    Fault(String),
}

/// The twin of `GodiffEmulatorLaunch` in interface.cpp.
#[repr(C)]
struct RawLaunch {
    kernel: *const c_char,
    arguments: *const c_void,
    argument_bytes: u64,
    seed: u64,
    blocks_x: u32,
    blocks_y: u32,
    threads: u32,
    shared_bytes: u32,
    order: i32,
}

#[repr(C)]
struct RawMemory {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    safe fn godiff_emulator_link_kernels();
    safe fn godiff_emulator_memory_new() -> Option<NonNull<RawMemory>>;
    fn godiff_emulator_memory_delete(memory: NonNull<RawMemory>);
    fn godiff_emulator_allocate(memory: NonNull<RawMemory>, bytes: usize) -> u64;
    fn godiff_emulator_free(memory: NonNull<RawMemory>, address: u64) -> bool;
    fn godiff_emulator_write(memory: NonNull<RawMemory>, to: u64, from: *const c_void, bytes: usize) -> bool;
    fn godiff_emulator_read(memory: NonNull<RawMemory>, from: u64, to: *mut c_void, bytes: usize) -> bool;
    fn godiff_emulator_copy(memory: NonNull<RawMemory>, from: u64, to: u64, bytes: usize) -> bool;
    fn godiff_emulator_fill_zero(memory: NonNull<RawMemory>, address: u64, bytes: usize) -> bool;
    fn godiff_emulator_launch(
        memory: NonNull<RawMemory>,
        launch: *const RawLaunch,
        text: *mut c_char,
        capacity: usize,
    ) -> c_int;
}

/// The device memory of one emulator.
pub struct Memory(NonNull<RawMemory>);

// SAFETY: the table of allocations has its own mutex. Only copies and kernels touch the bytes of allocations, and they run for one
// queue at a time. Two queues that share a buffer race as on a card, and the engine shares none.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Memory without allocations.
    pub fn new() -> Self {
        godiff_emulator_link_kernels();
        match godiff_emulator_memory_new() {
            Some(memory) => Memory(memory),
            // C++'s `new` gives an object or ends the process.
            None => std::process::abort(),
        }
    }

    /// The address of `bytes` new bytes that hold NaN, or `None` if the host has none left.
    pub fn allocate(&self, bytes: usize) -> Option<u64> {
        // SAFETY: `self.0` lives as long as `self`; this holds in all calls below.
        let address = unsafe { godiff_emulator_allocate(self.0, bytes) };
        (address != 0).then_some(address)
    }

    /// Frees an allocation; false if there is none at `address`.
    pub fn free(&self, address: u64) -> bool {
        // SAFETY: an unknown address is only looked up.
        unsafe { godiff_emulator_free(self.0, address) }
    }

    /// Copies `bytes` to `address`; false unless they all fit into one allocation. The same holds for the following functions.
    pub fn write(&self, address: u64, bytes: &[u8]) -> bool {
        // SAFETY: `bytes` can be read over its length, and the other side checks the range.
        unsafe { godiff_emulator_write(self.0, address, bytes.as_ptr().cast(), bytes.len()) }
    }

    /// Copies from `address` to `bytes`.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> bool {
        // SAFETY: `bytes` can be written over its length, and the other side checks the range.
        unsafe { godiff_emulator_read(self.0, address, bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    /// Copies within the device.
    pub fn copy(&self, from: u64, to: u64, bytes: usize) -> bool {
        // SAFETY: the other side checks both ranges.
        unsafe { godiff_emulator_copy(self.0, from, to, bytes) }
    }

    /// Sets `bytes` to zero.
    pub fn fill_zero(&self, address: u64, bytes: usize) -> bool {
        // SAFETY: the other side checks the range.
        unsafe { godiff_emulator_fill_zero(self.0, address, bytes) }
    }

    /// Runs a launch to its end.
    pub fn launch(&self, launch: &Launch) -> Outcome {
        let Ok(kernel) = CString::new(launch.kernel) else {
            return Outcome::Refused("a kernel's name holds a zero".to_owned());
        };
        let raw = RawLaunch {
            kernel: kernel.as_ptr(),
            arguments: launch.arguments.as_ptr().cast(),
            argument_bytes: launch.arguments.len() as u64,
            seed: launch.seed,
            blocks_x: launch.shape.blocks[0],
            blocks_y: launch.shape.blocks[1],
            threads: launch.shape.threads,
            shared_bytes: launch.shape.shared_bytes,
            order: launch.order,
        };
        let mut text = [0u8; SENTENCE_BYTES];
        // SAFETY: `raw`, the data it points to, and `text` outlive the call. The arguments have the given length, which is compared
        // with the kernel's.
        let outcome = unsafe { godiff_emulator_launch(self.0, &raw, text.as_mut_ptr().cast(), text.len()) };
        let sentence = || CStr::from_bytes_until_nul(&text).unwrap_or_default().to_string_lossy().into_owned();
        match outcome {
            0 => Outcome::Done,
            1 => Outcome::Refused(sentence()),
            _ => Outcome::Fault(sentence()),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by `godiff_emulator_memory_new`, and dropped once.
        unsafe { godiff_emulator_memory_delete(self.0) }
    }
}
