//! Messages to the user for errors of the driver.

use super::super::sentence::{CHECKPOINT_IS_KEPT, LESS_MEMORY};
use crate::error::Error;

/// `CUresult` codes that have their own sentence; names and numbers are those of the CUDA driver API.
pub mod code {
    pub const OUT_OF_MEMORY: u32 = 2;
    pub const STUB_LIBRARY: u32 = 34;
    pub const DEVICE_UNAVAILABLE: u32 = 46;
    pub const NO_DEVICE: u32 = 100;
    pub const NO_BINARY_FOR_GPU: u32 = 209;
    pub const ECC_UNCORRECTABLE: u32 = 214;
    pub const INVALID_PTX: u32 = 218;
    pub const NVLINK_UNCORRECTABLE: u32 = 220;
    pub const JIT_COMPILER_NOT_FOUND: u32 = 221;
    pub const UNSUPPORTED_PTX_VERSION: u32 = 222;
    pub const JIT_COMPILATION_DISABLED: u32 = 223;
    pub const CONTAINED: u32 = 226;
    pub const ILLEGAL_ADDRESS: u32 = 700;
    pub const LAUNCH_TIMEOUT: u32 = 702;
    pub const CONTEXT_IS_DESTROYED: u32 = 709;
    pub const ASSERT: u32 = 710;
    pub const HARDWARE_STACK_ERROR: u32 = 714;
    pub const LAUNCH_FAILED: u32 = 719;
    pub const SYSTEM_NOT_READY: u32 = 802;
    pub const SYSTEM_DRIVER_MISMATCH: u32 = 803;
    pub const COMPAT_NOT_SUPPORTED_ON_DEVICE: u32 = 804;
    pub const TIMEOUT: u32 = 909;
    pub const EXTERNAL_DEVICE: u32 = 911;
}

/// A code that is not success, with the driver's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `CUresult`.
    pub code: u32,
    /// Such as `CUDA_ERROR_NO_DEVICE`.
    pub name: String,
}

/// True if the code means that the work or the card died: nothing on the device is usable any more.
pub fn is_fatal(code: u32) -> bool {
    use code::*;
    let fatal = [
        DEVICE_UNAVAILABLE,
        ECC_UNCORRECTABLE,
        NVLINK_UNCORRECTABLE,
        CONTAINED,
        ILLEGAL_ADDRESS,
        LAUNCH_TIMEOUT,
        CONTEXT_IS_DESTROYED,
        ASSERT,
        TIMEOUT,
        EXTERNAL_DEVICE,
    ];
    fatal.contains(&code) || (HARDWARE_STACK_ERROR..=LAUNCH_FAILED).contains(&code)
}

/// An error of a call while the device was at work. `during` names the operation: "kernel 'adamw'", "cuStreamCreate".
pub fn at_work(refusal: &Refusal, during: &str) -> Error {
    let name = &refusal.name;
    Error::Failed(if is_fatal(refusal.code) {
        format!("the GPU stopped in {during} ({name}): {CHECKPOINT_IS_KEPT}; if it happens again, please report it")
    } else if refusal.code == code::OUT_OF_MEMORY {
        format!("the GPU has not enough memory in {during}: {LESS_MEMORY}")
    } else {
        format!(
            "the CUDA driver refused {during} ({name}): the last checkpoint of a search is kept; please report this"
        )
    })
}

/// The driver is installed but does not start.
pub fn cannot_start(refusal: &Refusal) -> String {
    use code::*;
    match refusal.code {
        NO_DEVICE => {
            "the NVIDIA driver finds no GPU (is one built in, and does CUDA_VISIBLE_DEVICES show it?)".to_owned()
        }
        STUB_LIBRARY => {
            "libcuda.so is the CUDA toolkit's stub, not a driver; install the NVIDIA driver or take the stub's folder \
                         out of LD_LIBRARY_PATH"
                .to_owned()
        }
        SYSTEM_DRIVER_MISMATCH | COMPAT_NOT_SUPPORTED_ON_DEVICE => {
            "the parts of the NVIDIA driver differ in version; restart the machine, or reinstall the driver".to_owned()
        }
        SYSTEM_NOT_READY => "the NVIDIA driver is not ready yet (is the fabric manager running?)".to_owned(),
        _ => format!("the NVIDIA driver does not start ({}); see nvidia-smi", refusal.name),
    }
}

/// The card `index` cannot be opened.
pub fn cannot_open(refusal: &Refusal, index: usize) -> Error {
    match refusal.code {
        code::DEVICE_UNAVAILABLE => Error::BadInput(format!(
            "device 'cuda:{index}': another program has the card to itself (its compute mode is exclusive); wait for that program, \
             choose another card, or use --device cpu; see nvidia-smi"
        )),
        _ => at_work(refusal, "cuDevicePrimaryCtxRetain"),
    }
}

/// The driver is older than `needed`. Versions are in the driver's numbering: 12040 is 12.4.
pub fn too_old(version: i32, needed: i32) -> String {
    let readable = |version: i32| format!("{}.{}", version / 1000, version % 1000 / 10);
    format!(
        "the NVIDIA driver supports CUDA {} and godiff needs {}; install a newer driver",
        readable(version),
        readable(needed)
    )
}

/// The embedded code of a module cannot be loaded.
pub fn cannot_load(refusal: &Refusal, module: &str, card: &str) -> Error {
    use code::*;
    match refusal.code {
        NO_BINARY_FOR_GPU
        | INVALID_PTX
        | JIT_COMPILER_NOT_FOUND
        | UNSUPPORTED_PTX_VERSION
        | JIT_COMPILATION_DISABLED => Error::Failed(format!(
            "the NVIDIA driver cannot run godiff's kernels '{module}' on {card} ({}); install a newer driver",
            refusal.name
        )),
        _ => at_work(refusal, &format!("loading the kernels '{module}'")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::sentence::out_of_memory;
    use super::*;

    fn refusal(code: u32, name: &str) -> Refusal {
        Refusal { code, name: name.to_owned() }
    }

    #[test]
    fn a_fault_names_the_kernel_and_the_way_on() {
        let error = at_work(&refusal(700, "CUDA_ERROR_ILLEGAL_ADDRESS"), "kernel 'adamw'");
        assert_eq!(error.exit_code(), 1);
        assert_eq!(
            error.to_string(),
            "the GPU stopped in kernel 'adamw' (CUDA_ERROR_ILLEGAL_ADDRESS): the last checkpoint of a search is kept, and --resume \
             continues from it; if it happens again, please report it"
        );
        for code in [46, 214, 220, 702, 709, 710, 714, 715, 716, 717, 718, 719] {
            assert!(
                at_work(&refusal(code, "X"), "cuStreamSynchronize").to_string().contains("--resume continues"),
                "{code}"
            );
        }
        for code in [1, 2, 3, 201, 400, 701, 713, 720, 900, 901] {
            assert!(!at_work(&refusal(code, "X"), "cuStreamSynchronize").to_string().contains("--resume"), "{code}");
        }
    }

    #[test]
    fn other_refusals_name_the_call() {
        let error = at_work(&refusal(1, "CUDA_ERROR_INVALID_VALUE"), "cuStreamCreate");
        assert_eq!(
            error.to_string(),
            "the CUDA driver refused cuStreamCreate (CUDA_ERROR_INVALID_VALUE): the last checkpoint of a search is kept; \
             please report this"
        );
    }

    #[test]
    fn missing_memory_is_counted() {
        let error = out_of_memory(3 << 30, Some((512 << 20, 24 << 30)));
        assert_eq!(error.exit_code(), 1);
        assert_eq!(
            error.to_string(),
            "the GPU has not enough memory: 3.0 GiB more are needed, 512.0 MiB of 24.0 GiB are free; lower training.batch or \
             search.samples_per_iteration, or end other programs on the GPU; see nvidia-smi"
        );
        assert!(out_of_memory(1000, None).to_string().contains(": 1000 bytes more are needed, less is free;"));
        let error = at_work(&refusal(2, "CUDA_ERROR_OUT_OF_MEMORY"), "cuGraphInstantiate");
        assert!(
            error.to_string().starts_with("the GPU has not enough memory in cuGraphInstantiate: lower training.batch")
        );
    }

    #[test]
    fn a_driver_that_does_not_start_says_why() {
        let said = |code| cannot_start(&refusal(code, "CUDA_ERROR_X"));
        assert!(said(100).contains("finds no GPU"));
        assert!(said(34).contains("the CUDA toolkit's stub"));
        assert!(said(803).contains("differ in version; restart"));
        assert!(said(802).contains("fabric manager"));
        assert_eq!(said(999), "the NVIDIA driver does not start (CUDA_ERROR_X); see nvidia-smi");
        assert_eq!(
            too_old(11080, 12000),
            "the NVIDIA driver supports CUDA 11.8 and godiff needs 12.0; install a newer driver"
        );
    }

    #[test]
    fn a_card_that_another_program_has_is_no_fault() {
        let error = cannot_open(&refusal(46, "CUDA_ERROR_DEVICE_UNAVAILABLE"), 1);
        assert_eq!(error.exit_code(), 2);
        assert_eq!(
            error.to_string(),
            "device 'cuda:1': another program has the card to itself (its compute mode is exclusive); wait for that program, choose \
             another card, or use --device cpu; see nvidia-smi"
        );
        let other = cannot_open(&refusal(2, "CUDA_ERROR_OUT_OF_MEMORY"), 0).to_string();
        assert!(other.starts_with("the GPU has not enough memory in cuDevicePrimaryCtxRetain"), "{other}");
    }

    #[test]
    fn code_that_does_not_load_asks_for_a_newer_driver() {
        let error = cannot_load(&refusal(222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"), "adamw", "RTX 9090");
        assert_eq!(
            error.to_string(),
            "the NVIDIA driver cannot run godiff's kernels 'adamw' on RTX 9090 (CUDA_ERROR_UNSUPPORTED_PTX_VERSION); install a \
             newer driver"
        );
        let error = cannot_load(&refusal(2, "CUDA_ERROR_OUT_OF_MEMORY"), "adamw", "RTX 9090");
        assert!(error.to_string().contains("not enough memory in loading the kernels 'adamw'"), "{error}");
    }
}
