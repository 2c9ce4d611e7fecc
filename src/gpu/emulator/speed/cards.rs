//! Cards, as NVIDIA's guides and published microbenchmarks describe them. Nothing here was measured for this project.

/// What the model knows of a card.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    /// Part of the name that its driver gives.
    pub name: &'static str,
    /// Whose machine code it runs: 86 for compute capability 8.6.
    pub architecture: u32,
    /// Multiprocessors.
    pub multiprocessors: u64,
    /// Clocks a nanosecond.
    pub ghz: f64,
    /// Clocks that an f32 instruction of a warp takes a scheduler's lanes.
    pub f32_clocks: u64,
    /// Clocks that an f64 instruction of a warp takes the multiprocessor's lanes, times two.
    pub f64_half_clocks: u64,
    /// Clocks until an f64 result can be read.
    pub f64_latency: u64,
    /// Bytes of shared memory a multiprocessor.
    pub shared_bytes: u64,
    /// Bytes of shared memory and first-level cache together.
    pub first_level_bytes: u64,
    /// Threads a multiprocessor.
    pub threads: u64,
    /// Clocks until a line comes from the second level.
    pub second_level_latency: u64,
    /// Bytes a second of the second level.
    pub second_level_bandwidth: f64,
    /// Bytes of the second level.
    pub second_level_bytes: f64,
    /// Bytes a second of the memory.
    pub bandwidth: f64,
    /// µs from the end of a launch to the start of the next one of a graph.
    pub launch_microseconds: f64,
}

/// The cards of the table.
pub const CARDS: [Card; 4] = [
    Card {
        name: "3090",
        architecture: 86,
        multiprocessors: 82,
        ghz: 1.695,
        f32_clocks: 1,
        f64_half_clocks: 32,
        f64_latency: 48,
        shared_bytes: 100 << 10,
        first_level_bytes: 128 << 10,
        threads: 1536,
        second_level_latency: 250,
        second_level_bandwidth: 2.6e12,
        second_level_bytes: 6e6,
        bandwidth: 0.936e12,
        launch_microseconds: 1.8,
    },
    Card {
        name: "4090",
        architecture: 89,
        multiprocessors: 128,
        ghz: 2.52,
        f32_clocks: 1,
        f64_half_clocks: 32,
        f64_latency: 48,
        shared_bytes: 100 << 10,
        first_level_bytes: 128 << 10,
        threads: 1536,
        second_level_latency: 280,
        second_level_bandwidth: 5.0e12,
        second_level_bytes: 72e6,
        bandwidth: 1.008e12,
        launch_microseconds: 1.5,
    },
    Card {
        name: "A100",
        architecture: 80,
        multiprocessors: 108,
        ghz: 1.41,
        f32_clocks: 2,
        f64_half_clocks: 2,
        f64_latency: 16,
        shared_bytes: 164 << 10,
        first_level_bytes: 192 << 10,
        threads: 2048,
        second_level_latency: 240,
        second_level_bandwidth: 4.4e12,
        second_level_bytes: 40e6,
        bandwidth: 1.555e12,
        launch_microseconds: 1.6,
    },
    Card {
        name: "H200",
        architecture: 90,
        multiprocessors: 132,
        ghz: 1.98,
        f32_clocks: 1,
        f64_half_clocks: 1,
        f64_latency: 16,
        shared_bytes: 227 << 10,
        first_level_bytes: 256 << 10,
        threads: 2048,
        second_level_latency: 270,
        second_level_bandwidth: 5.5e12,
        second_level_bytes: 60e6,
        bandwidth: 4.8e12,
        launch_microseconds: 1.4,
    },
];
