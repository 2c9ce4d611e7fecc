//! The device's conversions between f32 and 16 bits.

use godiff::gpu::Device;
use godiff::gpu::arguments::half::{HALF_CONVERSION, HalfConversion};

/// f32 → 16 bits → f32 on the device, one by one and in pairs, and the value of each of `halves`.
pub fn converted(device: &Device, values: &[f32], halves: &[u16]) -> (Vec<u16>, Vec<u16>, Vec<f32>) {
    let stream = device.stream().unwrap();
    let pairs = stream.zeros::<[u16; 2]>(values.len().div_ceil(2)).unwrap();
    let (values_there, bits) = (stream.upload(values).unwrap(), stream.zeros::<u16>(values.len()).unwrap());
    let halves_there = stream.upload(halves.as_chunks::<2>().0).unwrap();
    let widened = stream.zeros::<f32>(halves.len()).unwrap();
    let arguments = HalfConversion {
        values: values_there.pointer(),
        bits: bits.pointer(),
        pairs: pairs.pointer().reinterpret(),
        halves: halves_there.pointer().reinterpret(),
        widened: widened.pointer(),
        n: values.len() as u32,
        m: halves.len() as u32,
    };
    stream.launch(HALF_CONVERSION, HALF_CONVERSION.grid([4, 1], 0), &arguments).unwrap();
    let paired = stream.read(&pairs).unwrap().concat();
    (stream.read(&bits).unwrap(), paired[..values.len()].to_vec(), stream.read(&widened).unwrap())
}
