//! The entries that the search stores in the archive and reads from it.

use crate::system::Vec3;
use serde::{Deserialize, Serialize};

/// Number of a baseline's evaluations that share the key's first part: evaluation e is the row (e / 1000, e % 1000).
pub const EVALUATIONS_AN_ITERATION: u64 = 1000;

/// What became of a sampled structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Evaluated and inside all bounds: may enter the buffer.
    Ok,
    /// Not evaluated: a distance to a free atom was below the minimum.
    TooClose,
    /// Not evaluated: a molecule was not whole, and `keep_bonded` wants that.
    FallenApart,
    /// Evaluated, energy below the floor.
    BelowFloor,
    /// Evaluated, energy above the ceiling.
    AboveCeiling,
    /// Evaluated, but the energy is not a finite number.
    NotFinite,
    /// The evaluator gave up on it.
    Failed,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 7] = [
        Status::Ok,
        Status::TooClose,
        Status::FallenApart,
        Status::BelowFloor,
        Status::AboveCeiling,
        Status::NotFinite,
        Status::Failed,
    ];

    /// Whether the potential was asked about structures with this status.
    pub fn is_evaluated(self) -> bool {
        !matches!(self, Status::TooClose | Status::FallenApart)
    }

    /// The text in the archive and in `metrics.jsonl`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Ok => "ok",
            Status::TooClose => "too_close",
            Status::FallenApart => "fallen_apart",
            Status::BelowFloor => "below_floor",
            Status::AboveCeiling => "above_ceiling",
            Status::NotFinite => "not_finite",
            Status::Failed => "failed",
        }
    }

    /// The status with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// Where a sample comes from, if the archive notes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// One of the user's own structures (`[seeds]`).
    Own,
    /// Atoms placed next to one another, as in a random structure search.
    Placed,
    /// The reverse process.
    Reverse,
    /// A hop that shook all atoms.
    Shake,
    /// A hop that moved one atom, or one molecule, next to another.
    Relocate,
    /// A hop that exchanged two unlike atoms.
    Exchange,
    /// A hop that cut two structures and spliced their halves.
    Splice,
    /// A hop that made a cluster symmetric.
    Symmetrise,
}

impl Origin {
    /// Every origin.
    pub const ALL: [Origin; 8] = [
        Origin::Own,
        Origin::Placed,
        Origin::Reverse,
        Origin::Shake,
        Origin::Relocate,
        Origin::Exchange,
        Origin::Splice,
        Origin::Symmetrise,
    ];

    /// The text in the archive.
    pub fn as_str(self) -> &'static str {
        match self {
            Origin::Own => "own",
            Origin::Placed => "placed",
            Origin::Reverse => "reverse",
            Origin::Shake => "shake",
            Origin::Relocate => "relocate",
            Origin::Exchange => "exchange",
            Origin::Splice => "splice",
            Origin::Symmetrise => "symmetrise",
        }
    }

    /// The origin with this text.
    pub fn from_text(text: &str) -> Option<Self> {
        Origin::ALL.into_iter().find(|origin| origin.as_str() == text)
    }
}

/// One sampled structure with its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Iteration of the search, from 0.
    pub iteration: u32,
    /// Index within the iteration's samples, from 0.
    pub index: u32,
    /// Temperature of the iteration, eV.
    pub kt_ev: f64,
    /// What became of it.
    pub status: Status,
    /// Where it comes from, if that is noted.
    pub origin: Option<Origin>,
    /// The energy that the model predicted before the evaluation, eV, if it did.
    pub predicted_ev: Option<f64>,
    /// Positions of the n free atoms, Å.
    pub free_positions: Vec<Vec3>,
    /// Potential energy, eV.
    pub energy: Option<f64>,
    /// Forces on all T + n atoms, template first, eV/Å.
    pub forces: Option<Vec<Vec3>>,
}

/// Number of structures by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// With status [`Status::Ok`].
    pub ok: u64,
    /// With status [`Status::TooClose`].
    pub too_close: u64,
    /// With status [`Status::FallenApart`].
    #[serde(default)]
    pub fallen_apart: u64,
    /// With status [`Status::BelowFloor`].
    pub below_floor: u64,
    /// With status [`Status::AboveCeiling`].
    pub above_ceiling: u64,
    /// With status [`Status::NotFinite`].
    pub not_finite: u64,
    /// With status [`Status::Failed`].
    pub failed: u64,
}

impl Counts {
    /// The counter of `status`.
    pub fn of_mut(&mut self, status: Status) -> &mut u64 {
        match status {
            Status::Ok => &mut self.ok,
            Status::TooClose => &mut self.too_close,
            Status::FallenApart => &mut self.fallen_apart,
            Status::BelowFloor => &mut self.below_floor,
            Status::AboveCeiling => &mut self.above_ceiling,
            Status::NotFinite => &mut self.not_finite,
            Status::Failed => &mut self.failed,
        }
    }

    /// All structures sampled.
    pub fn samples(&self) -> u64 {
        self.too_close + self.fallen_apart + self.evaluations()
    }

    /// Structures for which the potential was called: all but those rejected before.
    pub fn evaluations(&self) -> u64 {
        self.ok + self.below_floor + self.above_ceiling + self.not_finite + self.failed
    }
}

impl FromIterator<Status> for Counts {
    fn from_iter<I: IntoIterator<Item = Status>>(statuses: I) -> Self {
        let mut counts = Counts::default();
        for status in statuses {
            *counts.of_mut(status) += 1;
        }
        counts
    }
}
