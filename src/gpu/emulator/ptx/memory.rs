//! The memory that a launch sees. Every access is judged as a card judges it: its place, and its alignment as a whole.

use super::instruction::{Space, Type};

/// Where the shared memory of a block begins among generic addresses; no allocation is there.
pub const SHARED_WINDOW: u64 = 0xffff_0000_0000_0000;

/// NaN as f64 and as both f32 in it, for what was never written.
pub const POISON: u64 = 0x7ff8_dead_7ff8_dead;

/// An allocation.
#[derive(Debug, Clone)]
pub struct Region {
    /// As kernels know it.
    pub address: u64,
    pub bytes: Vec<u8>,
}

/// Global memory, the shared memory of one block, and the launch's arguments.
pub struct Memory<'a> {
    /// In the order of addresses.
    regions: &'a mut [Region],
    /// For each instruction, the region that it met last.
    met: Vec<u32>,
    shared: Vec<u8>,
    arguments: Vec<u8>,
}

impl<'a> Memory<'a> {
    pub fn new(regions: &'a mut [Region], shared_bytes: usize, arguments: &[u8], n_instructions: usize) -> Self {
        regions.sort_by_key(|region| region.address);
        Memory { regions, met: vec![0; n_instructions], shared: vec![0; shared_bytes], arguments: arguments.to_vec() }
    }

    /// The shared memory of a new block.
    pub fn poison_shared(&mut self) {
        for chunk in self.shared.chunks_mut(size_of::<u64>()) {
            chunk.copy_from_slice(&POISON.to_le_bytes()[..chunk.len()]);
        }
    }

    /// The `bytes` that the instruction `at` may touch at `address`.
    #[inline(always)]
    pub fn slice(&mut self, at: usize, space: Space, address: u64, bytes: usize) -> Result<&mut [u8], String> {
        if !address.is_multiple_of(bytes as u64) {
            return Err(format!("accesses {bytes} bytes at {address:#x}, which is not aligned as its type needs"));
        }
        match space {
            Space::Shared => inside(&mut self.shared, "of shared memory", address, bytes),
            Space::Parameter => inside(&mut self.arguments, "of arguments", address, bytes),
            Space::Generic if address >= SHARED_WINDOW => {
                inside(&mut self.shared, "of shared memory", address - SHARED_WINDOW, bytes)
            }
            Space::Global | Space::Generic => self.global(at, address, bytes),
        }
    }

    #[inline(always)]
    fn global(&mut self, at: usize, address: u64, bytes: usize) -> Result<&mut [u8], String> {
        let within = |region: &Region| {
            let offset = address.wrapping_sub(region.address);
            offset.checked_add(bytes as u64).is_some_and(|end| end <= region.bytes.len() as u64)
        };
        let mut k = self.met[at] as usize;
        if !self.regions.get(k).is_some_and(within) {
            k = self.regions.partition_point(|region| region.address <= address).wrapping_sub(1);
            if !self.regions.get(k).is_some_and(within) {
                return Err(self.outside(k, address, bytes));
            }
            self.met[at] = k as u32;
        }
        let region = &mut self.regions[k];
        let offset = (address - region.address) as usize;
        Ok(&mut region.bytes[offset..offset + bytes])
    }

    /// Where an access is that no allocation holds; `k` is the allocation before it.
    fn outside(&self, k: usize, address: u64, bytes: usize) -> String {
        let near = self.regions.get(k).filter(|region| address - region.address < 2 * region.bytes.len() as u64 + 1024);
        match near {
            Some(region) => format!(
                "accesses {bytes} bytes at byte {} of an allocation of {} bytes",
                address - region.address,
                region.bytes.len()
            ),
            None => format!("accesses {bytes} bytes at {address:#x}, where nothing is allocated"),
        }
    }
}

#[inline(always)]
fn inside<'a>(memory: &'a mut [u8], what: &str, address: u64, bytes: usize) -> Result<&'a mut [u8], String> {
    let total = memory.len();
    let end = usize::try_from(address).ok().and_then(|start| start.checked_add(bytes));
    match end {
        Some(end) if end <= total => Ok(&mut memory[end - bytes..end]),
        _ => Err(format!("accesses {bytes} bytes at byte {address} of {total} bytes {what}")),
    }
}

/// The register that holds the number at the start of `bytes`.
#[inline(always)]
pub fn load(kind: Type, bytes: &[u8]) -> u64 {
    match (kind.bytes(), bytes) {
        (1, &[a, ..]) if kind.is_signed() => a as i8 as u64,
        (1, &[a, ..]) => u64::from(a),
        (2, &[a, b, ..]) if kind.is_signed() => i16::from_le_bytes([a, b]) as u64,
        (2, &[a, b, ..]) => u64::from(u16::from_le_bytes([a, b])),
        (4, &[a, b, c, d, ..]) if kind.is_signed() => i32::from_le_bytes([a, b, c, d]) as u64,
        (4, &[a, b, c, d, ..]) => u64::from(u32::from_le_bytes([a, b, c, d])),
        (_, &[a, b, c, d, e, f, g, h, ..]) => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => POISON,
    }
}
