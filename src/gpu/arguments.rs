//! The arguments of the kernels, and the most threads of their blocks. The build makes them from the sources in `kernels/`
//! (`build/arguments.rs`), one module for each source. Shapes and units of the fields come from the kernels' comments.

use super::{Pointer, Shape, StoredPointer};
use prelude::WARP;
use std::fmt;
use std::marker::PhantomData;

include!(concat!(env!("OUT_DIR"), "/arguments.rs"));

/// The one argument of a kernel, or a part of it. It is passed by value, as bytes.
pub trait Arguments {
    /// Its size, bytes.
    const BYTES: usize;

    /// Writes it to the [`Arguments::BYTES`] bytes `to`; padding is left as it is.
    fn put(&self, to: &mut [u8]);
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Arguments for $number {
            const BYTES: usize = size_of::<$number>();

            fn put(&self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_ne_bytes());
            }
        }
    )*};
}
numbers!(f32, f64, i32, u32, u64);

impl<T> Arguments for Pointer<T> {
    const BYTES: usize = 8;

    fn put(&self, to: &mut [u8]) {
        self.address().put(to);
    }
}

impl Arguments for StoredPointer {
    const BYTES: usize = 8;

    fn put(&self, to: &mut [u8]) {
        self.untyped().put(to);
    }
}

impl<T: Arguments, const N: usize> Arguments for [T; N] {
    const BYTES: usize = N * T::BYTES;

    fn put(&self, to: &mut [u8]) {
        self.iter().zip(to.chunks_exact_mut(T::BYTES)).for_each(|(element, to)| element.put(to));
    }
}

/// A kernel by its name, with the type of its argument and the most threads of its blocks.
pub struct Entry<A> {
    /// Its name.
    pub name: &'static str,
    /// The most threads of a block.
    pub max_threads: u32,
    arguments: PhantomData<fn(A)>,
}

impl<A> Clone for Entry<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Entry<A> {}

impl<A> fmt::Debug for Entry<A> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} of {} threads", self.name, self.max_threads)
    }
}

impl<A> Entry<A> {
    /// The kernel `name`, which takes `A`.
    pub const fn new(name: &'static str, max_threads: u32) -> Self {
        Entry { name, max_threads, arguments: PhantomData }
    }

    /// Warps of a block of all threads.
    pub const fn warps(&self) -> usize {
        (self.max_threads / WARP) as usize
    }

    /// Threads of a block, as whole warps, for `n_items` parallel items; at most the threads of a full block.
    pub fn threads_for(&self, n_items: usize) -> u32 {
        (n_items.min(self.max_threads as usize) as u32).next_multiple_of(WARP).clamp(WARP, self.max_threads)
    }

    /// A grid of blocks of all threads.
    pub fn grid(&self, blocks: [usize; 2], shared_bytes: usize) -> Shape {
        let blocks = blocks.map(|n| n as u32);
        Shape { blocks, threads: self.max_threads, shared_bytes: shared_bytes as u32 }
    }
}
