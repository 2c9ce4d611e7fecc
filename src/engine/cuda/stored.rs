//! Arrays that are kept in 16 bits under [`Storage::Mixed`] and in f32 otherwise: filter rows, senders, and the rows that the
//! forward pass saves for the backward pass. Only kernels read and write them (kernels/half.cuh).

use crate::engine::Storage;
use crate::error::Result;
use crate::gpu::{Buffer, Entry, StoredPointer, Stream};

/// An array on the device whose elements have the width of the engine's storage.
pub struct Stored {
    words: Buffer<u16>,
    precision: Storage,
}

impl Storage {
    /// Bytes of a stored element.
    pub(super) fn stored_bytes(self) -> usize {
        match self {
            Storage::F32 => 4,
            Storage::Mixed => 2,
        }
    }

    /// The one of two kernels that computes in this precision: `\[f32, mixed\]`.
    pub(super) fn kernel<A>(self, [f32, mixed]: [Entry<A>; 2]) -> Entry<A> {
        match self {
            Storage::F32 => f32,
            Storage::Mixed => mixed,
        }
    }
}

impl Stored {
    /// `len` zeros.
    ///
    /// # Errors
    /// `Failed` without memory.
    pub fn zeros(stream: &Stream, precision: Storage, len: usize) -> Result<Self> {
        Ok(Stored { words: stream.zeros(len * precision.stored_bytes() / size_of::<u16>())?, precision })
    }

    /// Address of its first element.
    pub fn pointer(&self) -> StoredPointer {
        self.at(0)
    }

    /// Address of element `first`.
    pub fn at(&self, first: usize) -> StoredPointer {
        StoredPointer::new(self.words.pointer().plus(first * self.precision.stored_bytes() / size_of::<u16>()))
    }

    /// True if its elements have 16 bits.
    pub fn is_half(&self) -> bool {
        self.precision == Storage::Mixed
    }
}
