//! The thin layer between a GPU and the code that computes on it: allocate, copy, launch, capture. It has two backends with one
//! interface: `cudarc` drives a real card, and `emulator` runs the same kernels compiled as C++ on the CPU. All unsafe code for
//! GPUs is in this module; the unsafe code of the CPU engine is in `engine/cpu/gemm.rs` and `engine/cpu/simd.rs`.
//!
//! Every call's result is checked. Work goes to one in-order [`Stream`] per engine; host buffers are copied before a call returns.

pub mod arguments;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "emulator")]
mod emulator;
pub mod images;
pub mod kernels;
mod nvtx;
mod place;
#[cfg(any(feature = "cuda", feature = "emulator"))]
mod sentence;

pub use arguments::{Arguments, Entry};
#[cfg(feature = "emulator")]
pub use emulator::{CARDS, Card, CompiledLaunches, FollowedLaunch, bounds, compiled_launches, followed_launches};
pub use nvtx::{Range, profiler_range};
pub use place::Place;

use crate::error::{Error, Result};
use bytemuck::{Pod, Zeroable};
use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::Arc;

/// The properties of a card that the engine needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Properties {
    /// The vendor's name of the card, or "emulator".
    pub name: String,
    /// Compute capability, such as (8, 6).
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// Shared memory a block may use, bytes.
    pub shared_memory_per_block: usize,
    /// Device memory, bytes.
    pub memory: usize,
    /// Highest clock, Hz; 0 where unknown.
    pub clock: f64,
    /// Peak bandwidth of the device memory, bytes/s; 0 where unknown.
    pub bandwidth: f64,
}

/// Grid of a launch: blocks along x and y, threads of a block along x, dynamic shared memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Blocks along x and y.
    pub blocks: [u32; 2],
    /// Threads a block.
    pub threads: u32,
    /// Dynamic shared memory, bytes.
    pub shared_bytes: u32,
}

/// An address in device memory, as kernels take it; may be null.
#[derive(Debug)]
#[repr(transparent)]
pub struct Pointer<T>(u64, PhantomData<T>);

impl<T> Clone for Pointer<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Pointer<T> {}

impl<T> Default for Pointer<T> {
    fn default() -> Self {
        Self::NULL
    }
}

impl<T> PartialEq for Pointer<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Pointer<T> {
    /// No address.
    pub const NULL: Pointer<T> = Pointer(0, PhantomData);

    /// The same address as a pointer to the elements' scalars.
    pub fn cast<const N: usize>(vectors: Pointer<[T; N]>) -> Self {
        Pointer(vectors.0, PhantomData)
    }

    /// The same address as a pointer to elements of another type.
    pub fn reinterpret<U>(self) -> Pointer<U> {
        Pointer(self.0, PhantomData)
    }

    /// The address as a number.
    pub fn address(self) -> u64 {
        self.0
    }

    /// The address `elements` further on.
    pub fn plus(self, elements: usize) -> Self {
        Pointer(self.0 + (elements * size_of::<T>()) as u64, PhantomData)
    }
}

// SAFETY: a transparent wrapper around an integer and a zero-sized marker: every bit pattern is a value, zero included.
unsafe impl<T> Zeroable for Pointer<T> {}
// SAFETY: as above; it has no padding, and `T` is only a marker ('static, as `Pod` wants it).
unsafe impl<T: 'static> Pod for Pointer<T> {}

/// An address of elements that have 32 or 16 bits, as the kernel that takes it defines; may be null. It cannot be advanced: only
/// the array knows the width of an element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoredPointer(Pointer<u16>);

impl StoredPointer {
    /// No address.
    pub const NULL: StoredPointer = StoredPointer(Pointer::NULL);

    /// The address of an element that begins with these 16 bits.
    pub fn new(first: Pointer<u16>) -> Self {
        StoredPointer(first)
    }

    /// The same address for an argument that gives the width of the elements in another field.
    pub fn untyped(self) -> Pointer<f32> {
        self.0.reinterpret()
    }
}

impl Default for StoredPointer {
    fn default() -> Self {
        Self::NULL
    }
}

/// The cards of this machine, each with the reason if it cannot be used.
///
/// # Errors
/// `BadInput` with the reason why there is none.
pub fn cards() -> Result<Vec<(Properties, Option<String>)>> {
    #[cfg(feature = "cuda")]
    return Ok(cuda::list()?.into_iter().map(|card| (card.clone(), cuda::usable(&card).err())).collect());
    #[cfg(not(feature = "cuda"))]
    return Err(Error::bad_input("this godiff was built without the feature cuda"));
}

/// Device memory of one backend: raw bytes, typed by [`Buffer`].
trait RawDevice: Send + Sync {
    fn properties(&self) -> &Properties;
    fn open_stream(self: Arc<Self>) -> Result<Box<dyn RawStream>>;
    /// Free and total device memory now, bytes.
    fn memory(&self) -> Result<(usize, usize)>;
    fn allocate(&self, bytes: usize) -> Result<u64>;
    fn free(&self, address: u64, bytes: usize);
    /// Tells the type of an allocation's elements, for backends that compare results.
    fn note_element(&self, _address: u64, _element: &'static str) {}
}

/// An in-order queue of one backend.
trait RawStream: Send {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<()>;
    fn read(&mut self, address: u64, bytes: &mut [u8]) -> Result<()>;
    fn copy(&mut self, from: u64, to: u64, bytes: usize) -> Result<()>;
    fn fill_zero(&mut self, address: u64, bytes: usize) -> Result<()>;
    fn launch(&mut self, kernel: &'static str, shape: Shape, arguments: &[u8]) -> Result<()>;
    fn synchronize(&mut self) -> Result<()>;
    fn begin_capture(&mut self) -> Result<()>;
    /// The captured work, ready to be replayed; an error if anything in between cannot be captured.
    fn end_capture(&mut self) -> Result<Box<dyn RawGraph>>;
    fn replay(&mut self, graph: &dyn RawGraph) -> Result<()>;
    /// Remembers this point of the queue; `elapsed` gives the milliseconds between two such points once both have passed.
    fn mark(&mut self) -> Result<usize>;
    fn elapsed(&mut self, from: usize, to: usize) -> Result<f32>;
}

/// Captured work of one backend.
trait RawGraph: Send {
    #[cfg_attr(
        not(any(feature = "cuda", feature = "emulator")),
        allow(dead_code, reason = "backends alone ask for it")
    )]
    fn as_any(&self) -> &dyn std::any::Any;
    /// Launches, copies and fills in it.
    fn n_nodes(&self) -> usize;
}

/// A card, or the emulator. Clones share context and loaded kernels.
#[derive(Clone)]
pub struct Device(Arc<dyn RawDevice>);

impl Device {
    /// Opens "cuda", "cuda:INDEX" or "emulator" (with options for tests: `emulator:KEY=VALUE,...`).
    ///
    /// # Errors
    /// `BadInput` for a device that this build or machine does not have.
    pub fn open(name: &str) -> Result<Self> {
        match name {
            #[cfg(feature = "emulator")]
            _ if name == "emulator" || name.starts_with("emulator:") => Ok(Device(emulator::open(name)?)),
            #[cfg(feature = "cuda")]
            _ if name == "cuda" || name.starts_with("cuda:") => Ok(Device(cuda::open(name)?)),
            _ => Err(Error::bad_input(format!(
                "device '{name}': this godiff was built without the feature that drives it; use --device cpu"
            ))),
        }
    }

    /// The properties of the card.
    pub fn properties(&self) -> &Properties {
        self.0.properties()
    }

    /// Free and total memory now, bytes.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.0.memory()
    }

    /// A new queue on the device.
    pub fn stream(&self) -> Result<Stream> {
        let raw = Arc::clone(&self.0).open_stream()?;
        Ok(Stream { device: self.clone(), raw: RefCell::new(raw), recorded: RefCell::new(None) })
    }
}

/// `len` elements of `T` in device memory, freed when dropped.
pub struct Buffer<T> {
    device: Device,
    address: u64,
    len: usize,
    _element: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Address of the first element, for a kernel's argument.
    pub fn pointer(&self) -> Pointer<T> {
        Pointer(self.address, PhantomData)
    }

    fn bytes(&self) -> usize {
        self.len * size_of::<T>()
    }
}

impl<T> Drop for Buffer<T> {
    fn drop(&mut self) {
        self.device.0.free(self.address, self.len * size_of::<T>());
    }
}

/// An in-order queue of work on one device.
pub struct Stream {
    device: Device,
    raw: RefCell<Box<dyn RawStream>>,
    recorded: RefCell<Option<Vec<Recorded>>>,
}

/// A launch as it was queued.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The kernel.
    pub kernel: &'static str,
    /// Its grid.
    pub shape: Shape,
    arguments: Vec<u8>,
}

impl Stream {
    /// The device it works on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// `len` zeros. Not within a capture.
    ///
    /// # Errors
    /// `Failed` without memory: the sentence names the bytes that were requested.
    pub fn zeros<T: Pod>(&self, len: usize) -> Result<Buffer<T>> {
        let bytes = len * size_of::<T>();
        let address = self.device.0.allocate(bytes)?;
        self.device.0.note_element(address, std::any::type_name::<T>());
        let buffer = Buffer { device: self.device.clone(), address, len, _element: PhantomData };
        self.raw.borrow_mut().fill_zero(address, bytes)?;
        Ok(buffer)
    }

    /// A copy of `values` on the device. Not within a capture.
    pub fn upload<T: Pod>(&self, values: &[T]) -> Result<Buffer<T>> {
        let buffer = self.zeros(values.len())?;
        self.write(&buffer, 0, values)?;
        Ok(buffer)
    }

    /// As [`Stream::upload`], but one zero if there are no values: no kernel reads it, and every buffer has an address.
    pub fn upload_some<T: Pod>(&self, values: &[T]) -> Result<Buffer<T>> {
        if values.is_empty() { self.zeros(1) } else { self.upload(values) }
    }

    /// Writes `values` from element `first` on. Not within a capture.
    pub fn write<T: Pod>(&self, to: &Buffer<T>, first: usize, values: &[T]) -> Result<()> {
        check_range("write", to.len, first, values.len())?;
        self.raw.borrow_mut().write(to.pointer().plus(first).0, bytemuck::cast_slice(values))
    }

    /// Waits for all work so far and reads the whole buffer. Not within a capture.
    pub fn read<T: Pod>(&self, from: &Buffer<T>) -> Result<Vec<T>> {
        self.read_part(from, 0, from.len)
    }

    /// Waits for all work so far and reads `len` elements from `first` on. Not within a capture.
    pub fn read_part<T: Pod>(&self, from: &Buffer<T>, first: usize, len: usize) -> Result<Vec<T>> {
        check_range("read", from.len, first, len)?;
        let mut values = vec![T::zeroed(); len];
        self.raw.borrow_mut().read(from.pointer().plus(first).0, bytemuck::cast_slice_mut(&mut values))?;
        Ok(values)
    }

    /// Copies the whole of `from` over the start of `to`.
    pub fn copy<T: Pod>(&self, from: &Buffer<T>, to: &Buffer<T>) -> Result<()> {
        check_range("copy", to.len, 0, from.len)?;
        self.raw.borrow_mut().copy(from.address, to.address, from.bytes())
    }

    /// Sets the whole buffer to zero.
    pub fn clear<T: Pod>(&self, buffer: &Buffer<T>) -> Result<()> {
        self.raw.borrow_mut().fill_zero(buffer.address, buffer.bytes())
    }

    /// Queues a kernel. Launches without blocks are left out.
    pub fn launch<A: Arguments>(&self, kernel: Entry<A>, shape: Shape, arguments: &A) -> Result<()> {
        if shape.blocks.contains(&0) {
            return Ok(());
        }
        let mut bytes = vec![0; A::BYTES];
        arguments.put(&mut bytes);
        if let Some(recorded) = &mut *self.recorded.borrow_mut() {
            recorded.push(Recorded { kernel: kernel.name, shape, arguments: bytes.clone() });
        }
        self.raw.borrow_mut().launch(kernel.name, shape, &bytes)
    }

    /// Runs `work` and lists its launches.
    pub fn record(&self, work: impl FnOnce() -> Result<()>) -> Result<Vec<Recorded>> {
        self.recorded.replace(Some(Vec::new()));
        let done = work();
        let recorded = self.recorded.take().unwrap_or_default();
        done.map(|()| recorded)
    }

    /// Queues a recorded launch once more; the buffers of its arguments must still be there.
    pub fn launch_recorded(&self, launch: &Recorded) -> Result<()> {
        self.raw.borrow_mut().launch(launch.kernel, launch.shape, &launch.arguments)
    }

    /// Records the work that `work` queues, without running it. The arguments keep their present values. The host may not allocate,
    /// read or write meanwhile.
    pub fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        self.raw.borrow_mut().begin_capture()?;
        let done = work();
        let graph = self.raw.borrow_mut().end_capture();
        done?;
        Ok(Graph(graph?))
    }

    /// Queues captured work again.
    pub fn replay(&self, graph: &Graph) -> Result<()> {
        self.raw.borrow_mut().replay(&*graph.0)
    }

    /// Waits for all work so far.
    ///
    /// # Errors
    /// `Failed` if any of it failed.
    pub fn synchronize(&self) -> Result<()> {
        self.raw.borrow_mut().synchronize()
    }

    /// Milliseconds that `work` keeps the device busy, measured on the device.
    pub fn time(&self, work: impl FnOnce() -> Result<()>) -> Result<f32> {
        let from = self.raw.borrow_mut().mark()?;
        work()?;
        let to = self.raw.borrow_mut().mark()?;
        self.raw.borrow_mut().elapsed(from, to)
    }
}

/// Captured work: replays cost one launch.
pub struct Graph(Box<dyn RawGraph>);

impl Graph {
    /// Launches, copies and fills in it.
    pub fn n_nodes(&self) -> usize {
        self.0.n_nodes()
    }
}

/// Room for more pairs than were found, so that the next structure fits too.
pub fn with_reserve(n_pairs: usize) -> usize {
    n_pairs + n_pairs / 4
}

fn check_range(what: &str, len: usize, first: usize, count: usize) -> Result<()> {
    if first.checked_add(count).is_some_and(|end| end <= len) {
        return Ok(());
    }
    Err(Error::Failed(format!("internal error: {what} of {count} elements at {first} in a device buffer of {len}")))
}
