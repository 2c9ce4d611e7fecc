//! `godiff export`: structures out of an archive.

use super::common::{print, write_xyz};
use clap::Args;
use godiff::archive::{Selection, export};
use godiff::system::xyz::Frame;
use godiff::{Error, Result};
use std::path::PathBuf;

/// Writes evaluated structures of a run as extended XYZ
#[derive(Debug, Args)]
#[command(after_help = "Each frame carries iteration, index, kt_ev and status.\n\n\
                        Example:\n  godiff export runs/pt-adatom-001 -o lowest.xyz --lowest 10")]
pub struct Arguments {
    /// The folder of a run, or its archive.db
    #[arg(value_name = "DIR|archive.db")]
    input: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "OUT.xyz")]
    output: PathBuf,
    /// Only the N structures of lowest energy, lowest first [default: all, in the order of sampling]
    #[arg(long, value_name = "N")]
    lowest: Option<usize>,
}

impl Arguments {
    pub fn run(self) -> Result<()> {
        let archive = if self.input.is_dir() { self.input.join("archive.db") } else { self.input.clone() };
        let mut frames = Vec::new();
        export(&archive, self.lowest.map_or(Selection::All, Selection::Lowest), &mut |stored| {
            let frame = Frame::from(stored.structure)
                .with_info("iteration", i64::from(stored.iteration))
                .with_info("index", i64::from(stored.index))
                .with_info("kt_ev", stored.kt_ev)
                .with_info("status", stored.status.as_str());
            frames.push(frame);
            Ok(())
        })?;
        if frames.is_empty() {
            let message = "holds no such structure yet; start its search again with --resume";
            return Err(Error::bad_file(&archive, message));
        }
        write_xyz(&self.output, &frames)?;
        print(format!("{} structures written to {}", frames.len(), self.output.display()))
    }
}
