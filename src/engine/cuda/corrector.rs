//! Launcher of `kernels/corrector.cu`: the correctors of a guided sampling call, one a structure.

use crate::diffusion::{ReverseSchedule, corrector_strength};
use crate::engine::{GuidanceSettings, Setup};
use crate::error::{Error, Result};
use crate::gpu::arguments::corrector::{CORRECTOR, CorrectorArguments, History};
use crate::gpu::arguments::diffusion::{Lattice, Mobile, Region};
use crate::gpu::{Buffer, Shape, Stream};

/// Up to S correctors, each with its structure's L-BFGS history.
pub struct Correctors {
    n_structures: usize,
    shape: Shape,
    constants: CorrectorArguments,
    strengths: Buffer<f64>,
    histories: Buffer<History>,
    memory: Buffer<f64>,
    saved_histories: Buffer<History>,
    saved_memory: Buffer<f64>,
}

impl Correctors {
    /// Room for `n_structures` of `setup` under `guidance`.
    ///
    /// # Errors
    /// `BadInput` for an impossible schedule, and for more free atoms or a longer history than a block has shared memory for;
    /// `Failed` without memory.
    pub fn new(stream: &Stream, setup: &Setup, guidance: &GuidanceSettings, n_structures: usize) -> Result<Self> {
        let (system, reverse) = (&setup.system, setup.reverse);
        let schedule = ReverseSchedule::new(reverse.steps, reverse.t_min)?;
        let strengths: Vec<f64> = schedule.times().map(|t| corrector_strength(&guidance.corrector(), t)).collect();
        let (n_free, capacity) = (system.n_free(), guidance.history);
        let shared_bytes = 8 * (3 * n_free + 3 + CORRECTOR.warps()).saturating_add(capacity);
        let room = stream.device().properties().shared_memory_per_block;
        if shared_bytes > room {
            return Err(Error::bad_input(format!(
                "guidance of {n_free} free atoms with a history of {capacity} needs {shared_bytes} bytes of the GPU's shared \
                 memory, which has {room}; lower guidance.history or use --device cpu"
            )));
        }
        let n_remembered = n_structures * (6 * n_free + (capacity + 1) * (6 * n_free + 2));
        Ok(Correctors {
            n_structures,
            shape: Shape { blocks: [0, 1], threads: CORRECTOR.threads_for(n_free), shared_bytes: shared_bytes as u32 },
            constants: CorrectorArguments {
                lattice: Lattice::new(&system.cell),
                region: Region::new(system),
                mobile: Mobile::new(setup),
                max_step: guidance.max_step_angstrom,
                n_steps: reverse.steps as u32,
                n_free: n_free as u32,
                capacity: capacity as u32,
                ..CorrectorArguments::default()
            },
            strengths: stream.upload(&strengths)?,
            histories: stream.zeros(n_structures)?,
            memory: stream.zeros(n_remembered)?,
            saved_histories: stream.zeros(n_structures)?,
            saved_memory: stream.zeros(n_remembered)?,
        })
    }

    /// Returns to the state before the first reverse step, with an empty history.
    pub fn reset(&self, stream: &Stream) -> Result<()> {
        stream.clear(&self.histories)
    }

    /// Corrects the first `n_structures` at `positions` \[n_structures, n, 3\], Å, by the `forces` predicted there
    /// \[n_structures, n, 3\], eV/Å, with the strength of the reverse step just made. The steps made are counted as calls since
    /// [`Correctors::reset`]. After the last step nothing moves.
    ///
    /// # Errors
    /// `Failed` if there is no room for them, or the launch fails.
    pub fn step(
        &self,
        stream: &Stream,
        n_structures: usize,
        positions: &Buffer<f64>,
        forces: &Buffer<f32>,
    ) -> Result<()> {
        let needed = 3 * n_structures * self.constants.n_free as usize;
        if n_structures > self.n_structures || positions.len().min(forces.len()) < needed {
            return Err(Error::Failed(format!(
                "internal error: {n_structures} structures with {} coordinates and {} components of forces for {} correctors",
                positions.len(),
                forces.len(),
                self.n_structures
            )));
        }
        let arguments = CorrectorArguments {
            strengths: self.strengths.pointer(),
            positions: positions.pointer(),
            forces: forces.pointer(),
            histories: self.histories.pointer(),
            memory: self.memory.pointer(),
            ..self.constants
        };
        stream.launch(CORRECTOR, Shape { blocks: [n_structures as u32, 1], ..self.shape }, &arguments)
    }

    /// Keeps the present state for [`Correctors::rewind`].
    pub fn save(&self, stream: &Stream) -> Result<()> {
        stream.copy(&self.histories, &self.saved_histories)?;
        stream.copy(&self.memory, &self.saved_memory)
    }

    /// Goes back to where [`Correctors::save`] was called.
    pub fn rewind(&self, stream: &Stream) -> Result<()> {
        stream.copy(&self.saved_histories, &self.histories)?;
        stream.copy(&self.saved_memory, &self.memory)
    }
}
