//! Work of a trained model without a search: samples, scores and learned forces.

use crate::config::Settings;
use crate::engine::{self, Engine, ModelState, RandomStream, ReverseSettings, Sampler, Setup, TrainingSettings};
use crate::error::{Error, Result, stop_if};
use crate::model::ModelFile;
use crate::system::elements::symbol;
use crate::system::{Structure, System, Vec3};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// Structures sampled at the same time.
const SAMPLED_AT_ONCE: usize = 128;
/// Structures scored at the same time.
const SCORED_AT_ONCE: usize = 64;

/// `n` structures of the system of `settings`, sampled by `model`, which was read from `path`. With `[guidance]` they follow the
/// learned forces too. `seed` is that of the noise.
///
/// # Errors
/// `BadInput` for a model of other sizes or elements, without a score or without the force head that is needed, and for the device;
/// `Failed` if atoms end at places that are not numbers; `Interrupted`.
pub fn sample(
    settings: &Settings,
    (model, path): (&ModelFile, &Path),
    n: usize,
    seed: u64,
    device: &str,
    interrupted: &AtomicBool,
) -> Result<Vec<Structure>> {
    let setup = sampling_setup(settings, model, path)?;
    let mut engine = engine::open(device, &setup)?;
    engine.restore(&ModelState::untouched(model.parameters.clone(), setup.training.learning_rate))?;
    let stream = RandomStream { seed, iteration: 0 };
    let n_steps = settings.sections.proposals.unwrap_or_default().relax_steps;
    let sampler = if setup.guidance.is_some() { Sampler::Guided } else { Sampler::Plain };
    let mut structures = Vec::with_capacity(n);
    for start in (0..n).step_by(SAMPLED_AT_ONCE) {
        let mut advance = |_| stop_if(interrupted);
        let mut sampled = engine.sample(stream, start..n.min(start + SAMPLED_AT_ONCE), sampler, &mut advance)?;
        if let Some(guidance) = &setup.guidance {
            engine.relax(&mut sampled, &guidance.corrector(), n_steps, &mut advance)?;
        }
        if !sampled.iter().flatten().flatten().all(|x| x.is_finite()) {
            let message = format!("{}: the model sends atoms to places that are not numbers", path.display());
            return Err(Error::Failed(message));
        }
        structures.extend(sampled.iter().map(|free| settings.system.structure(free)));
    }
    Ok(structures)
}

/// The setup of `settings` for a model that was read from `path`.
fn sampling_setup(settings: &Settings, model: &ModelFile, path: &Path) -> Result<Setup> {
    model.require_score(path)?;
    let setup = settings.setup();
    if let Some(misfit) = model.misfit(&setup.sizes, &setup.sde) {
        return Err(Error::bad_file(path, misfit));
    }
    if setup.guidance.is_some() && !model.sizes.force_head {
        let message =
            "the model has no force head, which [guidance] needs; leave that section out of the configuration";
        return Err(Error::bad_file(path, message));
    }
    let unknown = settings.system.numbers().into_iter().find(|number| !model.species.contains(number));
    if let (false, Some(number)) = (model.species.is_empty(), unknown) {
        let element = symbol(number).unwrap_or("an unknown element");
        return Err(Error::bad_file(path, format!("the model was not trained on {element}, which the system holds")));
    }
    Ok(Setup { sizes: model.sizes, radial_basis: model.basis(), sde: model.sde, ..setup })
}

/// What a model says of a structure.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The score, N × 3, 1/Å; 0 on fixed atoms. `None` if the model learned forces alone.
    pub score: Option<Vec<Vec3>>,
    /// The learned forces on all atoms, N × 3, eV/Å, if the model has a force head.
    pub forces: Option<Vec<Vec3>>,
}

/// A model, ready to score structures of one system.
pub struct Scorer {
    engine: Box<dyn Engine>,
    places: Places,
    /// Whether the model has a score.
    scores: bool,
}

/// How the atoms of a structure are those of the prepared system.
enum Places {
    /// As in the first structure: one cell, one choice of fixed atoms.
    Alike(Order, Box<Structure>),
    /// As their elements and places say.
    Within(Box<System>),
}

impl Scorer {
    /// Prepares `model` for structures like `example`, on `device`. All atoms that are not fixed are free.
    ///
    /// # Errors
    /// `BadInput` for a device that this build or machine does not have, and for what [`engine::open`] refuses.
    pub fn new(model: &ModelFile, example: &Structure, device: &str) -> Result<Self> {
        let order = Order::of(example);
        let engine = open(model, order.system(example), device)?;
        Ok(Scorer { engine, places: Places::Alike(order, Box::new(example.clone())), scores: model.score_learned })
    }

    /// Prepares `model` for structures of `system`, which may have mobile atoms, on `device`. Their atoms may be in any order.
    ///
    /// # Errors
    /// As for [`Scorer::new`].
    pub fn of_system(model: &ModelFile, system: System, device: &str) -> Result<Self> {
        let engine = open(model, system.clone(), device)?;
        Ok(Scorer { engine, places: Places::Within(Box::new(system)), scores: model.score_learned })
    }

    /// Whether `structure` is like the first one; if not, what differs. `None` too for scorers of a whole system.
    pub fn difference(&self, structure: &Structure) -> Option<&'static str> {
        match &self.places {
            Places::Alike(order, example) => order.difference(example, structure),
            Places::Within(_) => None,
        }
    }

    /// The places of the atoms of structure number `k` (from 0).
    fn order(&self, k: usize, structure: &Structure) -> Result<Order> {
        match &self.places {
            Places::Alike(order, example) => match order.difference(example, structure) {
                None => Ok(order.clone()),
                Some(difference) => Err(Error::bad_input(format!(
                    "structure {} has {difference} than the first; score it from a file of its own",
                    k + 1
                ))),
            },
            Places::Within(system) => Order::within(system, structure)
                .map_err(|cause| Error::bad_input(format!("structure {} {cause}", k + 1))),
        }
    }

    /// The scores of `structures`, which are of the prepared system, at diffusion time `time` (0 to 1).
    ///
    /// # Errors
    /// `BadInput` for a structure of another system; those of the engine; `Interrupted`.
    pub fn score(&mut self, structures: &[Structure], time: f64, interrupted: &AtomicBool) -> Result<Vec<Scored>> {
        let orders = structures.iter().enumerate().map(|(k, structure)| self.order(k, structure));
        let orders = orders.collect::<Result<Vec<Order>>>()?;
        let mut scored = Vec::with_capacity(structures.len());
        for (structures, orders) in structures.chunks(SCORED_AT_ONCE).zip(orders.chunks(SCORED_AT_ONCE)) {
            stop_if(interrupted)?;
            let pairs = structures.iter().zip(orders);
            let free: Vec<Vec<Vec3>> = pairs.map(|(structure, order)| order.free_positions(structure)).collect();
            let scores = if self.scores { Some(self.engine.score(&free, &vec![time; free.len()])?) } else { None };
            let forces = self.engine.forces(&free)?;
            scored.extend(orders.iter().enumerate().map(|(k, order)| Scored {
                score: scores.as_ref().map(|scores| order.restore(&scores[k])),
                forces: forces.as_ref().map(|forces| order.restore(&forces[k])),
            }));
        }
        Ok(scored)
    }
}

/// An engine with `model`, for scoring in `system`.
fn open(model: &ModelFile, system: System, device: &str) -> Result<Box<dyn Engine>> {
    let mut engine = engine::open(device, &scoring_setup(system, model))?;
    engine.restore(&ModelState::untouched(model.parameters.clone(), 0.0))?;
    Ok(engine)
}

/// Places of a structure's atoms in a system, which has the fixed atoms first.
#[derive(Clone)]
struct Order {
    fixed: Vec<usize>,
    free: Vec<usize>,
}

impl Order {
    fn of(example: &Structure) -> Order {
        let (fixed, free) = (0..example.n_atoms()).partition(|&atom| example.fixed[atom]);
        Order { fixed, free }
    }

    /// The order of `structure`, which is one of `system`.
    fn within(system: &System, structure: &Structure) -> Result<Order> {
        let mut fixed = system.atoms_of(structure)?;
        let free = fixed.split_off(system.n_template());
        Ok(Order { fixed, free })
    }

    /// In what `structure` differs from `example`, whose order this is, so that they are not of one system.
    fn difference(&self, example: &Structure, structure: &Structure) -> Option<&'static str> {
        if structure.numbers != example.numbers {
            Some("other elements")
        } else if structure.cell != example.cell {
            Some("another cell")
        } else if structure.fixed != example.fixed {
            Some("other fixed atoms")
        } else if self.fixed.iter().any(|&atom| structure.positions[atom] != example.positions[atom]) {
            Some("its fixed atoms elsewhere")
        } else {
            None
        }
    }

    fn system(&self, structure: &Structure) -> System {
        System {
            cell: structure.cell,
            template_numbers: self.fixed.iter().map(|&atom| structure.numbers[atom]).collect(),
            template_positions: self.fixed.iter().map(|&atom| structure.positions[atom]).collect(),
            free_numbers: self.free.iter().map(|&atom| structure.numbers[atom]).collect(),
            mobile: Default::default(),
            extras: None,
            molecules: Default::default(),
            confinement: None,
        }
    }

    fn free_positions(&self, structure: &Structure) -> Vec<Vec3> {
        self.free.iter().map(|&atom| structure.positions[atom]).collect()
    }

    /// Vectors of the system's atoms in the order of the structure.
    fn restore(&self, vectors: &[Vec3]) -> Vec<Vec3> {
        let mut restored = vec![[0.0; 3]; vectors.len()];
        for (&atom, &vector) in self.fixed.iter().chain(&self.free).zip(vectors) {
            restored[atom] = vector;
        }
        restored
    }
}

/// The setup for scoring alone: the reverse process and the optimiser are not used.
fn scoring_setup(system: System, model: &ModelFile) -> Setup {
    Setup {
        system,
        sizes: model.sizes,
        radial_basis: model.basis(),
        sde: model.sde,
        reverse: ReverseSettings { steps: 2, t_min: 0.005, score_scale: 1.0, basin_variance: None },
        training: TrainingSettings {
            batch: 1,
            learning_rate: 1e-4,
            decay: engine::Decay::NONE,
            weight_decay: 0.0,
            gradient_clip: 1.0,
            weighting: model.weighting,
            stop: None,
        },
        guidance: None,
        precision: engine::Storage::F32,
    }
}
