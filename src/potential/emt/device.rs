//! EMT on a GPU. Structures that share their fixed atoms are computed together.

use std::sync::{Mutex, PoisonError};

use super::launch::{DeviceEmt, MOST_HISTORY, Walked};
use super::template_share::TemplateShare;
use super::{Emt, elements_of};
use crate::error::Result;
use crate::gpu::{Device, Stream};
use crate::potential::image_list::repeating_part;
use crate::potential::relax::{RelaxSettings, Relaxed};
use crate::potential::{Answer, Evaluation, Potential};
use crate::system::vector::is_finite;
use crate::system::{Cell, Structure, System, Vec3};

/// Most sets of fixed atoms that are kept on the device.
const MOST_FRAMES: usize = 4;

/// [`Emt`] on a GPU, or on the emulator: the same energies and forces up to the last digits. The share of fixed atoms is computed
/// once and kept for all structures with the same ones.
pub struct EmtOnDevice {
    emt: Emt,
    work: Mutex<Work>,
}

/// The part that only one caller at a time may use.
struct Work {
    stream: Stream,
    /// The frame that was used last is at the end.
    frames: Vec<DeviceFrame>,
}

/// The data for structures with the same fixed atoms in the same cell. Their free atoms differ in position only.
struct DeviceFrame {
    cell: Cell,
    numbers: Vec<u8>,
    /// Which atoms count as fixed, N.
    fixed: Vec<bool>,
    /// The positions of the fixed atoms, T × 3, Å.
    template_positions: Vec<Vec3>,
    emt: DeviceEmt,
}

impl EmtOnDevice {
    /// EMT on `device`, for any structure. With `system` its template is prepared at once. `asap_cutoff` as in [`Emt::new`].
    ///
    /// # Errors
    /// With `system` as [`Emt::with_system`], and `BadInput` if it is too large for the device; `Failed` if the device refuses.
    pub fn new(device: &Device, asap_cutoff: bool, system: Option<&System>) -> Result<Self> {
        let mut work = Work { stream: device.stream()?, frames: Vec::new() };
        let emt = match system {
            Some(system) => Emt::with_system(asap_cutoff, system)?,
            None => Emt::new(asap_cutoff),
        };
        if let Some(system) = system {
            work.prepare(&emt, &system.structure(&vec![[0.0; 3]; system.n_free()]))?;
        }
        Ok(EmtOnDevice { emt, work: Mutex::new(work) })
    }

    /// Calls `compute(stream, frame, indices)` with the indices of structures that share a frame, as many as one launch takes.
    fn for_each_launch(
        &self,
        structures: &[Structure],
        mut compute: impl FnMut(&Stream, &mut DeviceFrame, &[usize]) -> Result<()>,
    ) -> Result<()> {
        // A panic of an earlier caller leaves every frame whole or missing.
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left: Vec<usize> = (0..structures.len()).collect();
        while let Some(&first) = left.first() {
            work.prepare(&self.emt, &structures[first])?;
            let Work { stream, frames } = &mut *work;
            let Some(frame) = frames.last_mut() else { break };
            let (mine, others): (Vec<usize>, Vec<usize>) = left.iter().partition(|&&k| frame.holds(&structures[k]));
            for indices in mine.chunks(frame.emt.structures_at_once()) {
                compute(stream, frame, indices)?;
            }
            left = others;
        }
        Ok(())
    }
}

impl Work {
    /// Moves the frame of `structure` to the end.
    fn prepare(&mut self, emt: &Emt, structure: &Structure) -> Result<()> {
        let frame = match self.frames.iter().position(|frame| frame.holds(structure)) {
            Some(place) => self.frames.remove(place),
            None => DeviceFrame::new(&self.stream, emt, structure)?,
        };
        if self.frames.len() == MOST_FRAMES {
            self.frames.remove(0);
        }
        self.frames.push(frame);
        Ok(())
    }
}

impl DeviceFrame {
    fn new(stream: &Stream, emt: &Emt, structure: &Structure) -> Result<Self> {
        let fixed = frozen(structure);
        let elements = elements_of(&structure.numbers)?;
        let (template, free): (Vec<usize>, Vec<usize>) = (0..fixed.len()).partition(|&k| fixed[k]);
        let template_positions: Vec<Vec3> = template.iter().map(|&k| structure.positions[k]).collect();
        let [template_elements, free_elements] =
            [template, free].map(|atoms| atoms.into_iter().map(|k| elements[k]).collect::<Vec<u8>>());
        let model = &emt.models[emt.model_index(&elements)];
        let tables =
            TemplateShare::new(model, &structure.cell, template_elements, &template_positions)?.tables(&free_elements);
        let origin = structure.positions[0];
        let origin = if is_finite(origin) { origin } else { [0.0; 3] };
        let cell = repeating_part(&structure.cell);
        Ok(DeviceFrame {
            cell: structure.cell,
            numbers: structure.numbers.clone(),
            emt: DeviceEmt::new(stream, &cell, &template_positions, origin, &tables)?,
            template_positions,
            fixed,
        })
    }

    /// Whether `structure` differs from the structures of this frame only in the positions of its free atoms.
    fn holds(&self, structure: &Structure) -> bool {
        let fixed_positions = || structure.positions.iter().zip(&self.fixed).filter(|(_, fixed)| **fixed);
        self.cell == structure.cell
            && self.numbers == structure.numbers
            && self.fixed == frozen(structure)
            && fixed_positions().map(|(position, _)| position).eq(&self.template_positions)
    }

    /// Positions of the free atoms of `structures`, one after the other, Å.
    fn free_positions(&self, structures: &[Structure], indices: &[usize]) -> Vec<Vec3> {
        let free = |&k: &usize| structures[k].positions.iter().zip(&self.fixed).filter(|(_, fixed)| !**fixed);
        indices.iter().flat_map(free).map(|(&position, _)| position).collect()
    }

    /// `structure` with its free atoms at `free`, Å.
    fn moved(&self, structure: &Structure, free: &[Vec3]) -> Structure {
        let mut moved = structure.clone();
        let places = moved.positions.iter_mut().zip(&self.fixed).filter(|(_, fixed)| !**fixed);
        places.zip(free).for_each(|((position, _), &free)| *position = free);
        moved
    }

    /// The forces in the order of the structure's atoms.
    fn in_order(&self, evaluation: Evaluation) -> Evaluation {
        let (template, free) = evaluation.forces.split_at(self.template_positions.len());
        let (mut template, mut free) = (template.iter(), free.iter());
        let next = |&fixed: &bool| if fixed { template.next() } else { free.next() };
        Evaluation { forces: self.fixed.iter().filter_map(next).copied().collect(), ..evaluation }
    }
}

/// Which atoms count as fixed: none if all atoms are fixed, or if one of them has no finite position.
fn frozen(structure: &Structure) -> Vec<bool> {
    let nowhere = structure.positions.iter().zip(&structure.fixed).any(|(&at, &fixed)| fixed && !is_finite(at));
    if nowhere || !structure.fixed.contains(&false) {
        return vec![false; structure.fixed.len()];
    }
    structure.fixed.clone()
}

impl Potential for EmtOnDevice {
    fn name(&self) -> String {
        self.emt.name()
    }

    fn evaluate(
        &self,
        structures: &[Structure],
        deliver: &mut dyn FnMut(Vec<(usize, Answer)>) -> Result<()>,
    ) -> Result<()> {
        if structures.iter().any(|structure| structure.n_atoms() == 0) {
            return self.emt.evaluate(structures, deliver);
        }
        self.for_each_launch(structures, |stream, frame, indices| {
            let evaluations = frame.emt.evaluate(stream, &frame.free_positions(structures, indices))?;
            let answers = evaluations.into_iter().map(|evaluation| Answer::Done(frame.in_order(evaluation)));
            deliver(indices.iter().copied().zip(answers).collect())
        })
    }

    fn relax_all(
        &self,
        structures: &[Structure],
        settings: &RelaxSettings,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Relaxed>>> {
        let moves = |structure: &Structure| frozen(structure) == structure.fixed && structure.n_atoms() > 0;
        if settings.history > MOST_HISTORY || !structures.iter().all(moves) {
            return Ok(None);
        }
        let mut relaxed: Vec<Option<Relaxed>> = vec![None; structures.len()];
        self.for_each_launch(structures, |stream, frame, indices| {
            let starts = frame.free_positions(structures, indices);
            let walked = frame.emt.relax(stream, &starts, settings, interrupted)?;
            for (&k, Walked { positions, evaluation, n_steps, n_evaluations, ending }) in indices.iter().zip(walked) {
                let Evaluation { energy, forces } = frame.in_order(evaluation);
                let structure =
                    Structure { energy: Some(energy), forces: Some(forces), ..frame.moved(&structures[k], &positions) };
                relaxed[k] = Some(Relaxed { structure, energy, n_steps, n_evaluations, ending });
            }
            Ok(())
        })?;
        Ok(relaxed.into_iter().collect())
    }
}

#[cfg(all(test, feature = "emulator"))]
mod tests {
    use super::*;
    use crate::system::read_structure;
    use std::path::Path;

    const NEVER: &dyn Fn() -> bool = &|| false;

    /// The adatom at heights above its minimum, Å, with slots for `max_pairs` pairs at first.
    fn adatoms(max_pairs: usize, heights: &[f64]) -> (EmtOnDevice, Vec<Structure>) {
        let mut adatom = read_structure(Path::new("configs/structures/pt-adatom-minimum.xyz")).unwrap();
        adatom.fixed.fill(true);
        adatom.fixed[20] = false;
        let raised = |height: &f64| {
            let mut raised = adatom.clone();
            raised.positions[20][2] += height;
            raised
        };
        let emt = EmtOnDevice::new(&Device::open("emulator").unwrap(), false, None).unwrap();
        let structures: Vec<Structure> = heights.iter().map(raised).collect();
        let mut work = emt.work.lock().unwrap();
        work.prepare(&emt.emt, &structures[0]).unwrap();
        work.frames[0].emt.set_max_pairs(max_pairs);
        drop(work);
        (emt, structures)
    }

    fn max_pairs(emt: &EmtOnDevice) -> usize {
        emt.work.lock().unwrap().frames[0].emt.max_pairs()
    }

    fn evaluations(emt: &EmtOnDevice, structures: &[Structure]) -> Vec<Answer> {
        let mut found = Vec::new();
        let mut take = |answers: Vec<(usize, Answer)>| {
            found.extend(answers.into_iter().map(|(_, answer)| answer));
            Ok(())
        };
        emt.evaluate(structures, &mut take).unwrap();
        found
    }

    #[test]
    fn slots_grow_to_the_same_energies() {
        let heights = [0.0, 4.5, 0.4, 1.0];
        let (ample, structures) = adatoms(200, &heights);
        let (tight, _) = adatoms(1, &heights);
        assert_eq!(evaluations(&tight, &structures), evaluations(&ample, &structures));
        assert!(max_pairs(&tight) > 20 && max_pairs(&ample) == 200);
    }

    /// On its way down an adatom gets more neighbours than there are slots. It waits, and then continues as if the slots had been
    /// there.
    #[test]
    fn slots_grow_on_the_way_to_the_same_minimum() {
        let settings = RelaxSettings::default();
        let (ample, structures) = adatoms(200, &[2.0, 0.3]);
        let (tight, high) = adatoms(20, &[2.0]);
        evaluations(&tight, &high);
        assert_eq!(max_pairs(&tight), 20, "they serve at the start");
        let expected = ample.relax_all(&structures, &settings, NEVER).unwrap().unwrap();
        assert!(expected[0].converged() && expected[0].n_steps > 5);
        assert_eq!(tight.relax_all(&high, &settings, NEVER).unwrap().unwrap()[..], expected[..1]);
        assert!(max_pairs(&tight) > 20);
        let (tight, _) = adatoms(20, &[2.0]);
        assert_eq!(tight.relax_all(&structures, &settings, NEVER).unwrap().unwrap(), expected);
    }
}
