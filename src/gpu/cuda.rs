//! The backend `cuda`: a real card, used through the driver API with `cudarc`.
//!
//! libcuda is loaded at the first use of a card, so one binary runs with and without a driver. Every return code is checked.

mod card;
mod driver;
mod sentence;
mod stream;
#[cfg(test)]
mod tests;

use super::{Properties, RawDevice};
use crate::error::{Error, Result};
use crate::gpu::kernels;
use card::{Card, Context};
use cudarc::driver::sys;
use driver::Code;
use sentence::{Refusal, cannot_start, too_old};
use std::collections::BTreeMap;
use std::ffi::{CStr, c_int};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The oldest driver that has every function used here, in the numbering of `cuDriverGetVersion`.
const OLDEST_DRIVER: c_int = 12000;

/// The oldest compute capability that this build has code for.
const OLDEST_CAPABILITY: (u32, u32) = (8, 0);

/// Advice for a machine without a GPU.
const OR_CPU: &str = "or use --device cpu";

/// The cards that are open.
static OPEN: Mutex<BTreeMap<usize, Weak<Card>>> = Mutex::new(BTreeMap::new());

/// Opens "cuda" (the first card) or "cuda:INDEX". While a card is open, opening it again shares its context and kernels.
///
/// # Errors
/// `BadInput` without kernels, driver, or a card of this index that can run them; `Failed` if the card refuses.
pub fn open(name: &str) -> Result<Arc<dyn RawDevice>> {
    let refuse = |why: String| Error::bad_input(format!("device '{name}': {why}, {OR_CPU}"));
    let index = index_of(name)?;
    let n_cards = start().map_err(refuse)?;
    if index >= n_cards {
        return Err(refuse(wrong_index(n_cards)));
    }
    let properties = properties(index)?;
    usable(&properties).map_err(refuse)?;
    // The map stays valid if a thread panicked while it held the lock.
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(card) = open.get(&index).and_then(Weak::upgrade) {
        return Ok(card);
    }
    let card = Arc::new(Card::open(Context::retain(index)?, properties, kernels::modules())?);
    open.insert(index, Arc::downgrade(&card));
    Ok(card)
}

/// Every card of this machine, usable or not.
///
/// # Errors
/// `BadInput` with the reason why there is none.
pub fn list() -> Result<Vec<Properties>> {
    (0..start().map_err(Error::BadInput)?).map(properties).collect()
}

/// Checks that godiff can compute on such a card; the error gives the reason if not.
pub fn usable(card: &Properties) -> std::result::Result<(), String> {
    let (major, minor) = card.capability;
    if card.capability >= OLDEST_CAPABILITY {
        return Ok(());
    }
    let (oldest_major, oldest_minor) = OLDEST_CAPABILITY;
    Err(format!(
        "{} has compute capability {major}.{minor}; take a card with {oldest_major}.{oldest_minor} or newer",
        card.name
    ))
}

/// The index in "cuda" or "cuda:INDEX".
fn index_of(name: &str) -> Result<usize> {
    let index = match name.strip_prefix("cuda") {
        Some("") => Some(0),
        // A sign is refused here, since `parse` would accept it.
        Some(rest) => rest
            .strip_prefix(':')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok()),
        None => None,
    };
    index.ok_or_else(|| {
        Error::bad_input(format!("device '{name}': after cuda: the number of a card is expected, as in cuda:0"))
    })
}

fn wrong_index(n_cards: usize) -> String {
    match n_cards {
        1 => "this machine has one GPU; use cuda:0".to_owned(),
        _ => format!("this machine has {n_cards} GPUs; use cuda:0 to cuda:{}", n_cards - 1),
    }
}

/// Starts the driver and counts its cards. The count is at least one; otherwise the error gives the reason.
fn start() -> std::result::Result<usize, String> {
    let Some((nvrtc_major, _)) = kernels::nvrtc_version() else {
        return Err(
            "godiff was built without NVRTC and has no CUDA kernels; install it (pip install nvidia-cuda-nvrtc-cu12) \
                    and build godiff again"
                .to_owned(),
        );
    };
    // Code made by one major version of the toolkit runs on all drivers of that major version.
    start_driver(nvrtc_major as c_int * 1000)
}

/// Starts a driver of at least the version `needed`, in the numbering of `cuDriverGetVersion`, and counts its cards.
fn start_driver(needed: c_int) -> std::result::Result<usize, String> {
    // SAFETY: loads libcuda and unloads it again; its initialisers are trusted, like the rest of the driver. cudarc would panic
    // without libcuda, so nothing else of `sys` is used before.
    if !unsafe { sys::is_culib_present() } {
        return Err("there is no NVIDIA driver (libcuda.so.1 was not found); install it".to_owned());
    }
    let mut version = 0;
    // SAFETY: writes one integer; allowed before `cuInit`, and part of every libcuda.
    refusal(unsafe { driver::cuDriverGetVersion(&mut version) }).map_err(|refusal| cannot_start(&refusal))?;
    let needed = needed.max(OLDEST_DRIVER);
    if version < needed {
        return Err(too_old(version, needed));
    }
    // SAFETY: no pointers; may be called again.
    refusal(unsafe { driver::cuInit(0) }).map_err(|refusal| cannot_start(&refusal))?;
    let mut n_cards = 0;
    // SAFETY: writes one integer.
    refusal(unsafe { driver::cuDeviceGetCount(&mut n_cards) }).map_err(|refusal| cannot_start(&refusal))?;
    match usize::try_from(n_cards) {
        Ok(n_cards) if n_cards > 0 => Ok(n_cards),
        _ => Err(cannot_start(&Refusal { code: sentence::code::NO_DEVICE, name: String::new() })),
    }
}

/// The driver's data on the card `index`, which must exist.
fn properties(index: usize) -> Result<Properties> {
    use sys::CUdevice_attribute_enum::*;
    let device = handle(index)?;
    let attribute = |which| -> Result<usize> {
        let mut value = 0;
        // SAFETY: writes one integer; the handle is of this driver.
        checked(unsafe { driver::cuDeviceGetAttribute(&mut value, which, device) }, "cuDeviceGetAttribute")?;
        Ok(usize::try_from(value).unwrap_or(0))
    };
    let mut name = [0_u8; 256];
    // SAFETY: writes at most as many characters as the length says, the last one zero.
    let code = unsafe { driver::cuDeviceGetName(name.as_mut_ptr().cast(), name.len() as c_int, device) };
    checked(code, "cuDeviceGetName")?;
    let name = CStr::from_bytes_until_nul(&name).map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let mut memory = 0;
    // SAFETY: writes one integer.
    checked(unsafe { driver::cuDeviceTotalMem_v2(&mut memory, device) }, "cuDeviceTotalMem")?;
    let kilohertz = |which| Ok::<f64, Error>(attribute(which)? as f64 * 1e3);
    let bus_bytes = attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH)? as f64 / 8.0;
    Ok(Properties {
        name,
        capability: (
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)? as u32,
            attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)? as u32,
        ),
        multiprocessors: attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as u32,
        shared_memory_per_block: attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?,
        memory,
        clock: kilohertz(CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
        // Two transfers a clock.
        bandwidth: 2.0 * kilohertz(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE)? * bus_bytes,
    })
}

/// The driver's handle for the card `index`.
fn handle(index: usize) -> Result<sys::CUdevice> {
    let mut device = 0;
    // SAFETY: writes one integer.
    checked(unsafe { driver::cuDeviceGet(&mut device, index as c_int) }, "cuDeviceGet")?;
    Ok(device)
}

/// `Err` for every code but success, with its name.
fn refusal(code: Code) -> std::result::Result<(), Refusal> {
    if code == driver::SUCCESS {
        return Ok(());
    }
    let mut name = ptr::null();
    // SAFETY: writes a pointer to a static string, or null for a code that this driver does not know.
    let known = unsafe { driver::cuGetErrorName(code, &mut name) } == driver::SUCCESS && !name.is_null();
    let number = code as u32;
    let name = match known {
        // SAFETY: not null, so a static string that ends in zero.
        true => unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
        false => format!("CUDA error {number}"),
    };
    Err(Refusal { code: number, name })
}

/// `Failed` for every code but success; `during` names the operation.
fn checked(code: Code, during: &str) -> Result<()> {
    refusal(code).map_err(|refusal| sentence::at_work(&refusal, during))
}
