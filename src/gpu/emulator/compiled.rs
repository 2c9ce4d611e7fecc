//! Launches run as the PTX that this build embeds (`ptx/`), in the place of the kernels' C++ or beside it.
//!
//! Beside it, what both leave in memory is compared. The bounds are relative to the largest value of an array, since single values
//! are differences of larger ones: PTX contracts products and sums, and libdevice rounds other last bits than the C++ library.

use super::ffi::Memory;
use super::ptx::{Launch, Module, Region};
use super::speed;
use crate::gpu::Shape;
use crate::gpu::arguments::adamw::TrainingState;
use crate::gpu::arguments::corrector::History;
use crate::gpu::arguments::emt_relax::RelaxState;
use crate::gpu::kernels::{Target, modules, planted};
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

/// How launches run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As C++.
    Off,
    /// As C++ and as PTX; the results of C++ stay.
    Compare,
    /// As PTX.
    Only,
    /// As C++; some blocks also as PTX on copies, for the model of speed.
    Follow,
}

/// Largest differences that are no fault, as shares of the largest value of an array.
pub mod bounds {
    /// f32: about a hundred roundings.
    pub const F32: f64 = 1e-5;
    /// Kernels that keep arrays in 16 bits: two of their steps.
    pub const MIXED: f64 = 2e-3;
    /// f64.
    pub const F64: f64 = 1e-12;
    /// f64 after many steps of an optimiser, each of which magnifies the last bits of the one before.
    pub const F64_MANY_STEPS: f64 = 1e-8;
}

/// Kernels of the last bound.
const MANY_STEPS: [&str; 1] = ["emt_relax"];

/// Structures that kernels write, with their numbers.
const STRUCTURES: [(&str, &str); 3] =
    [("TrainingState", TrainingState::NUMBERS), ("RelaxState", RelaxState::NUMBERS), ("History", History::NUMBERS)];

/// What the launches of a kernel as PTX did in this process.
#[derive(Debug, Clone, Default)]
pub struct CompiledLaunches {
    /// Launches without a fault.
    pub launches: u64,
    /// Threads of all launches.
    pub threads: u64,
    /// How often threads executed each opcode.
    pub executed: BTreeMap<&'static str, u64>,
    /// Instructions that some thread executed, and all.
    pub reached: (usize, usize),
    /// Largest differences from C++, as shares of an array's largest value: of f32 (or halves) and of f64.
    pub differences: [f64; 2],
}

/// What is counted of a kernel.
#[derive(Default)]
struct Counts {
    launches: u64,
    threads: u64,
    executed: Vec<u64>,
    differences: [f64; 2],
}

static COUNTS: Mutex<BTreeMap<&'static str, Counts>> = Mutex::new(BTreeMap::new());

/// The modules of this build, by the names of their kernels.
static MODULES: LazyLock<Result<BTreeMap<&'static str, &'static Module>, String>> = LazyLock::new(|| {
    let embedded = modules().iter().flat_map(|module| {
        let images = module.images.iter().filter(|image| matches!(image.target, Target::Ptx(_)));
        images.map(|image| (module.name, image.bytes))
    });
    let mut found = BTreeMap::new();
    for (name, bytes) in embedded.chain(planted().iter().copied()) {
        let text = String::from_utf8_lossy(bytes);
        let module =
            Module::read(text.trim_end_matches('\0')).map_err(|cause| format!("the PTX of {name}: {cause}"))?;
        let module: &'static Module = Box::leak(Box::new(module));
        found.extend(module.names().map(|name| (name, module)));
    }
    if found.is_empty() { Err("this build has no PTX: it was built without NVRTC".to_owned()) } else { Ok(found) }
});

/// What ran as PTX in this process, by kernel.
pub fn compiled_launches() -> BTreeMap<&'static str, CompiledLaunches> {
    let counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(modules) = &*MODULES else { return BTreeMap::new() };
    let of_kernel = |(&kernel, counts): (&&'static str, &Counts)| {
        let mut executed = BTreeMap::new();
        for (opcode, n) in modules[kernel].opcodes(kernel).into_iter().zip(&counts.executed) {
            if *n > 0 && !opcode.is_empty() {
                *executed.entry(opcode).or_default() += n;
            }
        }
        let reached = counts.executed.iter().filter(|n| **n > 0).count();
        let launches = CompiledLaunches {
            launches: counts.launches,
            threads: counts.threads,
            executed,
            reached: (reached, counts.executed.len()),
            differences: counts.differences,
        };
        (kernel, launches)
    };
    counts.iter().map(of_kernel).collect()
}

/// What an allocation holds.
#[derive(Debug, Clone, Copy)]
pub struct Allocation {
    pub bytes: usize,
    /// Name of the elements' type, as Rust writes it.
    pub element: &'static str,
}

/// The allocations of a device.
pub type Allocations = BTreeMap<u64, Allocation>;

/// Copies of all `allocations`.
pub fn copies(memory: &Memory, allocations: &Allocations) -> Vec<Region> {
    let copy = |(&address, allocation): (&u64, &Allocation)| {
        let mut bytes = vec![0; allocation.bytes];
        memory.read(address, &mut bytes).then_some(Region { address, bytes })
    };
    allocations.iter().filter_map(copy).collect()
}

/// Runs a launch as PTX on `regions`.
///
/// # Errors
/// A sentence that says what went wrong.
pub fn run(kernel: &str, shape: Shape, arguments: &[u8], regions: &mut [Region]) -> Result<(), String> {
    let modules = MODULES.as_ref().map_err(Clone::clone)?;
    let (&kernel, &module) =
        modules.get_key_value(kernel).ok_or_else(|| format!("there is no PTX of a kernel '{kernel}'"))?;
    let launch = Launch { blocks: shape.blocks, threads: shape.threads, shared_bytes: shape.shared_bytes, arguments };
    let mut executed = Vec::new();
    module.run(kernel, &launch, regions, &mut executed)?;
    let mut all = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let counts = all.entry(kernel).or_default();
    counts.launches += 1;
    counts.threads += u64::from(shape.blocks[0]) * u64::from(shape.blocks[1]) * u64::from(shape.threads);
    counts.executed.resize(executed.len(), 0);
    for (sum, n) in counts.executed.iter_mut().zip(executed) {
        *sum += n;
    }
    Ok(())
}

/// Runs some blocks of a launch as PTX on `regions`, for the model of speed.
///
/// # Errors
/// A sentence that says what went wrong.
pub fn follow(kernel: &'static str, shape: Shape, arguments: &[u8], regions: &mut [Region]) -> Result<(), String> {
    let modules = MODULES.as_ref().map_err(Clone::clone)?;
    let module = modules.get(kernel).ok_or_else(|| format!("there is no PTX of a kernel '{kernel}'"))?;
    let launch = Launch { blocks: shape.blocks, threads: shape.threads, shared_bytes: shape.shared_bytes, arguments };
    let paths = module.follow(kernel, &launch, regions, &speed::followed_blocks(shape.blocks))?;
    let extents: Vec<[u64; 2]> =
        regions.iter().map(|region| [region.address, region.address + region.bytes.len() as u64]).collect();
    speed::record(module, (kernel, shape), &paths, &extents);
    Ok(())
}

/// Compares what PTX and C++ left of the same allocations.
///
/// # Errors
/// The first array that differs by more than the bounds.
pub fn compare(kernel: &'static str, ptx: &[Region], cpp: &[Region], allocations: &Allocations) -> Result<(), String> {
    let mut largest = [0f64; 2];
    for (ptx, cpp) in ptx.iter().zip(cpp).filter(|(ptx, cpp)| ptx.bytes != cpp.bytes) {
        let Some(allocation) = allocations.get(&ptx.address) else { continue };
        for column in columns(allocation.element, kernel) {
            let difference = column.difference(&ptx.bytes, &cpp.bytes);
            let bound = column.bound(kernel);
            if difference > bound {
                return Err(format!(
                    "kernel {kernel}: PTX and C++ differ by {difference:.1e} of the largest value in {} bytes of {} ({}); \
                     {bound:.1e} are allowed",
                    ptx.bytes.len(),
                    allocation.element,
                    column.kind.name()
                ));
            }
            if let Some(largest) = largest.get_mut(usize::from(column.kind == Kind::F64)).filter(|_| bound > 0.0) {
                *largest = largest.max(difference);
            }
        }
    }
    let mut all = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let counts = all.entry(kernel).or_default();
    for (sum, new) in counts.differences.iter_mut().zip(largest) {
        *sum = sum.max(new);
    }
    Ok(())
}

/// What one field of an array's elements holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bits,
    Half,
    F32,
    F64,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Kind::Half => 2,
            Kind::Bits | Kind::F32 => 4,
            Kind::F64 => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Bits => "bits",
            Kind::Half => "16-bit floats",
            Kind::F32 => "f32",
            Kind::F64 => "f64",
        }
    }
}

/// One field of all elements of an array: every `stride` bytes from `first` on.
struct Column {
    kind: Kind,
    first: usize,
    stride: usize,
}

/// The fields of an array of `element`, as `kernel` sees it.
fn columns(element: &str, kernel: &str) -> Vec<Column> {
    let last = element.trim_start_matches('[').split(';').next().unwrap_or_default().rsplit("::").next();
    let is_list = |name: &str| element == name || (element.starts_with('[') && last == Some(name));
    let pattern = match STRUCTURES.iter().find(|(name, _)| last == Some(name)) {
        Some((_, fields)) => fields,
        // The last of four carries integers (kernels/radius_graph.cu).
        None if element == "[f32; 4]" => "sssu",
        None if is_list("f32") => "s",
        None if is_list("f64") => "d",
        // Stored values have the width that the kernel was compiled for.
        None if element == "u16" && (kernel.ends_with("_mixed") || kernel == "half_conversion") => "h",
        None if element == "u16" => "s",
        None => "u",
    };
    let kind = |field: char| match field {
        'd' => Kind::F64,
        's' => Kind::F32,
        'h' => Kind::Half,
        _ => Kind::Bits,
    };
    let kinds: Vec<Kind> = pattern.chars().map(kind).collect();
    let stride: usize = kinds.iter().map(|kind| kind.bytes()).sum();
    // A structure that holds an f64 is a multiple of eight bytes.
    let stride = if kinds.contains(&Kind::F64) { stride.next_multiple_of(8) } else { stride };
    let mut first = 0;
    let column = |kind: Kind| {
        first += kind.bytes();
        Column { kind, first: first - kind.bytes(), stride }
    };
    kinds.into_iter().map(column).collect()
}

impl Column {
    fn bound(&self, kernel: &str) -> f64 {
        match self.kind {
            Kind::Bits => 0.0,
            Kind::F64 if MANY_STEPS.contains(&kernel) => bounds::F64_MANY_STEPS,
            Kind::F64 => bounds::F64,
            Kind::F32 | Kind::Half if kernel.ends_with("_mixed") => bounds::MIXED,
            Kind::F32 | Kind::Half => bounds::F32,
        }
    }

    fn values<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = f64> + 'a {
        let (kind, first, width) = (self.kind, self.first, self.kind.bytes());
        bytes.chunks(self.stride).filter_map(move |element| {
            let field = element.get(first..first + width)?;
            Some(match (kind, field) {
                (Kind::Half, &[a, b]) => f64::from(super::ptx::half_to_single(u16::from_le_bytes([a, b]))),
                (Kind::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
                (Kind::Bits, &[a, b, c, d]) => f64::from(u32::from_le_bytes([a, b, c, d])),
                (_, &[a, b, c, d, e, f, g, h]) => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => f64::NAN,
            })
        })
    }

    /// The largest difference between two states, as a share of the largest value; infinite where bits, infinities or NaN differ.
    fn difference(&self, one: &[u8], other: &[u8]) -> f64 {
        let (mut scale, mut largest) = (0f64, 0f64);
        for (a, b) in self.values(one).zip(self.values(other)) {
            if a == b || (a.is_nan() && b.is_nan()) {
                scale = if a.is_finite() { scale.max(a.abs()) } else { scale };
            } else if self.kind == Kind::Bits || !a.is_finite() || !b.is_finite() {
                return f64::INFINITY;
            } else {
                scale = scale.max(a.abs()).max(b.abs());
                largest = largest.max((a - b).abs());
            }
        }
        if largest > 0.0 { largest / scale } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(element: &str, kernel: &str, one: &[u8], other: &[u8]) -> f64 {
        columns(element, kernel).iter().map(|column| column.difference(one, other)).fold(0.0, f64::max)
    }

    fn of<T: bytemuck::Pod>(values: &[T]) -> &[u8] {
        bytemuck::cast_slice(values)
    }

    #[test]
    fn floats_are_compared_with_the_largest() {
        let (one, other) = ([1.0_f32, -100.0, f32::NAN], [1.001_f32, -100.0, f32::NAN]);
        let found = difference("f32", "head", of(&one), of(&other));
        assert!((found - 1e-5).abs() < 1e-7, "{found}");
        assert_eq!(difference("f64", "emt", of(&[1.0, 2.0]), of(&[1.0, 2.5])), 0.2);
        assert_eq!(difference("f64", "emt", of(&[1.0, 2.0]), of(&[1.0, f64::NAN])), f64::INFINITY);
        assert_eq!(difference("f64", "emt", of(&[f64::INFINITY]), of(&[1.0])), f64::INFINITY);
    }

    #[test]
    fn integers_are_equal_or_not() {
        assert_eq!(difference("u32", "radius_graph", of(&[1_u32, 2]), of(&[1_u32, 2])), 0.0);
        assert_eq!(difference("u32", "radius_graph", of(&[1_u32, 2]), of(&[1_u32, 3])), f64::INFINITY);
        // An integer that is carried beside three floats.
        let [one, other] = [5, 6].map(|bits| [1.0, 2.0, 3.0, f32::from_bits(bits)]);
        assert_eq!(difference("[f32; 4]", "radius_graph", of(&one), of(&other)), f64::INFINITY);
    }

    #[test]
    fn stored_values_have_the_width_of_the_kernel() {
        let (one, other) = ([0x3c00_u16, 0x3c00], [0x3c00_u16, 0x3e00]);
        assert_eq!(difference("u16", "block_forward_mixed", of(&one), of(&other)), 1.0 / 3.0);
        assert_eq!(difference("u16", "block_forward", of(&[1.0_f32]), of(&[2.0_f32])), 0.5);
    }

    #[test]
    fn fields_of_structures_are_found() {
        let name = std::any::type_name::<TrainingState>();
        let found = columns(name, "gradient_sum");
        assert_eq!(found.len(), 21);
        assert_eq!(found[0].stride, size_of::<TrainingState>());
        assert_eq!(found[16].first, std::mem::offset_of!(TrainingState, bad_step));
    }
}
