//! The emulator finds what is wrong with a kernel, and nothing in kernels that are right. The kernels are in tests/planted/.
#![cfg(feature = "emulator")]

use bytemuck::{Pod, Zeroable};
use godiff::engine::cuda::driver::{Arguments, Device, Pointer, Shape, Stream};

/// Orders of threads in which a correct kernel gives the same.
const ORDERS: [&str; 3] = ["emulator:order=forward", "emulator:order=reverse", "emulator:order=random"];

/// Declares the Rust twin of a kernel's structure.
macro_rules! arguments {
    ($name:ident, $kernel:literal, { $($field:ident: $type:ty),* $(,)? }) => {
        #[repr(C)]
        #[derive(Clone, Copy, Pod, Zeroable)]
        struct $name { $($field: $type),* }
        impl Arguments for $name { const KERNEL: &'static str = $kernel; }
    };
}

arguments!(Sum, "planted_sum", { x: Pointer<f32>, sums: Pointer<f32>, n: u32, unused: u32 });
arguments!(Scan, "planted_scan", { x: Pointer<u32>, sums: Pointer<u32>, n: u32, unused: u32 });

fn stream(device: &str) -> Stream {
    Device::open(device).and_then(|device| device.stream()).unwrap()
}

fn shape(blocks: u32, threads: u32, shared_bytes: u32) -> Shape {
    Shape { blocks: [blocks, 1], threads, shared_bytes }
}

#[test]
fn a_sum_over_warps_and_blocks() {
    for device in ORDERS {
        let stream = stream(device);
        let values: Vec<f32> = (0..1000).map(|i| i as f32).collect();
        let x = stream.upload(&values).unwrap();
        let sums = stream.zeros::<f32>(4).unwrap();
        let arguments = Sum { x: x.pointer(), sums: sums.pointer(), n: 1000, unused: 0 };
        stream.launch(shape(4, 256, 8 * 4), &arguments).unwrap();
        assert_eq!(stream.read(&sums).unwrap(), [32640.0, 98176.0, 163712.0, 204972.0], "{device}");
    }
}

#[test]
fn a_scan_through_shared_memory() {
    for device in ORDERS {
        let stream = stream(device);
        let x = stream.upload(&vec![3_u32; 300]).unwrap();
        let sums = stream.zeros::<u32>(300).unwrap();
        let arguments = Scan { x: x.pointer(), sums: sums.pointer(), n: 300, unused: 0 };
        stream.launch(shape(1, 320, 2 * 320 * 4), &arguments).unwrap();
        assert!(stream.read(&sums).unwrap().iter().zip(1..).all(|(&sum, i)| sum == 3 * i), "{device}");
    }
}
