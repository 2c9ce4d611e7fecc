//! Launches of kernels/adamw.cu: sum of the gradient, clipping, AdamW, plateau schedule, the rule that ends training early.

pub use crate::gpu::arguments::adamw::{
    Adamw, EvenScale, GradientCosine, GradientSum, HalfGradient, StepPlan, Stopping, TrainingState,
};

use crate::engine::{Decay, PlateauSchedule};
use crate::error::Result;
use crate::gpu::Stream;
use crate::gpu::arguments::adamw::{
    ADAMW, EVEN_SCALE, GRADIENT_COSINE, GRADIENT_SUM, HALF_GRADIENT, PARAMETERS_PER_BLOCK, STOPPING,
};
use crate::gpu::arguments::prelude::WARP;

impl TrainingState {
    /// The state before the first step of a call that continues `optimizer_steps` steps under `schedule`.
    pub fn new(schedule: &PlateauSchedule, optimizer_steps: u32) -> Self {
        TrainingState {
            learning_rate: schedule.learning_rate,
            best: schedule.best.unwrap_or(0.0),
            has_best: u32::from(schedule.best.is_some()),
            bad_epochs: schedule.bad_epochs,
            optimizer_steps,
            ..TrainingState::default()
        }
    }

    /// The schedule in the host's form.
    pub fn schedule(&self) -> PlateauSchedule {
        let best = (self.has_best != 0).then_some(self.best);
        PlateauSchedule { learning_rate: self.learning_rate, best, bad_epochs: self.bad_epochs }
    }
}

impl StepPlan {
    /// The plans of a call of `steps` steps.
    pub fn of_call(steps: usize, steps_per_epoch: usize, decay: Decay) -> Vec<Self> {
        let plan = |step| StepPlan {
            rate_share: decay.share(step, steps),
            ends_epoch: u64::from((step + 1) % steps_per_epoch == 0),
        };
        (0..steps).map(plan).collect()
    }
}

/// Blocks of both kernels for `n_parameters` parameters: each block hands over one sum of squares.
pub fn n_blocks(n_parameters: usize) -> usize {
    n_parameters.div_ceil(PARAMETERS_PER_BLOCK as usize)
}

impl GradientSum {
    /// Queues it.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        let shared_bytes = size_of::<f64>() * GRADIENT_SUM.warps();
        stream.launch(GRADIENT_SUM, GRADIENT_SUM.grid([n_blocks(self.n_parameters as usize), 1], shared_bytes), self)
    }
}

impl Adamw {
    /// Queues it.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        let shared_bytes = size_of::<f64>() * (ADAMW.warps() + 1);
        stream.launch(ADAMW, ADAMW.grid([n_blocks(self.n_parameters as usize), 1], shared_bytes), self)
    }
}

impl EvenScale {
    /// Queues it.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        let n_blocks = (self.n_structures as usize).div_ceil(EVEN_SCALE.max_threads as usize);
        stream.launch(EVEN_SCALE, EVEN_SCALE.grid([n_blocks, 1], 0), self)
    }
}

impl HalfGradient {
    /// Queues it.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        stream.launch(HALF_GRADIENT, HALF_GRADIENT.grid([n_blocks(self.n_parameters as usize), 1], 0), self)
    }
}

impl GradientCosine {
    /// Queues it.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        let shared_bytes = size_of::<f64>() * WARP as usize;
        stream.launch(
            GRADIENT_COSINE,
            GRADIENT_COSINE.grid([n_blocks(self.n_parameters as usize), 1], shared_bytes),
            self,
        )
    }
}

impl Stopping {
    /// Queues it.
    pub fn launch(&self, stream: &Stream) -> Result<()> {
        stream.launch(STOPPING, STOPPING.grid([1, 1], 0), self)
    }
}
