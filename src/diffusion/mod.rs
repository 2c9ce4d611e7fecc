//! The variance-exploding diffusion process: noise levels, schedules, truncated normal, prior, single steps. These are scalar
//! formulas in f64; the engines are compared with them.

mod atom;
mod corrector;
mod prior;
mod reverse;
mod schedule;
mod sde;
mod truncated_normal;

pub use atom::{AtomProcess, mobile_factor};
pub use corrector::{Corrector, CorrectorSettings, corrector_strength};
pub use prior::{check_prior, prior, prior_position};
pub use reverse::{
    Forward, basin_score_scale, centred_normals, forward_noise, limited_score_scale, normal_vector, remove_centre,
    reverse_mean, reverse_step, truncated_around,
};
pub use schedule::{ReverseSchedule, temperature};
pub use sde::{LARGEST_RHO, Sde};
pub use truncated_normal::{normal_quantile, truncated_normal};
