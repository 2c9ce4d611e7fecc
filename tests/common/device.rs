//! The device that tests of the GPU engine run on: what `GODIFF_TEST_DEVICE` names, without it the emulator.

// Each test uses its own part.
#![allow(dead_code)]

use godiff::gpu::Device;

/// Names of the devices under test: without `GODIFF_TEST_DEVICE` the emulator with its threads in three orders.
pub fn device_names() -> Vec<String> {
    match std::env::var("GODIFF_TEST_DEVICE") {
        Ok(device) => vec![device],
        Err(_) => ["forward", "reverse", "random"].map(|order| format!("emulator:order={order}")).to_vec(),
    }
}

/// The first of the devices under test.
pub fn device() -> Device {
    Device::open(&device_names()[0]).expect("the device under test")
}
