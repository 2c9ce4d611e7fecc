//! Launchers of `kernels/emt.cu` and `kernels/emt_relax.cu`: effective medium theory and relaxation on it, with many structures
//! in a launch.

use super::Tables;
use crate::error::{Error, Result};
use crate::gpu::arguments::emt::{EMT, EMT_TERMS, EmtArguments, EmtElement, EmtRoom, EmtSystem};
use crate::gpu::arguments::emt_relax::{
    CONVERGED, EMT_RELAX, MAX_STEPS, MOVING, NOT_FINITE, RelaxArguments, RelaxState, STUCK,
};
use crate::gpu::images::{CellConstants, MOST_ATOMS};
use crate::gpu::{Buffer, Entry, Pointer, Shape, Stream, with_reserve};
use crate::potential::Evaluation;
use crate::potential::relax::{Ending, RelaxSettings};
use crate::system::vector::is_finite;
use crate::system::{Cell, Vec3};

/// How a relaxation ended.
#[derive(Debug, Clone)]
struct End {
    state: RelaxState,
    ending: Ending,
}

impl RelaxState {
    /// How it ended, `None` while it continues; the numbers of the status are those of the kernel.
    fn end(self) -> Result<Option<End>> {
        let ending = match self.status {
            MOVING => return Ok(None),
            CONVERGED => Ending::Converged,
            MAX_STEPS => Ending::MaxSteps,
            STUCK => Ending::Stuck,
            NOT_FINITE => Ending::NotFinite,
            other => return Err(Error::Failed(format!("internal error: a relaxation ended with status {other}"))),
        };
        Ok(Some(End { state: self, ending }))
    }
}

/// Rows of a pair's terms in f64.
const TERMS: usize = EMT_TERMS as usize;

/// First number of slots for the pairs of a free atom: on a surface an atom has about thirty, in bulk half of about sixty.
const PAIRS_PER_ATOM: usize = 48;

/// Largest number of latest steps from which a relaxation on the device estimates the curvature.
pub const MOST_HISTORY: usize = 64;

/// Evaluations of a relaxation between two checks whether all have ended.
const ROUNDS_PER_LAUNCH: u32 = 32;

/// Device memory that the structures of one launch may take, bytes; a single one may take more.
const MOST_MEMORY: usize = 256 << 20;

/// Where a relaxation ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// Free positions where the last step was accepted, n × 3, Å.
    pub positions: Vec<Vec3>,
    /// Energy and forces of all atoms there.
    pub evaluation: Evaluation,
    /// Steps accepted.
    pub n_steps: usize,
    /// Evaluations until the end, rejected steps included.
    pub n_evaluations: usize,
    /// Why it ended.
    pub ending: Ending,
}

/// Effective medium theory for structures of one template and one set of n free atoms, the template first: N = T + n.
pub struct DeviceEmt {
    system: EmtSystem,
    /// The memory that `system` points to.
    _tables: DeviceTables,
    n_template: usize,
    n_free: usize,
    /// The energy of every structure is infinite.
    coincident: bool,
    /// Pairs of a free atom with another.
    n_candidates: usize,
    shared_bytes: u32,
    /// For each structure, the number of counts that do not fit into shared memory.
    n_scratch: Option<usize>,
    max_pairs: usize,
    room: Option<Room>,
}

struct DeviceTables {
    template_positions: Buffer<Vec3>,
    elements: Buffer<EmtElement>,
    element_of: Buffer<u32>,
    density: Buffer<f64>,
    embedding: Buffer<[f64; 2]>,
    forces: Buffer<Vec3>,
    gradient_sum: Buffer<Vec3>,
    gradient_starts: Buffer<u32>,
    gradient_atoms: Buffer<u32>,
    gradients: Buffer<Vec3>,
}

/// Slots for the pairs of several structures.
struct Room {
    n_structures: usize,
    max_pairs: usize,
    pairs: Buffer<[u32; 4]>,
    terms: Buffer<f64>,
    overflow: Buffer<u32>,
    scratch: Option<Buffer<u32>>,
}

impl DeviceEmt {
    /// Copies a template (T positions, Å) and the `tables` for it and the free atoms to the device. `origin` (Å) is a place near
    /// the atoms; only the speed depends on it.
    ///
    /// # Errors
    /// `BadInput` for structures too large for the device, `Failed` without memory.
    ///
    /// # Panics
    /// For a cell that [`Cell::completed`] refuses; tables of such a cell do not exist.
    pub(crate) fn new(
        stream: &Stream,
        cell: &Cell,
        template_positions: &[Vec3],
        origin: Vec3,
        tables: &Tables,
    ) -> Result<Self> {
        let (n_atoms, n_template) = (tables.element_of.len(), template_positions.len());
        let n_free = n_atoms - n_template;
        let counts = n_free * n_atoms + 1;
        let inside = 8 * (32 + n_atoms) + 28 * n_atoms + 4 * 32;
        // The relaxation also keeps the weights of its two loops there.
        let room = stream.device().properties().shared_memory_per_block.saturating_sub(8 * MOST_HISTORY);
        if n_atoms > MOST_ATOMS || inside > room {
            return Err(Error::bad_input(format!(
                "a structure has {n_atoms} atoms, too many for EMT on the GPU; use --device cpu"
            )));
        }
        let n_scratch = (inside + 4 * counts > room).then_some(counts);
        let device = DeviceTables {
            template_positions: stream.upload_some(template_positions)?,
            elements: stream.upload(&tables.model.elements)?,
            element_of: stream.upload_some(&tables.element_of)?,
            density: stream.upload_some(&tables.density)?,
            embedding: stream.upload_some(&tables.embedding)?,
            forces: stream.upload_some(&tables.forces)?,
            gradient_sum: stream.upload_some(&tables.gradient_sum)?,
            gradient_starts: stream.upload(&tables.gradient_starts)?,
            gradient_atoms: stream.upload_some(&tables.gradient_atoms)?,
            gradients: stream.upload_some(&tables.gradients)?,
        };
        let model = &tables.model;
        Ok(DeviceEmt {
            system: EmtSystem {
                cell: CellConstants::new(cell, origin, model.range),
                midpoint: model.midpoint,
                steepness: model.steepness,
                plateau: model.plateau,
                pair_energy: tables.pair_energy,
                template_positions: Pointer::cast(device.template_positions.pointer()),
                elements: device.elements.pointer(),
                element_of: device.element_of.pointer(),
                density: device.density.pointer(),
                embedding: device.embedding.pointer(),
                forces: Pointer::cast(device.forces.pointer()),
                gradient_sum: Pointer::cast(device.gradient_sum.pointer()),
                gradient_starts: device.gradient_starts.pointer(),
                gradient_atoms: device.gradient_atoms.pointer(),
                gradients: Pointer::cast(device.gradients.pointer()),
                n_free: n_free as u32,
                n_template: n_template as u32,
            },
            _tables: device,
            n_template,
            n_free,
            coincident: tables.coincident,
            n_candidates: n_free * n_atoms,
            shared_bytes: (if n_scratch.is_some() { inside } else { inside + 4 * counts }) as u32,
            n_scratch,
            max_pairs: PAIRS_PER_ATOM * n_free,
            room: None,
        })
    }

    /// Gives structures slots for `max_pairs` pairs, as if they had never needed more.
    #[cfg(all(test, feature = "emulator"))]
    pub fn set_max_pairs(&mut self, max_pairs: usize) {
        self.max_pairs = max_pairs;
    }

    /// Slots for the pairs of a structure.
    #[cfg(all(test, feature = "emulator"))]
    pub fn max_pairs(&self) -> usize {
        self.max_pairs
    }

    /// How many structures should go into one launch. More are possible, but need much memory.
    pub fn structures_at_once(&self) -> usize {
        let n_vectors = self.n_template + (2 * MOST_HISTORY + 8) * self.n_free;
        let bytes = (16 + 8 * TERMS) * self.max_pairs + 4 * self.n_scratch.unwrap_or(0) + 24 * n_vectors;
        (MOST_MEMORY / bytes).max(1)
    }

    /// Energies and forces of the S structures with their free atoms at `positions` (S × n, Å). If two atoms share one place, the
    /// energy is infinite and the forces are not numbers. If a position is not finite, energy and forces are not numbers.
    ///
    /// # Errors
    /// `Failed` without memory, or when the device fails.
    pub fn evaluate(&mut self, stream: &Stream, positions: &[Vec3]) -> Result<Vec<Evaluation>> {
        let n_atoms = self.n_template + self.n_free;
        if self.coincident {
            return Ok(positions.chunks_exact(self.n_free).map(|free| self.nowhere(free)).collect());
        }
        let n_structures = positions.len() / self.n_free;
        let positions = stream.upload(positions)?;
        let energies = stream.zeros::<f64>(n_structures)?;
        let forces = stream.zeros::<Vec3>(n_structures * n_atoms)?;
        loop {
            let arguments = EmtArguments {
                system: self.system,
                room: self.room(stream, n_structures)?,
                positions: Pointer::cast(positions.pointer()),
                energies: energies.pointer(),
                forces: Pointer::cast(forces.pointer()),
            };
            stream.launch(EMT, self.shape(EMT, n_structures, 0), &arguments)?;
            if !self.grow_if_needed(stream)? {
                break;
            }
        }
        let (energies, forces) = (stream.read(&energies)?, stream.read(&forces)?);
        let forces = forces.chunks_exact(n_atoms).map(<[Vec3]>::to_vec);
        Ok(energies.into_iter().zip(forces).map(|(energy, forces)| Evaluation { energy, forces }).collect())
    }

    /// Relaxes the S structures that start with their free atoms at `starts` (S × n, Å), as [`crate::potential::relax::relax_all`] does.
    /// `interrupted` is checked now and then.
    ///
    /// # Errors
    /// `Interrupted`, and as [`DeviceEmt::evaluate`]. The settings must be valid, their history at most [`MOST_HISTORY`].
    pub fn relax(
        &mut self,
        stream: &Stream,
        starts: &[Vec3],
        settings: &RelaxSettings,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Vec<Walked>> {
        let (ends, positions) = self.walk(stream, starts, settings, interrupted)?;
        // The kernel does not need the forces on the template.
        let evaluations = self.evaluate(stream, &positions)?;
        let walked = positions.chunks_exact(self.n_free).zip(evaluations).zip(ends);
        let walked = walked.map(|((positions, evaluation), End { state, ending })| Walked {
            positions: positions.to_vec(),
            evaluation,
            n_steps: state.n_steps as usize,
            n_evaluations: state.n_evaluations as usize,
            ending,
        });
        Ok(walked.collect())
    }

    /// Ends and positions of the relaxations.
    fn walk(
        &mut self,
        stream: &Stream,
        starts: &[Vec3],
        settings: &RelaxSettings,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<(Vec<End>, Vec<Vec3>)> {
        let n_structures = starts.len() / self.n_free;
        let start = RelaxState { lowest_energy: f64::INFINITY, ..RelaxState::default() };
        if self.coincident {
            let end = End { state: RelaxState { n_evaluations: 1, ..start }, ending: Ending::NotFinite };
            return Ok((vec![end; n_structures], starts.to_vec()));
        }
        let history = settings.history;
        let states = stream.upload(&vec![start; n_structures])?;
        let (positions, trials) = (stream.upload(starts)?, stream.upload(starts)?);
        let vectors = |n: usize| stream.zeros::<Vec3>(n);
        let (steps, gradients, forces) = (vectors(starts.len())?, vectors(starts.len())?, vectors(starts.len())?);
        let past = starts.len() * history.max(1);
        let (past_steps, past_changes) = (vectors(past)?, vectors(past)?);
        let inverses = stream.zeros(n_structures * history.max(1))?;
        loop {
            if interrupted() {
                return Err(Error::Interrupted);
            }
            let arguments = RelaxArguments {
                system: self.system,
                room: self.room(stream, n_structures)?,
                states: states.pointer(),
                positions: Pointer::cast(positions.pointer()),
                trials: Pointer::cast(trials.pointer()),
                steps: Pointer::cast(steps.pointer()),
                gradients: Pointer::cast(gradients.pointer()),
                forces: Pointer::cast(forces.pointer()),
                past_steps: Pointer::cast(past_steps.pointer()),
                past_changes: Pointer::cast(past_changes.pointer()),
                inverses: inverses.pointer(),
                largest_force: settings.fmax_ev_per_angstrom,
                longest_step: settings.max_step_angstrom,
                max_steps: u32::try_from(settings.max_steps).unwrap_or(u32::MAX),
                history: history as u32,
                n_rounds: ROUNDS_PER_LAUNCH,
            };
            stream.launch(EMT_RELAX, self.shape(EMT_RELAX, n_structures, history), &arguments)?;
            // Structures without enough slots wait at their positions.
            if self.grow_if_needed(stream)? {
                continue;
            }
            let states = stream.read(&states)?;
            if let Some(ends) = states.into_iter().map(RelaxState::end).collect::<Result<Option<Vec<End>>>>()? {
                return Ok((ends, stream.read(&positions)?));
            }
        }
    }

    fn shape<A>(&self, kernel: Entry<A>, n_structures: usize, history: usize) -> Shape {
        let shared_bytes = self.shared_bytes + 8 * history as u32;
        Shape { blocks: [n_structures as u32, 1], threads: kernel.threads_for(self.n_candidates), shared_bytes }
    }

    /// Room for `n_structures`: that of the last launch if it is large enough.
    fn room(&mut self, stream: &Stream, n_structures: usize) -> Result<EmtRoom> {
        let serves = |room: &Room| room.n_structures >= n_structures && room.max_pairs == self.max_pairs;
        let room = match self.room.take().filter(serves) {
            Some(room) => room,
            None => Room {
                n_structures,
                max_pairs: self.max_pairs,
                pairs: stream.zeros(n_structures * self.max_pairs)?,
                terms: stream.zeros(n_structures * TERMS * self.max_pairs)?,
                overflow: stream.zeros(1)?,
                scratch: self.n_scratch.map(|n| stream.zeros(n_structures * n)).transpose()?,
            },
        };
        let arguments = EmtRoom {
            pairs: room.pairs.pointer(),
            terms: room.terms.pointer(),
            overflow: room.overflow.pointer(),
            scratch: room.scratch.as_ref().map_or(Pointer::NULL, Buffer::pointer),
            max_pairs: self.max_pairs as u32,
        };
        self.room = Some(room);
        Ok(arguments)
    }

    /// Waits for the launch. Gives whether a structure had more pairs than slots; the next launch has more slots.
    fn grow_if_needed(&mut self, stream: &Stream) -> Result<bool> {
        let Some(room) = &self.room else { return Ok(false) };
        let needed = stream.read(&room.overflow)?[0] as usize;
        if needed == 0 {
            return Ok(false);
        }
        self.max_pairs = with_reserve(needed);
        self.room = None;
        Ok(true)
    }

    /// The answer if two template atoms share one place.
    fn nowhere(&self, free: &[Vec3]) -> Evaluation {
        let energy = if free.iter().all(|&position| is_finite(position)) { f64::INFINITY } else { f64::NAN };
        Evaluation { energy, forces: vec![[f64::NAN; 3]; self.n_template + self.n_free] }
    }
}
