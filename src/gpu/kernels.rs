//! The kernels of this build. NVRTC compiled them when the package was built (`build/kernels.rs`); they are embedded here with the
//! assembler's report.

/// The kernels of one source file.
#[derive(Debug)]
pub struct Module {
    /// Name of the file in `kernels/`, without `.cu`.
    pub name: &'static str,
    /// Code for every architecture.
    pub images: &'static [Image],
    /// The kernels in it.
    pub kernels: &'static [Kernel],
}

/// Code of one module for one architecture.
pub struct Image {
    /// The architecture it runs on.
    pub target: Target,
    /// The code, as the driver loads it.
    pub bytes: &'static [u8],
}

impl std::fmt::Debug for Image {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "{:?}, {} bytes", self.target, self.bytes.len())
    }
}

/// Architecture of an image; 86 is compute capability 8.6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Machine code: for this capability, and later ones of the same major number.
    Cubin(u32),
    /// Text that the driver compiles for this and any later capability.
    Ptx(u32),
}

/// One kernel.
#[derive(Debug)]
pub struct Kernel {
    /// Its name.
    pub name: &'static str,
    /// Size of the structure that it takes, bytes.
    pub argument_bytes: usize,
    /// The most threads of a block.
    pub max_threads: u32,
    /// Resources it needs on every architecture with machine code.
    pub assembled: &'static [Assembled],
}

/// Resources that one kernel needs on one architecture, as the assembler reports them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assembled {
    /// Compute capability; 86 is 8.6.
    pub architecture: u32,
    /// Registers a thread.
    pub registers: u32,
    /// Stack a thread, bytes: local memory, which is slow.
    pub stack_bytes: u32,
    /// Registers written to local memory for lack of room, bytes.
    pub spill_store_bytes: u32,
    /// Registers read back, bytes.
    pub spill_load_bytes: u32,
    /// Shared memory of fixed size, bytes.
    pub static_shared_bytes: u32,
}

#[cfg(feature = "cuda")]
mod embedded {
    use super::*;
    include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
}

/// The kernels, one module for every source; none without NVRTC or the feature `cuda`.
pub fn modules() -> &'static [Module] {
    #[cfg(feature = "cuda")]
    return embedded::MODULES;
    #[cfg(not(feature = "cuda"))]
    return &[];
}

/// PTX of the kernels with planted bugs (`tests/planted/`), by the name of the file; none without NVRTC.
#[cfg(feature = "emulator")]
pub fn planted() -> &'static [(&'static str, &'static [u8])] {
    #[cfg(feature = "cuda")]
    return embedded::PLANTED;
    #[cfg(not(feature = "cuda"))]
    return &[];
}

/// Major and minor version of the NVRTC that compiled the kernels; `None` if there was none.
pub fn nvrtc_version() -> Option<(u32, u32)> {
    #[cfg(feature = "cuda")]
    return embedded::NVRTC;
    #[cfg(not(feature = "cuda"))]
    return None;
}

/// The image of `module` that a card of compute capability `major`.`minor` runs: its own machine code, else that of the
/// closest earlier card of its generation, else PTX.
pub fn image_for(module: &Module, (major, minor): (u32, u32)) -> Option<&Image> {
    let capability = 10 * major + minor;
    let fits = |image: &&Image| match image.target {
        Target::Cubin(own) => own / 10 == major && own <= capability,
        Target::Ptx(own) => own <= capability,
    };
    let rank = |image: &&Image| match image.target {
        Target::Cubin(own) => own,
        Target::Ptx(_) => 0,
    };
    module.images.iter().filter(fits).max_by_key(rank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_gets_the_closest_code_that_it_runs() {
        const fn image(target: Target) -> Image {
            Image { target, bytes: &[] }
        }
        static IMAGES: [Image; 7] = [
            image(Target::Cubin(80)),
            image(Target::Cubin(86)),
            image(Target::Cubin(89)),
            image(Target::Cubin(90)),
            image(Target::Cubin(100)),
            image(Target::Cubin(120)),
            image(Target::Ptx(80)),
        ];
        let module = Module { name: "m", images: &IMAGES, kernels: &[] };
        let target = |capability| image_for(&module, capability).map(|image| image.target);
        assert_eq!(target((8, 0)), Some(Target::Cubin(80)));
        assert_eq!(target((8, 6)), Some(Target::Cubin(86)));
        // Orin runs the code for 8.6; a capability in between runs the code for the one below.
        assert_eq!(target((8, 7)), Some(Target::Cubin(86)));
        assert_eq!(target((9, 0)), Some(Target::Cubin(90)));
        assert_eq!(target((10, 0)), Some(Target::Cubin(100)));
        assert_eq!(target((10, 3)), Some(Target::Cubin(100)));
        assert_eq!(target((12, 1)), Some(Target::Cubin(120)));
        assert_eq!(target((11, 0)), Some(Target::Ptx(80)));
        assert_eq!(target((13, 0)), Some(Target::Ptx(80)));
        assert_eq!(target((7, 5)), None);
    }
}
