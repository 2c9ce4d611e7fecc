//! `godiff export`: structures out of an archive.

use super::common::{Output, print, print_bytes};
use super::numbers::{LARGEST, whole};
use clap::Args;
use godiff::archive::{Origin, Selection, Stored, export};
use godiff::disk::write_growing;
use godiff::system::xyz::Frame;
use godiff::system::{BondGraph, Format};
use godiff::{Error, Result};
use std::path::{Path, PathBuf};

/// Writes evaluated structures of a run: as extended XYZ, or as a table with a row for each
///
/// The fingerprint in the table is a number (16 hexadecimal digits) that structures share whose free atoms have the same bond graph,
/// up to the order of like atoms. Bonds are shorter than 1.1 times the sum of the covalent radii.
#[derive(Debug, Args)]
#[command(after_help = "\
Each frame contains iteration, index, kt_ev, status, and origin=own if it is one of your own structures. A table has the columns
iteration, index, kt_ev, status, energy_ev (empty if there is none), n_free_atoms, fingerprint and origin (own or empty).

Examples:
  godiff export runs/pt-adatom-001 -o lowest.xyz --lowest 10
  godiff export runs/pt-adatom-001 -o lowest.vasp --lowest 1
  godiff export runs/pt-adatom-001 --csv -o all.csv")]
pub struct Arguments {
    /// The folder of a run, or its archive.db
    #[arg(value_name = "DIR|archive.db")]
    input: PathBuf,
    /// The file to write: extended XYZ, a POSCAR (of one structure), or a table (.csv); without it a table is printed
    #[arg(short, long, value_name = "OUT.xyz", required_unless_present = "csv")]
    output: Option<PathBuf>,
    /// Only the N structures of lowest energy, lowest first [default: all, in the order of sampling]
    #[arg(long, value_name = "N", value_parser = whole::<usize>(0..=LARGEST), allow_negative_numbers = true)]
    lowest: Option<usize>,
    /// Write a table with a row for each structure (CSV)
    #[arg(long)]
    csv: bool,
}

/// The first row of a table.
const HEADER: &str = "iteration,index,kt_ev,status,energy_ev,n_free_atoms,fingerprint,origin\n";

impl Arguments {
    pub fn run(self) -> Result<()> {
        let archive = if self.input.is_dir() { self.input.join("archive.db") } else { self.input.clone() };
        let named_csv = |path: &Path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
        match &self.output {
            None => self.rows(&archive, &mut print_bytes).map(|_| ()),
            Some(path) if self.csv || named_csv(path) => {
                if !named_csv(path) && Format::of(path).is_some() {
                    return Err(Error::bad_file(
                        path,
                        "--csv writes a table; name a file that ends in .csv, or leave out --csv",
                    ));
                }
                let mut n_rows = 0;
                write_growing(path, |put| {
                    n_rows = self.rows(&archive, put)?;
                    Ok(())
                })?;
                print(format!("{n_rows} rows written to {}", path.display()))
            }
            Some(path) => {
                let mut n_frames = 0;
                Output::new(path)?.stream(|put| {
                    n_frames = self.visit(&archive, &mut |stored| put(frame(stored)))?;
                    Ok(())
                })?;
                print(format!("{n_frames} structures written to {}", path.display()))
            }
        }
    }

    /// Passes the table to `put`, row by row, and counts the structures.
    fn rows(&self, archive: &Path, put: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<usize> {
        let mut begun = false;
        self.visit(archive, &mut |stored| {
            if !begun {
                put(HEADER.as_bytes())?;
                begun = true;
            }
            put(row(&stored).as_bytes())
        })
    }

    /// Calls `visit` for the requested structures and counts them.
    fn visit(&self, archive: &Path, visit: &mut dyn FnMut(Stored) -> Result<()>) -> Result<usize> {
        let mut n = 0;
        export(archive, self.lowest.map_or(Selection::All, Selection::Lowest), &mut |stored| {
            n += 1;
            visit(stored)
        })?;
        if n == 0 {
            let message = "holds no such structure yet; start its search again with --resume";
            return Err(Error::bad_file(archive, message));
        }
        Ok(n)
    }
}

fn frame(stored: Stored) -> Frame {
    let frame = Frame::from(stored.structure)
        .with_info("iteration", i64::from(stored.iteration))
        .with_info("index", i64::from(stored.index))
        .with_info("kt_ev", stored.kt_ev)
        .with_info("status", stored.status.as_str());
    match stored.origin {
        Some(origin) => frame.with_info("origin", origin.as_str()),
        None => frame,
    }
}

/// A structure's line of the table; no entry needs quotes.
fn row(stored: &Stored) -> String {
    let Stored { iteration, index, kt_ev, status, origin, structure } = stored;
    let free: Vec<usize> = (0..structure.n_atoms()).filter(|&k| !structure.fixed[k]).collect();
    let numbers: Vec<u8> = free.iter().map(|&k| structure.numbers[k]).collect();
    let positions: Vec<_> = free.iter().map(|&k| structure.positions[k]).collect();
    let fingerprint = BondGraph::new(&structure.cell, &numbers, &positions).fingerprint();
    let energy = structure.energy.map_or(String::new(), |energy| format!("{energy:?}"));
    let (status, n_free, origin) = (status.as_str(), free.len(), origin.map_or("", Origin::as_str));
    format!("{iteration},{index},{kt_ev:?},{status},{energy},{n_free},{fingerprint:016x},{origin}\n")
}
