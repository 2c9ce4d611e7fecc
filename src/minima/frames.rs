//! Distinct structures in structure files: a frame for each, with what is known of it in the comment line.

use super::{GroupKind, Minimum, Occurrence, Symmetry};
use crate::system::xyz::{Frame, Value};

impl Minimum {
    /// Its frame in a structure file: the structure, with count, occurrences and symmetry in the comment line. The runs are named
    /// only if there are several.
    pub fn frame(&self, n_runs: usize) -> Frame {
        let mut frame = Frame::from(self.structure.clone())
            .with_info("count", self.count as i64)
            .with_info("relaxed", self.relaxed);
        if n_runs > 1 {
            frame = frame.with_info("n_runs", self.runs.len() as i64);
        }
        for (when, at) in [("first", self.first), ("last", self.last)] {
            if n_runs > 1 {
                frame = frame.with_info(&format!("{when}_run"), at.run as i64);
            }
            frame = frame
                .with_info(&format!("{when}_evaluation"), at.evaluation as i64)
                .with_info(&format!("{when}_iteration"), i64::from(at.iteration))
                .with_info(&format!("{when}_index"), i64::from(at.index));
        }
        let Some(Symmetry { kind, number, symbol }) = &self.symmetry else { return frame };
        let group = match kind {
            GroupKind::Layer => "layer_group",
            GroupKind::Space => "space_group",
        };
        frame.with_info(group, i64::from(*number)).with_info("symmetry", symbol.as_str())
    }

    /// The minimum in a frame that [`Minimum::frame`] made of one run, now as one of the run at place `run`; without its symmetry.
    /// `None` for other frames.
    pub fn from_frame(frame: &Frame, run: usize) -> Option<Self> {
        let whole = |key: &str| match frame.info(key)? {
            Value::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        };
        let at = |when: &str| {
            Some(Occurrence {
                evaluation: whole(&format!("{when}_evaluation"))?,
                run,
                iteration: u32::try_from(whole(&format!("{when}_iteration"))?).ok()?,
                index: u32::try_from(whole(&format!("{when}_index"))?).ok()?,
            })
        };
        Some(Minimum {
            energy_ev: frame.structure.energy?,
            structure: frame.structure.clone(),
            count: usize::try_from(whole("count")?).ok()?,
            runs: vec![run],
            first: at("first")?,
            last: at("last")?,
            relaxed: matches!(frame.info("relaxed")?, Value::Flag(true)),
            symmetry: None,
        })
    }
}
