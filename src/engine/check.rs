//! Checks that every engine makes on its input before it computes anything, and the messages for training that diverged.

use super::{
    FreePositions, GuidanceSettings, Loss, ModelState, NoisyBatch, RandomStream, Sampler, Setup, Storage, Targets,
    TrainingSet,
};
use crate::error::{Error, Result};
use crate::model::Layout;

impl Setup {
    /// Refuses a radial basis of another size than the model's, and guidance by a model that predicts no forces.
    pub(super) fn check_model(&self) -> Result<()> {
        let k = self.sizes.radial_functions;
        if self.radial_basis.offsets.len() != k || self.radial_basis.widths.len() != k {
            return Err(Error::bad_input(format!("the model has {k} radial functions, but its radial basis does not")));
        }
        if self.guidance.is_some() && !self.sizes.force_head {
            return Err(Error::bad_input("guidance needs a model with a force head"));
        }
        Ok(())
    }

    /// Refuses settings that only a GPU engine can follow.
    pub(super) fn check_precision_of_cpu(&self) -> Result<()> {
        match self.precision {
            Storage::F32 => Ok(()),
            Storage::Mixed => Err(Error::bad_input(
                "precision = \"mixed\" is for GPUs, but this would run on the CPU: set precision = \"f32\" in [engine] or use \
                 --device cuda",
            )),
        }
    }

    /// Refuses structures with another number of free atoms, and lists without exactly one entry a structure.
    pub(super) fn check_structures(&self, positions: &[FreePositions], lists: &[(&str, usize)]) -> Result<()> {
        let (n_free, n_structures) = (self.system.n_free(), positions.len());
        if let Some(other) = positions.iter().find(|free| free.len() != n_free) {
            let found = other.len();
            return Err(Error::bad_input(format!("a structure has {found} free atoms, but the system has {n_free}")));
        }
        match lists.iter().find(|(_, len)| *len != n_structures) {
            Some((what, len)) => Err(Error::bad_input(format!("{n_structures} structures come with {len} {what}"))),
            None => Ok(()),
        }
    }

    /// The corrector's settings where `sampler` has one.
    pub(super) fn guidance_of(&self, sampler: Sampler) -> Result<Option<GuidanceSettings>> {
        match sampler {
            Sampler::Plain => Ok(None),
            Sampler::Guided => self.needed_guidance("sampling").map(Some),
        }
    }

    /// Refuses sets whose lists do not fit each other, and forces without guidance.
    pub(super) fn check_training_set(&self, set: &TrainingSet) -> Result<()> {
        self.check_structures(&set.positions, &[("weights", set.weights.len())])?;
        if let Some(forces) = &set.forces {
            self.check_structures(&forces.positions, &[("sets of target forces", forces.forces.len())])?;
            self.check_structures(&forces.forces, &[])?;
            let guidance = self.needed_guidance("training on forces")?;
            let wanted = if guidance.energy_weight > 0.0 { forces.positions.len() } else { 0 };
            if forces.labels.len() != wanted {
                let found = forces.labels.len();
                return Err(Error::bad_input(format!(
                    "the readout learns from {wanted} labels, but the set has {found}"
                )));
            }
        }
        if let Targets::Mixed { scores, .. } = &set.targets {
            self.check_structures(scores, &[])?;
            self.check_structures(&set.positions, &[("sets of target scores", scores.len())])?;
        }
        let empty = |what| Err(Error::Failed(format!("there is nothing to train on: the {what} is empty")));
        if set.positions.is_empty() && set.forces.is_none() {
            return empty("training set");
        }
        if set.forces.as_ref().is_some_and(|forces| forces.positions.is_empty()) {
            return empty("set of forces");
        }
        Ok(())
    }

    fn needed_guidance(&self, what: &str) -> Result<GuidanceSettings> {
        if !self.sizes.force_head {
            return Err(Error::bad_input(format!("{what} needs a force head, but the model has none")));
        }
        let refusal = || Error::bad_input(format!("{what} needs guidance, but the engine was opened without it"));
        self.guidance.ok_or_else(refusal)
    }

    /// Refuses a diagnostic batch whose lists do not fit each other or the loss.
    pub(super) fn check_loss(&self, batch: &NoisyBatch, loss: &Loss) -> Result<()> {
        if loss.target_forces().is_some() && !self.sizes.force_head {
            return Err(Error::bad_input("this model has no force head"));
        }
        let NoisyBatch { positions, times, noise, weights } = batch;
        if positions.is_empty() {
            return Err(Error::bad_input("a loss needs at least one structure"));
        }
        self.check_structures(positions, &[("diffusion times", times.len()), ("weights", weights.len())])?;
        self.check_structures(noise, &[])?;
        self.check_structures(positions, &[("sets of noise", noise.len())])?;
        if let Some(target) = loss.target_forces() {
            self.check_structures(target, &[])?;
            self.check_structures(positions, &[("sets of target forces", target.len())])?;
        }
        if let Loss::Readout { labels, .. } = loss {
            self.check_structures(positions, &[("labels", labels.len())])?;
        }
        Ok(())
    }

    /// Refuses a gradient of another length than the model's parameters.
    pub(super) fn check_gradient(&self, gradient: &[f64]) -> Result<()> {
        let (n, found) = (Layout::new(&self.sizes).n_parameters(), gradient.len());
        if found == n {
            return Ok(());
        }
        Err(Error::bad_input(format!("the model has {n} parameters, but the gradient has {found} entries")))
    }

    /// Refuses a saved state of another model.
    pub(super) fn check_state(&self, state: &ModelState) -> Result<()> {
        let n = Layout::new(&self.sizes).n_parameters();
        for (what, values) in
            [("parameters", &state.parameters), ("moments", &state.first_moment), ("moments", &state.second_moment)]
        {
            if values.len() != n {
                let found = values.len();
                return Err(Error::bad_input(format!("the model needs {n} {what}, but the saved state has {found}")));
            }
        }
        Ok(())
    }
}

impl RandomStream {
    /// The error after training step `step`, whose loss is not a finite number. Steps count from 1, since people read the message.
    pub(super) fn diverged(self, step: usize, loss: f64) -> Error {
        let iteration = self.iteration + 1;
        Error::Failed(format!(
            "training diverged: the loss became {loss} in step {step} of iteration {iteration}; lower training.learning_rate"
        ))
    }

    /// The error after `steps` steps, if the last one left parameters that are not finite numbers.
    pub(super) fn lost_parameters(self, steps: usize) -> Error {
        let iteration = self.iteration + 1;
        Error::Failed(format!(
            "training diverged: step {steps} of iteration {iteration} left parameters that are not finite; lower \
             training.learning_rate"
        ))
    }
}
