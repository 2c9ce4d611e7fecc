//! The meaning of device names.

use super::cards;
use crate::error::{Error, Result};

/// A kind of device, as its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The CPU, in single precision where that is enough.
    Cpu,
    /// The CPU, in double precision throughout.
    CpuF64,
    /// A GPU or the emulator, by the name that [`super::Device::open`] takes.
    Gpu(String),
}

impl Place {
    /// The place of `device`: "cpu", "cpu-f64", "cuda", "cuda:INDEX", or "auto": the first usable card, or the CPU without one.
    ///
    /// # Errors
    /// `BadInput` for an unknown name. A device that this build or machine lacks is refused when it is opened.
    pub fn of(device: &str) -> Result<Self> {
        match device {
            "auto" => Ok(best_place()),
            "cpu" => Ok(Place::Cpu),
            "cpu-f64" => Ok(Place::CpuF64),
            _ if device.starts_with("cuda:") && device.contains(',') => Err(Error::bad_input(format!(
                "device '{device}': one device is expected here, such as cuda:0; runs of `godiff benchmark` and `godiff campaign` \
                 spread over several, named as in cuda:0,1"
            ))),
            _ if device == "cuda" || device.starts_with("cuda:") || device.starts_with("emulator") => {
                Ok(Place::Gpu(device.to_owned()))
            }
            _ => Err(Error::bad_input(format!(
                "unknown device '{device}': known are auto, cpu, cpu-f64 and cuda[:INDEX]"
            ))),
        }
    }

    /// The places of `devices`: one device, as [`Place::of`] takes it, or several cards, "cuda:INDEX,INDEX,…" (or emulators in the
    /// same form).
    ///
    /// # Errors
    /// `BadInput` for an unknown name, and for a card that is named twice.
    pub fn list(devices: &str) -> Result<Vec<Self>> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let Some((kind @ ("cuda" | "emulator"), numbers)) = devices.split_once(':') else {
            return Ok(vec![Place::of(devices)?]);
        };
        let mut numbers: Vec<&str> = numbers.split(',').collect();
        if numbers.len() == 1 || !numbers.iter().all(|number| is_number(number)) {
            return Ok(vec![Place::of(devices)?]);
        }
        let places = numbers.iter().map(|number| Place::Gpu(format!("{kind}:{number}"))).collect();
        numbers.sort_unstable();
        match numbers.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => Err(Error::bad_input(format!(
                "device '{devices}': {kind}:{} is named twice; name each device once and let --side-by-side put several runs on it",
                twice[0]
            ))),
            None => Ok(places),
        }
    }
}

/// The device that "auto" means on this machine.
fn best_place() -> Place {
    let cards = cards().unwrap_or_default();
    match cards.iter().position(|(_, unusable)| unusable.is_none()) {
        Some(index) => Place::Gpu(format!("cuda:{index}")),
        None => Place::Cpu,
    }
}
