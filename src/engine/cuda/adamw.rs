//! Arguments of kernels/adamw.cu: sum of the gradient, clipping, AdamW, plateau schedule.

use crate::engine::{Decay, PlateauSchedule};
use crate::gpu::{Arguments, Pointer, Shape};
use bytemuck::{Pod, Zeroable};

/// What a call of training keeps on the device.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct TrainingState {
    pub learning_rate: f64,
    pub best: f64,
    pub epoch_loss: f64,
    pub total_loss: f64,
    pub total_force_loss: f64,
    pub loss: f64,
    pub step_rate: f64,
    pub has_best: u32,
    pub bad_epochs: u32,
    pub epoch_steps: u32,
    pub steps: u32,
    pub optimizer_steps: u32,
    pub bad_step: u32,
}

impl TrainingState {
    /// Before the first step of a call that continues `optimizer_steps` steps under `schedule`.
    pub fn new(schedule: &PlateauSchedule, optimizer_steps: u32) -> Self {
        TrainingState {
            learning_rate: schedule.learning_rate,
            best: schedule.best.unwrap_or(0.0),
            has_best: u32::from(schedule.best.is_some()),
            bad_epochs: schedule.bad_epochs,
            optimizer_steps,
            ..TrainingState::zeroed()
        }
    }

    /// The schedule as the host knows it.
    pub fn schedule(&self) -> PlateauSchedule {
        let best = (self.has_best != 0).then_some(self.best);
        PlateauSchedule { learning_rate: self.learning_rate, best, bad_epochs: self.bad_epochs }
    }
}

/// What a step of a call is told beforehand.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct StepPlan {
    /// Share of the schedule's learning rate.
    pub rate_share: f64,
    /// Whether an epoch ends with the step.
    pub ends_epoch: u32,
    /// Makes the size a multiple of 8 bytes.
    pub unused: u32,
}

impl StepPlan {
    /// The plans of a call of `steps` steps.
    pub fn of_call(steps: usize, steps_per_epoch: usize, decay: Decay) -> Vec<Self> {
        let plan = |step| StepPlan {
            rate_share: decay.share(step, steps),
            ends_epoch: u32::from((step + 1) % steps_per_epoch == 0),
            unused: 0,
        };
        (0..steps).map(plan).collect()
    }
}

/// Arguments of `gradient_sum`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct GradientSum {
    pub slices: Pointer<f32>,
    pub plain_at: Pointer<u32>,
    pub gradient: Pointer<f32>,
    pub squares: Pointer<f64>,
    pub losses: Pointer<f32>,
    pub force_losses: Pointer<f32>,
    pub plan: Pointer<StepPlan>,
    pub training: Pointer<TrainingState>,
    pub n_parameters: u32,
    pub n_slices: u32,
    pub slice_len: u32,
    pub n_losses: u32,
    pub n_force_losses: u32,
    pub force_weight: f32,
}

impl Arguments for GradientSum {
    const KERNEL: &'static str = "gradient_sum";
}

/// Arguments of `adamw`.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
#[expect(missing_docs, reason = "said in the kernel")]
pub struct Adamw {
    pub gradient: Pointer<f32>,
    pub squares: Pointer<f64>,
    pub training: Pointer<TrainingState>,
    pub plain_at: Pointer<u32>,
    pub transposed_at: Pointer<u32>,
    pub parameters: Pointer<f32>,
    pub first: Pointer<f32>,
    pub second: Pointer<f32>,
    pub plain: Pointer<f32>,
    pub transposed: Pointer<f32>,
    pub n_parameters: u32,
    pub n_squares: u32,
    pub weight_decay: f32,
    pub gradient_clip: f32,
}

impl Arguments for Adamw {
    const KERNEL: &'static str = "adamw";
}

/// Grid of both kernels.
pub fn shape(n_parameters: usize) -> Shape {
    Shape { blocks: [n_parameters.div_ceil(1024) as u32, 1], threads: 256, shared_bytes: 64 }
}
